// SPDX-License-Identifier: Apache-2.0
// Refs, what the node does with entries, and its attention. The handles of one process stand for processes.
#include "check.h"
#include "plasma_fixture.h"

static ray_store *node;
static ray_store *a;
static ray_store *b;

static void begin(void) {
    node = make_store(1 << 20, 200);
    a = attach_client(node);
    b = attach_client(node);
}

static void end(void) {
    CHECK_OK(ray_plasma_check(node, 2));
    ray_store_close(a);
    ray_store_close(b);
    check_and_close(node);
}

static ray_object_info info_of(uint64_t number) {
    ray_object_id id = id_of(number);
    ray_object_info info;
    CHECK_OK(ray_object_stat(node, &id, &info));
    return info;
}

// How often an entry is named now; checks that no other is.
static uint32_t named(uint64_t number) {
    ray_object_info infos[16];
    uint32_t count;
    uint32_t found = 0;
    ray_object_id id = id_of(number);
    while (ray_node_attention_wait(node, 0, infos, 16, &count) == RAY_OK) {
        for (uint32_t i = 0; i < count; i++) {
            CHECK(ray_object_id_equal(&infos[i].id, &id));
            found++;
        }
    }
    return found;
}

static void put_with_ref(ray_store *store, uint64_t number) {
    ray_object_id id = id_of(number);
    CHECK_OK(ray_object_put(store, &id, "value", 5, NULL, 0, RAY_CREATE_WITH_REF));
}

static void last_ref_frees_a_local_object_on_the_spot(void) {
    begin();
    ray_object_id id = id_of(1);
    put_with_ref(a, 1);
    CHECK_EQUAL(info_of(1).ref_slot_count, 1);
    CHECK_OK(ray_ref_acquire(a, &id));
    CHECK_OK(ray_ref_acquire(b, &id));
    CHECK_EQUAL(info_of(1).ref_slot_count, 2);
    CHECK_OK(ray_ref_release(a, &id));
    CHECK_OK(ray_ref_release(a, &id));
    CHECK_EQUAL(info_of(1).ref_slot_count, 1);
    CHECK_STATUS(ray_ref_release(a, &id), RAY_NOT_FOUND);
    CHECK_OK(ray_ref_release(b, &id));
    CHECK_EQUAL(state_of(node, 1), RAY_STATE_EMPTY);
    CHECK_EQUAL(stats_of(node).used_bytes, 0);
    CHECK_STATUS(ray_ref_acquire(a, &id), RAY_NOT_FOUND);
    CHECK_STATUS(ray_ref_release(a, &id), RAY_NOT_FOUND);
    CHECK_EQUAL(named(1), 0);
    end();
}

static void last_ref_of_a_pinned_object_frees_it_when_it_is_released(void) {
    begin();
    ray_object_id id = id_of(1);
    ray_object_view view;
    put_with_ref(a, 1);
    CHECK_OK(ray_object_get(b, &id, 0, &view));
    CHECK_OK(ray_ref_release(a, &id));
    CHECK_EQUAL(state_of(node, 1), RAY_STATE_DELETING);
    CHECK_STATUS(ray_ref_acquire(a, &id), RAY_NOT_FOUND);
    CHECK(memcmp(view.data, "value", 5) == 0);
    ray_object_release(b, &view);
    CHECK_EQUAL(state_of(node, 1), RAY_STATE_EMPTY);
    end();
}

static void object_that_never_had_a_ref_stays_until_deleted(void) {
    begin();
    ray_object_id id = id_of(1);
    ray_object_view view;
    CHECK_OK(ray_object_put(a, &id, "value", 5, NULL, 0, 0));
    CHECK_OK(ray_object_get(b, &id, 0, &view));
    ray_object_release(b, &view);
    ray_store_close(a);
    a = attach_client(node);
    CHECK_EQUAL(state_of(node, 1), RAY_STATE_SEALED);
    CHECK_OK(ray_object_delete(b, &id, RAY_OBJECT_FREED));
    CHECK_EQUAL(state_of(node, 1), RAY_STATE_EMPTY);
    end();
}

