// SPDX-License-Identifier: Apache-2.0
// Room under pressure: objects that the node creates for a client, waiting for memory to come free, and holding it for who waits.
#include <pthread.h>
#include <stdatomic.h>
#include <sys/wait.h>

#include "check.h"
#include "plasma_fixture.h"

enum { MIB = 1 << 20, KIB = 1 << 10 };

static ray_status create_for(ray_store *node, ray_store *client, uint64_t number, uint64_t size, uint32_t flags) {
    ray_object_id id = id_of(number);
    uint32_t slot = ray_store_slot(client);
    return ray_node_create_for(node, slot, ray_store_slot_serial(node, slot), &id, size, 3, flags);
}

static ray_status try_create(ray_store *store, uint64_t number, uint64_t size) {
    ray_object_id id = id_of(number);
    ray_object_writer writer;
    return ray_object_create(store, &id, size, 0, 0, &writer);
}

// ---- created for a client ------------------------------------------------------------------------------------------------

static void a_client_fills_and_seals_what_the_node_created_for_it(void) {
    ray_store *node = make_store(8 * MIB, 64);
    ray_store *client = attach_client(node);
    ray_object_id id = id_of(1);
    CHECK_OK(create_for(node, client, 1, 2 * MIB, RAY_CREATE_WITH_REF));
    ray_object_info info;
    CHECK_OK(ray_object_stat(node, &id, &info));
    CHECK_EQUAL(info.state, RAY_STATE_CREATING);
    CHECK_EQUAL(info.creator_slot, ray_store_slot(client));
    CHECK_EQUAL(info.creator_pid, getpid());
    CHECK_EQUAL(info.ref_slot_count, 1);
    CHECK(!info.node_has_ref);
    ray_object_writer writer;
    CHECK_OK(ray_object_accept(client, &id, RAY_CREATE_WITH_REF, &writer));
    CHECK_EQUAL(writer.data_size, 2 * MIB);
    CHECK_EQUAL(writer.metadata_size, 3);
    memset(writer.data, 'd', 2 * MIB);
    memcpy(writer.metadata, "abc", 3);
    CHECK_OK(ray_object_seal(client, &writer));
    ray_object_view view;
    CHECK_OK(ray_object_get(node, &id, 0, &view));
    CHECK(view.data[2 * MIB - 1] == 'd' && memcmp(view.metadata, "abc", 3) == 0);
    ray_object_release(node, &view);
    CHECK_OK(ray_ref_release(client, &id)); // the only one
    CHECK_EQUAL(state_of(node, 1), RAY_STATE_EMPTY);
    CHECK_EQUAL(stats_of(node).used_bytes, 0);
    CHECK_STATUS(ray_object_accept(client, &id, 0, &writer), RAY_NOT_FOUND);
    ray_store_close(client);
    check_and_close(node);
}

static void what_the_node_creates_for_itself_it_accepts_itself(void) {
    ray_store *node = make_store(8 * MIB, 64);
    ray_object_id id = id_of(1);
    uint32_t state;
    CHECK_OK(ray_node_adopt(node, &id, &state));
    CHECK_OK(create_for(node, node, 1, 100, 0));
    ray_object_writer writer;
    CHECK_OK(ray_object_accept(node, &id, 0, &writer));
    CHECK_OK(ray_object_seal(node, &writer));
    CHECK_EQUAL(state_of(node, 1), RAY_STATE_SEALED);
    CHECK_OK(ray_node_disown(node, &id));
    CHECK_EQUAL(state_of(node, 1), RAY_STATE_EMPTY);
    check_and_close(node);
}

static void it_fails_as_a_create_does(void) {
    ray_store *node = make_store(4 * MIB, 64);
    ray_store *client = attach_client(node);
    put_number(client, 1, 3 * MIB);
    CHECK_STATUS(create_for(node, client, 2, 2 * MIB, 0), RAY_STORE_FULL);
    CHECK(strstr(ray_last_error_message(), "needs 2101248 bytes") != NULL);
    CHECK_STATUS(create_for(node, client, 1, 1, 0), RAY_EXISTS);
    CHECK_STATUS(create_for(client, client, 3, 1, 0), RAY_INVALID_ARGUMENT);
    CHECK_STATUS(create_for(node, client, 3, 1, 1u << 7), RAY_INVALID_ARGUMENT);
    ray_object_id id = id_of(3);
    CHECK_STATUS(ray_node_create_for(node, 200, 0, &id, 1, 0, 0), RAY_INVALID_ARGUMENT);
    uint32_t slot = ray_store_slot(client);
    CHECK_STATUS(ray_node_create_for(node, slot, ray_store_slot_serial(node, slot) + 1, &id, 1, 0, 0), RAY_CLOSED);
    CHECK_EQUAL(state_of(node, 3), RAY_STATE_EMPTY);
    // What a client makes itself, or another one makes, is not the caller's to accept.
    ray_store *other = attach_client(node);
    CHECK_OK(create_for(node, client, 3, 100, 0));
    ray_object_writer writer;
    CHECK_STATUS(ray_object_accept(other, &id, 0, &writer), RAY_NOT_FOUND);
    ray_object_decline(other, &id);
    CHECK_OK(ray_object_accept(client, &id, 0, &writer));
    ray_object_abort(client, &writer);
    ray_store_close(other);
    ray_store_close(client);
    check_and_close(node);
}

