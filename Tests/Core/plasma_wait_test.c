// SPDX-License-Identifier: Apache-2.0
// Waiting, alone and for many: what ends a wait, whom it disturbs, and what the death of either side leaves.
//
// How much a wake costs is not timed but counted: the handle counts its looks at ids that are waited for.
#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "check.h"
#include "plasma/store_internal.h"
#include "plasma_fixture.h"
#include "wait_fixture.h"

enum { MANY = 10000 };

#define LONG_NS 20000000000u

static uint32_t waits_of(ray_store *store, uint32_t slot) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < RAY__WAIT_BUCKETS; i++) {
        count += waits_in(store, slot, i);
    }
    return count;
}

static bool waits_somewhere(void *store) {
    for (uint32_t slot = 0; slot < RAY_SLOTS_MAX; slot++) {
        if (waits_of(store, slot) != 0) {
            return true;
        }
    }
    return false;
}

static uint32_t bucket_of(uint64_t number) {
    ray_object_id id = id_of(number);
    return ray__wait_bucket(ray_object_id_hash(&id));
}

// ---- one object, another process -----------------------------------------------------------------------------------------

typedef struct process {
    pid_t pid;
    uint32_t slot;
} process;

// A child with a handle of its own, which gets object 1 and exits with how that ended, below 128.
static process getter(ray_store *node, uint64_t number) {
    process p;
    CHECK_OK(ray_store_slot_claim(node, 0, &p.slot));
    p.pid = fork();
    CHECK(p.pid >= 0);
    if (p.pid == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        ray_store *store = attach_slot(ray_store_meta_fd(node), ray_store_data_fd(node), p.slot);
        ray_object_id id = id_of(number);
        ray_object_view view;
        ray_status status = ray_object_get(store, &id, LONG_NS, &view);
        _exit(status == RAY_OK ? 0 : status == RAY_OBJECT_FREED ? 1 : status == RAY_OBJECT_LOST ? 2 : 3);
    }
    return p;
}

static void expect_end(ray_store *node, process p, int code) {
    int status;
    CHECK_EQUAL(waitpid(p.pid, &status, 0), p.pid);
    CHECK(WIFEXITED(status));
    CHECK_EQUAL(WEXITSTATUS(status), code);
    ray_reap_report report;
    CHECK_OK(ray_store_slot_reap(node, p.slot, &report));
    CHECK_EQUAL(waits_of(node, p.slot), 0);
}

static void every_end_of_an_object_wakes_a_getter_in_another_process(void) {
    enum { SEAL, FAIL, DELETE_WATCHED, DELETE_WITHOUT_REF, ABORT_WITHOUT_REF, ENDS };
    static const int codes[ENDS] = {0, 2, 1, 1, 1};
    for (int how = 0; how < ENDS; how++) {
        ray_store *node = make_store(1 << 20, 64);
        ray_object_id id = id_of(1);
        ray_object_writer writer;
        uint32_t state;
        if (how == FAIL) {
            CHECK_OK(ray_node_adopt(node, &id, &state));
        } else {
            CHECK_OK(ray_object_create(node, &id, 5, 0, 0, &writer));
        }
        if (how == DELETE_WATCHED) {
            CHECK_OK(ray_node_watch(node, &id));
        }
        process p = getter(node, 1);
        poll_until(waits_somewhere, node);
        if (how == SEAL) {
            CHECK_OK(ray_object_seal(node, &writer));
        } else if (how == FAIL) {
            CHECK_OK(ray_node_fail(node, &id, RAY_OBJECT_LOST));
        } else if (how == ABORT_WITHOUT_REF) {
            ray_object_abort(node, &writer);
        } else {
            CHECK_OK(ray_object_delete(node, &id, RAY_OBJECT_FREED));
            CHECK_STATUS(ray_object_seal(node, &writer), RAY_OBJECT_FREED);
        }
        expect_end(node, p, codes[how]);
        check_and_close(node);
    }
}

