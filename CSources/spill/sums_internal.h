// SPDX-License-Identifier: Apache-2.0
// Checksums of an object's data where it lies.
#ifndef RAY_SPILL_SUMS_INTERNAL_H
#define RAY_SPILL_SUMS_INTERNAL_H

#include "raystore/spill.h"

// Sets checksum, and sums if there is room for them, to those of the object's data, all of which it reads.
void ray__spill_sum(ray_spill_object *object);

#endif
