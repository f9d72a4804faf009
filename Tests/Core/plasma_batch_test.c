// SPDX-License-Identifier: Apache-2.0
// Many objects in one call: each succeeds or fails by itself, and nothing is left of what failed.
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "check.h"
#include "plasma/store_internal.h"
#include "plasma_fixture.h"

enum { COUNT = 100 }; // three runs of the lock and a part of one

static void ids_from(ray_object_id *ids, uint32_t count, uint64_t first) {
    for (uint32_t i = 0; i < count; i++) {
        ids[i] = id_of(first + i);
    }
}

static void put_all(ray_store *store, uint64_t first, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        ray_object_id id = id_of(first + i);
        CHECK_OK(ray_object_put(store, &id, &i, sizeof i, "m", 1, 0));
    }
}

static void check_void(const ray_object_view *view) {
    CHECK(view->data == NULL && view->metadata == NULL && view->generation == 0 && view->data_size == 0);
}

static void what_is_created_and_sealed_together_is_there(void) {
    ray_store *node = make_store(1 << 20, 256);
    ray_object_id ids[COUNT];
    ray_object_writer writers[COUNT];
    ray_object_view views[COUNT];
    ray_status statuses[COUNT];
    ids_from(ids, COUNT, 0);
    for (uint32_t i = 0; i < COUNT; i++) {
        writers[i] = (ray_object_writer){.data_size = i * 10, .metadata_size = i % 3};
    }
    CHECK_OK(ray_objects_create(node, ids, COUNT, RAY_CREATE_WITH_REF, writers, statuses));
    for (uint32_t i = 0; i < COUNT; i++) {
        CHECK_STATUS(statuses[i], RAY_OK);
        CHECK_EQUAL(writers[i].data_size, i * 10);
        CHECK((writers[i].data == NULL) == (i == 0) && (writers[i].metadata == NULL) == (i % 3 == 0));
        for (uint32_t k = 0; k < i * 10; k++) {
            writers[i].data[k] = (uint8_t)i;
        }
    }
    CHECK_STATUS(ray_objects_get(node, ids, COUNT, 0, views, statuses), RAY_NOT_SEALED);
    CHECK_STATUS(statuses[COUNT - 1], RAY_NOT_SEALED);
    CHECK_OK(ray_objects_seal(node, writers, COUNT, statuses));
    CHECK_OK(ray_objects_get(node, ids, COUNT, 0, views, statuses));
    for (uint32_t i = 0; i < COUNT; i++) {
        CHECK_EQUAL(views[i].data_size, i * 10);
        CHECK_EQUAL(views[i].metadata_size, i % 3);
        for (uint32_t k = 0; k < i * 10; k++) {
            CHECK_EQUAL(views[i].data[k], i);
        }
    }
    CHECK(stats_of(node).pinned_bytes != 0);
    ray_objects_release(node, views, COUNT);
    CHECK_EQUAL(stats_of(node).pinned_bytes, 0);
    check_void(&views[COUNT - 1]);
    ray_objects_release(node, views, COUNT); // void ones are ignored
    for (uint32_t i = 0; i < COUNT; i++) {
        CHECK_OK(ray_ref_release(node, &ids[i]));
    }
    CHECK_EQUAL(stats_of(node).entry_count, 0);
    check_and_close(node);
}

static void a_get_of_many_gives_what_is_there_and_says_why_the_rest_is_not(void) {
    ray_store *node = make_store(1 << 20, 256);
    put_all(node, 0, COUNT);
    ray_object_id ids[COUNT];
    ray_object_view views[COUNT];
    ray_status statuses[COUNT];
    ids_from(ids, COUNT, 0);
    ids[7] = id_of(1000);  // unknown
    ids[40] = id_of(1001); // being made
    ids[41] = id_of(1002); // elsewhere
    ids[42] = id_of(1003); // failed
    ids[99] = ids[3];      // the same twice
    ray_object_writer writer;
    uint32_t state;
    CHECK_OK(ray_object_create(node, &ids[40], 5, 0, 0, &writer));
    CHECK_OK(ray_node_adopt(node, &ids[41], &state));
    CHECK_OK(ray_node_adopt(node, &ids[42], &state));
    CHECK_OK(ray_node_fail(node, &ids[42], RAY_OBJECT_LOST));
    CHECK_STATUS(ray_objects_get(node, ids, COUNT, 0, views, statuses), RAY_NOT_FOUND);
    CHECK(strstr(ray_last_error_message(), "4 of 100") != NULL);
    for (uint32_t i = 0; i < COUNT; i++) {
        ray_status expected = i == 7    ? RAY_NOT_FOUND
                              : i == 40 ? RAY_NOT_SEALED
                              : i == 41 ? RAY_NOT_LOCAL
                              : i == 42 ? RAY_OBJECT_LOST
                                        : RAY_OK;
        CHECK_STATUS(statuses[i], expected);
        if (expected != RAY_OK) {
            check_void(&views[i]);
        } else {
            CHECK_EQUAL(*(const uint32_t *)(const void *)views[i].data, i == 99 ? 3 : i);
        }
    }
    ray_objects_release(node, views, COUNT);
    CHECK_EQUAL(stats_of(node).pinned_bytes, 0);
    CHECK_STATUS(ray_objects_get(node, &ids[40], 3, 2000000, views, statuses), RAY_TIMED_OUT);
    CHECK(statuses[0] == RAY_TIMED_OUT && statuses[1] == RAY_TIMED_OUT && statuses[2] == RAY_OBJECT_LOST);
    CHECK_OK(ray_objects_get(node, ids, 0, RAY_FOREVER, views, statuses));
    ray_object_abort(node, &writer);
    check_and_close(node);
}

