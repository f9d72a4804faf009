// SPDX-License-Identifier: Apache-2.0
// Several processes, and what separates them: waits, forks, layouts, slots, and a death with the lock held.
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "check.h"
#include "plasma/store_internal.h"
#include "plasma_fixture.h"

static void expect_exit(pid_t child, int code) {
    int status;
    CHECK_EQUAL(waitpid(child, &status, 0), child);
    CHECK(WIFEXITED(status));
    CHECK_EQUAL(WEXITSTATUS(status), code);
}

// Forks a child that attaches to the store by itself, with a slot of its own, and exits 0 if body returns.
static pid_t in_child(ray_store *node, void (*body)(ray_store *)) {
    uint32_t slot;
    CHECK_OK(ray_store_slot_claim(node, 0, &slot));
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        ray_store *store = attach_slot(ray_store_meta_fd(node), ray_store_data_fd(node), slot);
        body(store);
        _exit(0);
    }
    return child;
}

static bool somebody_waits(ray_store *store) {
    RAY__GATE(store);
    for (uint32_t i = 0; i < RAY__WAIT_BUCKETS; i++) {
        for (uint32_t k = 0; k < RAY__SLOT_WORDS; k++) {
            if (ray__shm_load(&store->buckets[i].waiting[k]) != 0) {
                return true;
            }
        }
    }
    return false;
}

static void poll_until_waiting(ray_store *store) {
    for (time_t end = time(NULL) + 10; !somebody_waits(store);) {
        CHECK(time(NULL) < end);
        usleep(1000);
    }
}

static void get_one(ray_store *store) {
    ray_object_id id = id_of(1);
    ray_object_view view;
    CHECK_OK(ray_object_get(store, &id, 10000000000u, &view));
    CHECK(view.data_size == 5 && memcmp(view.data, "value", 5) == 0);
    ray_object_release(store, &view);
    ray_store_close(store);
}

static void get_waits_for_an_id_that_has_no_entry_yet(void) {
    ray_store *node = make_store(1 << 20, 64);
    pid_t child = in_child(node, get_one);
    poll_until_waiting(node);
    ray_object_id id = id_of(1);
    CHECK_OK(ray_object_put(node, &id, "value", 5, NULL, 0, 0));
    expect_exit(child, 0);
    CHECK(!somebody_waits(node));
    check_and_close(node);
}

static void get_failing(ray_store *store) {
    ray_object_id id = id_of(1);
    ray_object_view view;
    CHECK_STATUS(ray_object_get(store, &id, 10000000000u, &view), RAY_OBJECT_LOST);
}

static void waiting_get_hears_of_a_failure(void) {
    ray_store *node = make_store(1 << 20, 64);
    ray_object_id id = id_of(1);
    uint32_t state;
    CHECK_OK(ray_node_adopt(node, &id, &state));
    pid_t child = in_child(node, get_failing);
    poll_until_waiting(node);
    CHECK_OK(ray_node_fail(node, &id, RAY_OBJECT_LOST));
    expect_exit(child, 0);
    ray_reap_report report;
    CHECK_OK(ray_store_slot_reap(node, 1, &report));
    check_and_close(node);
}

static void wait_for_three(ray_store *store) {
    ray_object_id ids[5];
    uint8_t ready[5];
    uint32_t count;
    for (uint64_t i = 0; i < 5; i++) {
        ids[i] = id_of(i);
    }
    CHECK_OK(ray_object_wait(store, ids, 5, 3, 10000000000u, ready, &count));
    CHECK_EQUAL(count, 3);
    CHECK(ready[0] == 1 && ready[2] == 1 && ready[4] == 1);
    ray_store_close(store);
}

