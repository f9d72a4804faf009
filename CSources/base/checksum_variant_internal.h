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

// The sum of bytes that are all here, as XXH3 takes long ones (its specification, doc/xxhash_spec.md of xxHash): eight words that take up lines of 64 bytes,
// each with its own place in the secret, and are scrambled after sixteen lines. So a line that is read goes to its place and into the sum at once: from
// memory to memory that takes about as long as the copy alone, 0.93 to 0.99 of its rate by two threads, where hashing a tile and then streaming it takes 0.72.
#define LINE 64u
#define LINES_A_BLOCK ((XXH_SECRET_DEFAULT_SIZE - XXH_STRIPE_LEN) / XXH_SECRET_CONSUME_RATE)
#define LAST_LINE (XXH3_kSecret + XXH_SECRET_DEFAULT_SIZE - XXH_STRIPE_LEN - XXH_SECRET_LASTACC_START)
#define FETCH_AHEAD 4096u // into the next page

static_assert(XXH_STRIPE_LEN == LINE, "a stripe of the sum is a line of the copy");

static uint64_t variant_copy(void *to, const void *from, size_t size) {
    if (size <= XXH3_MIDSIZE_MAX || (uintptr_t)to % LINE != 0) {
        memcpy(to, from, size);
        return variant_of(from, size);
    }
    XXH_ALIGN(XXH_ACC_ALIGN) XXH64_hash_t lane[XXH_ACC_NB] = XXH3_INIT_ACC;
    const uint8_t *in = from;
    uint8_t *out = to;
    size_t lines = (size - 1) / LINE; // the last is summed up apart, whole or not
    for (size_t line = 0; line < lines; line += LINES_A_BLOCK) {
        size_t count = lines - line < LINES_A_BLOCK ? lines - line : LINES_A_BLOCK;
        for (size_t i = 0; i < count; i++) {
            const uint8_t *at = in + (line + i) * LINE;
            XXH_PREFETCH(at + FETCH_AHEAD);
            stream_line(out + (line + i) * LINE, at);
            XXH3_accumulate_512(lane, at, XXH3_kSecret + i * XXH_SECRET_CONSUME_RATE);
        }
        if (count == LINES_A_BLOCK) {
            XXH3_scrambleAcc(lane, XXH3_kSecret + XXH_SECRET_DEFAULT_SIZE - XXH_STRIPE_LEN);
        }
    }
    XXH3_accumulate_512(lane, in + size - LINE, LAST_LINE);
    memcpy(out + lines * LINE, in + lines * LINE, size - lines * LINE);
    line_fence();
    return XXH3_mergeAccs(lane, XXH3_kSecret + XXH_SECRET_MERGEACCS_START, (uint64_t)size * XXH_PRIME64_1);
}
