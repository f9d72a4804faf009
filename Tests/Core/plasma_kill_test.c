// SPDX-License-Identifier: Apache-2.0
// Clients work at random on the same few objects and are killed with SIGKILL at random times; the node reaps each. Nothing may leak,
// nobody may hang, and whoever reads must read what was sealed. RAYSTORE_KILLS says how many.
#include <signal.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "check.h"
#include "plasma_fixture.h"

enum { CLIENTS = 5, IDS = 48, SIZE_MAX_ = 40000, HELD = 8 };

typedef struct shared {
    uint64_t progress[CLIENTS];
    uint64_t gets;
} shared;

static shared *counts;
static ray_store *node;
static pid_t pids[CLIENTS];
static uint32_t slots[CLIENTS];
static uint64_t seed;

static void check_view(const ray_object_view *view, uint64_t n) {
    for (uint64_t i = 0; i < view->data_size; i += i < 128 || i + 256 > view->data_size ? 1 : 61) {
        if (view->data[i] != (uint8_t)(n * 37 + 11)) {
            fprintf(stderr, "object %" PRIu64 " has %u at %" PRIu64 " of %" PRIu64 "\n", n, view->data[i], i, view->data_size);
            _exit(9);
        }
    }
}

static void make_object(ray_store *store, uint64_t n, uint64_t *random) {
    ray_object_id id = id_of(n);
    ray_object_writer writer;
    uint64_t size = check_random(random) % SIZE_MAX_;
    uint32_t flags = check_random(random) % 4 != 0 ? RAY_CREATE_WITH_REF : 0;
    ray_status status = ray_object_create(store, &id, size, 8, flags, &writer);
    if (status != RAY_OK) {
        CHECK(status == RAY_EXISTS || status == RAY_STORE_FULL || status == RAY_TABLE_FULL);
        return;
    }
    if (size != 0) {
        memset(writer.data, (uint8_t)(n * 37 + 11), size);
    }
    if (check_random(random) % 8 == 0) {
        ray_object_abort(store, &writer);
        return;
    }
    (void)!ray_object_seal(store, &writer);
}

// One random operation of a client; the views that it holds are in `held`.
static void work(ray_store *store, uint64_t *random, ray_object_view *held, uint64_t *held_ids) {
    uint64_t n = check_random(random) % IDS;
    ray_object_id id = id_of(n);
    uint64_t place = check_random(random) % HELD;
    switch (check_random(random) % 10) {
    case 0: case 1: case 2:
        make_object(store, n, random);
        break;
    case 3: case 4: case 5: {
        if (held[place].generation != 0) {
            check_view(&held[place], held_ids[place]);
            ray_object_release(store, &held[place]);
        }
        uint64_t timeout = check_random(random) % 16 == 0 ? 500000 : 0;
        if (ray_object_get(store, &id, timeout, &held[place]) == RAY_OK) {
            held_ids[place] = n;
            check_view(&held[place], n);
            __atomic_fetch_add(&counts->gets, 1, __ATOMIC_RELAXED);
        }
        break;
    }
    case 6:
        (void)!ray_ref_acquire(store, &id);
        break;
    case 7: case 8:
        (void)ray_ref_release(store, &id);
        break;
    default:
        if (check_random(random) % 8 == 0) {
            ray_object_id ids[4] = {id, id_of(n + 1), id_of(n + 2), id_of(n + 3)};
            uint8_t ready[4];
            uint32_t count;
            (void)!ray_object_wait(store, ids, 4, 3, 300000, ready, &count);
        } else {
            (void)!ray_object_delete(store, &id, RAY_OBJECT_FREED);
        }
    }
}

static void start(int client) {
    CHECK_OK(ray_store_slot_claim(node, client, &slots[client]));
    uint64_t random = check_random(&seed);
    pids[client] = fork();
    CHECK(pids[client] >= 0);
    if (pids[client] == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); // a failing test leaves no client behind
        ray_store *store = attach_slot(ray_store_meta_fd(node), ray_store_data_fd(node), slots[client]);
        ray_object_view held[HELD] = {{0}};
        uint64_t held_ids[HELD];
        for (;;) {
            work(store, &random, held, held_ids);
            __atomic_fetch_add(&counts->progress[client], 1, __ATOMIC_RELAXED);
        }
    }
}

