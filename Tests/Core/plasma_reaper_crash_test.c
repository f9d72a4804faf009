// SPDX-License-Identifier: Apache-2.0
// A client dies at a crash point, and then the node that reaps it dies at one of its own, at each in turn. Clients go on without a node:
// they repair the lock and are not in anybody's way. Then a successor takes the store over, reaps again, and everything must be as
// if nothing had happened; the successor dies at each of its points, too. All pairs of points: some 8,000 in five seconds.
#include "check.h"

#ifndef RAY_CRASH_POINTS
int main(void) {
    SKIP("built without RAY_CRASH_POINTS");
}
#else
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "base/crash_internal.h"
#include "plasma/store_internal.h"
#include "plasma_scenarios.h"

typedef struct house {
    int meta_fd;
    int data_fd;
    ray_store *node; // who has taken the store over last
    ray_store *bystander;
    uint64_t used_bytes;
    uint32_t entry_count;
    uint32_t pairs;
    uint32_t repairs;
} house;

static ray_store *take_over(const house *h) {
    ray_store *node;
    CHECK_OK(ray__store_take_over(fcntl(h->meta_fd, F_DUPFD_CLOEXEC, 3), fcntl(h->data_fd, F_DUPFD_CLOEXEC, 3), &node));
    return node;
}

static void arm(uint64_t point) {
    ray__crash_passed = 0;
    ray__crash_at = point;
}

// True when it was killed at the point, false when it came to its end before.
static bool ended_at_point(pid_t child) {
    int status;
    CHECK_EQUAL(waitpid(child, &status, 0), child);
    CHECK(WIFEXITED(status) ? WEXITSTATUS(status) == 0 : WTERMSIG(status) == SIGKILL);
    return WIFSIGNALED(status);
}

static bool client_dies(const house *h, const scenario *what, uint32_t slot, uint64_t point) {
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        arm(point);
        ray_store *store = attach_slot(h->meta_fd, h->data_fd, slot);
        what->run(store);
        if (what->run == does_detach) {
            ray_store_close(store);
        }
        _exit(0); // without a farewell: a death, too
    }
    return ended_at_point(child);
}

static bool reaper_dies(const house *h, uint32_t slot, uint64_t point) {
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        arm(point);
        ray_store *node = take_over(h);
        ray_reap_report report;
        CHECK_OK(ray_store_slot_reap(node, slot, &report));
        _exit(0);
    }
    return ended_at_point(child);
}

// A node again, in the driver. The one before is dead: its handle here closes without touching the store.
static void succeed(house *h, uint32_t slot) {
    RAY__GATE(h->node);
    ray_store *before = h->node;
    h->node = take_over(h);
    ray_store_close(before);
    if (ray__shm_load32(&h->node->slots[slot].state) != RAY__SLOT_FREE) {
        ray_reap_report report;
        CHECK_OK(ray_store_slot_reap(h->node, slot, &report));
    }
}

typedef struct outcome {
    bool client_died;
    bool reaper_died;
} outcome;

static outcome one_pair(house *h, const scenario *what, uint64_t client_point, uint64_t reaper_point) {
    RAY__GATE(h->node);
    uint32_t slot;
    outcome result;
    CHECK_OK(ray_store_slot_claim(h->node, 0, &slot));
    uint32_t repairs = h->node->header->repair_count;
    result.client_died = client_dies(h, what, slot, client_point);
    result.reaper_died = reaper_dies(h, slot, reaper_point);
    // Every other time it is the successor that finds the lock of the dead.
    if (reaper_point % 2 == 0) {
        use_store(h->bystander, 500);
    }
    succeed(h, slot);
    use_store(h->bystander, 501);
    scenarios_check_end(h->node, h->used_bytes, h->entry_count);
    h->repairs += h->node->header->repair_count - repairs;
    h->pairs++;
    return result;
}

static void run_scenario(house *h, const scenario *what) {
    outcome last = {true, true};
    uint64_t client_points = 0;
    uint64_t reaper_points = 0;
    for (uint64_t c = 1; last.client_died; c++) {
        last.reaper_died = true;
        for (uint64_t r = 1; last.reaper_died; r++) {
            last = one_pair(h, what, c, r);
            reaper_points = r > reaper_points ? r : reaper_points;
        }
        client_points = c - 1;
    }
    fprintf(stderr, "  %-11s %3" PRIu64 " client points, up to %2" PRIu64 " of the reaper\n", what->name, client_points,
            reaper_points);
    CHECK(reaper_points > 5);
}

static void a_reaper_that_dies_at_any_point_is_succeeded(void) {
    house h = {.node = make_store(8 << 20, 64)};
    h.meta_fd = fcntl(ray_store_meta_fd(h.node), F_DUPFD_CLOEXEC, 3);
    h.data_fd = fcntl(ray_store_data_fd(h.node), F_DUPFD_CLOEXEC, 3);
    scenarios_prepare(h.node);
    h.bystander = attach_client(h.node);
    h.used_bytes = stats_of(h.node).used_bytes;
    h.entry_count = stats_of(h.node).entry_count;
    for (uint32_t i = 0; i < SCENARIOS; i++) {
        run_scenario(&h, &scenarios[i]);
    }
    fprintf(stderr, "  %u pairs, %u repairs of the lock\n", h.pairs, h.repairs);
    CHECK(h.pairs > 1000 && h.repairs > 100);
    ray_store_close(h.bystander);
    check_and_close(h.node);
    close(h.meta_fd);
    close(h.data_fd);
}

// What the dead node itself had begun: a pin, an object half made, refs, a wait. The refs stay for the successor to disown.
static void what_a_dead_node_left_is_undone_and_its_refs_are_kept(void) {
    ray_store *first = make_store(1 << 20, 64);
    scenarios_prepare(first);
    ray_object_writer writer;
    ray_object_view view;
    ray_object_id id = id_of(OWN);
    CHECK_OK(ray_object_create(first, &id, 100, 0, 0, &writer));
    id = id_of(KEPT);
    CHECK_OK(ray_object_get(first, &id, 0, &view));
    house h = {.meta_fd = ray_store_meta_fd(first), .data_fd = ray_store_data_fd(first)};
    ray_store *second = take_over(&h);
    CHECK_EQUAL(stats_of(second).pinned_bytes, 0);
    CHECK_EQUAL(stats_of(second).creating_count, 0);
    CHECK_EQUAL(state_of(second, OWN), RAY_STATE_EMPTY);
    ray_object_info infos[8];
    uint32_t count;
    CHECK_OK(ray_node_attention_wait(second, 0, infos, 8, &count));
    CHECK_EQUAL(count, 2); // both that only the node has
    for (uint64_t i = 0; i < 2; i++) {
        id = id_of(KEPT + i);
        CHECK_OK(ray_node_disown(second, &id));
    }
    CHECK_EQUAL(stats_of(second).entry_count, 0);
    ray_store_close(first); // succeeded: touches nothing
    check_and_close(second);
}

int main(void) {
    alarm(100); // a hang is a failure
    RUN(what_a_dead_node_left_is_undone_and_its_refs_are_kept);
    RUN(a_reaper_that_dies_at_any_point_is_succeeded);
    return 0;
}
#endif
