// SPDX-License-Identifier: Apache-2.0
// The thread that computes checksums while nobody else wants its core (ahead_internal.h). One other thread gives it work and waits for it.
#ifndef RAY_TRANSFER_HASHER_INTERNAL_H
#define RAY_TRANSFER_HASHER_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

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
    int file; // or -1: an object of the store
    ray__sums *sums; // acquired as spare ones
    enum ray__hash_end end;
} ray__hash_item;

typedef struct ray__hasher {
    pthread_t thread;
    bool is_started;
    ray_store *store; // or NULL
    uint8_t *room;    // for a piece of a file
    uint32_t job;     // a futex: what it is at
    ray__hash_item *item;
    _Atomic bool stops;
    _Atomic uint64_t hashed_bytes;
} ray__hasher;

ray_status ray__hasher_start(ray__hasher *hasher, ray_store *store) RAY_NODISCARD;
// From now on what it is at ends within a piece.
void ray__hasher_hurry(ray__hasher *hasher);
void ray__hasher_stop(ray__hasher *hasher);

// Hashes it and waits for the end.
void ray__hasher_run(ray__hasher *hasher, ray__hash_item *item);

#endif
