// SPDX-License-Identifier: Apache-2.0
// How entries change and end. Everything here runs under the store's lock; each function commits with one store of the state word
// (or of place, for an entry that stays to be noticed), and gives the block back after that: a death in between is repaired by the
// rebuild, which finds a block that nobody owns.
#include "plasma/arena_internal.h"

uint64_t ray__metadata_offset(uint64_t data_size) {
    return (data_size + RAY__UNIT - 1) / RAY__UNIT * RAY__UNIT;
}

bool ray__object_units(uint64_t data_size, uint32_t metadata_size, uint64_t *units) {
    if (data_size > RAY__CAPACITY_MAX) {
        return false;
    }
    uint64_t bytes = metadata_size == 0 ? data_size : ray__metadata_offset(data_size) + metadata_size;
    uint64_t step = bytes >= RAY__LARGE_BYTES ? RAY__PAGE : RAY__UNIT;
    *units = (bytes + step - 1) / step * step / RAY__UNIT;
    return true;
}

static void give_block(ray_store *store, uint64_t place) {
    if (place == RAY__PLACE_NONE) {
        return;
    }
    if (!ray__arena_give(store, place)) {
        (void)ray__store_poison(store, "block %u was given back and is not in use", ray__place_block(place));
    }
    if (__builtin_expect(ray__shm_load32_relaxed(&store->header->room_wanted) != 0, 0)) {
        ray__room_freed(store);
    }
}

// A watched entry that would go stays, without a value, until the node has seen it.
static void keep_for_node(ray_store *store, uint32_t index, uint64_t place) {
    ray__entry *entry = &store->table[index];
    if (ray__entry_failure(entry) == RAY_OK) {
        ray__entry_set_failure(entry, RAY_OBJECT_FREED);
    }
    bool had_block = ray__state_has_block(ray__word_state(ray__shm_load(&entry->state)));
    if (!had_block) {
        ray__shm_store_release(&entry->place, RAY__PLACE_NONE);
        RAY_CRASH_POINT();
    }
    ray__entry_move(entry, RAY_STATE_DELETING, RAY__FLAG_DOOMED, 0);
    ray__shm_store_release(&entry->place, RAY__PLACE_NONE);
    RAY_CRASH_POINT();
    give_block(store, had_block ? place : RAY__PLACE_NONE);
    ray__attention(store, index);
}

// Nobody has a ref now, but without the lock somebody may take one as long as the entry is not ending: they set their bit and look
// at the state. So the state ends first and the bits are looked at again; one of the two sees the other. DOOMED tells the repair after
// a death here that this is no eviction. An entry without a value must own no block before it is ending, for ending entries own theirs.
static void refuse_refs(ray__entry *entry, uint64_t word) {
    uint32_t state = ray__word_state(word);
    if (state == RAY_STATE_DELETING) {
        return;
    }
    if (!ray__state_has_block(state)) {
        ray__shm_store_release(&entry->place, RAY__PLACE_NONE);
        RAY_CRASH_POINT();
    }
    ray__entry_move(entry, RAY_STATE_DELETING, 0, RAY__FLAG_DOOMED);
}

void ray__entry_finish(ray_store *store, uint32_t index, uint32_t state) {
    ray__entry *entry = &store->table[index];
    uint64_t word = ray__shm_load(&entry->state);
    uint64_t place = ray__state_has_block(ray__word_state(word)) ? ray__shm_load(&entry->place) : RAY__PLACE_NONE;
    if (!ray__refs_any(entry)) {
        refuse_refs(entry, word);
    }
    if (ray__refs_any(entry)) {
        uint64_t moved = ray__entry_move(entry, state, RAY__FLAG_DOOMED | RAY__CREATOR_MASK, 0);
        give_block(store, place);
        // Also who waits for an object that its maker gave up: it has to be asked for elsewhere now.
        ray__wake(store, entry);
        if (state == RAY_STATE_FAILED && (moved & RAY__FLAG_WATCHED) != 0) {
            ray__attention(store, index);
        }
        // Who set a ref bit and found the entry ending takes it back, and looks then whether it was the last.
        return;
    }
    if ((word & RAY__FLAG_WATCHED) != 0) {
        keep_for_node(store, index, place);
    } else {
        ray__table_remove(store, index);
        give_block(store, place);
    }
    // A value that was sealed has no waiters. The id of a removed entry stays readable as long as the lock is held.
    if (ray__word_state(word) != RAY_STATE_SEALED && ray__word_state(word) != RAY_STATE_DELETING) {
        ray__wake(store, entry);
    }
}

void ray__entry_end(ray_store *store, uint32_t index, ray_status failure) {
    ray__entry *entry = &store->table[index];
    uint64_t word = ray__shm_load(&entry->state);
    switch (ray__word_state(word)) {
    case RAY_STATE_CREATING:
        if ((word & RAY__FLAG_DOOMED) != 0) {
            return;
        }
        ray__entry_set_failure(entry, failure);
        RAY_CRASH_POINT();
        // The creator may seal at this moment: then it is sealed and ends as such.
        while (ray__word_state(word) == RAY_STATE_CREATING) {
            if (ray__shm_swap_if(&entry->state, &word, word | RAY__FLAG_DOOMED)) {
                RAY_CRASH_POINT();
                ray__wake(store, entry);
                return;
            }
        }
        ray__entry_end(store, index, failure);
        return;
    case RAY_STATE_SEALED:
        ray__entry_set_failure(entry, failure);
        RAY_CRASH_POINT();
        ray__entry_move(entry, RAY_STATE_DELETING, 0, 0);
        if (!ray__pins_any(entry)) {
            ray__entry_finish(store, index, RAY_STATE_FAILED);
        }
        return;
    case RAY_STATE_REMOTE:
    case RAY_STATE_SPILLED:
        ray__entry_set_failure(entry, failure);
        RAY_CRASH_POINT();
        ray__entry_finish(store, index, RAY_STATE_FAILED);
        return;
    case RAY_STATE_FAILED:
        if (!ray__refs_any(entry)) {
            ray__entry_finish(store, index, RAY_STATE_FAILED);
        }
        return;
    default: // deleting already, or gone
        return;
    }
}

void ray__entry_forget(ray_store *store, uint32_t index) {
    ray__entry *entry = &store->table[index];
    uint64_t word = ray__shm_load(&entry->state);
    uint32_t state = ray__word_state(word);
    if (ray__state_is_free(state) || state == RAY_STATE_DELETING || ray__refs_any(entry)) {
        return;
    }
    // A value that never had a ref stays until it is deleted. Without a value there is nothing to stay for.
    bool has_value = state == RAY_STATE_CREATING || state == RAY_STATE_SEALED;
    if (!has_value || (word & RAY__FLAG_COUNTED) != 0) {
        ray__entry_end(store, index, RAY_OBJECT_FREED);
    }
}

void ray__entry_abort(ray_store *store, uint32_t index) {
    uint64_t word = ray__shm_load(&store->table[index].state);
    bool doomed = (word & RAY__FLAG_DOOMED) != 0;
    ray__entry_finish(store, index, doomed ? RAY_STATE_FAILED : RAY_STATE_REMOTE);
}
