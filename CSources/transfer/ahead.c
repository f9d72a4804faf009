// SPDX-License-Identifier: Apache-2.0
// The clerk: what the hasher does next. It has an ordinary priority, so that it may hold locks, and does nothing that takes long.
#include "transfer/ahead_internal.h"

#include <pthread.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock_internal.h"
#include "base/error_internal.h"
#include "base/thread_internal.h"
#include "transfer/hasher_internal.h"
#include "transfer/transfer_internal.h"

// Between two looks into the store's ring: the first after something was found, the last when nothing has come for a while.
#define LOOK_FIRST_NS (20 * RAY__MS)
#define LOOK_LAST_NS (100 * RAY__MS)
// Looks at a word of the ring that its writer has not written, before it is passed over.
#define UNWRITTEN_MAX 8u
// Between two looks for sums that nobody can want any more.
#define PRUNE_NS RAY__SECOND
// What waits to be hashed. No more than there are places for the sums of.
#define WAITING_MAX 4096u

typedef struct waiting {
    ray_object_id id;
    uint64_t size_bytes;
    uint64_t stamp;
} waiting;

struct ray__ahead {
    ray_transfer *transfer;
    pthread_t clerk;
    bool is_started;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool ends;
    // Of the clerk: the latest that came are hashed first, and the oldest go when there is no place for more.
    uint32_t position; // in the store's ring
    uint32_t unwritten_count;
    uint32_t first;
    uint32_t count;
    uint64_t prune_at_ns;
    _Atomic uint64_t pending_count;
    _Atomic uint64_t pending_bytes;
    ray__hasher hasher;
    waiting waiting[WAITING_MAX];
};

static void count_pending(ray__ahead *ahead, const waiting *of, bool more) {
    atomic_fetch_add(&ahead->pending_count, more ? 1u : UINT64_MAX);
    atomic_fetch_add(&ahead->pending_bytes, more ? of->size_bytes : 0 - of->size_bytes);
}

static void push(ray__ahead *ahead, const waiting *next) {
    if (ahead->count == WAITING_MAX) {
        count_pending(ahead, &ahead->waiting[ahead->first], false);
        ahead->first = (ahead->first + 1) % WAITING_MAX;
        ahead->count--;
    }
    ahead->waiting[(ahead->first + ahead->count++) % WAITING_MAX] = *next;
    count_pending(ahead, next, true);
}

// It stays counted as pending.
static waiting pop(ray__ahead *ahead) {
    return ahead->waiting[(ahead->first + --ahead->count) % WAITING_MAX];
}

// Answers whether anything has come.
static bool collect(ray__ahead *ahead) {
    bool found = false;
    for (;;) {
        ray__glimpse glimpse;
        enum ray__sealed next = ray__sealed_next(ahead->transfer->store, &ahead->position, &glimpse);
        if (next == RAY__SEALED_NONE) {
            ahead->unwritten_count = 0;
            return found;
        }
        if (next == RAY__SEALED_PENDING) {
            if (++ahead->unwritten_count < UNWRITTEN_MAX) {
                return true;
            }
            ahead->position++;
        } else {
            found = true;
            push(ahead, &(waiting){glimpse.id, glimpse.data_size, glimpse.stamp});
        }
        ahead->unwritten_count = 0;
    }
}

static bool is_gone(void *context, const ray_object_id *id) {
    const ray__ahead *ahead = context;
    ray__glimpse glimpse;
    return !ray__glimpse_begin(ahead->transfer->store, id, &glimpse);
}

// NULL: they are known, or somebody is at them, or there is no room, or the value is gone.
static ray__sums *acquire(ray__ahead *ahead, const waiting *next) {
    ray__sums_cache *cache = ahead->transfer->sums;
    ray__sums *sums = NULL;
    ray__glimpse glimpse;
    if (!ray__glimpse_begin(ahead->transfer->store, &next->id, &glimpse) || glimpse.stamp != next->stamp) {
        return NULL;
    }
    enum ray__spare answer = ray__sums_acquire_spare(cache, &next->id, next->size_bytes, RAY_CHUNK_SIZE, next->stamp, &sums);
    uint64_t now = ray__now_ns();
    if (answer != RAY__SPARE_NO_ROOM || now < ahead->prune_at_ns) {
        return sums;
    }
    ahead->prune_at_ns = now + PRUNE_NS;
    if (ray__sums_prune(cache, is_gone, ahead) > 0) {
        (void)ray__sums_acquire_spare(cache, &next->id, next->size_bytes, RAY_CHUNK_SIZE, next->stamp, &sums);
    }
    return sums;
}

