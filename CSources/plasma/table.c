// SPDX-License-Identifier: Apache-2.0
// The object table: open addressing, one place after the other.
//
// The way of an entry goes from the home of its id to where it lies. Every place counts the ways that lead over it, so a search
// stops at a place that has not the id and that no way leads over; there are no tombstones, and a search is as short after a
// million removals as before. (With tombstones, a third of the places in use and new ids all the time, no place was empty after a
// million rounds, and every search for an unknown id walked the whole table.) A search needs no lock: a way is counted before its entry can be
// seen and until after it cannot be, so a search can miss only what was inserted or removed while it ran. An entry never moves.
// A count that has reached its maximum stays there, until a repair counts anew: searches go a step farther, nothing worse.
//
// What a search compared may belong to the next owner of the place, so it looks at the generation once more.
#include <string.h>

#include "plasma/store_internal.h"

// An id as the entry keeps it.
typedef struct id_parts {
    uint64_t words[3];
    uint32_t tail;
} id_parts;

static void id_split(const ray_object_id *id, id_parts *parts) {
    memcpy(parts->words, id->bytes, sizeof parts->words);
    memcpy(&parts->tail, id->bytes + sizeof parts->words, sizeof parts->tail);
}

static bool id_is(const ray__entry *entry, const id_parts *parts) {
    // The index is what ids of one task differ in.
    return ray__shm_load32_relaxed(&entry->id_tail) == parts->tail &&
           ray__shm_load_relaxed(&entry->id_words[0]) == parts->words[0] &&
           ray__shm_load_relaxed(&entry->id_words[1]) == parts->words[1] &&
           ray__shm_load_relaxed(&entry->id_words[2]) == parts->words[2];
}

void ray__entry_id(const ray__entry *entry, ray_object_id *id) {
    for (size_t i = 0; i < 3; i++) {
        uint64_t word = ray__shm_load_relaxed(&entry->id_words[i]);
        memcpy(id->bytes + 8 * i, &word, sizeof word);
    }
    uint32_t tail = ray__shm_load32_relaxed(&entry->id_tail);
    memcpy(id->bytes + 24, &tail, sizeof tail);
}

bool ray__table_find(ray_store *store, const ray_object_id *id, uint64_t hash, uint32_t *index, uint64_t *word) {
    id_parts parts;
    id_split(id, &parts);
    uint32_t at = (uint32_t)hash & store->table_mask;
    for (uint32_t step = 0; step <= store->table_mask; step++, at = (at + 1) & store->table_mask) {
        const ray__entry *entry = &store->table[at];
        uint64_t seen = ray__shm_load_acquire(&entry->state);
        while (!ray__state_is_free(ray__word_state(seen)) && id_is(entry, &parts)) {
            ray__shm_fence_acquire();
            uint64_t again = ray__shm_load_acquire(&entry->state);
            if (ray__word_generation(again) == ray__word_generation(seen) &&
                !ray__state_is_free(ray__word_state(again))) {
                *index = at;
                *word = again;
                return true;
            }
            seen = again;
        }
        if (ray__word_passed(seen) == 0) {
            return false;
        }
    }
    return false;
}

bool ray__table_locate(ray_store *store, const ray_object_id *id, uint64_t hash, uint32_t *index, uint64_t *word) {
    id_parts parts;
    id_split(id, &parts);
    uint32_t at = (uint32_t)hash & store->table_mask;
    *index = UINT32_MAX;
    for (uint32_t step = 0; step <= store->table_mask; step++, at = (at + 1) & store->table_mask) {
        const ray__entry *entry = &store->table[at];
        uint64_t seen = ray__shm_load(&entry->state);
        if (ray__state_is_free(ray__word_state(seen))) {
            *index = *index == UINT32_MAX ? at : *index;
        } else if (id_is(entry, &parts)) {
            *index = at;
            *word = seen;
            return true;
        }
        if (ray__word_passed(seen) == 0 && *index != UINT32_MAX) {
            return false;
        }
    }
    return false;
}

void ray__table_prepare(ray_store *store, uint32_t index, const ray_object_id *id) {
    ray__entry *entry = &store->table[index];
    id_parts parts;
    id_split(id, &parts);
    for (size_t i = 0; i < 3; i++) {
        ray__shm_store_relaxed(&entry->id_words[i], parts.words[i]);
    }
    ray__shm_store32_relaxed(&entry->id_tail, parts.tail);
    ray__shm_store_relaxed(&entry->place, RAY__PLACE_NONE);
    ray__shm_store_relaxed(&entry->data_size, 0);
    ray__shm_store32_relaxed(&entry->metadata_size, 0);
    ray__shm_store_relaxed(&entry->access, 0);
    RAY_CRASH_POINT();
}

static uint32_t home_of(ray_store *store, uint32_t index) {
    ray_object_id id;
    ray__entry_id(&store->table[index], &id);
    return (uint32_t)ray_object_id_hash(&id) & store->table_mask;
}

// Only who has the lock changes the count; flags of the same word may change at any time.
static void set_passed(ray__entry *entry, uint32_t passed) {
    uint64_t word = ray__shm_load(&entry->state);
    uint64_t changed;
    do {
        changed = (word & ~(uint64_t)RAY__PASSED_MASK) | (uint64_t)passed << RAY__PASSED_SHIFT;
    } while (!ray__shm_swap_if(&entry->state, &word, changed));
    RAY_CRASH_POINT();
}

