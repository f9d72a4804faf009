// SPDX-License-Identifier: Apache-2.0
// Checksums of chunks, kept so that a chunk is hashed once however often it is sent.
//
// Bounded: the least recently opened objects are forgotten first. What is kept is kept with a *stamp*: of a file, what it is recognised by;
// of an object in the store, which value of its id it is. Under another size or stamp the sums are void.
// Thread safety: all functions may be called from any thread.
#ifndef RAY_TRANSFER_SUMS_INTERNAL_H
#define RAY_TRANSFER_SUMS_INTERNAL_H

#include <stdbool.h>

#include "raystore/id.h"

typedef struct ray__sums_cache ray__sums_cache;
typedef struct ray__sums ray__sums; // of one object, counted

ray_status ray__sums_cache_create(ray__sums_cache **cache) RAY_NODISCARD;
void ray__sums_cache_destroy(ray__sums_cache *cache);

typedef struct ray__sums_key {
    const ray_object_id *id;
    uint64_t size_bytes;
    uint32_t chunk_size;
    uint64_t stamp;
    int64_t settled_ns; // by the wall clock: sums that were begun before may be of bytes that were changed since without a trace; 0: none
} ray__sums_key;

// Made if need be. NULL when there is no memory for them: then each chunk is hashed anew.
ray__sums *ray__sums_acquire(ray__sums_cache *cache, const ray__sums_key *key);
// NULL if there are none.
ray__sums *ray__sums_peek(ray__sums_cache *cache, const ray__sums_key *key);

// The same for whoever computes them before anybody asks: not for what is known or hashed by others at this moment, and not in the place of others.
enum ray__spare { RAY__SPARE_TAKEN, RAY__SPARE_NEEDLESS, RAY__SPARE_NO_ROOM };
enum ray__spare ray__sums_acquire_spare(ray__sums_cache *cache, const ray__sums_key *key, ray__sums **sums);
// Takes over what others have computed, one for each chunk. False: there is no room for them.
bool ray__sums_learn(ray__sums_cache *cache, const ray__sums_key *key, const uint64_t *values);
// Forgets those that were made so and never used, of objects that are gone. Answers how many.
uint32_t ray__sums_prune(ray__sums_cache *cache, bool (*is_gone)(void *context, const ray_object_id *id), void *context);
// To who acquired spare ones: whether somebody opened the object meanwhile, or the sums were dropped. Takes no lock.
bool ray__sums_are_wanted(const ray__sums *sums);
bool ray__sums_are_whole(const ray__sums *sums);

// Once, of sums that are whole: to whoever keeps them elsewhere.
bool ray__sums_tell(ray__sums *sums);

// They are of what was verified as it was written to a file of this number. When that gets its place, name and times, they get its stamp.
void ray__sums_of_file(ray__sums *sums, uint64_t file_number);
// They are known to be right, however young the file is.
void ray__sums_trust(ray__sums_cache *cache, ray__sums *sums);
// False: there are none.
bool ray__sums_restamp(ray__sums_cache *cache, const ray_object_id *id, uint64_t file_number, uint64_t stamp);

void ray__sums_release(ray__sums *sums);
// In chunks of every size.
void ray__sums_forget(ray__sums_cache *cache, const ray_object_id *id);

// 0: not known. (A chunk whose sum is 0 is hashed every time.)
uint64_t ray__sums_get(const ray__sums *sums, uint32_t index);
void ray__sums_set(ray__sums *sums, uint32_t index, uint64_t checksum);

#endif
