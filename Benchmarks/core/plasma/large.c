// SPDX-License-Identifier: Apache-2.0
// Large objects: the store's copy over the machine's.
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

#include "bench.h"
#include "plasma/store_internal.h"

enum { STORES = 5, WARM_PUTS = 3 };

#define STORE_BYTES (256u << 20)
#define UP_SECONDS 5

static double rate(uint64_t time_ns) {
    return (double)BIG / (double)time_ns;
}

static void delete_object(ray_store *store, uint32_t number) {
    ray_object_id id = id_of(number);
    must(ray_object_delete(store, &id, RAY_OBJECT_FREED));
}

// ---- copies --------------------------------------------------------------------------------------------------------------

typedef struct part {
    uint8_t *to;
    const uint8_t *from;
    size_t size;
} part;

static void *copy_part(void *argument) {
    const part *p = argument;
    memcpy(p->to, p->from, p->size);
    __asm__ volatile("" ::"r"(p->to) : "memory"); // nobody reads it, and it is to be copied all the same
    return NULL;
}

static uint64_t copy_by_one(uint8_t *to, const uint8_t *from) {
    part all = {to, from, BIG};
    uint64_t begin = now_ns();
    copy_part(&all);
    return now_ns() - begin;
}

static uint64_t copy_by_two(uint8_t *to, const uint8_t *from) {
    part first = {to, from, BIG / 2};
    part second = {to + BIG / 2, from + BIG / 2, BIG / 2};
    pthread_t thread;
    uint64_t begin = now_ns();
    if (pthread_create(&thread, NULL, copy_part, &second) != 0) {
        bench_fail("pthread_create", "no thread");
    }
    copy_part(&first);
    pthread_join(thread, NULL);
    return now_ns() - begin;
}

// What the library does by itself: from 8 MiB on it copies with a thread for each core.
static uint64_t put_by_library(ray_store *store, uint32_t number, const uint8_t *from) {
    ray_object_id id = id_of(number);
    uint64_t begin = now_ns();
    must(ray_object_put(store, &id, from, BIG, NULL, 0, 0));
    return now_ns() - begin;
}

// The library has no way to fix how many threads copy, so the caller copies into the memory that create gives.
static uint64_t put_by_caller(ray_store *store, uint32_t number, const uint8_t *from) {
    ray_object_id id = id_of(number);
    ray_object_writer writer;
    uint64_t begin = now_ns();
    must(ray_object_create(store, &id, BIG, 0, 0, &writer));
    memcpy(writer.data, from, BIG);
    must(ray_object_seal(store, &writer));
    return now_ns() - begin;
}

// What ray_client_put does with so much: the copy makes the checksums of a transfer's chunks, too.
static uint64_t put_hashed(ray_store *store, uint32_t number, const uint8_t *from) {
    static uint64_t sums[(BIG + RAY_CHUNK_SIZE - 1) / RAY_CHUNK_SIZE];
    ray_object_id id = id_of(number);
    ray_object_writer writer;
    uint64_t begin = now_ns();
    must(ray_object_create(store, &id, BIG, 0, 0, &writer));
    ray__copy_summed(writer.data, from, BIG, RAY_CHUNK_SIZE, sums);
    must(ray_object_seal(store, &writer));
    return now_ns() - begin;
}

// ---- warm ----------------------------------------------------------------------------------------------------------------

typedef struct pair {
    double copy[RUNS];
    double put[RUNS];
    double ratio[RUNS];
} pair;

typedef uint64_t (*copier)(uint8_t *to, const uint8_t *from);
typedef uint64_t (*putter)(ray_store *store, uint32_t number, const uint8_t *from);

// The copy and the put one after the other, and every second time the other way round: what else the machine does meets both.
static void measure_pair(ray_store *store, int run, uint8_t *to, const uint8_t *from, copier copy, putter put, pair *p) {
    bool copy_first = run % 2 == 0;
    uint64_t copied = copy_first ? copy(to, from) : 0;
    uint64_t stored = put(store, 1, from);
    delete_object(store, 1);
    copied = copy_first ? copied : copy(to, from);
    if (run >= 0) {
        p->copy[run] = rate(copied);
        p->put[run] = rate(stored);
        p->ratio[run] = (double)copied / (double)stored;
    }
}

