// SPDX-License-Identifier: Apache-2.0
// Sleeping until an object is sealed, fails or goes.
//
// Ids are spread over buckets: a number, and a bit for each slot that waits for an id there; an id needs no entry to be waited for. The
// threads of a process all sleep on one futex, their slot's, each for the buckets it waits in. Who waits sets the bits, reads its
// slot's number, looks at the table, and sleeps only if the number is the same. Who seals changes the state, then looks at the bits of one
// bucket, and only if there is one moves the bucket's number, then the numbers of those slots, and wakes them. So a wait for
// 10,000 ids is one sleep, and after it only ids of buckets that have moved are looked at. A sealer that dies before it wakes is
// made good by the reaper.
#include <stdlib.h>

#include "base/clock_internal.h"
#include "base/futex_internal.h"
#include "plasma/store_internal.h"

#define TRIES_MAX 10000u
#define NOBODY UINT32_MAX // the end of a chain

// ---- waking --------------------------------------------------------------------------------------------------------------

// A futex tells 32 kinds of wakes apart: a thread is not woken for most of the buckets it does not wait in.
static uint32_t futex_bit(uint32_t bucket) {
    return 1u << bucket % 32;
}

// Moves the bucket's number if somebody waits there, and adds who.
void ray__wakes_add(ray_store *store, ray__wakes *wakes, uint32_t number) {
    ray__bucket *bucket = &store->buckets[number];
    uint64_t waiting[RAY__SLOT_WORDS];
    uint64_t anybody = 0;
    for (uint32_t k = 0; k < RAY__SLOT_WORDS; k++) {
        waiting[k] = ray__shm_load(&bucket->waiting[k]);
        anybody |= waiting[k];
    }
    if (__builtin_expect(anybody == 0, 1)) {
        return;
    }
    ray__shm_add32(&bucket->seq, 1);
    RAY_CRASH_POINT();
    for (uint32_t k = 0; k < RAY__SLOT_WORDS; k++) {
        wakes->slots[k] |= waiting[k];
    }
    wakes->futex_bits |= futex_bit(number);
}

uint32_t ray__entry_bucket(const ray__entry *entry) {
    ray_object_id id;
    ray__entry_id(entry, &id);
    return ray__wait_bucket(ray_object_id_hash(&id));
}

void ray__wakes_send(ray_store *store, ray__wakes *wakes) {
    if (__builtin_expect(wakes->futex_bits == 0, 1)) {
        return;
    }
    for (uint32_t k = 0; k < RAY__SLOT_WORDS; k++) {
        for (uint64_t left = wakes->slots[k]; left != 0; left &= left - 1) {
            uint32_t slot = k * 64 + (uint32_t)__builtin_ctzll(left);
            if (slot >= RAY_SLOTS_MAX) {
                break; // the last word has bits to spare, which only damage sets
            }
            uint32_t *seq = &store->slots[slot].wake_seq;
            ray__shm_add32(seq, 1);
            RAY_CRASH_POINT();
            ray__futex_wake_bits(seq, wakes->futex_bits);
        }
    }
    *wakes = (ray__wakes){0};
}

void ray__wake(ray_store *store, const ray__entry *entry) {
    ray__wakes wakes = {0};
    ray__wakes_add(store, &wakes, ray__entry_bucket(entry));
    ray__wakes_send(store, &wakes);
}

void ray__wake_everybody(ray_store *store) {
    ray__wakes wakes = {0};
    for (uint32_t i = 0; i < RAY__WAIT_BUCKETS; i++) {
        ray__wakes_add(store, &wakes, i);
    }
    ray__wakes_send(store, &wakes);
}

void ray__wait_forget_slot(ray_store *store, uint32_t slot) {
    for (uint32_t i = 0; i < RAY__WAIT_BUCKETS; i++) {
        uint64_t *word = &store->buckets[i].waiting[slot / 64];
        if ((ray__shm_load(word) >> slot % 64 & 1u) != 0) {
            ray__shm_and(word, ~(1ull << slot % 64));
            RAY_CRASH_POINT();
        }
    }
}

// ---- one thread's wait -----------------------------------------------------------------------------------------------------

