// SPDX-License-Identifier: Apache-2.0
// The rungs that a tuner may stand on, and which of them are worth it.
//
// A mix of two rungs costs a mix of their seconds and has a mix of their sizes, so what can be had is the area between the rungs, and
// its lower edge (the hull) is the best that can be had. A rung above that edge is never right: two others in proportion beat it.
#include "codec/tuner_internal.h"

// What to expect of a rung before it is used: seconds of a core for a raw byte, and size in relation to that of zstd 1. A recent core on JSON and
// float columns; a rung that is used replaces them, and moves the guesses of the others.
static const struct {
    ray__choice choice;
    double seconds;
    double unpack_seconds;
    double size;
} ladder[RAY_TUNER_RUNGS] = {
    {{RAY_CODEC_NONE, 0}, 0, 0, 0},
    {{RAY_CODEC_LZ4, 0}, 1.8e-9, 0.35e-9, 1.30},
    {{RAY_CODEC_ZSTD, -5}, 1.9e-9, 0.5e-9, 1.22},
    {{RAY_CODEC_ZSTD, -3}, 2.0e-9, 0.5e-9, 1.15},
    {{RAY_CODEC_ZSTD, -1}, 2.3e-9, 0.6e-9, 1.07},
    {{RAY_CODEC_ZSTD, 1}, 2.5e-9, 0.7e-9, 1.00},
    {{RAY_CODEC_ZSTD, 2}, 3.1e-9, 0.7e-9, 0.92},
    {{RAY_CODEC_ZSTD, 3}, 3.8e-9, 0.7e-9, 0.87},
    {{RAY_CODEC_ZSTD, 4}, 4.9e-9, 0.7e-9, 0.85},
    {{RAY_CODEC_ZSTD, 5}, 7.2e-9, 0.7e-9, 0.83},
    {{RAY_CODEC_ZSTD, 6}, 9.7e-9, 0.7e-9, 0.82},
    {{RAY_CODEC_ZSTD, 7}, 11.5e-9, 0.7e-9, 0.80},
    {{RAY_CODEC_ZSTD, 9}, 15e-9, 0.7e-9, 0.79},
};

ray__choice ray__ladder_choice(uint32_t rung) {
    return ladder[rung].choice;
}

uint32_t ray__ladder_find(ray__choice choice) {
    uint32_t rung = 0;
    while (rung < RAY_TUNER_RUNGS && (ladder[rung].choice.codec != choice.codec || ladder[rung].choice.level != choice.level)) {
        rung++;
    }
    return rung;
}

#define LZ4_UNPACK 0.35e-9 // as in the table
// Of the latest chunk in the mean of a receiver (receive.c), and so in what it is compared to.
#define UNPACK_WEIGHT 0.25
// A receiver's word beyond these factors is not believed.
#define UNPACK_FACTOR_MIN 0.05
#define UNPACK_FACTOR_MAX 8.0

double ray__ladder_unpack(const ray__tuner *tuner, uint32_t rung) {
    const ray__receiver *receiver = &tuner->receiver;
    double lz4 = receiver->lz4_seconds / LZ4_UNPACK;
    double zstd = tuner->zstd_unpack > 0 ? receiver->zstd_seconds / tuner->zstd_unpack : 0;
    bool is_lz4 = ladder[rung].choice.codec == RAY_CODEC_LZ4;
    double factor = is_lz4 ? lz4 : zstd;
    factor = factor > 0 ? factor : is_lz4 ? zstd : lz4; // of the other it says at least how fast its cores are
    if (factor <= 0) {
        // What is easy to pack is easy to unpack.
        factor = ladder[rung].seconds > 0 ? tuner->rungs[rung].seconds / ladder[rung].seconds : 1;
        factor = factor > 1 ? 1 : factor;
    }
    factor = factor < UNPACK_FACTOR_MIN ? UNPACK_FACTOR_MIN : factor > UNPACK_FACTOR_MAX ? UNPACK_FACTOR_MAX : factor;
    return ladder[rung].unpack_seconds * factor;
}

void ray__ladder_note_unpack(ray__tuner *tuner, uint32_t rung) {
    if (ladder[rung].choice.codec == RAY_CODEC_ZSTD) {
        double guess = ladder[rung].unpack_seconds;
        tuner->zstd_unpack += tuner->zstd_unpack > 0 ? UNPACK_WEIGHT * (guess - tuner->zstd_unpack) : guess;
    }
}

// The receiver's share counts as well: its cores may be these.
static double seconds_of(const ray__tuner *tuner, uint32_t rung) {
    return tuner->rungs[rung].seconds + ray__ladder_unpack(tuner, rung);
}

// Measurements that are believed.
#define USES_MIN 3u