static void deleted_object_with_refs_fails_until_they_go(void) {
    begin();
    ray_object_id id = id_of(1);
    ray_object_view view;
    put_with_ref(a, 1);
    CHECK_OK(ray_object_delete(node, &id, RAY_OWNER_DIED));
    CHECK_EQUAL(info_of(1).state, RAY_STATE_FAILED);
    CHECK_EQUAL(info_of(1).failure, RAY_OWNER_DIED);
    CHECK_EQUAL(stats_of(node).used_bytes, 0);
    CHECK_STATUS(ray_object_get(b, &id, RAY_FOREVER, &view), RAY_OWNER_DIED);
    CHECK_OK(ray_ref_acquire(b, &id));
    CHECK_OK(ray_ref_release(a, &id));
    CHECK_EQUAL(state_of(node, 1), RAY_STATE_FAILED);
    CHECK_OK(ray_ref_release(b, &id));
    CHECK_EQUAL(state_of(node, 1), RAY_STATE_EMPTY);
    end();
}

static void refs_dropped_while_it_is_made_end_it_at_the_seal(void) {
    begin();
    ray_object_id id = id_of(1);
    ray_object_writer writer;
    CHECK_OK(ray_object_create(a, &id, 100, 0, RAY_CREATE_WITH_REF, &writer));
    CHECK_OK(ray_ref_release(a, &id));
    CHECK_EQUAL(state_of(node, 1), RAY_STATE_CREATING);
    CHECK_STATUS(ray_object_seal(a, &writer), RAY_OBJECT_FREED);
    CHECK_EQUAL(state_of(node, 1), RAY_STATE_EMPTY);
    CHECK_OK(ray_object_create(a, &id, 100, 0, RAY_CREATE_WITH_REF, &writer));
    ray_object_abort(a, &writer);
    CHECK_EQUAL(state_of(node, 1), RAY_STATE_REMOTE);
    CHECK_OK(ray_ref_release(a, &id));
    CHECK_EQUAL(state_of(node, 1), RAY_STATE_EMPTY);
    end();
}

static void node_hears_of_the_last_client_ref_and_only_then(void) {
    begin();
    ray_object_id id = id_of(1);
    uint32_t state;
    put_with_ref(a, 1);
    CHECK_OK(ray_node_adopt(node, &id, &state));
    CHECK_EQUAL(state, RAY_STATE_SEALED);
    CHECK_OK(ray_ref_acquire(b, &id));
    CHECK_OK(ray_ref_release(a, &id));
    CHECK_EQUAL(named(1), 0);
    CHECK_OK(ray_ref_release(b, &id));
    CHECK_EQUAL(named(1), 1);
    CHECK_EQUAL(named(1), 0);
    CHECK_EQUAL(state_of(node, 1), RAY_STATE_SEALED);
    CHECK_OK(ray_ref_acquire(b, &id));
    CHECK_OK(ray_node_disown(node, &id));
    CHECK_EQUAL(state_of(node, 1), RAY_STATE_SEALED);
    CHECK_OK(ray_ref_release(b, &id));
    CHECK_EQUAL(named(1), 0);
    CHECK_EQUAL(state_of(node, 1), RAY_STATE_EMPTY);
    CHECK_STATUS(ray_node_disown(node, &id), RAY_NOT_FOUND);
    end();
}

