// SPDX-License-Identifier: Apache-2.0
// What only the node does: slots, entries for what is elsewhere, refs on behalf of others.
#include "plasma/arena_internal.h"

static ray_status not_known(const ray_object_id *id, const char *what) {
    char name[RAY_OBJECT_ID_HEX_SIZE];
    ray_object_id_format(id, name);
    return ray__fail(RAY_NOT_FOUND, "%s: object %s is not known here", what, name);
}

ray_status ray_store_slot_claim(ray_store *store, int64_t pid, uint32_t *slot) {
    RAY__GATE(store);
    *slot = 0;
    RAY_TRY(ray__store_enter_node(store, "claim a slot"));
    RAY_TRY(ray__store_lock(store));
    for (uint32_t i = 1; i <= RAY_CLIENTS_MAX; i++) {
        if (ray__shm_load32(&store->slots[i].state) == RAY__SLOT_FREE) {
            store->slots[i].pid = pid;
            store->slots[i].came = ray__origin_now();
            ray__shm_add32(&store->slots[i].serial, 1);
            ray__shm_store32(&store->slots[i].state, RAY__SLOT_CLAIMED);
            *slot = i;
            break;
        }
    }
    ray__store_unlock(store);
    if (*slot == 0) {
        return ray__fail(RAY_TOO_MANY_CLIENTS, "the store has %u clients, as many as it can: end one first",
                         RAY_CLIENTS_MAX);
    }
    return RAY_OK;
}

// Under the lock: a remote entry with the node's ref.
static ray_status insert_remote(ray_store *store, const ray_object_id *id, uint32_t index) {
    if (index == UINT32_MAX || store->header->entry_count >= store->layout.entry_count_max) {
        return ray__fail(RAY_TABLE_FULL, "the store's table is full: it holds %u objects, of %u",
                         store->header->entry_count, store->layout.entry_count_max);
    }
    ray__table_prepare(store, index, id);
    uint64_t tick = ray__shm_load_relaxed(&store->header->tick);
    ray__shm_store_relaxed(&store->table[index].access, tick << RAY__ACCESS_TICK_SHIFT);
    ray__origin_set(store, index);
    ray__shm_or(ray__mark_word(&store->table[index], store->ref), store->ref.bit);
    RAY_CRASH_POINT();
    ray__table_commit(store, index, RAY_STATE_REMOTE, RAY__FLAG_COUNTED);
    return RAY_OK;
}

ray_status ray_node_adopt(ray_store *store, const ray_object_id *id, uint32_t *state) {
    RAY__GATE(store);
    RAY_TRY(ray__store_enter_node(store, "adopt an object"));
    uint32_t index;
    uint64_t word = 0;
    ray_status status = RAY_OK;
    RAY_TRY(ray__store_lock(store));
    if (ray__table_locate(store, id, ray_object_id_hash(id), &index, &word)) {
        ray__entry *entry = &store->table[index];
        // Also while deleting: then the entry stays, failed, when the value is gone.
        ray__shm_or(ray__mark_word(entry, store->ref), store->ref.bit);
        RAY_CRASH_POINT();
        while ((word & RAY__FLAG_COUNTED) == 0 && !ray__shm_swap_if(&entry->state, &word, word | RAY__FLAG_COUNTED)) {
        }
        *state = ray__word_state(ray__shm_load(&entry->state));
    } else {
        status = insert_remote(store, id, index);
        *state = status == RAY_OK ? RAY_STATE_REMOTE : RAY_STATE_EMPTY;
    }
    ray__store_unlock(store);
    return status;
}

ray_status ray_node_disown(ray_store *store, const ray_object_id *id) {
    RAY__GATE(store);
    RAY_TRY(ray__store_enter_node(store, "disown an object"));
    uint32_t index;
    uint64_t word;
    if (!ray__table_find(store, id, ray_object_id_hash(id), &index, &word)) {
        return not_known(id, "disown an object");
    }
    ray__ref_drop(store, index, true);
    return RAY_OK;
}

uint32_t ray_store_slot_serial(const ray_store *store, uint32_t slot) {
    RAY__GATE(store);
    return slot < RAY_SLOTS_MAX ? ray__shm_load32(&store->slots[slot].serial) : 0;
}