static void a_create_of_many_takes_nothing_for_what_it_refuses(void) {
    ray_store *node = make_store(64 << 10, 64);
    ray_object_id ids[80];
    ray_object_writer writers[80];
    ray_status statuses[80];
    put_all(node, 5, 1);
    ids_from(ids, 80, 0);
    for (uint32_t i = 0; i < 80; i++) {
        writers[i] = (ray_object_writer){.data_size = 64};
    }
    writers[2].data_size = UINT64_MAX;
    writers[3].data_size = 1 << 20;
    CHECK_STATUS(ray_objects_create(node, ids, 80, 0, writers, statuses), RAY_TOO_LARGE);
    for (uint32_t i = 0; i < 80; i++) {
        // Of the table's 64 entries one was taken before; the three that are refused for another reason take none.
        ray_status expected = i == 2   ? RAY_TOO_LARGE
                              : i == 3 ? RAY_STORE_FULL
                              : i == 5 ? RAY_EXISTS
                              : i < 66 ? RAY_OK
                                       : RAY_TABLE_FULL;
        CHECK_STATUS(statuses[i], expected);
        CHECK((writers[i].data != NULL) == (expected == RAY_OK));
        CHECK_EQUAL(writers[i].data_size, i == 2 ? UINT64_MAX : i == 3 ? 1 << 20 : 64);
    }
    CHECK_EQUAL(stats_of(node).entry_count, 64);
    CHECK_OK(ray_plasma_check(node, 2));
    // What was refused is refused by seal, too; the others are sealed.
    CHECK_STATUS(ray_objects_seal(node, writers, 80, statuses), RAY_INVALID_ARGUMENT);
    CHECK(statuses[0] == RAY_OK && statuses[3] == RAY_INVALID_ARGUMENT && statuses[65] == RAY_OK && statuses[66] == RAY_INVALID_ARGUMENT);
    CHECK_EQUAL(stats_of(node).sealed_count, 64);
    CHECK_STATUS(ray_objects_create(node, ids, 1, 8, writers, statuses), RAY_INVALID_ARGUMENT);
    CHECK_STATUS(statuses[0], RAY_INVALID_ARGUMENT);
    check_and_close(node);
}

static void a_seal_of_many_says_which_were_deleted_while_they_were_made(void) {
    ray_store *node = make_store(1 << 20, 64);
    ray_object_id ids[4];
    ray_object_writer writers[4] = {{.data_size = 5}, {.data_size = 5}, {.data_size = 5}, {.data_size = 5}};
    ray_status statuses[4];
    ids_from(ids, 4, 0);
    CHECK_OK(ray_objects_create(node, ids, 4, 0, writers, statuses));
    CHECK_OK(ray_object_delete(node, &ids[2], RAY_OBJECT_LOST));
    CHECK_STATUS(ray_objects_seal(node, writers, 4, statuses), RAY_OBJECT_LOST);
    CHECK(statuses[0] == RAY_OK && statuses[1] == RAY_OK && statuses[2] == RAY_OBJECT_LOST && statuses[3] == RAY_OK);
    CHECK_EQUAL(stats_of(node).entry_count, 3);
    check_and_close(node);
}

// ---- waiting ---------------------------------------------------------------------------------------------------------------

enum { MANY = 2000 };

typedef struct getter {
    ray_store *store;
    ray_object_id ids[MANY];
    ray_object_view views[MANY];
    ray_status statuses[MANY];
    ray_status status;
} getter;

static void *get_many(void *argument) {
    getter *g = argument;
    g->status = ray_objects_get(g->store, g->ids, MANY, 20000000000u, g->views, g->statuses);
    return NULL;
}

