// SPDX-License-Identifier: Apache-2.0
// A copy that answers its checksum, in every variant: all of it arrives, nothing beside, and the checksum is that of the bytes.
#include "base/checksum_internal.h"
#include "check.h"

enum { LINE = 64, MOST = 2 * 1024 + 3 * LINE };

static void fill(uint8_t *bytes, size_t size) {
    uint64_t seed = 11;
    for (size_t i = 0; i < size; i++) {
        bytes[i] = (uint8_t)(check_random(&seed) | 1);
    }
}

// Of every size up to beyond two blocks of the sum (1 KiB each), where its last line and its last block end in all ways.
static void aCopyAnswersTheChecksum(void) {
    static _Alignas(LINE) uint8_t from[MOST + LINE];
    static _Alignas(LINE) uint8_t to[MOST + 3 * LINE];
    const ray__checksum_variant *variants[4];
    size_t count = ray__checksum_variants(variants, 4);
    fill(from, sizeof from);
    for (size_t v = 0; v < count; v++) {
        for (size_t size = 0; size <= MOST; size++) {
            for (size_t shift = 0; shift < 3; shift++) {
                size_t in = shift == 0 ? 0 : 13;
                size_t out = shift == 2 ? LINE + 5 : LINE;
                memset(to, 0, sizeof to);
                uint64_t sum = variants[v]->copy(to + out, from + in, size);
                CHECK(sum == ray__checksum_of(from + in, size));
                CHECK(memcmp(to + out, from + in, size) == 0);
                for (size_t beside = 1; beside <= LINE; beside++) {
                    CHECK_EQUAL(to[out - beside], 0);
                    CHECK_EQUAL(to[out + size + beside - 1], 0);
                }
            }
        }
    }
    memset(to, 0, sizeof to);
    CHECK(ray__checksum_copy(to, from, MOST) == ray__checksum_of(from, MOST));
    CHECK(memcmp(to, from, MOST) == 0);
}

int main(void) {
    RUN(aCopyAnswersTheChecksum);
    return 0;
}