static void what_is_declined_leaves_nothing(void) {
    ray_store *node = make_store(4 * MIB, 64);
    ray_store *client = attach_client(node);
    ray_object_id id = id_of(1);
    for (uint32_t flags = 0; flags <= RAY_CREATE_WITH_REF; flags++) {
        CHECK_OK(create_for(node, client, 1, 100 * KIB, flags));
        ray_object_decline(client, &id);
        CHECK_EQUAL(state_of(node, 1), RAY_STATE_EMPTY);
        ray_object_decline(client, &id);
    }
    uint32_t state;
    CHECK_OK(ray_node_adopt(node, &id, &state));
    CHECK_OK(create_for(node, client, 1, 100 * KIB, RAY_CREATE_WITH_REF));
    ray_object_decline(client, &id);
    CHECK_EQUAL(state_of(node, 1), RAY_STATE_REMOTE);
    ray_object_info info;
    CHECK_OK(ray_object_stat(node, &id, &info));
    CHECK_EQUAL(info.ref_slot_count, 0);
    CHECK_EQUAL(stats_of(node).used_bytes, 0);
    ray_store_close(client);
    check_and_close(node);
}

static void what_is_deleted_before_it_is_accepted_fails_at_the_seal(void) {
    ray_store *node = make_store(4 * MIB, 64);
    ray_store *client = attach_client(node);
    ray_object_id id = id_of(1);
    ray_object_writer writer;
    CHECK_OK(create_for(node, client, 1, 100, RAY_CREATE_WITH_REF));
    end_number(node, 1);
    CHECK_OK(ray_object_accept(client, &id, RAY_CREATE_WITH_REF, &writer));
    CHECK_STATUS(ray_object_seal(client, &writer), RAY_OBJECT_FREED);
    CHECK_OK(ray_ref_release(client, &id));
    CHECK_EQUAL(stats_of(node).entry_count, 0);
    ray_store_close(client);
    check_and_close(node);
}

static void a_dead_clients_are_reaped_accepted_or_not(void) {
    ray_store *node = make_store(4 * MIB, 64);
    uint32_t slot;
    CHECK_OK(ray_store_slot_claim(node, 77, &slot));
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        ray_store *store = attach_slot(ray_store_meta_fd(node), ray_store_data_fd(node), slot);
        ray_object_id id = id_of(1);
        ray_object_writer writer;
        while (ray_object_accept(store, &id, RAY_CREATE_WITH_REF, &writer) != RAY_OK) {
            usleep(100);
        }
        _exit(0);
    }
    ray_object_id id = id_of(2);
    CHECK_OK(ray_node_create_for(node, slot, ray_store_slot_serial(node, slot), &id, MIB, 0, RAY_CREATE_WITH_REF));
    id = id_of(1);
    CHECK_OK(ray_node_create_for(node, slot, ray_store_slot_serial(node, slot), &id, MIB, 0, RAY_CREATE_WITH_REF));
    int status;
    CHECK_EQUAL(waitpid(child, &status, 0), child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    uint32_t serial = ray_store_slot_serial(node, slot);
    ray_reap_report report;
    CHECK_OK(ray_store_slot_reap(node, slot, &report));
    CHECK_EQUAL(report.aborted_count, 2);
    CHECK_EQUAL(stats_of(node).entry_count, 0);
    CHECK_EQUAL(stats_of(node).used_bytes, 0);
    // Its successor is not given what it waited for.
    uint32_t next;
    CHECK_OK(ray_store_slot_claim(node, 78, &next));
    CHECK_EQUAL(next, slot);
    CHECK_STATUS(ray_node_create_for(node, slot, serial, &id, 1, 0, 0), RAY_CLOSED);
    check_and_close(node);
}

// ---- waiting for room ----------------------------------------------------------------------------------------------------

