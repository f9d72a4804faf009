// SPDX-License-Identifier: Apache-2.0
#include "ring/ring_internal.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/clock_internal.h"
#include "base/error_internal.h"
#include "base/thread_internal.h"

// A cell at position p of round r may be filled when turn == p, and emptied when turn == p + 1; emptying sets it to p + capacity.
typedef struct cell {
    _Atomic uint64_t turn;
    void *item;
} cell;

// One side's sleepers.
typedef struct sleepers {
    _Atomic uint32_t count;
    pthread_cond_t woken;
} sleepers;

struct ray__ring {
    size_t mask;
    cell *cells;
    _Atomic bool closed;
    // The ends are written by different threads; a cache line each.
    _Alignas(64) _Atomic uint64_t head; // next to pop
    _Alignas(64) _Atomic uint64_t tail; // next to push
    _Alignas(64) pthread_mutex_t lock;  // for sleeping only
    sleepers pushers;
    sleepers poppers;
};

ray_status ray__ring_create(size_t capacity, ray__ring **ring) {
    size_t size = 2;
    while (size < capacity) {
        size *= 2;
    }
    ray__ring *made = aligned_alloc(64, sizeof *made);
    cell *cells = calloc(size, sizeof *cells);
    if (made == NULL || cells == NULL) {
        free(made);
        free(cells);
        return ray__fail(RAY_OUT_OF_MEMORY, "a ring of %zu items", size);
    }
    for (size_t i = 0; i < size; i++) {
        atomic_init(&cells[i].turn, i);
    }
    made->mask = size - 1;
    made->cells = cells;
    atomic_init(&made->closed, false);
    atomic_init(&made->head, 0);
    atomic_init(&made->tail, 0);
    atomic_init(&made->pushers.count, 0);
    atomic_init(&made->poppers.count, 0);
    pthread_mutex_init(&made->lock, NULL);
    ray__cond_init(&made->pushers.woken);
    ray__cond_init(&made->poppers.woken);
    *ring = made;
    return RAY_OK;
}

void ray__ring_destroy(ray__ring *ring) {
    if (ring == NULL) {
        return;
    }
    pthread_cond_destroy(&ring->pushers.woken);
    pthread_cond_destroy(&ring->poppers.woken);
    pthread_mutex_destroy(&ring->lock);
    free(ring->cells);
    free(ring);
}

static bool try_push(ray__ring *ring, void *item) {
    uint64_t at = atomic_load_explicit(&ring->tail, memory_order_relaxed);
    for (;;) {
        cell *here = &ring->cells[at & ring->mask];
        uint64_t turn = atomic_load(&here->turn);
        if (turn == at) {
            if (atomic_compare_exchange_weak_explicit(&ring->tail, &at, at + 1, memory_order_relaxed, memory_order_relaxed)) {
                here->item = item;
                // Sequentially consistent: the look at the other side's sleepers must come after it.
                atomic_store(&here->turn, at + 1);
                return true;
            }
        } else if ((int64_t)(turn - at) < 0) {
            return false;
        } else {
            at = atomic_load_explicit(&ring->tail, memory_order_relaxed);
        }
    }
}

static bool try_pop(ray__ring *ring, void **item) {
    uint64_t at = atomic_load_explicit(&ring->head, memory_order_relaxed);
    for (;;) {
        cell *here = &ring->cells[at & ring->mask];
        uint64_t turn = atomic_load(&here->turn);
        if (turn == at + 1) {
            if (atomic_compare_exchange_weak_explicit(&ring->head, &at, at + 1, memory_order_relaxed, memory_order_relaxed)) {
                *item = here->item;
                atomic_store(&here->turn, at + ring->mask + 1);
                return true;
            }
        } else if ((int64_t)(turn - (at + 1)) < 0) {
            return false;
        } else {
            at = atomic_load_explicit(&ring->head, memory_order_relaxed);
        }
    }
}

static void wake(ray__ring *ring, sleepers *side) {
    if (atomic_load(&side->count) != 0) {
        // The lock orders this after a sleeper's last look, so that the signal cannot fall between its look and its sleep.
        pthread_mutex_lock(&ring->lock);
        pthread_cond_signal(&side->woken);
        pthread_mutex_unlock(&ring->lock);
    }
}

typedef struct attempt {
    bool push;
    void *item;
} attempt;

static bool try_once(ray__ring *ring, attempt *what) {
    return what->push ? try_push(ring, what->item) : try_pop(ring, &what->item);
}

// Tries, and sleeps until the deadline while it cannot be done.
static ray_status move_item(ray__ring *ring, attempt *what, uint64_t timeout_ns) {
    sleepers *mine = what->push ? &ring->pushers : &ring->poppers;
    sleepers *theirs = what->push ? &ring->poppers : &ring->pushers;
    if (what->push && atomic_load(&ring->closed)) {
        return RAY_CLOSED;
    }
    bool done = try_once(ring, what);
    ray_status status = RAY_OK;
    if (!done && timeout_ns == 0) {
        // A consumer that finds it closed must look once more: the last item may have come in between.
        bool closed = atomic_load(&ring->closed);
        done = closed && !what->push && try_once(ring, what);
        status = closed ? RAY_CLOSED : RAY_TIMED_OUT;
    } else if (!done) {
        uint64_t deadline = ray__deadline_ns(timeout_ns);
        pthread_mutex_lock(&ring->lock);
        atomic_fetch_add(&mine->count, 1);
        for (;;) {
            bool closed = atomic_load(&ring->closed);
            if (what->push && closed) {
                status = RAY_CLOSED;
                break;
            }
            done = try_once(ring, what);
            if (done || closed) {
                status = RAY_CLOSED;
                break;
            }
            if (ray__now_ns() >= deadline) {
                status = RAY_TIMED_OUT;
                break;
            }
            ray__cond_wait_until(&mine->woken, &ring->lock, deadline);
        }
        atomic_fetch_sub(&mine->count, 1);
        pthread_mutex_unlock(&ring->lock);
    }
    if (!done) {
        return status;
    }
    wake(ring, theirs);
    return RAY_OK;
}

ray_status ray__ring_push(ray__ring *ring, void *item, uint64_t timeout_ns) {
    attempt what = {true, item};
    return move_item(ring, &what, timeout_ns);
}

ray_status ray__ring_pop(ray__ring *ring, void **item, uint64_t timeout_ns) {
    attempt what = {false, NULL};
    ray_status status = move_item(ring, &what, timeout_ns);
    if (status == RAY_OK) {
        *item = what.item;
    }
    return status;
}

void ray__ring_close(ray__ring *ring) {
    pthread_mutex_lock(&ring->lock);
    atomic_store(&ring->closed, true);
    pthread_cond_broadcast(&ring->pushers.woken);
    pthread_cond_broadcast(&ring->poppers.woken);
    pthread_mutex_unlock(&ring->lock);
}
