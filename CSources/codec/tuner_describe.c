// SPDX-License-Identifier: Apache-2.0
// What a tuner chose and why, for those who ask. It only counts: nothing here changes a choice.
#include <string.h>

#include "codec/tuner_internal.h"

void ray__tuner_note_locked(ray__tuner *tuner, uint32_t rung) {
    tuner->rungs[rung].count++;
    tuner->reasons[rung][tuner->reason]++;
    tuner->latest = rung;
}

static ray__reason main_reason(const ray__tuner *tuner, uint32_t rung) {
    uint32_t main = 0;
    for (uint32_t reason = 1; reason < RAY__REASON_COUNT; reason++) {
        main = tuner->reasons[rung][reason] > tuner->reasons[rung][main] ? reason : main;
    }
    return (ray__reason)main;
}

void ray__tuner_describe(ray__tuner *tuner, ray__tuner_description *description) {
    memset(description, 0, sizeof *description);
    pthread_mutex_lock(&tuner->lock);
    description->threads = tuner->threads;
    description->link_rate = tuner->link_rate;
    description->idle = tuner->idle;
    description->choice = ray__ladder_choice(tuner->latest);
    description->reason = tuner->reason;
    for (uint32_t rung = 0; rung < RAY_TUNER_RUNGS; rung++) {
        description->rungs[rung] = (ray__rung_description){
            .choice = ray__ladder_choice(rung),
            .reason = main_reason(tuner, rung),
            .count = tuner->rungs[rung].count,
            .is_measured = tuner->rungs[rung].is_measured,
            .seconds = tuner->rungs[rung].seconds,
            .ratio = tuner->rungs[rung].ratio,
        };
    }
    pthread_mutex_unlock(&tuner->lock);
}
