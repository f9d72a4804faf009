// SPDX-License-Identifier: Apache-2.0
// The node's attention: a bit an entry, and two levels above it that say where bits are.
//
// Who calls sets the bit, then the bit for its word, then the bit for that word. The node clears from above and looks below after
// each, so a bit that is set while it looks is seen now or at the next look. Setting a bit twice is setting it once: nothing can overflow, and
// a caller that dies between two levels has left a bit that the reaper's repair finds.
#include "base/clock_internal.h"
#include "base/futex_internal.h"
#include "plasma/store_internal.h"

#define NUDGE_NS 1000000000u // a wait for 10,000 ids looks at all of them in a millisecond

void ray__attention(ray_store *store, uint32_t index) {
    RAY_CRASH_POINT();
    for (int level = 0; level < 3; level++) {
        ray__shm_or(&store->attention[level][index / 64], 1ull << index % 64);
        RAY_CRASH_POINT();
        index /= 64;
    }
    if (ray__shm_load32(&store->header->attention_waiting) != 0) {
        ray__shm_add32(&store->header->attention_seq, 1);
        ray__futex_wake_all(&store->header->attention_seq);
    }
}

void ray__attention_repair(ray_store *store) {
    for (int level = 0; level < 2; level++) {
        for (uint32_t i = 0; i < store->layout.attention_words[level]; i++) {
            if (ray__shm_load(&store->attention[level][i]) != 0) {
                ray__shm_or(&store->attention[level + 1][i / 64], 1ull << i % 64);
            }
        }
    }
    ray__shm_add32(&store->header->attention_seq, 1);
    ray__futex_wake_all(&store->header->attention_seq);
}

// The watch of an entry ends when the node has seen what became of it. An ending value that is still pinned has become nothing yet.
static void end_watch(ray_store *store, uint32_t index, uint64_t word) {
    ray__entry *entry = &store->table[index];
    uint32_t state = ray__word_state(word);
    if ((word & RAY__FLAG_WATCHED) == 0 ||
        (state != RAY_STATE_SEALED && state != RAY_STATE_FAILED && state != RAY_STATE_DELETING)) {
        return;
    }
    if (state != RAY_STATE_DELETING && ray__shm_swap_if(&entry->state, &word, word & ~(uint64_t)RAY__FLAG_WATCHED)) {
        return;
    }
    if (ray__store_lock(store) != RAY_OK) {
        return;
    }
    uint64_t now = ray__shm_load(&entry->state);
    state = ray__word_state(now);
    bool is_pinned_end = state == RAY_STATE_DELETING && ray__pins_any(entry);
    if (ray__word_generation(now) == ray__word_generation(word) && !ray__state_is_free(state) && !is_pinned_end) {
        ray__entry_move(entry, state, RAY__FLAG_WATCHED, 0);
        if (state == RAY_STATE_DELETING) {
            ray__entry_finish(store, index, RAY_STATE_FAILED);
        }
    }
    ray__store_unlock(store);
}

// Reads the entry of a bit that was just cleared. False when it is gone, unwatched.
static bool name_entry(ray_store *store, uint32_t index, ray_object_info *info) {
    ray__entry *entry = &store->table[index];
    uint64_t word;
    do {
        word = ray__shm_load(&entry->state);
        if (ray__state_is_free(ray__word_state(word))) {
            return false;
        }
        ray__entry_info(store, index, word, info);
        ray__shm_fence_acquire();
    } while (!ray__word_same(ray__shm_load(&entry->state), word));
    end_watch(store, index, word);
    return true;
}

static bool take_bit(uint64_t *words, uint32_t word, uint32_t *bit) {
    uint64_t bits = ray__shm_load(&words[word]);
    if (bits == 0) {
        return false;
    }
    *bit = (uint32_t)__builtin_ctzll(bits);
    ray__shm_and(&words[word], ~(1ull << *bit));
    return true;
}

