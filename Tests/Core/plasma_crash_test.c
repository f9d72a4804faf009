// SPDX-License-Identifier: Apache-2.0
// A client dies at every crash point of a scenario in turn; after each death the node reaps it, everything is checked, and the store is used
// on. Needs a library with crash points: make BUILD=build/crash CFLAGS="-O1 -g -DRAY_CRASH_POINTS" build/crash/tests/plasma_crash_test
#include "check.h"

#ifndef RAY_CRASH_POINTS
int main(void) {
    SKIP("built without RAY_CRASH_POINTS");
}
#else
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "base/crash_internal.h"
#include "plasma/store_internal.h"
#include "plasma_fixture.h"
#include "wait_fixture.h"

enum { KEPT = 100, PROMISED = 200, PROMISED_COUNT = 3, LARGE = 1100000 };

static void wait_in_many_buckets(ray_store *store) {
    ray_object_id ids[8];
    uint8_t ready[8];
    uint32_t count;
    for (uint64_t i = 0; i < 8; i++) {
        ids[i] = id_of(1000 + i);
    }
    CHECK_STATUS(ray_object_wait(store, ids, 8, 1, 1000, ready, &count), RAY_TIMED_OUT);
}

static void many_at_once(ray_store *store) {
    ray_object_id ids[3];
    ray_object_writer writers[3] = {{.data_size = 5}, {.data_size = 70}, {.metadata_size = 1}};
    ray_object_view views[3];
    ray_status statuses[3];
    for (uint64_t i = 0; i < 3; i++) {
        ids[i] = id_of(10 + i);
    }
    CHECK_OK(ray_objects_create(store, ids, 3, RAY_CREATE_WITH_REF, writers, statuses));
    CHECK_OK(ray_objects_seal(store, writers, 3, statuses));
    CHECK_OK(ray_objects_get(store, ids, 3, 0, views, statuses));
    ray_objects_release(store, views, 3);
    for (uint64_t i = 0; i < 3; i++) {
        CHECK_OK(ray_ref_release(store, &ids[i]));
    }
}

// Small blocks go into the client's cache and come out of it, and a create that finds no room takes them back.
static void cached_and_taken_back(ray_store *store) {
    for (uint64_t i = 0; i < 6; i++) {
        ray_object_id id = id_of(20 + i);
        CHECK_OK(ray_object_put(store, &id, "12345", 5, NULL, 0, RAY_CREATE_WITH_REF));
        if (i % 3 == 2) {
            for (uint64_t k = i - 2; k <= i; k++) {
                id = id_of(20 + k);
                CHECK_OK(ray_ref_release(store, &id));
            }
        }
    }
    ray_object_id id = id_of(30);
    ray_object_writer writer;
    CHECK_STATUS(ray_object_create(store, &id, 8 << 20, 0, 0, &writer), RAY_STORE_FULL);
}

// What the node has created for this client: one that it fills, one that it declines, one that it never hears of.
static void promised(ray_store *store) {
    ray_object_writer writer;
    ray_object_id id = id_of(PROMISED);
    CHECK_OK(ray_object_accept(store, &id, RAY_CREATE_WITH_REF, &writer));
    CHECK_OK(ray_object_seal(store, &writer));
    CHECK_OK(ray_ref_release(store, &id));
    id = id_of(PROMISED + 1);
    ray_object_decline(store, &id);
}

