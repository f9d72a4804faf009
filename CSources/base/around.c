// SPDX-License-Identifier: Apache-2.0
// Whole lines are written past the caches where the architecture has instructions for it that every machine has; elsewhere this is memcpy.
#include "base/around_internal.h"

#include <stdint.h>
#include <string.h>

#if defined(__x86_64__)

#include <emmintrin.h>

#define LINE 64u

void ray__copy_around(void *to, const void *from, size_t size) {
    uint8_t *out = to;
    const uint8_t *in = from;
    size_t front = (LINE - (uintptr_t)out % LINE) % LINE;
    front = front < size ? front : size;
    memcpy(out, in, front);
    size_t at = front;
    for (; size - at >= LINE; at += LINE) {
        __m128i words[4];
        memcpy(words, in + at, LINE);
        __m128i *line = (__m128i *)(void *)(out + at);
        _mm_stream_si128(line, words[0]);
        _mm_stream_si128(line + 1, words[1]);
        _mm_stream_si128(line + 2, words[2]);
        _mm_stream_si128(line + 3, words[3]);
    }
    memcpy(out + at, in + at, size - at);
    // Such writes are not ordered with what follows, a seal for instance, unless told to be.
    _mm_sfence();
}

#else

void ray__copy_around(void *to, const void *from, size_t size) {
    memcpy(to, from, size);
}

#endif
