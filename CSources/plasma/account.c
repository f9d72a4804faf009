// SPDX-License-Identifier: Apache-2.0
// Accounting: what is in the store, who made it, who keeps it.
//
// The arena keeps its sums as it goes, so a consistent answer takes the lock for a few steps. Whatever needs a look at each entry is found
// without the lock, from a table that changes meanwhile. Nothing here changes what the store does: an entry's origin is for people.
#include <stdlib.h>
#include <string.h>

#include "base/clock_internal.h"
#include "plasma/arena_internal.h"

// What ray_store_stats was at first.
#define STATS_SIZE_MIN offsetof(ray_store_stats, free_block_count)

// ---- origin ------------------------------------------------------------------------------------------------------------

uint32_t ray__origin_now(void) {
    return (uint32_t)(ray__now_coarse_ns() / RAY__ORIGIN_TENTH_NS); // 13 years before it wraps
}

void ray__origin_set(ray_store *store, uint32_t index) {
    int64_t pid = store->slots[store->slot].pid;
    ray__origin *origin = &store->origins[index];
    ray__shm_store32_relaxed(&origin->created, ray__origin_now());
    ray__shm_store32_relaxed(&origin->pid, pid > 0 && pid < UINT32_MAX ? (uint32_t)pid : 0);
}

static uint64_t age_since(uint32_t then, uint32_t now) {
    return then < now ? (uint64_t)(now - then) * RAY__ORIGIN_TENTH_NS : 0;
}

// ---- objects -----------------------------------------------------------------------------------------------------------

static uint32_t count_bits(const uint64_t *words) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < RAY__CLIENT_WORDS; i++) {
        count += (uint32_t)__builtin_popcountll(ray__shm_load_relaxed(&words[i]));
    }
    return count;
}

// The bytes of the block that the entry owns.
static uint64_t block_bytes(const ray__entry *entry, uint32_t state) {
    uint64_t units;
    if (!ray__state_has_block(state) || ray__shm_load_relaxed(&entry->place) == RAY__PLACE_NONE ||
        !ray__object_units(ray__shm_load_relaxed(&entry->data_size), ray__shm_load32_relaxed(&entry->metadata_size),
                           &units)) {
        return 0;
    }
    return units * RAY__UNIT;
}

void ray__entry_info(ray_store *store, uint32_t index, uint64_t word, ray_object_info *info) {
    const ray__entry *entry = &store->table[index];
    const ray__origin *origin = &store->origins[index];
    *info = (ray_object_info){0};
    ray__entry_id(entry, &info->id);
    info->state = ray__word_state(word);
    info->creator_slot = ray__word_creator(word);
    bool failed = info->state == RAY_STATE_FAILED || info->state == RAY_STATE_DELETING;
    info->failure = failed ? ray__entry_failure(entry) : RAY_OK;
    info->data_size = ray__shm_load_relaxed(&entry->data_size);
    info->metadata_size = ray__shm_load32_relaxed(&entry->metadata_size);
    info->pin_slot_count = count_bits(entry->pins) + ((word & RAY__FLAG_NODE_PIN) != 0);
    info->node_has_ref = (word & RAY__FLAG_NODE_REF) != 0;
    info->ref_slot_count = count_bits(entry->refs);
    info->access_tick = ray__shm_load_relaxed(&entry->access) >> RAY__ACCESS_TICK_SHIFT;
    info->memory_bytes = block_bytes(entry, info->state);
    info->age_ns = age_since(ray__shm_load32_relaxed(&origin->created), ray__origin_now());
    info->creator_pid = ray__shm_load32_relaxed(&origin->pid);
}

// ---- the store -----------------------------------------------------------------------------------------------------------

static void count_objects(ray_store *store, ray_store_stats *found) {
    for (uint32_t i = ray__table_next(store, 0); i < store->layout.table_size; i = ray__table_next(store, i + 1)) {
        const ray__entry *entry = &store->table[i];
        uint32_t state = ray__word_state(ray__shm_load_relaxed(&entry->state));
        found->sealed_count += state == RAY_STATE_SEALED;
        found->creating_count += state == RAY_STATE_CREATING;
        if (!ray__state_is_free(state) && ray__pins_any(entry)) {
            found->pinned_bytes += block_bytes(entry, state);
        }
    }
}

uint64_t ray_store_used_bytes(const ray_store *store) {
    RAY__GATE(store);
    return ray__shm_load_relaxed(&store->arena->used) * RAY__UNIT;
}

ray_status ray_store_stats_read(ray_store *store, ray_store_stats *stats) {
    RAY__GATE(store);
    RAY_TRY(ray__store_enter(store));
    if (stats->struct_size < STATS_SIZE_MIN) {
        return ray__fail(RAY_INVALID_ARGUMENT, "ray_store_stats.struct_size is %u, not %zu: set it before the call", stats->struct_size,
                         sizeof *stats);
    }
    ray_store_stats found = {.struct_size = stats->struct_size < sizeof found ? stats->struct_size : sizeof found};
    found.entry_count_max = store->layout.entry_count_max;
    found.capacity_bytes = store->layout.capacity;
    const ray__arena *arena = store->arena;
    RAY_TRY(ray__store_lock(store));
    // The caller's own; what others cache is free, and in pieces.
    if (!ray__arena_flush(store, store->slot)) {
        ray__store_unlock(store);
        return ray__store_poison(store, "the cache of slot %u leads nowhere", store->slot);
    }
    found.entry_count = store->header->entry_count;
    found.used_bytes = arena->used * RAY__UNIT;
    found.free_bytes = (arena->free + arena->cached) * RAY__UNIT;
    found.free_block_count = arena->free_count + arena->cached_count;
    found.unusable_for_1mib_bytes = (arena->small_free + arena->cached) * RAY__UNIT;
    found.largest_free_bytes = ray__arena_largest_free(store);
    ray__store_unlock(store);
    found.reserved_bytes = ray__shm_load(&store->header->reserved_bytes);
    for (uint32_t i = 0; i < RAY_SLOTS_MAX; i++) {
        found.client_count += ray__shm_load32(&store->slots[i].state) != RAY__SLOT_FREE;
    }
    count_objects(store, &found);
    memcpy(stats, &found, found.struct_size);
    return RAY_OK;
}

