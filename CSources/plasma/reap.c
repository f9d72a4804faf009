// SPDX-License-Identifier: Apache-2.0
// Undoing what a process has left.
#include "plasma/arena_internal.h"

static bool clear_bit(uint64_t *words, uint32_t slot) {
    uint64_t bit = 1ull << slot % 64;
    bool set = (ray__shm_load(&words[slot / 64]) & bit) != 0;
    if (set) {
        ray__shm_and(&words[slot / 64], ~bit);
        RAY_CRASH_POINT();
    }
    return set;
}

// Under the lock: what nobody has goes. The dead may have cleared the last bit and not got farther.
static void settle(ray_store *store, uint32_t index, uint32_t slot, ray_reap_report *report) {
    ray__entry *entry = &store->table[index];
    uint64_t word = ray__shm_load(&entry->state);
    uint32_t state = ray__word_state(word);
    if (state == RAY_STATE_CREATING && ray__word_creator(word) == slot) {
        ray__entry_abort(store, index);
        report->aborted_count++;
        return;
    }
    if (state == RAY_STATE_DELETING && !ray__pins_any(entry)) {
        ray__entry_finish(store, index, RAY_STATE_FAILED);
    } else {
        ray__entry_forget(store, index);
    }
    bool had_value = state == RAY_STATE_SEALED || state == RAY_STATE_DELETING;
    uint32_t now = ray__word_state(ray__shm_load(&entry->state));
    report->freed_count += had_value && (ray__state_is_free(now) || now == RAY_STATE_FAILED);
}

static bool wants_settling(const ray__entry *entry, uint32_t slot) {
    uint64_t word = ray__shm_load(&entry->state);
    uint32_t state = ray__word_state(word);
    if (ray__state_is_free(state)) {
        return false;
    }
    bool unsealed = state == RAY_STATE_CREATING && ray__word_creator(word) == slot;
    return unsealed || !ray__refs_any(entry) || state == RAY_STATE_DELETING;
}

ray_status ray__slot_sweep(ray_store *store, uint32_t slot, ray_reap_report *report) {
    *report = (ray_reap_report){0, 0, 0, 0};
    bool reaping = slot != store->slot;
    for (uint32_t i = 0; i < store->layout.table_size; i++) {
        ray__entry *entry = &store->table[i];
        bool had_pin = clear_bit(entry->pins, slot);
        bool had_ref = clear_bit(entry->refs, slot);
        report->pin_count += had_pin;
        report->ref_count += had_ref;
        if (wants_settling(entry, slot)) {
            RAY_TRY(ray__store_lock(store));
            settle(store, i, slot, report);
            ray__store_unlock(store);
        }
        // A dead client may have cleared its bit and not called; to look once more is harmless.
        if ((reaping || had_ref) && slot != RAY_NODE_SLOT && ray__refs_only_node(entry)) {
            ray__attention(store, i);
        }
        uint64_t word = ray__shm_load(&entry->state);
        uint32_t state = ray__word_state(word);
        if (reaping && (word & RAY__FLAG_WATCHED) != 0 &&
            (state == RAY_STATE_SEALED || state == RAY_STATE_FAILED || state == RAY_STATE_DELETING)) {
            ray__attention(store, i);
        }
    }
    return RAY_OK;
}

ray_status ray_store_slot_reap(ray_store *store, uint32_t slot, ray_reap_report *report) {
    *report = (ray_reap_report){0, 0, 0, 0};
    RAY_TRY(ray__store_enter_node(store, "reap a slot"));
    if (slot == RAY_NODE_SLOT || slot >= RAY_CLIENTS_MAX ||
        ray__shm_load32(&store->slots[slot].state) == RAY__SLOT_FREE) {
        return ray__fail(RAY_INVALID_ARGUMENT, "reap a slot: slot %u has no client", slot);
    }
    // Whoever died with the lock is found by taking it. From here on the node gives this client no more refs.
    RAY_TRY(ray__store_lock(store));
    ray__shm_add32(&store->slots[slot].serial, 1);
    ray__store_unlock(store);
    RAY_TRY(ray__slot_sweep(store, slot, report));
    ray__wait_forget_slot(store, slot);
    // It may have sealed and not woken.
    ray__wake_everybody(store);
    ray__attention_repair(store);
    ray__shm_store32(&store->slots[slot].state, RAY__SLOT_FREE);
    return RAY_OK;
}
