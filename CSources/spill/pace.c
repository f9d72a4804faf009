// SPDX-License-Identifier: Apache-2.0
// Codecs for what is spilled, by the tuner of the wire.
//
// A transfer sees how many packed chunks wait for its link, and moves the price of a core's time by that. A file that is spilled is packed before it is
// written, since its size must be known first, while another file is being written: so nothing waits where it could be counted. But how fast
// the storage takes bytes is measured with each file, and from that and from what the rungs cost the tuner knows where packing one file takes as
// long as writing another. That is the price that is paid here.
#include "spill/pace_internal.h"

#include <stdlib.h>

#include "base/error_internal.h"

#define PACKING_CORES 1.0 // that pack while files are written
#define NEWEST 0.3        // what the latest file counts of the rate

struct ray_spill_pace {
    ray__tuner tuner;
};

ray_status ray_spill_pace_create(ray_spill_pace **pace) {
    *pace = calloc(1, sizeof **pace);
    if (*pace == NULL) {
        return ray__fail(RAY_OUT_OF_MEMORY, "what is known of a storage");
    }
    ray__tuner_init(&(*pace)->tuner, 1, 1);
    return RAY_OK;
}

void ray_spill_pace_destroy(ray_spill_pace *pace) {
    if (pace != NULL) {
        ray__tuner_end(&pace->tuner);
        free(pace);
    }
}

void ray_spill_pace_note(ray_spill_pace *pace, uint64_t bytes, uint64_t span_ns) {
    if (bytes == 0 || span_ns == 0) {
        return;
    }
    double rate = (double)bytes * 1e9 / (double)span_ns;
    ray__tuner *tuner = &pace->tuner;
    pthread_mutex_lock(&tuner->lock);
    tuner->link_rate += (tuner->link_rate > 0 ? NEWEST : 1) * (rate - tuner->link_rate);
    pthread_mutex_unlock(&tuner->lock);
}

double ray_spill_pace_rate(ray_spill_pace *pace) {
    pthread_mutex_lock(&pace->tuner.lock);
    double rate = pace->tuner.link_rate;
    pthread_mutex_unlock(&pace->tuner.lock);
    return rate;
}

ray__choice ray__pace_choose(ray_spill_pace *pace, uint32_t raw_size, uint32_t stored_size, uint64_t core_ns) {
    ray__tuner *tuner = &pace->tuner;
    ray__tuner_sampled(tuner, raw_size, stored_size, core_ns);
    double ratio;
    pthread_mutex_lock(&tuner->lock);
    uint32_t rung = tuner->link_rate > 0 ? ray__ladder_rung(tuner, ray__ladder_price(tuner, PACKING_CORES, &ratio)) : RAY_TUNER_SAMPLED;
    pthread_mutex_unlock(&tuner->lock);
    return ray__ladder_choice(rung);
}

void ray__pace_packed(ray_spill_pace *pace, ray__choice choice, uint32_t raw_size, uint32_t stored_size, uint64_t core_ns) {
    ray__tuner_packed(&pace->tuner, choice, raw_size, stored_size, core_ns);
}