// Only who has the lock changes these bits; others look for entries by them.
void ray__table_set_used(ray_store *store, uint32_t index, bool is_used) {
    uint64_t *word = &store->used[index / 64];
    uint64_t bit = 1ull << index % 64;
    uint64_t bits = ray__shm_load_relaxed(word);
    ray__shm_store_relaxed(word, is_used ? bits | bit : bits & ~bit);
}

uint32_t ray__table_next(const ray_store *store, uint32_t at) {
    for (uint32_t word = at / 64; word < store->layout.table_size / 64; word++) {
        uint64_t bits = ray__shm_load_relaxed(&store->used[word]);
        if (word == at / 64) {
            bits &= ~0ull << at % 64;
        }
        if (bits != 0) {
            return word * 64 + (uint32_t)__builtin_ctzll(bits);
        }
    }
    return store->layout.table_size;
}

void ray__table_commit(ray_store *store, uint32_t index, uint32_t state, uint32_t flags) {
    for (uint32_t at = home_of(store, index); at != index; at = (at + 1) & store->table_mask) {
        uint32_t passed = ray__word_passed(ray__shm_load(&store->table[at].state));
        if (passed != RAY__PASSED_MAX) {
            set_passed(&store->table[at], passed + 1);
        }
    }
    store->header->entry_count++;
    RAY_CRASH_POINT();
    ray__table_set_used(store, index, true);
    RAY_CRASH_POINT();
    ray__entry *entry = &store->table[index];
    uint64_t before = ray__shm_load(&entry->state);
    uint64_t made = (ray__word_generation(before) + 1) << RAY__GENERATION_SHIFT | (uint64_t)store->slot << RAY__CREATOR_SHIFT | flags | state;
    // Of a free place, only the node's flags are changed without the lock.
    while (!ray__shm_swap_if(&entry->state, &before, made | (before & (RAY__PASSED_MASK | RAY__FLAGS_NODE)))) {
    }
    RAY_CRASH_POINT();
}

void ray__table_remove(ray_store *store, uint32_t index) {
    ray__entry *entry = &store->table[index];
    store->header->entry_count--;
    RAY_CRASH_POINT();
    // Another process may be adding a flag to an entry that it still believes in.
    uint64_t word = ray__shm_load(&entry->state);
    while (!ray__shm_swap_if(&entry->state, &word,
                             (word & (RAY__GENERATION_MASK | RAY__PASSED_MASK | RAY__FLAGS_NODE)) | RAY_STATE_EMPTY)) {
    }
    RAY_CRASH_POINT();
    ray__table_set_used(store, index, false);
    RAY_CRASH_POINT();
    for (uint32_t at = home_of(store, index); at != index; at = (at + 1) & store->table_mask) {
        uint32_t passed = ray__word_passed(ray__shm_load(&store->table[at].state));
        if (passed != RAY__PASSED_MAX && passed != 0) {
            set_passed(&store->table[at], passed - 1);
        }
    }
}

void ray__table_count_ways(ray_store *store, uint8_t *passed) {
    for (uint32_t i = 0; i < store->layout.table_size; i++) {
        if (ray__state_is_free(ray__word_state(ray__shm_load(&store->table[i].state)))) {
            continue;
        }
        for (uint32_t at = home_of(store, i); at != i; at = (at + 1) & store->table_mask) {
            passed[at] = (uint8_t)(passed[at] == RAY__PASSED_MAX ? RAY__PASSED_MAX : passed[at] + 1u);
        }
    }
}

void ray__table_set_ways(ray_store *store, const uint8_t *passed) {
    for (uint32_t i = 0; i < store->layout.table_size; i++) {
        if (ray__word_passed(ray__shm_load(&store->table[i].state)) != passed[i]) {
            set_passed(&store->table[i], passed[i]);
        }
    }
}

int32_t ray__entry_failure(const ray__entry *entry) {
    return (int32_t)(ray__shm_load_relaxed(&entry->access) & RAY__ACCESS_STATUS_MASK);
}

void ray__entry_set_failure(ray__entry *entry, ray_status failure) {
    uint64_t access = ray__shm_load_relaxed(&entry->access);
    uint64_t status = (uint64_t)failure & RAY__ACCESS_STATUS_MASK;
    while (!ray__shm_swap_if(&entry->access, &access, (access & ~(uint64_t)RAY__ACCESS_STATUS_MASK) | status)) {
    }
}

void ray__entry_touch(ray_store *store, ray__entry *entry) {
    uint64_t tick = ray__shm_load_relaxed(&store->header->tick);
    uint64_t access = ray__shm_load_relaxed(&entry->access);
    // Only when it changes, so that readers of a hot object share its line. Once is enough: who wins the race is as late.
    if (access >> RAY__ACCESS_TICK_SHIFT != tick) {
        ray__shm_swap_if(&entry->access, &access,
                         tick << RAY__ACCESS_TICK_SHIFT | (access & RAY__ACCESS_STATUS_MASK));
    }
}

uint64_t ray__entry_move(ray__entry *entry, uint32_t state, uint64_t clear, uint64_t set) {
    uint64_t word = ray__shm_load(&entry->state);
    uint64_t moved;
    do {
        moved = (ray__word_with_state(word, state) & ~clear) | set;
    } while (!ray__shm_swap_if(&entry->state, &word, moved));
    RAY_CRASH_POINT();
    return moved;
}
