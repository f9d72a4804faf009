// SPDX-License-Identifier: Apache-2.0
#ifndef RAY_SPILL_ANNOUNCE_INTERNAL_H
#define RAY_SPILL_ANNOUNCE_INTERNAL_H

#include "raystore/spill.h"

// Writes RAY_SPILL_ANNOUNCED_SIZE bytes and 4 for each frame.
void ray__announcement_write(uint8_t *bytes, uint64_t data_size, const uint32_t *frames, uint32_t frame_count);

#endif
