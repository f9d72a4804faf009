// SPDX-License-Identifier: Apache-2.0
// Small blocks that a client has freed and keeps: they come back to the one that freed them, keep nothing from anybody else, and go with it.
#include <signal.h>
#include <stdbool.h>
#include <sys/wait.h>

#include "check.h"
#include "plasma/store_internal.h"
#include "plasma_fixture.h"

#define CAPACITY (1ull << 20)

static const uint8_t *put(ray_store *store, uint64_t number, uint64_t size) {
    ray_object_id id = id_of(number);
    ray_object_writer writer;
    CHECK_OK(ray_object_create(store, &id, size, 0, RAY_CREATE_WITH_REF, &writer));
    memset(writer.data, (int)number, size);
    // Where it lies in the segment, whichever handle looks.
    const uint8_t *place = (const uint8_t *)(writer.data - store->writable);
    CHECK_OK(ray_object_seal(store, &writer));
    return place;
}

static void drop(ray_store *store, uint64_t number) {
    ray_object_id id = id_of(number);
    CHECK_OK(ray_ref_release(store, &id));
    CHECK_EQUAL(state_of(store, number), RAY_STATE_EMPTY);
}

static void what_a_client_freed_comes_back_to_it(void) {
    ray_store *node = make_store(CAPACITY, 64);
    ray_store *a = attach_client(node);
    ray_store *b = attach_client(node);
    const uint8_t *first = put(a, 1, 1000);
    put(a, 2, 1000); // so that the freed one is not joined with what is behind it
    drop(a, 1);
    CHECK(put(b, 3, 1000) != first);
    CHECK(put(a, 4, 1000) == first);
    // One of another size is no use.
    drop(a, 4);
    CHECK(put(a, 5, 500) != first);
    CHECK(put(a, 6, 1000) == first);
    CHECK_OK(ray_plasma_check(node, 2));
    ray_store_close(a);
    ray_store_close(b);
    CHECK_EQUAL(stats_of(node).used_bytes, 0);
    CHECK_EQUAL(stats_of(node).largest_free_bytes, CAPACITY);
    check_and_close(node);
}

static void what_is_cached_counts_as_free(void) {
    ray_store *node = make_store(CAPACITY, 64);
    RAY__GATE(node);
    ray_store *client = attach_client(node);
    for (uint64_t i = 0; i < 8; i++) {
        put(client, i, 1 + i * 300);
    }
    for (uint64_t i = 0; i < 8; i++) {
        drop(client, i);
        CHECK_OK(ray_plasma_check(node, 2));
    }
    CHECK(node->arena->cached_count > 0);
    ray_store_stats stats = stats_of(node);
    CHECK_EQUAL(stats.used_bytes, 0);
    CHECK_EQUAL(stats.free_bytes, CAPACITY);
    CHECK_EQUAL(stats_of(client).largest_free_bytes, CAPACITY); // who asks gives its own back
    CHECK_EQUAL(node->arena->cached_count, 0);
    ray_store_close(client);
    check_and_close(node);
}

static void no_cache_keeps_room_from_another_client(void) {
    ray_store *node = make_store(CAPACITY, 4096);
    RAY__GATE(node);
    ray_store *a = attach_client(node);
    ray_store *b = attach_client(node);
    // The whole segment in small objects, freed: the cached ones lie all over it.
    uint64_t count = CAPACITY / 1024;
    for (uint64_t i = 0; i < count; i++) {
        put(i % 2 == 0 ? a : b, i, 1024);
    }
    for (uint64_t i = 0; i < count; i++) {
        drop(i % 2 == 0 ? a : b, i);
    }
    CHECK(node->arena->cached_count >= 2);
    ray_object_id id = id_of(count);
    ray_object_writer writer;
    CHECK_OK(ray_object_create(b, &id, CAPACITY, 0, 0, &writer));
    CHECK_EQUAL(node->arena->cached_count, 0);
    ray_object_abort(b, &writer);
    ray_store_close(a);
    ray_store_close(b);
    check_and_close(node);
}

static void a_full_table_has_descriptors_for_all(void) {
    ray_store *node = make_store(CAPACITY, 64);
    ray_store *clients[4];
    for (int i = 0; i < 4; i++) {
        clients[i] = attach_client(node);
    }
    uint32_t entries = stats_of(node).entry_count_max;
    for (uint32_t round = 0; round < 20; round++) {
        for (uint32_t i = 0; i < entries; i++) {
            put(clients[(i + round) % 4], i, 64 + (i + round) % 5 * 64);
        }
        ray_object_id id = id_of(entries);
        ray_object_writer writer;
        CHECK_STATUS(ray_object_create(node, &id, 64, 0, 0, &writer), RAY_TABLE_FULL);
        CHECK_OK(ray_plasma_check(node, 2));
        // Every second first, so that nothing joins.
        for (uint32_t i = 0; i < 2 * entries; i++) {
            if (i % 2 == i / entries) {
                drop(clients[(i % entries / 2 * 2 + i / entries + round) % 4], i % entries / 2 * 2 + i / entries);
            }
        }
        CHECK_OK(ray_plasma_check(node, 2));
    }
    for (int i = 0; i < 4; i++) {
        ray_store_close(clients[i]);
    }
    check_and_close(node);
}

static void a_dead_clients_cache_is_free_again(void) {
    ray_store *node = make_store(CAPACITY, 64);
    RAY__GATE(node);
    uint32_t slot;
    CHECK_OK(ray_store_slot_claim(node, getpid(), &slot));
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        ray_store *client = attach_slot(ray_store_meta_fd(node), ray_store_data_fd(node), slot);
        for (uint64_t i = 0; i < 10; i++) {
            put(client, i, 700);
        }
        for (uint64_t i = 0; i < 10; i += 2) {
            drop(client, i);
        }
        raise(SIGKILL);
    }
    int how;
    CHECK_EQUAL(waitpid(pid, &how, 0), pid);
    CHECK(WIFSIGNALED(how) && WTERMSIG(how) == SIGKILL);
    CHECK(node->arena->cached_count > 0);
    ray_reap_report report;
    CHECK_OK(ray_store_slot_reap(node, slot, &report));
    CHECK_EQUAL(report.freed_count, 5);
    CHECK_EQUAL(stats_of(node).largest_free_bytes, CAPACITY);
    check_and_close(node);
}

int main(void) {
    RUN(what_a_client_freed_comes_back_to_it);
    RUN(what_is_cached_counts_as_free);
    RUN(no_cache_keeps_room_from_another_client);
    RUN(a_full_table_has_descriptors_for_all);
    RUN(a_dead_clients_cache_is_free_again);
    return 0;
}
