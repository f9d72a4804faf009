// SPDX-License-Identifier: Apache-2.0
// Checksum for machines with AVX2. The package may set no compiler flags, so a region of the file is compiled for it.
#include "base/checksum_internal.h"

#if defined(__x86_64__)

// Before the region: headers must not be compiled for another machine than their other users'.
#include <immintrin.h>
#include <stdlib.h>
#include <string.h>

#if defined(__clang__)
#pragma clang attribute push(__attribute__((target("avx2"))), apply_to = function)
#else
#pragma GCC push_options
#pragma GCC target("avx2")
#endif

#define XXH_INLINE_ALL
#define XXH_VECTOR XXH_AVX2
#include <xxhash.h>

static inline void stream_line(uint8_t *to, const uint8_t *from) {
    __m256i first = _mm256_loadu_si256((const void *)from);
    __m256i second = _mm256_loadu_si256((const void *)(from + 32));
    _mm256_stream_si256((void *)to, first);
    _mm256_stream_si256((void *)(to + 32), second);
}

static inline void line_fence(void) {
    _mm_sfence();
}

#include "base/checksum_variant_internal.h"

#if defined(__clang__)
#pragma clang attribute pop
#else
#pragma GCC pop_options
#endif

const ray__checksum_variant ray__checksum_avx2 = {"avx2", variant_of, variant_begin, variant_add, variant_end, variant_copy};

#else
// A file needs one declaration.
typedef int ray__checksum_avx2_is_for_x86;
#endif
