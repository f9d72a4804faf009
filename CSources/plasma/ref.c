// SPDX-License-Identifier: Apache-2.0
// Refs and delete.
#include "plasma/store_internal.h"

#define TRIES_MAX 10000u

static ray_status not_known(const ray_object_id *id, const char *what) {
    char name[RAY_OBJECT_ID_HEX_SIZE];
    ray_object_id_format(id, name);
    return ray__fail(RAY_NOT_FOUND, "%s: object %s is not known here", what, name);
}

ray_status ray_ref_acquire(ray_store *store, const ray_object_id *id) {
    RAY__GATE(store);
    RAY_TRY(ray__store_enter(store));
    uint64_t hash = ray_object_id_hash(id);
    for (uint32_t i = 0; i < TRIES_MAX; i++) {
        uint32_t index;
        uint64_t word;
        if (!ray__table_find(store, id, hash, &index, &word)) {
            return not_known(id, "take a ref");
        }
        if (ray__word_state(word) != RAY_STATE_DELETING) {
            if (ray__ref_take(store, index, word)) {
                return RAY_OK;
            }
        } else if (ray__entry_failure(&store->table[index]) != RAY_OK) {
            return not_known(id, "take a ref");
        } else {
            RAY_TRY(ray__store_lock(store)); // an eviction, which ends under the lock
            ray__store_unlock(store);
        }
    }
    return ray__fail(RAY_AGAIN, "take a ref: the object does not come to rest");
}

ray_status ray_ref_release(ray_store *store, const ray_object_id *id) {
    RAY__GATE(store);
    RAY_TRY(ray__store_enter(store));
    uint32_t index;
    uint64_t word;
    if (!ray__table_find(store, id, ray_object_id_hash(id), &index, &word)) {
        return not_known(id, "drop a ref");
    }
    if (!ray__ref_drop(store, index, false)) {
        char name[RAY_OBJECT_ID_HEX_SIZE];
        ray_object_id_format(id, name);
        return ray__fail(RAY_NOT_FOUND, "drop a ref: this process holds none of object %s", name);
    }
    return RAY_OK;
}

// A failure that a get could not tell from "not here yet" would make it wait for ever.
static bool is_failure(ray_status status) {
    return status > 0 && (uint32_t)status <= RAY__ACCESS_STATUS_MASK && status != RAY_NOT_FOUND &&
           status != RAY_NOT_SEALED && status != RAY_NOT_LOCAL && status != RAY_AGAIN;
}

static ray_status refuse_failure(ray_status failure) {
    return ray__fail(RAY_INVALID_ARGUMENT, "status %d (%s) cannot be what a get of an ended object answers", failure,
                     ray_status_name(failure));
}

ray_status ray_object_delete(ray_store *store, const ray_object_id *id, ray_status failure) {
    RAY__GATE(store);
    RAY_TRY(ray__store_enter(store));
    if (!is_failure(failure)) {
        return refuse_failure(failure);
    }
    uint32_t index;
    uint64_t word;
    uint64_t hash = ray_object_id_hash(id);
    ray__table_warm(store, hash);
    RAY_TRY(ray__store_lock(store));
    bool known = ray__table_locate(store, id, hash, &index, &word);
    if (known) {
        ray__entry_end(store, index, failure);
    }
    ray__store_unlock(store);
    return known ? RAY_OK : not_known(id, "delete");
}

ray_status ray_node_fail(ray_store *store, const ray_object_id *id, ray_status failure) {
    RAY__GATE(store);
    RAY_TRY(ray__store_enter_node(store, "fail an object"));
    if (!is_failure(failure)) {
        return refuse_failure(failure);
    }
    uint32_t index;
    uint64_t word = 0;
    RAY_TRY(ray__store_lock(store));
    bool known = ray__table_locate(store, id, ray_object_id_hash(id), &index, &word);
    uint32_t state = known ? ray__word_state(word) : RAY_STATE_EMPTY;
    bool has_value = ray__state_has_block(state);
    if (known && !has_value) {
        ray__entry_end(store, index, failure);
    }
    ray__store_unlock(store);
    if (has_value) {
        return ray__fail(RAY_EXISTS, "fail an object: it has a value, or is getting one; delete it");
    }
    return known ? RAY_OK : not_known(id, "fail an object");
}
