// SPDX-License-Identifier: Apache-2.0
// Assertions for the core's tests. Each test program is a process of its own: it names its cases with RUN, prints both operands
// of what does not hold, and exits 0 (passed), 1 (failed) or 77 (skipped, with a reason).
#ifndef RAY_TESTS_CHECK_H
#define RAY_TESTS_CHECK_H

#include <inttypes.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "raystore.h"

#define CHECK(condition)                                                                      \
    do {                                                                                      \
        if (!(condition)) {                                                                   \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition);    \
            exit(1);                                                                          \
        }                                                                                     \
    } while (0)

#define CHECK_EQUAL(actual, expected)                                                                     \
    do {                                                                                                  \
        int64_t check_actual_ = (int64_t)(actual);                                                        \
        int64_t check_expected_ = (int64_t)(expected);                                                    \
        if (check_actual_ != check_expected_) {                                                           \
            fprintf(stderr, "%s:%d: %s is %" PRId64 ", expected %s = %" PRId64 "\n", __FILE__, __LINE__,  \
                    #actual, check_actual_, #expected, check_expected_);                                  \
            exit(1);                                                                                      \
        }                                                                                                 \
    } while (0)

#define CHECK_STATUS(expression, expected)                                                                  \
    do {                                                                                                    \
        ray_status check_status_ = (expression);                                                            \
        if (check_status_ != (expected)) {                                                                  \
            fprintf(stderr, "%s:%d: %s answered %s (%s), expected %s\n", __FILE__, __LINE__, #expression,   \
                    ray_status_name(check_status_), ray_last_error_message(), ray_status_name(expected));   \
            exit(1);                                                                                        \
        }                                                                                                   \
    } while (0)

#define CHECK_OK(expression) CHECK_STATUS(expression, RAY_OK)

#define RUN(test)                               \
    do {                                        \
        fprintf(stderr, "  %s\n", #test);       \
        test();                                 \
    } while (0)

#define SKIP(reason)                            \
    do {                                        \
        printf("skipped: %s\n", reason);        \
        exit(77);                               \
    } while (0)

// Where a test makes its files; the runner gives each program a folder of its own and looks what is left in it.
__attribute__((unused)) static const char *check_folder(void) {
    const char *folder = getenv("TMPDIR");
    return folder != NULL && folder[0] != '\0' ? folder : "/tmp";
}

// The same in memory, where there is some.
__attribute__((unused)) static const char *check_folder_in_memory(void) {
    const char *folder = getenv("RAYSTORE_TEST_MEMORY");
    return folder != NULL && folder[0] != '\0' ? folder : access("/dev/shm", W_OK) == 0 ? "/dev/shm" : check_folder();
}

// The seed of a randomised test: RAYSTORE_SEED, or the time. Printed first, so that a failure can be run again.
static inline uint64_t check_seed(void) {
    const char *given = getenv("RAYSTORE_SEED");
    uint64_t seed = given != NULL ? strtoull(given, NULL, 0) : (uint64_t)time(NULL) * 2654435761u + (uint64_t)getpid();
    fprintf(stderr, "  RAYSTORE_SEED=%" PRIu64 "\n", seed);
    return seed;
}

// splitmix64 (Steele, Lea, Flood 2014).
static inline uint64_t check_random(uint64_t *state) {
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

#endif
