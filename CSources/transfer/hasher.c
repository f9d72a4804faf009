// SPDX-License-Identifier: Apache-2.0
// Everything that the thread does may stand still for long in the middle, since it has a core only when nobody else wants that.
#include "transfer/hasher_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/uio.h>

#include "base/atomic_internal.h"
#include "base/checksum_internal.h"
#include "base/error_internal.h"
#include "base/futex_internal.h"
#include "base/identity_internal.h"
#include "base/idle_internal.h"
#include "base/thread_internal.h"
#include "raystore/transfer.h"
#include "transfer/wire_internal.h"

// Between two looks whether to go on: some microseconds of work, since a stop may have to wait for it on a busy machine.
#define PIECE (64u << 10)
// How often a chunk is begun again because its object was used meanwhile.
#define TRIES 3u

enum { JOB_NONE, JOB_HASH, JOB_END };

static bool goes_on(const ray__hasher *hasher) {
    return !atomic_load_explicit(&hasher->stops, memory_order_relaxed) && !ray__sums_are_wanted(hasher->item->sums);
}

static bool hash_bytes(const ray__hasher *hasher, const uint8_t *bytes, uint32_t size, uint64_t *checksum) {
    ray__checksum sum;
    ray__checksum_begin(&sum);
    for (uint32_t at = 0; at < size; at += PIECE) {
        if (!goes_on(hasher)) {
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

// Without waiting for a disk, where the file system can do that (a tmpfs cannot, and has none). False: not all of it is in memory.
static bool read_piece(const ray__hasher *hasher, uint64_t offset, uint32_t size) {
    struct iovec part = {hasher->room, size};
    while (part.iov_len > 0) {
        ssize_t got = preadv2(hasher->item->file, &part, 1, (off_t)offset, RWF_NOWAIT);
        if (got < 0 && errno == EOPNOTSUPP) {
            got = preadv(hasher->item->file, &part, 1, (off_t)offset);
        }
        if (got <= 0) {
            return false;
        }
        part = (struct iovec){(uint8_t *)part.iov_base + got, part.iov_len - (size_t)got};
        offset += (uint64_t)got;
    }
    return true;
}

static bool is_same_file(const ray__hash_item *item) {
    struct stat info;
    return fstat(item->file, &info) == 0 && ray__file_identity(&info) == item->stamp;
}

static bool hash_file_chunk(const ray__hasher *hasher, uint32_t index, uint32_t size, uint64_t *checksum) {
    ray__checksum sum;
    ray__checksum_begin(&sum);
    for (uint32_t at = 0; at < size; at += PIECE) {
        uint32_t piece = size - at < PIECE ? size - at : PIECE;
        if (!goes_on(hasher) || !read_piece(hasher, (uint64_t)index * RAY_CHUNK_SIZE + at, piece)) {
            return false;
        }
        ray__checksum_add(&sum, hasher->room, piece);
    }
    *checksum = ray__checksum_end(&sum);
    return true;
}

// Chunks that are not in memory are passed over.
static enum ray__hash_end hash_file(ray__hasher *hasher) {
    const ray__hash_item *item = hasher->item;
    uint32_t count = ray__chunk_count(item->size_bytes, RAY_CHUNK_SIZE);
    for (uint32_t index = 0; index < count && goes_on(hasher); index++) {
        uint32_t size = ray__chunk_raw_size(item->size_bytes, RAY_CHUNK_SIZE, index);
        uint64_t checksum = 0;
        if (ray__sums_get(item->sums, index) != 0 || !hash_file_chunk(hasher, index, size, &checksum)) {
            continue;
        }
        if (!is_same_file(item)) {
            return RAY__HASH_LEFT;
        }
        ray__sums_set(item->sums, index, checksum);
        atomic_fetch_add(&hasher->hashed_bytes, size);
    }
    return ray__sums_are_whole(item->sums) ? RAY__HASH_WHOLE : RAY__HASH_LEFT;
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
                ray__sums_set(item->sums, index, checksum);
                atomic_fetch_add(&hasher->hashed_bytes, size);
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
            hasher->item->end = hasher->item->file >= 0 ? hash_file(hasher) : hash_object(hasher);
            ray__shm_store32(&hasher->job, JOB_NONE);
            ray__futex_wake_all(&hasher->job);
        }
    }
    return NULL;
}

void ray__hasher_run(ray__hasher *hasher, ray__hash_item *item) {
    hasher->item = item;
    ray__shm_store32(&hasher->job, JOB_HASH);
    ray__futex_wake_all(&hasher->job);
    while (ray__shm_load32(&hasher->job) == JOB_HASH) {
        (void)ray__futex_wait(&hasher->job, JOB_HASH, UINT64_MAX);
    }
}

ray_status ray__hasher_start(ray__hasher *hasher, ray_store *store) {
    hasher->store = store;
    hasher->room = malloc(PIECE);
    if (hasher->room == NULL) {
        return ray__fail(RAY_OUT_OF_MEMORY, "a buffer of %u bytes", PIECE);
    }
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
    free(hasher->room);
    hasher->room = NULL;
}
