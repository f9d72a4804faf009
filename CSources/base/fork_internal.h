// SPDX-License-Identifier: Apache-2.0
// Telling a fork's child from its parent, cheaply enough for every call.
#ifndef RAY_BASE_FORK_INTERNAL_H
#define RAY_BASE_FORK_INTERNAL_H

#include <stdint.h>

#include "base/atomic_internal.h"

// How many forks lie between this process and the one that loaded the library. Changed by fork alone.
extern uint32_t ray__fork_count;

// Must have run once in this process before a handle remembers the count.
void ray__fork_watch(void);

static inline uint32_t ray__fork_generation(void) {
    return ray__shm_load32_relaxed(&ray__fork_count);
}

#endif
