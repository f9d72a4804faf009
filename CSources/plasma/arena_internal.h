// SPDX-License-Identifier: Apache-2.0
// The allocator of the data segment: two-level segregated fit over block descriptors that lie apart from the data.
//
// Every function needs the store's lock. A descriptor number that points nowhere is never followed: it marks the allocator
// as damaged, and the caller poisons the store.
#ifndef RAY_PLASMA_ARENA_INTERNAL_H
#define RAY_PLASMA_ARENA_INTERNAL_H

#include "plasma/store_internal.h"

void ray__arena_begin(ray_store *store);

// ---- arena_cache.c -------------------------------------------------------------------------------------------------------

// Takes units for an entry. False when there is no such run free; *damaged when the allocator's state is not sound.
bool ray__arena_take(ray_store *store, uint64_t units, uint32_t entry, uint64_t *place, bool *damaged);

// Gives a block back by its place. False when the place does not name a used block.
bool ray__arena_give(ray_store *store, uint64_t place);

// Joins what a slot has cached with what is free. False when the cache is damaged.
bool ray__arena_flush(ray_store *store, uint32_t slot);

static inline void ray__arena_caches_begin(ray__arena *arena) {
    for (uint32_t slot = 0; slot < RAY_SLOTS_MAX; slot++) {
        arena->caches[slot] = (ray__cache){RAY__NO_BLOCK, 0};
    }
}

// ---- arena.c, rebuild.c --------------------------------------------------------------------------------------------------

// The same as take and give, past the caches.
bool ray__arena_cut(ray_store *store, uint64_t units, uint32_t entry, uint64_t *place, bool *damaged);
bool ray__arena_join(ray_store *store, uint64_t place);

// Whether a free block has so many units.
bool ray__arena_has_free(ray_store *store, uint64_t units, bool *damaged);

// In a few steps: exact, unless very many free blocks are of the largest class; then at most a 32nd too little.
uint64_t ray__arena_largest_free(ray_store *store);

// Adds a free block to the sums, or takes it out. Its place and size do not change while it is in them.
void ray__arena_count_free(ray__arena *arena, const ray__block *block, bool add);

// Makes everything again from the object table.
ray_status ray__arena_rebuild(ray_store *store);

// Verifies descriptors, lists and sums against the table. RAY_POISONED names the first thing that is wrong.
ray_status ray__arena_check(ray_store *store);

// The class of free blocks that a size belongs to.
void ray__arena_class(uint64_t units, uint32_t *row, uint32_t *column);

static inline uint64_t ray__place_offset(uint64_t place) {
    return place >> 24;
}

static inline uint32_t ray__place_block(uint64_t place) {
    return (uint32_t)(place & RAY__PLACE_BLOCK_MASK);
}

static inline uint64_t ray__place_make(uint64_t offset, uint32_t block) {
    return offset << 24 | block;
}

#endif
