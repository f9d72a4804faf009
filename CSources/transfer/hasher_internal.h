// SPDX-License-Identifier: Apache-2.0
// The thread that computes checksums while nobody else wants its core (ahead_internal.h). One other thread gives it work and waits for it.
#ifndef RAY_TRANSFER_HASHER_INTERNAL_H
#define RAY_TRANSFER_HASHER_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/checksum_internal.h"
#include "plasma/glimpse_internal.h"
#include "transfer/sums_internal.h"

// How it ended.
enum ray__hash_end {
    RAY__HASH_WHOLE,     // every chunk has its sum
    RAY__HASH_LEFT,      // somebody opened it, or the value is gone or another, or not all of a file is in memory
    RAY__HASH_DISTURBED, // it was used all the time: to be tried again
};

// What is to be hashed, in chunks of RAY_CHUNK_SIZE.
typedef struct ray__hash_item {
    ray_object_id id;
    uint64_t size_bytes;
    uint64_t stamp;
    ray__sums *sums; // acquired as spare ones
    enum ray__hash_end end;
} ray__hash_item;

typedef struct ray__hasher {
    pthread_t thread;
    bool is_started;
    ray_store *store; // or NULL
    uint32_t job;     // a futex: what it is at
    ray__hash_item *item; // the object, or the piece of a file:
    ray__checksum *sum;
    const uint8_t *piece;
    uint32_t piece_size;
    _Atomic bool stops;
    _Atomic uint64_t hashed_bytes;
} ray__hasher;

ray_status ray__hasher_start(ray__hasher *hasher, ray_store *store) RAY_NODISCARD;
// From now on what it is at ends within a piece.
void ray__hasher_hurry(ray__hasher *hasher);
void ray__hasher_stop(ray__hasher *hasher);

// Hashes an object and waits for the end.
void ray__hasher_run(ray__hasher *hasher, ray__hash_item *item);
// Adds some microseconds' work to a checksum and waits for the end.
void ray__hasher_add(ray__hasher *hasher, ray__checksum *sum, const uint8_t *bytes, uint32_t size);

// False when all is to end, or somebody opened the item meanwhile.
bool ray__hasher_goes_on(const ray__hasher *hasher, const ray__hash_item *item);
// A chunk's sum.
void ray__hasher_keep(ray__hasher *hasher, const ray__hash_item *item, uint32_t index, uint64_t checksum);

#endif