static void wait_that_cannot_be_fulfilled_ends_in_time(void) {
    ray_store *node = make_store(1 << 20, 64);
    ray_object_id ids[2] = {id_of(1), id_of(2)};
    uint8_t ready[2];
    uint32_t count;
    CHECK_STATUS(ray_object_wait(node, ids, 2, 3, RAY_FOREVER, ready, &count), RAY_INVALID_ARGUMENT);
    CHECK_STATUS(ray_object_wait(node, ids, 2, 1, 0, ready, &count), RAY_TIMED_OUT);
    CHECK_STATUS(ray_object_wait(node, ids, 2, 1, 1000000, ready, &count), RAY_TIMED_OUT);
    CHECK_OK(ray_object_put(node, &ids[1], "x", 1, NULL, 0, 0));
    CHECK_STATUS(ray_object_wait(node, ids, 2, 2, 1000000, ready, &count), RAY_TIMED_OUT);
    CHECK_EQUAL(count, 1);
    CHECK(ready[0] == 0 && ready[1] == 1);
    CHECK_OK(ray_object_wait(node, ids, 2, 1, RAY_FOREVER, ready, &count));
    CHECK_OK(ray_object_wait(node, ids, 0, 0, RAY_FOREVER, ready, &count));
    check_and_close(node);
}

static void wait_returns_when_as_many_as_wanted_are_ready(void) {
    ray_store *node = make_store(1 << 20, 64);
    ray_object_id id = id_of(4);
    uint32_t state;
    CHECK_OK(ray_node_adopt(node, &id, &state));
    pid_t child = in_child(node, wait_for_three);
    poll_until_waiting(node);
    for (uint64_t i = 0; i < 4; i += 2) {
        id = id_of(i);
        CHECK_OK(ray_object_put(node, &id, NULL, 0, NULL, 0, 0));
    }
    id = id_of(4);
    CHECK_OK(ray_node_fail(node, &id, RAY_OBJECT_LOST));
    expect_exit(child, 0);
    check_and_close(node);
}

static void *timed_get(void *argument) {
    ray_object_id id = id_of(99);
    ray_object_view view;
    CHECK_STATUS(ray_object_get(argument, &id, 20000000, &view), RAY_TIMED_OUT);
    return NULL;
}

static void threads_of_one_process_wait_together_and_time_out(void) {
    ray_store *node = make_store(1 << 20, 64);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        CHECK_EQUAL(pthread_create(&threads[i], NULL, timed_get, node), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }
    CHECK(!somebody_waits(node));
    check_and_close(node);
}

static void forked_child_is_refused_and_harms_nothing(void) {
    ray_store *node = make_store(1 << 20, 64);
    ray_store *client = attach_client(node);
    ray_object_id id = id_of(1);
    CHECK_OK(ray_object_put(client, &id, "value", 5, NULL, 0, RAY_CREATE_WITH_REF));
    ray_object_view view;
    CHECK_OK(ray_object_get(client, &id, 0, &view));
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        ray_object_view other;
        ray_object_writer writer;
        uint32_t slot;
        CHECK_STATUS(ray_object_get(client, &id, 0, &other), RAY_FORKED);
        CHECK_STATUS(ray_object_create(client, &id, 1, 0, 0, &writer), RAY_FORKED);
        CHECK_STATUS(ray_ref_release(client, &id), RAY_FORKED);
        CHECK_STATUS(ray_store_slot_claim(node, 0, &slot), RAY_FORKED);
        ray_object_release(client, &view);
        ray_store_close(client);
        ray_store_close(node);
        _exit(0);
    }
    expect_exit(child, 0);
    CHECK_EQUAL(stats_of(node).pinned_bytes, 64);
    ray_object_release(client, &view);
    CHECK_OK(ray_ref_release(client, &id));
    CHECK_EQUAL(stats_of(node).entry_count, 0);
    ray_store_close(client);
    check_and_close(node);
}

static ray_status attach_with(ray_store *node, uint32_t slot, ray_store **store) {
    return ray_store_attach(fcntl(ray_store_meta_fd(node), F_DUPFD_CLOEXEC, 3),
                            fcntl(ray_store_data_fd(node), F_DUPFD_CLOEXEC, 3), slot, store);
}

