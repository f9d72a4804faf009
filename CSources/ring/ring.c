// SPDX-License-Identifier: Apache-2.0
#include "ring/ring_internal.h"

#include <stdatomic.h>
#include <stdlib.h>

#include "base/clock_internal.h"
#include "base/error_internal.h"
#include "base/futex_internal.h"

// A cell at position p of round r may be filled when turn == p, and emptied when turn == p + 1; emptying sets it to p + capacity.
typedef struct cell {
    _Atomic uint64_t turn;
    void *item;
} cell;

// One side's sleepers. Who wakes them moves `called` first; who goes to sleep has read it before its last look at the cells, and does not
// sleep when it has moved since. So nobody holds a lock that a thread without a core could keep from the others.
typedef struct sleepers {
    _Atomic uint32_t count;
    uint32_t called; // a futex
} sleepers;

struct ray__ring {
    size_t mask;
    cell *cells;
    _Atomic bool closed;
    // The ends are written by different threads; a cache line each.
    _Alignas(64) _Atomic uint64_t head; // next to pop
    _Alignas(64) _Atomic uint64_t tail; // next to push
    _Alignas(64) sleepers pushers;
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
    made->pushers.called = made->poppers.called = 0;
    *ring = made;
    return RAY_OK;
}

void ray__ring_destroy(ray__ring *ring) {
    if (ring == NULL) {
        return;
    }
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

static void wake(sleepers *side) {
    if (atomic_load(&side->count) != 0) {
        __atomic_fetch_add(&side->called, 1, __ATOMIC_SEQ_CST);
        ray__futex_wake_one(&side->called);
    }
}

typedef struct attempt {
    bool push;
    void *item;
} attempt;

static bool try_once(ray__ring *ring, attempt *what) {
    return what->push ? try_push(ring, what->item) : try_pop(ring, &what->item);
}

// Sleeps until it is done, until the deadline, or until the ring is closed.
static bool sleep_for(ray__ring *ring, sleepers *mine, attempt *what, uint64_t deadline_ns, ray_status *status) {
    bool done = false;
    bool goes_on = true;
    atomic_fetch_add(&mine->count, 1);
    while (goes_on) {
        uint32_t called = __atomic_load_n(&mine->called, __ATOMIC_SEQ_CST);
        bool closed = atomic_load(&ring->closed);
        done = !(what->push && closed) && try_once(ring, what);
        if (done || closed) {
            *status = RAY_CLOSED;
            goes_on = false;
        } else if (ray__now_ns() >= deadline_ns) {
            *status = RAY_TIMED_OUT;
            goes_on = false;
        } else {
            (void)ray__futex_wait(&mine->called, called, deadline_ns);
        }
    }
    atomic_fetch_sub(&mine->count, 1);
    return done;
}

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
        done = sleep_for(ring, mine, what, ray__deadline_ns(timeout_ns), &status);
    }
    if (!done) {
        return status;
    }
    wake(theirs);
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
    atomic_store(&ring->closed, true);
    __atomic_fetch_add(&ring->pushers.called, 1, __ATOMIC_SEQ_CST);
    __atomic_fetch_add(&ring->poppers.called, 1, __ATOMIC_SEQ_CST);
    ray__futex_wake_all(&ring->pushers.called);
    ray__futex_wake_all(&ring->poppers.called);
}
