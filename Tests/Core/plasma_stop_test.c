// SPDX-License-Identifier: Apache-2.0
// A client is stopped, not killed. Without the lock it is in nobody's way. With the lock the node ends it, so that the others get on. In a
// library with crash points it is stopped at every point of every scenario: others go on, and when it is let go it goes on rightly.
#include <pthread.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "base/crash_internal.h"
#include "check.h"
#include "plasma/store_internal.h"
#include "plasma_scenarios.h"
#include "wait_fixture.h"

enum { WATCHDOG_S = 60 };

static void *listen_until_stopped(void *argument) {
    ray_object_info infos[8];
    uint32_t count;
    ray_status status;
    do {
        status = ray_node_attention_wait(argument, RAY_FOREVER, infos, 8, &count);
    } while (status == RAY_OK);
    CHECK_EQUAL(status, RAY_CLOSED);
    return NULL;
}

// A node that listens, as every node does; and another client.
typedef struct house {
    ray_store *node;
    ray_store *other;
    pthread_t listener;
    uint64_t used_bytes;
    uint32_t entry_count;
} house;

static house open_house(void) {
    house h = {.node = make_store(8 << 20, 64)};
    scenarios_prepare(h.node);
    h.used_bytes = stats_of(h.node).used_bytes;
    h.entry_count = stats_of(h.node).entry_count;
    h.other = attach_client(h.node);
    CHECK_EQUAL(pthread_create(&h.listener, NULL, listen_until_stopped, h.node), 0);
    return h;
}

static void close_house(house *h) {
    ray_node_attention_stop(h->node);
    pthread_join(h->listener, NULL);
    ray_store_close(h->other);
    check_and_close(h->node);
}

#ifdef RAY_CRASH_POINTS
static uint64_t stop_at; // the crash point at which the next client stops; 0: none

static void arm(void) {
    ray__crash_signal = SIGSTOP;
    ray__crash_passed = 0;
    ray__crash_at = stop_at;
}
#else
static void arm(void) {
}
#endif

// Forks a client that is attached; its slot knows its pid, as the node's socket gives it.
static pid_t start_client(house *h, uint32_t *slot, void (*body)(ray_store *, uint64_t), uint64_t argument) {
    int channel[2];
    CHECK_EQUAL(pipe(channel), 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(channel[1]);
        CHECK_EQUAL(read(channel[0], slot, sizeof *slot), sizeof *slot);
        arm();
        ray_store *store = attach_slot(ray_store_meta_fd(h->node), ray_store_data_fd(h->node), *slot);
        body(store, argument);
        _exit(0);
    }
    close(channel[0]);
    CHECK_OK(ray_store_slot_claim(h->node, child, slot));
    CHECK_EQUAL(write(channel[1], slot, sizeof *slot), sizeof *slot);
    close(channel[1]);
    return child;
}

static void reap_client(house *h, uint32_t slot) {
    ray_reap_report report;
    CHECK_OK(ray_store_slot_reap(h->node, slot, &report));
}

static double use_and_measure(house *h) {
    struct timespec from;
    struct timespec to;
    clock_gettime(CLOCK_MONOTONIC, &from);
    use_store(h->other, 500);
    clock_gettime(CLOCK_MONOTONIC, &to);
    return (double)(to.tv_sec - from.tv_sec) * 1e3 + (double)(to.tv_nsec - from.tv_nsec) / 1e6;
}

// ---- with the lock, without ----------------------------------------------------------------------------------------------

static void stop_with_the_lock(ray_store *store, uint64_t argument) {
    RAY__GATE(store);
    (void)argument;
    CHECK_OK(ray__store_lock(store));
    store->arena->used = 1; // as in the middle of something
    raise(SIGSTOP);
}

