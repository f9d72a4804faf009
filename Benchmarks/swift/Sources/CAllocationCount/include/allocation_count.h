// SPDX-License-Identifier: Apache-2.0
// Counts what a program allocates: linking this in puts a count before the C library's malloc, calloc, realloc and their aligned kin.
#ifndef RAY_BENCH_ALLOCATION_COUNT_H
#define RAY_BENCH_ALLOCATION_COUNT_H

#include <stdint.h>

// Blocks that the calling thread has allocated so far. realloc counts as one.
uint64_t allocation_count(void);

#endif