// What the nearest measured rungs on either side say of this one: by how much the guesses are off; between two, the mean by distance.
static void guess(const ray__tuner *tuner, uint32_t rung, double *seconds, double *ratio) {
    uint32_t below = rung - 1;
    uint32_t above = rung + 1;
    while (below > 0 && !tuner->rungs[below].is_measured) {
        below--;
    }
    while (above < RAY_TUNER_RUNGS && !tuner->rungs[above].is_measured) {
        above++;
    }
    double sample = tuner->sample_ratio > 0 ? tuner->sample_ratio : 0.5;
    // A sample is short, so what it takes longer than expected says more of cold caches than of the data.
    double slower = tuner->sample_seconds > 0 ? tuner->sample_seconds / ladder[RAY_TUNER_SAMPLED].seconds : 1;
    slower = slower > 1 ? 1 : slower;
    double larger = 1;
    if (below > 0 || above < RAY_TUNER_RUNGS) {
        uint32_t low = below > 0 ? below : above;
        uint32_t high = above < RAY_TUNER_RUNGS ? above : below;
        double part = high > low ? (double)(rung - low) / (double)(high - low) : 0;
        slower = (1 - part) * tuner->rungs[low].measured / ladder[low].seconds + part * tuner->rungs[high].measured / ladder[high].seconds;
        larger = ((1 - part) * tuner->rungs[low].ratio / ladder[low].size + part * tuner->rungs[high].ratio / ladder[high].size) /
                 sample;
    }
    *seconds = ladder[rung].seconds * slower;
    *ratio = sample * ladder[rung].size * larger;
    *ratio = *ratio > 1 ? 1 : *ratio;
}

// Whether one was measured that is not this (0: any).
static bool is_other_measured(const ray__tuner *tuner, uint32_t rung) {
    for (uint32_t other = 1; other < RAY_TUNER_RUNGS; other++) {
        if (other != rung && tuner->rungs[other].is_measured) {
            return true;
        }
    }
    return false;
}

// A measurement is of a moment: a cold cache, a core that somebody else used half. The hull is narrow, so one that says a tenth too much would
// keep a rung from being used, and so from being measured again. Of a rung that was used little it is believed in part; the rest is what its
// neighbours say, where that is less.
static void believe(ray__tuner *tuner, uint32_t rung) {
    ray__rung *of = &tuner->rungs[rung];
    double seconds;
    double ratio;
    guess(tuner, rung, &seconds, &ratio);
    if (!of->is_measured) {
        of->seconds = seconds;
        of->ratio = ratio;
        return;
    }
    double part = of->uses < USES_MIN && is_other_measured(tuner, rung) ? (double)of->uses / USES_MIN : 1;
    of->seconds = part * of->measured + (1 - part) * (seconds < of->measured ? seconds : of->measured);
}

bool ray__ladder_is_measured(const ray__tuner *tuner) {
    return is_other_measured(tuner, 0);
}

void ray__ladder_update(ray__tuner *tuner) {
    tuner->rungs[0].ratio = 1;
    for (uint32_t rung = 1; rung < RAY_TUNER_RUNGS; rung++) {
        believe(tuner, rung);
    }
    // From raw, each time to the rung with the steepest way down.
    uint32_t at = 0;
    tuner->hull_length = 1;
    tuner->hull[0] = 0;
    for (;;) {
        uint32_t best = 0;
        double steepest = 0;
        for (uint32_t rung = 1; rung < RAY_TUNER_RUNGS; rung++) {
            double further = seconds_of(tuner, rung) - seconds_of(tuner, at);
            double smaller = tuner->rungs[at].ratio - tuner->rungs[rung].ratio;
            // A per cent is within what measurements differ by.
            if (rung == at || further <= 0 || smaller < 0.01 * tuner->rungs[at].ratio) {
                continue;
            }
            if (smaller / further > steepest) {
                steepest = smaller / further;
                best = rung;
            }
        }
        if (best == 0) {
            return;
        }
        tuner->hull[tuner->hull_length++] = (uint8_t)best;
        at = best;
    }
}

// What the hull's edge from its i-th rung to the next saves, in bytes for a raw byte, for each second of a core.
static double slope(const ray__tuner *tuner, uint32_t i) {
    uint32_t here = tuner->hull[i];
    uint32_t next = tuner->hull[i + 1];
    return (tuner->rungs[here].ratio - tuner->rungs[next].ratio) / (seconds_of(tuner, next) - seconds_of(tuner, here));
}

uint32_t ray__ladder_rung(const ray__tuner *tuner, double price) {
    uint32_t i = 0;
    while (i + 1 < tuner->hull_length && slope(tuner, i) > price) {
        i++;
    }
    return tuner->hull[i];
}

void ray__ladder_prices(const ray__tuner *tuner, double *lowest, double *highest) {
    *highest = tuner->hull_length > 1 ? slope(tuner, 0) : 1;
    *lowest = tuner->hull_length > 1 ? slope(tuner, tuner->hull_length - 2) : 1;
}

double ray__ladder_price(const ray__tuner *tuner, double cores, double *ratio) {
    // On the hull's edge between two rungs, seconds * link = cores * ratio is where both are full.
    double price = 1;
    *ratio = 1;
    for (uint32_t i = 0; i + 1 < tuner->hull_length; i++) {
        uint32_t here = tuner->hull[i];
        uint32_t next = tuner->hull[i + 1];
        double short_here = cores * tuner->rungs[here].ratio - seconds_of(tuner, here) * tuner->link_rate;
        double short_next = cores * tuner->rungs[next].ratio - seconds_of(tuner, next) * tuner->link_rate;
        price = slope(tuner, i);
        if (cores <= 0) {
            return price;
        }
        if (short_next < 0) {
            double part = short_here > 0 ? short_here / (short_here - short_next) : 0;
            *ratio = tuner->rungs[here].ratio + part * (tuner->rungs[next].ratio - tuner->rungs[here].ratio);
            return price;
        }
        *ratio = tuner->rungs[next].ratio;
    }
    return price / 2; // beyond the last edge
}
