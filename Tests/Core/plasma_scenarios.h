// SPDX-License-Identifier: Apache-2.0
// What a client does to a store, one thing at a time, for drivers that interrupt it at each of its crash points. A scenario
// begins in a store where KEPT is sealed, and KEPT + 1 is remote, both with the node's ref.
#ifndef RAY_TESTS_PLASMA_SCENARIOS_H
#define RAY_TESTS_PLASMA_SCENARIOS_H

#include "plasma_fixture.h"

enum { KEPT = 100, OWN = 1, OWN_COUNT = 6, LARGE = 1100000 };

static inline void put_own(ray_store *store, uint64_t i, uint32_t flags) {
    ray_object_id id = id_of(OWN + i);
    CHECK_OK(ray_object_put(store, &id, "12345", 5, "m", 1, flags));
}

static inline void does_attach(ray_store *store) {
    (void)store;
}

static inline void does_create(ray_store *store) {
    ray_object_writer writer;
    ray_object_id id = id_of(OWN);
    CHECK_OK(ray_object_create(store, &id, 70, 9, RAY_CREATE_WITH_REF, &writer));
    ray_object_id large = id_of(OWN + 1);
    CHECK_OK(ray_object_create(store, &large, LARGE, 0, 0, &writer));
    ray_object_abort(store, &writer);
}

static inline void does_seal(ray_store *store) {
    put_own(store, 0, RAY_CREATE_WITH_REF);
    put_own(store, 1, 0);
}

static inline void does_fill_remote(ray_store *store) {
    ray_object_id id = id_of(KEPT + 1);
    CHECK_OK(ray_object_put(store, &id, "12345", 5, NULL, 0, RAY_CREATE_WITH_REF));
}

static inline void does_get(ray_store *store) {
    ray_object_id id = id_of(KEPT);
    ray_object_view view;
    ray_object_view copy;
    CHECK_OK(ray_object_get(store, &id, 0, &view));
    ray_object_view_copy(store, &view, &copy);
    ray_object_release(store, &view);
    ray_object_release(store, &copy);
}

static inline void does_ref(ray_store *store) {
    ray_object_id id = id_of(KEPT);
    CHECK_OK(ray_ref_acquire(store, &id));
    CHECK_OK(ray_ref_release(store, &id));
}

static inline void does_free(ray_store *store) {
    put_own(store, 0, RAY_CREATE_WITH_REF);
    put_own(store, 1, RAY_CREATE_WITH_REF);
    ray_object_id id = id_of(OWN);
    CHECK_OK(ray_ref_release(store, &id));
    ray_object_view view;
    id = id_of(OWN + 1);
    CHECK_OK(ray_object_get(store, &id, 0, &view));
    CHECK_OK(ray_ref_release(store, &id));
    ray_object_release(store, &view);
}

static inline void does_delete(ray_store *store) {
    put_own(store, 0, 0);
    put_own(store, 1, RAY_CREATE_WITH_REF);
    ray_object_id id = id_of(OWN);
    ray_object_view view;
    CHECK_OK(ray_object_get(store, &id, 0, &view));
    CHECK_OK(ray_object_delete(store, &id, RAY_OBJECT_FREED));
    ray_object_release(store, &view);
    id = id_of(OWN + 1);
    CHECK_OK(ray_object_delete(store, &id, RAY_OBJECT_FREED));
    CHECK_OK(ray_ref_release(store, &id));
}

static inline void does_batch(ray_store *store) {
    ray_object_id ids[4];
    ray_object_writer writers[4];
    ray_object_view views[4];
    ray_status statuses[4];
    memset(writers, 0, sizeof writers);
    for (uint64_t i = 0; i < 4; i++) {
        ids[i] = id_of(OWN + i);
        writers[i].data_size = 40;
    }
    CHECK_OK(ray_objects_create(store, ids, 4, RAY_CREATE_WITH_REF, writers, statuses));
    for (uint64_t i = 0; i < 4; i++) {
        memset(writers[i].data, 'b', 40);
    }
    CHECK_OK(ray_objects_seal(store, writers, 4, statuses));
    CHECK_OK(ray_objects_get(store, ids, 4, 0, views, statuses));
    ray_objects_release(store, views, 4);
}

