// SPDX-License-Identifier: Apache-2.0
// The allocator made again from the object table, and checked against it.
//
// An entry that owns a block says where it lies (place) and how large it is (its sizes), and which descriptor is its own. Sorted by
// offset, what is between them is free. Nothing that the old allocator state said is looked at.
#include "plasma/arena_internal.h"

#include <stdlib.h>
#include <string.h>

typedef struct owned {
    uint64_t offset;
    uint64_t units;
    uint32_t block;
    uint32_t entry;
} owned;

static bool entry_owned(ray_store *store, uint32_t index, owned *found) {
    const ray__entry *entry = &store->table[index];
    uint64_t place = ray__shm_load_relaxed(&entry->place);
    uint64_t units;
    if (!ray__state_has_block(ray__word_state(ray__shm_load(&entry->state))) || place == RAY__PLACE_NONE) {
        return false;
    }
    // A size that cannot be is reported as a block that does not fit.
    if (!ray__object_units(ray__shm_load_relaxed(&entry->data_size), ray__shm_load32_relaxed(&entry->metadata_size),
                           &units)) {
        units = UINT64_MAX / 2;
    }
    *found = (owned){ray__place_offset(place), units, ray__place_block(place), index};
    return true;
}

static int by_offset(const void *a, const void *b) {
    uint64_t left = ((const owned *)a)->offset;
    uint64_t right = ((const owned *)b)->offset;
    return left < right ? -1 : left > right;
}

// All blocks that entries own, by offset. NULL when there is no memory, or none owned (*count is 0).
static owned *collect(ray_store *store, uint32_t *count) {
    uint32_t n = 0;
    owned one;
    for (uint32_t i = 0; i < store->layout.table_size; i++) {
        n += entry_owned(store, i, &one);
    }
    *count = n;
    owned *all = n == 0 ? NULL : malloc(n * sizeof *all);
    if (all == NULL) {
        return NULL;
    }
    n = 0;
    for (uint32_t i = 0; i < store->layout.table_size && n < *count; i++) {
        n += entry_owned(store, i, &all[n]);
    }
    qsort(all, n, sizeof *all, by_offset);
    return all;
}

static ray_status verify(ray_store *store, const owned *all, uint32_t count, uint8_t *taken, uint32_t *fresh) {
    uint64_t end = 0;
    uint64_t capacity = store->layout.capacity / RAY__UNIT;
    *fresh = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (all[i].offset < end || all[i].units > capacity || all[i].offset > capacity - all[i].units ||
            all[i].block >= store->layout.block_count || taken[all[i].block] != 0) {
            return ray__fail(RAY_POISONED, "entry %u claims data at unit %llu, %llu long, block %u: this cannot be",
                             all[i].entry, (unsigned long long)all[i].offset, (unsigned long long)all[i].units,
                             all[i].block);
        }
        end = all[i].offset + all[i].units;
        taken[all[i].block] = 1;
        *fresh = all[i].block >= *fresh ? all[i].block + 1 : *fresh;
    }
    return RAY_OK;
}

typedef struct chain {
    ray_store *store;
    uint32_t last;
} chain;

static void chain_add(chain *c, uint32_t index, uint64_t offset, uint64_t units) {
    ray__block *block = &c->store->blocks[index];
    *block = (ray__block){offset, units, c->last, RAY__NO_BLOCK, RAY__NO_BLOCK, RAY__NO_BLOCK};
    if (c->last == RAY__NO_BLOCK) {
        c->store->arena->first = index;
    } else {
        c->store->blocks[c->last].after = index;
    }
    c->last = index;
}

// A free block takes its descriptor from those that nobody owns; there are enough, see ray__layout_make.
static void chain_add_free(chain *c, uint64_t offset, uint64_t units) {
    ray__arena *arena = c->store->arena;
    uint32_t index = arena->unused;
    if (index != RAY__NO_BLOCK) {
        arena->unused = c->store->blocks[index].next_free;
    } else {
        index = arena->fresh++;
    }
    chain_add(c, index, offset, units);
    uint32_t row;
    uint32_t column;
    ray__arena_class(units, &row, &column);
    uint32_t head = arena->heads[row][column];
    c->store->blocks[index].next_free = head;
    if (head != RAY__NO_BLOCK) {
        c->store->blocks[head].previous_free = index;
    }
    arena->heads[row][column] = index;
    arena->class_bitmap[row] |= 1u << column;
    arena->row_bitmap |= 1ull << row;
    ray__arena_count_free(arena, &c->store->blocks[index], true);
}