static void kill_and_reap(int client) {
    int status;
    kill(pids[client], SIGKILL);
    CHECK_EQUAL(waitpid(pids[client], &status, 0), pids[client]);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL); // not an exit by a failed check
    ray_reap_report report;
    CHECK_OK(ray_store_slot_reap(node, slots[client], &report));
}

static void wait_for_progress(int client, uint64_t from) {
    for (time_t end = time(NULL) + 20; __atomic_load_n(&counts->progress[client], __ATOMIC_RELAXED) < from;) {
        CHECK(time(NULL) < end);
        usleep(200);
    }
}

static void node_work(void) {
    ray_object_info infos[16];
    uint32_t count;
    uint32_t state;
    for (int i = 0; i < 6; i++) {
        ray_object_id id = id_of(check_random(&seed) % IDS);
        switch (check_random(&seed) % 5) {
        case 0: (void)!ray_node_adopt(node, &id, &state); break;
        case 1: (void)ray_node_disown(node, &id); break;
        case 2: (void)!ray_node_evict(node, &id, NULL); break;
        case 3: (void)!ray_node_watch(node, &id); break;
        default: (void)!ray_node_ref_for(node, &id, slots[check_random(&seed) % CLIENTS], 0); break;
        }
    }
    while (ray_node_attention_wait(node, 0, infos, 16, &count) == RAY_OK) {
    }
}

static void nobody_left_nothing_leaked(void) {
    ray_object_info infos[16];
    uint32_t count;
    while (ray_node_attention_wait(node, 0, infos, 16, &count) == RAY_OK) {
    }
    CHECK_OK(ray_plasma_check(node, 2));
    uint64_t cursor = 0;
    do {
        CHECK_OK(ray_store_list(node, &cursor, infos, 16, &count));
        for (uint32_t i = 0; i < count; i++) {
            CHECK_EQUAL(infos[i].pin_slot_count, 0);
            CHECK_EQUAL(infos[i].ref_slot_count, 0);
            CHECK(infos[i].state == RAY_STATE_SEALED || infos[i].node_has_ref);
            CHECK_OK(ray_object_delete(node, &infos[i].id, RAY_OBJECT_FREED));
            ray_status status = ray_node_disown(node, &infos[i].id);
            CHECK(status == RAY_OK || status == RAY_NOT_FOUND);
        }
    } while (count != 0);
    while (ray_node_attention_wait(node, 0, infos, 16, &count) == RAY_OK) {
    }
    ray_store_stats stats = stats_of(node);
    CHECK_EQUAL(stats.entry_count, 0);
    CHECK_EQUAL(stats.used_bytes, 0);
    CHECK_EQUAL(stats.largest_free_bytes, stats.capacity_bytes);
    CHECK_EQUAL(stats.client_count, 1);
}

static void killed_clients_leave_nothing_and_stop_nobody(void) {
    const char *given = getenv("RAYSTORE_KILLS");
    int kills = given != NULL ? atoi(given) : 300;
    node = make_store(1 << 20, 60); // too small for all, so that creates fail, too
    for (int i = 0; i < CLIENTS; i++) {
        start(i);
    }
    for (int k = 0; k < kills; k++) {
        int victim = (int)(check_random(&seed) % CLIENTS);
        int survivor = (victim + 1) % CLIENTS;
        wait_for_progress(victim, 1);
        usleep((useconds_t)(check_random(&seed) % 8000));
        kill_and_reap(victim);
        uint64_t now = __atomic_load_n(&counts->progress[survivor], __ATOMIC_RELAXED);
        wait_for_progress(survivor, now + 1);
        CHECK_OK(ray_plasma_check(node, k % 4 == 0 ? 2 : 1));
        node_work();
        counts->progress[victim] = 0;
        start(victim);
    }
    for (int i = 0; i < CLIENTS; i++) {
        kill_and_reap(i);
    }
    fprintf(stderr, "  %d kills, %" PRIu64 " gets\n", kills + CLIENTS, counts->gets);
    CHECK(counts->gets > 0);
    nobody_left_nothing_leaked();
    ray_store_close(node);
}

int main(void) {
    seed = check_seed();
    counts = mmap(NULL, sizeof *counts, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(counts != MAP_FAILED);
    RUN(killed_clients_leave_nothing_and_stop_nobody);
    return 0;
}