void ray__wait_enter(ray_store *store, ray__wait *wait, uint32_t bucket) {
    uint64_t bit = 1ull << bucket % 64;
    if ((wait->buckets[bucket / 64] & bit) != 0) {
        return;
    }
    wait->buckets[bucket / 64] |= bit;
    pthread_mutex_lock(&store->wait_lock);
    if (store->wait_counts[bucket]++ == 0) {
        ray__shm_or(&store->buckets[bucket].waiting[store->slot / 64], 1ull << store->slot % 64);
        RAY_CRASH_POINT();
    }
    pthread_mutex_unlock(&store->wait_lock);
    wait->seen[bucket] = ray__shm_load32(&store->buckets[bucket].seq);
}

void ray__wait_leave(ray_store *store, ray__wait *wait, uint32_t bucket) {
    wait->buckets[bucket / 64] &= ~(1ull << bucket % 64);
    pthread_mutex_lock(&store->wait_lock);
    if (--store->wait_counts[bucket] == 0) {
        ray__shm_and(&store->buckets[bucket].waiting[store->slot / 64], ~(1ull << store->slot % 64));
        RAY_CRASH_POINT();
    }
    pthread_mutex_unlock(&store->wait_lock);
}

void ray__wait_leave_all(ray_store *store, ray__wait *wait) {
    for (uint32_t k = 0; k < RAY__WAIT_BUCKETS / 64; k++) {
        for (uint64_t left = wait->buckets[k]; left != 0; left &= left - 1) {
            ray__wait_leave(store, wait, k * 64 + (uint32_t)__builtin_ctzll(left));
        }
    }
}

uint32_t ray__wait_number(ray_store *store) {
    return ray__shm_load32(&store->slots[store->slot].wake_seq);
}

bool ray__wait_sleep(ray_store *store, const ray__wait *wait, uint32_t number, uint64_t deadline_ns) {
    uint64_t buckets = wait->buckets[0] | wait->buckets[1] | wait->buckets[2] | wait->buckets[3];
    uint32_t bits = (uint32_t)(buckets | buckets >> 32);
    // Who waits in no bucket is woken by a kick only.
    return ray__futex_wait_bits(&store->slots[store->slot].wake_seq, number, deadline_ns, bits == 0 ? UINT32_MAX : bits);
}

bool ray__wait_moved(ray_store *store, ray__wait *wait, uint32_t bucket) {
    uint32_t seq = ray__shm_load32(&store->buckets[bucket].seq);
    bool moved = seq != wait->seen[bucket];
    wait->seen[bucket] = seq;
    return moved;
}

void ray__wait_kick(ray_store *store) {
    uint32_t *seq = &store->slots[store->slot].wake_seq;
    ray__shm_add32(seq, 1);
    RAY_CRASH_POINT();
    ray__futex_wake_all(seq);
}

ray_status ray__id_verdict(ray_store *store, const ray_object_id *id) {
    uint32_t index;
    uint64_t word;
    ray__shm_add(&store->wait_look_count, 1);
    uint64_t hash = ray_object_id_hash(id);
    // Bounded: a damaged entry may never settle.
    for (uint32_t i = 0; i < TRIES_MAX; i++) {
        if (!ray__table_find(store, id, hash, &index, &word)) {
            return RAY_NOT_FOUND;
        }
        ray_status verdict = ray__entry_verdict(&store->table[index], word);
        if (verdict != RAY_AGAIN) {
            return verdict;
        }
        // Being evicted, or given up at this very moment: it has settled once the lock was free.
        RAY_TRY(ray__store_lock(store));
        ray__store_unlock(store);
    }
    return RAY_AGAIN;
}

// ---- a wait for many ids -----------------------------------------------------------------------------------------------------

typedef struct chains {
    uint32_t first[RAY__WAIT_BUCKETS];
    uint32_t *next; // for each id
} chains;

static uint32_t bucket_of(const ray_object_id *id) {
    return ray__wait_bucket(ray_object_id_hash(id));
}

static void chain_pending(ray_store *store, const ray__wait_many *many, chains *c, ray__wait *wait) {
    for (uint32_t b = 0; b < RAY__WAIT_BUCKETS; b++) {
        c->first[b] = NOBODY;
    }
    for (uint32_t i = 0; i < many->count; i++) {
        if (many->is_pending(many->context, i)) {
            uint32_t bucket = bucket_of(&many->ids[i]);
            c->next[i] = c->first[bucket];
            c->first[bucket] = i;
            ray__wait_enter(store, wait, bucket);
        }
    }
}

