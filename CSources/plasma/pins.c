// SPDX-License-Identifier: Apache-2.0
// Pins and refs: a bit an entry for each process, and how many this process has of them.
//
// The counts are private: a word an entry, with a spin bit held while the first or last one sets or clears the bit in the
// entry, so that the two cannot cross. They need no generation: while a count is not zero its bit is set, and an entry with a
// bit does not change hands. A bit that was set on an entry that turned out to be another's is cleared under the same spin bit, so
// it is never that of another thread's true pin.
//
// Taking is: set the bit, then look at the state word again. Ending a value is: change the state word, then look at the bits. Both
// sides are sequentially consistent, so at least one of them sees the other. Whoever clears the last bit looks at the state and
// finishes what was left undone, under the lock.
#include <sched.h>

#include "plasma/store_internal.h"

#define COUNT_LOCK (1ull << 63)
#define COUNT_PINS 0xffffffffull
#define COUNT_REF (1ull << 32)
#define COUNT_REFS (COUNT_LOCK - COUNT_REF)

static uint64_t count_lock(uint64_t *count) {
    for (uint32_t turn = 1;; turn++) {
        uint64_t value = ray__shm_load_relaxed(count);
        if ((value & COUNT_LOCK) == 0 && ray__shm_swap_if(count, &value, value | COUNT_LOCK)) {
            return value;
        }
        if (turn % 64 == 0) {
            sched_yield(); // its holder may have lost the core
        }
        ray__spin_pause();
    }
}

static void count_unlock(uint64_t *count, uint64_t value) {
    ray__shm_store_release(count, value);
}

// Adds to a count whose `part` is not zero already; then there is nothing to do to the entry.
static bool count_add(uint64_t *count, uint64_t part, uint64_t one) {
    uint64_t value = ray__shm_load_relaxed(count);
    while ((value & COUNT_LOCK) == 0 && (value & part) != 0 && (value & part) + one <= part) {
        if (ray__shm_swap_if(count, &value, value + one)) {
            return true;
        }
    }
    return false;
}

static bool same_generation(uint64_t a, uint64_t b) {
    return ray__word_generation(a) == ray__word_generation(b);
}

// ---- pins --------------------------------------------------------------------------------------------------------------

static bool is_sealed_as_seen(const ray__entry *entry, uint64_t seen) {
    uint64_t now = ray__shm_load(&entry->state);
    return ray__word_state(now) == RAY_STATE_SEALED && same_generation(now, seen);
}

bool ray__pin(ray_store *store, uint32_t index, uint64_t seen) {
    ray__entry *entry = &store->table[index];
    uint64_t *count = &store->counts[index];
    uint64_t value = 0;
    bool pinned = true;
    // The common case first: this process has nothing of the entry.
    if (!ray__shm_swap_if(count, &value, COUNT_LOCK)) {
        if (count_add(count, COUNT_PINS, 1)) {
            if (is_sealed_as_seen(entry, seen)) {
                return true;
            }
            ray__unpin(store, index);
            return false;
        }
        value = count_lock(count);
    }
    if ((value & COUNT_PINS) == 0) {
        RAY_CRASH_POINT();
        ray__shm_or(ray__mark_word(entry, store->pin), store->pin.bit);
        RAY_CRASH_POINT();
        pinned = is_sealed_as_seen(entry, seen);
        if (!pinned) {
            ray__shm_and(ray__mark_word(entry, store->pin), ~store->pin.bit);
        }
        count_unlock(count, pinned ? value + 1 : value);
        if (!pinned) {
            RAY_CRASH_POINT();
            ray__pin_cleared(store, index);
        }
        return pinned;
    }
    pinned = (value & COUNT_PINS) != COUNT_PINS && is_sealed_as_seen(entry, seen);
    count_unlock(count, pinned ? value + 1 : value);
    return pinned;
}

void ray__pin_again(ray_store *store, uint32_t index) {
    uint64_t *count = &store->counts[index];
    if (!count_add(count, COUNT_PINS, 1)) {
        uint64_t value = count_lock(count);
        count_unlock(count, value + 1);
    }
}

bool ray__unpin(ray_store *store, uint32_t index) {
    ray__entry *entry = &store->table[index];
    uint64_t *count = &store->counts[index];
    uint64_t value = count_lock(count);
    if ((value & COUNT_PINS) != 1) {
        bool had = (value & COUNT_PINS) != 0;
        count_unlock(count, had ? value - 1 : value);
        return had;
    }
    RAY_CRASH_POINT();
    ray__shm_and(ray__mark_word(entry, store->pin), ~store->pin.bit);
    count_unlock(count, value - 1);
    RAY_CRASH_POINT();
    ray__pin_cleared(store, index);
    return true;
}

// ---- refs --------------------------------------------------------------------------------------------------------------

