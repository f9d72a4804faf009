// SPDX-License-Identifier: Apache-2.0
#include "codec/tuner_internal.h"

#include <string.h>

// By how much a chunk's backlog moves the price: at most by this part. A chunk answers to what was chosen some eight chunks ago, so
// faster steps would swing.
#define STEP 0.12
// Of the latest price in the mean of all: it goes up and down over some forty chunks.
#define USUAL_PART 0.03
// What the backlog of the moment adds to that for this chunk alone: so two rungs are mixed.
#define NUDGE 0.4
// How far the price may leave the range in which it changes anything, so that it is soon back.
#define BEYOND 1.3
// How far it falls from its first guess while the receiver is the limit.
#define DEAR_PART 0.3
// Threads rarely have a core each; for the first guess of a price.
#define CORES_PART 0.6
// The link's rate must change by this factor for the price to be taken anew from what is known of the rungs.
#define LINK_CHANGED 1.7
// Packing is begun without a free core when half of the threads can pack all, or when what they can pack makes this much of the size.
#define CLEAR_RATIO 0.70
#define CLEAR_STILL_RATIO 0.76 // where it was so; else what is measured of link and cores would turn it on and off
// Whatever the codec: what is packed is read, written and unpacked besides, which raw chunks, that the kernel moves, are not. Of a core for a raw
// byte, so a link that takes more than the threads can is filled best with raw chunks, even by zeros.
#define PACKED_SECONDS 1e-9
// Cores that must be free for packing harder where packing gains little, and what the free ones must bring for it to be begun.
#define CORES_FREE 0.15
#define WORTH_RATIO 0.96
// A window long enough that a chunk more or less does not matter.
#define WINDOW_NS 50000000u
#define WINDOW_BYTES (16u * RAY_CHUNK_SIZE)
// Packing must not bring less than this part of what raw brings; where it promises much a slow moment is not believed.
#define GAIN_MIN 0.98
#define CLEAR_GAIN_MIN 0.85
#define HOLD_MAX 64u
#define RAW_FORGOTTEN 50u
// Choices after which what was measured of a rung is to be tried again.
#define STALE_AFTER 256u
// Every so many choices a neighbour of the rungs in use is tried that was not measured: guesses alone would never be found out.
#define EXPLORE_EVERY 12u

void ray__tuner_init(ray__tuner *tuner, uint16_t threads, uint16_t peer_threads) {
    memset(tuner, 0, sizeof *tuner);
    pthread_mutex_init(&tuner->lock, NULL);
    tuner->threads = threads == 0 ? 1 : threads;
    tuner->peer_threads = peer_threads == 0 ? 1 : peer_threads;
    tuner->cores = tuner->threads;
    tuner->idle = 0;
    ray__ladder_update(tuner);
}

void ray__tuner_end(ray__tuner *tuner) {
    pthread_mutex_destroy(&tuner->lock);
}

// ---- the price -------------------------------------------------------------------------------------------------------------------

static void look_at_gain(ray__tuner *tuner) {
    double ratio;
    (void)ray__ladder_price(tuner, 0.5 * tuner->cores, &ratio);
    const ray__rung *first = &tuner->rungs[tuner->hull[tuner->hull_length > 1 ? 1 : 0]];
    bool keeps_up = tuner->hull_length > 1 && first->seconds * tuner->link_rate < 0.5 * tuner->cores * first->ratio;
    bool shrinks = ratio < (tuner->is_clear ? CLEAR_STILL_RATIO : CLEAR_RATIO);
    tuner->is_clear = (keeps_up || shrinks) && tuner->link_rate * PACKED_SECONDS < tuner->cores;
    (void)ray__ladder_price(tuner, (tuner->idle - CORES_FREE) * tuner->threads, &ratio);
    tuner->is_worth_it = ratio < WORTH_RATIO;
}

static void keep_price_in_range(ray__tuner *tuner) {
    double lowest;
    double highest;
    ray__ladder_prices(tuner, &lowest, &highest);
    tuner->price = tuner->price < lowest / BEYOND ? lowest / BEYOND : tuner->price;
    tuner->price = tuner->price > highest * BEYOND ? highest * BEYOND : tuner->price;
}

// Where what is known says it should be; from there the backlog moves it.
void ray__tuner_place_locked(ray__tuner *tuner) {
    double ratio;
    double highest;
    tuner->placed_rate = tuner->link_rate;
    tuner->settled = 0;
    tuner->usual_price = 0; // of what was known before
    look_at_gain(tuner);
    ray__ladder_prices(tuner, &tuner->price, &highest);
    tuner->price = tuner->is_clear ? ray__ladder_price(tuner, CORES_PART * tuner->cores, &ratio) : highest * BEYOND;
    tuner->placed_price = tuner->price;
    ray__receiver_place_locked(tuner);
}