// Looks at what is in one bucket, and takes what has settled out of the chain.
static uint32_t look_in(ray_store *store, const ray__wait_many *many, chains *c, ray__wait *wait, uint32_t bucket) {
    uint32_t settled = 0;
    for (uint32_t *at = &c->first[bucket]; *at != NOBODY;) {
        if (many->settle(store, many->context, *at)) {
            *at = c->next[*at];
            settled++;
        } else {
            at = &c->next[*at];
        }
    }
    if (c->first[bucket] == NOBODY) {
        ray__wait_leave(store, wait, bucket);
    }
    return settled;
}

static uint32_t look(ray_store *store, const ray__wait_many *many, chains *c, ray__wait *wait, bool everywhere) {
    uint32_t settled = 0;
    for (uint32_t k = 0; k < RAY__WAIT_BUCKETS / 64; k++) {
        for (uint64_t left = wait->buckets[k]; left != 0; left &= left - 1) {
            uint32_t bucket = k * 64 + (uint32_t)__builtin_ctzll(left);
            if (ray__wait_moved(store, wait, bucket) || everywhere) {
                settled += look_in(store, many, c, wait, bucket);
            }
        }
    }
    return settled;
}

ray_status ray__wait_for_many(ray_store *store, const ray__wait_many *many, uint64_t deadline_ns, uint32_t *settled) {
    *settled = 0;
    chains c = {.next = malloc((many->count == 0 ? 1 : many->count) * sizeof(uint32_t))};
    if (c.next == NULL) {
        return ray__fail(RAY_OUT_OF_MEMORY, "no memory to wait for %u objects", many->count);
    }
    ray__wait wait = {0};
    chain_pending(store, many, &c, &wait);
    ray_status status;
    bool everywhere = true;
    for (bool in_time = true;;) {
        uint32_t number = ray__wait_number(store);
        status = ray__store_enter(store);
        if (status != RAY_OK) {
            break;
        }
        *settled += look(store, many, &c, &wait, everywhere);
        everywhere = false;
        if (*settled >= many->wanted || !in_time) {
            break;
        }
        in_time = ray__wait_sleep(store, &wait, number, deadline_ns);
    }
    ray__wait_leave_all(store, &wait);
    free(c.next);
    return status;
}

// ---- ray_object_wait -----------------------------------------------------------------------------------------------------

enum { NOT_READY = 0, READY = 1, SEEN = 2 }; // SEEN: there, without a value; never left to the caller

typedef struct readiness {
    const ray_object_id *ids;
    uint8_t *ready;
} readiness;

static bool is_not_ready(void *context, uint32_t i) {
    return ((const readiness *)context)->ready[i] != READY;
}

static bool make_ready(ray_store *store, void *context, uint32_t i) {
    const readiness *r = context;
    ray_status last = r->ready[i] == SEEN ? RAY_NOT_SEALED : RAY_NOT_FOUND;
    ray_status now = ray__since_last_look(last, ray__id_verdict(store, &r->ids[i]));
    bool ready = !ray__may_come(now) && now != RAY_AGAIN && now != RAY_POISONED;
    r->ready[i] = ready ? READY : now == RAY_NOT_FOUND ? NOT_READY : SEEN;
    return ready;
}

ray_status ray_object_wait(ray_store *store, const ray_object_id *ids, uint32_t count, uint32_t ready_count_wanted,
                           uint64_t timeout_ns, uint8_t *ready, uint32_t *ready_count) {
    RAY__GATE(store);
    *ready_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        ready[i] = NOT_READY;
    }
    RAY_TRY(ray__store_enter(store));
    if (ready_count_wanted > count) {
        return ray__fail(RAY_INVALID_ARGUMENT, "wait for %u of %u objects", ready_count_wanted, count);
    }
    uint64_t deadline = ray__deadline_ns(timeout_ns);
    readiness r = {ids, ready};
    uint32_t found = 0;
    for (uint32_t i = 0; i < count; i++) {
        found += make_ready(store, &r, i);
    }
    ray_status status = RAY_OK;
    if (found < ready_count_wanted && timeout_ns != 0) {
        ray__wait_many many = {ids, count, ready_count_wanted - found, is_not_ready, make_ready, &r};
        uint32_t settled;
        status = ray__wait_for_many(store, &many, deadline, &settled);
        found += settled;
    }
    for (uint32_t i = 0; i < count; i++) {
        ready[i] = ready[i] == READY ? READY : NOT_READY;
    }
    *ready_count = found;
    if (status == RAY_OK && found < ready_count_wanted) {
        status = ray__fail(RAY_TIMED_OUT, "%u of %u objects are ready, %u were waited for", found, count,
                           ready_count_wanted);
    }
    return status;
}
