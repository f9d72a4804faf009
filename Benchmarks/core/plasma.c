// SPDX-License-Identifier: Apache-2.0
// First figures of the store, one JSON object a line: medians of several runs in one process, one thread unless a name says otherwise.
// Warm: the pages are there and mapped. Nothing is checked here; Tests/Core does that.
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "raystore.h"

enum { RUNS = 7, OBJECTS = 100000, SMALL = 1024 };

#define BIG (100u << 20)

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void must(ray_status status) {
    if (status != RAY_OK) {
        fprintf(stderr, "%s: %s\n", ray_status_name(status), ray_last_error_message());
        exit(1);
    }
}

static int ascending(const void *a, const void *b) {
    double left = *(const double *)a;
    double right = *(const double *)b;
    return left < right ? -1 : left > right;
}

static double median(double *values, int count) {
    qsort(values, (size_t)count, sizeof *values, ascending);
    return values[count / 2];
}

static void print(const char *name, double value, const char *unit) {
    printf("{\"name\":\"plasma.c.%s\",\"value\":%.6g,\"unit\":\"%s\"}\n", name, value, unit);
    fflush(stdout);
}

static uint64_t next_random(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static ray_object_id id_of(uint32_t number) {
    ray_task_id task = ray_task_id_driver(1);
    return ray_object_id_make(&task, number);
}

static void get_release(ray_store *store) {
    static uint8_t bytes[SMALL];
    for (uint32_t i = 0; i < OBJECTS; i++) {
        ray_object_id id = id_of(i);
        must(ray_object_put(store, &id, bytes, SMALL, NULL, 0, 0));
    }
    double rates[RUNS];
    uint64_t random = 88172645463325252u;
    for (int run = -1; run < RUNS; run++) {
        enum { ROUNDS = 1000000 };
        double begin = now();
        for (int i = 0; i < ROUNDS; i++) {
            ray_object_id id = id_of((uint32_t)(next_random(&random) % OBJECTS));
            ray_object_view view;
            must(ray_object_get(store, &id, 0, &view));
            ray_object_release(store, &view);
        }
        if (run >= 0) {
            rates[run] = ROUNDS / (now() - begin);
        }
    }
    print("get_release_ops", median(rates, RUNS), "ops/s");
    for (uint32_t i = 0; i < OBJECTS; i++) {
        ray_object_id id = id_of(i);
        must(ray_object_delete(store, &id, RAY_OBJECT_FREED));
    }
}

static void create_seal_delete(ray_store *store) {
    static uint8_t bytes[SMALL];
    double rates[RUNS];
    uint32_t number = 1;
    for (int run = -1; run < RUNS; run++) {
        enum { ROUNDS = 300000 };
        double begin = now();
        for (int i = 0; i < ROUNDS; i++) {
            ray_object_id id = id_of(number++);
            ray_object_writer writer;
            must(ray_object_create(store, &id, SMALL, 0, 0, &writer));
            memcpy(writer.data, bytes, SMALL);
            must(ray_object_seal(store, &writer));
            must(ray_object_delete(store, &id, RAY_OBJECT_FREED));
        }
        if (run >= 0) {
            rates[run] = ROUNDS / (now() - begin);
        }
    }
    print("create_seal_delete_ops", median(rates, RUNS), "ops/s");
}

typedef struct half {
    uint8_t *to;
    const uint8_t *from;
    size_t size;
} half;

static void *copy_half(void *argument) {
    const half *h = argument;
    memcpy(h->to, h->from, h->size);
    return NULL;
}

static void copy_by_two(uint8_t *to, const uint8_t *from) {
    half second = {to + BIG / 2, from + BIG / 2, BIG / 2};
    pthread_t thread;
    if (pthread_create(&thread, NULL, copy_half, &second) != 0) {
        exit(1);
    }
    memcpy(to, from, BIG / 2);
    pthread_join(thread, NULL);
}

// Copies and puts take turns, so that what else the machine does meets both.
static void put_large(ray_store *store) {
    uint8_t *from = malloc(BIG);
    uint8_t *to = malloc(BIG);
    if (from == NULL || to == NULL) {
        exit(1);
    }
    memset(from, 1, BIG);
    memset(to, 2, BIG);
    double one[RUNS];
    double two[RUNS];
    double put[RUNS];
    for (int run = -2; run < RUNS; run++) {
        double times[4];
        ray_object_id id = id_of((uint32_t)(run + 10));
        times[0] = now();
        memcpy(to, from, BIG);
        __asm__ volatile("" ::"r"(to) : "memory");
        times[1] = now();
        copy_by_two(to, from);
        times[2] = now();
        must(ray_object_put(store, &id, from, BIG, NULL, 0, 0));
        times[3] = now();
        must(ray_object_delete(store, &id, RAY_OBJECT_FREED));
        if (run >= 0) {
            one[run] = BIG / (times[1] - times[0]) * 1e-9;
            two[run] = BIG / (times[2] - times[1]) * 1e-9;
            put[run] = BIG / (times[3] - times[2]) * 1e-9;
        }
    }
    double put_rate = median(put, RUNS);
    double one_rate = median(one, RUNS);
    double two_rate = median(two, RUNS);
    print("put_100mb_warm_gbs", put_rate, "GB/s");
    print("memcpy_100mb_gbs_1t", one_rate, "GB/s");
    print("memcpy_100mb_gbs_2t", two_rate, "GB/s");
    print("put_100mb_warm_ratio_1t", put_rate / one_rate, "ratio");
    print("put_100mb_warm_ratio_2t", put_rate / two_rate, "ratio");
    free(from);
    free(to);
}

int main(void) {
    ray_store_options options = {sizeof options, 0, 512u << 20};
    ray_store *store;
    must(ray_store_create(&options, &store));
    must(ray_store_prefault(store, options.capacity_bytes));
    get_release(store);
    create_seal_delete(store);
    put_large(store);
    ray_store_close(store);
    return 0;
}