// Takes up to `capacity` entries from one word of the lowest level; leaves the levels above set if it could not take all.
static uint32_t take_word(ray_store *store, uint32_t word, ray_object_info *infos, uint32_t capacity) {
    uint32_t count = 0;
    uint32_t bit;
    while (count < capacity && take_bit(store->attention[0], word, &bit)) {
        uint32_t index = word * 64 + bit;
        count += index < store->layout.table_size && name_entry(store, index, &infos[count]);
    }
    if (ray__shm_load(&store->attention[0][word]) != 0) {
        ray__shm_or(&store->attention[1][word / 64], 1ull << word % 64);
    }
    return count;
}

static uint32_t take_all(ray_store *store, ray_object_info *infos, uint32_t capacity) {
    uint32_t count = 0;
    for (uint32_t top = 0; top < store->layout.attention_words[2]; top++) {
        uint32_t upper;
        while (count < capacity && take_bit(store->attention[2], top, &upper)) {
            uint32_t middle = top * 64 + upper;
            uint32_t lower;
            while (count < capacity && middle < store->layout.attention_words[1] &&
                   take_bit(store->attention[1], middle, &lower)) {
                uint32_t word = middle * 64 + lower;
                if (word < store->layout.attention_words[0]) {
                    count += take_word(store, word, infos + count, capacity - count);
                }
            }
            if (middle < store->layout.attention_words[1] && ray__shm_load(&store->attention[1][middle]) != 0) {
                ray__shm_or(&store->attention[2][top], 1ull << upper);
            }
        }
    }
    return count;
}

// A client that was stopped after it sealed and before it woke anybody leaves others asleep beside what they wait for. It may stay so for ever;
// so all are told to look once a second.
static void nudge(ray_store *store) {
    uint64_t now = ray__now_ns();
    uint64_t last = ray__shm_load(&store->nudged_ns);
    if (now - last >= NUDGE_NS && ray__shm_swap_if(&store->nudged_ns, &last, now)) {
        ray__wake_everybody(store);
    }
}

ray_status ray_node_attention_wait(ray_store *store, uint64_t timeout_ns, ray_object_info *infos, uint32_t capacity,
                                   uint32_t *count) {
    RAY__GATE(store);
    *count = 0;
    RAY_TRY(ray__store_enter_node(store, "wait for attention"));
    if (capacity == 0) {
        return ray__fail(RAY_INVALID_ARGUMENT, "wait for attention with room for no entry");
    }
    uint64_t deadline = ray__deadline_ns(timeout_ns);
    ray__header *header = store->header;
    nudge(store);
    for (bool in_time = timeout_ns != 0;;) {
        // The flag stays set from the first wait on: a wake in vain costs less than one that is missed by a second thread.
        ray__shm_store32(&header->attention_waiting, 1);
        uint32_t seq = ray__shm_load32(&header->attention_seq);
        if (ray__shm_load32(&store->attention_stopped) != 0) {
            return ray__fail(RAY_CLOSED, "the node stopped listening to its store");
        }
        if (ray__shm_load32(&header->lock_wanted) != 0) {
            ray__lock_look(store);
        }
        *count = take_all(store, infos, capacity);
        if (*count != 0) {
            return RAY_OK;
        }
        RAY_TRY(ray__store_enter(store));
        if (!in_time) {
            return ray__fail(RAY_TIMED_OUT, "nothing in the store wants the node's attention");
        }
        uint64_t nudge_at = ray__shm_load(&store->nudged_ns) + NUDGE_NS;
        bool woken = ray__futex_wait(&header->attention_seq, seq, deadline < nudge_at ? deadline : nudge_at);
        in_time = woken || nudge_at < deadline;
        nudge(store);
    }
}

void ray_node_attention_stop(ray_store *store) {
    RAY__GATE(store);
    if (ray__store_enter(store) == RAY_OK && store->slot == RAY_NODE_SLOT) {
        ray__shm_store32(&store->attention_stopped, 1);
        ray__shm_add32(&store->header->attention_seq, 1);
        ray__futex_wake_all(&store->header->attention_seq);
    }
}