// Between -1, when no chunk waits for the link, and 1, when all do.
static double error_of(const ray__tuner *tuner, const ray__backlog *backlog) {
    if (backlog->under_way < 3) {
        return 0; // the end of the transfer, or a receiver that asks for little
    }
    // Each thread has a chunk; of the others, half wait for a thread and half for the link.
    double under_way = backlog->under_way;
    double wanted = under_way > tuner->threads + 3u ? (under_way - tuner->threads) / 2.0 : 1.5;
    double error = backlog->ready - wanted;
    error = error < 0 ? error / wanted : error / (under_way - wanted);
    return error > 1 ? 1 : error;
}

// Whether the link has nothing to do before this chunk is packed, and no other is about to be.
static bool is_waited_for(const ray__backlog *backlog) {
    return backlog->under_way <= 1 && backlog->ready == 0;
}

// What the price alone would do wrong, since a chunk is answered for only when it has left.
static uint32_t keep_flowing(const ray__tuner *tuner, uint32_t rung, const ray__backlog *backlog) {
    // A raw chunk that takes the link longer than all others take the threads would make the threads wait for it.
    uint32_t first = tuner->hull[tuner->hull_length > 1 ? 1 : 0];
    double others = tuner->rungs[first].seconds * backlog->under_way / 2 / tuner->cores;
    if (rung == 0 && tuner->is_clear && 1 / tuner->link_rate > others) {
        return first;
    }
    // One that would wait for the link for longer than a thread packs it only keeps a place from those that are packed.
    double waits = (double)backlog->ready_bytes / backlog->chunk_size / tuner->link_rate;
    if (rung == 0 && tuner->is_clear && waits > tuner->rungs[first].seconds) {
        return first;
    }
    // One that the threads cannot keep up with is for when enough waits for the link meanwhile.
    uint32_t place = 0;
    while (place + 1 < tuner->hull_length && tuner->hull[place] != rung) {
        place++;
    }
    while (place > 1) {
        const ray__rung *of = &tuner->rungs[tuner->hull[place]];
        if (of->seconds / tuner->cores <= of->ratio / tuner->link_rate || of->seconds <= waits) {
            break;
        }
        place--;
    }
    return tuner->hull[place];
}

static bool is_to_be_tried(const ray__tuner *tuner, uint32_t rung) {
    return rung > 0 && rung < RAY_TUNER_RUNGS && (!tuner->rungs[rung].is_measured || tuner->rungs[rung].is_old);
}

static uint32_t rung_to_try(const ray__tuner *tuner, uint32_t rung) {
    if (is_to_be_tried(tuner, rung + 1)) {
        return rung + 1;
    }
    // Where even the strongest that is known leaves the threads idle, one beyond may be stronger.
    for (uint32_t above = rung + 2; tuner->reason == RAY__REASON_STRONGEST && above < RAY_TUNER_RUNGS; above++) {
        if (is_to_be_tried(tuner, above)) {
            return above;
        }
    }
    return is_to_be_tried(tuner, rung - 1) ? rung - 1 : rung;
}

