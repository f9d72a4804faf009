// SPDX-License-Identifier: Apache-2.0
// A world for the tuner: two machines or one, cores that threads share, a link, and data of which it is known what each rung makes of it.
//
// Time goes in small steps. In each, every thread that has something to do gets its fair part of its machine's cores; packers work on
// chunks, the link takes from the chunks that are packed, unpackers work on what arrived. Nothing is random, so a run is the same each
// time, and the same world can be run with one rung for all chunks, to know what the best of them brings.
#ifndef TUNER_WORLD_H
#define TUNER_WORLD_H

#include "check.h"
#include "codec/tuner_internal.h"

#define WORLD_CHUNK RAY_CHUNK_SIZE
#define WORLD_ORDERS 16  // chunks under way at the sender, at most
#define WORLD_ARRIVED 34 // chunks at the receiver that wait to be unpacked
#define WORLD_HASH_SECONDS 0.05e-9 // of a core for a byte
#define WORLD_AUTO RAY_TUNER_RUNGS

// What each rung does with some data: nanoseconds of a core for a raw byte, and what is left of it.
typedef struct world_data {
    const char *name;
    double pack[RAY_TUNER_RUNGS];
    double unpack[RAY_TUNER_RUNGS];
    double ratio[RAY_TUNER_RUNGS];
} world_data;

typedef struct world {
    const world_data *data;
    double link_rate;      // bytes a second
    double cores;          // of the sender's machine
    double peer_cores;     // of the receiver's; 0: they are the same cores
    uint32_t threads;      // of the sender that pack
    uint32_t peer_threads;
    double load;           // threads of others that always run on the sender's machine
    double peer_load;      // and on the receiver's
    bool is_silent;        // the receiver says nothing of itself
    double wire_seconds;   // of a core for a byte on the wire, at each end
    // what happens
    double seconds;
    uint32_t done;
    uint32_t counts[RAY_TUNER_RUNGS];
    uint32_t samples;
} world;

typedef struct world_chunk {
    uint32_t rung;
    double left; // core seconds, or bytes
} world_chunk;

typedef struct world_run {
    world *w;
    ray__tuner *tuner;
    uint32_t fixed;
    world_chunk packing[WORLD_ORDERS];
    uint32_t packing_count;
    world_chunk ready[WORLD_ORDERS];
    uint32_t ready_count;
    world_chunk arrived[WORLD_ARRIVED + 1];
    uint32_t arrived_count;
    uint32_t begun;
    uint32_t total;
    double used; // of the sender's cores, in this span
    double peer_free;   // cores of the receiver's machine that others leave it now
    double unpack[RAY_CODEC_ZSTD + 1]; // nanoseconds for a raw byte, as the receiver measures; 0: not yet
    ray__span span;
    double busy;
    double closed;
    double span_seconds;
} world_run;

// Two connections, each with the threads' number of chunks and two more; at least four and at most eight.
static inline uint32_t world_orders(const world_run *r) {
    uint32_t each = r->w->threads + 2;
    uint32_t all = 2 * (each < 4 ? 4 : each > 8 ? 8 : each);
    uint32_t left = r->total - r->begun + r->packing_count + r->ready_count;
    return all < left ? all : left;
}

static inline uint32_t world_begin_chunk(world_run *r) {
    uint32_t rung = r->fixed;
    if (rung == WORLD_AUTO) {
        if (ray__tuner_wants_sample(r->tuner, (uint64_t)r->total * WORLD_CHUNK)) {
            r->w->samples++;
            ray__tuner_sampled(r->tuner, RAY_TUNER_SAMPLE, (uint32_t)(r->w->data->ratio[5] * RAY_TUNER_SAMPLE),
                                 (uint64_t)(r->w->data->pack[5] * RAY_TUNER_SAMPLE));
        }
        ray__backlog backlog = {.under_way = world_orders(r), .ready = r->ready_count, .chunk_size = WORLD_CHUNK};
        for (uint32_t i = 0; i < r->ready_count; i++) {
            backlog.ready_bytes += (uint64_t)r->ready[i].left;
        }
        rung = ray__ladder_find(ray__tuner_choose(r->tuner, &backlog));
    }
    CHECK(rung < RAY_TUNER_RUNGS);
    r->w->counts[rung]++;
    r->begun++;
    return rung;
}

static inline uint32_t world_places(const world_run *r) {
    uint32_t places = r->fixed == WORLD_AUTO ? ray__tuner_places(r->tuner) : UINT32_MAX;
    return places < world_orders(r) ? places : world_orders(r);
}

