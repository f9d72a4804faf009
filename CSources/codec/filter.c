// SPDX-License-Identifier: Apache-2.0
// Applying and undoing filters. The loops have constant widths, so that compilers make vectors of them.
#include "codec/filter_internal.h"

#include <string.h>

#define WIDTH_SHIFT 4u
#define OFFSET_MASK 0x07u

static uint32_t plan_width(uint8_t planned) {
    return 1u << (planned >> WIDTH_SHIFT);
}

bool ray__filter_is_valid(uint8_t filter) {
    uint32_t width = filter & RAY__FILTER_WIDTH;
    return (filter & ~(RAY__FILTER_WIDTH | RAY__FILTER_DELTAS)) == 0 && (width == 0 || width == 2 || width == 4 || width == 8);
}

uint32_t ray__filter_plan_size(uint8_t filter, uint32_t raw_size) {
    return (filter & RAY__FILTER_DELTAS) != 0 ? (raw_size + RAY__FILTER_BLOCK - 1) / RAY__FILTER_BLOCK : 0;
}

bool ray__filter_plan_is_valid(const uint8_t *plan, uint32_t plan_size) {
    for (uint32_t i = 0; i < plan_size; i++) {
        uint8_t planned = plan[i];
        bool is_word = planned >> WIDTH_SHIFT >= 1 && planned >> WIDTH_SHIFT <= 3 && (planned & 0x0f) < plan_width(planned);
        if (planned != 0 && !is_word) {
            return false;
        }
    }
    return true;
}

// ---- deltas ----------------------------------------------------------------------------------------------------------------------

#define DELTAS(bits)                                                                                   \
    static void deltas_##bits(const uint8_t *restrict raw, uint32_t count, uint8_t *restrict out) {    \
        for (uint32_t i = 1; i < count; i++) {                                                         \
            uint##bits##_t before;                                                                     \
            uint##bits##_t word;                                                                       \
            memcpy(&before, raw + (size_t)(i - 1) * sizeof before, sizeof before);                     \
            memcpy(&word, raw + (size_t)i * sizeof word, sizeof word);                                 \
            word = (uint##bits##_t)(word - before);                                                    \
            memcpy(out + (size_t)i * sizeof word, &word, sizeof word);                                 \
        }                                                                                              \
    }                                                                                                  \
    static void sums_##bits(uint8_t *raw, uint32_t count) {                                            \
        uint##bits##_t sum = 0;                                                                        \
        for (uint32_t i = 0; i < count; i++) {                                                         \
            uint##bits##_t word;                                                                       \
            memcpy(&word, raw + (size_t)i * sizeof word, sizeof word);                                 \
            sum = (uint##bits##_t)(sum + word);                                                        \
            memcpy(raw + (size_t)i * sizeof sum, &sum, sizeof sum);                                    \
        }                                                                                              \
    }
DELTAS(16)
DELTAS(32)
DELTAS(64)

// The words of a block: it begins at raw + at, has size bytes, and its first word is at the offset.
static uint32_t word_count(uint8_t planned, uint32_t size) {
    uint32_t offset = planned & OFFSET_MASK;
    return size > offset ? (size - offset) / plan_width(planned) : 0;
}

static uint32_t block_size(uint32_t raw_size, uint32_t at) {
    return raw_size - at < RAY__FILTER_BLOCK ? raw_size - at : RAY__FILTER_BLOCK;
}

void ray__deltas_apply(const uint8_t *plan, const uint8_t *raw, uint32_t raw_size, uint8_t *out) {
    for (uint32_t at = 0; at < raw_size; at += RAY__FILTER_BLOCK) {
        uint8_t planned = plan[at / RAY__FILTER_BLOCK];
        uint32_t size = block_size(raw_size, at);
        uint32_t from = at + (planned & OFFSET_MASK);
        uint32_t count = planned != 0 ? word_count(planned, size) : 0;
        memcpy(out + at, raw + at, count > 1 ? 16 < size ? 16 : size : size);
        if (count <= 1) {
            continue;
        }
        // What no word covers: before the first (copied above, with the first itself) and behind the last.
        uint32_t end = (planned & OFFSET_MASK) + count * plan_width(planned);
        memcpy(out + at + end, raw + at + end, size - end);
        if (plan_width(planned) == 2) {
            deltas_16(raw + from, count, out + from);
        } else if (plan_width(planned) == 4) {
            deltas_32(raw + from, count, out + from);
        } else {
            deltas_64(raw + from, count, out + from);
        }
    }
}

void ray__deltas_undo(const uint8_t *plan, uint8_t *raw, uint32_t raw_size) {
    for (uint32_t at = 0; at < raw_size; at += RAY__FILTER_BLOCK) {
        uint8_t planned = plan[at / RAY__FILTER_BLOCK];
        if (planned == 0) {
            continue;
        }
        uint32_t count = word_count(planned, block_size(raw_size, at));
        uint8_t *first = raw + at + (planned & OFFSET_MASK);
        if (plan_width(planned) == 2) {
            sums_16(first, count);
        } else if (plan_width(planned) == 4) {
            sums_32(first, count);
        } else {
            sums_64(first, count);
        }
    }
}

// ---- shuffle ---------------------------------------------------------------------------------------------------------------------

// Elements that are transposed at once: what they read and write stays in the first cache.
#define AT_ONCE 512u

static inline __attribute__((always_inline)) void split(const uint8_t *restrict in, uint32_t count, uint32_t width, size_t plane, uint8_t *restrict out) {
    for (uint32_t begin = 0; begin < count; begin += AT_ONCE) {
        uint32_t end = count - begin < AT_ONCE ? count : begin + AT_ONCE;
        for (uint32_t byte = 0; byte < width; byte++) {
            for (uint32_t i = begin; i < end; i++) {
                out[byte * plane + i] = in[(size_t)i * width + byte];
            }
        }
    }
}

static inline __attribute__((always_inline)) void join(const uint8_t *restrict in, uint32_t count, uint32_t width, size_t plane, uint8_t *restrict out) {
    for (uint32_t i = 0; i < count; i++) {
        for (uint32_t byte = 0; byte < width; byte++) {
            out[(size_t)i * width + byte] = in[byte * plane + i];
        }
    }
}

typedef void move_fn(const uint8_t *restrict in, uint32_t count, uint32_t width, size_t plane, uint8_t *restrict out);

// Inlined into its callers, and the move into it with a width that is known, so that the compiler makes vectors of each.
static inline __attribute__((always_inline)) void shuffle(move_fn *move, uint32_t width, const uint8_t *in, uint32_t size, uint8_t *out) {
    uint32_t count = size / width;
    if (width == 2) {
        move(in, count, 2, count, out);
    } else if (width == 4) {
        move(in, count, 4, count, out);
    } else {
        move(in, count, 8, count, out);
    }
    memcpy(out + (size_t)count * width, in + (size_t)count * width, size - count * width);
}

void ray__shuffle_apply(uint32_t width, const uint8_t *raw, uint32_t raw_size, uint8_t *out) {
    shuffle(split, width, raw, raw_size, out);
}

void ray__shuffle_undo(uint32_t width, const uint8_t *shuffled, uint32_t raw_size, uint8_t *out) {
    shuffle(join, width, shuffled, raw_size, out);
}