static uint32_t choose_by_price(ray__tuner *tuner, const ray__backlog *backlog) {
    if (tuner->hold > 0) {
        tuner->reason = RAY__REASON_NO_GAIN;
        return 0;
    }
    double error = error_of(tuner, backlog);
    if (error < 0 && tuner->settled < backlog->under_way) {
        error = 0; // nothing waits for the link yet, since all has just begun
    }
    tuner->settled++;
    bool has_core = tuner->rung == 0 ? tuner->is_worth_it && tuner->raw_goodput > 0 : tuner->idle > CORES_FREE;
    bool may_pack_harder = tuner->is_clear || has_core;
    tuner->reason = RAY__REASON_BALANCE;
    if (error > 0 && tuner->receiver_limits && tuner->receiver.cores <= 0) {
        // What waits here waits for the receiver, which has less to do with what is packed lightly; more is not known of it.
        tuner->reason = RAY__REASON_RECEIVER;
        error = -0.5;
    } else if (error > 0 && !may_pack_harder) {
        tuner->reason = RAY__REASON_FAST;
        error = 0;
    } else if (error > 0 && ray__receiver_is_dear_locked(tuner)) {
        // What waits here waits for the receiver's cores, which have a price of their own. Cores here may be free, but how many is not known.
        error = tuner->price > DEAR_PART * tuner->placed_price ? error / 2 : 0;
    }
    tuner->price *= 1 - STEP * error;
    keep_price_in_range(tuner);
    tuner->usual_price += tuner->usual_price > 0 ? USUAL_PART * (tuner->price - tuner->usual_price) : tuner->price;
    double price = tuner->price * (1 - NUDGE * error);
    if (is_waited_for(backlog) && price < tuner->link_rate) {
        price = tuner->link_rate; // a second of packing is a second of the link
    }
    tuner->rung = keep_flowing(tuner, ray__ladder_rung(tuner, price), backlog);
    if (ray__receiver_choose_locked(tuner, price, &tuner->rung)) {
        tuner->reason = RAY__REASON_RECEIVER;
    } else if (tuner->rung == tuner->hull[tuner->hull_length - 1] && tuner->rung != 0 && error >= 0) {
        tuner->reason = RAY__REASON_STRONGEST;
    }
    if (tuner->rung > 0 && ++tuner->choices % EXPLORE_EVERY == 0) {
        uint32_t tried = rung_to_try(tuner, tuner->rung);
        tuner->reason = tried != tuner->rung ? RAY__REASON_TRIAL : tuner->reason;
        return tried;
    }
    return tuner->rung;
}

static void age(ray__tuner *tuner) {
    for (uint32_t rung = 1; rung < RAY_TUNER_RUNGS; rung++) {
        tuner->rungs[rung].is_old = ++tuner->rungs[rung].age >= STALE_AFTER;
    }
}

void ray__tuner_vanishes(ray__tuner *tuner, ray__choice choice) {
    pthread_mutex_lock(&tuner->lock);
    tuner->vanishes = true;
    tuner->reason = RAY__REASON_UNIFORM;
    ray__tuner_note_locked(tuner, ray__ladder_find(choice));
    pthread_mutex_unlock(&tuner->lock);
}

ray__choice ray__tuner_choose(ray__tuner *tuner, const ray__backlog *backlog) {
    pthread_mutex_lock(&tuner->lock);
    tuner->vanishes = false;
    uint32_t rung = 0;
    if (ray__start_is_on_locked(tuner)) {
        bool is_little = tuner->link_rate > 0 && tuner->sample_ratio <= 0 && tuner->hopeless_length == 0; // too little to be sampled
        tuner->reason = is_little ? RAY__REASON_FAST : RAY__REASON_START;
        rung = ray__start_rung_locked(tuner);
    } else if (tuner->hopeless_length > 0) {
        tuner->reason = RAY__REASON_HOPELESS;
    } else {
        rung = choose_by_price(tuner, backlog);
        age(tuner);
    }
    tuner->raw_run = rung == 0 ? tuner->raw_run + 1 : 0;
    ray__tuner_note_locked(tuner, rung);
    pthread_mutex_unlock(&tuner->lock);
    return ray__ladder_choice(rung);
}

// ---- what was measured -----------------------------------------------------------------------------------------------------------

void ray__tuner_packed(ray__tuner *tuner, ray__choice choice, uint32_t raw_size, uint32_t stored_size, uint64_t core_ns) {
    uint32_t rung = ray__ladder_find(choice);
    if (raw_size == 0 || rung == 0 || rung == RAY_TUNER_RUNGS) {
        return;
    }
    double seconds = (double)core_ns / 1e9 / raw_size;
    double ratio = (double)stored_size / raw_size;
    pthread_mutex_lock(&tuner->lock);
    ray__ladder_note_unpack(tuner, rung);
    ray__rung *of = &tuner->rungs[rung];
    ray__rung before = *of;
    bool is_first = !ray__ladder_is_measured(tuner);
    // The first times have cold caches and new memory in them.
    double weight = !of->is_measured ? 1 : of->count < 4 ? 0.5 : 0.2;
    of->measured += weight * (seconds - of->measured);
    of->uses += of->uses < UINT32_MAX;
    of->ratio += weight * (ratio - of->ratio);
    // What changes in the data or at the cores changes the others as well: those that were not used since go along.
    for (uint32_t other = 1; before.is_measured && other < RAY_TUNER_RUNGS; other++) {
        if (other != rung && tuner->rungs[other].is_measured && tuner->rungs[other].age > 16) {
            tuner->rungs[other].measured *= of->measured / before.measured;
            double moved = tuner->rungs[other].ratio * of->ratio / before.ratio;
            tuner->rungs[other].ratio = moved > 1 ? 1 : moved;
        }
    }
    of->is_measured = true;
    of->is_old = false;
    of->age = 0;
    if (ratio > RAY_TUNER_HOPELESS && of->ratio > RAY_TUNER_HOPELESS) {
        ray__tuner_hopeless_locked(tuner);
    }
    ray__ladder_update(tuner);
    if (is_first && tuner->link_rate > 0) {
        ray__tuner_place_locked(tuner); // until now by guesses
    }
    keep_price_in_range(tuner);
    pthread_mutex_unlock(&tuner->lock);
}

