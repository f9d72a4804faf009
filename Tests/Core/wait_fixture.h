// SPDX-License-Identifier: Apache-2.0
// What the tests of waiting share: who waits, and how a wait that calls back ended.
#ifndef RAY_TESTS_WAIT_FIXTURE_H
#define RAY_TESTS_WAIT_FIXTURE_H

#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "check.h"
#include "plasma/store_internal.h"

static inline void poll_until(bool (*holds)(void *), void *argument) {
    for (time_t end = time(NULL) + 10; !holds(argument);) {
        CHECK(time(NULL) < end);
        usleep(500);
    }
}

// Whether the slot waits for an id of the bucket.
static inline bool waits_in(ray_store *store, uint32_t slot, uint32_t bucket) {
    RAY__GATE(store);
    return (ray__shm_load(&store->buckets[bucket].waiting[slot / 64]) >> slot % 64 & 1u) != 0;
}

static inline void await_wait(ray_store *store, uint32_t slot, ray_object_id id) {
    for (time_t end = time(NULL) + 10; !waits_in(store, slot, ray__wait_bucket(ray_object_id_hash(&id)));) {
        CHECK(time(NULL) < end);
        usleep(200);
    }
}

// What a ray_waited_fn was told.
typedef struct outcome {
    uint32_t calls;
    int32_t status;
} outcome;

static inline void note(void *context, ray_status status) {
    outcome *o = context;
    __atomic_store_n(&o->status, status, __ATOMIC_RELAXED);
    __atomic_fetch_add(&o->calls, 1, __ATOMIC_RELEASE);
}

static inline bool was_called(void *context) {
    return __atomic_load_n(&((outcome *)context)->calls, __ATOMIC_ACQUIRE) != 0;
}

#endif
