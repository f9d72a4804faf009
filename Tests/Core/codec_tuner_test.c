// SPDX-License-Identifier: Apache-2.0
// The tuner's decisions, by simulated links, codecs and data. A simulated chunk costs what its slowest stage costs.
#include "check.h"
#include "codec/tuner_internal.h"

#define CHUNK RAY_CHUNK_SIZE

typedef struct world {
    double link_rate;
    uint16_t threads;
    double threads_real; // that really run at once; 0: all
    double lz4_ratio;   // of the data
    double speed;       // of this machine's core, 1 = what the tuner guesses
    uint32_t samples;
    uint32_t counts[4]; // by codec
    int last_level;
    double seconds;     // what all chunks cost
} world;

static double true_rate(const world *w, ray__choice choice) {
    if (choice.codec == RAY_CODEC_LZ4) {
        return 650e6 * w->speed;
    }
    static const double rates[] = {620e6, 0, 0, 0, 430e6, 0, 380e6, 0, 190e6, 0, 95e6, 0, 55e6, 0, 42e6};
    return rates[choice.level + 5] * w->speed;
}

static double true_ratio(const world *w, ray__choice choice) {
    if (w->lz4_ratio >= 1 || choice.codec == RAY_CODEC_NONE) {
        return 1;
    }
    if (choice.codec == RAY_CODEC_LZ4) {
        return w->lz4_ratio;
    }
    static const double factors[] = {0.99, 0, 0, 0, 0.88, 0, 0.72, 0, 0.66, 0, 0.62, 0, 0.60, 0, 0.58};
    return w->lz4_ratio * factors[choice.level + 5];
}

static void send_chunks(ray__tuner *tuner, world *w, int count) {
    for (int i = 0; i < count; i++) {
        if (ray__tuner_wants_sample(tuner)) {
            w->samples++;
            ray__tuner_sampled(tuner, RAY_TUNER_SAMPLE, (uint32_t)(w->lz4_ratio * RAY_TUNER_SAMPLE));
        }
        ray__choice choice = ray__tuner_choose(tuner);
        double stored = CHUNK * true_ratio(w, choice);
        double seconds = stored / w->link_rate;
        bool packed = choice.codec != RAY_CODEC_NONE;
        if (packed) {
            double pack = CHUNK / true_rate(w, choice);
            double threads = w->threads_real > 0 ? w->threads_real : w->threads;
            ray__tuner_packed(tuner, choice, CHUNK, (uint32_t)stored, (uint64_t)(pack * 1e9));
            seconds = pack / threads > seconds ? pack / threads : seconds;
        }
        ray__tuner_achieved(tuner, CHUNK, packed ? CHUNK : 0, (uint64_t)(seconds * 1e9));
        ray__tuner_drained(tuner, (uint64_t)stored, (uint64_t)(stored / w->link_rate * 1e9));
        w->counts[choice.codec]++;
        w->last_level = choice.level;
        w->seconds += seconds;
    }
}

static double raw_seconds(const world *w, int count) {
    return count * (double)CHUNK / w->link_rate;
}

static void aLinkFasterThanAnyCodecIsNeverSampled(void) {
    world w = {.link_rate = 5e9, .threads = 2, .lz4_ratio = 0.3, .speed = 1};
    ray__tuner tuner;
    ray__tuner_init(&tuner, w.threads, 2);
    send_chunks(&tuner, &w, 200);
    CHECK_EQUAL(w.counts[RAY_CODEC_NONE], 200);
    CHECK_EQUAL(w.samples, 0);
    ray__tuner_end(&tuner);
}

static void theFirstChunkOfAnUnknownLinkIsRaw(void) {
    world w = {.link_rate = 10e6, .threads = 2, .lz4_ratio = 0.3, .speed = 1};
    ray__tuner tuner;
    ray__tuner_init(&tuner, w.threads, 2);
    send_chunks(&tuner, &w, 1);
    CHECK_EQUAL(w.counts[RAY_CODEC_NONE], 1);
    ray__tuner_end(&tuner);
}

static void aSlowLinkGetsAStrongCodec(void) {
    world w = {.link_rate = 10e6, .threads = 2, .lz4_ratio = 0.5, .speed = 1};
    ray__tuner tuner;
    ray__tuner_init(&tuner, w.threads, 2);
    send_chunks(&tuner, &w, 100);
    CHECK(w.counts[RAY_CODEC_ZSTD] >= 95);
    CHECK(w.last_level >= 5);
    CHECK(w.seconds < 0.4 * raw_seconds(&w, 100));
    ray__tuner_end(&tuner);
}