// Everything a client can do to the store, each with and without neighbours that make the allocator split and join.
static void scenario(ray_store *store) {
    ray_object_writer writer;
    ray_object_view view;
    ray_object_view copy;
    ray_object_id kept = id_of(KEPT);
    ray_object_id adopted = id_of(KEPT + 1);
    ray_object_id watched = id_of(KEPT + 2);
    for (uint64_t i = 0; i < 4; i++) {
        ray_object_id id = id_of(i);
        CHECK_OK(ray_object_put(store, &id, "12345", 5, "m", 1, i % 2 == 0 ? RAY_CREATE_WITH_REF : 0));
    }
    ray_object_id id = id_of(1);
    CHECK_OK(ray_object_delete(store, &id, RAY_OBJECT_FREED));
    id = id_of(4);
    CHECK_OK(ray_object_create(store, &id, LARGE, 0, 0, &writer));
    ray_object_abort(store, &writer);
    id = id_of(0);
    CHECK_OK(ray_object_get(store, &id, 0, &view));
    CHECK_OK(ray_ref_release(store, &id));
    ray_object_release(store, &view);
    CHECK_OK(ray_ref_acquire(store, &kept));
    CHECK_OK(ray_object_get(store, &kept, 0, &view));
    ray_object_view_copy(store, &view, &copy);
    ray_object_release(store, &view);
    ray_object_release(store, &copy);
    CHECK_OK(ray_ref_release(store, &kept));
    CHECK_OK(ray_ref_acquire(store, &adopted));
    CHECK_OK(ray_ref_release(store, &adopted));
    CHECK_OK(ray_object_create(store, &watched, 70, 0, RAY_CREATE_WITH_REF, &writer));
    CHECK_OK(ray_object_seal(store, &writer));
    CHECK_OK(ray_object_delete(store, &watched, RAY_OBJECT_FREED));
    CHECK_STATUS(ray_object_get(store, &watched, 0, &view), RAY_OBJECT_FREED);
    CHECK_OK(ray_ref_release(store, &watched));
    id = id_of(5);
    CHECK_OK(ray_object_create(store, &id, 70, 0, RAY_CREATE_WITH_REF, &writer));
    CHECK_OK(ray_ref_release(store, &id));
    CHECK_STATUS(ray_object_seal(store, &writer), RAY_OBJECT_FREED);
    uint8_t ready;
    uint32_t count;
    CHECK_STATUS(ray_object_wait(store, &id, 1, 1, 1000, &ready, &count), RAY_TIMED_OUT);
    CHECK_STATUS(ray_object_get(store, &id, 1000, &view), RAY_TIMED_OUT);
    wait_in_many_buckets(store);
    many_at_once(store);
    cached_and_taken_back(store);
    promised(store);
}

static void drain(ray_store *node) {
    ray_object_info infos[8];
    uint32_t count;
    while (ray_node_attention_wait(node, 0, infos, 8, &count) == RAY_OK) {
    }
}

static void after_a_death(ray_store *node, uint32_t slot, uint64_t used, uint32_t entries) {
    ray_reap_report report;
    CHECK_OK(ray_store_slot_reap(node, slot, &report));
    CHECK_OK(ray_plasma_check(node, 2));
    drain(node);
    // What the scenario put without a ref and had not deleted yet is sealed, or never was.
    for (uint64_t i = 0; i < 6; i++) {
        ray_object_id id = id_of(i);
        ray_status status = ray_object_delete(node, &id, RAY_OBJECT_FREED);
        CHECK(status == RAY_NOT_FOUND || (status == RAY_OK && i % 2 == 1));
    }
    ray_object_id kept = id_of(KEPT);
    ray_object_view view;
    CHECK_OK(ray_object_get(node, &kept, 0, &view));
    CHECK(memcmp(view.data, "value", 5) == 0);
    ray_object_release(node, &view);
    ray_object_id watched = id_of(KEPT + 2);
    (void)ray_node_disown(node, &watched);
    drain(node);
    ray_store_stats stats = stats_of(node);
    CHECK_EQUAL(stats.pinned_bytes, 0);
    CHECK_EQUAL(stats.used_bytes, used);
    CHECK_EQUAL(stats.entry_count, entries);
    CHECK_OK(ray_plasma_check(node, 2));
}

static void death_at_every_point_leaves_nothing(void) {
    ray_store *node = make_store(8 << 20, 64);
    ray_object_id kept = id_of(KEPT);
    ray_object_id adopted = id_of(KEPT + 1);
    ray_object_id watched = id_of(KEPT + 2);
    uint32_t state;
    CHECK_OK(ray_object_put(node, &kept, "value", 5, NULL, 0, 0));
    CHECK_OK(ray_node_adopt(node, &kept, &state));
    CHECK_OK(ray_node_adopt(node, &adopted, &state));
    ray_store_stats before = stats_of(node);
    bool survived = false;
    uint64_t point = 0;
    while (!survived) {
        point++;
        uint32_t slot;
        CHECK_OK(ray_store_slot_claim(node, 0, &slot));
        CHECK_OK(ray_node_adopt(node, &watched, &state));
        CHECK_OK(ray_node_watch(node, &watched));
        for (uint64_t i = 0; i < PROMISED_COUNT; i++) {
            ray_object_id id = id_of(PROMISED + i);
            CHECK_OK(ray_node_create_for(node, slot, ray_store_slot_serial(node, slot), &id, i == 0 ? LARGE : 70, 0, RAY_CREATE_WITH_REF));
        }
        uint32_t seen;
        CHECK_OK(ray_node_room_watch(node, &seen));
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            ray_store *store = attach_slot(ray_store_meta_fd(node), ray_store_data_fd(node), slot);
            ray__crash_passed = 0;
            ray__crash_at = point;
            scenario(store);
            ray_store_close(store);
            _exit(0);
        }
        int status;
        CHECK_EQUAL(waitpid(child, &status, 0), child);
        survived = WIFEXITED(status);
        CHECK(survived ? WEXITSTATUS(status) == 0 : WTERMSIG(status) == SIGKILL);
        after_a_death(node, slot, before.used_bytes, before.entry_count);
    }
    fprintf(stderr, "  %" PRIu64 " points\n", point - 1);
    CHECK(point > 50);
    check_and_close(node);
}