static void who_stops_with_the_lock_is_ended_and_repaired(void) {
    house h = open_house();
    RAY__GATE(h.node);
    uint32_t slot;
    int status;
    pid_t client = start_client(&h, &slot, stop_with_the_lock, 0);
    CHECK_EQUAL(waitpid(client, &status, WUNTRACED), client);
    CHECK(WIFSTOPPED(status));
    double took = use_and_measure(&h);
    CHECK_EQUAL(waitpid(client, &status, 0), client);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
    CHECK_EQUAL(h.node->header->repair_count, 1);
    reap_client(&h, slot);
    scenarios_check_end(h.node, h.used_bytes, h.entry_count);
    fprintf(stderr, "  the other client waited %.0f ms\n", took);
    close_house(&h);
}

static void stop_with_much(ray_store *store, uint64_t argument) {
    (void)argument;
    does_detach(store);
    raise(SIGSTOP);
    ray_store_close(store);
}

static void who_stops_without_the_lock_is_left_in_peace(void) {
    house h = open_house();
    RAY__GATE(h.node);
    uint32_t slot;
    int status;
    pid_t client = start_client(&h, &slot, stop_with_much, 0);
    CHECK_EQUAL(waitpid(client, &status, WUNTRACED), client);
    CHECK(WIFSTOPPED(status));
    // Even when the node is called to look, again and again.
    for (int i = 0; i < 20; i++) {
        ray__lock_look(h.node);
        use_store(h.other, 500);
        usleep(10000);
    }
    CHECK_OK(ray_plasma_check(h.node, 2));
    CHECK_EQUAL(kill(client, SIGCONT), 0);
    CHECK_EQUAL(waitpid(client, &status, 0), client);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK_EQUAL(h.node->header->repair_count, 0);
    reap_client(&h, slot);
    scenarios_check_end(h.node, h.used_bytes, h.entry_count);
    close_house(&h);
}

// A thread that runs with the lock for long is no reason to kill anybody, nor is a stopped one that holds nothing beside it.
static void who_runs_with_the_lock_for_long_is_not_ended(void) {
    house h = open_house();
    RAY__GATE(h.node);
    uint32_t slot;
    int status;
    pid_t client = start_client(&h, &slot, stop_with_much, 0);
    CHECK_EQUAL(waitpid(client, &status, WUNTRACED), client);
    CHECK_OK(ray__store_lock(h.other));
    for (int i = 0; i < 30; i++) {
        ray__lock_look(h.node);
        usleep(10000);
    }
    ray__store_unlock(h.other);
    CHECK_EQUAL(waitpid(client, &status, WNOHANG), 0);
    CHECK_EQUAL(kill(client, SIGCONT), 0);
    CHECK_EQUAL(waitpid(client, &status, 0), client);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    reap_client(&h, slot);
    scenarios_check_end(h.node, h.used_bytes, h.entry_count);
    close_house(&h);
}

// ---- at every point --------------------------------------------------------------------------------------------------------

#ifdef RAY_CRASH_POINTS
static void run_and_stop(ray_store *store, uint64_t which) {
    scenarios[which].run(store);
    ray_store_close(store);
}

typedef struct tally {
    uint32_t points;
    uint32_t ended;
    double slowest_ms;
} tally;

// False when the client came to its end without a stop.
static bool stop_once(house *h, uint64_t which, uint64_t point, tally *sum) {
    uint32_t slot;
    int status;
    stop_at = point;
    pid_t client = start_client(h, &slot, run_and_stop, which);
    CHECK_EQUAL(waitpid(client, &status, WUNTRACED), client);
    bool stopped = WIFSTOPPED(status);
    if (stopped) {
        double took = use_and_measure(h);
        sum->slowest_ms = took > sum->slowest_ms ? took : sum->slowest_ms;
        sum->points++;
        kill(client, SIGCONT); // to a client that was ended it does nothing
        CHECK_EQUAL(waitpid(client, &status, 0), client);
    }
    bool was_ended = WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL;
    CHECK((stopped && was_ended) || (WIFEXITED(status) && WEXITSTATUS(status) == 0));
    sum->ended += was_ended;
    reap_client(h, slot);
    scenarios_check_end(h->node, h->used_bytes, h->entry_count);
    return stopped;
}

