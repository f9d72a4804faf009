// SPDX-License-Identifier: Apache-2.0
// One object from one process to many: the transfer engine of each with a store of its own.
//
//   crowd source HOST FILE   puts the file's bytes as an object and prints {"port":N}; for each line {"sent":N}, the bytes sent so far
//   crowd puller HOST SIZE   for each line HOST PORT ROUND pulls it into its store and prints {"seconds":S,"cpu":C}; drops it before the answer
//
// The seconds run from the question to the object being sealed, so verified. A source has the object under as many ids as there are rounds,
// one after the other: a line ROUND begins the next.
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "pulling.h"

static const ray_key key = {{42}};

static double cpu(void) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) + (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) * 1e-6;
}

static ray_object_id id_of(unsigned round) {
    ray_task_id task = ray_task_id_driver(1);
    return ray_object_id_make(&task, RAY_FIRST_PUT_INDEX + round);
}

static ray_store *make_store(uint64_t size) {
    ray_store_options options = {.struct_size = sizeof options, .capacity_bytes = size + (8u << 20)};
    ray_store *store = NULL;
    must(ray_store_create(&options, &store));
    return store;
}

static ray_transfer *make_transfer(ray_store *store, const char *host) {
    ray_transfer_options options = {.struct_size = sizeof options, .key = key, .store = store, .bind_host = host};
    ray_transfer *transfer = NULL;
    must(ray_transfer_create(&options, &transfer));
    return transfer;
}

static void source(const char *host, const char *path) {
    int file = open(path, O_RDONLY | O_CLOEXEC);
    struct stat info;
    if (file < 0 || fstat(file, &info) != 0) {
        fail(path, "cannot be read");
    }
    uint64_t size = (uint64_t)info.st_size;
    const uint8_t *bytes = mmap(NULL, size, PROT_READ, MAP_SHARED, file, 0);
    if (bytes == MAP_FAILED) {
        fail(path, "cannot be mapped");
    }
    ray_store *store = make_store(size);
    ray_transfer *transfer = make_transfer(store, host);
    printf("{\"port\":%u}\n", ray_transfer_port(transfer));
    fflush(stdout);
    char line[64];
    unsigned round = 0;
    while (fgets(line, sizeof line, stdin) != NULL) {
        unsigned next;
        if (sscanf(line, "%u", &next) == 1) {
            ray_object_id id = id_of(round);
            if (round != 0) {
                must(ray_object_delete(store, &id, RAY_OBJECT_FREED));
            }
            round = next;
            id = id_of(round);
            must(ray_object_put(store, &id, bytes, size, NULL, 0, 0));
        }
        ray_transfer_stats stats = {.struct_size = sizeof stats};
        ray_transfer_stats_read(transfer, &stats);
        printf("{\"sent\":%llu,\"cpu\":%.3f}\n", (unsigned long long)stats.sent_bytes, cpu());
        fflush(stdout);
    }
    ray_transfer_destroy(transfer);
    ray_store_close(store);
}

static ray_status opened(void *context, ray_pull *pull, const ray_card *card) {
    (void)context;
    (void)card;
    return ray_pull_into_store(pull);
}

static double pull_once(ray_transfer *transfer, const ray_object_id *id, const ray_endpoint *from) {
    static const ray_pull_callbacks callbacks = {opened, NULL, waiter_done};
    waiter w = {.done = false};
    waiter_begin(&w);
    ray_pull *pull = NULL;
    double start = now();
    must(ray_pull_start(transfer, id, from, 1, NULL, &callbacks, &w, &pull));
    return waiter_finish(&w, pull) - start;
}

static void puller(const char *host, uint64_t size) {
    ray_store *store = make_store(size);
    ray_transfer *transfer = make_transfer(store, host);
    printf("{\"port\":%u}\n", ray_transfer_port(transfer));
    fflush(stdout);
    char line[400];
    unsigned before = 0;
    while (fgets(line, sizeof line, stdin) != NULL) {
        ray_endpoint from = {.port = 0};
        unsigned round;
        if (sscanf(line, "%255s %hu %u", from.host, &from.port, &round) != 3) {
            fail("not a request", line);
        }
        // The last one goes only now: others may have been reading it.
        if (before != 0) {
            ray_object_id old = id_of(before);
            must(ray_object_delete(store, &old, RAY_OBJECT_FREED));
        }
        before = round;
        ray_object_id id = id_of(round);
        double used = cpu();
        double seconds = pull_once(transfer, &id, &from);
        printf("{\"seconds\":%.6f,\"cpu\":%.3f}\n", seconds, cpu() - used);
        fflush(stdout);
    }
    ray_transfer_destroy(transfer);
    ray_store_close(store);
}

int main(int argc, char **argv) {
    if (argc == 4 && strcmp(argv[1], "source") == 0) {
        source(argv[2], argv[3]);
    } else if (argc == 4 && strcmp(argv[1], "puller") == 0) {
        puller(argv[2], strtoull(argv[3], NULL, 10));
    } else {
        fprintf(stderr, "usage: crowd source HOST FILE | crowd puller HOST SIZE\n");
        return 64;
    }
    return 0;
}
