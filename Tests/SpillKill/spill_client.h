// SPDX-License-Identifier: Apache-2.0
// What the clients of nodes that spill have in common: bytes that can be told from all others, numbers at random, time.
#ifndef SPILL_CLIENT_H
#define SPILL_CLIENT_H

#include <stdint.h>
#include <string.h>
#include <time.h>

// The bytes of the object of this seed. Every other object shrinks when it is packed: of eight words it has one that is new.
static inline void spill_fill(uint8_t *bytes, uint64_t seed, uint64_t size) {
    uint64_t word = seed | 1;
    uint64_t alike = (seed & 2) != 0 ? 7 * sizeof word : 0;
    for (uint64_t at = 0; at < size; at += sizeof word) {
        memcpy(bytes + at, &word, size - at < sizeof word ? size - at : sizeof word);
        if ((at & alike) != 0) {
            continue;
        }
        word = word * 6364136223846793005u + 1442695040888963407u;
    }
}

static inline uint64_t spill_random(uint64_t *state) {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static inline uint64_t spill_random_start(uint64_t seed) {
    return seed * 2654435761u + 88172645463325252u;
}

static inline uint64_t spill_now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

#endif