static void adopted_entry_is_remote_until_it_is_made_here(void) {
    begin();
    ray_object_id id = id_of(1);
    uint32_t state;
    ray_object_view view;
    ray_object_writer writer;
    CHECK_OK(ray_node_adopt(node, &id, &state));
    CHECK_EQUAL(state, RAY_STATE_REMOTE);
    CHECK_STATUS(ray_object_get(a, &id, 0, &view), RAY_NOT_LOCAL);
    CHECK_OK(ray_ref_acquire(a, &id));
    CHECK_OK(ray_object_create(node, &id, 100, 0, 0, &writer));
    ray_object_abort(node, &writer);
    CHECK_EQUAL(state_of(node, 1), RAY_STATE_REMOTE);
    CHECK_EQUAL(stats_of(node).used_bytes, 0);
    CHECK_OK(ray_object_put(node, &id, "value", 5, NULL, 0, 0));
    CHECK_OK(ray_object_get(a, &id, 0, &view));
    uint64_t freed = 1;
    uint64_t used = stats_of(node).used_bytes;
    CHECK(used > 0);
    CHECK_STATUS(ray_node_evict(node, &id, &freed), RAY_IN_USE);
    CHECK_EQUAL(freed, 0);
    CHECK(ray_object_contains(a, &id));
    ray_object_release(a, &view);
    CHECK_OK(ray_node_evict(node, &id, &freed));
    CHECK_EQUAL(freed, used);
    CHECK_EQUAL(state_of(node, 1), RAY_STATE_REMOTE);
    CHECK_EQUAL(stats_of(node).used_bytes, 0);
    // The second one frees nothing, which is no failure; nor does one of an object that nobody knows, which is.
    CHECK_OK(ray_node_evict(node, &id, &freed));
    CHECK_EQUAL(freed, 0);
    freed = 1;
    ray_object_id unknown = id_of(77);
    CHECK_STATUS(ray_node_evict(node, &unknown, &freed), RAY_NOT_FOUND);
    CHECK_EQUAL(freed, 0);
    CHECK_OK(ray_node_fail(node, &id, RAY_FETCH_TIMED_OUT));
    CHECK_STATUS(ray_object_get(a, &id, RAY_FOREVER, &view), RAY_FETCH_TIMED_OUT);
    CHECK_STATUS(ray_object_create(node, &id, 1, 0, 0, &writer), RAY_EXISTS);
    CHECK_OK(ray_node_unfail(node, &id));
    CHECK_STATUS(ray_object_get(a, &id, 0, &view), RAY_NOT_LOCAL);
    CHECK_OK(ray_object_put(node, &id, "again", 5, NULL, 0, 0));
    CHECK_STATUS(ray_node_fail(node, &id, RAY_OBJECT_LOST), RAY_EXISTS);
    CHECK_STATUS(ray_node_unfail(node, &id), RAY_EXISTS);
    CHECK_OK(ray_object_get(a, &id, 0, &view));
    CHECK(memcmp(view.data, "again", 5) == 0);
    ray_object_release(a, &view);
    CHECK_OK(ray_node_disown(node, &id));
    CHECK_OK(ray_ref_release(a, &id));
    CHECK_EQUAL(state_of(node, 1), RAY_STATE_EMPTY);
    end();
}

static void ref_set_for_a_client_is_its_own(void) {
    begin();
    ray_object_id id = id_of(1);
    uint32_t state;
    CHECK_STATUS(ray_node_ref_for(node, &id, ray_store_slot(a), 0), RAY_NOT_FOUND);
    CHECK_OK(ray_node_adopt(node, &id, &state));
    CHECK_STATUS(ray_node_ref_for(node, &id, 77, 0), RAY_INVALID_ARGUMENT);
    CHECK_STATUS(ray_node_ref_for(node, &id, RAY_NODE_SLOT, 0), RAY_INVALID_ARGUMENT);
    CHECK_OK(ray_node_ref_for(node, &id, ray_store_slot(a), 0));
    CHECK_OK(ray_node_ref_for(node, &id, ray_store_slot(b), 0));
    CHECK_EQUAL(info_of(1).ref_slot_count, 2);
    CHECK_OK(ray_ref_acquire(a, &id));
    CHECK_OK(ray_ref_release(a, &id));
    CHECK_EQUAL(info_of(1).ref_slot_count, 1);
    CHECK_OK(ray_ref_release(b, &id));
    CHECK_EQUAL(info_of(1).ref_slot_count, 0);
    CHECK_EQUAL(named(1), 1);
    CHECK_OK(ray_node_disown(node, &id));
    CHECK_EQUAL(state_of(node, 1), RAY_STATE_EMPTY);
    end();
}

// A client may die while the node works for it, and another have its slot before the node is done.
static void ref_for_a_client_that_is_gone_is_not_given_to_its_successor(void) {
    begin();
    ray_object_id id = id_of(1);
    ray_reap_report report;
    uint32_t state;
    uint32_t slot = ray_store_slot(b);
    uint32_t serial = ray_store_slot_serial(node, slot);
    CHECK_OK(ray_node_adopt(node, &id, &state));
    CHECK_OK(ray_node_ref_for(node, &id, slot, serial));
    CHECK_OK(ray_store_slot_reap(node, slot, &report));
    CHECK_EQUAL(report.ref_count, 1);
    uint32_t next;
    CHECK_OK(ray_store_slot_claim(node, 1, &next));
    CHECK_EQUAL(next, slot);
    CHECK_STATUS(ray_node_ref_for(node, &id, slot, serial), RAY_CLOSED);
    CHECK_EQUAL(info_of(1).ref_slot_count, 0);
    CHECK_OK(ray_node_ref_for(node, &id, slot, ray_store_slot_serial(node, slot)));
    CHECK_OK(ray_store_slot_reap(node, slot, &report));
    CHECK_OK(ray_node_disown(node, &id));
    end();
}

