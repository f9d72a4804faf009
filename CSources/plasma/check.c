// SPDX-License-Identifier: Apache-2.0
// ray_plasma_check: the numbered invariants of docs/LAYOUT.md.
#include <sched.h>
#include <stdlib.h>

#include "base/clock_internal.h"
#include "plasma/arena_internal.h"

#define BROKEN(number, ...) ray__fail(RAY_POISONED, "invariant " number ": " __VA_ARGS__)

static ray_status check_header(ray_store *store) {
    ray__layout layout;
    ray_status status =
        ray__layout_read(store->header, store->layout.meta_size, store->layout.capacity, &layout);
    uint64_t reserved = ray__shm_load(&store->header->reserved_bytes);
    if (status != RAY_OK || layout.table_size != store->layout.table_size) {
        return BROKEN("H1", "the header was overwritten");
    }
    if (reserved > store->layout.capacity || reserved % RAY__PAGE != 0) {
        return BROKEN("H2", "%llu bytes are reserved, of %llu", (unsigned long long)reserved,
                      (unsigned long long)store->layout.capacity);
    }
    return RAY_OK;
}

// Under the lock.
static ray_status check_counters(ray_store *store) {
    if (store->header->entry_count > store->layout.entry_count_max) {
        return BROKEN("C1", "%u entries are in use, of %u", store->header->entry_count, store->layout.entry_count_max);
    }
    if (store->arena->capacity != store->layout.capacity / RAY__UNIT ||
        store->arena->block_count != store->layout.block_count || store->arena->used > store->arena->capacity ||
        store->arena->used + store->arena->free + store->arena->cached != store->arena->capacity) {
        return BROKEN("C2", "of %llu units %llu are used and %llu free or cached", (unsigned long long)store->arena->capacity,
                      (unsigned long long)store->arena->used,
                      (unsigned long long)(store->arena->free + store->arena->cached));
    }
    for (uint32_t i = 0; i < RAY_SLOTS_MAX; i++) {
        if (ray__shm_load32(&store->slots[i].state) > RAY__SLOT_ATTACHED) {
            return BROKEN("C3", "slot %u is in state %u", i, ray__shm_load32(&store->slots[i].state));
        }
    }
    return RAY_OK;
}

static void slots_in_use(ray_store *store, uint64_t *words) {
    for (uint32_t i = 0; i < RAY_SLOTS_MAX; i++) {
        if (ray__shm_load32(&store->slots[i].state) != RAY__SLOT_FREE) {
            words[i / 64] |= 1ull << i % 64;
        }
    }
}

static ray_status check_entry(ray_store *store, uint32_t index, const uint64_t *slots) {
    const ray__entry *entry = &store->table[index];
    uint64_t word = ray__shm_load(&entry->state);
    uint32_t state = ray__word_state(word);
    if (state > RAY_STATE_DELETING) {
        return BROKEN("T1", "entry %u is in state %u", index, state);
    }
    for (uint32_t i = 0; i < RAY__CLIENT_WORDS; i++) {
        uint64_t clients = slots[i] >> 1 | slots[i + 1] << 63;
        if (((ray__shm_load(&entry->pins[i]) | ray__shm_load(&entry->refs[i])) & ~clients) != 0) {
            return BROKEN("T2", "entry %u has a bit of a slot that nobody has", index);
        }
    }
    if (ray__state_is_free(state)) {
        return RAY_OK;
    }
    if (state == RAY_STATE_CREATING) {
        uint32_t creator = ray__word_creator(word);
        if (creator >= RAY_SLOTS_MAX || (slots[creator / 64] >> creator % 64 & 1u) == 0) {
            return BROKEN("T3", "entry %u is being made by slot %u, which nobody has", index, creator);
        }
    }
    ray_object_id id;
    uint32_t found;
    uint64_t seen;
    ray__entry_id(entry, &id);
    if (!ray__table_locate(store, &id, ray_object_id_hash(&id), &found, &seen) || found != index) {
        char name[RAY_OBJECT_ID_HEX_SIZE];
        ray_object_id_format(&id, name);
        return BROKEN("T4", "object %s lies in entry %u and is found in %u", name, index, found);
    }
    return RAY_OK;
}

static ray_status check_ways(ray_store *store) {
    uint8_t *passed = calloc(store->layout.table_size, 1);
    if (passed == NULL) {
        return ray__fail(RAY_OUT_OF_MEMORY, "no memory to check %u places", store->layout.table_size);
    }
    ray_status status = RAY_OK;
    ray__table_count_ways(store, passed);
    for (uint32_t i = 0; i < store->layout.table_size && status == RAY_OK; i++) {
        uint32_t said = ray__word_passed(ray__shm_load(&store->table[i].state));
        if (said != passed[i] && said != RAY__PASSED_MAX) {
            status = BROKEN("T6", "entry %u says that %u ways lead over it, there are %u", i, said, passed[i]);
        }
    }
    free(passed);
    return status;
}

static ray_status check_table(ray_store *store) {
    RAY_TRY(check_ways(store));
    uint64_t slots[RAY__SLOT_WORDS] = {0};
    slots_in_use(store, slots);
    uint32_t used = 0;
    for (uint32_t i = 0; i < store->layout.table_size; i++) {
        RAY_TRY(check_entry(store, i, slots));
        bool is_used = !ray__state_is_free(ray__word_state(ray__shm_load(&store->table[i].state)));
        bool is_said = (ray__shm_load(&store->used[i / 64]) >> i % 64 & 1u) != 0;
        if (is_used != is_said) {
            return BROKEN("T7", "entry %u is %s, its bit says otherwise", i, is_used ? "in use" : "empty");
        }
        used += is_used;
    }
    if (used != store->header->entry_count) {
        return BROKEN("T5", "%u entries are in use, %u were counted", used, store->header->entry_count);
    }
    for (uint32_t i = 0; i < RAY__WAIT_BUCKETS; i++) {
        for (uint32_t k = 0; k < RAY__SLOT_WORDS; k++) {
            if ((ray__shm_load(&store->buckets[i].waiting[k]) & ~slots[k]) != 0) {
                return BROKEN("W1", "a slot that nobody has waits in bucket %u", i);
            }
        }
    }
    return RAY_OK;
}

// Callers need no lock, so one may be between two levels: it gets time to finish.
static ray_status check_attention(ray_store *store) {
    uint64_t deadline = ray__now_ns() + 200000000u;
    for (int level = 0; level < 2; level++) {
        for (uint32_t i = 0; i < store->layout.attention_words[level]; i++) {
            while (ray__shm_load(&store->attention[level][i]) != 0 &&
                   (ray__shm_load(&store->attention[level + 1][i / 64]) >> i % 64 & 1u) == 0) {
                if (ray__now_ns() > deadline) {
                    return BROKEN("N1", "word %u of level %d calls, and level %d does not say so", i, level, level + 1);
                }
                sched_yield();
            }
        }
    }
    return RAY_OK;
}

ray_status ray_plasma_check(ray_store *store, uint32_t level) {
    RAY__GATE(store);
    RAY_TRY(ray__store_enter(store));
    RAY_TRY(check_header(store));
    if (level == 0) {
        return RAY_OK;
    }
    RAY_TRY(ray__store_lock(store));
    ray_status status = check_counters(store);
    if (status == RAY_OK && level >= 2) {
        status = ray__arena_check(store);
    }
    if (status == RAY_OK && level >= 2) {
        status = check_table(store);
    }
    ray__store_unlock(store);
    if (status == RAY_OK && level >= 2) {
        status = check_attention(store);
    }
    return status;
}