static void attach_refuses_what_does_not_fit(void) {
    ray_store *node = make_store(1 << 20, 64);
    RAY__GATE(node);
    ray_store *store;
    uint32_t slot;
    CHECK_STATUS(attach_with(node, 0, &store), RAY_INVALID_ARGUMENT);
    CHECK_STATUS(attach_with(node, RAY_SLOTS_MAX, &store), RAY_INVALID_ARGUMENT);
    CHECK_STATUS(attach_with(node, 1, &store), RAY_INVALID_ARGUMENT);
    CHECK_OK(ray_store_slot_claim(node, 0, &slot));
    CHECK_STATUS(ray_store_attach(-1, -1, slot, &store), RAY_SYSTEM);
    CHECK_STATUS(ray_store_attach(fcntl(ray_store_data_fd(node), F_DUPFD_CLOEXEC, 3),
                                  fcntl(ray_store_meta_fd(node), F_DUPFD_CLOEXEC, 3), slot, &store),
                 RAY_LAYOUT_MISMATCH);
    int loose = memfd_create("not a store", MFD_CLOEXEC);
    CHECK(loose >= 0);
    CHECK_STATUS(ray_store_attach(loose, fcntl(loose, F_DUPFD_CLOEXEC, 3), slot, &store), RAY_LAYOUT_MISMATCH);
    uint64_t *fields[] = {&node->header->magic, &node->header->signature, &node->header->capacity,
                          &node->header->meta_size};
    for (size_t i = 0; i < sizeof fields / sizeof *fields; i++) {
        *fields[i] ^= 1u << 20;
        CHECK_STATUS(attach_with(node, slot, &store), RAY_LAYOUT_MISMATCH);
        CHECK_STATUS(ray_plasma_check(node, 0), RAY_POISONED);
        *fields[i] ^= 1u << 20;
    }
    CHECK_OK(attach_with(node, slot, &store));
    ray_store *second;
    CHECK_STATUS(attach_with(node, slot, &second), RAY_IN_USE);
    ray_store_close(store);
    check_and_close(node);
}

static void clients_fill_all_slots_and_the_next_is_refused(void) {
    ray_store *node = make_store(1 << 20, 64);
    uint32_t slot;
    for (uint32_t i = 1; i <= 256; i++) {
        CHECK_OK(ray_store_slot_claim(node, i, &slot));
        CHECK_EQUAL(slot, i);
    }
    CHECK_EQUAL(stats_of(node).client_count, 257);
    CHECK_STATUS(ray_store_slot_claim(node, 257, &slot), RAY_TOO_MANY_CLIENTS);
    // The last slot's bits are the last ones of their words.
    ray_store *last = attach_slot(ray_store_meta_fd(node), ray_store_data_fd(node), 256);
    ray_object_id id = id_of(1);
    ray_object_view view;
    CHECK_STATUS(ray_store_slot_claim(last, 0, &slot), RAY_INVALID_ARGUMENT);
    CHECK_OK(ray_object_put(last, &id, "x", 1, NULL, 0, RAY_CREATE_WITH_REF));
    CHECK_OK(ray_object_get(last, &id, 0, &view));
    ray_reap_report report;
    CHECK_OK(ray_store_slot_reap(node, 256, &report));
    CHECK_EQUAL(report.pin_count + report.ref_count, 2);
    CHECK_EQUAL(stats_of(node).entry_count, 0);
    CHECK_OK(ray_store_slot_claim(node, 258, &slot));
    CHECK_EQUAL(slot, 256);
    ray_store_close(last); // reaped: touches nothing
    check_and_close(node);
}

