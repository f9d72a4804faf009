// SPDX-License-Identifier: Apache-2.0
// Small stores for tests.
#ifndef RAY_TESTS_PLASMA_FIXTURE_H
#define RAY_TESTS_PLASMA_FIXTURE_H

#include <fcntl.h>

#include "check.h"

static inline ray_store *make_store(uint64_t capacity_bytes, uint32_t entry_count_max) {
    ray_store_options options = {sizeof options, entry_count_max, capacity_bytes};
    ray_store *store;
    CHECK_OK(ray_store_create(&options, &store));
    return store;
}

// Attaches to the store of these descriptors, which stay the caller's.
static inline ray_store *attach_slot(int meta_fd, int data_fd, uint32_t slot) {
    ray_store *client;
    CHECK_OK(ray_store_attach(fcntl(meta_fd, F_DUPFD_CLOEXEC, 3), fcntl(data_fd, F_DUPFD_CLOEXEC, 3), slot, &client));
    return client;
}

// A second handle in this process, with a slot of its own: to the store it is another process.
static inline ray_store *attach_client(ray_store *node) {
    uint32_t slot;
    CHECK_OK(ray_store_slot_claim(node, getpid(), &slot));
    return attach_slot(ray_store_meta_fd(node), ray_store_data_fd(node), slot);
}

static inline ray_store_stats stats_of(ray_store *store) {
    ray_store_stats stats = {.struct_size = sizeof stats};
    CHECK_OK(ray_store_stats_read(store, &stats));
    CHECK_EQUAL(stats.used_bytes + stats.free_bytes, stats.capacity_bytes);
    return stats;
}

static inline ray_object_id id_of(uint64_t number) {
    ray_task_id task = ray_task_id_session(1, (uint32_t)(number >> 32), 7);
    return ray_object_id_make(&task, (uint32_t)number);
}

static inline uint32_t state_of(ray_store *store, uint64_t number) {
    ray_object_id id = id_of(number);
    ray_object_info info;
    ray_status status = ray_object_stat(store, &id, &info);
    CHECK(status == RAY_OK || status == RAY_NOT_FOUND);
    return status == RAY_OK ? info.state : RAY_STATE_EMPTY;
}

// An object of so many bytes, not filled.
static inline void put_number(ray_store *store, uint64_t number, uint64_t size) {
    ray_object_id id = id_of(number);
    ray_object_writer writer;
    CHECK_OK(ray_object_create(store, &id, size, 0, 0, &writer));
    CHECK_OK(ray_object_seal(store, &writer));
}

static inline void end_number(ray_store *store, uint64_t number) {
    ray_object_id id = id_of(number);
    CHECK_OK(ray_object_delete(store, &id, RAY_OBJECT_FREED));
}

static inline void check_and_close(ray_store *store) {
    CHECK_OK(ray_plasma_check(store, 2));
    ray_store_close(store);
}

#endif