ray_status ray_node_ref_for(ray_store *store, const ray_object_id *id, uint32_t slot, uint32_t serial) {
    RAY__GATE(store);
    RAY_TRY(ray__store_enter_node(store, "set a client's ref"));
    if (slot == RAY_NODE_SLOT || slot > RAY_CLIENTS_MAX ||
        ray__shm_load32(&store->slots[slot].state) == RAY__SLOT_FREE) {
        return ray__fail(RAY_INVALID_ARGUMENT, "set a client's ref: slot %u has no client", slot);
    }
    uint32_t index;
    uint64_t word = 0;
    RAY_TRY(ray__store_lock(store));
    // A reap changes the serial under the lock before it clears any bit, so none is set behind it.
    if (serial != 0 && ray__shm_load32(&store->slots[slot].serial) != serial) {
        ray__store_unlock(store);
        return ray__fail(RAY_CLOSED, "set a client's ref: the client of slot %u is gone", slot);
    }
    bool known = ray__table_locate(store, id, ray_object_id_hash(id), &index, &word) &&
                 ray__word_state(word) != RAY_STATE_DELETING;
    if (known) {
        ray__entry *entry = &store->table[index];
        ray__mark ref = ray__ref_of(slot);
        ray__shm_or(ray__mark_word(entry, ref), ref.bit);
        RAY_CRASH_POINT();
        while ((word & RAY__FLAG_COUNTED) == 0 && !ray__shm_swap_if(&entry->state, &word, word | RAY__FLAG_COUNTED)) {
        }
    }
    ray__store_unlock(store);
    return known ? RAY_OK : not_known(id, "set a client's ref");
}

// Under the lock. While it lasts the entry is deleting without a failure: then a get waits for the lock and looks again, and a dead
// owner's repair makes it sealed again.
static bool evict(ray_store *store, uint32_t index) {
    ray__entry *entry = &store->table[index];
    if (ray__pins_any(entry)) {
        return false;
    }
    ray__entry_set_failure(entry, RAY_OK);
    ray__entry_move(entry, RAY_STATE_DELETING, 0, 0);
    if (ray__pins_any(entry)) {
        ray__entry_move(entry, RAY_STATE_SEALED, 0, 0);
        ray__wake(store, entry);
        return false;
    }
    ray__entry_finish(store, index, RAY_STATE_REMOTE);
    return true;
}

ray_status ray_node_evict(ray_store *store, const ray_object_id *id, uint64_t *freed_bytes) {
    RAY__GATE(store);
    uint64_t ignored;
    freed_bytes = freed_bytes == NULL ? &ignored : freed_bytes;
    *freed_bytes = 0;
    RAY_TRY(ray__store_enter_node(store, "evict an object"));
    uint32_t index;
    uint64_t word = 0;
    RAY_TRY(ray__store_lock(store));
    bool known = ray__table_locate(store, id, ray_object_id_hash(id), &index, &word);
    uint32_t state = known ? ray__word_state(word) : RAY_STATE_EMPTY;
    ray_object_info info;
    if (state == RAY_STATE_SEALED) {
        ray__entry_info(store, index, word, &info);
    }
    bool evicted = state == RAY_STATE_SEALED && evict(store, index);
    ray__store_unlock(store);
    if (!known) {
        return not_known(id, "evict an object");
    }
    if (state == RAY_STATE_SEALED && !evicted) {
        return ray__fail(RAY_IN_USE, "evict an object: somebody reads it");
    }
    if (!evicted && state != RAY_STATE_REMOTE) {
        return ray__fail(RAY_NOT_SEALED, "evict an object: it has no sealed value");
    }
    *freed_bytes = evicted ? info.memory_bytes : 0;
    return RAY_OK;
}

ray_status ray_node_unfail(ray_store *store, const ray_object_id *id) {
    RAY__GATE(store);
    RAY_TRY(ray__store_enter_node(store, "retry an object"));
    uint32_t index;
    uint64_t word = 0;
    RAY_TRY(ray__store_lock(store));
    bool known = ray__table_locate(store, id, ray_object_id_hash(id), &index, &word);
    uint32_t state = known ? ray__word_state(word) : RAY_STATE_EMPTY;
    if (state == RAY_STATE_FAILED) {
        ray__entry_move(&store->table[index], RAY_STATE_REMOTE, 0, 0);
    }
    ray__store_unlock(store);
    if (!known) {
        return not_known(id, "retry an object");
    }
    if (state != RAY_STATE_FAILED && state != RAY_STATE_REMOTE) {
        return ray__fail(RAY_EXISTS, "retry an object: it has not failed");
    }
    return RAY_OK;
}

ray_status ray_node_watch(ray_store *store, const ray_object_id *id) {
    RAY__GATE(store);
    RAY_TRY(ray__store_enter_node(store, "watch an object"));
    uint32_t index;
    uint64_t word = 0;
    RAY_TRY(ray__store_lock(store));
    bool known = ray__table_locate(store, id, ray_object_id_hash(id), &index, &word);
    if (known) {
        ray__entry *entry = &store->table[index];
        while ((word & RAY__FLAG_WATCHED) == 0 && !ray__shm_swap_if(&entry->state, &word, word | RAY__FLAG_WATCHED)) {
        }
        uint32_t state = ray__word_state(ray__shm_load(&entry->state));
        // A value that is ending while somebody has it pinned has not gone yet: the last pin calls.
        if (state == RAY_STATE_SEALED || state == RAY_STATE_FAILED || (state == RAY_STATE_DELETING && !ray__pins_any(entry))) {
            ray__attention(store, index);
        }
    }
    ray__store_unlock(store);
    return known ? RAY_OK : not_known(id, "watch an object");
}
