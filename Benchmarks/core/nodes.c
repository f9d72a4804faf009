// SPDX-License-Identifier: Apache-2.0
// Files and objects between two real nodes, through their clients' interface: what a user of the library waits for. One JSON object a
// line; medians of several runs. The time is from the getter's request to the verified data being there; putting is not in it.
//
// Usage: nodes SOCKET_A SOCKET_B RANDOM_FILE TRAIN_FILE
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "raystore.h"

enum { RUNS = 5, SMALL_RUNS = 200 };

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void must(ray_status status) {
    if (status != RAY_OK) {
        fprintf(stderr, "nodes: %s: %s\n", ray_status_name(status), ray_last_error_message());
        exit(1);
    }
}

static int ascending(const void *a, const void *b) {
    double left = *(const double *)a;
    double right = *(const double *)b;
    return (left > right) - (left < right);
}

static double median(double *values, size_t count) {
    qsort(values, count, sizeof *values, ascending);
    return values[count / 2];
}

static void report(const char *name, double value, const char *unit) {
    printf("{\"name\":\"%s\",\"value\":%.4g,\"unit\":\"%s\"}\n", name, value, unit);
    fflush(stdout);
}

static ray_client *attach(const char *socket) {
    ray_client_options options = {.struct_size = sizeof options, .socket_path = socket};
    ray_client *client = NULL;
    must(ray_client_connect(&options, &client));
    return client;
}

// Both refs go, so the copies go; the next run starts from nothing. Waits until both nodes have really dropped it.
static void drop(ray_client *a, ray_client *b, const ray_object_id *id) {
    must(ray_ref_release(ray_client_store(b), id));
    must(ray_ref_release(ray_client_store(a), id));
    ray_object_info info;
    while (ray_object_stat(ray_client_store(b), id, &info) == RAY_OK || ray_object_stat(ray_client_store(a), id, &info) == RAY_OK) {
        usleep(1000);
    }
}

static double file_seconds(ray_client *a, ray_client *b, const char *path) {
    ray_object_id id;
    must(ray_client_put_file(a, path, RAY_FILE_REFERENCE, &id));
    must(ray_client_share_ref(a, &id));
    must(ray_client_open_ref(b, &id));
    ray_object_view view;
    char local[4096];
    double start = now();
    must(ray_client_get_file(b, &id, RAY_FOREVER, &view, local, sizeof local));
    double seconds = now() - start;
    ray_object_release(ray_client_store(b), &view);
    drop(a, b, &id);
    return seconds;
}

static double object_seconds(ray_client *a, ray_client *b, const void *data, uint64_t size) {
    ray_object_id id;
    must(ray_client_put(a, data, size, "B\1", 2, &id));
    must(ray_client_share_ref(a, &id));
    must(ray_client_open_ref(b, &id));
    ray_object_view view;
    double start = now();
    must(ray_client_get(b, &id, RAY_FOREVER, &view));
    double seconds = now() - start;
    ray_object_release(ray_client_store(b), &view);
    drop(a, b, &id);
    return seconds;
}

static void file_figure(ray_client *a, ray_client *b, const char *name, const char *path) {
    struct stat status;
    if (stat(path, &status) != 0) {
        fprintf(stderr, "nodes: %s is missing\n", path);
        exit(1);
    }
    double seconds[RUNS];
    file_seconds(a, b, path);
    for (int i = 0; i < RUNS; i++) {
        seconds[i] = file_seconds(a, b, path);
    }
    report(name, (double)status.st_size / median(seconds, RUNS) / 1e9, "GB/s");
}

static void object_figures(ray_client *a, ray_client *b, const char *path) {
    int file = open(path, O_RDONLY | O_CLOEXEC);
    uint64_t size = 512u << 20;
    void *data = mmap(NULL, size, PROT_READ, MAP_SHARED, file, 0);
    if (data == MAP_FAILED) {
        perror("nodes: mmap");
        exit(1);
    }
    close(file);
    double seconds[SMALL_RUNS];
    object_seconds(a, b, data, size);
    for (int i = 0; i < RUNS; i++) {
        seconds[i] = object_seconds(a, b, data, size);
    }
    report("transfer.object.unshaped.random_gbs", (double)size / median(seconds, RUNS) / 1e9, "GB/s");
    for (int i = 0; i < SMALL_RUNS; i++) {
        seconds[i] = object_seconds(a, b, data, 200 << 10);
    }
    report("transfer.object.200kb_p50_us", median(seconds, SMALL_RUNS) * 1e6, "us");
    munmap(data, size);
}

int main(int argc, char **argv) {
    if (argc != 5) {
        fprintf(stderr, "usage: nodes SOCKET_A SOCKET_B RANDOM_FILE TRAIN_FILE\n");
        return 64;
    }
    ray_client *a = attach(argv[1]);
    ray_client *b = attach(argv[2]);
    file_figure(a, b, "transfer.file.unshaped.random_gbs", argv[3]);
    file_figure(a, b, "transfer.file.unshaped.train_gbs", argv[4]);
    object_figures(a, b, argv[3]);
    ray_client_close(b);
    ray_client_close(a);
    return 0;
}