static void a_waiter_that_is_killed_leaves_nobody_waiting(void) {
    ray_store *node = make_store(1 << 20, 64);
    process killed = getter(node, 1);
    poll_until(waits_somewhere, node);
    process kept = getter(node, 1);
    for (time_t end = time(NULL) + 10; waits_of(node, kept.slot) == 0;) {
        CHECK(time(NULL) < end);
        usleep(500);
    }
    kill(killed.pid, SIGKILL);
    CHECK_EQUAL(waitpid(killed.pid, NULL, 0), killed.pid);
    CHECK_EQUAL(waits_of(node, killed.slot), 1);
    ray_object_id id = id_of(1);
    CHECK_OK(ray_object_put(node, &id, "value", 5, NULL, 0, 0));
    expect_end(node, kept, 0);
    ray_reap_report report;
    CHECK_OK(ray_store_slot_reap(node, killed.slot, &report));
    CHECK(!waits_somewhere(node));
    check_and_close(node);
}

// ---- many objects --------------------------------------------------------------------------------------------------------

typedef struct many {
    ray_store *store;
    ray_object_id ids[MANY];
    uint8_t ready[MANY];
    uint32_t wanted;
    uint32_t ready_count;
    ray_status status;
} many;

static void *wait_for_many(void *argument) {
    many *m = argument;
    m->status = ray_object_wait(m->store, m->ids, MANY, m->wanted, LONG_NS, m->ready, &m->ready_count);
    return NULL;
}

static bool has_looked_twice(void *argument) {
    return ray__shm_load(&((many *)argument)->store->wait_look_count) >= 2 * MANY;
}

static void a_wake_looks_only_at_ids_of_buckets_that_moved(void) {
    ray_store *node = make_store(8 << 20, 2 * MANY);
    many *m = calloc(1, sizeof *m);
    CHECK(m != NULL);
    m->store = attach_client(node);
    m->wanted = 1;
    uint32_t sizes[RAY__WAIT_BUCKETS] = {0};
    for (uint32_t i = 0; i < MANY; i++) {
        m->ids[i] = id_of(i);
        sizes[bucket_of(i)]++;
    }
    pthread_t thread;
    CHECK_EQUAL(pthread_create(&thread, NULL, wait_for_many, m), 0);
    poll_until(has_looked_twice, m);
    ray_object_id stranger = id_of(MANY + 5);
    CHECK_OK(ray_object_put(node, &stranger, "x", 1, NULL, 0, 0));
    ray_object_id wanted = id_of(77);
    CHECK_OK(ray_object_put(node, &wanted, "x", 1, NULL, 0, 0));
    CHECK_EQUAL(pthread_join(thread, NULL), 0);
    CHECK_STATUS(m->status, RAY_OK);
    CHECK_EQUAL(m->ready_count, 1);
    CHECK_EQUAL(m->ready[77], 1);
    // Every id before the wait and once after it had begun; then two buckets of 39 or so.
    uint64_t looks = ray__shm_load(&m->store->wait_look_count);
    CHECK(looks >= 2 * MANY && looks <= 2 * MANY + sizes[bucket_of(MANY + 5)] + sizes[bucket_of(77)]);
    CHECK(!waits_somewhere(node));
    ray_store_close(m->store);
    free(m);
    check_and_close(node);
}

static void a_wait_for_ten_thousand_ends_when_another_process_has_sealed_them(void) {
    ray_store *node = make_store(8 << 20, 2 * MANY);
    many *m = calloc(1, sizeof *m);
    CHECK(m != NULL);
    m->store = node;
    m->wanted = MANY;
    for (uint32_t i = 0; i < MANY; i++) {
        m->ids[i] = id_of(i);
    }
    uint32_t slot;
    CHECK_OK(ray_store_slot_claim(node, 0, &slot));
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        ray_store *store = attach_slot(ray_store_meta_fd(node), ray_store_data_fd(node), slot);
        for (uint32_t i = 0; i < MANY; i++) {
            ray_object_id id = id_of(i);
            CHECK_OK(ray_object_put(store, &id, &i, sizeof i, NULL, 0, 0));
        }
        _exit(0);
    }
    (void)wait_for_many(m);
    CHECK_STATUS(m->status, RAY_OK);
    CHECK_EQUAL(m->ready_count, MANY);
    int status;
    CHECK_EQUAL(waitpid(child, &status, 0), child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    free(m);
    check_and_close(node);
}

