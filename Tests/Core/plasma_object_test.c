// SPDX-License-Identifier: Apache-2.0
// Create, seal, get, release, delete, abort, list: each on one store, from one process with several handles.
#include <fcntl.h>
#include <pthread.h>

#include "check.h"
#include "plasma_fixture.h"

static void sealed_object_is_read_with_its_bytes_and_metadata(void) {
    ray_store *store = make_store(1 << 20, 64);
    ray_object_id id = id_of(1);
    ray_object_writer writer;
    CHECK_OK(ray_object_create(store, &id, 1000, 10, 0, &writer));
    CHECK(((uintptr_t)writer.data & 63) == 0 && ((uintptr_t)writer.metadata & 63) == 0);
    memset(writer.data, 0xab, 1000);
    memcpy(writer.metadata, "0123456789", 10);
    ray_object_view view;
    CHECK(!ray_object_contains(store, &id));
    CHECK_STATUS(ray_object_get(store, &id, 0, &view), RAY_NOT_SEALED);
    CHECK_OK(ray_object_seal(store, &writer));
    CHECK(writer.data == NULL);
    CHECK(ray_object_contains(store, &id));
    CHECK_OK(ray_object_get(store, &id, 0, &view));
    CHECK_EQUAL(view.data_size, 1000);
    CHECK_EQUAL(view.metadata_size, 10);
    CHECK(view.data[0] == 0xab && view.data[999] == 0xab && memcmp(view.metadata, "0123456789", 10) == 0);
    ray_object_release(store, &view);
    CHECK(view.data == NULL);
    check_and_close(store);
}

static void object_of_no_bytes_takes_no_room(void) {
    ray_store *store = make_store(1 << 20, 64);
    ray_object_id id = id_of(1);
    ray_object_view view;
    CHECK_OK(ray_object_put(store, &id, NULL, 0, NULL, 0, 0));
    CHECK_EQUAL(stats_of(store).used_bytes, 0);
    CHECK_OK(ray_object_get(store, &id, 0, &view));
    CHECK(view.data == NULL && view.metadata == NULL && view.data_size == 0);
    ray_object_release(store, &view);
    ray_object_id other = id_of(2);
    CHECK_OK(ray_object_put(store, &other, NULL, 0, "m", 1, 0));
    CHECK_EQUAL(stats_of(store).used_bytes, 64);
    CHECK_OK(ray_object_get(store, &other, 0, &view));
    CHECK(view.data == NULL && view.metadata[0] == 'm');
    ray_object_release(store, &view);
    CHECK_OK(ray_object_delete(store, &id, RAY_OBJECT_FREED));
    CHECK_OK(ray_object_delete(store, &other, RAY_OBJECT_FREED));
    CHECK_EQUAL(stats_of(store).entry_count, 0);
    check_and_close(store);
}

static void second_create_of_an_id_is_refused(void) {
    ray_store *store = make_store(1 << 20, 64);
    ray_object_id id = id_of(1);
    ray_object_writer first;
    ray_object_writer second;
    CHECK_OK(ray_object_create(store, &id, 10, 0, 0, &first));
    CHECK_STATUS(ray_object_create(store, &id, 10, 0, 0, &second), RAY_EXISTS);
    CHECK_OK(ray_object_seal(store, &first));
    CHECK_STATUS(ray_object_create(store, &id, 10, 0, 0, &second), RAY_EXISTS);
    CHECK_STATUS(ray_object_seal(store, &second), RAY_INVALID_ARGUMENT);
    ray_object_abort(store, &second);
    CHECK_STATUS(ray_object_create(store, &id, 10, 0, 8, &second), RAY_INVALID_ARGUMENT);
    check_and_close(store);
}

static void abort_gives_room_and_id_back(void) {
    ray_store *store = make_store(1 << 20, 64);
    ray_object_id id = id_of(1);
    ray_object_writer writer;
    CHECK_OK(ray_object_create(store, &id, 5000, 0, 0, &writer));
    CHECK_EQUAL(stats_of(store).creating_count, 1);
    ray_object_abort(store, &writer);
    ray_object_abort(store, &writer);
    CHECK_STATUS(ray_object_seal(store, &writer), RAY_INVALID_ARGUMENT);
    CHECK_EQUAL(stats_of(store).used_bytes, 0);
    CHECK_EQUAL(stats_of(store).entry_count, 0);
    CHECK_OK(ray_object_put(store, &id, "x", 1, NULL, 0, 0));
    check_and_close(store);
}

