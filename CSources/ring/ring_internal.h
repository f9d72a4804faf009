// SPDX-License-Identifier: Apache-2.0
// Ring: a bounded queue of pointers between threads of one process, for any number of producers and consumers.
//
// Each cell has a turn number that says whose move it is, so a push or a pop that neither finds the ring full nor empty is one
// compare-and-swap and one store (the design is Vyukov's bounded queue). A thread that must wait sleeps on a futex; the other side looks
// whether somebody sleeps only after its own move is visible. There is no lock in it, for sleeping neither.
//
// Order is first in, first out for each producer. Closing refuses further pushes; what is inside can still be popped. A push that runs
// while the ring is being closed may succeed after a consumer has heard RAY_CLOSED: close when the producers are done.
#ifndef RAY_RING_RING_INTERNAL_H
#define RAY_RING_RING_INTERNAL_H

#include "raystore/status.h"

typedef struct ray__ring ray__ring;

// capacity is rounded up to a power of two, at least 2.
ray_status ray__ring_create(size_t capacity, ray__ring **ring) RAY_NODISCARD;

// Nobody may use it any more. Items inside are not touched. Accepts NULL.
void ray__ring_destroy(ray__ring *ring);

// RAY_OK, RAY_TIMED_OUT (full until then) or RAY_CLOSED. timeout_ns 0 does not wait, UINT64_MAX waits without end. No message is
// recorded: these answers are ordinary.
ray_status ray__ring_push(ray__ring *ring, void *item, uint64_t timeout_ns) RAY_NODISCARD;

// RAY_OK, RAY_TIMED_OUT (empty until then) or RAY_CLOSED (closed and empty).
ray_status ray__ring_pop(ray__ring *ring, void **item, uint64_t timeout_ns) RAY_NODISCARD;

void ray__ring_close(ray__ring *ring);

#endif
