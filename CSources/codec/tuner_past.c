// SPDX-License-Identifier: Apache-2.0
// What one tuner leaves to the next: the link's rate, and for a few kinds of data what the rungs cost and gain, and the price found.
//
// All of it is a place to begin from. The link is measured again by the first chunks, of which few are under way until then, and each rung
// by its use.
#include <string.h>

#include "codec/tuner_internal.h"

// Samples that differ by less are of one kind of data.
#define ALIKE 1.15
// As if other rungs had been used since, so that the first use of one moves all.
#define AGE 17u

// The lesson of data like this, or NULL.
static ray__lesson *find(ray__past *past, double sample_ratio) {
    ray__lesson *nearest = NULL;
    double least = ALIKE;
    for (uint32_t i = 0; i < RAY__LESSONS_MAX; i++) {
        double known = past->lessons[i].sample_ratio;
        double apart = known <= 0 ? ALIKE : known > sample_ratio ? known / sample_ratio : sample_ratio / known;
        if (apart < least) {
            least = apart;
            nearest = &past->lessons[i];
        }
    }
    return nearest;
}

static ray__lesson *oldest(ray__past *past) {
    ray__lesson *found = &past->lessons[0];
    for (uint32_t i = 1; i < RAY__LESSONS_MAX; i++) {
        found = past->lessons[i].turn < found->turn ? &past->lessons[i] : found;
    }
    return found;
}

void ray__tuner_recall(ray__tuner *tuner, const ray__past *past) {
    pthread_mutex_lock(&tuner->lock);
    tuner->past = *past;
    tuner->link_rate = past->link_rate;
    pthread_mutex_unlock(&tuner->lock);
}

bool ray__past_apply_locked(ray__tuner *tuner) {
    const ray__lesson *lesson = find(&tuner->past, tuner->sample_ratio);
    if (lesson == NULL || tuner->link_rate <= 0 || ray__ladder_is_measured(tuner)) {
        return false;
    }
    for (uint32_t rung = 1; rung < RAY_TUNER_RUNGS; rung++) {
        tuner->rungs[rung].seconds = lesson->rungs[rung].seconds;
        tuner->rungs[rung].measured = lesson->rungs[rung].measured;
        tuner->rungs[rung].uses = lesson->rungs[rung].uses;
        tuner->rungs[rung].ratio = lesson->rungs[rung].ratio;
        tuner->rungs[rung].is_measured = lesson->rungs[rung].is_measured;
        tuner->rungs[rung].age = AGE;
    }
    ray__ladder_update(tuner);
    ray__tuner_place_locked(tuner);
    tuner->price = tuner->is_clear && lesson->price > 0 ? lesson->price : tuner->price;
    return true;
}

void ray__tuner_remember(ray__tuner *tuner, ray__past *past) {
    pthread_mutex_lock(&tuner->lock);
    if (tuner->link_is_measured) {
        past->link_rate = tuner->link_rate;
    }
    if (tuner->link_is_measured && tuner->first_ratio > 0 && ray__ladder_is_measured(tuner)) {
        ray__lesson *lesson = find(past, tuner->first_ratio);
        lesson = lesson != NULL ? lesson : oldest(past);
        lesson->sample_ratio = tuner->first_ratio;
        lesson->price = tuner->usual_price;
        lesson->turn = ++past->turn;
        memcpy(lesson->rungs, tuner->rungs, sizeof lesson->rungs);
    }
    pthread_mutex_unlock(&tuner->lock);
}