// Every bit of both bitmaps, and the node's own beside them.
static void all_clients_and_the_node_hold_one_object_and_it_goes_with_the_last(void) {
    static ray_store *clients[RAY_CLIENTS_MAX + 1];
    ray_store *node = make_store(1 << 20, 64);
    ray_object_id id = id_of(1);
    ray_object_view view;
    uint32_t state;
    CHECK_OK(ray_object_put(node, &id, "x", 1, NULL, 0, 0));
    CHECK_OK(ray_node_adopt(node, &id, &state));
    CHECK_OK(ray_object_get(node, &id, 0, &view));
    for (uint32_t i = 1; i <= RAY_CLIENTS_MAX; i++) {
        clients[i] = attach_client(node);
        ray_object_view pinned;
        CHECK_OK(ray_ref_acquire(clients[i], &id));
        CHECK_OK(ray_object_get(clients[i], &id, 0, &pinned));
        CHECK_EQUAL(pinned.data[0], 'x');
    }
    CHECK_OK(ray_plasma_check(node, 2));
    ray_object_info info;
    CHECK_OK(ray_object_stat(node, &id, &info));
    CHECK_EQUAL(info.pin_slot_count, 257);
    CHECK_EQUAL(info.ref_slot_count, 256);
    CHECK(info.node_has_ref);
    CHECK_OK(ray_object_delete(node, &id, RAY_OBJECT_FREED));
    ray_object_release(node, &view);
    CHECK_OK(ray_node_disown(node, &id));
    for (uint32_t i = 1; i <= RAY_CLIENTS_MAX; i++) {
        CHECK_EQUAL(state_of(node, 1), RAY_STATE_DELETING);
        ray_reap_report report;
        CHECK_OK(ray_store_slot_reap(node, i, &report)); // as if it had died
        CHECK_EQUAL(report.pin_count, 1);
        CHECK_EQUAL(report.ref_count, 1);
        CHECK_EQUAL(report.freed_count, i == RAY_CLIENTS_MAX);
        ray_store_close(clients[i]);
    }
    CHECK_EQUAL(stats_of(node).entry_count, 0);
    check_and_close(node);
}

static void memory_that_the_machine_does_not_have_is_an_error(void) {
    ray_store *node = make_store(1ull << 42, 64);
    ray_object_id id = id_of(1);
    ray_object_id small = id_of(2);
    ray_object_writer writer;
    CHECK_STATUS(ray_object_create(node, &id, 1ull << 41, 0, RAY_CREATE_WITH_REF, &writer), RAY_STORE_FULL);
    CHECK_EQUAL(stats_of(node).entry_count, 0);
    CHECK_EQUAL(stats_of(node).used_bytes, 0);
    CHECK_EQUAL(stats_of(node).reserved_bytes, 0); // what cannot be had whole is not taken in part
    CHECK_OK(ray_object_put(node, &small, "x", 1, NULL, 0, 0));
    check_and_close(node);
}

static void prefault_reserves_what_is_asked_and_no_more_than_there_is(void) {
    ray_store *node = make_store(8 << 20, 64);
    CHECK_EQUAL(stats_of(node).reserved_bytes, 0);
    CHECK_OK(ray_store_prefault(node, 5000));
    CHECK_EQUAL(stats_of(node).reserved_bytes, 8192);
    CHECK_OK(ray_store_prefault(node, UINT64_MAX));
    CHECK_EQUAL(stats_of(node).reserved_bytes, 8 << 20);
    CHECK_OK(ray_store_prefault(node, 0));
    check_and_close(node);
}

static void die_with_the_lock(ray_store *store) {
    RAY__GATE(store);
    ray_object_id id = id_of(3);
    ray_object_writer writer;
    CHECK_OK(ray_object_create(store, &id, 300, 0, 0, &writer));
    CHECK_OK(ray__store_lock(store));
    // As a death in the middle of the allocator would leave it.
    memset(store->arena->heads, 0x5a, sizeof store->arena->heads);
    store->arena->used = 12345;
    store->arena->unused = 77777;
    store->header->entry_count = 9;
    kill(getpid(), SIGKILL);
}

static void death_with_the_lock_is_repaired_from_the_table(void) {
    ray_store *node = make_store(1 << 20, 64);
    RAY__GATE(node);
    ray_object_id keep = id_of(1);
    ray_object_id gone = id_of(2);
    CHECK_OK(ray_object_put(node, &keep, "value", 5, NULL, 0, 0));
    CHECK_OK(ray_object_put(node, &gone, "value", 5, NULL, 0, 0));
    CHECK_OK(ray_object_delete(node, &gone, RAY_OBJECT_FREED));
    pid_t child = in_child(node, die_with_the_lock);
    int status;
    CHECK_EQUAL(waitpid(child, &status, 0), child);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    CHECK_OK(ray_plasma_check(node, 2));
    CHECK_EQUAL(node->header->repair_count, 1);
    CHECK_EQUAL(stats_of(node).entry_count, 2);
    CHECK_EQUAL(stats_of(node).used_bytes, 64 + 320);
    ray_reap_report report;
    CHECK_OK(ray_store_slot_reap(node, 1, &report));
    CHECK_EQUAL(report.aborted_count, 1);
    CHECK_EQUAL(stats_of(node).used_bytes, 64);
    CHECK_OK(ray_object_put(node, &gone, "value", 5, NULL, 0, 0));
    check_and_close(node);
}

