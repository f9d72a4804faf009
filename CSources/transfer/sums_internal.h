// SPDX-License-Identifier: Apache-2.0
// Checksums of chunks, kept so that a chunk is hashed once however often it is sent.
//
// Bounded: the least recently opened objects are forgotten first. A file's sums are void when its size or time is another.
// Thread safety: all functions may be called from any thread.
#ifndef RAY_TRANSFER_SUMS_INTERNAL_H
#define RAY_TRANSFER_SUMS_INTERNAL_H

#include "raystore/id.h"

typedef struct ray__sums_cache ray__sums_cache;
typedef struct ray__sums ray__sums; // of one object, counted

ray_status ray__sums_cache_create(ray__sums_cache **cache) RAY_NODISCARD;
void ray__sums_cache_destroy(ray__sums_cache *cache);

// The sums of an object in chunks of this size, made if need be. NULL when there is no memory for them: then each chunk is hashed anew.
ray__sums *ray__sums_acquire(ray__sums_cache *cache, const ray_object_id *id, uint64_t size_bytes, uint32_t chunk_size,
                              int64_t mtime_ns);
void ray__sums_release(ray__sums *sums);
// In chunks of every size.
void ray__sums_forget(ray__sums_cache *cache, const ray_object_id *id);

// 0: not known. (A chunk whose sum is 0 is hashed every time.)
uint64_t ray__sums_get(const ray__sums *sums, uint32_t index);
void ray__sums_set(ray__sums *sums, uint32_t index, uint64_t checksum);

#endif