static void measure_link(ray__tuner *tuner, const ray__span *span) {
    if (span->drained_bytes == 0) {
        return;
    }
    bool is_first = !tuner->link_is_measured;
    tuner->link_is_measured = tuner->link_rate > 0;
    // The kernel counts in ticks of 1 to 10 ms, so a span in which the link was hardly busy says little.
    bool is_full = span->limited_ns > span->span_ns / 4 * 3;
    double rate = (double)span->drained_bytes * 1e9 / (double)(span->limited_ns > 0 ? span->limited_ns : span->span_ns);
    if (tuner->link_rate <= 0) {
        tuner->link_rate = is_full ? rate : 0; // else it could take more than it got, nobody knows how much
    } else if (is_full) {
        bool is_other = rate > 2 * tuner->link_rate || 2 * rate < tuner->link_rate;
        tuner->link_rate += (is_other ? 0.7 : 0.3) * (rate - tuner->link_rate);
    } else if (rate > tuner->link_rate) {
        // What an earlier transfer found may be long past.
        tuner->link_rate += (is_first && rate > 2 * tuner->link_rate ? 0.7 : 0.1) * (rate - tuner->link_rate);
    }
}

// Compares what came over with what raw would bring, and goes back to raw when that is more.
static void judge_window(ray__tuner *tuner) {
    tuner->goodput = (double)tuner->window_raw * 1e9 / (double)tuner->window_ns;
    bool packs = tuner->window_packed > tuner->window_raw / 4;
    if (tuner->window_packed < tuner->window_raw / 50) {
        tuner->raw_goodput = tuner->goodput;
        tuner->raw_age = 0;
    } else if (++tuner->raw_age > RAW_FORGOTTEN) {
        tuner->raw_goodput = 0;
    }
    if (tuner->hold > 0) {
        if (--tuner->hold == 0) {
            ray__tuner_place_locked(tuner);
        }
    } else if (packs) {
        double raw = tuner->raw_goodput > 0 ? tuner->raw_goodput : tuner->link_rate;
        if (tuner->goodput < (tuner->is_clear ? CLEAR_GAIN_MIN : GAIN_MIN) * raw) {
            uint32_t length = tuner->hold_length == 0 ? 2 : tuner->hold_length * 2;
            tuner->hold_length = length > HOLD_MAX ? HOLD_MAX : length;
            tuner->hold = tuner->hold_length;
        } else {
            tuner->hold_length -= tuner->hold_length > 0 ? 1 : 0;
        }
    }
    tuner->window_ns = 0;
    tuner->window_raw = 0;
    tuner->window_packed = 0;
}

void ray__tuner_span(ray__tuner *tuner, const ray__span *span) {
    if (span->span_ns == 0) {
        return;
    }
    pthread_mutex_lock(&tuner->lock);
    measure_link(tuner, span);
    if (span->cores > 0) {
        tuner->cores = span->cores < tuner->threads ? span->cores : tuner->threads;
    }
    if (span->idle >= 0) {
        double idle = span->idle / tuner->threads;
        tuner->idle += 0.4 * ((idle > 1 ? 1 : idle) - tuner->idle);
    }
    tuner->receiver_limits = span->receiver_ns > span->span_ns / 4;
    look_at_gain(tuner);
    if (tuner->link_rate > LINK_CHANGED * tuner->placed_rate || tuner->link_rate * LINK_CHANGED < tuner->placed_rate) {
        ray__tuner_place_locked(tuner);
    }
    tuner->window_ns += span->span_ns;
    tuner->window_raw += span->raw_bytes;
    tuner->window_packed += span->packed_raw_bytes;
    uint64_t enough = tuner->hold > 0 ? WINDOW_BYTES / 4 : WINDOW_BYTES;
    if (tuner->window_ns >= WINDOW_NS && tuner->window_raw >= enough) {
        judge_window(tuner);
    }
    pthread_mutex_unlock(&tuner->lock);
}
