// SPDX-License-Identifier: Apache-2.0
// What samples say of the data: of the first chunk, of one here and there where chunks do not shrink, and of one in a long row of raw
// ones, of which nothing else would say that the data has changed.
#include "codec/tuner_internal.h"

// Chunks in a row after which one that does not shrink is looked at again, at most.
#define HOPELESS_MAX 64u
// Raw chunks in a row after which one is looked at, though the data is known to shrink.
#define RAW_RUN_MAX 32u
// Samples that differ by more are of other data.
#define OTHER_DATA 1.25

// What a sample takes of a core, about, cold caches included; and what sending all of it raw must take at least, in samples, for one to be worth
// it. A little thing over a fast link that is known from others is there before it could be told how to pack it.
#define SAMPLE_SECONDS (RAY_TUNER_SAMPLE * 2.5e-9)
#define SAMPLES_MIN 2.0

bool ray__tuner_wants_sample(ray__tuner *tuner, uint64_t all_bytes) {
    pthread_mutex_lock(&tuner->lock);
    bool wanted = tuner->sample_ratio <= 0 || tuner->hopeless_length > 0;
    if ((double)all_bytes < SAMPLES_MIN * SAMPLE_SECONDS * tuner->link_rate) {
        wanted = false;
    } else if (wanted && tuner->hopeless_skip > 0) {
        tuner->hopeless_skip--;
        wanted = false;
    } else if (!wanted && tuner->raw_run >= RAW_RUN_MAX) {
        tuner->raw_run = 0;
        wanted = true;
    }
    pthread_mutex_unlock(&tuner->lock);
    return wanted;
}

void ray__tuner_hopeless_locked(ray__tuner *tuner) {
    uint32_t length = tuner->hopeless_length == 0 ? 2 : tuner->hopeless_length * 2;
    tuner->hopeless_length = length > HOPELESS_MAX ? HOPELESS_MAX : length;
    tuner->hopeless_skip = tuner->hopeless_length;
}

static bool is_other_data(const ray__tuner *tuner, double ratio) {
    double known = tuner->sample_ratio;
    return known > 0 && (ratio > known * OTHER_DATA || ratio * OTHER_DATA < known);
}

void ray__tuner_sampled(ray__tuner *tuner, uint32_t raw_size, uint32_t stored_size, uint64_t core_ns) {
    if (raw_size == 0) {
        return;
    }
    double ratio = stored_size == 0 || stored_size > raw_size ? 1.0 : (double)stored_size / raw_size;
    pthread_mutex_lock(&tuner->lock);
    if (ratio > RAY_TUNER_HOPELESS) {
        ray__tuner_hopeless_locked(tuner);
        pthread_mutex_unlock(&tuner->lock);
        return;
    }
    // What is known of the rungs is of the data before.
    if (is_other_data(tuner, ratio)) {
        for (uint32_t rung = 1; rung < RAY_TUNER_RUNGS; rung++) {
            tuner->rungs[rung].is_measured = false;
            tuner->rungs[rung].uses = 0;
        }
        tuner->hold = 0;
        tuner->hold_length = 0;
    }
    tuner->hopeless_length = 0;
    tuner->hopeless_skip = 0;
    tuner->sample_ratio = ratio;
    tuner->sample_seconds = (double)core_ns / 1e9 / raw_size;
    tuner->first_ratio = tuner->first_ratio > 0 ? tuner->first_ratio : ratio;
    ray__ladder_update(tuner);
    if (!ray__past_apply_locked(tuner) && tuner->link_rate > 0) {
        ray__tuner_place_locked(tuner);
    }
    pthread_mutex_unlock(&tuner->lock);
}