static void a_get_of_many_waits_for_all_at_once(void) {
    ray_store *node = make_store(8 << 20, 2 * MANY);
    getter *g = calloc(1, sizeof *g);
    CHECK(g != NULL);
    g->store = attach_client(node);
    ids_from(g->ids, MANY, 0);
    put_all(node, 0, MANY / 2);
    ray_object_writer *writers = calloc(MANY / 2, sizeof *writers);
    ray_status *statuses = calloc(MANY / 2, sizeof *statuses);
    CHECK(writers != NULL && statuses != NULL);
    pthread_t thread;
    CHECK_EQUAL(pthread_create(&thread, NULL, get_many, g), 0);
    for (uint32_t i = 0; i < MANY / 2; i++) {
        writers[i].data_size = 4;
    }
    CHECK_OK(ray_objects_create(node, &g->ids[MANY / 2], MANY / 2, 0, writers, statuses));
    for (uint32_t i = 0; i < MANY / 2; i++) {
        memcpy(writers[i].data, &i, 4);
    }
    // The waiter has looked at each of the awaited once when all its bits are set: only seals wake it from there on.
    for (time_t end = time(NULL) + 10; ray__shm_load(&g->store->wait_look_count) < MANY / 2;) {
        CHECK(time(NULL) < end);
        usleep(500);
    }
    CHECK_OK(ray_objects_seal(node, writers, MANY / 2 - 1, statuses));
    CHECK_OK(ray_object_delete(node, &g->ids[MANY - 1], RAY_OBJECT_FREED));
    CHECK_EQUAL(pthread_join(thread, NULL), 0);
    CHECK_STATUS(g->status, RAY_OBJECT_FREED);
    for (uint32_t i = 0; i < MANY; i++) {
        CHECK_STATUS(g->statuses[i], i == MANY - 1 ? RAY_OBJECT_FREED : RAY_OK);
    }
    ray_objects_release(g->store, g->views, MANY);
    ray_object_abort(node, &writers[MANY / 2 - 1]);
    CHECK_EQUAL(stats_of(node).pinned_bytes, 0);
    ray_store_close(g->store);
    free(g);
    free(writers);
    free(statuses);
    check_and_close(node);
}

static void a_client_killed_between_batches_leaves_nothing(void) {
    ray_store *node = make_store(8 << 20, 1024);
    uint64_t seed = check_seed();
    put_all(node, 500, COUNT);
    ray_store_stats before = stats_of(node);
    for (int round = 0; round < 50; round++) {
        uint32_t slot;
        CHECK_OK(ray_store_slot_claim(node, 0, &slot));
        uint64_t pause_us = check_random(&seed) % 2000;
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            ray_store *store = attach_slot(ray_store_meta_fd(node), ray_store_data_fd(node), slot);
            ray_object_id ids[COUNT];
            ray_object_id there[COUNT];
            static ray_object_writer writers[COUNT];
            static ray_object_view views[COUNT];
            ray_status statuses[COUNT];
            ids_from(ids, COUNT, 0);
            ids_from(there, COUNT, 500);
            for (;;) {
                for (uint32_t i = 0; i < COUNT; i++) {
                    writers[i] = (ray_object_writer){.data_size = 100};
                }
                CHECK_OK(ray_objects_create(store, ids, COUNT, RAY_CREATE_WITH_REF, writers, statuses));
                CHECK_OK(ray_objects_seal(store, writers, COUNT, statuses));
                CHECK_OK(ray_objects_get(store, there, COUNT, 0, views, statuses));
                ray_objects_release(store, views, COUNT);
                for (uint32_t i = 0; i < COUNT; i++) {
                    CHECK_OK(ray_ref_release(store, &ids[i]));
                }
            }
        }
        usleep((useconds_t)pause_us);
        kill(child, SIGKILL);
        int status;
        CHECK_EQUAL(waitpid(child, &status, 0), child);
        CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
        ray_reap_report report;
        CHECK_OK(ray_store_slot_reap(node, slot, &report));
        CHECK_OK(ray_plasma_check(node, 2));
        ray_store_stats after = stats_of(node);
        CHECK_EQUAL(after.used_bytes, before.used_bytes);
        CHECK_EQUAL(after.entry_count, before.entry_count);
        CHECK_EQUAL(after.pinned_bytes, 0);
    }
    check_and_close(node);
}

int main(void) {
    RUN(what_is_created_and_sealed_together_is_there);
    RUN(a_get_of_many_gives_what_is_there_and_says_why_the_rest_is_not);
    RUN(a_create_of_many_takes_nothing_for_what_it_refuses);
    RUN(a_seal_of_many_says_which_were_deleted_while_they_were_made);
    RUN(a_get_of_many_waits_for_all_at_once);
    RUN(a_client_killed_between_batches_leaves_nothing);
    return 0;
}
