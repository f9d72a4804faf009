// SPDX-License-Identifier: Apache-2.0
// Objects read without a pin: what was read counts only if the value was there all the time; and how the node hears of large ones.
#include "plasma/glimpse_internal.h"
#include "plasma/layout_internal.h"
#include "plasma_fixture.h"

enum { KIB = 1 << 10, MIB = 1 << 20, LARGE = RAY__SEALED_ABOVE + 1 };

static void put_filled(ray_store *store, uint64_t number, uint64_t size, uint8_t byte) {
    ray_object_id id = id_of(number);
    ray_object_writer writer;
    CHECK_OK(ray_object_create(store, &id, size, 0, 0, &writer));
    memset(writer.data, byte, size);
    CHECK_OK(ray_object_seal(store, &writer));
}

static bool begin(ray_store *store, uint64_t number, ray__glimpse *glimpse) {
    ray_object_id id = id_of(number);
    return ray__glimpse_begin(store, &id, glimpse);
}

static void evict(ray_store *store, uint64_t number) {
    ray_object_id id = id_of(number);
    uint32_t state;
    CHECK_OK(ray_node_adopt(store, &id, &state));
    CHECK_OK(ray_node_evict(store, &id, NULL));
    CHECK_EQUAL(state_of(store, number), RAY_STATE_REMOTE);
}

static void what_stays_holds_and_keeps_nothing_from_anybody(void) {
    ray_store *store = make_store(8 * MIB, 64);
    put_filled(store, 1, 200 * KIB, 'a');
    ray__glimpse glimpse;
    CHECK(begin(store, 1, &glimpse));
    CHECK_EQUAL(glimpse.data_size, 200 * KIB);
    CHECK(glimpse.data[0] == 'a' && glimpse.data[200 * KIB - 1] == 'a');
    CHECK(ray__glimpse_holds(store, &glimpse));
    // Others that come and go do not matter.
    put_filled(store, 2, 300 * KIB, 'b');
    end_number(store, 2);
    CHECK(ray__glimpse_holds(store, &glimpse));
    ray_object_info info;
    ray_object_id id = id_of(1);
    CHECK_OK(ray_object_stat(store, &id, &info));
    CHECK_EQUAL(info.pin_slot_count, 0);
    uint64_t used = stats_of(store).used_bytes;
    end_number(store, 1);
    CHECK(stats_of(store).used_bytes + 200 * KIB <= used);
    CHECK(!ray__glimpse_holds(store, &glimpse));
    CHECK(!begin(store, 1, &glimpse));
    check_and_close(store);
}

static void a_glimpse_is_no_use(void) {
    ray_store *store = make_store(8 * MIB, 64);
    put_filled(store, 1, 200 * KIB, 'a');
    put_filled(store, 2, 200 * KIB, 'b');
    put_filled(store, 3, 64, 'c');
    ray__glimpse glimpse;
    CHECK(begin(store, 1, &glimpse) && ray__glimpse_holds(store, &glimpse));
    ray_object_info oldest;
    uint32_t count;
    CHECK_OK(ray_node_victims(store, 1, 0, &oldest, 1, &count));
    ray_object_id id = id_of(1);
    CHECK_EQUAL(count, 1);
    CHECK(ray_object_id_equal(&oldest.id, &id));
    check_and_close(store);
}

static void what_is_not_sealed_or_empty_is_not_glimpsed(void) {
    ray_store *store = make_store(8 * MIB, 64);
    ray_object_id id = id_of(1);
    ray_object_writer writer;
    ray__glimpse glimpse;
    CHECK_OK(ray_object_create(store, &id, 200 * KIB, 0, 0, &writer));
    CHECK(!begin(store, 1, &glimpse));
    CHECK_OK(ray_object_seal(store, &writer));
    CHECK(begin(store, 1, &glimpse));
    put_number(store, 2, 0);
    CHECK(!begin(store, 2, &glimpse));
    CHECK(!begin(store, 3, &glimpse));
    check_and_close(store);
}