static ray_store *wait_store;
static _Atomic uint32_t wait_seen;
static _Atomic bool wait_began;

static void *wait_for_room(void *unused) {
    (void)unused;
    wait_began = true;
    CHECK_OK(ray_node_room_wait(wait_store, wait_seen, 20000000000u));
    return NULL;
}

// Runs `act` while a thread waits, or is about to: it must wake either way.
static void check_wakes(ray_store *node, ray_store *client, void (*act)(ray_store *node, ray_store *client)) {
    uint32_t seen;
    CHECK_OK(ray_node_room_watch(node, &seen));
    CHECK_STATUS(ray_node_room_wait(node, seen, 0), RAY_TIMED_OUT);
    wait_store = node;
    wait_seen = seen;
    wait_began = false;
    pthread_t thread;
    CHECK_EQUAL(pthread_create(&thread, NULL, wait_for_room, NULL), 0);
    while (!wait_began) {
        sched_yield();
    }
    act(node, client);
    pthread_join(thread, NULL);
}

static void act_delete(ray_store *node, ray_store *client) {
    (void)node;
    end_number(client, 1);
}

static void act_release_ref(ray_store *node, ray_store *client) {
    (void)node;
    ray_object_id id = id_of(2);
    CHECK_OK(ray_ref_release(client, &id));
}

static ray_object_view last_pin;

static void act_release_pin(ray_store *node, ray_store *client) {
    (void)node;
    ray_object_release(client, &last_pin);
}

static void act_abort(ray_store *node, ray_store *client) {
    (void)node;
    ray_object_id id = id_of(4);
    ray_object_decline(client, &id);
}

static void act_evict(ray_store *node, ray_store *client) {
    (void)client;
    ray_object_id id = id_of(5);
    CHECK_OK(ray_node_evict(node, &id, NULL));
}

static void act_wake(ray_store *node, ray_store *client) {
    (void)client;
    ray_node_room_wake(node);
}

static void whatever_gives_memory_back_wakes_the_node(void) {
    ray_store *node = make_store(4 * MIB, 64);
    ray_store *client = attach_client(node);
    put_number(client, 1, KIB);
    ray_object_id id = id_of(2);
    CHECK_OK(ray_object_put(client, &id, "2", 1, NULL, 0, RAY_CREATE_WITH_REF));
    put_number(client, 3, KIB);
    id = id_of(3);
    CHECK_OK(ray_object_get(client, &id, 0, &last_pin));
    end_number(node, 3);
    CHECK_OK(create_for(node, client, 4, MIB, 0));
    put_number(client, 5, MIB);
    check_wakes(node, client, act_delete);
    check_wakes(node, client, act_release_ref);
    check_wakes(node, client, act_release_pin);
    check_wakes(node, client, act_abort);
    check_wakes(node, client, act_evict);
    check_wakes(node, client, act_wake);
    // One free is one wake: a watch is spent.
    uint32_t seen;
    uint32_t again;
    CHECK_OK(ray_node_room_watch(node, &seen));
    put_number(client, 6, KIB);
    put_number(client, 7, KIB);
    end_number(client, 6);
    CHECK_OK(ray_node_room_watch(node, &again));
    CHECK_EQUAL(again, seen + 1);
    CHECK_STATUS(ray_node_room_watch(client, &seen), RAY_INVALID_ARGUMENT);
    CHECK_STATUS(ray_node_room_wait(client, 0, 0), RAY_INVALID_ARGUMENT);
    ray_store_close(client);
    check_and_close(node);
}

// ---- holding room --------------------------------------------------------------------------------------------------------

static void clients_take_no_more_than_they_are_let(void) {
    ray_store *node = make_store(8 * MIB, 64);
    ray_store *client = attach_client(node);
    CHECK_OK(ray_node_room_hold(node, 2 * MIB));
    CHECK_OK(try_create(client, 1, MIB));
    CHECK_STATUS(try_create(client, 2, MIB + 1), RAY_STORE_FULL);
    CHECK(strstr(ray_last_error_message(), "others wait for room") != NULL);
    CHECK_OK(try_create(client, 2, MIB));
    CHECK_STATUS(try_create(client, 3, 1), RAY_STORE_FULL);
    CHECK_OK(try_create(node, 3, MIB)); // the node itself is not held
    CHECK_OK(create_for(node, client, 4, MIB, 0));
    CHECK_OK(ray_node_room_hold(node, 0));
    CHECK_STATUS(try_create(client, 5, 1), RAY_STORE_FULL);
    CHECK_OK(try_create(client, 6, 0)); // takes nothing
    CHECK_OK(ray_node_room_hold(node, RAY_ROOM_OPEN));
    CHECK_OK(try_create(client, 5, MIB));
    CHECK_STATUS(try_create(client, 7, 8 * MIB), RAY_STORE_FULL);
    CHECK(strstr(ray_last_error_message(), "others wait") == NULL);
    CHECK_STATUS(ray_node_room_hold(client, 0), RAY_INVALID_ARGUMENT);
    ray_store_close(client);
    check_and_close(node);
}

