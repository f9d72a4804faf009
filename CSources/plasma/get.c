// SPDX-License-Identifier: Apache-2.0
// Get, release, and looking at what is there.
#include "base/clock_internal.h"
#include "plasma/arena_internal.h"

// How often an entry may change under a call before it gives up; each time somebody else got something done.
#define TRIES_MAX 10000u

ray_status ray__entry_verdict(const ray__entry *entry, uint64_t word) {
    ray_status verdict;
    switch (ray__word_state(word)) {
    case RAY_STATE_SEALED:
        return RAY_OK;
    case RAY_STATE_CREATING:
        if ((word & RAY__FLAG_DOOMED) == 0) {
            return RAY_NOT_SEALED;
        }
        break;
    case RAY_STATE_REMOTE:
    case RAY_STATE_SPILLED:
        return RAY_NOT_LOCAL;
    case RAY_STATE_FAILED:
    case RAY_STATE_DELETING:
        break;
    default:
        return RAY_AGAIN;
    }
    verdict = ray__entry_failure(entry);
    ray__shm_fence_acquire();
    // An eviction has no failure, and one that was read from the next owner of the place is not this one's.
    return verdict == RAY_OK || !ray__word_same(ray__shm_load(&entry->state), word) ? RAY_AGAIN : verdict;
}

static ray_status fill_view(ray_store *store, uint32_t index, uint64_t word, ray_object_view *view) {
    ray__entry *entry = &store->table[index];
    // Pinned: none of these changes now.
    uint64_t place = ray__shm_load_relaxed(&entry->place);
    uint64_t data_size = ray__shm_load_relaxed(&entry->data_size);
    uint32_t metadata_size = ray__shm_load32_relaxed(&entry->metadata_size);
    *view = (ray_object_view){NULL, data_size, NULL, metadata_size, index, ray__word_generation(word)};
    if (place != RAY__PLACE_NONE) {
        uint64_t offset = ray__place_offset(place) * RAY__UNIT;
        uint64_t units;
        if (!ray__object_units(data_size, metadata_size, &units) || units * RAY__UNIT > store->layout.capacity ||
            offset > store->layout.capacity - units * RAY__UNIT) {
            ray__unpin(store, index);
            return ray__store_poison(store, "entry %u lies outside the data segment", index);
        }
        const uint8_t *block = store->readable + offset;
        view->data = data_size == 0 ? NULL : block;
        view->metadata = metadata_size == 0 ? NULL : block + ray__metadata_offset(data_size);
    } else if (data_size != 0 || metadata_size != 0) {
        ray__unpin(store, index);
        return ray__store_poison(store, "entry %u has a size and no place", index);
    }
    ray__entry_touch(store, entry);
    return RAY_OK;
}

ray_status ray__get_now(ray_store *store, const ray_object_id *id, uint64_t hash, ray_object_view *view) {
    for (uint32_t i = 0; i < TRIES_MAX; i++) {
        uint32_t index;
        uint64_t word;
        if (!ray__table_find(store, id, hash, &index, &word)) {
            return RAY_NOT_FOUND;
        }
        ray_status verdict = ray__entry_verdict(&store->table[index], word);
        if (verdict == RAY_OK) {
            if (ray__pin(store, index, word)) {
                return fill_view(store, index, word, view);
            }
        } else if (verdict == RAY_AGAIN) {
            // What is being changed under the lock has settled when the lock is free.
            RAY_TRY(ray__store_lock(store));
            ray__store_unlock(store);
        } else {
            return verdict;
        }
    }
    return RAY_AGAIN;
}

// `status` is what the first look said.
static ray_status wait_and_get(ray_store *store, const ray_object_id *id, uint64_t hash, ray_status status,
                               uint64_t timeout_ns, ray_object_view *view) {
    uint64_t deadline = ray__deadline_ns(timeout_ns);
    uint32_t bucket = ray__wait_bucket(hash);
    ray__wait wait = {0};
    ray__wait_enter(store, &wait, bucket);
    for (bool in_time = true;;) {
        uint32_t number = ray__wait_number(store);
        ray_status now = ray__store_enter(store);
        if (now == RAY_OK) {
            ray__shm_add(&store->wait_look_count, 1);
            now = ray__get_now(store, id, hash, view);
        }
        status = ray__since_last_look(status, now);
        if (!ray__may_come(status)) {
            break;
        }
        if (!in_time) {
            status = RAY_TIMED_OUT;
            break;
        }
        // The process's other waits share the number; the look is for when this bucket has moved.
        do {
            in_time = ray__wait_sleep(store, &wait, number, deadline);
            number = ray__wait_number(store);
        } while (in_time && !ray__wait_moved(store, &wait, bucket));
    }
    ray__wait_leave(store, &wait, bucket);
    return status;
}