static void aMiddlingLinkGetsACodecThatKeepsUp(void) {
    // 300 MB/s: zstd 1 on two threads packs 760 MB/s to 36 %, so the link carries 830 MB/s of raw bytes.
    world w = {.link_rate = 300e6, .threads = 2, .lz4_ratio = 0.5, .speed = 1};
    ray__tuner tuner;
    ray__tuner_init(&tuner, w.threads, 2);
    send_chunks(&tuner, &w, 100);
    CHECK(w.counts[RAY_CODEC_NONE] <= 3);
    CHECK(w.last_level <= 3);
    CHECK(w.seconds < 0.5 * raw_seconds(&w, 100));
    ray__tuner_end(&tuner);
}

static void dataThatDoesNotShrinkIsSentRawAndRarelyLookedAt(void) {
    world w = {.link_rate = 50e6, .threads = 2, .lz4_ratio = 1.0, .speed = 1};
    ray__tuner tuner;
    ray__tuner_init(&tuner, w.threads, 2);
    send_chunks(&tuner, &w, 500);
    CHECK_EQUAL(w.counts[RAY_CODEC_NONE], 500);
    CHECK(w.samples < 15);
    ray__tuner_end(&tuner);
}

static void dataThatBeginsToShrinkIsNoticedInTime(void) {
    world w = {.link_rate = 50e6, .threads = 2, .lz4_ratio = 1.0, .speed = 1};
    ray__tuner tuner;
    ray__tuner_init(&tuner, w.threads, 2);
    send_chunks(&tuner, &w, 300);
    w.lz4_ratio = 0.4;
    w.counts[RAY_CODEC_NONE] = 0;
    send_chunks(&tuner, &w, 200);
    CHECK(w.counts[RAY_CODEC_NONE] <= 66);
    ray__tuner_end(&tuner);
}

static void aSlowCoreMakesItStepDown(void) {
    // At a tenth of the guessed speed, lz4 packs 130 MB/s on two threads: worse than the link's 200.
    world w = {.link_rate = 200e6, .threads = 2, .lz4_ratio = 0.6, .speed = 0.1};
    ray__tuner tuner;
    ray__tuner_init(&tuner, w.threads, 2);
    send_chunks(&tuner, &w, 40);
    double before = w.seconds;
    uint32_t raw_before = w.counts[RAY_CODEC_NONE];
    send_chunks(&tuner, &w, 100);
    CHECK(w.counts[RAY_CODEC_NONE] - raw_before >= 90);
    CHECK(w.seconds - before < 1.1 * raw_seconds(&w, 100));
    ray__tuner_end(&tuner);
}

static void coresThatOthersUseMakeItStepDown(void) {
    // Eight threads that bring as much as half of one: 320 MB/s of lz4 against a link of 500.
    world w = {.link_rate = 500e6, .threads = 8, .threads_real = 0.5, .lz4_ratio = 0.5, .speed = 1};
    ray__tuner tuner;
    ray__tuner_init(&tuner, w.threads, 2);
    send_chunks(&tuner, &w, 30);
    double before = w.seconds;
    send_chunks(&tuner, &w, 300);
    CHECK(w.seconds - before < 1.05 * raw_seconds(&w, 300));
    ray__tuner_end(&tuner);
}

static void itIsNeverMuchWorseThanRaw(void) {
    uint64_t seed = check_seed();
    for (int round = 0; round < 300; round++) {
        world w = {.link_rate = 5e6 * (double)(1 + check_random(&seed) % 600), .threads = (uint16_t)(1 + check_random(&seed) % 8),
                   .lz4_ratio = 0.2 + 0.01 * (double)(check_random(&seed) % 81), .speed = 0.7 + 0.01 * (double)(check_random(&seed) % 80)};
        ray__tuner tuner;
        ray__tuner_init(&tuner, w.threads, 4);
        send_chunks(&tuner, &w, 200);
        if (w.seconds > 1.05 * raw_seconds(&w, 200)) {
            fprintf(stderr, "link %.0f MB/s, %u threads, ratio %.2f, speed %.2f: %.3f s, raw %.3f s\n", w.link_rate / 1e6, w.threads,
                    w.lz4_ratio, w.speed, w.seconds, raw_seconds(&w, 200));
            exit(1);
        }
        ray__tuner_end(&tuner);
    }
}

int main(void) {
    RUN(aLinkFasterThanAnyCodecIsNeverSampled);
    RUN(theFirstChunkOfAnUnknownLinkIsRaw);
    RUN(aSlowLinkGetsAStrongCodec);
    RUN(aMiddlingLinkGetsACodecThatKeepsUp);
    RUN(dataThatDoesNotShrinkIsSentRawAndRarelyLookedAt);
    RUN(dataThatBeginsToShrinkIsNoticedInTime);
    RUN(aSlowCoreMakesItStepDown);
    RUN(coresThatOthersUseMakeItStepDown);
    RUN(itIsNeverMuchWorseThanRaw);
    return 0;
}
