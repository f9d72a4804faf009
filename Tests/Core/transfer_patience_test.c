// SPDX-License-Identifier: Apache-2.0
// A link that is cut for longer than five tries take: a patient pull goes on with what it has, into the store too, where nothing else would
// keep it.
#include "fault_proxy.h"
#include "transfer_fixture.h"

#define SIZE (40 * MIB)
#define RATE (40u << 20) // a second and connection, so that the cut comes in the middle
#define WINDOW (4ull * RAY_CHUNK_SIZE)

typedef struct scene {
    fixture_table table;
    ray_store *there;
    ray_store *here;
    ray_transfer *sender;
    ray_transfer *receiver;
    fault_proxy *between;
    fixture_pull pull;
} scene;

static uint8_t *bytes;

static scene *begin(ray_pull_options options) {
    scene *s = calloc(1, sizeof *s);
    CHECK(s != NULL);
    ray_object_id id = fixture_id(1);
    s->there = fixture_store(64 * MIB);
    s->here = fixture_store(64 * MIB);
    CHECK_OK(ray_object_put(s->there, &id, bytes, SIZE, NULL, 0, 0));
    fixture_add(&s->table, 1, RAY_KIND_OBJECT);
    s->sender = fixture_transfer(&s->table, s->there, true);
    s->receiver = fixture_transfer(NULL, s->here, false);
    fault_proxy_options between = {.to = ray_transfer_port(s->sender), .bytes_per_second = RATE};
    s->between = fault_proxy_start(&between);
    CHECK(s->between != NULL);
    options.window_bytes = WINDOW;
    options.codec = RAY_CODEC_NONE;
    uint16_t port = fault_proxy_port(s->between);
    fixture_pull_init(&s->pull, NULL);
    fixture_start(&s->pull, s->receiver, 1, &port, 1, &options);
    fixture_wait_bytes(&s->pull, 10 * MIB);
    fault_proxy_refuse(s->between, true);
    return s;
}

static fault_counts counts_of(scene *s) {
    fault_counts counts;
    fault_proxy_counts(s->between, &counts);
    return counts;
}

// Until so many tries were in vain.
static void wait_refused(scene *s, uint64_t count) {
    uint64_t deadline = ray__now_ns() + FIXTURE_DEADLINE_NS;
    while (counts_of(s).refused < count) {
        CHECK(ray__now_ns() < deadline && s->pull.done_count == 0);
        sched_yield();
    }
}

static void end(scene *s) {
    ray_transfer_destroy(s->receiver);
    ray_transfer_destroy(s->sender);
    fault_proxy_stop(s->between);
    ray_store_close(s->here);
    ray_store_close(s->there);
    free(s);
}

static void aPatientPullGoesOnWhereItWas(void) {
    scene *s = begin((ray_pull_options){.patience_ns = FIXTURE_DEADLINE_NS});
    wait_refused(s, 14); // five a connection would be the end
    fault_proxy_refuse(s->between, false);
    CHECK_OK(fixture_finish(&s->pull));
    fixture_check_object(s->here, 1, bytes, SIZE);
    // What was due when it was cut is sent again, and what lay in buffers.
    CHECK(counts_of(s).passed_bytes <= SIZE + WINDOW + MIB);
    end(s);
}

static void patienceEnds(void) {
    scene *s = begin((ray_pull_options){.patience_ns = 2 * 1000000000ull});
    CHECK_STATUS(fixture_finish(&s->pull), RAY_UNREACHABLE);
    CHECK(counts_of(s).refused >= 7);
    CHECK_EQUAL(fixture_used_bytes(s->here), 0);
    end(s);
}

static void withoutPatienceFiveTriesAreAll(void) {
    scene *s = begin((ray_pull_options){.patience_ns = 0});
    CHECK_STATUS(fixture_finish(&s->pull), RAY_UNREACHABLE);
    CHECK_EQUAL(fixture_used_bytes(s->here), 0);
    end(s);
}

static void aPatientPullIsCancelledAndTimedOutAsAnyOther(void) {
    scene *s = begin((ray_pull_options){.patience_ns = FIXTURE_DEADLINE_NS});
    wait_refused(s, 7);
    ray_pull_cancel(s->pull.handle);
    CHECK_STATUS(fixture_finish(&s->pull), RAY_CANCELLED);
    end(s);
    s = begin((ray_pull_options){.patience_ns = FIXTURE_DEADLINE_NS, .timeout_ns = 3 * 1000000000ull});
    CHECK_STATUS(fixture_finish(&s->pull), RAY_TIMED_OUT);
    end(s);
}

// Nothing is known of the object yet, so a wrong address is said soon.
static void nobodyIsPatientWithAnAddressThatNeverAnswered(void) {
    ray_transfer *receiver = fixture_transfer(NULL, NULL, false);
    fixture_pull p;
    ray_pull_options options = {.patience_ns = FIXTURE_DEADLINE_NS};
    char path[128];
    fixture_path(path, "target");
    CHECK_STATUS(fixture_pull_now(&p, receiver, 1, 1, path, &options), RAY_UNREACHABLE);
    ray_transfer_destroy(receiver);
}

int main(void) {
    fixture_make_directory();
    bytes = fixture_bytes(SIZE, 5, false);
    RUN(aPatientPullGoesOnWhereItWas);
    RUN(patienceEnds);
    RUN(withoutPatienceFiveTriesAreAll);
    RUN(aPatientPullIsCancelledAndTimedOutAsAnyOther);
    RUN(nobodyIsPatientWithAnAddressThatNeverAnswered);
    fixture_remove_directory();
    free(bytes);
    return 0;
}
