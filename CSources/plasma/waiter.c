// SPDX-License-Identifier: Apache-2.0
// One thread that waits for any number of objects on behalf of others.
//
// A wait is in the chain of its id's bucket, and, if it ends in time, in a heap by its deadline. The thread sleeps on its slot's futex
// until a bucket moves or the first deadline passes, and then looks at the ids of the buckets that moved. Adding costs no wake: who adds
// makes the bucket known and looks at the id itself, so the thread has something to do only if its sleep is too long now. The lock
// guards all but the calls of `done`, which run without it.
#include <stdlib.h>

#include "base/clock_internal.h"
#include "base/thread_internal.h"
#include "plasma/waiter_internal.h"

static uint32_t bucket_of(const ray_object_id *id) {
    return ray__wait_bucket(ray_object_id_hash(id));
}

// ---- chains ----------------------------------------------------------------------------------------------------------------

static void chain_add(ray_waiter *w, uint32_t at) {
    uint32_t bucket = bucket_of(&w->waits[at].id);
    uint32_t first = w->first[bucket];
    w->waits[at].before = RAY__NO_WAIT;
    w->waits[at].after = first;
    if (first != RAY__NO_WAIT) {
        w->waits[first].before = at;
    }
    w->first[bucket] = at;
    ray__wait_enter(w->store, &w->wait, bucket);
}

static void chain_remove(ray_waiter *w, uint32_t at) {
    uint32_t bucket = bucket_of(&w->waits[at].id);
    uint32_t before = w->waits[at].before;
    uint32_t after = w->waits[at].after;
    if (after != RAY__NO_WAIT) {
        w->waits[after].before = before;
    }
    if (before != RAY__NO_WAIT) {
        w->waits[before].after = after;
        return;
    }
    w->first[bucket] = after;
    if (after == RAY__NO_WAIT) {
        ray__wait_leave(w->store, &w->wait, bucket);
    }
}

// ---- what is over ------------------------------------------------------------------------------------------------------------

// Takes a wait out. Its place is not free yet.
static void take_out(ray_waiter *w, uint32_t at) {
    chain_remove(w, at);
    ray__waiter_heap_remove(w, at);
    w->waits[at].serial++;
}

static void free_place(ray_waiter *w, uint32_t at) {
    w->waits[at].done = NULL;
    w->waits[at].after = w->free_wait;
    w->free_wait = at;
}

// Ends a wait; it is told when the lock is given up.
static void end(ray_waiter *w, uint32_t at, ray_status status) {
    take_out(w, at);
    w->waits[at].last = status;
    w->waits[at].after = RAY__NO_WAIT;
    if (w->over == RAY__NO_WAIT) {
        w->over = at;
    } else {
        w->waits[w->over_last].after = at;
    }
    w->over_last = at;
}

static void tell(ray_waiter *w) {
    while (w->over != RAY__NO_WAIT) {
        uint32_t at = w->over;
        ray__waiting wait = w->waits[at];
        w->over = wait.after;
        free_place(w, at);
        pthread_mutex_unlock(&w->lock);
        uint32_t opened = ray__gate_pause(w->store->gate_bits);
        wait.done(wait.context, wait.last);
        ray__gate_resume(opened);
        pthread_mutex_lock(&w->lock);
    }
}

// RAY_AGAIN: it still has to wait.
static ray_status look_at(ray_waiter *w, const ray_object_id *id, uint32_t flags, ray_status *last) {
    ray_status now = ray__since_last_look(*last, ray__id_verdict(w->store, id));
    *last = now;
    bool waits = now == RAY_NOT_SEALED || now == RAY_AGAIN ||
                 (ray__may_come(now) && (flags & RAY_WAITER_WHILE_MADE) == 0);
    return waits ? RAY_AGAIN : now;
}

static void look(ray_waiter *w) {
    for (uint32_t k = 0; k < RAY__WAIT_BUCKETS / 64; k++) {
        for (uint64_t left = w->wait.buckets[k]; left != 0; left &= left - 1) {
            uint32_t bucket = k * 64 + (uint32_t)__builtin_ctzll(left);
            if (!ray__wait_moved(w->store, &w->wait, bucket)) {
                continue;
            }
            for (uint32_t at = w->first[bucket]; at != RAY__NO_WAIT;) {
                uint32_t after = w->waits[at].after;
                ray_status status = look_at(w, &w->waits[at].id, w->waits[at].flags, &w->waits[at].last);
                if (status != RAY_AGAIN) {
                    end(w, at, status);
                }
                at = after;
            }
        }
    }
}

static void expire(ray_waiter *w) {
    uint64_t now = ray__now_ns();
    while (w->heap_count > 0 && w->waits[w->heap[0]].deadline_ns <= now) {
        end(w, w->heap[0], RAY_TIMED_OUT);
    }
}

static void end_all(ray_waiter *w, ray_status status) {
    for (uint32_t bucket = 0; bucket < RAY__WAIT_BUCKETS; bucket++) {
        while (w->first[bucket] != RAY__NO_WAIT) {
            end(w, w->first[bucket], status);
        }
    }
}

// ---- the thread --------------------------------------------------------------------------------------------------------------

static void *serve(void *argument) {
    ray_waiter *w = argument;
    RAY__GATE(w->store);
    pthread_mutex_lock(&w->lock);
    for (;;) {
        uint32_t number = ray__wait_number(w->store);
        ray_status status = w->over_status != RAY_OK ? w->over_status : ray__store_enter(w->store);
        if (status != RAY_OK) {
            w->over_status = status;
            end_all(w, status);
        } else {
            look(w);
            expire(w);
        }
        if (w->over != RAY__NO_WAIT) {
            tell(w);
            continue;
        }
        if (w->stopping) {
            break;
        }
        w->sleeps_until_ns = w->heap_count > 0 ? w->waits[w->heap[0]].deadline_ns : UINT64_MAX;
        uint64_t until = w->sleeps_until_ns;
        w->is_asleep = true;
        pthread_mutex_unlock(&w->lock);
        // For wakes of any bucket: others may be entered while it sleeps.
        static const ray__wait everywhere = {0};
        (void)ray__wait_sleep(w->store, &everywhere, number, until);
        pthread_mutex_lock(&w->lock);
        w->is_asleep = false;
    }
    pthread_mutex_unlock(&w->lock);
    return NULL;
}

