// SPDX-License-Identifier: Apache-2.0
// The first chunks, before link and data are known.
#include "codec/tuner_internal.h"

// Stored / raw of a sample below which the first chunk is packed.
#define START_RATIO 0.75
// Below which all are, and any number at once: nothing can be wrong with it, whatever the link.
#define VANISHES_RATIO 0.1

static bool is_sampled(const ray__tuner *tuner) {
    return tuner->sample_ratio > 0 && tuner->hopeless_length == 0;
}

// Whether even all threads together cannot keep the link full with what they have packed.
static bool link_outruns(const ray__tuner *tuner) {
    return tuner->rungs[RAY_TUNER_SAMPLED].seconds * tuner->link_rate > tuner->cores;
}

static bool is_on_trial(const ray__tuner *tuner) {
    return is_sampled(tuner) && tuner->sample_ratio < START_RATIO && !ray__ladder_is_measured(tuner) && !link_outruns(tuner);
}

bool ray__start_is_on_locked(const ray__tuner *tuner) {
    bool is_unknown = tuner->sample_ratio <= 0 && tuner->hopeless_length == 0;
    return is_unknown || (tuner->hopeless_length == 0 && tuner->link_rate <= 0) || is_on_trial(tuner);
}

uint32_t ray__start_rung_locked(const ray__tuner *tuner) {
    return is_sampled(tuner) && tuner->sample_ratio < START_RATIO ? RAY_TUNER_SAMPLED : 0;
}

uint32_t ray__tuner_places(ray__tuner *tuner) {
    pthread_mutex_lock(&tuner->lock);
    bool is_free = tuner->link_is_measured || tuner->hopeless_length > 0 || tuner->vanishes ||
                   (is_sampled(tuner) && tuner->sample_ratio < VANISHES_RATIO);
    bool is_as_before = tuner->link_rate > 0 && (link_outruns(tuner) || !ray__start_is_on_locked(tuner));
    uint32_t places = is_free ? UINT32_MAX : is_as_before ? tuner->threads + 1u : 1;
    pthread_mutex_unlock(&tuner->lock);
    return places;
}

bool ray__tuner_knows_link(ray__tuner *tuner) {
    pthread_mutex_lock(&tuner->lock);
    bool knows = tuner->link_rate > 0;
    pthread_mutex_unlock(&tuner->lock);
    return knows;
}

bool ray__tuner_has_measured_link(ray__tuner *tuner) {
    pthread_mutex_lock(&tuner->lock);
    bool has = tuner->link_is_measured;
    pthread_mutex_unlock(&tuner->lock);
    return has;
}

bool ray__tuner_confirm_link(ray__tuner *tuner, uint64_t bytes, uint64_t span_ns) {
    pthread_mutex_lock(&tuner->lock);
    bool is_so = tuner->link_rate > 0 && 2e9 * (double)bytes >= tuner->link_rate * (double)span_ns;
    tuner->link_is_measured = tuner->link_is_measured || is_so;
    pthread_mutex_unlock(&tuner->lock);
    return is_so;
}

void ray__tuner_link(ray__tuner *tuner, double rate) {
    if (!(rate > 0)) {
        return;
    }
    pthread_mutex_lock(&tuner->lock);
    tuner->link_rate = rate;
    tuner->link_is_measured = true;
    ray__tuner_place_locked(tuner);
    pthread_mutex_unlock(&tuner->lock);
}
