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

static uint64_t variant_end(const ray__checksum *sum) {
    return XXH3_64bits_digest((const XXH3_state_t *)(const void *)sum->opaque);
}
