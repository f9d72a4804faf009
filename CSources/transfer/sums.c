// SPDX-License-Identifier: Apache-2.0
#include "transfer/sums_internal.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/clock_internal.h"
#include "base/error_internal.h"
#include "transfer/wire_internal.h"

#define BUCKETS 1024u
#define OBJECTS_MAX 4096u
// 8 bytes each: 32 MiB, the sums of 16 TiB.
#define SUMS_MAX (4u << 20)

struct ray__sums {
    _Atomic uint32_t refs; // the cache's own included
    ray_object_id id;
    uint64_t size_bytes;
    uint64_t stamp;
    int64_t since_ns;     // when they were begun, by the wall clock
    uint64_t file_number; // that they were written to, or 0
    uint32_t chunk_size;
    uint32_t count;
    _Atomic uint32_t known; // of them
    _Atomic bool is_told;
    bool is_spare;          // nobody has opened the object: made ahead, for whoever may
    ray__sums *next;   // in the bucket
    uint64_t used_at;  // the cache's tick of the latest acquire
    _Atomic uint64_t values[];
};

struct ray__sums_cache {
    pthread_mutex_t lock;
    uint64_t tick;
    uint32_t object_count;
    uint64_t sum_count;
    ray__sums *buckets[BUCKETS];
};

ray_status ray__sums_cache_create(ray__sums_cache **cache) {
    ray__sums_cache *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return ray__fail(RAY_OUT_OF_MEMORY, "the cache of checksums");
    }
    pthread_mutex_init(&made->lock, NULL);
    *cache = made;
    return RAY_OK;
}

void ray__sums_release(ray__sums *sums) {
    if (sums != NULL && atomic_fetch_sub(&sums->refs, 1) == 1) {
        free(sums);
    }
}

// chunk_size 0: of any.
static ray__sums **slot_of(ray__sums_cache *cache, const ray_object_id *id, uint32_t chunk_size) {
    ray__sums **slot = &cache->buckets[ray_object_id_hash(id) % BUCKETS];
    while (*slot != NULL && (!ray_object_id_equal(&(*slot)->id, id) || (chunk_size != 0 && (*slot)->chunk_size != chunk_size))) {
        slot = &(*slot)->next;
    }
    return slot;
}

static void drop(ray__sums_cache *cache, ray__sums **slot) {
    ray__sums *gone = *slot;
    *slot = gone->next;
    cache->object_count--;
    cache->sum_count -= gone->count;
    ray__sums_release(gone);
}

// Rare, so a look at all of them will do.
static void drop_oldest(ray__sums_cache *cache) {
    ray__sums **oldest = NULL;
    for (uint32_t i = 0; i < BUCKETS; i++) {
        for (ray__sums **slot = &cache->buckets[i]; *slot != NULL; slot = &(*slot)->next) {
            if (oldest == NULL || (*slot)->used_at < (*oldest)->used_at) {
                oldest = slot;
            }
        }
    }
    if (oldest != NULL) {
        drop(cache, oldest);
    }
}

void ray__sums_cache_destroy(ray__sums_cache *cache) {
    if (cache == NULL) {
        return;
    }
    for (uint32_t i = 0; i < BUCKETS; i++) {
        while (cache->buckets[i] != NULL) {
            drop(cache, &cache->buckets[i]);
        }
    }
    pthread_mutex_destroy(&cache->lock);
    free(cache);
}

static bool is_full(const ray__sums_cache *cache, uint32_t count) {
    return cache->object_count >= OBJECTS_MAX || (cache->object_count > 0 && cache->sum_count + count > SUMS_MAX);
}

static ray__sums *make(ray__sums_cache *cache, const ray__sums_key *key, uint32_t count) {
    ray__sums *sums = calloc(1, sizeof *sums + count * sizeof sums->values[0]);
    if (sums != NULL) {
        atomic_init(&sums->refs, 1);
        sums->id = *key->id;
        sums->size_bytes = key->size_bytes;
        sums->stamp = key->stamp;
        sums->since_ns = ray__wall_ns();
        sums->chunk_size = key->chunk_size;
        sums->count = count;
        ray__sums **bucket = &cache->buckets[ray_object_id_hash(key->id) % BUCKETS];
        sums->next = *bucket;
        *bucket = sums;
        cache->object_count++;
        cache->sum_count += count;
        sums->used_at = ++cache->tick;
    }
    return sums;
}

// Those of this value; what is kept of another value of the id goes.
static ray__sums *find(ray__sums_cache *cache, const ray__sums_key *key) {
    ray__sums **slot = slot_of(cache, key->id, key->chunk_size);
    ray__sums *sums = *slot;
    if (sums != NULL && (sums->size_bytes != key->size_bytes || sums->stamp != key->stamp || sums->since_ns < key->settled_ns)) {
        drop(cache, slot);
        return NULL;
    }
    return sums;
}

ray__sums *ray__sums_acquire(ray__sums_cache *cache, const ray__sums_key *key) {
    uint32_t count = ray__chunk_count(key->size_bytes, key->chunk_size);
    pthread_mutex_lock(&cache->lock);
    ray__sums *sums = find(cache, key);
    if (sums == NULL && count <= SUMS_MAX) {
        while (is_full(cache, count)) {
            drop_oldest(cache);
        }
        sums = make(cache, key, count);
    }
    if (sums != NULL) {
        atomic_fetch_add(&sums->refs, 1);
        sums->used_at = ++cache->tick;
        sums->is_spare = false;
    }
    pthread_mutex_unlock(&cache->lock);
    return sums;
}