static void a_wait_ends_when_what_it_waits_for_has_gone(void) {
    ray_store *node = make_store(1 << 20, 64);
    ray_object_id ids[2] = {id_of(1), id_of(2)};
    ray_object_writer writer;
    CHECK_OK(ray_object_create(node, &ids[0], 5, 0, 0, &writer));
    uint8_t ready[2];
    uint32_t count;
    CHECK_STATUS(ray_object_wait(node, ids, 2, 1, 1000000, ready, &count), RAY_TIMED_OUT);
    CHECK(ready[0] == 0 && ready[1] == 0);
    CHECK_OK(ray_object_delete(node, &ids[0], RAY_OBJECT_FREED));
    CHECK_OK(ray_object_wait(node, ids, 2, 1, LONG_NS, ready, &count));
    CHECK(ready[0] == 1 && ready[1] == 0);
    ray_object_abort(node, &writer);
    check_and_close(node);
}

// ---- a thread that waits for others ----------------------------------------------------------------------------------------

static uint32_t thread_count(void) {
    DIR *tasks = opendir("/proc/self/task");
    CHECK(tasks != NULL);
    uint32_t count = 0;
    for (const struct dirent *entry; (entry = readdir(tasks)) != NULL;) {
        count += entry->d_name[0] != '.';
    }
    closedir(tasks);
    return count;
}

static void ten_thousand_waits_share_a_thread_and_a_sleep(void) {
    ray_store *node = make_store(8 << 20, 2 * MANY);
    ray_store *client = attach_client(node);
    ray_waiter *waiter;
    CHECK_OK(ray_waiter_create(client, &waiter));
    uint32_t threads = thread_count();
    outcome *outcomes = calloc(MANY, sizeof *outcomes);
    uint64_t *tickets = calloc(MANY, sizeof *tickets);
    CHECK(outcomes != NULL && tickets != NULL);
    uint32_t sizes[RAY__WAIT_BUCKETS] = {0};
    for (uint32_t i = 0; i < MANY; i++) {
        ray_object_id id = id_of(i);
        sizes[bucket_of(i)]++;
        CHECK_OK(ray_waiter_add(waiter, &id, 0, i % 2 == 0 ? RAY_FOREVER : LONG_NS, note, &outcomes[i], &tickets[i]));
        CHECK(tickets[i] != 0);
    }
    CHECK_EQUAL(thread_count(), threads);
    CHECK(ray_waiter_cancel(waiter, tickets[5]));
    CHECK(!ray_waiter_cancel(waiter, tickets[5]));
    uint64_t before = ray__shm_load(&client->wait_look_count);
    ray_object_id id = id_of(77);
    CHECK_OK(ray_object_put(node, &id, "x", 1, NULL, 0, 0));
    poll_until(was_called, &outcomes[77]);
    CHECK(ray__shm_load(&client->wait_look_count) - before <= sizes[bucket_of(77)]);
    CHECK(!ray_waiter_cancel(waiter, tickets[77]));
    for (uint32_t i = 0; i < MANY; i++) {
        if (i != 77) {
            id = id_of(i);
            CHECK_OK(ray_object_put(node, &id, "x", 1, NULL, 0, 0));
        }
    }
    for (uint32_t i = 0; i < MANY; i++) {
        if (i != 5) {
            poll_until(was_called, &outcomes[i]);
            CHECK_EQUAL(outcomes[i].status, RAY_OK);
        }
    }
    CHECK(!waits_somewhere(node));
    ray_waiter_destroy(waiter);
    for (uint32_t i = 0; i < MANY; i++) {
        CHECK_EQUAL(outcomes[i].calls, i == 5 ? 0 : 1);
    }
    free(outcomes);
    free(tickets);
    ray_store_close(client);
    check_and_close(node);
}