static void stop_at_every_point(uint64_t which) {
    house h = open_house();
    tally sum = {0, 0, 0};
    uint64_t point = 1;
    while (stop_once(&h, which, point, &sum)) {
        point++;
    }
    fprintf(stderr, "  %-11s %3u points, %3u with the lock; the other client waited %.0f ms at most\n", scenarios[which].name,
            sum.points, sum.ended, sum.slowest_ms);
    bool takes_lock = scenarios[which].run == does_create || scenarios[which].run == does_delete || scenarios[which].run == does_batch;
    CHECK(sum.points > sum.ended && (sum.ended > 0 || !takes_lock));
    close_house(&h);
}

// A store and a process for each scenario: nearly all of the time is waiting.
static void whoever_stops_at_any_point_blocks_nobody_and_harms_nothing(void) {
    pid_t children[SCENARIOS];
    for (uint64_t which = 0; which < SCENARIOS; which++) {
        children[which] = fork();
        CHECK(children[which] >= 0);
        if (children[which] == 0) {
            prctl(PR_SET_PDEATHSIG, SIGKILL);
            alarm(WATCHDOG_S);
            stop_at_every_point(which);
            _exit(0);
        }
    }
    for (uint64_t which = 0; which < SCENARIOS; which++) {
        int status;
        CHECK_EQUAL(waitpid(children[which], &status, 0), children[which]);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
}

// Of a seal only the state has changed when its maker stops: the getter that sleeps is told by nobody but the node.
static void get_or_die(ray_store *store, uint64_t number) {
    ray_object_id id = id_of(number);
    ray_object_view view;
    CHECK_OK(ray_object_get(store, &id, 40000000000u, &view));
    ray_store_close(store);
}

static void a_getter_hears_of_an_object_whose_maker_stops_while_it_seals(void) {
    house h = open_house();
    uint64_t fill_remote = 3;
    uint32_t sealed = 0;
    bool stopped = true;
    for (uint64_t point = 1; stopped; point++) {
        uint32_t maker_slot;
        uint32_t getter_slot;
        int status;
        stop_at = 0;
        pid_t getter = start_client(&h, &getter_slot, get_or_die, KEPT + 1);
        await_wait(h.node, getter_slot, id_of(KEPT + 1));
        stop_at = point;
        pid_t maker = start_client(&h, &maker_slot, run_and_stop, fill_remote);
        CHECK_EQUAL(waitpid(maker, &status, WUNTRACED), maker);
        stopped = WIFSTOPPED(status);
        if (stopped && state_of(h.node, KEPT + 1) == RAY_STATE_SEALED) {
            sealed++;
            CHECK_EQUAL(waitpid(getter, &status, 0), getter); // while the maker is stopped
            CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
            getter = -1;
        }
        if (stopped) {
            kill(maker, SIGCONT);
            CHECK_EQUAL(waitpid(maker, &status, 0), maker);
        }
        if (getter > 0) {
            CHECK_EQUAL(waitpid(getter, &status, 0), getter);
            CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        }
        reap_client(&h, maker_slot);
        reap_client(&h, getter_slot);
        scenarios_check_end(h.node, h.used_bytes, h.entry_count);
    }
    CHECK(sealed > 1);
    close_house(&h);
}
#endif

int main(void) {
    alarm(WATCHDOG_S);
    RUN(who_stops_with_the_lock_is_ended_and_repaired);
    RUN(who_stops_without_the_lock_is_left_in_peace);
    RUN(who_runs_with_the_lock_for_long_is_not_ended);
#ifdef RAY_CRASH_POINTS
    RUN(whoever_stops_at_any_point_blocks_nobody_and_harms_nothing);
    RUN(a_getter_hears_of_an_object_whose_maker_stops_while_it_seals);
#endif
    return 0;
}
