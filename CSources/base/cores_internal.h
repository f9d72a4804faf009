// SPDX-License-Identifier: Apache-2.0
#ifndef RAY_BASE_CORES_INTERNAL_H
#define RAY_BASE_CORES_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

// What the cores that this thread may run on did since the machine started, in the kernel's ticks.
typedef struct ray__cores {
    uint64_t idle;
    uint64_t total;
    uint32_t count;
} ray__cores;

// False where the kernel does not tell.
bool ray__cores_read(ray__cores *cores);

// Nanoseconds of a core that this thread has used, and that all of the process has.
uint64_t ray__thread_core_ns(void);
uint64_t ray__process_core_ns(void);

#endif