// The entry stays through an eviction, and the new value may get the old one's place: only the clock tells that others were there.
static void a_value_that_went_and_came_back_does_not_hold(void) {
    ray_store *store = make_store(8 * MIB, 64);
    put_filled(store, 1, 2 * MIB, 'a');
    ray__glimpse glimpse;
    CHECK(begin(store, 1, &glimpse));
    evict(store, 1);
    CHECK(!ray__glimpse_holds(store, &glimpse));
    put_filled(store, 2, 2 * MIB, 'x'); // where it was
    CHECK_EQUAL(glimpse.data[0], 'x');
    end_number(store, 2);
    put_filled(store, 1, 2 * MIB, 'a');
    ray__glimpse again;
    CHECK(begin(store, 1, &again));
    CHECK(again.data == glimpse.data && again.place == glimpse.place && again.generation == glimpse.generation);
    CHECK(!ray__glimpse_holds(store, &glimpse));
    CHECK(ray__glimpse_holds(store, &again));
    check_and_close(store);
}

static void another_object_of_the_id_has_another_stamp(void) {
    ray_store *store = make_store(8 * MIB, 64);
    ray__glimpse first;
    ray__glimpse second;
    put_filled(store, 1, 200 * KIB, 'a');
    CHECK(begin(store, 1, &first));
    end_number(store, 1);
    put_filled(store, 1, 200 * KIB, 'b');
    CHECK(begin(store, 1, &second));
    CHECK(first.stamp != second.stamp);
    CHECK(!ray__glimpse_holds(store, &first));
    check_and_close(store);
}

// ---- what was sealed lately ----------------------------------------------------------------------------------------------------

static void check_next(ray_store *store, uint32_t *position, uint64_t number) {
    ray__glimpse glimpse;
    ray_object_id id = id_of(number);
    CHECK_EQUAL(ray__sealed_next(store, position, &glimpse), RAY__SEALED_FOUND);
    CHECK(ray_object_id_equal(&glimpse.id, &id));
}

static void check_none(ray_store *store, uint32_t *position) {
    ray__glimpse glimpse;
    CHECK_EQUAL(ray__sealed_next(store, position, &glimpse), RAY__SEALED_NONE);
}

static void the_node_hears_of_large_objects_of_all_clients(void) {
    ray_store *node = make_store(16 * MIB, 64);
    ray_store *client = attach_client(node);
    uint32_t position = 0;
    check_none(node, &position);
    put_number(client, 1, LARGE);
    put_number(client, 2, LARGE - 1);
    put_number(node, 3, MIB);
    check_next(node, &position, 1);
    check_next(node, &position, 3);
    check_none(node, &position);
    put_number(client, 4, LARGE);
    put_number(client, 5, LARGE);
    end_number(client, 4);
    check_next(node, &position, 5);
    check_none(node, &position);
    ray_store_close(client);
    ray_reap_report report;
    CHECK_OK(ray_store_slot_reap(node, 1, &report));
    check_and_close(node);
}

static void of_more_than_the_ring_holds_the_latest_are_told(void) {
    ray_store *store = make_store(8 * MIB, 64);
    uint32_t position = 0;
    for (uint64_t n = 1; n <= RAY__SEALED_RING; n++) {
        put_number(store, 1000 + n, LARGE);
        end_number(store, 1000 + n);
    }
    put_number(store, 1, LARGE);
    for (uint64_t n = 0; n < RAY__SEALED_RING - 2; n++) {
        put_number(store, 5000 + n, LARGE);
        end_number(store, 5000 + n);
    }
    put_number(store, 2, LARGE);
    check_next(store, &position, 1);
    // An object that has the place of one that went may be told twice.
    ray_object_id id = id_of(2);
    ray__glimpse glimpse;
    uint32_t told = 0;
    while (ray__sealed_next(store, &position, &glimpse) == RAY__SEALED_FOUND) {
        CHECK(ray_object_id_equal(&glimpse.id, &id));
        told++;
    }
    CHECK(told > 0);
    check_none(store, &position);
    check_and_close(store);
}

int main(void) {
    RUN(what_stays_holds_and_keeps_nothing_from_anybody);
    RUN(a_glimpse_is_no_use);
    RUN(what_is_not_sealed_or_empty_is_not_glimpsed);
    RUN(a_value_that_went_and_came_back_does_not_hold);
    RUN(another_object_of_the_id_has_another_stamp);
    RUN(the_node_hears_of_large_objects_of_all_clients);
    RUN(of_more_than_the_ring_holds_the_latest_are_told);
    return 0;
}
