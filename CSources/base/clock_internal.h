// SPDX-License-Identifier: Apache-2.0
// Monotonic time, in nanoseconds.
#ifndef RAY_BASE_CLOCK_INTERNAL_H
#define RAY_BASE_CLOCK_INTERNAL_H

#include <stdint.h>

uint64_t ray__now_ns(void);

// The same clock, some milliseconds behind, for a few nanoseconds.
uint64_t ray__now_coarse_ns(void);

// Since the epoch, some milliseconds behind, as the times of files are.
int64_t ray__wall_ns(void);

// now + timeout, RAY_FOREVER if that is beyond what fits.
uint64_t ray__deadline_ns(uint64_t timeout_ns);

#endif
