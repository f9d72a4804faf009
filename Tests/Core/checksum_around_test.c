// SPDX-License-Identifier: Apache-2.0
// Hashing while copying around the caches, in every variant: at every alignment of both sides and every size around the length of a line, and at
// sizes around those of the tiles, all of it arrives, nothing beside, and the checksum is that of the bytes.
#include "base/checksum_internal.h"
#include "check.h"

enum { LINE = 64, SIZE_MAX_TRIED = 5 * LINE + 3, ROOM = SIZE_MAX_TRIED + 4 * LINE, LARGE = (256 << 10) + 3 };

static void fill(uint8_t *bytes, size_t size) {
    uint64_t seed = 11;
    for (size_t i = 0; i < size; i++) {
        bytes[i] = (uint8_t)(check_random(&seed) | 1);
    }
}

static void everyAlignmentAndSizeArrivesWhole(void) {
    static _Alignas(LINE) uint8_t from[ROOM];
    static _Alignas(LINE) uint8_t to[ROOM];
    const ray__checksum_variant *variants[4];
    size_t count = ray__checksum_variants(variants, 4);
    fill(from, sizeof from);
    for (size_t v = 0; v < count; v++) {
        for (size_t out = LINE; out < 2 * LINE; out++) {
            for (size_t in = 0; in < LINE; in += 7) {
                ray__checksum sum;
                for (size_t size = 0; size <= SIZE_MAX_TRIED; size++) {
                    memset(to, 0, sizeof to);
                    variants[v]->begin(&sum);
                    variants[v]->add_around(&sum, to + out, from + in, size);
                    CHECK(memcmp(to + out, from + in, size) == 0);
                    CHECK(variants[v]->end(&sum) == ray__checksum_of(from + in, size));
                    for (size_t beside = 1; beside <= LINE; beside++) {
                        CHECK_EQUAL(to[out - beside], 0);
                        CHECK_EQUAL(to[out + size + beside - 1], 0);
                    }
                }
            }
        }
    }
}

static void tilesAndPiecesOfAnySizeMakeOneChecksum(void) {
    uint8_t *from = malloc(LARGE);
    uint8_t *to = malloc(LARGE);
    CHECK(from != NULL && to != NULL);
    fill(from, LARGE);
    uint64_t seed = check_seed();
    const ray__checksum_variant *variants[4];
    size_t count = ray__checksum_variants(variants, 4);
    for (size_t v = 0; v < count; v++) {
        for (int round = 0; round < 20; round++) {
            memset(to, 0, LARGE);
            ray__checksum sum;
            variants[v]->begin(&sum);
            for (size_t at = 0; at < LARGE;) {
                size_t piece = 1 + (size_t)(check_random(&seed) % (round == 0 ? LARGE : 40000));
                piece = piece > LARGE - at ? LARGE - at : piece;
                variants[v]->add_around(&sum, to + at, from + at, piece);
                at += piece;
            }
            CHECK(variants[v]->end(&sum) == ray__checksum_of(from, LARGE));
            CHECK(memcmp(from, to, LARGE) == 0);
        }
    }
    free(to);
    free(from);
}

static void theVariantThatIsUsedCopiesAndHashes(void) {
    static uint8_t from[3 * LINE + 5];
    static uint8_t to[3 * LINE + 5];
    fill(from, sizeof from);
    ray__checksum sum;
    ray__checksum_begin(&sum);
    ray__checksum_add_around(&sum, to, from, sizeof from);
    CHECK(ray__checksum_end(&sum) == ray__checksum_of(from, sizeof from));
    CHECK(memcmp(to, from, sizeof from) == 0);
}

int main(void) {
    RUN(everyAlignmentAndSizeArrivesWhole);
    RUN(tilesAndPiecesOfAnySizeMakeOneChecksum);
    RUN(theVariantThatIsUsedCopiesAndHashes);
    return 0;
}
