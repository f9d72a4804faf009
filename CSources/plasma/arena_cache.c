// SPDX-License-Identifier: Apache-2.0
// Small blocks that a client has just freed, kept for its next creates.
//
// What a client freed last is in its core's caches, data and descriptor; handed to another client it has to travel, and joined with what is
// free beside it, it has to be cut again. So each slot keeps a few small blocks. They stay cut out of the segment like blocks in use, but
// no entry owns them: a rebuild from the table finds them free, whoever died. They count as free, and a create that finds no room takes all
// of them back first, so no client's cache keeps another from what is free. Everything here needs the store's lock.
#include "plasma/arena_internal.h"

#define SMALL_UNITS (4096u / RAY__UNIT)
#define CACHED_MAX 16u             // blocks a slot keeps: a flush is short, and the descriptors last
#define LOOKS 4u                   // of these, the ones freed last, that a create compares with its size

// The descriptor of a cached block, or NULL: then the cache is damaged.
static ray__block *cached_at(ray_store *store, uint32_t index) {
    ray__block *block = index < store->layout.block_count ? &store->blocks[index] : NULL;
    uint64_t capacity = store->layout.capacity / RAY__UNIT;
    // What a client writes into must lie in the data segment, whatever the descriptor says.
    if (block == NULL || block->previous_free != RAY__BLOCK_CACHED || block->size > capacity || block->offset > capacity - block->size) {
        return NULL;
    }
    return block;
}

static void count_out(ray_store *store, ray__cache *cache, const ray__block *block) {
    cache->count--;
    store->arena->cached -= block->size;
    store->arena->cached_count--;
    store->arena->used += block->size;
}

static bool flush(ray_store *store, ray__cache *cache) {
    while (cache->count > 0) {
        uint32_t index = cache->head;
        ray__block *block = cached_at(store, index);
        if (block == NULL) {
            return false;
        }
        cache->head = block->next_free;
        RAY_CRASH_POINT();
        count_out(store, cache, block);
        block->previous_free = RAY__BLOCK_USED;
        RAY_CRASH_POINT();
        if (!ray__arena_join(store, ray__place_make(block->offset, index))) {
            return false;
        }
    }
    return true;
}

bool ray__arena_flush(ray_store *store, uint32_t slot) {
    return flush(store, &store->arena->caches[slot]);
}

static bool flush_all(ray_store *store) {
    for (uint32_t slot = 0; slot < RAY_SLOTS_MAX && store->arena->cached_count > 0; slot++) {
        if (!ray__arena_flush(store, slot)) {
            return false;
        }
    }
    return true;
}

// A block of exactly this size, out of the slot's own cache. False: none; *damaged as in ray__arena_take.
static bool take_cached(ray_store *store, uint64_t units, uint32_t entry, uint64_t *place, bool *damaged) {
    ray__cache *cache = &store->arena->caches[store->slot];
    uint32_t *link = &cache->head;
    for (uint32_t look = 0; look < LOOKS && look < cache->count; look++) {
        uint32_t index = *link;
        ray__block *block = cached_at(store, index);
        if (block == NULL) {
            *damaged = true;
            return false;
        }
        if (block->size == units) {
            *link = block->next_free;
            RAY_CRASH_POINT();
            count_out(store, cache, block);
            block->next_free = entry;
            block->previous_free = RAY__BLOCK_USED;
            *place = ray__place_make(block->offset, index);
            return true;
        }
        link = &block->next_free;
    }
    return false;
}

static bool take_from_all(ray_store *store, uint64_t units, uint32_t entry, uint64_t *place, bool *damaged) {
    // There are descriptors for as many blocks as entries, and what is free between; cached ones must leave enough.
    bool is_short = store->header->entry_count + store->arena->cached_count >= store->layout.entry_count_max;
    if (is_short && !flush_all(store)) {
        *damaged = true;
        return false;
    }
    if (ray__arena_cut(store, units, entry, place, damaged)) {
        return true;
    }
    if (*damaged || store->arena->cached_count == 0) {
        return false;
    }
    if (!flush_all(store)) {
        *damaged = true;
        return false;
    }
    return ray__arena_cut(store, units, entry, place, damaged);
}

// The same, but leaves the piece that is kept, or what there is of it: where no free piece is so large any more, the largest one stays as
// large as it is, and only the others are to be had.
static bool take_beside_kept(ray_store *store, uint64_t units, uint32_t entry, uint64_t *place, bool *damaged) {
    uint64_t kept = store->header->room_kept;
    if (!take_from_all(store, units, entry, place, damaged)) {
        return false;
    }
    if (__builtin_expect(kept == 0, 1) || ray__arena_has_free(store, kept, damaged)) {
        return true;
    }
    uint64_t left = ray__arena_largest_free(store);
    if (*damaged || !ray__arena_join(store, *place)) {
        *damaged = true;
        return false;
    }
    *place = RAY__PLACE_NONE;
    // The block just given back is the first that the same search finds.
    return ray__arena_largest_free(store) == left && ray__arena_cut(store, units, entry, place, damaged);
}

bool ray__arena_take(ray_store *store, uint64_t units, uint32_t entry, uint64_t *place, bool *damaged) {
    *damaged = false;
    if (units <= SMALL_UNITS && take_cached(store, units, entry, place, damaged)) {
        return true;
    }
    if (*damaged) {
        return false;
    }
    if (__builtin_expect(store->header->room_pass == 0, 1)) {
        return take_beside_kept(store, units, entry, place, damaged);
    }
    // Others wait for room: what comes free is theirs, but for what the node lets pass.
    if (!ray__room_lets_pass(store, units) || !take_beside_kept(store, units, entry, place, damaged)) {
        return false;
    }
    ray__room_passed(store, units);
    return true;
}

bool ray__arena_give(ray_store *store, uint64_t place) {
    uint32_t index = ray__place_block(place);
    ray__block *block = index < store->layout.block_count ? &store->blocks[index] : NULL;
    ray__arena *arena = store->arena;
    ray__cache *cache = &arena->caches[store->slot];
    if (block == NULL || block->previous_free != RAY__BLOCK_USED || block->offset != ray__place_offset(place) ||
        block->size > arena->used) {
        return false;
    }
    if (block->size > SMALL_UNITS || store->header->entry_count + arena->cached_count >= store->layout.entry_count_max) {
        return ray__arena_join(store, place);
    }
    if (cache->count >= CACHED_MAX && !flush(store, cache)) {
        return false;
    }
    arena->used -= block->size;
    arena->cached += block->size;
    arena->cached_count++;
    RAY_CRASH_POINT();
    block->next_free = cache->head;
    block->previous_free = RAY__BLOCK_CACHED;
    cache->head = index;
    cache->count++;
    return true;
}
