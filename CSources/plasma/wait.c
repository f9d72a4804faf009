// SPDX-License-Identifier: Apache-2.0
// Sleeping until an object is sealed or fails.
//
// Ids are spread over buckets, each a futex and a bit for each slot that may sleep there; an id needs no entry to be waited for.
// Who waits sets its bit, reads the futex's number, looks at the table, and sleeps only if the number is the same. Who seals
// changes the state, then looks at the bits, and only if there is one changes the number and wakes. Waits for several ids share one
// bucket of their own, which every seal looks at. A sealer that dies before it wakes is made good by the reaper.
#include "base/clock_internal.h"
#include "base/futex_internal.h"
#include "plasma/store_internal.h"

#define TRIES_MAX 10000u

static bool anybody(const ray__bucket *bucket) {
    return (ray__shm_load(&bucket->waiting[0]) | ray__shm_load(&bucket->waiting[1]) |
            ray__shm_load(&bucket->waiting[2]) | ray__shm_load(&bucket->waiting[3])) != 0;
}

static void wake_bucket(ray__bucket *bucket) {
    if (__builtin_expect(anybody(bucket), 0)) {
        ray__shm_add32(&bucket->seq, 1);
        RAY_CRASH_POINT();
        ray__futex_wake_all(&bucket->seq);
    }
}

void ray__wake(ray_store *store, const ray__entry *entry) {
    ray_object_id id;
    ray__entry_id(entry, &id);
    wake_bucket(&store->buckets[ray__wait_bucket(ray_object_id_hash(&id))]);
    wake_bucket(&store->buckets[RAY__WAIT_ANY]);
}

void ray__wake_everybody(ray_store *store) {
    for (uint32_t i = 0; i <= RAY__WAIT_BUCKETS; i++) {
        wake_bucket(&store->buckets[i]);
    }
}

void ray__wait_forget_slot(ray_store *store, uint32_t slot) {
    for (uint32_t i = 0; i <= RAY__WAIT_BUCKETS; i++) {
        uint64_t *word = &store->buckets[i].waiting[slot / 64];
        if ((ray__shm_load(word) >> slot % 64 & 1u) != 0) {
            ray__shm_and(word, ~(1ull << slot % 64));
        }
    }
}

void ray__wait_begin(ray_store *store, uint32_t bucket) {
    pthread_mutex_lock(&store->wait_lock);
    if (store->wait_counts[bucket]++ == 0) {
        ray__shm_or(&store->buckets[bucket].waiting[store->bit_word], store->bit);
    }
    pthread_mutex_unlock(&store->wait_lock);
}

void ray__wait_end(ray_store *store, uint32_t bucket) {
    pthread_mutex_lock(&store->wait_lock);
    if (--store->wait_counts[bucket] == 0) {
        ray__shm_and(&store->buckets[bucket].waiting[store->bit_word], ~store->bit);
    }
    pthread_mutex_unlock(&store->wait_lock);
}

static bool is_ready(ray_store *store, const ray_object_id *id) {
    uint32_t index;
    uint64_t word;
    // Bounded: a damaged entry may never settle.
    for (uint32_t i = 0; i < TRIES_MAX && ray__table_find(store, id, ray_object_id_hash(id), &index, &word); i++) {
        ray_status verdict = ray__entry_verdict(&store->table[index], word);
        if (verdict != RAY_AGAIN) {
            return verdict != RAY_NOT_SEALED && verdict != RAY_NOT_LOCAL;
        }
        // Being evicted, or given up at this very moment: it has settled once the lock was free.
        if (ray__store_lock(store) != RAY_OK) {
            return false;
        }
        ray__store_unlock(store);
    }
    return false;
}

static uint32_t look(ray_store *store, const ray_object_id *ids, uint32_t count, uint8_t *ready, uint32_t found) {
    for (uint32_t i = 0; i < count; i++) {
        if (ready[i] == 0 && is_ready(store, &ids[i])) {
            ready[i] = 1;
            found++;
        }
    }
    return found;
}

ray_status ray_object_wait(ray_store *store, const ray_object_id *ids, uint32_t count, uint32_t ready_count_wanted,
                           uint64_t timeout_ns, uint8_t *ready, uint32_t *ready_count) {
    *ready_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        ready[i] = 0;
    }
    RAY_TRY(ray__store_enter(store));
    if (ready_count_wanted > count) {
        return ray__fail(RAY_INVALID_ARGUMENT, "wait for %u of %u objects", ready_count_wanted, count);
    }
    uint64_t deadline = ray__deadline_ns(timeout_ns);
    uint32_t found = look(store, ids, count, ready, 0);
    ray_status status = RAY_OK;
    if (found < ready_count_wanted && timeout_ns != 0) {
        uint32_t number = count == 1 ? ray__wait_bucket(ray_object_id_hash(ids)) : RAY__WAIT_ANY;
        ray__bucket *bucket = &store->buckets[number];
        ray__wait_begin(store, number);
        for (bool in_time = true;;) {
            uint32_t seq = ray__shm_load32(&bucket->seq);
            status = ray__store_enter(store);
            found = look(store, ids, count, ready, found);
            if (status != RAY_OK || found >= ready_count_wanted || !in_time) {
                break;
            }
            in_time = ray__futex_wait(&bucket->seq, seq, deadline);
        }
        ray__wait_end(store, number);
    }
    *ready_count = found;
    if (status == RAY_OK && found < ready_count_wanted) {
        status = ray__fail(RAY_TIMED_OUT, "%u of %u objects are ready, %u were waited for", found, count,
                           ready_count_wanted);
    }
    return status;
}