// False when nothing waits, or what does is better tried later.
static bool hash_next(ray__ahead *ahead) {
    if (ahead->count == 0) {
        return false;
    }
    waiting next = pop(ahead);
    ray__hash_item item = {.id = next.id, .size_bytes = next.size_bytes, .stamp = next.stamp, .end = RAY__HASH_LEFT};
    item.sums = acquire(ahead, &next);
    if (item.sums != NULL) {
        ray__hasher_run(&ahead->hasher, &item);
        ray__sums_release(item.sums);
    }
    count_pending(ahead, &next, false);
    if (item.end == RAY__HASH_DISTURBED) {
        push(ahead, &next);
    }
    return item.end != RAY__HASH_DISTURBED;
}

// False when all is to end.
static bool wait_until(ray__ahead *ahead, uint64_t until_ns) {
    struct timespec until = {(time_t)(until_ns / RAY__SECOND), (long)(until_ns % RAY__SECOND)};
    pthread_mutex_lock(&ahead->lock);
    while (!ahead->ends && ray__now_ns() < until_ns) {
        pthread_cond_timedwait(&ahead->changed, &ahead->lock, &until);
    }
    bool goes_on = !ahead->ends;
    pthread_mutex_unlock(&ahead->lock);
    return goes_on;
}

static void *clerk_body(void *argument) {
    ray__ahead *ahead = argument;
    uint64_t pause_ns = LOOK_FIRST_NS;
    uint64_t next_ns = 0;
    while (wait_until(ahead, next_ns)) {
        bool found = collect(ahead);
        bool goes_on = hash_next(ahead);
        pause_ns = found || goes_on ? LOOK_FIRST_NS : pause_ns * 2 < LOOK_LAST_NS ? pause_ns * 2 : LOOK_LAST_NS;
        next_ns = goes_on ? 0 : ray__now_ns() + pause_ns;
    }
    return NULL;
}

ray_status ray__ahead_start(ray_transfer *transfer, ray__ahead **ahead) {
    ray__ahead *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return ray__fail(RAY_OUT_OF_MEMORY, "checksums ahead of transfers");
    }
    made->transfer = transfer;
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&made->lock, NULL);
    pthread_cond_init(&made->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
    ray_status status = ray__hasher_start(&made->hasher, transfer->store);
    if (status == RAY_OK) {
        status = ray__thread_start(&made->clerk, "ray-ahead", clerk_body, made);
        made->is_started = status == RAY_OK;
    }
    if (status != RAY_OK) {
        ray__ahead_stop(made);
        return status;
    }
    *ahead = made;
    return RAY_OK;
}

void ray__ahead_stop(ray__ahead *ahead) {
    if (ahead == NULL) {
        return;
    }
    ray__hasher_hurry(&ahead->hasher);
    if (ahead->is_started) {
        pthread_mutex_lock(&ahead->lock);
        ahead->ends = true;
        pthread_cond_broadcast(&ahead->changed);
        pthread_mutex_unlock(&ahead->lock);
        pthread_join(ahead->clerk, NULL);
    }
    ray__hasher_stop(&ahead->hasher);
    pthread_mutex_destroy(&ahead->lock);
    pthread_cond_destroy(&ahead->changed);
    free(ahead);
}

void ray__ahead_read(ray__ahead *ahead, ray__ahead_figures *figures) {
    figures->hashed_bytes = atomic_load(&ahead->hasher.hashed_bytes);
    figures->pending_count = atomic_load(&ahead->pending_count);
    figures->pending_bytes = atomic_load(&ahead->pending_bytes);
}
