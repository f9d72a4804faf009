// SPDX-License-Identifier: Apache-2.0
// Whether a value was there all the time: its entry is sealed, of the same generation and at the same place as at the begin. That alone does
// not exclude that it went and came back to that place in between, with others' bytes there meanwhile. But to come back it has to be created,
// and each create takes a tick of the store's clock and leaves it in the entry. So an entry that says a tick of before the begin was not
// created since. A get leaves a later tick there, too, if others were created since; that is told from nothing and taken for a change.
//
// The tick is read before the entry: what is created after the entry was seen has a later one.
#include "plasma/glimpse_internal.h"

#include "plasma/arena_internal.h"

static uint64_t tick_of(const ray__entry *entry) {
    return ray__shm_load_acquire(&entry->access) >> RAY__ACCESS_TICK_SHIFT;
}

static bool is_inside(const ray_store *store, uint64_t place, uint64_t data_size) {
    uint64_t units;
    uint64_t capacity = store->layout.capacity / RAY__UNIT;
    return ray__object_units(data_size, 0, &units) && units <= capacity && ray__place_offset(place) <= capacity - units;
}

static bool look(ray_store *store, uint32_t index, uint64_t tick, ray__glimpse *glimpse) {
    const ray__entry *entry = &store->table[index];
    uint64_t word = ray__shm_load(&entry->state);
    if (ray__word_state(word) != RAY_STATE_SEALED) {
        return false;
    }
    uint64_t place = ray__shm_load_relaxed(&entry->place);
    glimpse->data_size = ray__shm_load_relaxed(&entry->data_size);
    glimpse->used = tick_of(entry);
    ray__entry_id(entry, &glimpse->id);
    ray__shm_fence_acquire();
    uint64_t again = ray__shm_load(&entry->state);
    bool same = ray__word_state(again) == RAY_STATE_SEALED && ray__word_generation(again) == ray__word_generation(word);
    // A size or a place that cannot be is told by who gets the object.
    if (!same || glimpse->data_size == 0 || place == RAY__PLACE_NONE || !is_inside(store, place, glimpse->data_size)) {
        return false;
    }
    glimpse->data = store->readable + ray__place_offset(place) * RAY__UNIT;
    glimpse->stamp = ray__object_stamp(index, ray__word_generation(word));
    glimpse->place = place;
    glimpse->generation = ray__word_generation(word);
    glimpse->tick = tick;
    glimpse->entry = index;
    return true;
}

bool ray__glimpse_begin(ray_store *store, const ray_object_id *id, ray__glimpse *glimpse) {
    RAY__GATE(store);
    uint32_t index;
    uint64_t word;
    if (ray__store_enter(store) != RAY_OK) {
        return false;
    }
    uint64_t tick = ray__shm_load(&store->header->tick);
    return ray__table_find(store, id, ray_object_id_hash(id), &index, &word) && look(store, index, tick, glimpse) &&
           ray_object_id_equal(&glimpse->id, id);
}

bool ray__glimpse_holds(ray_store *store, const ray__glimpse *glimpse) {
    RAY__GATE(store);
    // What was read comes before what is looked at now.
    ray__shm_fence_acquire();
    const ray__entry *entry = &store->table[glimpse->entry];
    uint64_t word = ray__shm_load(&entry->state);
    return ray__word_state(word) == RAY_STATE_SEALED && ray__word_generation(word) == glimpse->generation &&
           ray__shm_load_relaxed(&entry->place) == glimpse->place && tick_of(entry) <= glimpse->tick &&
           ray__store_enter(store) == RAY_OK;
}

void ray__sealed_note(ray_store *store, uint32_t index, uint64_t data_size) {
    if (data_size > RAY__SEALED_ABOVE) {
        uint32_t position = ray__shm_add32(&store->header->sealed_count, 1);
        RAY_CRASH_POINT();
        ray__shm_store_release(&store->sealed[position % RAY__SEALED_RING], (uint64_t)(position + 1u) << 32 | index);
    }
}

enum ray__sealed ray__sealed_next(ray_store *store, uint32_t *position, ray__glimpse *glimpse) {
    RAY__GATE(store);
    if (ray__store_enter(store) != RAY_OK) {
        return RAY__SEALED_NONE;
    }
    for (;;) {
        uint32_t count = ray__shm_load32(&store->header->sealed_count);
        if (*position == count) {
            return RAY__SEALED_NONE;
        }
        if (count - *position > RAY__SEALED_RING) {
            *position = count - RAY__SEALED_RING;
        }
        uint64_t slot = ray__shm_load_acquire(&store->sealed[*position % RAY__SEALED_RING]);
        uint32_t written = (uint32_t)(slot >> 32);
        uint32_t wanted = *position + 1u;
        if (written != wanted && (int32_t)(written - wanted) < 0) {
            return RAY__SEALED_PENDING;
        }
        *position = wanted;
        uint32_t index = (uint32_t)slot;
        uint64_t tick = ray__shm_load(&store->header->tick);
        if (written == wanted && index < store->layout.table_size && look(store, index, tick, glimpse) &&
            glimpse->data_size > RAY__SEALED_ABOVE) {
            return RAY__SEALED_FOUND;
        }
    }
}