static void a_create_that_fails_uses_up_nothing(void) {
    ray_store *node = make_store(4 * MIB, 64);
    ray_store *client = attach_client(node);
    put_number(node, 1, 3 * MIB);
    CHECK_OK(ray_node_room_hold(node, 3 * MIB));
    CHECK_STATUS(try_create(client, 2, 2 * MIB), RAY_STORE_FULL); // there is not so much
    end_number(node, 1);
    CHECK_OK(try_create(client, 2, 3 * MIB));
    ray_store_close(client);
    check_and_close(node);
}

// ---- keeping room ---------------------------------------------------------------------------------------------------------

static ray_status create_kept(ray_store *node, uint64_t number, uint64_t size) {
    ray_object_id id = id_of(number);
    return ray_node_create_for(node, RAY_NODE_SLOT, 0, &id, size, 0, RAY_CREATE_FROM_KEPT);
}

static void what_is_kept_only_those_may_take_whom_it_is_for(void) {
    ray_store *node = make_store(8 * MIB, 64);
    ray_store *client = attach_client(node);
    CHECK_OK(ray_node_room_keep(node, 2 * MIB));
    CHECK_OK(try_create(client, 1, 4 * MIB));
    CHECK_STATUS(try_create(client, 2, 2 * MIB), RAY_STORE_FULL);
    CHECK(strstr(ray_last_error_message(), "are kept for what comes back") != NULL);
    CHECK_STATUS(try_create(node, 2, 2 * MIB), RAY_STORE_FULL);
    CHECK_STATUS(create_for(node, client, 2, 2 * MIB, 0), RAY_STORE_FULL);
    CHECK_OK(try_create(client, 2, MIB)); // there is so much beside it
    CHECK_STATUS(create_kept(node, 3, 4 * MIB), RAY_STORE_FULL);
    CHECK_OK(create_kept(node, 3, 2 * MIB));
    CHECK_STATUS(create_kept(node, 4, 2 * MIB), RAY_STORE_FULL);
    // What is left is less than is kept: it is not made smaller.
    CHECK_STATUS(try_create(client, 4, 64 * KIB), RAY_STORE_FULL);
    ray_object_id id = id_of(3);
    ray_object_decline(node, &id);
    CHECK_OK(create_kept(node, 3, 2 * MIB));
    ray_object_decline(node, &id);
    CHECK_OK(ray_node_room_keep(node, 0));
    CHECK_OK(try_create(client, 4, 2 * MIB));
    CHECK_STATUS(ray_node_room_keep(client, 0), RAY_INVALID_ARGUMENT);
    ray_store_close(client);
    check_and_close(node);
}

// Also where the free memory lies in pieces, none of them as large as what is kept: the largest stays, the others are to be had.
static void of_pieces_that_are_too_small_the_largest_stays(void) {
    ray_store *node = make_store(8 * MIB, 64);
    ray_store *client = attach_client(node);
    for (uint64_t number = 1; number <= 8; number++) {
        put_number(client, number, MIB - 64 * KIB);
    }
    put_number(client, 9, 512 * KIB - 4 * KIB);
    CHECK_EQUAL(stats_of(node).free_bytes, 4 * KIB);
    end_number(client, 2);
    end_number(client, 4);
    CHECK_OK(ray_node_room_keep(node, 2 * MIB));
    CHECK_OK(try_create(client, 20, 512 * KIB));
    CHECK_OK(try_create(client, 21, 128 * KIB));
    CHECK_STATUS(try_create(client, 22, 512 * KIB), RAY_STORE_FULL);
    CHECK_EQUAL(stats_of(node).largest_free_bytes, MIB - 64 * KIB);
    CHECK_OK(create_kept(node, 22, MIB - 64 * KIB));
    ray_store_close(client);
    check_and_close(node);
}

