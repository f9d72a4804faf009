// SPDX-License-Identifier: Apache-2.0
// What could make room: sealed values that nobody reads, least recently used first.
//
// One look at the table without the lock. The caller's array is a heap with the latest used at its front, which always holds the oldest of what
// was seen so far that are enough: whatever is later than the front, when there is enough, is passed over with one comparison.
#include "plasma/store_internal.h"

// Whether a may go after b: used later.
static bool is_later(const ray_object_info *a, const ray_object_info *b) {
    return a->access_tick > b->access_tick;
}

static void swap(ray_object_info *a, ray_object_info *b) {
    ray_object_info kept = *a;
    *a = *b;
    *b = kept;
}

static void sift_up(ray_object_info *heap, uint32_t at) {
    while (at > 0 && is_later(&heap[at], &heap[(at - 1) / 2])) {
        swap(&heap[at], &heap[(at - 1) / 2]);
        at = (at - 1) / 2;
    }
}

static void sift_down(ray_object_info *heap, uint32_t count) {
    for (uint32_t at = 0;;) {
        uint32_t latest = at;
        for (uint32_t child = 2 * at + 1; child <= 2 * at + 2 && child < count; child++) {
            latest = is_later(&heap[child], &heap[latest]) ? child : latest;
        }
        if (latest == at) {
            return;
        }
        swap(&heap[at], &heap[latest]);
        at = latest;
    }
}

typedef struct choice {
    ray_object_info *heap;
    uint32_t count;
    uint32_t capacity;
    uint64_t bytes;
    uint64_t needed;
} choice;

static void drop_latest(choice *chosen) {
    chosen->bytes -= chosen->heap[0].memory_bytes;
    chosen->count--;
    chosen->heap[0] = chosen->heap[chosen->count];
    sift_down(chosen->heap, chosen->count);
}

static bool is_enough(const choice *chosen) {
    return chosen->bytes >= chosen->needed || chosen->count == chosen->capacity;
}

static void add(choice *chosen, const ray_object_info *info) {
    if (chosen->count == chosen->capacity) {
        drop_latest(chosen);
    }
    chosen->heap[chosen->count] = *info;
    chosen->bytes += info->memory_bytes;
    chosen->count++;
    sift_up(chosen->heap, chosen->count - 1);
    while (chosen->count > 1 && chosen->bytes - chosen->heap[0].memory_bytes >= chosen->needed) {
        drop_latest(chosen);
    }
}

static bool is_candidate(const ray__entry *entry, uint64_t word, uint32_t flags) {
    return ray__word_state(word) == RAY_STATE_SEALED && ray__shm_load_relaxed(&entry->place) != RAY__PLACE_NONE &&
           ((flags & RAY_VICTIMS_OF_NODE) == 0 || (word & RAY__FLAG_NODE_REF) != 0) &&
           ray__pins_any(entry) == ((flags & RAY_VICTIMS_PINNED) != 0);
}

ray_status ray_node_victims(ray_store *store, uint64_t needed_bytes, uint32_t flags, ray_object_info *infos, uint32_t capacity,
                            uint32_t *count) {
    RAY__GATE(store);
    *count = 0;
    RAY_TRY(ray__store_enter_node(store, "look for victims"));
    if (capacity == 0 || (flags & ~(uint32_t)(RAY_VICTIMS_OF_NODE | RAY_VICTIMS_PINNED)) != 0) {
        return ray__fail(RAY_INVALID_ARGUMENT, "look for victims with room for %u, flags %#x", capacity, flags);
    }
    choice chosen = {.heap = infos, .capacity = capacity, .needed = needed_bytes};
    uint32_t size = store->layout.table_size;
    for (uint32_t i = ray__table_next(store, 0); i < size && needed_bytes != 0; i = ray__table_next(store, i + 1)) {
        const ray__entry *entry = &store->table[i];
        uint64_t word = ray__shm_load_acquire(&entry->state);
        if (!is_candidate(entry, word, flags)) {
            continue;
        }
        uint64_t tick = ray__shm_load_relaxed(&entry->access) >> RAY__ACCESS_TICK_SHIFT;
        if (is_enough(&chosen) && tick >= infos[0].access_tick) {
            continue;
        }
        ray_object_info info;
        ray__entry_info(store, i, word, &info);
        ray__shm_fence_acquire();
        // What has changed meanwhile was used meanwhile.
        if (ray__word_same(ray__shm_load(&entry->state), word) && info.memory_bytes != 0) {
            add(&chosen, &info);
        }
    }
    *count = chosen.count;
    // The latest goes to the end, then the latest of the rest: afterwards the oldest is first.
    for (uint32_t left = chosen.count; left > 1; left--) {
        swap(&infos[0], &infos[left - 1]);
        sift_down(infos, left - 1);
    }
    return RAY_OK;
}