// ---- from outside --------------------------------------------------------------------------------------------------------------

ray_status ray_waiter_create(ray_store *store, ray_waiter **waiter) {
    RAY__GATE(store);
    *waiter = NULL;
    RAY_TRY(ray__store_enter(store));
    ray_waiter *w = calloc(1, sizeof *w);
    if (w == NULL) {
        return ray__fail(RAY_OUT_OF_MEMORY, "no memory for a waiter");
    }
    w->store = store;
    w->fork_generation = ray__fork_generation();
    w->free_wait = RAY__NO_WAIT;
    w->over = RAY__NO_WAIT;
    for (uint32_t i = 0; i < RAY__WAIT_BUCKETS; i++) {
        w->first[i] = RAY__NO_WAIT;
    }
    pthread_mutex_init(&w->lock, NULL);
    ray_status status = ray__thread_start(&w->thread, "ray-waiter", serve, w);
    if (status != RAY_OK) {
        pthread_mutex_destroy(&w->lock);
        free(w);
        return status;
    }
    *waiter = w;
    return RAY_OK;
}

void ray_waiter_end(ray_waiter *w, ray_status status) {
    RAY__GATE(w->store);
    if (w->fork_generation != ray__fork_generation()) {
        return;
    }
    pthread_mutex_lock(&w->lock);
    if (w->over_status == RAY_OK) {
        w->over_status = status == RAY_OK ? RAY_CLOSED : status;
    }
    pthread_mutex_unlock(&w->lock);
    ray__wait_kick(w->store);
}

void ray_waiter_destroy(ray_waiter *w) {
    if (w == NULL) {
        return;
    }
    // A fork's child has neither the thread nor the waits.
    if (w->fork_generation == ray__fork_generation()) {
        pthread_mutex_lock(&w->lock);
        w->stopping = true;
        pthread_mutex_unlock(&w->lock);
        ray_waiter_end(w, RAY_CLOSED);
        pthread_join(w->thread, NULL);
        pthread_mutex_destroy(&w->lock);
    }
    ray__waiter_free_lists(w);
    free(w);
}

static void take_place(ray_waiter *w, const ray__waiting *wait, uint32_t *at) {
    *at = w->free_wait;
    uint32_t serial = w->waits[*at].serial;
    w->free_wait = w->waits[*at].after;
    w->waits[*at] = *wait;
    w->waits[*at].serial = serial;
    w->waits[*at].heap_place = RAY__NO_WAIT;
    chain_add(w, *at);
    if (wait->deadline_ns != UINT64_MAX) {
        ray__waiter_heap_add(w, *at);
    }
}

// With the lock. *kick: the thread sleeps longer than this wait may.
static ray_status add(ray_waiter *w, const ray__waiting *wait, uint64_t *ticket, bool *kick) {
    if (w->over_status != RAY_OK) {
        return ray__fail(w->over_status, "wait for an object: %s", ray_status_text(w->over_status));
    }
    if (w->free_wait == RAY__NO_WAIT) {
        RAY_TRY(ray__waiter_grow(w));
    }
    uint32_t at;
    take_place(w, wait, &at);
    // Only now: who seals after this look sees that somebody waits.
    ray_status status = look_at(w, &w->waits[at].id, w->waits[at].flags, &w->waits[at].last);
    if (status != RAY_AGAIN) {
        take_out(w, at);
        free_place(w, at);
        return RAY_OK;
    }
    *ticket = (uint64_t)w->waits[at].serial << 32 | (at + 1u);
    *kick = w->is_asleep && wait->deadline_ns < w->sleeps_until_ns;
    return RAY_OK;
}

ray_status ray_waiter_add(ray_waiter *w, const ray_object_id *id, uint32_t flags, uint64_t timeout_ns, ray_waited_fn done,
                          void *context, uint64_t *ticket) {
    RAY__GATE(w->store);
    *ticket = 0;
    RAY_TRY(ray__store_enter(w->store));
    if ((flags & ~(uint32_t)RAY_WAITER_WHILE_MADE) != 0) {
        return ray__fail(RAY_INVALID_ARGUMENT, "ray_waiter_add: unknown flags %#x", flags);
    }
    ray__waiting wait = {.id = *id, .flags = flags, .last = RAY_NOT_FOUND, .done = done, .context = context};
    wait.deadline_ns = ray__deadline_ns(timeout_ns);
    bool kick = false;
    pthread_mutex_lock(&w->lock);
    ray_status status = add(w, &wait, ticket, &kick);
    pthread_mutex_unlock(&w->lock);
    if (kick) {
        ray__wait_kick(w->store);
    }
    return status;
}

bool ray_waiter_cancel(ray_waiter *w, uint64_t ticket) {
    RAY__GATE(w->store);
    uint32_t at = (uint32_t)ticket - 1u;
    if (w->fork_generation != ray__fork_generation()) {
        return false;
    }
    pthread_mutex_lock(&w->lock);
    bool waits = ticket != 0 && at < w->capacity && w->waits[at].done != NULL && w->waits[at].serial == ticket >> 32;
    if (waits) {
        take_out(w, at);
        free_place(w, at);
    }
    pthread_mutex_unlock(&w->lock);
    return waits;
}