static inline void does_wait(ray_store *store) {
    ray_object_id ids[2] = {id_of(OWN), id_of(KEPT + 1)};
    uint8_t ready[2];
    uint32_t count;
    CHECK_STATUS(ray_object_wait(store, ids, 2, 1, 1000, ready, &count), RAY_TIMED_OUT);
    ray_object_view view;
    CHECK_STATUS(ray_object_get(store, &ids[1], 1000, &view), RAY_TIMED_OUT);
}

static inline void does_detach(ray_store *store) {
    put_own(store, 0, RAY_CREATE_WITH_REF);
    ray_object_view view;
    ray_object_writer writer;
    ray_object_id id = id_of(KEPT);
    CHECK_OK(ray_object_get(store, &id, 0, &view));
    CHECK_OK(ray_ref_acquire(store, &id));
    id = id_of(OWN + 1);
    CHECK_OK(ray_object_create(store, &id, 40, 0, 0, &writer));
}

typedef struct scenario {
    const char *name;
    void (*run)(ray_store *store);
} scenario;

static const scenario scenarios[] = {
    {"attach", does_attach}, {"create", does_create}, {"seal", does_seal},   {"fill remote", does_fill_remote},
    {"get", does_get},       {"ref", does_ref},       {"free", does_free},   {"delete", does_delete},
    {"batch", does_batch},   {"wait", does_wait},     {"detach", does_detach},
};

enum { SCENARIOS = sizeof scenarios / sizeof *scenarios };

static inline void scenarios_prepare(ray_store *node) {
    ray_object_id kept = id_of(KEPT);
    ray_object_id remote = id_of(KEPT + 1);
    uint32_t state;
    CHECK_OK(ray_object_put(node, &kept, "value", 5, NULL, 0, 0));
    CHECK_OK(ray_node_adopt(node, &kept, &state));
    CHECK_OK(ray_node_adopt(node, &remote, &state));
}

static inline void listen_to(ray_store *node) {
    ray_object_info infos[8];
    uint32_t count;
    while (ray_node_attention_wait(node, 0, infos, 8, &count) == RAY_OK) {
    }
}

// The client has gone and was reaped: takes away what it may leave, and finds the store as it was.
static inline void scenarios_check_end(ray_store *node, uint64_t used_bytes, uint32_t entry_count) {
    CHECK_OK(ray_plasma_check(node, 2));
    listen_to(node);
    for (uint64_t i = 0; i < OWN_COUNT; i++) {
        ray_object_id id = id_of(OWN + i);
        ray_object_info info;
        if (ray_object_stat(node, &id, &info) == RAY_OK) {
            CHECK_EQUAL(info.state, RAY_STATE_SEALED);
            CHECK_EQUAL(info.pin_slot_count + info.ref_slot_count, 0);
            CHECK_OK(ray_object_delete(node, &id, RAY_OBJECT_FREED));
        }
    }
    ray_object_id remote = id_of(KEPT + 1);
    if (state_of(node, KEPT + 1) == RAY_STATE_SEALED) {
        CHECK_OK(ray_node_evict(node, &remote, NULL));
    }
    CHECK_EQUAL(state_of(node, KEPT + 1), RAY_STATE_REMOTE);
    ray_object_id kept = id_of(KEPT);
    ray_object_view view;
    CHECK_OK(ray_object_get(node, &kept, 0, &view));
    CHECK(view.data_size == 5 && memcmp(view.data, "value", 5) == 0);
    ray_object_release(node, &view);
    listen_to(node);
    ray_store_stats stats = stats_of(node);
    CHECK_EQUAL(stats.pinned_bytes, 0);
    CHECK_EQUAL(stats.used_bytes, used_bytes);
    CHECK_EQUAL(stats.entry_count, entry_count);
    CHECK_OK(ray_plasma_check(node, 2));
}

// What a client that goes on does: it must be able to.
static inline void use_store(ray_store *store, uint64_t number) {
    ray_object_id id = id_of(number);
    ray_object_view view;
    CHECK_OK(ray_object_put(store, &id, "other", 5, NULL, 0, RAY_CREATE_WITH_REF));
    CHECK_OK(ray_object_get(store, &id, 0, &view));
    CHECK(memcmp(view.data, "other", 5) == 0);
    CHECK_OK(ray_ref_release(store, &id));
    ray_object_release(store, &view);
    CHECK_STATUS(ray_object_get(store, &id, 0, &view), RAY_NOT_FOUND);
    id = id_of(KEPT);
    CHECK_OK(ray_object_get(store, &id, 0, &view));
    CHECK(memcmp(view.data, "value", 5) == 0);
    ray_object_release(store, &view);
}

#endif