static inline void world_fill(world_run *r) {
    while (r->begun < r->total && r->packing_count + r->ready_count < world_places(r) && r->packing_count < r->w->threads) {
        uint32_t rung = world_begin_chunk(r);
        // A raw chunk is looked at once, for its checksum.
        double seconds = rung == 0 ? WORLD_HASH_SECONDS : r->w->data->pack[rung] * 1e-9;
        r->packing[r->packing_count++] = (world_chunk){rung, seconds * WORLD_CHUNK};
    }
}

static inline double world_least(double a, double b) {
    return a < b ? a : b;
}

// What a thread gets when these demands (each at most 1) share the cores: the level up to which all are filled.
static inline double world_level(double cores, const double *demands, uint32_t count) {
    double low = 0;
    double high = 1;
    for (int round = 0; round < 20; round++) {
        double level = round == 0 ? 1 : (low + high) / 2;
        double given = 0;
        for (uint32_t i = 0; i < count; i++) {
            given += world_least(demands[i], level);
        }
        *(given <= cores ? &low : &high) = level;
        if (low == 1) {
            break;
        }
    }
    return low;
}

// Of a core for a byte on the wire: a raw chunk is hashed as it is received, and never waits for a thread.
static inline double world_wire_seconds(const world *w, const world_chunk *c) {
    return w->wire_seconds + (c->rung == 0 ? WORLD_HASH_SECONDS : 0);
}

static inline void world_pack(world_run *r, double dt, double level) {
    for (uint32_t i = 0; i < r->packing_count;) {
        world_chunk *c = &r->packing[i];
        c->left -= dt * level;
        r->used += dt * level;
        if (c->left > 0) {
            i++;
            continue;
        }
        uint32_t rung = c->rung;
        double stored = r->w->data->ratio[rung] * WORLD_CHUNK;
        if (rung > 0 && r->tuner != NULL) {
            ray__tuner_packed(r->tuner, ray__ladder_choice(rung), WORLD_CHUNK, (uint32_t)stored, (uint64_t)(r->w->data->pack[rung] * WORLD_CHUNK));
        }
        r->ready[r->ready_count++] = (world_chunk){stored < WORLD_CHUNK ? rung : 0, stored};
        r->packing[i] = r->packing[--r->packing_count];
        r->span.packed_raw_bytes += rung > 0 ? WORLD_CHUNK : 0;
    }
}

// With each chunk that arrives the receiver asks for more, and says how it is.
static inline void world_tell(const world_run *r) {
    if (r->tuner == NULL || r->w->is_silent) {
        return;
    }
    ray__receiver receiver = {
        .cores = r->w->peer_cores > 0 ? r->w->peer_cores : r->w->cores,
        .free = r->peer_free,
        .lz4_seconds = r->unpack[RAY_CODEC_LZ4] * 1e-9,
        .zstd_seconds = r->unpack[RAY_CODEC_ZSTD] * 1e-9,
    };
    receiver.waiting = r->arrived_count;
    ray__tuner_receiver(r->tuner, &receiver);
}

static inline void world_end_span(world_run *r) {
    if (r->tuner != NULL && !ray__tuner_knows_link(r->tuner)) {
        if (r->span.drained_bytes >= 32u << 10) {
            ray__tuner_link(r->tuner, (double)r->span.drained_bytes / (r->busy + r->closed));
            memset(&r->span, 0, sizeof r->span);
            r->span_seconds = r->busy = r->closed = r->used = 0;
        }
    } else if (r->tuner != NULL && r->span_seconds >= 0.05) {
        r->span.span_ns = (uint64_t)(r->span_seconds * 1e9);
        r->span.limited_ns = (uint64_t)(r->busy * 1e9);
        r->span.receiver_ns = (uint64_t)(r->closed * 1e9);
        r->span.cores = r->w->cores;
        r->span.idle = r->w->cores - r->used / r->span_seconds;
        ray__tuner_span(r->tuner, &r->span);
        memset(&r->span, 0, sizeof r->span);
        r->span_seconds = r->busy = r->closed = r->used = 0;
    }
}

static inline void world_send(world_run *r, double dt, double send_level, double receive_level) {
    bool closed = r->arrived_count >= WORLD_ARRIVED;
    r->closed += closed ? dt : 0;
    if (r->ready_count == 0 || closed) {
        return;
    }
    // A receiver that is slower than the link and the sender closes its window.
    bool slow = receive_level / r->w->wire_seconds < r->w->link_rate && receive_level < send_level;
    *(slow ? &r->closed : &r->busy) += dt;
    double room = world_least(r->w->link_rate, world_least(send_level, receive_level) / world_wire_seconds(r->w, &r->ready[0])) * dt;
    while (room > 0 && r->ready_count > 0 && r->arrived_count < WORLD_ARRIVED) {
        world_chunk *c = &r->ready[0];
        double part = world_least(room, c->left);
        c->left -= part;
        room -= part;
        r->used += part * r->w->wire_seconds * (r->w->peer_cores == 0 ? 2 : 1);
        r->span.drained_bytes += (uint64_t)part;
        if (c->left > 0) {
            return;
        }
        r->span.raw_bytes += WORLD_CHUNK;
        uint32_t rung = c->rung;
        if (rung == 0) {
            r->w->done++;
        } else {
            r->arrived[r->arrived_count++] = (world_chunk){rung, r->w->data->unpack[rung] * 1e-9 * WORLD_CHUNK};
        }
        memmove(r->ready, r->ready + 1, --r->ready_count * sizeof r->ready[0]);
        world_tell(r);
        world_end_span(r);
    }
}