static bool is_alive_as_seen(ray__entry *entry, uint64_t seen) {
    uint64_t now = ray__shm_load(&entry->state);
    for (;;) {
        uint32_t state = ray__word_state(now);
        if (ray__state_is_free(state) || state == RAY_STATE_DELETING || !same_generation(now, seen)) {
            return false;
        }
        if ((now & RAY__FLAG_COUNTED) != 0 || ray__shm_swap_if(&entry->state, &now, now | RAY__FLAG_COUNTED)) {
            return true;
        }
    }
}

// The process's first ref is taken under the store's lock. Without it the bit would have to be taken back when the entry turns out to be
// ending, and by then it may be one that the node has given (ray_node_ref_for): the model's gift-failed-take. A further ref needs no
// lock, for an entry that this process refers to does not end behind it.
bool ray__ref_take(ray_store *store, uint32_t index, uint64_t seen) {
    ray__entry *entry = &store->table[index];
    uint64_t *count = &store->counts[index];
    if (count_add(count, COUNT_REFS, COUNT_REF)) {
        if (is_alive_as_seen(entry, seen)) {
            return true;
        }
        ray__ref_drop(store, index, false); // of another object, which has this place now
        return false;
    }
    if (ray__store_lock(store) != RAY_OK) {
        return false;
    }
    bool taken = is_alive_as_seen(entry, seen);
    if (taken) {
        uint64_t value = count_lock(count);
        taken = (value & COUNT_REFS) != COUNT_REFS;
        if (taken) {
            ray__shm_or(ray__mark_word(entry, store->ref), store->ref.bit);
            RAY_CRASH_POINT();
        }
        count_unlock(count, taken ? value + COUNT_REF : value);
    }
    ray__store_unlock(store);
    return taken;
}

void ray__ref_grant(ray_store *store, uint32_t index) {
    uint64_t *count = &store->counts[index];
    uint64_t value = count_lock(count);
    ray__shm_or(ray__mark_word(&store->table[index], store->ref), store->ref.bit);
    RAY_CRASH_POINT();
    count_unlock(count, value + COUNT_REF);
}

bool ray__ref_drop(ray_store *store, uint32_t index, bool all) {
    ray__entry *entry = &store->table[index];
    uint64_t *count = &store->counts[index];
    uint64_t value = count_lock(count);
    if ((value & COUNT_REFS) > COUNT_REF && !all) {
        count_unlock(count, value - COUNT_REF);
        return true;
    }
    RAY_CRASH_POINT();
    // Without a count the bit may still be set, by the node: then it goes, too.
    uint64_t before = ray__shm_and(ray__mark_word(entry, store->ref), ~store->ref.bit);
    count_unlock(count, value & ~COUNT_REFS);
    if ((before & store->ref.bit) == 0) {
        return false;
    }
    RAY_CRASH_POINT();
    ray__ref_cleared(store, index);
    return true;
}

// ---- looking at the bits ---------------------------------------------------------------------------------------------------

static bool clients_any(const uint64_t *words) {
    return (ray__shm_load(&words[0]) | ray__shm_load(&words[1]) | ray__shm_load(&words[2]) | ray__shm_load(&words[3])) != 0;
}

static bool node_has(const ray__entry *entry, uint64_t flag) {
    return (ray__shm_load(&entry->state) & flag) != 0;
}

bool ray__pins_any(const ray__entry *entry) {
    return node_has(entry, RAY__FLAG_NODE_PIN) || clients_any(entry->pins);
}

bool ray__refs_any(const ray__entry *entry) {
    return node_has(entry, RAY__FLAG_NODE_REF) || clients_any(entry->refs);
}

bool ray__refs_only_node(const ray__entry *entry) {
    return node_has(entry, RAY__FLAG_NODE_REF) && !clients_any(entry->refs);
}

void ray__pin_cleared(ray_store *store, uint32_t index) {
    ray__entry *entry = &store->table[index];
    if (__builtin_expect(ray__word_state(ray__shm_load(&entry->state)) != RAY_STATE_DELETING, 1) ||
        ray__pins_any(entry)) {
        return;
    }
    if (ray__store_lock(store) != RAY_OK) {
        return; // poisoned, and said so to whoever asks next
    }
    // An eviction in progress has no failure set; it ends under the lock, so it is not seen here.
    if (ray__word_state(ray__shm_load(&entry->state)) == RAY_STATE_DELETING && !ray__pins_any(entry)) {
        ray__entry_finish(store, index, RAY_STATE_FAILED);
    }
    ray__store_unlock(store);
}

void ray__ref_cleared(ray_store *store, uint32_t index) {
    ray__entry *entry = &store->table[index];
    if (ray__refs_any(entry)) {
        if (store->slot != RAY_NODE_SLOT && ray__refs_only_node(entry)) {
            ray__attention(store, index);
        }
        return;
    }
    if (ray__state_is_free(ray__word_state(ray__shm_load(&entry->state))) || ray__store_lock(store) != RAY_OK) {
        return;
    }
    ray__entry_forget(store, index);
    ray__store_unlock(store);
}
