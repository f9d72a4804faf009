// SPDX-License-Identifier: Apache-2.0
// Create, seal, abort, put.
#include <stdio.h>
#include <string.h>

#include "plasma/arena_internal.h"

static ray_status store_full(ray_store *store, const ray_object_id *id, uint64_t needed) {
    char name[RAY_OBJECT_ID_HEX_SIZE];
    ray_object_id_format(id, name);
    const ray__arena *arena = store->arena;
    uint64_t kept = store->header->room_kept * RAY__UNIT;
    char keeps[80] = "";
    if (kept != 0) {
        snprintf(keeps, sizeof keeps, ", %llu of which are kept for what comes back from outside", (unsigned long long)kept);
    }
    bool is_held = store->header->room_pass != 0 && store->slot != RAY_NODE_SLOT;
    return ray__fail(RAY_STORE_FULL,
                     "object %s needs %llu bytes, the store has %llu of %llu free, %llu of them in one piece%s%s: free "
                     "objects, or start the node with more memory",
                     name, (unsigned long long)needed, (unsigned long long)(arena->capacity - arena->used) * RAY__UNIT,
                     (unsigned long long)store->layout.capacity, (unsigned long long)ray__arena_largest_free(store), keeps,
                     is_held ? ", and others wait for room" : "");
}

static ray_status exists(const ray_object_id *id, uint64_t word) {
    static const char *const names[] = {"empty", "creating", "sealed", "spilled", "remote", "failed", "deleting"};
    char name[RAY_OBJECT_ID_HEX_SIZE];
    ray_object_id_format(id, name);
    uint32_t state = ray__word_state(word);
    return ray__fail(RAY_EXISTS, "object %s exists and is %s", name, state < 7 ? names[state] : "unknown");
}

ray_status ray__object_claim(ray_store *store, const ray_object_id *id, uint64_t units, uint32_t flags,
                             ray_object_writer *writer, uint64_t *place) {
    uint32_t index;
    uint64_t word = 0;
    bool known = ray__table_locate(store, id, ray_object_id_hash(id), &index, &word);
    if (known && ray__word_state(word) != RAY_STATE_REMOTE) {
        return exists(id, word);
    }
    if (!known && (index == UINT32_MAX || store->header->entry_count >= store->layout.entry_count_max)) {
        return ray__fail(RAY_TABLE_FULL, "the store's table is full: it holds %u objects, of %u",
                         store->header->entry_count, store->layout.entry_count_max);
    }
    bool damaged = false;
    *place = RAY__PLACE_NONE;
    if (units != 0 && !ray__arena_take(store, units, index, place, &damaged)) {
        return damaged ? ray__store_poison(store, "its allocator leads nowhere") : store_full(store, id, units * RAY__UNIT);
    }
    RAY_CRASH_POINT();
    ray__entry *entry = &store->table[index];
    if (!known) {
        ray__table_prepare(store, index, id);
    }
    uint64_t tick = ray__shm_load_relaxed(&store->header->tick) + 1;
    ray__shm_store_relaxed(&store->header->tick, tick);
    ray__shm_store_relaxed(&entry->place, *place);
    ray__shm_store_relaxed(&entry->data_size, writer->data_size);
    ray__shm_store32_relaxed(&entry->metadata_size, writer->metadata_size);
    ray__shm_store_relaxed(&entry->access, tick << RAY__ACCESS_TICK_SHIFT);
    ray__origin_set(store, index);
    RAY_CRASH_POINT();
    bool with_ref = (flags & RAY_CREATE_WITH_REF) != 0;
    if (with_ref) {
        ray__ref_grant(store, index);
    }
    uint32_t counted = with_ref ? RAY__FLAG_COUNTED : 0;
    if (known) {
        word = ray__entry_move(entry, RAY_STATE_CREATING, RAY__CREATOR_MASK,
                               (uint64_t)store->slot << RAY__CREATOR_SHIFT | counted);
    } else {
        ray__table_commit(store, index, RAY_STATE_CREATING, counted);
        word = ray__shm_load(&entry->state);
    }
    writer->entry = index;
    writer->generation = ray__word_generation(word);
    return RAY_OK;
}

ray_status ray__object_check_new(uint64_t data_size, uint32_t metadata_size, uint32_t flags, uint64_t *units) {
    if ((flags & ~(uint32_t)RAY_CREATE_WITH_REF) != 0) {
        return ray__fail(RAY_INVALID_ARGUMENT, "create an object: unknown flags %#x", flags);
    }
    if (!ray__object_units(data_size, metadata_size, units)) {
        return ray__fail(RAY_TOO_LARGE, "an object of %llu bytes: the largest has %llu", (unsigned long long)data_size,
                         RAY__CAPACITY_MAX);
    }
    return RAY_OK;
}

