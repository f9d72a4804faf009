// SPDX-License-Identifier: Apache-2.0
#include "transfer/sums_internal.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

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
    int64_t mtime_ns;
    uint32_t chunk_size;
    uint32_t count;
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
static ray__sums **place_of(ray__sums_cache *cache, const ray_object_id *id, uint32_t chunk_size) {
    ray__sums **place = &cache->buckets[ray_object_id_hash(id) % BUCKETS];
    while (*place != NULL && (!ray_object_id_equal(&(*place)->id, id) || (chunk_size != 0 && (*place)->chunk_size != chunk_size))) {
        place = &(*place)->next;
    }
    return place;
}

static void drop(ray__sums_cache *cache, ray__sums **place) {
    ray__sums *gone = *place;
    *place = gone->next;
    cache->object_count--;
    cache->sum_count -= gone->count;
    ray__sums_release(gone);
}

// Rare, so a look at all of them will do.
static void drop_oldest(ray__sums_cache *cache) {
    ray__sums **oldest = NULL;
    for (uint32_t i = 0; i < BUCKETS; i++) {
        for (ray__sums **place = &cache->buckets[i]; *place != NULL; place = &(*place)->next) {
            if (oldest == NULL || (*place)->used_at < (*oldest)->used_at) {
                oldest = place;
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

ray__sums *ray__sums_acquire(ray__sums_cache *cache, const ray_object_id *id, uint64_t size_bytes, uint32_t chunk_size,
                              int64_t mtime_ns) {
    uint32_t count = ray__chunk_count(size_bytes, chunk_size);
    pthread_mutex_lock(&cache->lock);
    ray__sums **place = place_of(cache, id, chunk_size);
    if (*place != NULL && ((*place)->size_bytes != size_bytes || (*place)->mtime_ns != mtime_ns)) {
        drop(cache, place);
        place = place_of(cache, id, chunk_size);
    }
    ray__sums *sums = *place;
    if (sums == NULL && count <= SUMS_MAX) {
        while (cache->object_count >= OBJECTS_MAX || (cache->object_count > 0 && cache->sum_count + count > SUMS_MAX)) {
            drop_oldest(cache);
        }
        sums = calloc(1, sizeof *sums + count * sizeof sums->values[0]);
        if (sums != NULL) {
            atomic_init(&sums->refs, 1);
            sums->id = *id;
            sums->size_bytes = size_bytes;
            sums->mtime_ns = mtime_ns;
            sums->chunk_size = chunk_size;
            sums->count = count;
            ray__sums **bucket = &cache->buckets[ray_object_id_hash(id) % BUCKETS];
            sums->next = *bucket;
            *bucket = sums;
            cache->object_count++;
            cache->sum_count += count;
        }
    }
    if (sums != NULL) {
        atomic_fetch_add(&sums->refs, 1);
        sums->used_at = ++cache->tick;
    }
    pthread_mutex_unlock(&cache->lock);
    return sums;
}

void ray__sums_forget(ray__sums_cache *cache, const ray_object_id *id) {
    pthread_mutex_lock(&cache->lock);
    for (ray__sums **place = place_of(cache, id, 0); *place != NULL; place = place_of(cache, id, 0)) {
        drop(cache, place);
    }
    pthread_mutex_unlock(&cache->lock);
}

uint64_t ray__sums_get(const ray__sums *sums, uint32_t index) {
    return sums == NULL || index >= sums->count ? 0 : atomic_load_explicit(&sums->values[index], memory_order_relaxed);
}

void ray__sums_set(ray__sums *sums, uint32_t index, uint64_t checksum) {
    if (sums != NULL && index < sums->count) {
        atomic_store_explicit(&sums->values[index], checksum, memory_order_relaxed);
    }
}
