// SPDX-License-Identifier: Apache-2.0
// Checksum for what every machine of the architecture has (SSE2 on x86-64, NEON on arm64).
#include "base/checksum_internal.h"

#include <string.h>

#if defined(__x86_64__)
#include <emmintrin.h>
#endif

#define XXH_INLINE_ALL
#include <xxhash.h>

#if defined(__x86_64__)

static inline void stream_line(uint8_t *to, const uint8_t *from) {
    for (int i = 0; i < 64; i += 16) {
        _mm_stream_si128((void *)(to + i), _mm_loadu_si128((const void *)(from + i)));
    }
}

static inline void line_fence(void) {
    _mm_sfence();
}

#else

static inline void stream_line(uint8_t *to, const uint8_t *from) {
    memcpy(to, from, 64);
}

static inline void line_fence(void) {
}

#endif

#include "base/checksum_variant_internal.h"

const ray__checksum_variant ray__checksum_baseline = {"baseline", variant_of, variant_begin, variant_add, variant_end, variant_copy};