// ---- clients -----------------------------------------------------------------------------------------------------------

typedef struct client_rows {
    ray_store_client rows[RAY_CLIENT_ROWS_MAX]; // by slot; the last is of those that have gone
    uint32_t came[RAY_SLOTS_MAX];
    uint64_t in_use[RAY__SLOT_WORDS];
} client_rows;

// The row of the client that made the entry. A slot is given again and again: it made the entry only if it has come before that, as the same
// process.
static ray_store_client *creator_row(client_rows *all, const ray__origin *origin, uint32_t slot) {
    bool is_there = slot < RAY_SLOTS_MAX && (all->in_use[slot / 64] >> slot % 64 & 1u) != 0 &&
                    all->rows[slot].pid == ray__shm_load32_relaxed(&origin->pid) &&
                    all->came[slot] <= ray__shm_load32_relaxed(&origin->created);
    return &all->rows[is_there ? slot : RAY_SLOTS_MAX];
}

static void count_pin(ray_store_client *row, uint64_t bytes) {
    row->pinned_count++;
    row->pinned_bytes += bytes;
}

static void count_ref(ray_store_client *row, uint64_t bytes) {
    row->ref_count++;
    row->ref_bytes += bytes;
}

static void count_entry(ray_store *store, uint32_t index, client_rows *all) {
    const ray__entry *entry = &store->table[index];
    uint64_t word = ray__shm_load_acquire(&entry->state);
    uint32_t state = ray__word_state(word);
    if (ray__state_is_free(state)) {
        return;
    }
    uint64_t bytes = block_bytes(entry, state);
    if (ray__state_has_block(state)) {
        ray_store_client *creator = creator_row(all, &store->origins[index], ray__word_creator(word));
        creator->created_count++;
        creator->created_bytes += bytes;
        creator->unsealed_bytes += state == RAY_STATE_CREATING ? bytes : 0;
    }
    if ((word & RAY__FLAG_NODE_PIN) != 0) {
        count_pin(&all->rows[RAY_NODE_SLOT], bytes);
    }
    if ((word & RAY__FLAG_NODE_REF) != 0) {
        count_ref(&all->rows[RAY_NODE_SLOT], bytes);
    }
    for (uint32_t k = 0; k < RAY__CLIENT_WORDS; k++) {
        ray_store_client *first = &all->rows[k * 64 + 1];
        for (uint64_t pins = ray__shm_load_relaxed(&entry->pins[k]); pins != 0; pins &= pins - 1) {
            count_pin(first + __builtin_ctzll(pins), bytes);
        }
        for (uint64_t refs = ray__shm_load_relaxed(&entry->refs[k]); refs != 0; refs &= refs - 1) {
            count_ref(first + __builtin_ctzll(refs), bytes);
        }
    }
}

// Under the lock, which the node has while it gives a slot, so that pid, serial and time are of one client.
static void begin_rows(ray_store *store, client_rows *all) {
    uint32_t now = ray__origin_now();
    for (uint32_t i = 0; i < RAY_SLOTS_MAX; i++) {
        const ray__slot *slot = &store->slots[i];
        bool in_use = ray__shm_load32(&slot->state) != RAY__SLOT_FREE;
        all->in_use[i / 64] |= (uint64_t)in_use << i % 64;
        all->came[i] = slot->came;
        all->rows[i] = (ray_store_client){
            .slot = i, .serial = ray__shm_load32(&slot->serial), .pid = slot->pid, .age_ns = age_since(slot->came, now)};
    }
    all->rows[RAY_SLOTS_MAX] = (ray_store_client){.slot = RAY_CLIENT_GONE};
}

ray_status ray_store_clients_list(ray_store *store, ray_store_client *infos, uint32_t capacity, uint32_t *count) {
    RAY__GATE(store);
    *count = 0;
    RAY_TRY(ray__store_enter(store));
    if (capacity < RAY_CLIENT_ROWS_MAX) {
        return ray__fail(RAY_INVALID_ARGUMENT, "list the clients with room for %u rows: there may be %u", capacity,
                         RAY_CLIENT_ROWS_MAX);
    }
    client_rows *all = calloc(1, sizeof *all);
    if (all == NULL) {
        return ray__fail(RAY_OUT_OF_MEMORY, "no memory to list the store's clients");
    }
    ray_status status = ray__store_lock(store);
    if (status == RAY_OK) {
        begin_rows(store, all);
        ray__store_unlock(store);
        for (uint32_t i = ray__table_next(store, 0); i < store->layout.table_size; i = ray__table_next(store, i + 1)) {
            count_entry(store, i, all);
        }
        for (uint32_t i = 0; i < RAY_CLIENT_ROWS_MAX; i++) {
            bool shown = i == RAY_SLOTS_MAX ? all->rows[i].created_count != 0 : (all->in_use[i / 64] >> i % 64 & 1u) != 0;
            if (shown) {
                infos[(*count)++] = all->rows[i];
            }
        }
    }
    free(all);
    return status;
}
