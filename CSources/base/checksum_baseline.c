// SPDX-License-Identifier: Apache-2.0
// Checksum for what every machine of the architecture has (SSE2 on x86-64, NEON on arm64).
#include "base/checksum_internal.h"

#define XXH_INLINE_ALL
#include <xxhash.h>

#include "base/checksum_variant_internal.h"

const ray__checksum_variant ray__checksum_baseline = {"baseline", variant_of, variant_begin, variant_add, variant_end};
