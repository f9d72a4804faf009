// SPDX-License-Identifier: Apache-2.0
// The body of one checksum variant. The including file has set the instruction set and XXH_VECTOR, and has included xxhash.h with
// XXH_INLINE_ALL inside the target region; so everything here is compiled for that instruction set. It defines stream_line,
// which writes 64 bytes past the caches where there are instructions for that, and line_fence, which orders such writes with what follows, a seal
// for instance.
// No include guard: each variant's file includes it once.
#include <assert.h>
#include <stdint.h>
#include <string.h>

static_assert(sizeof(XXH3_state_t) <= sizeof(ray__checksum), "the checksum state must hold XXH3's");
static_assert(_Alignof(XXH3_state_t) <= _Alignof(ray__checksum), "the checksum state must be aligned as XXH3's");

static uint64_t variant_of(const void *bytes, size_t size) {
    return XXH3_64bits(bytes, size);
}

static void variant_begin(ray__checksum *sum) {
    XXH3_64bits_reset((XXH3_state_t *)(void *)sum->opaque);
}

static void variant_add(ray__checksum *sum, const void *bytes, size_t size) {
    if (size != 0) {
        XXH3_64bits_update((XXH3_state_t *)(void *)sum->opaque, bytes, size);
    }
}

// Lines go out of a core slower than they are hashed, and on their own: while those of one tile do, the tile, which lies in the first cache by
// then, is hashed. 19.5 GB/s with AVX512, where a copy of 256 KiB at once and its hash before take 12.5; 2 and 16 KiB gain less.
#define TILE (8u << 10)
#define LINE 64u

static void copy_tile(uint8_t *to, const uint8_t *from, size_t size) {
    size_t front = (LINE - (uintptr_t)to % LINE) % LINE;
    front = front < size ? front : size;
    memcpy(to, from, front);
    size_t at = front;
    for (; size - at >= LINE; at += LINE) {
        stream_line(to + at, from + at);
    }
    memcpy(to + at, from + at, size - at);
}

static void variant_add_around(ray__checksum *sum, void *to, const void *from, size_t size) {
    for (size_t at = 0; at < size; at += TILE) {
        size_t tile = size - at < TILE ? size - at : TILE;
        copy_tile((uint8_t *)to + at, (const uint8_t *)from + at, tile);
        variant_add(sum, (const uint8_t *)from + at, tile);
    }
    line_fence();
}

static uint64_t variant_end(const ray__checksum *sum) {
    return XXH3_64bits_digest((const XXH3_state_t *)(const void *)sum->opaque);
}
