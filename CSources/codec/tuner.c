// SPDX-License-Identifier: Apache-2.0
#include "codec/tuner_internal.h"

#include <string.h>

// The ladder, with what to expect of a rung before it was used: raw bytes a second and thread, and its stored size in relation to
// lz4's. Guesses of a recent core on text and logs; a rung that is used replaces them by what was measured.
static const struct {
    ray__choice choice;
    double pack_rate;
    double unpack_rate;
    double size_to_lz4;
} ladder[RAY_TUNER_RUNGS] = {
    {{RAY_CODEC_NONE, 0}, 0, 0, 1.0},
    {{RAY_CODEC_LZ4, 0}, 700e6, 3000e6, 1.0},
    {{RAY_CODEC_ZSTD, -5}, 600e6, 1800e6, 0.98},
    {{RAY_CODEC_ZSTD, -1}, 450e6, 1500e6, 0.85},
    {{RAY_CODEC_ZSTD, 1}, 350e6, 1200e6, 0.70},
    {{RAY_CODEC_ZSTD, 3}, 200e6, 1100e6, 0.66},
    {{RAY_CODEC_ZSTD, 5}, 90e6, 1100e6, 0.63},
    {{RAY_CODEC_ZSTD, 7}, 60e6, 1100e6, 0.61},
    {{RAY_CODEC_ZSTD, 9}, 40e6, 1100e6, 0.59},
};
// The fastest packing that is thought possible; a link beyond it is not worth a sample.
#define PACK_RATE_MAX 1500e6
// Stored / raw above which a chunk counts as not shrinking.
#define HOPELESS_RATIO 0.95
#define HOPELESS_MAX 64u
// A rung must promise this much over a cheaper one: measurements have noise, and packing costs cores that others may want.
#define ADVANTAGE 0.95
// Threads rarely have a core each; what they bring together is learned from what arrives, beginning low.
#define EFFICIENCY_FIRST 0.6
#define EFFICIENCY_MIN 0.02
// While chunks go raw nothing is learned of packing, so it is trusted a little more each time until it is tried again.
#define EFFICIENCY_REGAIN 1.02
#define EFFICIENCY_GAIN 1.05
// Choices after which a rung's measured figures are half forgotten, so that changed data or load is found out.
#define STALE_AFTER 128u

void ray__tuner_init(ray__tuner *tuner, uint16_t threads, uint16_t peer_threads) {
    memset(tuner, 0, sizeof *tuner);
    pthread_mutex_init(&tuner->lock, NULL);
    tuner->efficiency = EFFICIENCY_FIRST;
    tuner->threads = threads == 0 ? 1 : threads;
    tuner->peer_threads = peer_threads == 0 ? 1 : peer_threads;
    for (int i = 0; i < RAY_TUNER_RUNGS; i++) {
        tuner->rungs[i].pack_rate = ladder[i].pack_rate;
    }
}

void ray__tuner_end(ray__tuner *tuner) {
    pthread_mutex_destroy(&tuner->lock);
}

static bool link_outruns_codecs(const ray__tuner *tuner) {
    return tuner->link_rate > PACK_RATE_MAX * tuner->threads;
}

bool ray__tuner_wants_sample(ray__tuner *tuner) {
    pthread_mutex_lock(&tuner->lock);
    bool wanted;
    if (tuner->link_rate <= 0 || link_outruns_codecs(tuner)) {
        wanted = false;
    } else if (tuner->hopeless_skip > 0) {
        tuner->hopeless_skip--;
        wanted = false;
    } else {
        wanted = true;
    }
    pthread_mutex_unlock(&tuner->lock);
    return wanted;
}

void ray__tuner_sampled(ray__tuner *tuner, uint32_t raw_size, uint32_t stored_size) {
    if (raw_size == 0) {
        return;
    }
    double ratio = stored_size == 0 || stored_size > raw_size ? 1.0 : (double)stored_size / raw_size;
    pthread_mutex_lock(&tuner->lock);
    if (ratio > HOPELESS_RATIO) {
        uint32_t length = tuner->hopeless_length == 0 ? 2 : tuner->hopeless_length * 2;
        tuner->hopeless_length = length > HOPELESS_MAX ? HOPELESS_MAX : length;
        tuner->hopeless_skip = tuner->hopeless_length;
    } else {
        tuner->hopeless_length = 0;
        tuner->hopeless_skip = 0;
    }
    // This chunk's own sample counts more than the past: data changes from chunk to chunk.
    tuner->lz4_ratio = tuner->lz4_ratio <= 0 ? ratio : 0.3 * tuner->lz4_ratio + 0.7 * ratio;
    pthread_mutex_unlock(&tuner->lock);
}