static void waits_of_a_waiter_end_in_time_the_earliest_first(void) {
    enum { COUNT = 100 };
    ray_store *node = make_store(1 << 20, 64);
    ray_waiter *waiter;
    CHECK_OK(ray_waiter_create(node, &waiter));
    static outcome outcomes[COUNT];
    uint64_t tickets[COUNT];
    memset(outcomes, 0, sizeof outcomes);
    // The later ones first, so that each shortens the sleep; and of every other the cancel must mend the heap.
    for (uint32_t i = 0; i < COUNT; i++) {
        ray_object_id id = id_of(i);
        uint64_t timeout_ns = (COUNT - i) * 500000u;
        CHECK_OK(ray_waiter_add(waiter, &id, 0, timeout_ns + 20000000u, note, &outcomes[i], &tickets[i]));
    }
    for (uint32_t i = 0; i < COUNT; i += 2) {
        if (!ray_waiter_cancel(waiter, tickets[i])) {
            poll_until(was_called, &outcomes[i]);
        }
    }
    poll_until(was_called, &outcomes[1]);
    for (uint32_t i = 1; i < COUNT; i += 2) {
        CHECK_EQUAL(outcomes[i].calls, 1); // the first added ends last
        CHECK_EQUAL(outcomes[i].status, RAY_TIMED_OUT);
    }
    ray_waiter_destroy(waiter);
    check_and_close(node);
}

static void a_waiter_tells_every_end_of_an_object(void) {
    ray_store *node = make_store(1 << 20, 64);
    ray_waiter *waiter;
    CHECK_OK(ray_waiter_create(node, &waiter));
    ray_object_id ids[6];
    ray_object_writer writers[6];
    static outcome outcomes[6];
    memset(outcomes, 0, sizeof outcomes);
    uint64_t ticket;
    uint32_t state;
    for (uint64_t i = 0; i < 6; i++) {
        ids[i] = id_of(i);
        CHECK_OK(ray_object_create(node, &ids[i], 5, 0, 0, &writers[i]));
    }
    CHECK_OK(ray_node_adopt(node, &ids[4], &state));
    for (uint64_t i = 0; i < 6; i++) {
        CHECK_OK(ray_waiter_add(waiter, &ids[i], i >= 3 ? RAY_WAITER_WHILE_MADE : 0, RAY_FOREVER, note, &outcomes[i], &ticket));
        CHECK(ticket != 0);
    }
    CHECK_OK(ray_object_seal(node, &writers[0]));
    CHECK_OK(ray_object_delete(node, &ids[1], RAY_OBJECT_LOST));
    ray_object_abort(node, &writers[2]);
    ray_object_abort(node, &writers[3]);
    ray_object_abort(node, &writers[4]);
    CHECK_OK(ray_object_seal(node, &writers[5]));
    static const ray_status expected[6] = {RAY_OK, RAY_OBJECT_LOST, RAY_OBJECT_FREED, RAY_OBJECT_FREED, RAY_NOT_LOCAL, RAY_OK};
    for (uint64_t i = 0; i < 6; i++) {
        poll_until(was_called, &outcomes[i]);
        CHECK_EQUAL(outcomes[i].status, expected[i]);
    }
    outcome none = {0};
    CHECK_OK(ray_waiter_add(waiter, &ids[0], 0, RAY_FOREVER, note, &none, &ticket));
    CHECK_EQUAL(ticket, 0);
    CHECK_OK(ray_waiter_add(waiter, &ids[4], RAY_WAITER_WHILE_MADE, RAY_FOREVER, note, &none, &ticket));
    CHECK_EQUAL(ticket, 0);
    CHECK_STATUS(ray_waiter_add(waiter, &ids[4], 2, RAY_FOREVER, note, &none, &ticket), RAY_INVALID_ARGUMENT);
    ray_object_abort(node, &writers[1]);
    ray_waiter_destroy(waiter);
    CHECK_EQUAL(none.calls, 0);
    check_and_close(node);
}