// Whatever clients make and delete, the piece is there whenever it is wanted.
static void the_piece_that_is_kept_is_always_there(void) {
    enum { STEPS = 20000, SLOTS = 64 };
    ray_store *node = make_store(8 * MIB, 128);
    ray_store *client = attach_client(node);
    CHECK_OK(ray_node_room_keep(node, MIB));
    bool made[SLOTS] = {false};
    uint64_t random = 88172645463325252u;
    uint64_t refused = 0;
    for (uint64_t step = 0; step < STEPS; step++) {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        uint64_t number = random % SLOTS;
        if (made[number]) {
            end_number(client, 100 + number);
            made[number] = false;
        } else {
            ray_object_id id = id_of(100 + number);
            ray_object_writer writer;
            ray_status status = ray_object_create(client, &id, (random >> 20) % (512 * KIB), 0, 0, &writer);
            CHECK(status == RAY_OK || status == RAY_STORE_FULL);
            refused += status == RAY_STORE_FULL;
            if (status == RAY_OK) {
                CHECK_OK(ray_object_seal(client, &writer));
                made[number] = true;
            }
        }
        if (step % 16 == 0) {
            CHECK_OK(create_kept(node, 1, MIB));
            ray_object_id id = id_of(1);
            ray_object_decline(node, &id);
        }
    }
    CHECK(refused > STEPS / 100);
    ray_store_close(client);
    check_and_close(node);
}

// Greedy clients take whatever comes free, until the node holds it: then a large object gets its room however many small ones are wanted.
static _Atomic bool greedy_stop;

static void *be_greedy(void *context) {
    ray_store *store = context;
    uint64_t number = (uint64_t)ray_store_slot(store) << 20;
    while (!greedy_stop) {
        ray_object_id id = id_of(number);
        ray_object_writer writer;
        if (ray_object_create(store, &id, 64 * KIB, 0, 0, &writer) == RAY_OK) {
            CHECK_OK(ray_object_seal(store, &writer));
            number++;
        }
    }
    return NULL;
}

static void what_is_freed_goes_to_who_waits(void) {
    enum { GREEDY = 3, ROUNDS = 30 };
    ray_store *node = make_store(16 * MIB, 1024);
    ray_store *client = attach_client(node);
    ray_store *greedy[GREEDY];
    pthread_t threads[GREEDY];
    greedy_stop = false;
    for (int i = 0; i < GREEDY; i++) {
        greedy[i] = attach_client(node);
        CHECK_EQUAL(pthread_create(&threads[i], NULL, be_greedy, greedy[i]), 0);
    }
    ray_object_info infos[256];
    for (uint64_t round = 0; round < ROUNDS; round++) {
        while (stats_of(node).free_bytes > MIB) {
            sched_yield();
        }
        CHECK_OK(ray_node_room_hold(node, 0));
        uint64_t free_bytes = stats_of(node).free_bytes;
        // What a greedy one was making at that moment may still lie in the middle, and comes to be sealed.
        while (create_for(node, client, 1 + round, 8 * MIB, 0) != RAY_OK) {
            uint32_t count;
            CHECK_OK(ray_node_victims(node, 4 * MIB, 0, infos, 256, &count));
            for (uint32_t i = 0; i < count; i++) {
                CHECK_OK(ray_object_delete(node, &infos[i].id, RAY_OBJECT_FREED));
            }
            uint64_t now_free = stats_of(node).free_bytes;
            CHECK(now_free >= free_bytes && (count == 0 || now_free > free_bytes)); // nobody else takes any
            free_bytes = now_free;
            sched_yield();
        }
        CHECK_OK(ray_node_room_hold(node, RAY_ROOM_OPEN));
        ray_object_id id = id_of(1 + round);
        ray_object_decline(client, &id);
    }
    greedy_stop = true;
    for (int i = 0; i < GREEDY; i++) {
        pthread_join(threads[i], NULL);
        ray_store_close(greedy[i]);
    }
    ray_store_close(client);
    check_and_close(node);
}

int main(void) {
    alarm(60); // a hang is a failure
    RUN(a_client_fills_and_seals_what_the_node_created_for_it);
    RUN(what_the_node_creates_for_itself_it_accepts_itself);
    RUN(it_fails_as_a_create_does);
    RUN(what_is_declined_leaves_nothing);
    RUN(what_is_deleted_before_it_is_accepted_fails_at_the_seal);
    RUN(a_dead_clients_are_reaped_accepted_or_not);
    RUN(whatever_gives_memory_back_wakes_the_node);
    RUN(clients_take_no_more_than_they_are_let);
    RUN(a_create_that_fails_uses_up_nothing);
    RUN(what_is_kept_only_those_may_take_whom_it_is_for);
    RUN(of_pieces_that_are_too_small_the_largest_stays);
    RUN(the_piece_that_is_kept_is_always_there);
    RUN(what_is_freed_goes_to_who_waits);
    return 0;
}