static void watched_object_calls_once_when_sealed(void) {
    begin();
    ray_object_id id = id_of(1);
    ray_object_writer writer;
    CHECK_STATUS(ray_node_watch(node, &id), RAY_NOT_FOUND);
    CHECK_OK(ray_object_create(a, &id, 100, 0, 0, &writer));
    CHECK_OK(ray_node_watch(node, &id));
    CHECK_EQUAL(named(1), 0);
    CHECK_OK(ray_object_seal(a, &writer));
    CHECK_EQUAL(named(1), 1);
    CHECK_OK(ray_node_watch(node, &id));
    CHECK_EQUAL(named(1), 1);
    CHECK_OK(ray_object_delete(a, &id, RAY_OBJECT_FREED));
    CHECK_EQUAL(named(1), 0);
    end();
}

static void watched_object_that_goes_is_named_before_its_place_is_used_again(void) {
    begin();
    ray_object_id id = id_of(1);
    ray_object_writer writer;
    CHECK_OK(ray_object_create(a, &id, 100, 0, 0, &writer));
    CHECK_OK(ray_node_watch(node, &id));
    ray_object_abort(a, &writer);
    CHECK_EQUAL(stats_of(node).used_bytes, 0);
    ray_object_info info;
    uint32_t count;
    CHECK_OK(ray_node_attention_wait(node, RAY_FOREVER, &info, 1, &count));
    CHECK_EQUAL(count, 1);
    CHECK_EQUAL(info.state, RAY_STATE_DELETING);
    CHECK(ray_object_id_equal(&info.id, &id));
    CHECK_EQUAL(state_of(node, 1), RAY_STATE_EMPTY);
    put_with_ref(a, 1);
    CHECK_OK(ray_node_watch(node, &id));
    CHECK_EQUAL(named(1), 1);
    end();
}

// The node keeps a file until nobody has the object's value pinned; it must hear of the last pin, and not before.
static void watched_object_that_ends_while_pinned_calls_with_the_last_pin(void) {
    for (int keep_ref = 0; keep_ref < 2; keep_ref++) {
        begin();
        ray_object_id id = id_of(1);
        ray_object_view view;
        uint32_t state;
        put_with_ref(a, 1);
        CHECK_OK(ray_node_adopt(node, &id, &state));
        CHECK_OK(ray_object_get(a, &id, 0, &view));
        CHECK_OK(ray_object_delete(node, &id, RAY_OBJECT_FREED));
        CHECK_OK(ray_node_watch(node, &id));
        CHECK_EQUAL(state_of(node, 1), RAY_STATE_DELETING);
        CHECK_EQUAL(named(1), 0);
        if (!keep_ref) {
            CHECK_OK(ray_ref_release(a, &id));
            (void)named(1); // the last ref of a client calls on its own account
        }
        ray_object_release(a, &view);
        CHECK_EQUAL(named(1), 1);
        CHECK_EQUAL(state_of(node, 1), RAY_STATE_FAILED);
        CHECK_OK(ray_node_disown(node, &id));
        end();
    }
}

static void watched_remote_object_calls_when_it_fails(void) {
    begin();
    ray_object_id id = id_of(1);
    uint32_t state;
    CHECK_OK(ray_node_adopt(node, &id, &state));
    CHECK_OK(ray_node_watch(node, &id));
    CHECK_EQUAL(named(1), 0);
    CHECK_OK(ray_node_fail(node, &id, RAY_OBJECT_LOST));
    CHECK_EQUAL(named(1), 1);
    end();
}

static void attention_names_every_entry_through_a_small_window(void) {
    begin();
    uint8_t seen[150] = {0};
    uint32_t state;
    for (uint64_t i = 0; i < 150; i++) {
        ray_object_id id = id_of(i);
        put_with_ref(a, i);
        CHECK_OK(ray_node_adopt(node, &id, &state));
        CHECK_OK(ray_ref_release(a, &id));
    }
    CHECK_OK(ray_plasma_check(node, 2));
    ray_object_info infos[4];
    uint32_t count;
    while (ray_node_attention_wait(node, 0, infos, 4, &count) == RAY_OK) {
        CHECK(count >= 1 && count <= 4);
        for (uint32_t i = 0; i < count; i++) {
            seen[ray_object_id_index(&infos[i].id)]++;
        }
    }
    for (size_t i = 0; i < 150; i++) {
        CHECK_EQUAL(seen[i], 1);
    }
    CHECK_STATUS(ray_node_attention_wait(node, 1000000, infos, 4, &count), RAY_TIMED_OUT);
    ray_node_attention_stop(node);
    CHECK_STATUS(ray_node_attention_wait(node, RAY_FOREVER, infos, 4, &count), RAY_CLOSED);
    end();
}