static void an_ended_waiter_tells_all_and_takes_no_more(void) {
    ray_store *node = make_store(1 << 20, 64);
    ray_waiter *waiter;
    CHECK_OK(ray_waiter_create(node, &waiter));
    static outcome outcomes[3];
    memset(outcomes, 0, sizeof outcomes);
    uint64_t ticket;
    ray_object_id id = id_of(1);
    for (int i = 0; i < 2; i++) {
        CHECK_OK(ray_waiter_add(waiter, &id, 0, RAY_FOREVER, note, &outcomes[i], &ticket));
    }
    ray_waiter_end(waiter, RAY_NODE_DIED);
    for (int i = 0; i < 2; i++) {
        poll_until(was_called, &outcomes[i]);
        CHECK_EQUAL(outcomes[i].status, RAY_NODE_DIED);
    }
    CHECK_STATUS(ray_waiter_add(waiter, &id, 0, RAY_FOREVER, note, &outcomes[2], &ticket), RAY_NODE_DIED);
    ray_waiter_destroy(waiter);
    CHECK_OK(ray_waiter_create(node, &waiter));
    CHECK_OK(ray_waiter_add(waiter, &id, 0, RAY_FOREVER, note, &outcomes[2], &ticket));
    ray_waiter_destroy(waiter);
    CHECK_EQUAL(outcomes[2].calls, 1);
    CHECK_EQUAL(outcomes[2].status, RAY_CLOSED);
    CHECK(!waits_somewhere(node));
    check_and_close(node);
}

// ---- adding, sealing and cancelling at once ----------------------------------------------------------------------------------

typedef struct race {
    ray_store *node;
    uint32_t rounds;
} race;

static void *seal_all(void *argument) {
    const race *r = argument;
    for (uint32_t i = 0; i < r->rounds; i++) {
        ray_object_id id = id_of(i);
        CHECK_OK(ray_object_put(r->node, &id, "x", 1, NULL, 0, 0));
    }
    return NULL;
}

static void no_wake_is_lost_between_adding_and_sealing(void) {
    ray_store *node = make_store(8 << 20, 2 * MANY);
    ray_store *client = attach_client(node);
    ray_waiter *waiter;
    CHECK_OK(ray_waiter_create(client, &waiter));
    race r = {node, MANY};
    outcome *outcomes = calloc(MANY, sizeof *outcomes);
    uint8_t *over = calloc(MANY, 1);
    CHECK(outcomes != NULL && over != NULL);
    pthread_t thread;
    CHECK_EQUAL(pthread_create(&thread, NULL, seal_all, &r), 0);
    for (uint32_t i = 0; i < MANY; i++) {
        ray_object_id id = id_of(i);
        uint64_t ticket;
        CHECK_OK(ray_waiter_add(waiter, &id, 0, RAY_FOREVER, note, &outcomes[i], &ticket));
        over[i] = ticket == 0 || (i % 7 == 0 && ray_waiter_cancel(waiter, ticket));
    }
    CHECK_EQUAL(pthread_join(thread, NULL), 0);
    for (uint32_t i = 0; i < MANY; i++) {
        if (over[i] == 0) {
            poll_until(was_called, &outcomes[i]);
            CHECK_EQUAL(outcomes[i].status, RAY_OK);
        }
    }
    ray_waiter_destroy(waiter);
    for (uint32_t i = 0; i < MANY; i++) {
        CHECK_EQUAL(outcomes[i].calls, over[i] == 0);
    }
    free(outcomes);
    free(over);
    ray_store_close(client);
    check_and_close(node);
}

int main(void) {
    RUN(every_end_of_an_object_wakes_a_getter_in_another_process);
    RUN(a_waiter_that_is_killed_leaves_nobody_waiting);
    RUN(a_wake_looks_only_at_ids_of_buckets_that_moved);
    RUN(a_wait_for_ten_thousand_ends_when_another_process_has_sealed_them);
    RUN(a_wait_ends_when_what_it_waits_for_has_gone);
    RUN(ten_thousand_waits_share_a_thread_and_a_sleep);
    RUN(waits_of_a_waiter_end_in_time_the_earliest_first);
    RUN(a_waiter_tells_every_end_of_an_object);
    RUN(an_ended_waiter_tells_all_and_takes_no_more);
    RUN(no_wake_is_lost_between_adding_and_sealing);
    return 0;
}
