// SPDX-License-Identifier: Apache-2.0
// Sums of blocks: so that part of a large record can be read and believed without the rest.
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "raystore.h"

#define BLOCK ((uint64_t)RAY_SPILL_SUM_BYTES)

static uint8_t *some_bytes(uint64_t size) {
    uint64_t seed = size + 7;
    uint8_t *bytes = malloc(size + 8);
    CHECK(bytes != NULL);
    for (uint64_t at = 0; at < size; at += 8) {
        uint64_t word = check_random(&seed);
        memcpy(bytes + at, &word, 8);
    }
    return bytes;
}

static void lay(const uint8_t *bytes, uint64_t size, uint64_t *sums, uint64_t *checksum) {
    ray_spill_object object = {.data = bytes, .data_size = size, .sums = sums};
    uint8_t header[RAY_SPILL_HEADER_SIZE];
    ray_spill_part parts[RAY_SPILL_PARTS];
    ray_spill_lay(&object, 1, header, parts);
    *checksum = object.checksum;
}

// The bytes in three parts, of which one is empty.
static bool match(uint8_t *bytes, uint64_t from, uint64_t size, const uint64_t *sums, uint64_t *altered) {
    size_t first = (size_t)size / 3;
    ray_spill_part parts[3] = {{bytes, first}, {NULL, 0}, {bytes + first, (size_t)size - first}};
    return ray_spill_blocks_match(parts, 3, from, sums, altered);
}

static void everySizeHasASumForEachBlock(void) {
    static const uint64_t sizes[] = {0, 1, 5000, BLOCK - 1, BLOCK, BLOCK + 1, 2 * BLOCK, 3 * BLOCK - 1, 3 * BLOCK + 100000};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        uint64_t size = sizes[i];
        uint8_t *bytes = some_bytes(size);
        uint64_t count = ray_spill_sum_count(size);
        CHECK_EQUAL(count, (size + BLOCK - 1) / BLOCK);
        uint64_t sums[8] = {0};
        uint64_t with = 0;
        uint64_t without = 0;
        lay(bytes, size, sums, &with);
        lay(bytes, size, NULL, &without);
        CHECK_EQUAL(with, without);
        CHECK(ray_spill_matches(bytes, size, with));
        for (uint64_t block = 0; block < count; block++) {
            uint64_t part = size - block * BLOCK < BLOCK ? size - block * BLOCK : BLOCK;
            CHECK(ray_spill_matches(bytes + block * BLOCK, part, sums[block]));
        }
        CHECK_EQUAL(sums[count], 0); // nothing beyond them
        uint64_t altered = 0;
        CHECK(match(bytes, 0, size, sums, &altered));
        free(bytes);
    }
    CHECK_EQUAL(ray_spill_sum_count(UINT64_MAX), UINT64_MAX / BLOCK + 1);
}

static void aRangeIsWidenedToItsBlocks(void) {
    static const struct {
        uint64_t data, from, size, begin, end;
    } cases[] = {
        {10 * BLOCK, 0, 1, 0, BLOCK},
        {10 * BLOCK, BLOCK - 1, 1, 0, BLOCK},
        {10 * BLOCK, BLOCK - 1, 2, 0, 2 * BLOCK},
        {10 * BLOCK, BLOCK, BLOCK, BLOCK, 2 * BLOCK},
        {10 * BLOCK + 9, 10 * BLOCK, 1, 10 * BLOCK, 10 * BLOCK + 9},
        {10 * BLOCK + 9, 10 * BLOCK - 5, 14, 9 * BLOCK, 10 * BLOCK + 9},
        {100, 3, 4, 0, 100},
        {UINT64_MAX, UINT64_MAX - 1, 1, UINT64_MAX - (BLOCK - 1), UINT64_MAX},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        uint64_t from = cases[i].from;
        uint64_t size = cases[i].size;
        ray_spill_blocks(cases[i].data, &from, &size);
        CHECK_EQUAL(from, cases[i].begin);
        CHECK_EQUAL(from + size, cases[i].end);
    }
    uint64_t from = 77;
    uint64_t size = 0;
    ray_spill_blocks(100, &from, &size);
    CHECK_EQUAL(size, 0);
}

static void theAlteredBlockIsNamed(void) {
    uint64_t size = 3 * BLOCK + 100000;
    uint8_t *bytes = some_bytes(size);
    uint64_t sums[4];
    uint64_t checksum;
    lay(bytes, size, sums, &checksum);
    uint64_t altered = 0;
    bytes[2 * BLOCK + 5] ^= 1;
    CHECK(match(bytes, 0, 2 * BLOCK, sums, &altered));
    CHECK(match(bytes + 3 * BLOCK, 3 * BLOCK, 100000, sums, &altered));
    CHECK(!match(bytes + BLOCK, BLOCK, size - BLOCK, sums, &altered));
    CHECK_EQUAL(altered, 2 * BLOCK);
    bytes[2 * BLOCK + 5] ^= 1;
    bytes[size - 1] ^= 1;
    CHECK(!match(bytes + 3 * BLOCK, 3 * BLOCK, 100000, sums, &altered));
    CHECK_EQUAL(altered, 3 * BLOCK);
    free(bytes);
}

int main(void) {
    RUN(everySizeHasASumForEachBlock);
    RUN(aRangeIsWidenedToItsBlocks);
    RUN(theAlteredBlockIsNamed);
    return 0;
}
