// SPDX-License-Identifier: Apache-2.0
// Room under pressure: objects that the node creates for a client that waits, and what the node needs to know and to hold back meanwhile.
//
// A client whose create finds no room asks the node, which frees memory and claims the object itself, in the client's name: so what was freed
// goes to who waits, in the node's order. From its first moment the entry is like one that the client has created, so whoever dies, it is
// reaped with the client.
#include "base/clock_internal.h"
#include "base/futex_internal.h"
#include "plasma/arena_internal.h"

static ray_status not_promised(const ray_object_id *id) {
    char name[RAY_OBJECT_ID_HEX_SIZE];
    ray_object_id_format(id, name);
    return ray__fail(RAY_NOT_FOUND, "accept object %s: the node has not created it for this process", name);
}

// Under the lock: the entry that this process is to fill.
static bool find_promised(ray_store *store, const ray_object_id *id, ray_object_writer *writer) {
    uint32_t index;
    uint64_t word = 0;
    if (!ray__table_locate(store, id, ray_object_id_hash(id), &index, &word) || ray__word_state(word) != RAY_STATE_CREATING ||
        ray__word_creator(word) != store->slot) {
        return false;
    }
    const ray__entry *entry = &store->table[index];
    *writer = (ray_object_writer){.data_size = ray__shm_load_relaxed(&entry->data_size),
                                  .metadata_size = ray__shm_load32_relaxed(&entry->metadata_size),
                                  .entry = index,
                                  .generation = ray__word_generation(word)};
    return true;
}

// Under the lock. Until the creator is another, the death of the node is repaired as that of any creator.
static void make_over(ray_store *store, uint32_t index, uint32_t slot, bool with_ref) {
    ray__entry *entry = &store->table[index];
    int64_t pid = store->slots[slot].pid;
    ray__shm_store32_relaxed(&store->origins[index].pid, pid > 0 && pid < UINT32_MAX ? (uint32_t)pid : 0);
    ray__entry_move(entry, RAY_STATE_CREATING, RAY__CREATOR_MASK,
                    (uint64_t)slot << RAY__CREATOR_SHIFT | (with_ref ? RAY__FLAG_COUNTED : 0));
    RAY_CRASH_POINT();
    if (with_ref) {
        ray__mark ref = ray__ref_of(slot);
        ray__shm_or(ray__mark_word(entry, ref), ref.bit);
        RAY_CRASH_POINT();
    }
}

ray_status ray_node_create_for(ray_store *store, uint32_t slot, uint32_t serial, const ray_object_id *id, uint64_t data_size,
                               uint32_t metadata_size, uint32_t flags) {
    RAY__GATE(store);
    RAY_TRY(ray__store_enter_node(store, "create an object for a client"));
    if (slot > RAY_CLIENTS_MAX || ray__shm_load32(&store->slots[slot].state) == RAY__SLOT_FREE) {
        return ray__fail(RAY_INVALID_ARGUMENT, "create an object for a client: slot %u has none", slot);
    }
    uint64_t units;
    bool from_kept = (flags & RAY_CREATE_FROM_KEPT) != 0;
    flags &= ~(uint32_t)RAY_CREATE_FROM_KEPT;
    RAY_TRY(ray__object_check_new(data_size, metadata_size, flags, &units));
    ray_object_writer writer = {.data_size = data_size, .metadata_size = metadata_size};
    uint64_t place;
    ray__table_warm(store, ray_object_id_hash(id));
    RAY_TRY(ray__store_lock(store));
    // A reap changes the serial under the lock before it looks at any entry, so none is made behind it.
    if (serial != 0 && ray__shm_load32(&store->slots[slot].serial) != serial) {
        ray__store_unlock(store);
        return ray__fail(RAY_CLOSED, "create an object for a client: the client of slot %u is gone", slot);
    }
    uint64_t kept = store->header->room_kept;
    if (from_kept) {
        store->header->room_kept = 0;
    }
    ray_status status = ray__object_claim(store, id, units, 0, &writer, &place);
    store->header->room_kept = kept;
    if (status == RAY_OK && (slot != RAY_NODE_SLOT || flags != 0)) {
        make_over(store, writer.entry, slot, (flags & RAY_CREATE_WITH_REF) != 0);
    }
    ray__store_unlock(store);
    return status;
}

