// SPDX-License-Identifier: Apache-2.0
// What many operations leave behind in the table and in the arena, and threads of one process on the same entries.
#include <pthread.h>

#include "check.h"
#include "plasma/store_internal.h"
#include "plasma_fixture.h"

// How many places a search for an unknown id looks at, on average and at worst.
static void measure_searches(ray_store *store, double *mean, uint32_t *worst) {
    RAY__GATE(store);
    uint64_t sum = 0;
    *worst = 0;
    for (uint32_t home = 0; home <= store->table_mask; home++) {
        uint32_t steps = 1;
        while (ray__word_passed(store->table[(home + steps - 1) & store->table_mask].state) != 0) {
            steps++;
            CHECK(steps <= store->table_mask + 1);
        }
        sum += steps;
        *worst = steps > *worst ? steps : *worst;
    }
    *mean = (double)sum / (store->table_mask + 1);
}

static void million_creates_and_deletes_keep_searches_short(void) {
    enum { LIVE = 3000, ROUNDS = 1000000 };
    ray_store *store = make_store(4 << 20, 6000); // 8192 places, at most half of them used at random here
    uint64_t random = check_seed();
    uint64_t *live = calloc(LIVE, sizeof *live);
    uint64_t next = 1;
    for (uint64_t i = 0; i < LIVE; i++) {
        ray_object_id id = id_of(live[i] = next++);
        CHECK_OK(ray_object_put(store, &id, "x", 1, NULL, 0, 0));
    }
    for (uint64_t i = 0; i < ROUNDS; i++) {
        uint64_t at = check_random(&random) % LIVE;
        ray_object_id id = id_of(live[at]);
        CHECK_OK(ray_object_delete(store, &id, RAY_OBJECT_FREED));
        id = id_of(live[at] = next++);
        CHECK_OK(ray_object_put(store, &id, "x", check_random(&random) % 2, NULL, 0, 0));
    }
    double mean;
    uint32_t worst;
    measure_searches(store, &mean, &worst);
    fprintf(stderr, "  a search for an unknown id takes %.2f steps, %u at worst\n", mean, worst);
    CHECK(mean < 3);
    CHECK(worst < 100);
    for (uint64_t i = 0; i < LIVE; i++) {
        ray_object_id id = id_of(live[i]);
        CHECK(ray_object_contains(store, &id));
        CHECK_OK(ray_object_delete(store, &id, RAY_OBJECT_FREED));
    }
    measure_searches(store, &mean, &worst);
    CHECK_EQUAL(worst, 1); // an empty table has no trace of what was in it
    CHECK_EQUAL(stats_of(store).largest_free_bytes, 4 << 20);
    free(live);
    check_and_close(store);
}

enum { THREADS = 4, IDS = 4, TURNS = 60000 };

static ray_store *shared;
static uint64_t seed;

// Every thread of one process gets, releases, refs, makes and deletes the same four objects.
static void *churn(void *argument) {
    uint64_t random = seed + (uintptr_t)argument;
    for (int i = 0; i < TURNS; i++) {
        uint64_t n = check_random(&random) % IDS;
        ray_object_id id = id_of(n);
        ray_object_view view;
        ray_object_view copy;
        uint8_t bytes[200];
        switch (check_random(&random) % 6) {
        case 0:
            memset(bytes, (int)n + 1, sizeof bytes);
            (void)!ray_object_put(shared, &id, bytes, sizeof bytes, NULL, 0, 0);
            break;
        case 1:
            (void)!ray_object_delete(shared, &id, RAY_OBJECT_FREED);
            break;
        case 2:
            if (ray_ref_acquire(shared, &id) == RAY_OK) {
                CHECK_OK(ray_ref_release(shared, &id));
            }
            break;
        default:
            if (ray_object_get(shared, &id, check_random(&random) % 64 == 0 ? 100000 : 0, &view) == RAY_OK) {
                ray_object_view_copy(shared, &view, &copy);
                ray_object_release(shared, &view);
                for (size_t k = 0; k < sizeof bytes; k++) {
                    CHECK(copy.data[k] == n + 1);
                }
                ray_object_release(shared, &copy);
            }
        }
    }
    return NULL;
}

static void threads_of_two_processes_share_entries(void) {
    ray_store *node = make_store(1 << 20, 16);
    ray_store *client = attach_client(node);
    for (int round = 0; round < 2; round++) {
        shared = round == 0 ? client : node; // the node's ref is one bit, and its threads count theirs all the same
        pthread_t threads[THREADS];
        for (uintptr_t i = 0; i < THREADS; i++) {
            CHECK_EQUAL(pthread_create(&threads[i], NULL, churn, (void *)i), 0);
        }
        for (int i = 0; i < THREADS; i++) {
            pthread_join(threads[i], NULL);
        }
        CHECK_OK(ray_plasma_check(node, 2));
        ray_object_info info;
        for (uint64_t n = 0; n < IDS; n++) {
            ray_object_id id = id_of(n);
            if (ray_object_stat(node, &id, &info) == RAY_OK) {
                CHECK_EQUAL(info.pin_slot_count + info.ref_slot_count + info.node_has_ref, 0);
                CHECK_EQUAL(info.state, RAY_STATE_SEALED);
                CHECK_OK(ray_object_delete(node, &id, RAY_OBJECT_FREED));
            }
        }
        CHECK_EQUAL(stats_of(node).used_bytes, 0);
        CHECK_EQUAL(stats_of(node).entry_count, 0);
    }
    ray_store_close(client);
    check_and_close(node);
}

int main(void) {
    RUN(million_creates_and_deletes_keep_searches_short);
    seed = check_seed();
    RUN(threads_of_two_processes_share_entries);
    return 0;
}
