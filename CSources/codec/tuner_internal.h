// SPDX-License-Identifier: Apache-2.0
// Tuner: picks the codec of each chunk, so that the chunk arrives soonest.
//
// Packing, sending and unpacking overlap, so the time a chunk costs is that of the slowest stage:
//
//     max(pack_time / threads, stored_size / link_rate, unpack_time / peer_threads)
//
// The rungs of a ladder (none, lz4, zstd from fast to strong) have a speed and a ratio each: guessed at first, measured when used. The
// link's rate is what the peer acknowledged while the link itself was the limit, so a slow peer does not look like a slow link.
// On a link that is faster than any codec nothing is ever sampled: raw costs nothing to choose. Data that does not shrink is noticed on a
// small sample, and then looked at again ever more rarely.
//
// It knows no sockets and no clock: whoever uses it brings measurements. Thread safety: all functions may be called from any thread.
#ifndef RAY_CODEC_TUNER_INTERNAL_H
#define RAY_CODEC_TUNER_INTERNAL_H

#include <pthread.h>

#include "raystore/codec.h"

#define RAY_TUNER_SAMPLE (64u << 10) // of a chunk, packed by lz4 to guess its ratio
#define RAY_TUNER_RUNGS 9

typedef struct ray__choice {
    uint16_t codec;
    int16_t level;
} ray__choice;

typedef struct ray__tuner {
    pthread_mutex_t lock;
    uint16_t threads;      // that may pack at once
    uint16_t peer_threads; // that may unpack at once
    double link_rate;      // bytes a second, 0 before anything is known
    double efficiency;     // of the threads together: others use the cores as well, the receiver perhaps among them
    double lz4_ratio;      // stored / raw of recent samples, 1 when it does not shrink
    uint32_t hopeless_skip; // chunks not to be looked at, after a sample that did not shrink
    uint32_t hopeless_length;
    struct {
        double pack_rate; // raw bytes a second and thread
        double ratio;     // stored / raw, 0 before it was used
        uint32_t age;     // choices since it was last used
    } rungs[RAY_TUNER_RUNGS];
} ray__tuner;

void ray__tuner_init(ray__tuner *tuner, uint16_t threads, uint16_t peer_threads);
void ray__tuner_end(ray__tuner *tuner);

// Whether a sample of the next chunk would help to choose. If not, choose at once.
bool ray__tuner_wants_sample(ray__tuner *tuner);
void ray__tuner_sampled(ray__tuner *tuner, uint32_t raw_size, uint32_t stored_size);

ray__choice ray__tuner_choose(ray__tuner *tuner);

// A chunk was packed in this time by one thread. stored_size = raw_size says that it did not shrink.
void ray__tuner_packed(ray__tuner *tuner, ray__choice choice, uint32_t raw_size, uint32_t stored_size, uint64_t spent_ns);

// So many bytes were drained while the link was the limit for limited_ns. Spans too short to mean anything are to be summed up by the caller.
void ray__tuner_drained(ray__tuner *tuner, uint64_t bytes, uint64_t limited_ns);


// In span_ns so many raw bytes left, packed_bytes of them packed. What packing should have brought is compared with it.
void ray__tuner_achieved(ray__tuner *tuner, uint64_t raw_bytes, uint64_t packed_bytes, uint64_t span_ns);

#endif