static void put_warm(ray_store *store, const uint8_t *from) {
    uint8_t *private = malloc(BIG);
    uint8_t *shared = share(BIG);
    if (private == NULL) {
        bench_fail("malloc", "no memory");
    }
    memset(private, 2, BIG);
    memset(shared, 3, BIG);
    static pair one;
    static pair two;
    static pair hashed;
    double shared_one[RUNS];
    double shared_two[RUNS];
    for (int run = -2; run < RUNS; run++) {
        measure_pair(store, run, private, from, copy_by_one, put_by_caller, &one);
        measure_pair(store, run, private, from, copy_by_two, put_by_library, &two);
        measure_pair(store, run, private, from, copy_by_two, put_hashed, &hashed);
        double by_one = rate(copy_by_one(shared, from));
        double by_two = rate(copy_by_two(shared, from));
        if (run >= 0) {
            shared_one[run] = by_one;
            shared_two[run] = by_two;
        }
    }
    print("memcpy_100mb_gbs_1t", median(one.copy, RUNS), "GB/s");
    print("memcpy_100mb_gbs_2t", median(two.copy, RUNS), "GB/s");
    print("memcpy_100mb_shared_gbs_1t", median(shared_one, RUNS), "GB/s");
    print("memcpy_100mb_shared_gbs_2t", median(shared_two, RUNS), "GB/s");
    print("put_100mb_warm_1t_gbs", median(one.put, RUNS), "GB/s");
    print("put_100mb_warm_gbs", median(two.put, RUNS), "GB/s");
    print("put_100mb_warm_ratio_1t", median(one.ratio, RUNS), "ratio");
    print("put_100mb_warm_ratio_2t", median(two.ratio, RUNS), "ratio");
    print("put_100mb_hashed_gbs", median(hashed.put, RUNS), "GB/s");
    print("put_100mb_hashed_ratio_2t", median(hashed.ratio, RUNS), "ratio");
    munmap(shared, BIG);
    free(private);
}

// ---- first and cold ------------------------------------------------------------------------------------------------------

// The first put of a store that takes its memory in the background, and then what a warm one takes in the same place.
static void put_first(const uint8_t *from) {
    ray_store *stores[STORES];
    double ratios[STORES];
    for (int i = 0; i < STORES; i++) {
        stores[i] = make_store(STORE_BYTES);
        must(ray_store_prefault_start(stores[i], RAY_PREFAULT_USUAL)); // as the node does
    }
    // All are up as long at the least; nobody works meanwhile.
    struct timespec up = {UP_SECONDS, 0};
    nanosleep(&up, NULL);
    for (int i = 0; i < STORES; i++) {
        double first = (double)put_by_library(stores[i], 1, from);
        delete_object(stores[i], 1);
        double warm[WARM_PUTS];
        for (int put = -1; put < WARM_PUTS; put++) {
            double time = (double)put_by_library(stores[i], 1, from);
            delete_object(stores[i], 1);
            if (put >= 0) {
                warm[put] = time;
            }
        }
        ratios[i] = median(warm, WARM_PUTS) / first;
        ray_store_close(stores[i]);
    }
    print("put_100mb_first_ratio", median(ratios, STORES), "ratio");
}

// The same with prefault off: nothing was touched before, and the machine has yet to find and clear the memory.
static void put_cold(const uint8_t *from) {
    double rates[STORES];
    for (int i = -1; i < STORES; i++) {
        ray_store *store = make_store(STORE_BYTES);
        double cold = rate(put_by_library(store, 1, from));
        if (i >= 0) {
            rates[i] = cold;
        }
        ray_store_close(store);
    }
    print("put_100mb_cold_gbs", median(rates, STORES), "GB/s");
}

void bench_large(ray_store *node) {
    uint8_t *from = malloc(BIG);
    if (from == NULL) {
        bench_fail("malloc", "no memory");
    }
    memset(from, 1, BIG);
    put_warm(node, from);
    put_first(from);
    put_cold(from);
    free(from);
}