ray_status ray__object_get_or_told(ray_store *store, const ray_object_id *id, const atomic_bool *told, uint64_t deadline_ns, ray_object_view *view) {
    RAY__GATE(store);
    *view = (ray_object_view){NULL, 0, NULL, 0, 0, 0};
    uint64_t hash = ray_object_id_hash(id);
    uint32_t bucket = ray__wait_bucket(hash);
    ray__wait wait = {0};
    ray__wait_enter(store, &wait, bucket);
    ray_status status;
    for (bool in_time = true;;) {
        uint32_t number = ray__wait_number(store);
        bool is_told = atomic_load_explicit(told, memory_order_acquire);
        status = ray__store_enter(store);
        if (status == RAY_OK) {
            status = ray__get_now(store, id, hash, view);
        }
        if (status == RAY_OK || status == RAY_POISONED || status == RAY_FORKED) {
            break; // these have their message
        }
        if (is_told || !in_time) {
            status = is_told ? RAY_AGAIN : RAY_TIMED_OUT;
            break;
        }
        do {
            in_time = ray__wait_sleep(store, &wait, number, deadline_ns);
            number = ray__wait_number(store);
        } while (in_time && !ray__wait_moved(store, &wait, bucket) && !atomic_load_explicit(told, memory_order_relaxed));
    }
    ray__wait_leave(store, &wait, bucket);
    return status;
}

void ray__object_tell(ray_store *store) {
    RAY__GATE(store);
    ray__wait_kick(store);
}

ray_status ray_object_get(ray_store *store, const ray_object_id *id, uint64_t timeout_ns, ray_object_view *view) {
    RAY__GATE(store);
    *view = (ray_object_view){NULL, 0, NULL, 0, 0, 0};
    RAY_TRY(ray__store_enter(store));
    uint64_t hash = ray_object_id_hash(id);
    ray_status status = ray__get_now(store, id, hash, view);
    if (__builtin_expect(status == RAY_OK, 1)) {
        return RAY_OK;
    }
    if (ray__may_come(status) && timeout_ns != 0) {
        status = wait_and_get(store, id, hash, status, timeout_ns, view);
    }
    if (status == RAY_OK || status == RAY_POISONED || status == RAY_FORKED) {
        return status; // these have their message
    }
    char name[RAY_OBJECT_ID_HEX_SIZE];
    ray_object_id_format(id, name);
    return ray__fail(status, "get object %s: %s", name, ray_status_text(status));
}

void ray_object_release(ray_store *store, ray_object_view *view) {
    RAY__GATE(store);
    uint32_t index = view->entry;
    uint64_t generation = view->generation;
    *view = (ray_object_view){NULL, 0, NULL, 0, 0, 0};
    if (ray__store_enter(store) == RAY_OK && generation != 0 && index < store->layout.table_size &&
        ray__word_generation(ray__shm_load(&store->table[index].state)) == generation) {
        ray__unpin(store, index);
    }
}

void ray_object_view_copy(ray_store *store, const ray_object_view *from, ray_object_view *to) {
    RAY__GATE(store);
    *to = (ray_object_view){NULL, 0, NULL, 0, 0, 0};
    if (ray__store_enter(store) == RAY_OK && from->generation != 0) {
        *to = *from;
        ray__pin_again(store, from->entry);
    }
}

// ---- look --------------------------------------------------------------------------------------------------------------

bool ray_object_contains(ray_store *store, const ray_object_id *id) {
    RAY__GATE(store);
    uint32_t index;
    uint64_t word;
    return ray__store_enter(store) == RAY_OK &&
           ray__table_find(store, id, ray_object_id_hash(id), &index, &word) &&
           ray__word_state(word) == RAY_STATE_SEALED;
}

ray_status ray_object_stat(ray_store *store, const ray_object_id *id, ray_object_info *info) {
    RAY__GATE(store);
    RAY_TRY(ray__store_enter(store));
    uint32_t index;
    uint64_t word;
    while (ray__table_find(store, id, ray_object_id_hash(id), &index, &word)) {
        ray__entry_info(store, index, word, info);
        ray__shm_fence_acquire();
        if (ray__word_same(ray__shm_load(&store->table[index].state), word)) {
            return RAY_OK;
        }
    }
    *info = (ray_object_info){0};
    char name[RAY_OBJECT_ID_HEX_SIZE];
    ray_object_id_format(id, name);
    return ray__fail(RAY_NOT_FOUND, "object %s is not known here", name);
}

ray_status ray_store_list(ray_store *store, uint64_t *cursor, ray_object_info *infos, uint32_t capacity,
                          uint32_t *count) {
    RAY__GATE(store);
    *count = 0;
    RAY_TRY(ray__store_enter(store));
    if (capacity == 0) {
        return ray__fail(RAY_INVALID_ARGUMENT, "list with room for no entry: its end could not be told");
    }
    // Entries do not move, so the cursor is the number of the next place.
    while (*cursor < store->layout.table_size && *count < capacity) {
        *cursor = ray__table_next(store, (uint32_t)*cursor);
        if (*cursor == store->layout.table_size) {
            break;
        }
        const ray__entry *entry = &store->table[*cursor];
        uint64_t word = ray__shm_load(&entry->state);
        bool stable = true;
        if (!ray__state_is_free(ray__word_state(word))) {
            ray__entry_info(store, (uint32_t)*cursor, word, &infos[*count]);
            ray__shm_fence_acquire();
            stable = ray__word_same(ray__shm_load(&entry->state), word);
            *count += stable;
        }
        *cursor += stable;
    }
    return RAY_OK;
}
