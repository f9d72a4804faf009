// SPDX-License-Identifier: Apache-2.0
// The receiver: what its cores can unpack, and what waits for them.
//
// A second of its cores costs what one costs here, for they may be the same, and something more, moved by its own backlog: packed chunks that
// have arrived and wait for a thread. Many of them: it is the limit, and chunks get what it unpacks quicker, at last raw. None: nothing more.
// That needs no model of who else uses its cores. Below it is bounded by what the receiver says: a rung brings no more than its
// cores can receive and unpack, at what it measured for a byte. So a weak one is known before the first backlog.
#include "codec/tuner_internal.h"

// Chunks that wait there when the price stays as it is, beside one for each thread. As many as are on their way meanwhile, so that it is not
// idle when what was chosen for fewer arrives.
#define WAITING 6.0
// By how much a choice moves the price at most. What it chooses is unpacked some thirty chunks later, so faster steps would swing.
#define STEP 0.03
// What the backlog of the moment adds to that for this chunk alone.
#define NUDGE 0.2
// How far it may go beyond what changes anything.
#define BEYOND 1.3
// The backlog that counts at least when something is unpacked while bytes wait in the kernel: unpacking takes cores from receiving.
#define PRESSED 0.5
// Of the cores that it may use, the part that it gets at least though others use all of them.
#define SHARE_MIN 0.8
// Of the threads that pack, what they get of their cores; as where the first price is guessed.
#define CORES_PART 0.6
// Of a core to receive and hash a byte, whatever it is.
#define RECEIVE_SECONDS 0.35e-9
// The search for the price by its cores: steps, and choices after which it is done again.
#define SEARCH_STEP 0.1
#define SEARCH_EVERY 16u

void ray__tuner_receiver(ray__tuner *tuner, const ray__receiver *receiver) {
    pthread_mutex_lock(&tuner->lock);
    bool is_first = tuner->receiver.cores <= 0 && receiver->cores > 0;
    tuner->receiver = *receiver;
    if (is_first && tuner->price > 0) {
        ray__receiver_place_locked(tuner);
    }
    pthread_mutex_unlock(&tuner->lock);
}

// Between -1, when nothing waits there, and 1.
static double error_of(const ray__tuner *tuner) {
    double wanted = tuner->peer_threads + WAITING;
    double error = (tuner->receiver.waiting - wanted) / wanted;
    if (tuner->receiver_limits && tuner->receiver.waiting > 0 && error < PRESSED) {
        error = PRESSED; // what it unpacks takes cores from receiving
    }
    return error > 1 ? 1 : error;
}

bool ray__receiver_is_dear_locked(const ray__tuner *tuner) {
    return tuner->receiver.cores > 0 && (tuner->receiver_extra > 0 || error_of(tuner) > 0);
}

static uint32_t cheapest(const ray__tuner *tuner, double price, double receiver_price) {
    uint32_t best = 0;
    double least = 1; // raw: nothing but its size
    for (uint32_t rung = 1; rung < RAY_TUNER_RUNGS; rung++) {
        const ray__rung *of = &tuner->rungs[rung];
        double cost = price * of->seconds + receiver_price * ray__ladder_unpack(tuner, rung) + of->ratio;
        if (cost < least) {
            least = cost;
            best = rung;
        }
    }
    return best;
}

// Above it nothing is packed, whatever packing costs.
static double highest_price(const ray__tuner *tuner) {
    double highest = 0;
    for (uint32_t rung = 1; rung < RAY_TUNER_RUNGS; rung++) {
        double price = (1 - tuner->rungs[rung].ratio) / ray__ladder_unpack(tuner, rung);
        highest = price > highest ? price : highest;
    }
    return BEYOND * highest;
}

// Cores that the receiver needs for what arrives when all is packed so.
static double load_of(const ray__tuner *tuner, uint32_t rung) {
    const ray__rung *of = &tuner->rungs[rung];
    double rate = tuner->link_rate / of->ratio;
    double by_cores = CORES_PART * tuner->cores / of->seconds;
    rate = rung > 0 && by_cores < rate ? by_cores : rate;
    return rate * (ray__ladder_unpack(tuner, rung) + of->ratio * RECEIVE_SECONDS);
}

// What a second of its cores must cost more than one here for it to keep up, by what it says of them.
static double extra_by_cores(const ray__tuner *tuner) {
    double share = SHARE_MIN * tuner->receiver.cores;
    double cores = tuner->receiver.free > share ? tuner->receiver.free : share;
    double highest = highest_price(tuner);
    double price = tuner->price;
    while (price < highest && load_of(tuner, cheapest(tuner, tuner->price, price)) > cores) {
        price *= 1 + SEARCH_STEP;
    }
    return price - tuner->price;
}

void ray__receiver_place_locked(ray__tuner *tuner) {
    bool is_known = tuner->receiver.cores > 0 && tuner->link_rate > 0;
    tuner->receiver_least = is_known ? extra_by_cores(tuner) : 0;
    tuner->receiver_extra = tuner->receiver_least;
    tuner->receiver_age = 0;
}

static void keep_in_range(ray__tuner *tuner) {
    double most = highest_price(tuner) - tuner->price;
    if (++tuner->receiver_age % SEARCH_EVERY == 0 && tuner->link_rate > 0) {
        tuner->receiver_least = extra_by_cores(tuner);
    }
    tuner->receiver_extra = tuner->receiver_extra > most ? most : tuner->receiver_extra;
    tuner->receiver_extra = tuner->receiver_extra < tuner->receiver_least ? tuner->receiver_least : tuner->receiver_extra;
}

bool ray__receiver_choose_locked(ray__tuner *tuner, double price, uint32_t *rung) {
    if (tuner->receiver.cores <= 0) {
        return false;
    }
    double error = error_of(tuner);
    tuner->receiver_extra += STEP * error * (tuner->price + tuner->receiver_extra);
    keep_in_range(tuner);
    double nudged = (tuner->price + tuner->receiver_extra) * (1 + NUDGE * error);
    if (nudged <= price || tuner->receiver_extra <= 0) {
        return false;
    }
    uint32_t chosen = cheapest(tuner, price, nudged);
    bool is_other = chosen != *rung;
    *rung = chosen;
    return is_other;
}
