// SPDX-License-Identifier: Apache-2.0
// Undoing what a process has left.
#include "plasma/arena_internal.h"

static bool clear_mark(ray__entry *entry, ray__mark mark) {
    uint64_t *word = ray__mark_word(entry, mark);
    bool set = (ray__shm_load(word) & mark.bit) != 0;
    if (set) {
        ray__shm_and(word, ~mark.bit);
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

// What somebody else has left is looked at closely: it may have cleared its bit and not called, and to look once more is harmless.
static void call_again(ray_store *store, uint32_t index) {
    const ray__entry *entry = &store->table[index];
    if (ray__refs_only_node(entry)) {
        ray__attention(store, index);
    }
    uint64_t word = ray__shm_load(&entry->state);
    uint32_t state = ray__word_state(word);
    if ((word & RAY__FLAG_WATCHED) != 0 &&
        (state == RAY_STATE_SEALED || state == RAY_STATE_FAILED || state == RAY_STATE_DELETING)) {
        ray__attention(store, index);
    }
}

static ray_status sweep_entry(ray_store *store, uint32_t index, uint32_t slot, bool with_ref, ray_reap_report *report) {
    ray__entry *entry = &store->table[index];
    report->pin_count += clear_mark(entry, ray__pin_of(slot));
    report->ref_count += with_ref && clear_mark(entry, ray__ref_of(slot));
    if (wants_settling(entry, slot)) {
        RAY_TRY(ray__store_lock(store));
        settle(store, index, slot, report);
        ray__store_unlock(store);
    }
    return RAY_OK;
}

static ray_status flush_cache(ray_store *store, uint32_t slot) {
    RAY_TRY(ray__store_lock(store));
    bool sound = ray__arena_flush(store, slot);
    ray__store_unlock(store);
    return sound ? RAY_OK : ray__store_poison(store, "the cache of slot %u leads nowhere", slot);
}

ray_status ray__slot_sweep(ray_store *store, uint32_t slot, ray_reap_report *report) {
    *report = (ray_reap_report){0, 0, 0, 0};
    bool reaping = slot != store->slot;
    for (uint32_t i = 0; i < store->layout.table_size; i++) {
        uint32_t refs_before = report->ref_count;
        RAY_TRY(sweep_entry(store, i, slot, true, report));
        if (reaping) {
            call_again(store, i);
        } else if (report->ref_count != refs_before && slot != RAY_NODE_SLOT && ray__refs_only_node(&store->table[i])) {
            ray__attention(store, i);
        }
    }
    // Last: what the sweep freed went through the cache of whoever sweeps.
    return flush_cache(store, slot);
}

ray_status ray__node_succeed(ray_store *store) {
    ray_reap_report report = {0, 0, 0, 0};
    ray__slot *slot = &store->slots[RAY_NODE_SLOT];
    // Whoever died with the lock is found by taking it. The dead one's handle, should a fork of it close one, touches nothing any more.
    RAY_TRY(ray__store_lock(store));
    store->slot_serial = ray__shm_add32(&slot->serial, 1) + 1;
    // Nobody waits at this node yet.
    ray__shm_store32(&store->header->room_wanted, 0);
    store->header->room_pass = 0;
    store->header->room_kept = 0;
    ray__store_unlock(store);
    RAY_CRASH_POINT();
    for (uint32_t i = 0; i < store->layout.table_size; i++) {
        RAY_TRY(sweep_entry(store, i, RAY_NODE_SLOT, false, &report));
        call_again(store, i);
    }
    ray__wait_forget_slot(store, RAY_NODE_SLOT);
    ray__wake_everybody(store);
    ray__attention_repair(store);
    return RAY_OK;
}

ray_status ray_store_slot_reap(ray_store *store, uint32_t slot, ray_reap_report *report) {
    RAY__GATE(store);
    *report = (ray_reap_report){0, 0, 0, 0};
    RAY_TRY(ray__store_enter_node(store, "reap a slot"));
    if (slot == RAY_NODE_SLOT || slot > RAY_CLIENTS_MAX ||
        ray__shm_load32(&store->slots[slot].state) == RAY__SLOT_FREE) {
        return ray__fail(RAY_INVALID_ARGUMENT, "reap a slot: slot %u has no client", slot);
    }
    // Whoever died with the lock is found by taking it. From here on the node gives this client no more refs.
    RAY_TRY(ray__store_lock(store));
    ray__shm_add32(&store->slots[slot].serial, 1);
    ray__store_unlock(store);
    RAY_CRASH_POINT();
    RAY_TRY(ray__slot_sweep(store, slot, report));
    ray__wait_forget_slot(store, slot);
    // It may have sealed and not woken.
    ray__wake_everybody(store);
    ray__attention_repair(store);
    RAY_CRASH_POINT();
    ray__shm_store32(&store->slots[slot].state, RAY__SLOT_FREE);
    return RAY_OK;
}