static inline void world_unpack(world_run *r, double dt, double level) {
    uint32_t at_once = r->arrived_count < r->w->peer_threads ? r->arrived_count : r->w->peer_threads;
    for (uint32_t i = 0; i < at_once; i++) {
        r->arrived[i].left -= dt * level;
        r->used += r->w->peer_cores == 0 ? dt * level : 0;
    }
    for (uint32_t i = 0; i < r->arrived_count;) {
        if (r->arrived[i].left > 0) {
            i++;
            continue;
        }
        uint32_t rung = r->arrived[i].rung;
        double *unpack = &r->unpack[ray__ladder_choice(rung).codec];
        *unpack += (*unpack > 0 ? 0.25 : 1) * (r->w->data->unpack[rung] - *unpack);
        memmove(r->arrived + i, r->arrived + i + 1, (--r->arrived_count - i) * sizeof r->arrived[0]);
        r->w->done++;
    }
}

static inline void world_step(world_run *r, double dt) {
    const world *w = r->w;
    world_fill(r);
    double demands[64];
    uint32_t count = 0;
    uint32_t unpacking = r->arrived_count < w->peer_threads ? r->arrived_count : w->peer_threads;
    double wire = r->ready_count > 0 ? world_least(1, w->link_rate * world_wire_seconds(w, &r->ready[0])) : 0;
    for (uint32_t i = 0; i < r->packing_count; i++) {
        demands[count++] = 1;
    }
    for (double load = w->load; load > 0; load -= 1) {
        demands[count++] = world_least(load, 1);
    }
    demands[count++] = wire;
    double peer_demands[32];
    uint32_t peer_count = 0;
    double *others = w->peer_cores == 0 ? demands : peer_demands;
    uint32_t *others_count = w->peer_cores == 0 ? &count : &peer_count;
    others[(*others_count)++] = wire;
    for (uint32_t i = 0; i < unpacking; i++) {
        others[(*others_count)++] = 1;
    }
    for (double load = w->peer_load; load > 0; load -= 1) {
        others[(*others_count)++] = world_least(load, 1);
    }
    double level = world_level(w->cores, demands, count);
    double peer_level = w->peer_cores == 0 ? level : world_level(w->peer_cores, peer_demands, peer_count);
    r->peer_free = w->peer_cores > 0 ? w->peer_cores - w->peer_load * peer_level : w->cores - (w->load + r->packing_count) * level;
    r->peer_free = r->peer_free > 0 ? r->peer_free : 0;
    world_pack(r, dt, level);
    world_send(r, dt, world_least(level, wire), world_least(peer_level, wire));
    world_unpack(r, dt, peer_level);
    r->used += w->load * level * dt;
    r->span_seconds += dt;
    r->w->seconds += dt;
}

// Brings so many chunks over; answers the seconds. The rung is for all of them, or WORLD_AUTO with a tuner, which may have a past.
static inline double world_bring(world *w, uint32_t fixed, ray__tuner *tuner, uint32_t chunks) {
    world_run *r = calloc(1, sizeof *r);
    CHECK(r != NULL);
    r->w = w;
    r->tuner = tuner;
    r->fixed = fixed;
    r->total = chunks;
    double dt = WORLD_CHUNK / w->link_rate / 100;
    dt = dt > 0.0005 ? 0.0005 : dt < 0.00002 ? 0.00002 : dt;
    double before = w->seconds;
    w->done = 0;
    while (w->done < chunks) {
        world_step(r, dt);
        if (w->seconds - before > 10000) {
            fprintf(stderr, "%s: the chunks do not arrive\n", w->data->name);
            exit(1);
        }
    }
    free(r);
    return w->seconds - before;
}

// The least seconds that one rung for all chunks takes.
static inline double world_best_fixed(const world *w, uint32_t chunks, uint32_t *best) {
    double least = 0;
    for (uint32_t rung = 0; rung < RAY_TUNER_RUNGS; rung++) {
        world fixed = *w;
        double seconds = world_bring(&fixed, rung, NULL, chunks);
        if (least <= 0 || seconds < least) {
            least = seconds;
            *best = rung;
        }
    }
    return least;
}

#endif
