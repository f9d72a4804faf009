// SPDX-License-Identifier: Apache-2.0
// Fetches between two real nodes when told to, through their clients' interface, and says how long each took. Standard input has one
// request a line, standard output one JSON object for each:
//
//   file PATH             put by reference on A, got on B: complete, verified, in its place
//   object PATH SIZE      the first SIZE bytes of the file, from A's memory to B's
//   objects PATH COUNT SIZE   as many objects of SIZE bytes, asked for together
//   put PATH COUNT SIZE, then get   the same in two steps, so that A has time for them in between
//   drop             what the request before left goes on both nodes; answered when it has gone
//
// The time is from B's request to the data being there; putting is not in it. The answer comes while the data is still there, so that who
// asks can look at what it cost before it goes.
//
// Usage: fetches SOCKET_A SOCKET_B
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "pulling.h"

enum { OBJECTS_MAX = 10000 };

static ray_object_id ids[OBJECTS_MAX]; // of what the latest request left
static uint32_t id_count;

static ray_client *attach(const char *socket) {
    ray_client_options options = {.struct_size = sizeof options, .socket_path = socket};
    ray_client *client = NULL;
    must(ray_client_connect(&options, &client));
    return client;
}

static bool is_known(ray_client *client, const ray_object_id *id) {
    ray_object_info info;
    return ray_object_stat(ray_client_store(client), id, &info) == RAY_OK;
}

// Both refs go, so the copies go; the next fetch starts from nothing.
static void drop(ray_client *a, ray_client *b) {
    for (uint32_t i = 0; i < id_count; i++) {
        must(ray_ref_release(ray_client_store(b), &ids[i]));
        must(ray_ref_release(ray_client_store(a), &ids[i]));
    }
    for (uint32_t i = 0; i < id_count; i++) {
        for (uint32_t wait = 0; is_known(a, &ids[i]) || is_known(b, &ids[i]); wait++) {
            if (wait == 30000) {
                fail("an object", "is still there 30 s after its last ref went");
            }
            usleep(1000);
        }
    }
    id_count = 0;
}

static void pass_on(ray_client *a, ray_client *b, const ray_object_id *id) {
    must(ray_client_share_ref(a, id));
    must(ray_client_open_ref(b, id));
}

static double fetch_file(ray_client *a, ray_client *b, const char *path) {
    must(ray_client_put_file(a, path, RAY_FILE_REFERENCE, &ids[0]));
    id_count = 1;
    pass_on(a, b, &ids[0]);
    ray_object_view view;
    char local[4096];
    double start = now();
    must(ray_client_get_file(b, &ids[0], RAY_FOREVER, &view, local, sizeof local));
    double seconds = now() - start;
    ray_object_release(ray_client_store(b), &view);
    return seconds;
}

// One request for all, answered when all are sealed there.
static void get_all(ray_client *b) {
    static uint8_t payload[12 + OBJECTS_MAX * sizeof(ray_object_id)];
    memset(payload, 0xff, 8); // RAY_FOREVER
    memcpy(payload + 8, &id_count, sizeof id_count);
    memcpy(payload + 12, ids, id_count * sizeof *ids);
    void *answer = NULL;
    size_t answer_size;
    must(ray_client_call(b, RAY_REQUEST_GET, payload, 12 + id_count * sizeof *ids, 0, &answer, &answer_size));
    ray_client_free(answer);
}

static void put_objects(ray_client *a, ray_client *b, const char *path, uint32_t count, uint64_t size) {
    if (count == 0 || count > OBJECTS_MAX) {
        fail("objects", "count out of range");
    }
    int file = open(path, O_RDONLY | O_CLOEXEC);
    const uint8_t *data = mmap(NULL, size, PROT_READ, MAP_SHARED, file, 0);
    if (file < 0 || data == MAP_FAILED) {
        fail(path, "cannot be read");
    }
    close(file);
    for (uint32_t i = 0; i < count; i++) {
        must(ray_client_put(a, data, size, "B\1", 2, &ids[i]));
        pass_on(a, b, &ids[i]);
    }
    munmap((void *)(uintptr_t)data, size);
    id_count = count;
}

// One alone is got as a program gets it: until it is pinned.
static double get_objects(ray_client *b) {
    double start = now();
    if (id_count > 1) {
        get_all(b);
        return now() - start;
    }
    ray_object_view view;
    must(ray_client_get(b, &ids[0], RAY_FOREVER, &view));
    double seconds = now() - start;
    ray_client_release(b, &view);
    return seconds;
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: fetches SOCKET_A SOCKET_B\n");
        return 64;
    }
    ray_client *a = attach(argv[1]);
    ray_client *b = attach(argv[2]);
    char line[4400];
    while (fgets(line, sizeof line, stdin) != NULL) {
        char path[4096];
        unsigned long long size;
        unsigned count;
        double seconds;
        if (strcmp(line, "drop\n") == 0) {
            drop(a, b);
            printf("{}\n");
            fflush(stdout);
            continue;
        }
        if (strcmp(line, "get\n") == 0) {
            printf("{\"seconds\":%.6f}\n", get_objects(b));
            fflush(stdout);
            continue;
        }
        if (id_count != 0) {
            fail("what the request before left", "was not dropped");
        }
        if (sscanf(line, "file %4095s", path) == 1) {
            seconds = fetch_file(a, b, path);
        } else if (sscanf(line, "object %4095s %llu", path, &size) == 2) {
            put_objects(a, b, path, 1, size);
            seconds = get_objects(b);
        } else if (sscanf(line, "objects %4095s %u %llu", path, &count, &size) == 3) {
            put_objects(a, b, path, count, size);
            seconds = get_objects(b);
        } else if (sscanf(line, "put %4095s %u %llu", path, &count, &size) == 3) {
            put_objects(a, b, path, count, size);
            seconds = 0;
        } else {
            fail("not a request", line);
            return 1;
        }
        printf("{\"seconds\":%.6f}\n", seconds);
        fflush(stdout);
    }
    ray_client_close(b);
    ray_client_close(a);
    return 0;
}
