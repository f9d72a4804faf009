// SPDX-License-Identifier: Apache-2.0
// Goal: what is copied by several threads is all there, and so is each chunk's checksum. Method: sizes around those where chunks, parts and
// pages end, places that are aligned to nothing, and bytes before and behind that must stay.
#include "base/checksum_internal.h"
#include "check.h"
#include "plasma/store_internal.h"

#define MIB ((uint64_t)1 << 20)
#define LARGEST (25 * MIB)
#define EDGE 4096u

static uint8_t *from;
static uint8_t *to;

static void check(uint64_t size, uint32_t chunk_size, uint32_t from_at, uint32_t to_at) {
    static uint64_t sums[LARGEST / (64 << 10) + 2];
    uint64_t count = (size + chunk_size - 1) / chunk_size;
    memset(to, 0xee, size + 2 * EDGE);
    memset(sums, 0, sizeof sums);
    ray__copy_summed(to + EDGE + to_at, from + from_at, size, chunk_size, sums);
    CHECK_EQUAL(memcmp(to + EDGE + to_at, from + from_at, size), 0);
    for (uint64_t i = 0; i < count; i++) {
        uint64_t at = i * chunk_size;
        CHECK(sums[i] == ray__checksum_of(from + from_at + at, size - at < chunk_size ? size - at : chunk_size));
    }
    CHECK(sums[count] == 0);
    for (uint32_t i = 0; i < EDGE - 64; i++) {
        CHECK(to[i] == 0xee && to[EDGE + to_at + size + i] == 0xee);
    }
}

static void everyByteAndEveryChunkIsThere(void) {
    static const uint64_t sizes[] = {1,           63,          240,         241,      64 << 10,     4 * MIB - 1, 4 * MIB,
                                     4 * MIB + 1, 4 * MIB + 64, 8 * MIB,     8 * MIB + 7, 12 * MIB - 1, 13 * MIB,   24 * MIB + 1};
    for (uint32_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        check(sizes[i], 4 << 20, 0, 0);
        check(sizes[i], 4 << 20, 3, 0);
        check(sizes[i], 4 << 20, 3, 17);
        check(sizes[i], 64 << 10, 0, 0);
    }
}

int main(void) {
    from = malloc(LARGEST + EDGE);
    to = aligned_alloc(EDGE, LARGEST + 3 * EDGE);
    CHECK(from != NULL && to != NULL);
    uint64_t seed = check_seed();
    for (uint64_t i = 0; i + 8 <= LARGEST + EDGE; i += 8) {
        uint64_t word = check_random(&seed);
        memcpy(from + i, &word, 8);
    }
    RUN(everyByteAndEveryChunkIsThere);
    free(from);
    free(to);
    return 0;
}