ray_status ray_object_accept(ray_store *store, const ray_object_id *id, uint32_t flags, ray_object_writer *writer) {
    RAY__GATE(store);
    *writer = (ray_object_writer){0};
    RAY_TRY(ray__store_enter(store));
    uint64_t units = 0;
    RAY_TRY(ray__object_check_new(0, 0, flags, &units));
    RAY_TRY(ray__store_lock(store));
    bool known = find_promised(store, id, writer);
    uint64_t place = RAY__PLACE_NONE;
    if (known) {
        place = ray__shm_load_relaxed(&store->table[writer->entry].place);
        if ((flags & RAY_CREATE_WITH_REF) != 0) {
            ray__ref_grant(store, writer->entry);
        }
    }
    ray__store_unlock(store);
    if (!known) {
        return not_promised(id);
    }
    uint64_t capacity = store->layout.capacity / RAY__UNIT;
    if (!ray__object_units(writer->data_size, writer->metadata_size, &units) ||
        (place != RAY__PLACE_NONE && (units > capacity || ray__place_offset(place) > capacity - units))) {
        return ray__store_poison(store, "entry %u lies outside the data segment", writer->entry);
    }
    return ray__object_open(store, place, units, flags, writer);
}

void ray_object_decline(ray_store *store, const ray_object_id *id) {
    RAY__GATE(store);
    ray_object_writer writer;
    if (ray__store_enter(store) != RAY_OK || ray__store_lock(store) != RAY_OK) {
        return;
    }
    bool known = find_promised(store, id, &writer);
    ray__store_unlock(store);
    if (known) {
        ray_object_abort(store, &writer);
        // The ref that the node set for this process, if it did and nobody here has taken one.
        (void)ray_ref_release(store, id);
    }
}

// ---- what the node waits for ------------------------------------------------------------------------------------------

void ray__room_freed(ray_store *store) {
    ray__header *header = store->header;
    ray__shm_add32(&header->room_seq, 1);
    ray__futex_wake_all(&header->room_seq);
    RAY_CRASH_POINT();
    // The node says so again before it sleeps again: a burst of deletes costs one call.
    ray__shm_store32(&header->room_wanted, 0);
}

ray_status ray_node_room_watch(ray_store *store, uint32_t *seen) {
    RAY__GATE(store);
    *seen = 0;
    RAY_TRY(ray__store_enter_node(store, "watch for room"));
    RAY_TRY(ray__store_lock(store));
    *seen = ray__shm_load32(&store->header->room_seq);
    ray__shm_store32(&store->header->room_wanted, 1);
    ray__store_unlock(store);
    return RAY_OK;
}

ray_status ray_node_room_wait(ray_store *store, uint32_t seen, uint64_t timeout_ns) {
    RAY__GATE(store);
    RAY_TRY(ray__store_enter_node(store, "wait for room"));
    uint64_t deadline = ray__deadline_ns(timeout_ns);
    bool in_time = true;
    while (ray__shm_load32(&store->header->room_seq) == seen) {
        if (!in_time) {
            return ray__fail(RAY_TIMED_OUT, "nothing in the store was freed");
        }
        in_time = ray__futex_wait(&store->header->room_seq, seen, deadline);
    }
    return ray__store_enter(store);
}

void ray_node_room_wake(ray_store *store) {
    RAY__GATE(store);
    if (ray__store_enter_node(store, "wake who waits for room") == RAY_OK) {
        ray__shm_add32(&store->header->room_seq, 1);
        ray__futex_wake_all(&store->header->room_seq);
    }
}

ray_status ray_node_room_hold(ray_store *store, uint64_t pass_bytes) {
    RAY__GATE(store);
    RAY_TRY(ray__store_enter_node(store, "hold room"));
    RAY_TRY(ray__store_lock(store));
    store->header->room_pass = pass_bytes == RAY_ROOM_OPEN ? 0 : pass_bytes / RAY__UNIT + 1;
    ray__store_unlock(store);
    return RAY_OK;
}

ray_status ray_node_room_keep(ray_store *store, uint64_t bytes) {
    RAY__GATE(store);
    RAY_TRY(ray__store_enter_node(store, "keep room"));
    uint64_t most = store->layout.capacity - RAY__PAGE;
    uint64_t units = (bytes < most ? bytes : most) / RAY__UNIT + 1;
    RAY_TRY(ray__store_lock(store));
    // A large object begins at a page, wherever the piece does.
    store->header->room_kept = bytes == 0 ? 0 : units + RAY__PAGE / RAY__UNIT;
    ray__store_unlock(store);
    return RAY_OK;
}

bool ray__room_lets_pass(const ray_store *store, uint64_t units) {
    return store->slot == RAY_NODE_SLOT || units < store->header->room_pass;
}

void ray__room_passed(ray_store *store, uint64_t units) {
    if (store->slot != RAY_NODE_SLOT) {
        store->header->room_pass -= units;
    }
}