static void full_arena_is_refused_and_the_last_byte_can_be_had(void) {
    ray_store *store = make_store(1 << 20, 64);
    ray_object_id id = id_of(1);
    ray_object_id other = id_of(2);
    ray_object_writer writer;
    CHECK_STATUS(ray_object_create(store, &id, (1 << 20) + 1, 0, 0, &writer), RAY_STORE_FULL);
    CHECK(strstr(ray_last_error_message(), "1048576") != NULL);
    CHECK_STATUS(ray_object_create(store, &id, UINT64_MAX, UINT32_MAX, 0, &writer), RAY_TOO_LARGE);
    CHECK_OK(ray_object_create(store, &id, 1 << 20, 0, 0, &writer));
    memset(writer.data, 1, 1 << 20);
    CHECK_OK(ray_object_seal(store, &writer));
    CHECK_STATUS(ray_object_create(store, &other, 1, 0, 0, &writer), RAY_STORE_FULL);
    CHECK_OK(ray_object_put(store, &other, NULL, 0, NULL, 0, 0));
    CHECK_EQUAL(stats_of(store).free_bytes, 0);
    CHECK_OK(ray_object_delete(store, &id, RAY_OBJECT_FREED));
    CHECK_EQUAL(stats_of(store).largest_free_bytes, 1 << 20);
    // Every unit as an object of its own, then every second one given back: no run of two is left.
    enum { UNITS = (1 << 20) / 64 };
    check_and_close(store);
    store = make_store(1 << 20, UNITS);
    for (uint64_t i = 0; i < UNITS; i++) {
        id = id_of(i);
        CHECK_OK(ray_object_put(store, &id, "abc", 3, NULL, 0, 0));
    }
    for (uint64_t i = 0; i < UNITS; i += 2) {
        id = id_of(i);
        CHECK_OK(ray_object_delete(store, &id, RAY_OBJECT_FREED));
    }
    CHECK_EQUAL(stats_of(store).free_bytes, 1 << 19);
    CHECK_EQUAL(stats_of(store).largest_free_bytes, 64);
    CHECK_STATUS(ray_object_create(store, &id, 65, 0, 0, &writer), RAY_STORE_FULL);
    CHECK_OK(ray_object_create(store, &id, 64, 0, 0, &writer));
    ray_object_abort(store, &writer);
    check_and_close(store);
}

static void full_table_is_refused_and_a_removal_makes_room(void) {
    ray_store *store = make_store(1 << 20, 8);
    for (uint64_t i = 0; i < 8; i++) {
        ray_object_id id = id_of(i);
        CHECK_OK(ray_object_put(store, &id, "x", 1, NULL, 0, 0));
    }
    ray_object_id ninth = id_of(9);
    ray_object_id third = id_of(3);
    uint32_t state;
    CHECK_STATUS(ray_object_put(store, &ninth, "x", 1, NULL, 0, 0), RAY_TABLE_FULL);
    CHECK_STATUS(ray_node_adopt(store, &ninth, &state), RAY_TABLE_FULL);
    CHECK_OK(ray_object_delete(store, &third, RAY_OBJECT_FREED));
    CHECK_OK(ray_object_put(store, &ninth, "x", 1, NULL, 0, 0));
    CHECK_EQUAL(stats_of(store).entry_count, 8);
    check_and_close(store);
}

static void deleted_object_is_read_on_by_who_pinned_it(void) {
    ray_store *store = make_store(1 << 20, 64);
    ray_store *client = attach_client(store);
    ray_object_id id = id_of(1);
    uint8_t bytes[4096];
    memset(bytes, 7, sizeof bytes);
    CHECK_OK(ray_object_put(store, &id, bytes, sizeof bytes, NULL, 0, 0));
    ray_object_view view;
    ray_object_view copy;
    ray_object_view late;
    CHECK_OK(ray_object_get(client, &id, 0, &view));
    ray_object_view_copy(client, &view, &copy);
    CHECK_OK(ray_object_delete(store, &id, RAY_OBJECT_FREED));
    CHECK_OK(ray_object_delete(store, &id, RAY_OWNER_DIED));
    CHECK_STATUS(ray_object_get(store, &id, 0, &late), RAY_OBJECT_FREED);
    CHECK_STATUS(ray_object_get(client, &id, RAY_FOREVER, &late), RAY_OBJECT_FREED);
    CHECK_EQUAL(stats_of(store).pinned_bytes, 4096);
    ray_object_release(client, &view);
    CHECK_EQUAL(stats_of(store).used_bytes, 4096);
    CHECK(memcmp(copy.data, bytes, sizeof bytes) == 0);
    ray_object_release(client, &copy);
    CHECK_EQUAL(stats_of(store).used_bytes, 0);
    CHECK_STATUS(ray_object_get(store, &id, 0, &late), RAY_NOT_FOUND);
    CHECK_STATUS(ray_object_delete(store, &id, RAY_OBJECT_FREED), RAY_NOT_FOUND);
    CHECK_STATUS(ray_object_delete(store, &id, RAY_OK), RAY_INVALID_ARGUMENT);
    CHECK_STATUS(ray_object_delete(store, &id, RAY_NOT_SEALED), RAY_INVALID_ARGUMENT);
    ray_store_close(client);
    check_and_close(store);
}

