// SPDX-License-Identifier: Apache-2.0
// make test-kill KILLS=20000: processes work at random on one store, and the driver, which is its node, kills one after the other at a
// random moment, reaps it and starts another in its place. Some are stopped for a while first. Nobody may hang, no read may find a
// wrong byte, and when all are dead every byte of the store must be free. One JSON object a line on standard output, progress on
// standard error. RAYSTORE_SEED repeats the driver's and the workers' choices; when a process is interrupted stays the machine's.
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "plasma_fixture.h"
#include "worker.h"

enum {
    HANG_S = 15,        // no step of a worker for so long is a hang: a thousand times what it waits for anything
    CHECK_EVERY = 200,  // kills between two full checks
    STOP_ONE_IN = 32,   // kills that come after a stop
    ALIVE_US_MAX = 6000 // a worker is killed up to so long after the one before
};

static board *shared;
static ray_store *node;
static uint64_t seed;
static pid_t pids[WORKERS];
static uint32_t slots[WORKERS];
static uint64_t steps_seen[WORKERS];
static double moved_at[WORKERS];
static uint64_t hangs;
static uint64_t stops;

static double now_s(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

// ---- workers ---------------------------------------------------------------------------------------------------------------

// The slot is claimed with the pid, which the child only has once it runs: it waits for the number.
static void start(int i) {
    int channel[2];
    CHECK_EQUAL(pipe(channel), 0);
    uint64_t random = check_random(&seed);
    pids[i] = fork();
    CHECK(pids[i] >= 0);
    if (pids[i] == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); // a driver that fails leaves nobody behind
        close(channel[1]);
        uint32_t slot;
        if (read(channel[0], &slot, sizeof slot) != sizeof slot) {
            _exit(8);
        }
        close(channel[0]);
        worker_run(ray_store_meta_fd(node), ray_store_data_fd(node), slot, random, &shared->rows[i]);
    }
    close(channel[0]);
    CHECK_OK(ray_store_slot_claim(node, pids[i], &slots[i]));
    CHECK_EQUAL(write(channel[1], &slots[i], sizeof slots[i]), sizeof slots[i]);
    close(channel[1]);
    moved_at[i] = now_s();
}

static void reap(int i) {
    int status;
    CHECK_EQUAL(waitpid(pids[i], &status, 0), pids[i]);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL); // not an exit by a failed check
    ray_reap_report report;
    CHECK_OK(ray_store_slot_reap(node, slots[i], &report));
}

static void look_for_hangs(void) {
    double now = now_s();
    for (int i = 0; i < WORKERS; i++) {
        uint64_t steps = __atomic_load_n(&shared->rows[i].steps, __ATOMIC_RELAXED);
        if (steps != steps_seen[i]) {
            steps_seen[i] = steps;
            moved_at[i] = now;
        } else if (now - moved_at[i] > HANG_S) {
            hangs++;
            fprintf(stderr, "kills: worker %d (pid %d) has made no step for %d s, it is doing %u\n", i, (int)pids[i], HANG_S,
                    shared->rows[i].doing);
            moved_at[i] = now;
        }
    }
}

// ---- the node's part -------------------------------------------------------------------------------------------------------

static void listen_to_store(void) {
    ray_object_info infos[16];
    uint32_t count;
    while (ray_node_attention_wait(node, 0, infos, 16, &count) == RAY_OK) {
    }
}

static void node_work(void) {
    uint32_t state;
    for (int i = 0; i < 6; i++) {
        ray_object_id id = id_of(check_random(&seed) % 48);
        switch (check_random(&seed) % 5) {
        case 0: (void)!ray_node_adopt(node, &id, &state); break;
        case 1: (void)ray_node_disown(node, &id); break;
        case 2: (void)!ray_node_evict(node, &id, NULL); break;
        case 3: (void)!ray_node_watch(node, &id); break;
        default: (void)!ray_node_ref_for(node, &id, slots[check_random(&seed) % WORKERS], 0); break;
        }
    }
    listen_to_store();
}

// Stops a worker wherever it is. The others must get on: the node sees to it. Then it goes on, unless the node has ended it, or is
// killed as it stands.
static void stop_for_a_while(int i) {
    stops++;
    CHECK_EQUAL(kill(pids[i], SIGSTOP), 0);
    uint64_t from = __atomic_load_n(&shared->rows[SURVIVOR].steps, __ATOMIC_RELAXED);
    for (double end = now_s() + HANG_S; __atomic_load_n(&shared->rows[SURVIVOR].steps, __ATOMIC_RELAXED) < from + 20;) {
        if (now_s() > end) {
            hangs++;
            fprintf(stderr, "kills: the survivor is blocked by worker %d, which is stopped\n", i);
            return;
        }
        listen_to_store();
        usleep(200);
    }
    if (check_random(&seed) % 2 == 0) {
        kill(pids[i], SIGCONT);
    }
}