static void die_with_the_lock_and_two_owners_of_a_block(ray_store *store) {
    RAY__GATE(store);
    CHECK_OK(ray__store_lock(store));
    ray__entry *first = NULL;
    for (uint32_t i = 0; i < store->layout.table_size; i++) {
        ray__entry *entry = &store->table[i];
        if (ray__word_state(entry->state) == RAY_STATE_SEALED) {
            if (first != NULL) {
                entry->place = first->place;
            }
            first = entry;
        }
    }
    kill(getpid(), SIGKILL);
}

static void table_that_cannot_be_believed_poisons_the_store(void) {
    ray_store *node = make_store(1 << 20, 64);
    ray_object_id one = id_of(1);
    ray_object_id two = id_of(2);
    CHECK_OK(ray_object_put(node, &one, "value", 5, NULL, 0, 0));
    CHECK_OK(ray_object_put(node, &two, "value", 5, NULL, 0, 0));
    pid_t child = in_child(node, die_with_the_lock_and_two_owners_of_a_block);
    int status;
    CHECK_EQUAL(waitpid(child, &status, 0), child);
    CHECK_STATUS(ray_object_delete(node, &one, RAY_OBJECT_FREED), RAY_POISONED);
    ray_object_view view;
    CHECK_STATUS(ray_object_get(node, &one, 0, &view), RAY_POISONED);
    CHECK_STATUS(ray_object_delete(node, &one, RAY_OBJECT_FREED), RAY_POISONED);
    CHECK_STATUS(ray_plasma_check(node, 0), RAY_POISONED);
    ray_store_close(node);
}

static void check_names_a_broken_invariant(void) {
    ray_store *node = make_store(1 << 20, 64);
    RAY__GATE(node);
    ray_object_id id = id_of(1);
    CHECK_OK(ray_object_put(node, &id, "value", 5, NULL, 0, 0));
    node->arena->used++;
    node->arena->free--;
    CHECK_STATUS(ray_plasma_check(node, 2), RAY_POISONED);
    CHECK(strstr(ray_last_error_message(), "A5") != NULL);
    node->arena->used--;
    node->arena->free++;
    node->header->entry_count++;
    CHECK_STATUS(ray_plasma_check(node, 2), RAY_POISONED);
    CHECK(strstr(ray_last_error_message(), "T5") != NULL);
    node->header->entry_count--;
    node->table[3].refs[2] |= 1;
    CHECK_STATUS(ray_plasma_check(node, 2), RAY_POISONED);
    CHECK(strstr(ray_last_error_message(), "T2") != NULL);
    node->table[3].refs[2] = 0;
    node->attention[0][0] |= 1;
    CHECK_STATUS(ray_plasma_check(node, 2), RAY_POISONED);
    CHECK(strstr(ray_last_error_message(), "N1") != NULL);
    node->attention[0][0] = 0;
    check_and_close(node);
}

int main(void) {
    RUN(get_waits_for_an_id_that_has_no_entry_yet);
    RUN(waiting_get_hears_of_a_failure);
    RUN(wait_that_cannot_be_fulfilled_ends_in_time);
    RUN(wait_returns_when_as_many_as_wanted_are_ready);
    RUN(threads_of_one_process_wait_together_and_time_out);
    RUN(forked_child_is_refused_and_harms_nothing);
    RUN(attach_refuses_what_does_not_fit);
    RUN(clients_fill_all_slots_and_the_next_is_refused);
    RUN(all_clients_and_the_node_hold_one_object_and_it_goes_with_the_last);
    RUN(memory_that_the_machine_does_not_have_is_an_error);
    RUN(prefault_reserves_what_is_asked_and_no_more_than_there_is);
    RUN(death_with_the_lock_is_repaired_from_the_table);
    RUN(table_that_cannot_be_believed_poisons_the_store);
    RUN(check_names_a_broken_invariant);
    return 0;
}