// A client that waits for the adopted object: it exits with 0 when it is sealed, 1 when it failed.
static pid_t start_getter(ray_store *node, uint32_t *slot) {
    CHECK_OK(ray_store_slot_claim(node, 0, slot));
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        ray_store *store = attach_slot(ray_store_meta_fd(node), ray_store_data_fd(node), *slot);
        ray_object_id id = id_of(KEPT);
        ray_object_view view;
        ray_status status = ray_object_get(store, &id, 20000000000u, &view);
        ray_store_close(store);
        _exit(status == RAY_OK ? 0 : status == RAY_OBJECT_LOST ? 1 : 2);
    }
    return child;
}

// True when the child lived to its end.
static bool put_and_die_at(ray_store *node, uint64_t point) {
    uint32_t slot;
    CHECK_OK(ray_store_slot_claim(node, 0, &slot));
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        ray_store *store = attach_slot(ray_store_meta_fd(node), ray_store_data_fd(node), slot);
        ray_object_id id = id_of(KEPT);
        ray__crash_passed = 0;
        ray__crash_at = point;
        CHECK_OK(ray_object_put(store, &id, "value", 5, NULL, 0, 0));
        _exit(0);
    }
    int status;
    CHECK_EQUAL(waitpid(child, &status, 0), child);
    CHECK(WIFEXITED(status) ? WEXITSTATUS(status) == 0 : WTERMSIG(status) == SIGKILL);
    ray_reap_report report;
    CHECK_OK(ray_store_slot_reap(node, slot, &report));
    return WIFEXITED(status);
}

static void a_sealer_that_dies_at_any_point_leaves_no_getter_asleep(void) {
    ray_store *node = make_store(1 << 20, 64);
    ray_object_id id = id_of(KEPT);
    // Taking memory has a crash point of its own, which only the first put would pass.
    CHECK_OK(ray_store_prefault(node, 1 << 20));
    uint32_t sealed_dead = 0;
    bool survived = false;
    for (uint64_t point = 1; !survived; point++) {
        uint32_t state;
        uint32_t slot;
        CHECK_OK(ray_node_adopt(node, &id, &state));
        pid_t getter = start_getter(node, &slot);
        await_wait(node, slot, id_of(KEPT));
        survived = put_and_die_at(node, point);
        bool sealed = state_of(node, KEPT) == RAY_STATE_SEALED;
        sealed_dead += sealed && !survived;
        if (!sealed) {
            CHECK_OK(ray_node_fail(node, &id, RAY_OBJECT_LOST));
        }
        int status;
        CHECK_EQUAL(waitpid(getter, &status, 0), getter);
        CHECK(WIFEXITED(status));
        CHECK_EQUAL(WEXITSTATUS(status), sealed ? 0 : 1);
        ray_reap_report report;
        CHECK_OK(ray_store_slot_reap(node, slot, &report));
        CHECK_OK(ray_node_disown(node, &id));
        CHECK_EQUAL(stats_of(node).entry_count, 0);
        CHECK_OK(ray_plasma_check(node, 2));
    }
    // After the state's change, after the bucket's number moved, after the waiter's own did.
    CHECK(sealed_dead >= 3);
    check_and_close(node);
}

int main(void) {
    RUN(death_at_every_point_leaves_nothing);
    RUN(a_sealer_that_dies_at_any_point_leaves_no_getter_asleep);
    return 0;
}
#endif