static void kill_one(void) {
    int victim = (int)(check_random(&seed) % SURVIVOR);
    usleep((useconds_t)(check_random(&seed) % ALIVE_US_MAX));
    if (check_random(&seed) % STOP_ONE_IN == 0) {
        stop_for_a_while(victim);
    }
    kill(pids[victim], SIGKILL);
    reap(victim);
    node_work();
    start(victim);
}

// ---- the end ---------------------------------------------------------------------------------------------------------------

// What nobody has a ref or a pin of may lie there: it was put without a ref, and goes when it is deleted. All else has leaked.
static uint64_t leaked_bytes(void) {
    listen_to_store();
    CHECK_OK(ray_plasma_check(node, 2));
    ray_object_info infos[16];
    uint64_t cursor = 0;
    uint32_t count;
    do {
        CHECK_OK(ray_store_list(node, &cursor, infos, 16, &count));
        for (uint32_t i = 0; i < count; i++) {
            bool is_in_order = infos[i].pin_slot_count == 0 && infos[i].ref_slot_count == 0 &&
                               (infos[i].state == RAY_STATE_SEALED || infos[i].node_has_ref);
            if (!is_in_order) {
                char name[RAY_OBJECT_ID_HEX_SIZE];
                ray_object_id_format(&infos[i].id, name);
                fprintf(stderr, "kills: %s is left in state %u with %u pins and %u refs\n", name, infos[i].state,
                        infos[i].pin_slot_count, infos[i].ref_slot_count);
                continue;
            }
            (void)ray_node_disown(node, &infos[i].id);
            (void)!ray_object_delete(node, &infos[i].id, RAY_OBJECT_FREED);
        }
    } while (count != 0);
    listen_to_store();
    CHECK_OK(ray_plasma_check(node, 2));
    ray_store_stats stats = stats_of(node);
    if (stats.entry_count != 0 || stats.client_count != 1) {
        fprintf(stderr, "kills: %u entries and %u clients are left\n", stats.entry_count, stats.client_count - 1);
        return stats.used_bytes != 0 ? stats.used_bytes : 1;
    }
    return stats.capacity_bytes - stats.largest_free_bytes;
}

static uint64_t sum(size_t offset) {
    uint64_t all = 0;
    for (int i = 0; i < WORKERS; i++) {
        all += __atomic_load_n((uint64_t *)(void *)((uint8_t *)&shared->rows[i] + offset), __ATOMIC_RELAXED);
    }
    return all;
}

static void report(uint64_t done, uint64_t of, double began) {
    double rate = (double)done / (now_s() - began + 1e-9);
    fprintf(stderr, "kills: %" PRIu64 " of %" PRIu64 ", %.0f/s, %" PRIu64 " creates, %" PRIu64 " reads, %" PRIu64 " stops, %" PRIu64
            " hangs, %" PRIu64 " wrong bytes, %.0f s left\n", done, of, rate, sum(offsetof(board_row, creates)),
            sum(offsetof(board_row, gets)), stops, hangs, sum(offsetof(board_row, wrong_bytes)), (double)(of - done) / (rate + 1e-9));
}

static void print_value(const char *name, uint64_t value) {
    printf("{\"name\":\"plasma.kills.%s\",\"value\":%" PRIu64 ",\"unit\":\"%s\"}\n", name, value,
           strstr(name, "bytes") != NULL ? "B" : "count");
}

int main(int argc, char **argv) {
    uint64_t kills = argc > 1 ? strtoull(argv[1], NULL, 0) : 20000;
    CHECK(kills > 0);
    seed = check_seed();
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(shared != MAP_FAILED);
    node = make_store(4 << 20, 40); // too small for all, so that creates fail, too
    for (int i = 0; i < WORKERS; i++) {
        start(i);
    }
    double began = now_s();
    double reported = began;
    uint64_t done = 0;
    for (; done < kills && hangs == 0; done++) {
        kill_one();
        look_for_hangs();
        CHECK_OK(ray_plasma_check(node, done % CHECK_EVERY == 0 ? 2 : 1));
        if (now_s() - reported >= 1) {
            reported = now_s();
            report(done + 1, kills, began);
        }
    }
    for (int i = 0; i < WORKERS; i++) {
        kill(pids[i], SIGKILL);
        reap(i);
    }
    uint64_t leaked = leaked_bytes();
    uint64_t wrong = sum(offsetof(board_row, wrong_bytes));
    report(done, kills, began);
    CHECK(sum(offsetof(board_row, gets)) > kills && sum(offsetof(board_row, creates)) > kills); // it was not idle
    print_value("count", done);
    print_value("leaked_bytes", leaked);
    print_value("hangs", hangs);
    print_value("wrong_bytes", wrong);
    ray_store_close(node);
    return leaked == 0 && hangs == 0 && wrong == 0 && done == kills ? 0 : 1;
}