static void reaped_client_has_dropped_what_it_had(void) {
    begin();
    ray_object_id id = id_of(5);
    ray_object_writer writer;
    ray_object_view view;
    uint32_t state;
    put_with_ref(a, 1);
    put_with_ref(a, 2);
    put_with_ref(b, 3);
    ray_object_id shared = id_of(3);
    ray_object_id adopted = id_of(2);
    CHECK_OK(ray_node_adopt(node, &adopted, &state));
    CHECK_OK(ray_ref_acquire(a, &shared));
    CHECK_OK(ray_object_get(a, &shared, 0, &view));
    CHECK_OK(ray_object_create(a, &id, 100, 0, 0, &writer));
    ray_reap_report report;
    uint32_t slot = ray_store_slot(a);
    CHECK_STATUS(ray_store_slot_reap(b, slot, &report), RAY_INVALID_ARGUMENT);
    CHECK_STATUS(ray_store_slot_reap(node, RAY_NODE_SLOT, &report), RAY_INVALID_ARGUMENT);
    CHECK_OK(ray_store_slot_reap(node, slot, &report));
    CHECK_EQUAL(report.aborted_count, 1);
    CHECK_EQUAL(report.pin_count, 1);
    CHECK_EQUAL(report.ref_count, 3);
    CHECK_EQUAL(report.freed_count, 1);
    CHECK_EQUAL(state_of(node, 1), RAY_STATE_EMPTY);
    CHECK_EQUAL(state_of(node, 5), RAY_STATE_EMPTY);
    CHECK_EQUAL(state_of(node, 3), RAY_STATE_SEALED);
    CHECK_EQUAL(named(2), 1);
    CHECK_STATUS(ray_store_slot_reap(node, slot, &report), RAY_INVALID_ARGUMENT);
    CHECK_EQUAL(stats_of(node).client_count, 2);
    end();
}

static void closing_drops_what_the_process_had(void) {
    begin();
    ray_object_writer writer;
    ray_object_view view;
    ray_object_id shared = id_of(2);
    ray_object_id id = id_of(3);
    put_with_ref(a, 1);
    put_with_ref(b, 2);
    CHECK_OK(ray_object_get(a, &shared, 0, &view));
    CHECK_OK(ray_object_create(a, &id, 100, 0, 0, &writer));
    uint32_t slot = ray_store_slot(a);
    ray_store_close(a);
    CHECK_EQUAL(state_of(node, 1), RAY_STATE_EMPTY);
    CHECK_EQUAL(state_of(node, 2), RAY_STATE_SEALED);
    CHECK_EQUAL(state_of(node, 3), RAY_STATE_EMPTY);
    CHECK_EQUAL(stats_of(node).pinned_bytes, 0);
    a = attach_slot(ray_store_meta_fd(node), ray_store_data_fd(node), slot);
    end();
}

int main(void) {
    RUN(last_ref_frees_a_local_object_on_the_spot);
    RUN(last_ref_of_a_pinned_object_frees_it_when_it_is_released);
    RUN(object_that_never_had_a_ref_stays_until_deleted);
    RUN(deleted_object_with_refs_fails_until_they_go);
    RUN(refs_dropped_while_it_is_made_end_it_at_the_seal);
    RUN(node_hears_of_the_last_client_ref_and_only_then);
    RUN(adopted_entry_is_remote_until_it_is_made_here);
    RUN(ref_set_for_a_client_is_its_own);
    RUN(ref_for_a_client_that_is_gone_is_not_given_to_its_successor);
    RUN(watched_object_calls_once_when_sealed);
    RUN(watched_object_that_goes_is_named_before_its_place_is_used_again);
    RUN(watched_object_that_ends_while_pinned_calls_with_the_last_pin);
    RUN(watched_remote_object_calls_when_it_fails);
    RUN(attention_names_every_entry_through_a_small_window);
    RUN(reaped_client_has_dropped_what_it_had);
    RUN(closing_drops_what_the_process_had);
    return 0;
}