ray__sums *ray__sums_peek(ray__sums_cache *cache, const ray__sums_key *key) {
    pthread_mutex_lock(&cache->lock);
    ray__sums *sums = find(cache, key);
    if (sums != NULL) {
        atomic_fetch_add(&sums->refs, 1);
    }
    pthread_mutex_unlock(&cache->lock);
    return sums;
}

enum ray__spare ray__sums_acquire_spare(ray__sums_cache *cache, const ray__sums_key *key, ray__sums **sums) {
    uint32_t count = ray__chunk_count(key->size_bytes, key->chunk_size);
    enum ray__spare answer = RAY__SPARE_TAKEN;
    pthread_mutex_lock(&cache->lock);
    ray__sums *found = find(cache, key);
    if (found != NULL && (ray__sums_are_whole(found) || atomic_load(&found->refs) > 1)) {
        answer = RAY__SPARE_NEEDLESS;
    } else if (found == NULL) {
        found = count > SUMS_MAX || is_full(cache, count) ? NULL : make(cache, key, count);
        answer = found == NULL ? RAY__SPARE_NO_ROOM : RAY__SPARE_TAKEN;
        if (found != NULL) {
            found->is_spare = true;
        }
    }
    if (answer == RAY__SPARE_TAKEN) {
        atomic_fetch_add(&found->refs, 1);
        *sums = found;
    }
    pthread_mutex_unlock(&cache->lock);
    return answer;
}

bool ray__sums_learn(ray__sums_cache *cache, const ray__sums_key *key, const uint64_t *values) {
    uint32_t count = ray__chunk_count(key->size_bytes, key->chunk_size);
    pthread_mutex_lock(&cache->lock);
    ray__sums *sums = find(cache, key);
    if (sums == NULL && count <= SUMS_MAX && !is_full(cache, count)) {
        sums = make(cache, key, count);
        if (sums != NULL) {
            sums->is_spare = true;
        }
    }
    if (sums != NULL) {
        atomic_fetch_add(&sums->refs, 1);
    }
    pthread_mutex_unlock(&cache->lock);
    for (uint32_t i = 0; i < count && sums != NULL; i++) {
        ray__sums_set(sums, i, values[i]);
    }
    ray__sums_release(sums);
    return sums != NULL;
}

void ray__sums_of_file(ray__sums *sums, uint64_t file_number) {
    if (sums != NULL) {
        sums->file_number = file_number;
    }
}

bool ray__sums_restamp(ray__sums_cache *cache, const ray_object_id *id, uint64_t file_number, uint64_t stamp) {
    bool found = false;
    pthread_mutex_lock(&cache->lock);
    for (ray__sums *sums = cache->buckets[ray_object_id_hash(id) % BUCKETS]; sums != NULL; sums = sums->next) {
        if (ray_object_id_equal(&sums->id, id) && sums->file_number == file_number) {
            sums->stamp = stamp;
            sums->since_ns = INT64_MAX; // what was verified is in a file that nobody else writes to
            found = true;
        }
    }
    pthread_mutex_unlock(&cache->lock);
    return found;
}

void ray__sums_trust(ray__sums_cache *cache, ray__sums *sums) {
    pthread_mutex_lock(&cache->lock);
    sums->since_ns = INT64_MAX;
    pthread_mutex_unlock(&cache->lock);
}

bool ray__sums_tell(ray__sums *sums) {
    return sums != NULL && ray__sums_are_whole(sums) && !atomic_exchange(&sums->is_told, true);
}

uint32_t ray__sums_prune(ray__sums_cache *cache, bool (*is_gone)(void *context, const ray_object_id *id), void *context) {
    uint32_t count = 0;
    pthread_mutex_lock(&cache->lock);
    for (uint32_t i = 0; i < BUCKETS; i++) {
        for (ray__sums **slot = &cache->buckets[i]; *slot != NULL;) {
            if ((*slot)->is_spare && is_gone(context, &(*slot)->id)) {
                drop(cache, slot);
                count++;
            } else {
                slot = &(*slot)->next;
            }
        }
    }
    pthread_mutex_unlock(&cache->lock);
    return count;
}

bool ray__sums_are_wanted(const ray__sums *sums) {
    return atomic_load_explicit(&sums->refs, memory_order_relaxed) != 2;
}

bool ray__sums_are_whole(const ray__sums *sums) {
    return atomic_load(&sums->known) == sums->count;
}

void ray__sums_forget(ray__sums_cache *cache, const ray_object_id *id) {
    pthread_mutex_lock(&cache->lock);
    for (ray__sums **slot = slot_of(cache, id, 0); *slot != NULL; slot = slot_of(cache, id, 0)) {
        drop(cache, slot);
    }
    pthread_mutex_unlock(&cache->lock);
}

uint64_t ray__sums_get(const ray__sums *sums, uint32_t index) {
    return sums == NULL || index >= sums->count ? 0 : atomic_load_explicit(&sums->values[index], memory_order_relaxed);
}

void ray__sums_set(ray__sums *sums, uint32_t index, uint64_t checksum) {
    // A sum is set once or, by those who hashed the chunk at the same time, to the same again.
    if (sums != NULL && index < sums->count && checksum != 0 &&
        atomic_exchange_explicit(&sums->values[index], checksum, memory_order_relaxed) == 0) {
        atomic_fetch_add(&sums->known, 1);
    }
}