static void lay_out(ray_store *store, const owned *all, uint32_t count, const uint8_t *taken, uint32_t fresh) {
    ray__arena *arena = store->arena;
    memset(arena, 0, sizeof *arena);
    memset(arena->heads, 0xff, sizeof arena->heads);
    ray__arena_caches_begin(arena);
    arena->capacity = store->layout.capacity / RAY__UNIT;
    arena->block_count = store->layout.block_count;
    arena->fresh = fresh;
    arena->unused = RAY__NO_BLOCK;
    arena->first = RAY__NO_BLOCK;
    for (uint32_t i = fresh; i-- > 0;) {
        if (taken[i] == 0) {
            store->blocks[i].next_free = arena->unused;
            arena->unused = i;
        }
    }
    RAY_CRASH_POINT();
    chain c = {store, RAY__NO_BLOCK};
    uint64_t end = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (all[i].offset > end) {
            chain_add_free(&c, end, all[i].offset - end);
        }
        chain_add(&c, all[i].block, all[i].offset, all[i].units);
        store->blocks[all[i].block].previous_free = RAY__BLOCK_USED;
        store->blocks[all[i].block].next_free = all[i].entry;
        arena->used += all[i].units;
        end = all[i].offset + all[i].units;
        RAY_CRASH_POINT();
    }
    if (end < arena->capacity) {
        chain_add_free(&c, end, arena->capacity - end);
    }
}

ray_status ray__arena_rebuild(ray_store *store) {
    uint32_t count;
    uint32_t fresh = 0;
    owned *all = collect(store, &count);
    uint8_t *taken = calloc(store->layout.block_count, 1);
    ray_status status = RAY_OK;
    if (taken == NULL || (all == NULL && count != 0)) {
        status = ray__fail(RAY_OUT_OF_MEMORY, "no memory to rebuild the store's allocator for %u objects", count);
    } else {
        status = verify(store, all, count, taken, &fresh);
    }
    if (status == RAY_OK) {
        lay_out(store, all, count, taken, fresh);
    }
    free(taken);
    free(all);
    return status;
}

// ---- check -------------------------------------------------------------------------------------------------------------

typedef struct tally {
    ray__arena free_sums; // what the arena's should be
    uint64_t units;
    uint64_t used_units;
    uint64_t cached_units;
    uint32_t used;
    uint32_t free;
    uint32_t cached;
} tally;

#define BROKEN(number, ...) ray__fail(RAY_POISONED, "invariant " number ": " __VA_ARGS__)

static ray_status check_chain(ray_store *store, tally *sum) {
    uint32_t before = RAY__NO_BLOCK;
    bool before_free = false;
    for (uint32_t index = store->arena->first; index != RAY__NO_BLOCK;) {
        if (index >= store->layout.block_count || sum->used + sum->free + sum->cached > store->layout.block_count) {
            return BROKEN("A1", "the chain of blocks leads to block %u", index);
        }
        const ray__block *block = &store->blocks[index];
        if (block->before != before || block->offset != sum->units || block->size == 0) {
            return BROKEN("A1", "block %u at unit %llu does not follow block %u, which ends at %llu", index,
                          (unsigned long long)block->offset, before, (unsigned long long)sum->units);
        }
        bool is_cached = block->previous_free == RAY__BLOCK_CACHED;
        bool is_free = !is_cached && block->previous_free != RAY__BLOCK_USED;
        if (is_free && before_free) {
            return BROKEN("A2", "blocks %u and %u are both free and not joined", before, index);
        }
        owned owner;
        if (!is_free && !is_cached && (block->next_free >= store->layout.table_size ||
                         !entry_owned(store, block->next_free, &owner) || owner.block != index ||
                         owner.offset != block->offset || owner.units != block->size)) {
            return BROKEN("A3", "block %u is not what its entry %u says", index, block->next_free);
        }
        if (is_free) {
            ray__arena_count_free(&sum->free_sums, block, true);
        }
        sum->used += !is_free && !is_cached;
        sum->free += is_free;
        sum->cached += is_cached;
        sum->units += block->size;
        sum->used_units += is_free || is_cached ? 0 : block->size;
        sum->cached_units += is_cached ? block->size : 0;
        before_free = is_free;
        before = index;
        index = block->after;
    }
    return RAY_OK;
}

