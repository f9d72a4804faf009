// SPDX-License-Identifier: Apache-2.0
// What packing a block should be done with, by what is known of the storage and of the data. Any thread.
#ifndef RAY_SPILL_PACE_INTERNAL_H
#define RAY_SPILL_PACE_INTERNAL_H

#include "codec/tuner_internal.h"
#include "raystore/spill.h"

// The codec for a block of which a sample of raw_size bytes became stored_size by zstd 1 in so much time of a core.
ray__choice ray__pace_choose(ray_spill_pace *pace, uint32_t raw_size, uint32_t stored_size, uint64_t core_ns);
// What came of it.
void ray__pace_packed(ray_spill_pace *pace, ray__choice choice, uint32_t raw_size, uint32_t stored_size, uint64_t core_ns);

#endif
