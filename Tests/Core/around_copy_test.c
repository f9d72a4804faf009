// SPDX-License-Identifier: Apache-2.0
// Copying around the caches, at every alignment of both sides and every size around the length of a line: all of it arrives, nothing beside.
#include "base/around_internal.h"
#include "check.h"

enum { LINE = 64, SIZE_MAX_TRIED = 5 * LINE + 3, ROOM = SIZE_MAX_TRIED + 4 * LINE };

static void everyAlignmentAndSizeArrivesWhole(void) {
    static _Alignas(LINE) uint8_t from[ROOM];
    static _Alignas(LINE) uint8_t to[ROOM];
    uint64_t seed = 11;
    for (size_t i = 0; i < sizeof from; i++) {
        from[i] = (uint8_t)(check_random(&seed) | 1);
    }
    for (size_t out = LINE; out < 2 * LINE; out++) {
        for (size_t in = 0; in < LINE; in += 7) {
            for (size_t size = 0; size <= SIZE_MAX_TRIED; size++) {
                memset(to, 0, sizeof to);
                ray__copy_around(to + out, from + in, size);
                CHECK(memcmp(to + out, from + in, size) == 0);
                for (size_t beside = 1; beside <= LINE; beside++) {
                    CHECK_EQUAL(to[out - beside], 0);
                    CHECK_EQUAL(to[out + size + beside - 1], 0);
                }
            }
        }
    }
}

int main(void) {
    RUN(everyAlignmentAndSizeArrivesWhole);
    return 0;
}
