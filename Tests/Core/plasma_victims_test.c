// SPDX-License-Identifier: Apache-2.0
// Which objects would make room: the least recently used, just enough of them, never one that somebody reads.
#include "check.h"
#include "plasma_fixture.h"

enum { MIB = 1 << 20, KIB = 1 << 10, MOST = 256 };

static ray_object_info found[MOST];
static uint32_t found_count;

static void look(ray_store *store, uint64_t needed, uint32_t flags, uint32_t capacity) {
    CHECK_OK(ray_node_victims(store, needed, flags, found, capacity, &found_count));
}

static void pin(ray_store *store, uint64_t number, ray_object_view *view) {
    ray_object_id id = id_of(number);
    CHECK_OK(ray_object_get(store, &id, 0, view));
}

static void use(ray_store *store, uint64_t number) {
    ray_object_view view;
    pin(store, number, &view);
    ray_object_release(store, &view);
}

static void check_found(const uint64_t *numbers, uint32_t count) {
    CHECK_EQUAL(found_count, count);
    for (uint32_t i = 0; i < count; i++) {
        ray_object_id id = id_of(numbers[i]);
        CHECK(ray_object_id_equal(&found[i].id, &id));
        CHECK_EQUAL(found[i].state, RAY_STATE_SEALED);
    }
}

static void the_least_recently_used_come_first_and_are_just_enough(void) {
    ray_store *store = make_store(8 * MIB, 64);
    for (uint64_t n = 1; n <= 8; n++) {
        put_number(store, n, 64 * KIB);
    }
    use(store, 1);
    use(store, 3);
    put_number(store, 9, 64);
    use(store, 2); // after the tick of 9's create: later than 1 and 3
    look(store, 64 * KIB, 0, MOST);
    check_found((uint64_t[]){4}, 1);
    look(store, 64 * KIB + 1, 0, MOST);
    check_found((uint64_t[]){4, 5}, 2);
    look(store, 4 * 64 * KIB, 0, MOST);
    check_found((uint64_t[]){4, 5, 6, 7}, 4);
    look(store, 0, 0, MOST);
    CHECK_EQUAL(found_count, 0);
    check_and_close(store);
}

static void what_is_pinned_or_has_no_sealed_value_is_no_victim(void) {
    ray_store *node = make_store(8 * MIB, 64);
    ray_store *client = attach_client(node);
    for (uint64_t n = 1; n <= 6; n++) {
        put_number(client, n, 64 * KIB);
    }
    ray_object_view by_client;
    ray_object_view by_node;
    pin(client, 1, &by_client);
    pin(node, 2, &by_node);
    ray_object_id id = id_of(3);
    ray_object_view ending;
    pin(client, 3, &ending);
    CHECK_OK(ray_object_delete(node, &id, RAY_OBJECT_FREED)); // deleting until its pin goes
    ray_object_writer writer;
    id = id_of(10);
    CHECK_OK(ray_object_create(client, &id, 64 * KIB, 0, 0, &writer)); // creating
    uint32_t state;
    id = id_of(11);
    CHECK_OK(ray_node_adopt(node, &id, &state)); // remote
    id = id_of(12);
    CHECK_OK(ray_node_adopt(node, &id, &state));
    CHECK_OK(ray_node_fail(node, &id, RAY_OBJECT_LOST)); // failed
    put_number(client, 13, 0); // takes nothing
    look(node, 8 * MIB, 0, MOST);
    check_found((uint64_t[]){4, 5, 6}, 3);
    put_number(client, 14, 0);
    use(node, 2); // later than 1
    look(node, 8 * MIB, RAY_VICTIMS_PINNED, MOST);
    check_found((uint64_t[]){1, 2}, 2);
    CHECK_EQUAL(found[0].pin_slot_count, 1);
    ray_object_release(client, &by_client);
    look(node, 1, 0, MOST);
    CHECK_EQUAL(found_count, 1);
    ray_object_release(node, &by_node);
    ray_object_release(client, &ending);
    ray_object_abort(client, &writer);
    CHECK_STATUS(ray_node_victims(client, 1, 0, found, MOST, &found_count), RAY_INVALID_ARGUMENT);
    CHECK_STATUS(ray_node_victims(node, 1, 0, found, 0, &found_count), RAY_INVALID_ARGUMENT);
    CHECK_STATUS(ray_node_victims(node, 1, 1u << 9, found, MOST, &found_count), RAY_INVALID_ARGUMENT);
    ray_store_close(client);
    check_and_close(node);
}

