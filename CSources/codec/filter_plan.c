// SPDX-License-Identifier: Apache-2.0
// Which blocks of a chunk are better off as deltas: a small part of each is counted both ways.
//
// The measure is the entropy of single bytes. It does not see what repeats, but deltas of what repeats repeat as well, so nothing is lost
// by believing it; and text, whose deltas are of more kinds than itself, is never taken for numbers.
#include <pthread.h>
#include <string.h>

#include "codec/filter_internal.h"

#define COUNTED 2048u // bytes of a block that are counted
#define TRIED 8u      // blocks of a chunk that decide whether to look at all, and for which width
// Entropy that deltas must save, in sixteenths.
#define SAVED_16TH 1u
// Bits for two bytes below which there is nothing left to save: zeros and the like are packed faster than they are looked at.
#define LITTLE 1u

static uint32_t count_bits[COUNTED + 1]; // n * log2(n), in 256ths of a bit
static pthread_once_t made = PTHREAD_ONCE_INIT;

// log2 in 256ths: the whole part by shifts, the rest by squaring.
static uint32_t log2_of(uint32_t n) {
    uint32_t whole = 31u - (uint32_t)__builtin_clz(n);
    uint64_t x = ((uint64_t)n << 32) >> whole; // 1 to 2, with 32 bits behind the point
    uint32_t rest = 0;
    for (int bit = 0; bit < 8; bit++) {
        x = (x * x) >> 32;
        rest <<= 1;
        if (x >= 2ull << 32) {
            x >>= 1;
            rest |= 1;
        }
    }
    return whole << 8 | rest;
}

static void make_table(void) {
    for (uint32_t n = 2; n <= COUNTED; n++) {
        count_bits[n] = n * log2_of(n);
    }
}

// Bits of all counted bytes together, in 256ths.
static uint32_t entropy_of(const uint8_t *bytes, uint32_t size) {
    uint16_t counts[4][256];
    memset(counts, 0, sizeof counts);
    uint32_t i = 0;
    // Four tables, so that runs of one byte do not wait for themselves.
    for (; i + 4 <= size; i += 4) {
        counts[0][bytes[i]]++;
        counts[1][bytes[i + 1]]++;
        counts[2][bytes[i + 2]]++;
        counts[3][bytes[i + 3]]++;
    }
    for (; i < size; i++) {
        counts[0][bytes[i]]++;
    }
    uint32_t saved = 0;
    for (uint32_t value = 0; value < 256; value++) {
        saved += count_bits[(uint32_t)counts[0][value] + counts[1][value] + counts[2][value] + counts[3][value]];
    }
    return count_bits[size] - saved;
}

static uint8_t planned_of(uint32_t width, uint32_t offset) {
    return (uint8_t)((width == 2 ? 1u : width == 4 ? 2u : 3u) << 4 | offset);
}

// The same of deltas, with words of this width at this offset from the block's begin.
static uint32_t entropy_of_deltas(const uint8_t *block, uint32_t size, uint32_t at, uint8_t planned) {
    uint8_t words[COUNTED + 16];
    uint8_t deltas[COUNTED + 16];
    uint32_t from = at + (planned & 0x07u);
    uint32_t counted = size - at < COUNTED ? size - at : COUNTED;
    memcpy(words, block + from, from + counted + 8 <= size ? counted + 8 : size - from);
    uint32_t rest = size - from < counted ? size - from : counted;
    uint8_t aligned = planned & 0x30u; // the words begin with the copy
    ray__deltas_apply(&aligned, words, rest, deltas);
    return entropy_of(deltas, rest);
}

typedef struct block_look {
    uint8_t planned;
    uint32_t saved; // 0: leave it
} block_look;

// Looks at one block, for words of this width; `guess` is what the block before it got.
static block_look look(const uint8_t *block, uint32_t size, uint32_t width, bool is_aligned, uint8_t guess) {
    block_look best = {0, 0};
    if (size < 64) {
        return best;
    }
    uint32_t at = size > 2 * COUNTED ? (size / 2) & ~7u : 0;
    uint32_t counted = size - at < COUNTED ? size - at : COUNTED;
    uint32_t raw = entropy_of(block + at, counted);
    if (raw < counted / 2 * LITTLE * 256) {
        return best;
    }
    uint32_t must_save = raw / 16 * SAVED_16TH + 256;
    if (guess != 0 && guess >> 4 == planned_of(width, 0) >> 4) {
        uint32_t bits = entropy_of_deltas(block, size, at, guess);
        if (bits + 2 * must_save < raw) {
            return (block_look){guess, raw - bits};
        }
    }
    for (uint32_t offset = 0; offset < (is_aligned ? 1 : width); offset++) {
        uint8_t planned = planned_of(width, offset);
        uint32_t bits = entropy_of_deltas(block, size, at, planned);
        if (bits + must_save < raw && raw - bits > best.saved) {
            best = (block_look){planned, raw - bits};
        }
    }
    return best;
}

// The width that saves most in some blocks of the chunk; 0: none does.
static uint32_t find_width(const uint8_t *raw, uint32_t raw_size) {
    static const uint32_t widths[] = {4, 8, 2};
    uint32_t blocks = (raw_size + RAY__FILTER_BLOCK - 1) / RAY__FILTER_BLOCK;
    uint32_t tried = blocks < TRIED ? blocks : TRIED;
    uint64_t most = 0;
    uint32_t best = 0;
    for (size_t w = 0; w < sizeof widths / sizeof widths[0]; w++) {
        uint64_t saved = 0;
        for (uint32_t i = 0; i < tried; i++) {
            uint32_t at = i * blocks / tried * RAY__FILTER_BLOCK;
            uint32_t size = raw_size - at < RAY__FILTER_BLOCK ? raw_size - at : RAY__FILTER_BLOCK;
            saved += look(raw + at, size, widths[w], false, 0).saved;
        }
        if (saved > most) {
            most = saved;
            best = widths[w];
        }
    }
    return best;
}

bool ray__filter_plan(const uint8_t *raw, uint32_t raw_size, uint32_t width, uint8_t *plan) {
    pthread_once(&made, make_table);
    uint32_t of = width != 0 ? width : find_width(raw, raw_size);
    if (of == 0) {
        return false;
    }
    bool any = false;
    uint8_t before = 0;
    for (uint32_t at = 0; at < raw_size; at += RAY__FILTER_BLOCK) {
        uint32_t size = raw_size - at < RAY__FILTER_BLOCK ? raw_size - at : RAY__FILTER_BLOCK;
        before = look(raw + at, size, of, width != 0, before).planned;
        plan[at / RAY__FILTER_BLOCK] = before;
        any = any || before != 0;
    }
    return any;
}
