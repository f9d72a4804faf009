// SPDX-License-Identifier: Apache-2.0
// What a tuner says of itself is what it did: the chunks by rung, why they got it, and what was measured.
#include "tuner_world.h"

static const world_data halves = {"halves",
                                  {0, 1.85, 2.15, 2.2, 2.5, 2.7, 3.2, 3.75, 4.5, 7.1, 9.5, 11.5, 15.4},
                                  {0, .37, .6, .55, .62, .75, .8, .75, .75, .8, .78, .78, .78},
                                  {1, .497, .431, .395, .368, .34, .311, .293, .288, .283, .278, .273, .272}};
static const world_data noise = {"noise",
                                 {0, .15, .4, .4, .5, .5, .6, .8, 1, 2, 3, 4, 5},
                                 {0, .1, .1, .1, .1, .1, .1, .1, .1, .1, .1, .1, .1},
                                 {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1}};

static world world_at(const world_data *data, double link_rate) {
    return (world){.data = data, .link_rate = link_rate, .cores = 2, .peer_cores = 2, .threads = 2, .peer_threads = 2, .wire_seconds = 0.35e-9};
}

static uint32_t sum_of(const ray__tuner_description *d) {
    uint32_t sum = 0;
    for (uint32_t rung = 0; rung < RAY_TUNER_RUNGS; rung++) {
        sum += d->rungs[rung].count;
    }
    return sum;
}

static void aNewTunerSaysNothing(void) {
    ray__tuner tuner;
    ray__tuner_description d;
    ray__tuner_init(&tuner, 3, 1);
    ray__tuner_describe(&tuner, &d);
    CHECK_EQUAL(d.threads, 3);
    CHECK(d.link_rate <= 0);
    CHECK_EQUAL(sum_of(&d), 0);
    CHECK_EQUAL(d.choice.codec, RAY_CODEC_NONE);
    ray__tuner_end(&tuner);
}

static void beforeTheLinkIsKnownTheReasonSaysSo(void) {
    ray__tuner tuner;
    ray__tuner_description d;
    ray__tuner_init(&tuner, 2, 1);
    ray__backlog backlog = {.chunk_size = RAY_CHUNK_SIZE};
    (void)ray__tuner_choose(&tuner, &backlog);
    ray__tuner_describe(&tuner, &d);
    CHECK_EQUAL(d.reason, RAY__REASON_START);
    CHECK_EQUAL(d.rungs[0].reason, RAY__REASON_START);
    CHECK_EQUAL(d.rungs[0].count, 1);
    ray__tuner_end(&tuner);
}

static void eachChunkIsCountedWithItsRung(void) {
    world w = world_at(&halves, 119e6);
    ray__tuner tuner;
    ray__tuner_description d;
    ray__tuner_init(&tuner, 2, 2);
    (void)world_bring(&w, WORLD_AUTO, &tuner, 256);
    ray__tuner_describe(&tuner, &d);
    CHECK_EQUAL(sum_of(&d), 256);
    uint32_t most = 0;
    for (uint32_t rung = 0; rung < RAY_TUNER_RUNGS; rung++) {
        ray__choice choice = ray__ladder_choice(rung);
        CHECK_EQUAL(d.rungs[rung].count, w.counts[rung]);
        CHECK(d.rungs[rung].choice.codec == choice.codec && d.rungs[rung].choice.level == choice.level);
        most = d.rungs[rung].count > d.rungs[most].count ? rung : most;
    }
    // Packing pays on this link, so most is packed, at a cost that was measured.
    CHECK(most > 0);
    CHECK(d.rungs[most].is_measured && d.rungs[most].seconds > 0 && d.rungs[most].ratio < 0.6);
    CHECK(d.rungs[most].reason == RAY__REASON_BALANCE || d.rungs[most].reason == RAY__REASON_STRONGEST);
    CHECK(d.link_rate > 60e6 && d.link_rate < 240e6);
    ray__tuner_end(&tuner);
}

static void whatDoesNotShrinkIsSaidToBeHopeless(void) {
    world w = world_at(&noise, 119e6);
    ray__tuner tuner;
    ray__tuner_description d;
    ray__tuner_init(&tuner, 2, 2);
    (void)world_bring(&w, WORLD_AUTO, &tuner, 256);
    ray__tuner_describe(&tuner, &d);
    CHECK_EQUAL(sum_of(&d), 256);
    CHECK(d.rungs[0].count > 240);
    CHECK_EQUAL(d.rungs[0].reason, RAY__REASON_HOPELESS);
    ray__tuner_end(&tuner);
}

int main(void) {
    RUN(aNewTunerSaysNothing);
    RUN(beforeTheLinkIsKnownTheReasonSaysSo);
    RUN(eachChunkIsCountedWithItsRung);
    RUN(whatDoesNotShrinkIsSaidToBeHopeless);
    return 0;
}
