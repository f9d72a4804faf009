// SPDX-License-Identifier: Apache-2.0
// The one lock of a store. It guards the allocator, and inserts into and removals from the table: nothing that cannot be made
// again from the entries. So the death of its owner is repaired, not guessed about.
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/clock_internal.h"
#include "plasma/arena_internal.h"

#define LOCK_LOOK_NS 10000000u // far longer than the lock is ever held, far shorter than anybody notices
#define BACKOFF_FIRST_NS 4000u
#define BACKOFF_MOST_NS 40000u
#define BACKOFF_ROUNDS 10u // 0.3 ms in all
#define LOOKS_BEFORE_COMPLAINT 5u // then its holder is asked after: a repair of a large table may take as long

ray_status ray__store_poison(ray_store *store, const char *format, ...) {
    char text[RAY_MESSAGE_MAX];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    ray__shm_store32(&store->header->poisoned, 1);
    ray__wake_everybody(store);
    return ray__fail(RAY_POISONED, "the store is damaged and must be made anew: %s", text);
}

// An eviction that ended half-way is undone; the sums, what is in use, the counts of ways and the allocator are made again.
static ray_status repair(ray_store *store) {
    uint32_t used = 0;
    for (uint32_t i = 0; i < store->layout.table_size; i++) {
        ray__entry *entry = &store->table[i];
        uint64_t word = ray__shm_load(&entry->state);
        bool is_used = !ray__state_is_free(ray__word_state(word));
        ray__table_set_used(store, i, is_used);
        used += is_used;
        if (ray__word_state(word) == RAY_STATE_DELETING && ray__entry_failure(entry) == RAY_OK) {
            if ((word & RAY__FLAG_DOOMED) != 0) {
                ray__entry_set_failure(entry, RAY_OBJECT_FREED); // it was going, and goes with the next look
            } else {
                ray__entry_move(entry, RAY_STATE_SEALED, 0, 0);
            }
        }
    }
    store->header->entry_count = used;
    store->header->repair_count++;
    uint8_t *passed = calloc(store->layout.table_size, 1);
    if (passed == NULL) {
        return ray__fail(RAY_OUT_OF_MEMORY, "no memory to repair a table of %u places", store->layout.table_size);
    }
    ray__table_count_ways(store, passed);
    ray__table_set_ways(store, passed);
    free(passed);
    return ray__arena_rebuild(store);
}

// Who meets a lock that is held stays away from it for a while, on its core. The lock is held for some hundred nanoseconds, but who works with
// it takes it again at once, and each change of hands moves the lock and all that it guards from one core's caches to the other's. Asking
// all the time makes both slower, and so does sleeping, which costs the owner a system call for each wake. So the owner does some tens of
// calls, and then it is somebody else's turn: two processes that create at once make 2.5 times as many objects together as with sleep alone.
static int back_off(pthread_mutex_t *lock) {
    uint64_t span = BACKOFF_FIRST_NS;
    int error = EBUSY;
    for (uint32_t round = 0; round < BACKOFF_ROUNDS && error == EBUSY; round++) {
        uint64_t until = ray__now_ns() + span;
        do {
            ray__spin_pause();
        } while (ray__now_ns() < until);
        span = 2 * span < BACKOFF_MOST_NS ? 2 * span : BACKOFF_MOST_NS;
        error = pthread_mutex_trylock(lock);
    }
    return error;
}

// A waiter of a robust mutex that is killed between its wake and its next look takes the wake along: if meanwhile another
// thread took the lock without seeing that somebody waits, its unlock wakes nobody, and the other waiters sleep beside a free lock.
// (Seen with glibc 2.36 after some hundred kills under load; the kernel repairs it only while the lock is free.) So a wait looks again
// after a while. Nobody waits for ever for a holder that is stopped: see lock_watch.c.
static int lock_patiently(ray_store *store) {
    pthread_mutex_t *lock = &store->header->lock;
    int error = pthread_mutex_trylock(lock);
    if (__builtin_expect(error == EBUSY, 0)) {
        error = back_off(lock);
    }
    for (uint32_t looks = 0; error == EBUSY || error == ETIMEDOUT; looks++) {
        if (looks >= LOOKS_BEFORE_COMPLAINT) {
            if (store->slot == RAY_NODE_SLOT) {
                ray__lock_look(store);
            } else {
                ray__lock_complain(store);
            }
        }
        struct timespec until;
        uint64_t deadline = ray__deadline_ns(LOCK_LOOK_NS);
        until.tv_sec = (time_t)(deadline / 1000000000u);
        until.tv_nsec = (long)(deadline % 1000000000u);
        error = pthread_mutex_clocklock(lock, CLOCK_MONOTONIC, &until);
    }
    return error;
}

ray_status ray__store_lock(ray_store *store) {
    int error = lock_patiently(store);
    if (__builtin_expect(error == 0, 1)) {
        if (__builtin_expect(ray__shm_load32_relaxed(&store->header->poisoned) != 0, 0)) {
            pthread_mutex_unlock(&store->header->lock);
            return ray__store_refuse(store);
        }
        return RAY_OK;
    }
    if (error != EOWNERDEAD) {
        errno = error;
        (void)ray__fail_errno(RAY_POISONED, "take the store's lock");
        return ray__store_poison(store, "its lock is lost, error %d", error);
    }
    ray_status status = repair(store);
    if (status != RAY_OK) {
        char reason[RAY_MESSAGE_MAX / 2];
        snprintf(reason, sizeof reason, "%s", ray_last_error_message());
        status = ray__store_poison(store, "the owner of its lock died, and %s", reason);
    }
    // Also when poisoned: who waits for the lock must get it, to see that.
    pthread_mutex_consistent(&store->header->lock);
    if (status != RAY_OK) {
        pthread_mutex_unlock(&store->header->lock);
    }
    return status;
}

void ray__store_unlock(ray_store *store) {
    pthread_mutex_unlock(&store->header->lock);
}