// Seconds a raw byte costs on a rung, by its slowest stage.
static double cost_of(const ray__tuner *tuner, int rung) {
    double ratio = rung == 0 ? 1.0 : tuner->rungs[rung].ratio;
    if (ratio <= 0) {
        ratio = tuner->lz4_ratio * ladder[rung].size_to_lz4;
    }
    double slowest = ratio / tuner->link_rate;
    if (rung > 0) {
        double pack = 1.0 / (tuner->rungs[rung].pack_rate * tuner->threads * tuner->efficiency);
        double unpack = 1.0 / (ladder[rung].unpack_rate * tuner->peer_threads);
        slowest = pack > slowest ? pack : slowest;
        slowest = unpack > slowest ? unpack : slowest;
    }
    return slowest;
}

static void forget_old_measurements(ray__tuner *tuner) {
    for (int i = 1; i < RAY_TUNER_RUNGS; i++) {
        if (++tuner->rungs[i].age >= STALE_AFTER) {
            tuner->rungs[i].age = 0;
            tuner->rungs[i].ratio = 0;
            tuner->rungs[i].pack_rate = (tuner->rungs[i].pack_rate + ladder[i].pack_rate) / 2;
        }
    }
}

ray__choice ray__tuner_choose(ray__tuner *tuner) {
    pthread_mutex_lock(&tuner->lock);
    int best = 0;
    bool hopeless = tuner->hopeless_length > 0 || tuner->lz4_ratio <= 0;
    if (tuner->link_rate > 0 && !link_outruns_codecs(tuner) && !hopeless) {
        double best_cost = cost_of(tuner, 0);
        for (int i = 1; i < RAY_TUNER_RUNGS; i++) {
            double cost = cost_of(tuner, i);
            if (cost < best_cost * ADVANTAGE) {
                best = i;
                best_cost = cost;
            }
        }
        forget_old_measurements(tuner);
    }
    pthread_mutex_unlock(&tuner->lock);
    return ladder[best].choice;
}

void ray__tuner_packed(ray__tuner *tuner, ray__choice choice, uint32_t raw_size, uint32_t stored_size, uint64_t spent_ns) {
    if (raw_size == 0 || spent_ns == 0) {
        return;
    }
    pthread_mutex_lock(&tuner->lock);
    for (int i = 1; i < RAY_TUNER_RUNGS; i++) {
        if (ladder[i].choice.codec != choice.codec || ladder[i].choice.level != choice.level) {
            continue;
        }
        double rate = (double)raw_size * 1e9 / (double)spent_ns;
        double ratio = (double)stored_size / raw_size;
        // The first measurement replaces the guess.
        tuner->rungs[i].pack_rate = tuner->rungs[i].ratio <= 0 ? rate : 0.6 * tuner->rungs[i].pack_rate + 0.4 * rate;
        tuner->rungs[i].ratio = tuner->rungs[i].ratio <= 0 ? ratio : 0.6 * tuner->rungs[i].ratio + 0.4 * ratio;
        tuner->rungs[i].age = 0;
    }
    pthread_mutex_unlock(&tuner->lock);
}

void ray__tuner_drained(ray__tuner *tuner, uint64_t bytes, uint64_t limited_ns) {
    if (bytes == 0) {
        return;
    }
    // The clock of the kernel's counters is a millisecond at best; a link never busy counts as busy for a moment.
    double seconds = limited_ns < 20000 ? 20e-6 : (double)limited_ns / 1e9;
    double rate = (double)bytes / seconds;
    pthread_mutex_lock(&tuner->lock);
    tuner->link_rate = tuner->link_rate <= 0 ? rate : 0.7 * tuner->link_rate + 0.3 * rate;
    pthread_mutex_unlock(&tuner->lock);
}

void ray__tuner_achieved(ray__tuner *tuner, uint64_t raw_bytes, uint64_t packed_bytes, uint64_t span_ns) {
    if (raw_bytes == 0 || span_ns == 0) {
        return;
    }
    pthread_mutex_lock(&tuner->lock);
    if (packed_bytes < raw_bytes / 2) {
        tuner->efficiency *= EFFICIENCY_REGAIN;
    } else if (tuner->link_rate > 0) {
        // What the rungs that were used promise when nothing but the pack stage limits, against what came out.
        double promised = 0;
        uint32_t youngest = UINT32_MAX;
        for (int i = 1; i < RAY_TUNER_RUNGS; i++) {
            if (tuner->rungs[i].ratio > 0 && tuner->rungs[i].age < youngest) {
                youngest = tuner->rungs[i].age;
                promised = 1.0 / cost_of(tuner, i);
            }
        }
        double achieved = (double)raw_bytes * 1e9 / (double)span_ns;
        if (promised > 0) {
            double factor = achieved / promised;
            factor = factor < 0.5 ? 0.5 : factor > 1.5 ? 1.5 : factor;
            // A promise kept may have been too modest: where the link was the limit, the threads could have done more.
            tuner->efficiency *= factor > 0.95 && factor < 1.05 ? EFFICIENCY_GAIN : 0.5 + 0.5 * factor;
        }
    }
    tuner->efficiency = tuner->efficiency > 1 ? 1 : tuner->efficiency < EFFICIENCY_MIN ? EFFICIENCY_MIN : tuner->efficiency;
    pthread_mutex_unlock(&tuner->lock);
}