static ray_status check_list(ray_store *store, uint32_t row, uint32_t column, uint32_t *found) {
    uint32_t previous = RAY__NO_BLOCK;
    uint32_t index = store->arena->heads[row][column];
    if ((index != RAY__NO_BLOCK) != ((store->arena->class_bitmap[row] >> column & 1u) != 0)) {
        return BROKEN("A4", "the bitmap of free blocks is wrong in class %u.%u", row, column);
    }
    while (index != RAY__NO_BLOCK) {
        uint32_t right_row = RAY__CLASS_ROWS;
        uint32_t right_column = RAY__CLASSES;
        if (index < store->layout.block_count) {
            ray__arena_class(store->blocks[index].size, &right_row, &right_column);
        }
        if (right_row != row || right_column != column || store->blocks[index].previous_free != previous ||
            ++*found > store->layout.block_count) {
            return BROKEN("A4", "free block %u does not belong in class %u.%u", index, row, column);
        }
        previous = index;
        index = store->blocks[index].next_free;
    }
    return RAY_OK;
}

// What is cached is in one cache, and counted.
static ray_status check_caches(const ray_store *store, const tally *sum) {
    uint32_t found = 0;
    for (uint32_t slot = 0; slot < RAY_SLOTS_MAX; slot++) {
        uint32_t index = store->arena->caches[slot].head;
        uint32_t count = 0;
        for (; index < store->layout.block_count && count <= store->layout.block_count; count++) {
            if (store->blocks[index].previous_free != RAY__BLOCK_CACHED) {
                return BROKEN("A8", "slot %u caches block %u, which is not a cached one", slot, index);
            }
            index = store->blocks[index].next_free;
        }
        if (count != store->arena->caches[slot].count || index != RAY__NO_BLOCK) {
            return BROKEN("A8", "slot %u caches %u blocks, not %u", slot, count, store->arena->caches[slot].count);
        }
        found += count;
    }
    if (found != sum->cached || store->arena->cached_count != found || store->arena->cached != sum->cached_units) {
        return BROKEN("A8", "%u blocks of %llu units are cached, %u are in caches; %u and %llu are counted", sum->cached,
                      (unsigned long long)sum->cached_units, found, store->arena->cached_count,
                      (unsigned long long)store->arena->cached);
    }
    return RAY_OK;
}

ray_status ray__arena_check(ray_store *store) {
    const ray__arena *arena = store->arena;
    tally sum = {0};
    RAY_TRY(check_chain(store, &sum));
    if (sum.units != arena->capacity || sum.used_units != arena->used) {
        return BROKEN("A5", "blocks cover %llu of %llu units, %llu of them used, not %llu",
                      (unsigned long long)sum.units, (unsigned long long)arena->capacity,
                      (unsigned long long)sum.used_units, (unsigned long long)arena->used);
    }
    if (arena->free != sum.free_sums.free || arena->small_free != sum.free_sums.small_free ||
        arena->free_count != sum.free_sums.free_count) {
        return BROKEN("A7", "%u free blocks have %llu units, %llu of them in small ones; %u, %llu and %llu are counted",
                      sum.free_sums.free_count, (unsigned long long)sum.free_sums.free,
                      (unsigned long long)sum.free_sums.small_free, arena->free_count, (unsigned long long)arena->free,
                      (unsigned long long)arena->small_free);
    }
    RAY_TRY(check_caches(store, &sum));
    uint32_t listed = 0;
    for (uint32_t row = 0; row < RAY__CLASS_ROWS; row++) {
        if ((arena->class_bitmap[row] != 0) != ((arena->row_bitmap >> row & 1u) != 0)) {
            return BROKEN("A4", "the bitmap of rows is wrong in row %u", row);
        }
        for (uint32_t column = 0; column < RAY__CLASSES; column++) {
            RAY_TRY(check_list(store, row, column, &listed));
        }
    }
    uint32_t unused = 0;
    for (uint32_t i = arena->unused; i < store->layout.block_count && unused <= store->layout.block_count; unused++) {
        i = store->blocks[i].next_free;
    }
    if (listed != sum.free || arena->fresh > store->layout.block_count ||
        sum.used + sum.free + sum.cached + unused != arena->fresh) {
        return BROKEN("A6", "%u blocks used, %u free, %u listed free, %u cached, %u unused do not make %u", sum.used, sum.free,
                      listed, sum.cached, unused, arena->fresh);
    }
    uint32_t owners = 0;
    owned one;
    for (uint32_t i = 0; i < store->layout.table_size; i++) {
        owners += entry_owned(store, i, &one);
    }
    return owners == sum.used ? RAY_OK : BROKEN("A3", "%u entries own %u blocks", owners, sum.used);
}
