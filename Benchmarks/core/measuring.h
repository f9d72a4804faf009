// SPDX-License-Identifier: Apache-2.0
// What the benchmarks' programs share: the clock, giving up, bytes that do not pack.
#ifndef RAY_BENCH_MEASURING_H
#define RAY_BENCH_MEASURING_H

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/random.h>
#include <time.h>

#include "raystore.h"

static inline double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static inline void fail(const char *what, const char *why) {
    fprintf(stderr, "%s: %s: %s\n", program_invocation_short_name, what, why);
    exit(1);
}

static inline void must(ray_status status) {
    if (status != RAY_OK) {
        fail(ray_status_name(status), ray_last_error_message());
    }
}

static inline void fill_random(void *bytes, size_t size) {
    for (size_t at = 0; at < size;) {
        ssize_t got = getrandom((char *)bytes + at, size - at, 0);
        if (got < 0 && errno != EINTR) {
            fail("getrandom", "failed");
        }
        at += got < 0 ? 0 : (size_t)got;
    }
}

#endif
