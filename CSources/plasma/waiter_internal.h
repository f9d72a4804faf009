// SPDX-License-Identifier: Apache-2.0
// The inside of a ray_waiter, for the two files that make it: waiter.c, and waiter_lists.c with its memory and the heap.
#ifndef RAY_PLASMA_WAITER_INTERNAL_H
#define RAY_PLASMA_WAITER_INTERNAL_H

#include "plasma/store_internal.h"

#define RAY__NO_WAIT UINT32_MAX
#define RAY__WAITS_MAX (1u << 24) // of one waiter: 1 GiB of waits; more are a fault of the caller

typedef struct ray__waiting {
    ray_object_id id;
    uint32_t flags;
    ray_status last;      // what the last look said; how it ended
    uint32_t serial;      // how many waits of this place have ended
    uint64_t deadline_ns; // UINT64_MAX: none
    ray_waited_fn done;   // NULL: the place is free
    void *context;
    uint32_t before; // in its bucket's chain
    uint32_t after;  // of a free place: the next free one
    uint32_t heap_place;
} ray__waiting;

struct ray_waiter {
    ray_store *store;
    uint32_t fork_generation;
    pthread_t thread;
    pthread_mutex_t lock; // guards what follows; taken before the store's private lock of waits
    bool stopping;
    bool is_asleep;
    ray_status over_status; // why nobody can wait any more
    uint64_t sleeps_until_ns;
    ray__wait wait; // the thread's, entered by whoever adds
    uint32_t first[RAY__WAIT_BUCKETS];
    ray__waiting *waits;
    uint32_t capacity; // of both lists
    uint32_t free_wait;
    uint32_t *heap; // places of waits, the earliest deadline first
    uint32_t heap_count;
    uint32_t over; // waits that have ended and are still to be told, by `after`, the first that ended first
    uint32_t over_last;
};

// Makes room for more waits. On failure nothing has changed.
ray_status ray__waiter_grow(ray_waiter *w) RAY_NODISCARD;
void ray__waiter_free_lists(ray_waiter *w);

void ray__waiter_heap_add(ray_waiter *w, uint32_t at);
// Nothing for a wait that is not in it.
void ray__waiter_heap_remove(ray_waiter *w, uint32_t at);

#endif
