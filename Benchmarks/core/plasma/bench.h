// SPDX-License-Identifier: Apache-2.0
// What the store's benchmarks share: the clock, medians, lines of output, and processes that measure together.
#ifndef RAY_BENCH_PLASMA_BENCH_H
#define RAY_BENCH_PLASMA_BENCH_H

#include <semaphore.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "raystore.h"

enum { RUNS = 7, SMALL = 1024 };

#define BIG (100u << 20)

// Says why on standard error and ends the process with 1.
void bench_fail(const char *reason, const char *detail) __attribute__((noreturn));

static inline void must(ray_status status) {
    if (__builtin_expect(status != RAY_OK, 0)) {
        bench_fail(ray_status_name(status), ray_last_error_message());
    }
}

uint64_t now_ns(void);

// Sorts the values. part: 0.5 is the median.
double quantile(double *values, int count, double part);
double median(double *values, int count);

// To standard error: why a figure is missing.
void note(const char *text);
// {"name":"plasma.c.<name>",...} on standard output.
void print(const char *name, double value, const char *unit);

static inline uint64_t next_random(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static inline ray_object_id id_of(uint32_t number) {
    ray_task_id task = ray_task_id_driver(1);
    return ray_object_id_make(&task, number);
}

ray_store *make_store(uint64_t capacity_bytes);

// ---- other processes -----------------------------------------------------------------------------------------------------

// Zeroed memory that forked processes share.
void *share(size_t size);

typedef struct helper {
    pid_t pid;
    uint32_t slot;
} helper;

// Forks a process that attaches to the store as a client of its own, by the descriptors, and runs body there. It dies with this one.
helper start_helper(ray_store *node, void (*body)(ray_store *store, void *argument), void *argument);

// Waits for the end of body. Fails if it failed.
void end_helper(ray_store *node, helper h);

// Binds this process and the helper: to one core, or to one each, or (FREE) to none. False, and nothing done, when there is only one core.
typedef enum placement { FREE, ONE_CORE, TWO_CORES } placement;
bool bind_to_cores(helper h, placement where);

// Sleeping, for what is not measured. Fails after half a minute: the other is gone.
void make_semaphore(sem_t *semaphore);
void sleep_on(sem_t *semaphore);

// Spinning until the word has the value, for hand-overs that must not sleep. Fails if a helper has ended.
void spin_until(const _Atomic uint32_t *word, uint32_t value);

// ---- the suites ----------------------------------------------------------------------------------------------------------

void bench_small(ray_store *node);
void bench_across(ray_store *node);
void bench_large(ray_store *node);

#endif
