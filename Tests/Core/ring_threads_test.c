// SPDX-License-Identifier: Apache-2.0
// The ring between threads: bounded, in order, closeable, nothing lost and nothing twice.
#include <pthread.h>
#include <stdatomic.h>

#include "check.h"
#include "ring/ring_internal.h"

#define SECOND 1000000000ull
#define PRODUCERS 3
#define CONSUMERS 3
#define ITEMS 30000

static void itemsComeOutInOrder(void) {
    ray__ring *ring;
    CHECK_OK(ray__ring_create(4, &ring));
    for (uintptr_t round = 0; round < 10; round++) {
        for (uintptr_t i = 1; i <= 3; i++) {
            CHECK_OK(ray__ring_push(ring, (void *)(round * 10 + i), 0));
        }
        for (uintptr_t i = 1; i <= 3; i++) {
            void *item;
            CHECK_OK(ray__ring_pop(ring, &item, 0));
            CHECK_EQUAL((uintptr_t)item, round * 10 + i);
        }
    }
    ray__ring_destroy(ring);
}

static void aFullRingRefusesAndAnEmptyOneToo(void) {
    ray__ring *ring;
    CHECK_OK(ray__ring_create(2, &ring));
    int a;
    CHECK_OK(ray__ring_push(ring, &a, 0));
    CHECK_OK(ray__ring_push(ring, &a, 0));
    CHECK_STATUS(ray__ring_push(ring, &a, 0), RAY_TIMED_OUT);
    CHECK_STATUS(ray__ring_push(ring, &a, 1000000), RAY_TIMED_OUT);
    void *item;
    CHECK_OK(ray__ring_pop(ring, &item, 0));
    CHECK_OK(ray__ring_pop(ring, &item, 0));
    CHECK_STATUS(ray__ring_pop(ring, &item, 0), RAY_TIMED_OUT);
    CHECK_STATUS(ray__ring_pop(ring, &item, 1000000), RAY_TIMED_OUT);
    ray__ring_destroy(ring);
}

static void aClosedRingRefusesPushesAndGivesWhatIsInside(void) {
    ray__ring *ring;
    CHECK_OK(ray__ring_create(2, &ring));
    int a;
    CHECK_OK(ray__ring_push(ring, &a, 0));
    ray__ring_close(ring);
    CHECK_STATUS(ray__ring_push(ring, &a, SECOND), RAY_CLOSED);
    void *item = NULL;
    CHECK_OK(ray__ring_pop(ring, &item, SECOND));
    CHECK(item == &a);
    CHECK_STATUS(ray__ring_pop(ring, &item, SECOND), RAY_CLOSED);
    CHECK_STATUS(ray__ring_pop(ring, &item, 0), RAY_CLOSED);
    ray__ring_destroy(ring);
}

typedef struct crowd {
    ray__ring *ring;
    _Atomic uint32_t next_producer;
    _Atomic uint64_t sum;
    _Atomic uint64_t count;
    _Atomic uint8_t seen[PRODUCERS * ITEMS];
} crowd;

static void *produce(void *context) {
    crowd *all = context;
    uintptr_t base = atomic_fetch_add(&all->next_producer, 1) * ITEMS;
    for (uintptr_t i = 0; i < ITEMS; i++) {
        CHECK_OK(ray__ring_push(all->ring, (void *)(base + i + 1), 20 * SECOND));
    }
    return NULL;
}

static void *consume(void *context) {
    crowd *all = context;
    uintptr_t last[PRODUCERS] = {0};
    for (;;) {
        void *item;
        ray_status status = ray__ring_pop(all->ring, &item, 20 * SECOND);
        if (status == RAY_CLOSED) {
            return NULL;
        }
        CHECK_OK(status);
        uintptr_t value = (uintptr_t)item - 1;
        CHECK_EQUAL(atomic_fetch_add(&all->seen[value], 1), 0);
        // One producer's items reach one consumer in their order.
        CHECK(value + 1 > last[value / ITEMS]);
        last[value / ITEMS] = value + 1;
        atomic_fetch_add(&all->count, 1);
    }
}

static void manyThreadsLoseNothingAndGetNothingTwice(void) {
    crowd *all = calloc(1, sizeof *all);
    CHECK(all != NULL);
    CHECK_OK(ray__ring_create(8, &all->ring));
    pthread_t producers[PRODUCERS];
    pthread_t consumers[CONSUMERS];
    for (int i = 0; i < CONSUMERS; i++) {
        CHECK_EQUAL(pthread_create(&consumers[i], NULL, consume, all), 0);
    }
    for (int i = 0; i < PRODUCERS; i++) {
        CHECK_EQUAL(pthread_create(&producers[i], NULL, produce, all), 0);
    }
    for (int i = 0; i < PRODUCERS; i++) {
        pthread_join(producers[i], NULL);
    }
    ray__ring_close(all->ring);
    for (int i = 0; i < CONSUMERS; i++) {
        pthread_join(consumers[i], NULL);
    }
    CHECK_EQUAL(atomic_load(&all->count), PRODUCERS * ITEMS);
    ray__ring_destroy(all->ring);
    free(all);
}

static void *popOne(void *context) {
    void *item;
    return (void *)(intptr_t)ray__ring_pop(context, &item, UINT64_MAX);
}

static void *pushOne(void *context) {
    return (void *)(intptr_t)ray__ring_push(context, context, UINT64_MAX);
}

static void closingWakesWhoSleeps(void) {
    ray__ring *empty;
    ray__ring *full;
    CHECK_OK(ray__ring_create(2, &empty));
    CHECK_OK(ray__ring_create(2, &full));
    CHECK_OK(ray__ring_push(full, full, 0));
    CHECK_OK(ray__ring_push(full, full, 0));
    pthread_t popper;
    pthread_t pusher;
    CHECK_EQUAL(pthread_create(&popper, NULL, popOne, empty), 0);
    CHECK_EQUAL(pthread_create(&pusher, NULL, pushOne, full), 0);
    ray__ring_close(empty);
    ray__ring_close(full);
    void *answer;
    pthread_join(popper, &answer);
    CHECK_EQUAL((intptr_t)answer, RAY_CLOSED);
    pthread_join(pusher, &answer);
    CHECK_EQUAL((intptr_t)answer, RAY_CLOSED);
    ray__ring_destroy(empty);
    ray__ring_destroy(full);
}

int main(void) {
    RUN(itemsComeOutInOrder);
    RUN(aFullRingRefusesAndAnEmptyOneToo);
    RUN(aClosedRingRefusesPushesAndGivesWhatIsInside);
    RUN(manyThreadsLoseNothingAndGetNothingTwice);
    RUN(closingWakesWhoSleeps);
    return 0;
}