static void object_deleted_while_it_is_made_ends_when_its_maker_is_done(void) {
    ray_store *store = make_store(1 << 20, 64);
    ray_object_id id = id_of(1);
    ray_object_writer writer;
    ray_object_view view;
    CHECK_OK(ray_object_create(store, &id, 100, 0, 0, &writer));
    CHECK_OK(ray_object_delete(store, &id, RAY_OBJECT_FREED));
    CHECK_STATUS(ray_object_get(store, &id, RAY_FOREVER, &view), RAY_OBJECT_FREED);
    memset(writer.data, 1, 100);
    CHECK_STATUS(ray_object_seal(store, &writer), RAY_OBJECT_FREED);
    CHECK_EQUAL(stats_of(store).entry_count, 0);
    CHECK_EQUAL(stats_of(store).used_bytes, 0);
    check_and_close(store);
}

static void list_names_every_object_once(void) {
    ray_store *store = make_store(1 << 20, 1000);
    for (uint64_t i = 0; i < 1000; i++) {
        ray_object_id id = id_of(i);
        CHECK_OK(ray_object_put(store, &id, "x", 1, NULL, 0, 0));
    }
    uint8_t seen[1000] = {0};
    uint64_t cursor = 0;
    ray_object_info infos[7];
    uint32_t count;
    do {
        CHECK_OK(ray_store_list(store, &cursor, infos, 7, &count));
        for (uint32_t i = 0; i < count; i++) {
            CHECK_EQUAL(infos[i].state, RAY_STATE_SEALED);
            seen[ray_object_id_index(&infos[i].id)]++;
        }
    } while (count != 0);
    for (size_t i = 0; i < 1000; i++) {
        CHECK_EQUAL(seen[i], 1);
    }
    CHECK_STATUS(ray_store_list(store, &cursor, infos, 0, &count), RAY_INVALID_ARGUMENT);
    check_and_close(store);
}

static void later_access_has_the_larger_tick(void) {
    ray_store *store = make_store(1 << 20, 64);
    ray_object_id a = id_of(1);
    ray_object_id b = id_of(2);
    ray_object_info info_a;
    ray_object_info info_b;
    ray_object_view view;
    CHECK_OK(ray_object_put(store, &a, "x", 1, NULL, 0, 0));
    CHECK_OK(ray_object_put(store, &b, "x", 1, NULL, 0, 0));
    CHECK_OK(ray_object_stat(store, &a, &info_a));
    CHECK_OK(ray_object_stat(store, &b, &info_b));
    CHECK(info_a.access_tick < info_b.access_tick);
    CHECK_OK(ray_object_get(store, &a, 0, &view));
    ray_object_release(store, &view);
    CHECK_OK(ray_object_stat(store, &a, &info_a));
    CHECK_EQUAL(info_a.access_tick, info_b.access_tick);
    check_and_close(store);
}

static void large_put_is_copied_whole(void) {
    ray_store *store = make_store(64 << 20, 64);
    size_t sizes[] = {(8 << 20) - 1, 8 << 20, (8 << 20) + 1, (20 << 20) + 4097};
    for (size_t s = 0; s < sizeof sizes / sizeof *sizes; s++) {
        uint8_t *bytes = malloc(sizes[s]);
        for (size_t i = 0; i < sizes[s]; i++) {
            bytes[i] = (uint8_t)(i * 2654435761u >> 13);
        }
        ray_object_id id = id_of(s);
        ray_object_view view;
        CHECK_OK(ray_object_put(store, &id, bytes, sizes[s], "meta", 4, 0));
        CHECK_OK(ray_object_get(store, &id, 0, &view));
        CHECK(((uintptr_t)view.data & 4095) == 0);
        CHECK(memcmp(view.data, bytes, sizes[s]) == 0 && memcmp(view.metadata, "meta", 4) == 0);
        ray_object_release(store, &view);
        CHECK_OK(ray_object_delete(store, &id, RAY_OBJECT_FREED));
        free(bytes);
    }
    check_and_close(store);
}

int main(void) {
    RUN(sealed_object_is_read_with_its_bytes_and_metadata);
    RUN(object_of_no_bytes_takes_no_room);
    RUN(second_create_of_an_id_is_refused);
    RUN(abort_gives_room_and_id_back);
    RUN(full_arena_is_refused_and_the_last_byte_can_be_had);
    RUN(full_table_is_refused_and_a_removal_makes_room);
    RUN(deleted_object_is_read_on_by_who_pinned_it);
    RUN(object_deleted_while_it_is_made_ends_when_its_maker_is_done);
    RUN(list_names_every_object_once);
    RUN(later_access_has_the_larger_tick);
    RUN(large_put_is_copied_whole);
    return 0;
}