static void only_what_the_node_refers_to_when_so_asked(void) {
    ray_store *store = make_store(8 * MIB, 64);
    for (uint64_t n = 1; n <= 6; n++) {
        put_number(store, n, 64 * KIB);
    }
    uint32_t state;
    for (uint64_t n = 2; n <= 6; n += 2) {
        ray_object_id id = id_of(n);
        CHECK_OK(ray_node_adopt(store, &id, &state));
    }
    look(store, 8 * MIB, RAY_VICTIMS_OF_NODE, MOST);
    check_found((uint64_t[]){2, 4, 6}, 3);
    look(store, 65 * KIB, RAY_VICTIMS_OF_NODE, MOST);
    check_found((uint64_t[]){2, 4}, 2);
    check_and_close(store);
}

// ---- against all of them, sorted -----------------------------------------------------------------------------------------

static ray_object_info all[MOST];

static int by_tick(const void *a, const void *b) {
    uint64_t left = ((const ray_object_info *)a)->access_tick;
    uint64_t right = ((const ray_object_info *)b)->access_tick;
    return left < right ? -1 : left > right;
}

// The ticks and the sum must be those of the shortest beginning of the sorted list that is enough; among equal ticks any may be taken.
static void compare_with_all(ray_store *store, uint64_t needed, uint32_t capacity) {
    uint64_t cursor = 0;
    uint32_t count;
    CHECK_OK(ray_store_list(store, &cursor, all, MOST, &count));
    qsort(all, count, sizeof *all, by_tick);
    look(store, needed, 0, capacity);
    CHECK(found_count <= capacity);
    uint64_t sum = 0;
    for (uint32_t i = 0; i < found_count; i++) {
        CHECK_EQUAL(found[i].access_tick, all[i].access_tick);
        CHECK(i + 1 == found_count || sum + found[i].memory_bytes < needed);
        sum += found[i].memory_bytes;
    }
    CHECK(sum >= needed || found_count == capacity || found_count == count);
}

static void the_choice_is_that_of_a_sorted_list(void) {
    ray_store *store = make_store(64 * MIB, 512);
    uint64_t random = check_seed();
    for (uint64_t n = 1; n <= 200; n++) {
        put_number(store, n, 1 + check_random(&random) % (128 * KIB));
    }
    for (int round = 0; round < 500; round++) {
        uint64_t n = 1 + check_random(&random) % 200;
        use(store, n);
        // A create moves the clock, so that what is used after it is later.
        ray_object_id id = id_of(1000);
        ray_object_writer writer;
        CHECK_OK(ray_object_create(store, &id, 1, 0, 0, &writer));
        ray_object_abort(store, &writer);
        compare_with_all(store, 1 + check_random(&random) % (16 * MIB), 1 + (uint32_t)(check_random(&random) % MOST));
    }
    check_and_close(store);
}

static void evicting_them_makes_the_room_that_was_asked_for(void) {
    ray_store *store = make_store(16 * MIB, 512);
    uint32_t state;
    for (uint64_t n = 1; n <= 64; n++) {
        put_number(store, n, 256 * KIB);
        ray_object_id id = id_of(n);
        CHECK_OK(ray_node_adopt(store, &id, &state));
    }
    CHECK_EQUAL(stats_of(store).free_bytes, 0);
    look(store, 3 * MIB, 0, MOST);
    for (uint32_t i = 0; i < found_count; i++) {
        CHECK_OK(ray_node_evict(store, &found[i].id, NULL));
    }
    CHECK_EQUAL(stats_of(store).free_bytes, 3 * MIB);
    put_number(store, 100, 3 * MIB);
    check_and_close(store);
}

int main(void) {
    RUN(the_least_recently_used_come_first_and_are_just_enough);
    RUN(what_is_pinned_or_has_no_sealed_value_is_no_victim);
    RUN(only_what_the_node_refers_to_when_so_asked);
    RUN(the_choice_is_that_of_a_sorted_list);
    RUN(evicting_them_makes_the_room_that_was_asked_for);
    return 0;
}
