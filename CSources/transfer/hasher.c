// SPDX-License-Identifier: Apache-2.0
// Everything that the thread does may stand still for long in the middle, since it has a core only when nobody else wants that.
#include "transfer/hasher_internal.h"

#include "base/atomic_internal.h"
#include "base/checksum_internal.h"
#include "base/error_internal.h"
#include "base/futex_internal.h"
#include "base/idle_internal.h"
#include "base/thread_internal.h"
#include "raystore/transfer.h"
#include "transfer/wire_internal.h"

// Between two looks whether to go on: some microseconds of work, since a stop may have to wait for it on a busy machine.
#define PIECE (64u << 10)
// How often a chunk is begun again because its object was used meanwhile.
#define TRIES 3u

enum { JOB_NONE, JOB_OBJECT, JOB_PIECE, JOB_END };

bool ray__hasher_goes_on(const ray__hasher *hasher, const ray__hash_item *item) {
    return !atomic_load_explicit(&hasher->stops, memory_order_relaxed) && !ray__sums_are_wanted(item->sums);
}

void ray__hasher_keep(ray__hasher *hasher, const ray__hash_item *item, uint32_t index, uint64_t checksum) {
    ray__sums_set(item->sums, index, checksum);
    atomic_fetch_add(&hasher->hashed_bytes, ray__chunk_raw_size(item->size_bytes, RAY_CHUNK_SIZE, index));
}

static bool hash_bytes(const ray__hasher *hasher, const uint8_t *bytes, uint32_t size, uint64_t *checksum) {
    ray__checksum sum;
    ray__checksum_begin(&sum);
    for (uint32_t at = 0; at < size; at += PIECE) {
        if (!ray__hasher_goes_on(hasher, hasher->item)) {
            return false;
        }
        ray__checksum_add(&sum, bytes + at, size - at < PIECE ? size - at : PIECE);
    }
    *checksum = ray__checksum_end(&sum);
    return true;
}

static enum ray__hash_end hash_chunk(const ray__hasher *hasher, uint32_t index, uint32_t size, uint64_t *checksum) {
    const ray__hash_item *item = hasher->item;
    for (uint32_t tries = 0; tries < TRIES; tries++) {
        ray__glimpse glimpse;
        if (!ray__glimpse_begin(hasher->store, &item->id, &glimpse) || glimpse.stamp != item->stamp ||
            glimpse.data_size != item->size_bytes ||
            !hash_bytes(hasher, glimpse.data + (uint64_t)index * RAY_CHUNK_SIZE, size, checksum)) {
            return RAY__HASH_LEFT;
        }
        if (ray__glimpse_holds(hasher->store, &glimpse)) {
            return RAY__HASH_WHOLE;
        }
    }
    return RAY__HASH_DISTURBED;
}

static enum ray__hash_end hash_object(ray__hasher *hasher) {
    const ray__hash_item *item = hasher->item;
    uint32_t count = ray__chunk_count(item->size_bytes, RAY_CHUNK_SIZE);
    enum ray__hash_end end = RAY__HASH_WHOLE;
    for (uint32_t index = 0; index < count && end == RAY__HASH_WHOLE; index++) {
        if (ray__sums_get(item->sums, index) == 0) {
            uint32_t size = ray__chunk_raw_size(item->size_bytes, RAY_CHUNK_SIZE, index);
            uint64_t checksum = 0;
            end = hash_chunk(hasher, index, size, &checksum);
            if (end == RAY__HASH_WHOLE) {
                ray__hasher_keep(hasher, item, index, checksum);
            }
        }
    }
    return end;
}

static void *hasher_body(void *argument) {
    ray__hasher *hasher = argument;
    ray__thread_be_idle();
    uint32_t job;
    while ((job = ray__shm_load32(&hasher->job)) != JOB_END) {
        if (job == JOB_NONE) {
            (void)ray__futex_wait(&hasher->job, JOB_NONE, UINT64_MAX);
        } else {
            if (job == JOB_OBJECT) {
                hasher->item->end = hash_object(hasher);
            } else {
                ray__checksum_add(hasher->sum, hasher->piece, hasher->piece_size);
            }
            ray__shm_store32(&hasher->job, JOB_NONE);
            ray__futex_wake_all(&hasher->job);
        }
    }
    return NULL;
}

static void run(ray__hasher *hasher, uint32_t job) {
    ray__shm_store32(&hasher->job, job);
    ray__futex_wake_all(&hasher->job);
    while (ray__shm_load32(&hasher->job) == job) {
        (void)ray__futex_wait(&hasher->job, job, UINT64_MAX);
    }
}

void ray__hasher_run(ray__hasher *hasher, ray__hash_item *item) {
    hasher->item = item;
    run(hasher, JOB_OBJECT);
}

void ray__hasher_add(ray__hasher *hasher, ray__checksum *sum, const uint8_t *bytes, uint32_t size) {
    hasher->sum = sum;
    hasher->piece = bytes;
    hasher->piece_size = size;
    run(hasher, JOB_PIECE);
}

ray_status ray__hasher_start(ray__hasher *hasher, ray_store *store) {
    hasher->store = store;
    RAY_TRY(ray__thread_start(&hasher->thread, "ray-hasher", hasher_body, hasher));
    hasher->is_started = true;
    return RAY_OK;
}

void ray__hasher_hurry(ray__hasher *hasher) {
    atomic_store(&hasher->stops, true);
}

void ray__hasher_stop(ray__hasher *hasher) {
    if (hasher->is_started) {
        ray__shm_store32(&hasher->job, JOB_END);
        ray__futex_wake_all(&hasher->job);
        pthread_join(hasher->thread, NULL);
        hasher->is_started = false;
    }
}
