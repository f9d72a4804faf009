// SPDX-License-Identifier: Apache-2.0
// The client's and the bulk protocol's messages have the same names in C, so the seeds are made by more than one file.
#ifndef RAY_TESTS_SEEDS_H
#define RAY_TESTS_SEEDS_H

#include <stddef.h>

typedef void (*write_seed_fn)(const char *target, const char *name, const void *bytes, size_t size);

void client_seeds(write_seed_fn write_seed);
void script_seeds(write_seed_fn write_seed);

#endif