ray_status ray__object_open(ray_store *store, uint64_t place, uint64_t units, uint32_t flags, ray_object_writer *writer) {
    if (place == RAY__PLACE_NONE) {
        return RAY_OK;
    }
    uint64_t data_size = writer->data_size;
    uint32_t metadata_size = writer->metadata_size;
    uint64_t offset = ray__place_offset(place) * RAY__UNIT;
    ray_status status = ray__store_reserve(store, offset, units * RAY__UNIT);
    if (status != RAY_OK) {
        if ((flags & RAY_CREATE_WITH_REF) != 0) {
            ray__ref_drop(store, writer->entry, false);
        }
        ray_object_abort(store, writer);
        char reason[RAY_MESSAGE_MAX / 2];
        strncpy(reason, ray_last_error_message(), sizeof reason - 1);
        reason[sizeof reason - 1] = '\0';
        return ray__fail(RAY_STORE_FULL, "an object of %llu bytes: %s", (unsigned long long)data_size, reason);
    }
    uint8_t *block = store->writable + offset;
    writer->data = data_size == 0 ? NULL : block;
    writer->metadata = metadata_size == 0 ? NULL : block + ray__metadata_offset(data_size);
    return RAY_OK;
}

ray_status ray_object_create(ray_store *store, const ray_object_id *id, uint64_t data_size, uint32_t metadata_size,
                             uint32_t flags, ray_object_writer *writer) {
    RAY__GATE(store);
    *writer = (ray_object_writer){NULL, data_size, NULL, metadata_size, 0, 0};
    RAY_TRY(ray__store_enter(store));
    uint64_t units;
    RAY_TRY(ray__object_check_new(data_size, metadata_size, flags, &units));
    uint64_t place;
    ray__table_warm(store, ray_object_id_hash(id));
    RAY_TRY(ray__store_lock(store));
    ray_status status = ray__object_claim(store, id, units, flags, writer, &place);
    ray__store_unlock(store);
    return status == RAY_OK ? ray__object_open(store, place, units, flags, writer) : status;
}

// Whether the writer still has an object to fill; takes it from the writer.
static bool take_writer(ray_store *store, ray_object_writer *writer, uint32_t *index, uint64_t *word) {
    *index = writer->entry;
    uint64_t generation = writer->generation;
    *writer = (ray_object_writer){NULL, 0, NULL, 0, 0, 0};
    if (generation == 0 || *index >= store->layout.table_size) {
        return false;
    }
    *word = ray__shm_load(&store->table[*index].state);
    return ray__word_state(*word) == RAY_STATE_CREATING && ray__word_generation(*word) == generation &&
           ray__word_creator(*word) == store->slot;
}

ray_status ray__object_seal(ray_store *store, ray_object_writer *writer, ray__wakes *wakes) {
    uint32_t index;
    uint64_t word;
    uint64_t data_size = writer->data_size;
    if (!take_writer(store, writer, &index, &word)) {
        return ray__fail(RAY_INVALID_ARGUMENT, "seal: the writer was sealed or aborted already");
    }
    ray__entry *entry = &store->table[index];
    uint32_t bucket = ray__entry_bucket(entry);
    while ((word & RAY__FLAG_DOOMED) == 0) {
        RAY_CRASH_POINT();
        if (ray__shm_swap_if(&entry->state, &word, ray__word_with_state(word, RAY_STATE_SEALED))) {
            RAY_CRASH_POINT();
            ray__wakes_add(store, wakes, bucket);
            if ((word & RAY__FLAG_WATCHED) != 0) {
                ray__attention(store, index);
            }
            ray__sealed_note(store, index, data_size);
            return RAY_OK;
        }
    }
    ray_status failure = ray__entry_failure(entry);
    RAY_TRY(ray__store_lock(store));
    ray__entry_finish(store, index, RAY_STATE_FAILED);
    ray__store_unlock(store);
    return ray__fail(failure, "seal: the object was deleted while it was made");
}

ray_status ray_object_seal(ray_store *store, ray_object_writer *writer) {
    RAY__GATE(store);
    RAY_TRY(ray__store_enter(store));
    ray__wakes wakes = {0};
    ray_status status = ray__object_seal(store, writer, &wakes);
    ray__wakes_send(store, &wakes);
    return status;
}

void ray_object_abort(ray_store *store, ray_object_writer *writer) {
    RAY__GATE(store);
    uint32_t index;
    uint64_t word;
    if (ray__store_enter(store) != RAY_OK || !take_writer(store, writer, &index, &word) ||
        ray__store_lock(store) != RAY_OK) {
        return;
    }
    ray__entry_abort(store, index);
    ray__store_unlock(store);
}

ray_status ray_object_put(ray_store *store, const ray_object_id *id, const void *data, uint64_t data_size,
                          const void *metadata, uint32_t metadata_size, uint32_t flags) {
    RAY__GATE(store);
    if ((data == NULL && data_size != 0) || (metadata == NULL && metadata_size != 0)) {
        return ray__fail(RAY_INVALID_ARGUMENT, "put: no bytes are given for a size that is not 0");
    }
    ray_object_writer writer;
    RAY_TRY(ray_object_create(store, id, data_size, metadata_size, flags, &writer));
    if (data_size != 0) {
        ray__copy(writer.data, data, data_size);
    }
    if (metadata_size != 0) {
        memcpy(writer.metadata, metadata, metadata_size);
    }
    return ray_object_seal(store, &writer);
}
