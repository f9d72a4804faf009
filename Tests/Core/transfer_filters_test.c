// SPDX-License-Identifier: Apache-2.0
// Which filter chunks of unknown data get: deltas where they help, and only as long as packing a part both ways says so.
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "codec/filter_internal.h"
#include "transfer/filters_internal.h"

#define CHUNKS 200u
#define WORDS (RAY_CHUNK_SIZE / 4)

static uint32_t next_random(uint32_t *state) {
    *state = *state * 1664525 + 1013904223;
    return *state >> 16;
}

// A column that moves slowly: each word a little more than the one before.
static void fill_column(uint8_t *raw) {
    uint32_t state = 1;
    uint32_t value = 1000000;
    for (uint32_t i = 0; i < WORDS; i++) {
        value += 1000 + next_random(&state) % 256;
        memcpy(raw + 4 * i, &value, 4);
    }
}

// The same values again and again, a few in a row from here and there: deltas are of fewer kinds of bytes, but zstd finds the values themselves.
static void fill_repeats(uint8_t *raw) {
    enum { KINDS = 512, ROW = 8 };
    uint32_t kinds[KINDS];
    uint32_t state = 1;
    for (uint32_t i = 0; i < KINDS; i++) {
        kinds[i] = (i == 0 ? 1000000 : kinds[i - 1]) + 1000 + next_random(&state) % 256;
    }
    uint32_t from = 0;
    for (uint32_t i = 0; i < WORDS; i++) {
        from = i % ROW == 0 ? next_random(&state) % (KINDS - ROW) : from;
        memcpy(raw + 4 * i, &kinds[from + i % ROW], 4);
    }
}

typedef struct bench {
    ray__offer *offer;
    ray__worker worker;
    uint8_t *out;
    uint8_t *raw;
} bench;

static void begin(bench *b, uint64_t chunks) {
    b->offer = calloc(1, sizeof *b->offer);
    b->worker = (ray__worker){.raw = malloc(RAY_CHUNK_SIZE)};
    b->out = malloc(RAY_CHUNK_SIZE + RAY__FILTER_PLAN_MAX);
    b->raw = malloc(RAY_CHUNK_SIZE);
    CHECK(b->offer != NULL && b->worker.raw != NULL && b->out != NULL && b->raw != NULL);
    CHECK_EQUAL(ray_codec_create(&b->worker.codec), RAY_OK);
    b->offer->size_bytes = chunks * RAY_CHUNK_SIZE;
    b->offer->chunk_size = RAY_CHUNK_SIZE;
    ray__filters_begin(b->offer, 0);
}

static void end(bench *b) {
    ray_codec_destroy(b->worker.codec);
    free(b->worker.raw);
    free(b->out);
    free(b->raw);
    free(b->offer);
}

// Packs so many chunks of the same; answers how many of them were deltas.
static uint32_t deltas_of(bench *b, uint32_t chunks) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < chunks; i++) {
        uint32_t stored;
        uint16_t filter;
        CHECK_EQUAL(ray__filters_try(b->offer, &b->worker, b->raw, RAY_CHUNK_SIZE, b->out), RAY_OK);
        CHECK_EQUAL(ray__chunk_pack_filtered(b->worker.codec, RAY_CODEC_ZSTD, 1, ray__filters_wish(b->offer), b->raw, RAY_CHUNK_SIZE, b->out, &stored,
                                             &filter), RAY_OK);
        count += (filter & RAY__FILTER_DELTAS) != 0;
    }
    return count;
}

static void numbersThatMoveSlowlyStayDeltas(void) {
    bench b;
    begin(&b, CHUNKS);
    fill_column(b.raw);
    CHECK_EQUAL(deltas_of(&b, 8), 8);
    end(&b);
}

static void numbersThatRepeatAreNotMadeDeltasAfterATrial(void) {
    bench b;
    begin(&b, CHUNKS);
    fill_repeats(b.raw);
    CHECK_EQUAL(deltas_of(&b, 2), 2); // they look so
    CHECK_EQUAL(deltas_of(&b, 6), 0);
    end(&b);
}

static void whatATrialSaidIsTriedAgain(void) {
    bench b;
    begin(&b, CHUNKS);
    fill_repeats(b.raw);
    (void)deltas_of(&b, 8);
    fill_column(b.raw);
    CHECK(deltas_of(&b, 70) >= 10);
    end(&b);
}

static void littleThingsGoByTheirLooksAlone(void) {
    bench b;
    begin(&b, 4);
    fill_repeats(b.raw);
    CHECK_EQUAL(deltas_of(&b, 4), 4);
    end(&b);
}

static void whatLooksLikeNoNumbersIsNeitherTriedNorMadeDeltas(void) {
    bench b;
    begin(&b, CHUNKS);
    for (uint32_t i = 0; i < RAY_CHUNK_SIZE; i++) {
        b.raw[i] = (uint8_t)("the quick brown fox jumps over the lazy dog "[(i * i / 7 + i) % 44]);
    }
    CHECK_EQUAL(deltas_of(&b, 4), 0);
    // So numbers that come later are found at once.
    fill_column(b.raw);
    CHECK_EQUAL(deltas_of(&b, 4), 4);
    end(&b);
}

int main(void) {
    RUN(numbersThatMoveSlowlyStayDeltas);
    RUN(numbersThatRepeatAreNotMadeDeltasAfterATrial);
    RUN(whatATrialSaidIsTriedAgain);
    RUN(littleThingsGoByTheirLooksAlone);
    RUN(whatLooksLikeNoNumbersIsNeitherTriedNorMadeDeltas);
    return 0;
}
