// SPDX-License-Identifier: Apache-2.0
// Caps and classes: their arithmetic under a clock of the test's own, then what comes over real connections.
#include "transfer/flow_internal.h"
#include "transfer_fixture.h"

#define SECOND 1000000000ull
#define KIB (1ull << 10)

static fixture_table table;
static char source_path[128];
static uint8_t *bytes;
enum { SIZE_MIB = 16, NUMBER = 1, MANY = 40 };

// ---- under a clock of our own --------------------------------------------------------------------------------------------

static void aRateLetsNoMoreThroughThanItSays(void) {
    uint64_t seed = check_seed();
    const uint64_t max = 10 * MIB;
    ray__rate rate;
    ray__rate_init(&rate, max);
    uint64_t begin = 77 * SECOND;
    uint64_t now = begin;
    uint64_t taken = 0;
    uint64_t largest = 0;
    while (now < begin + 20 * SECOND) {
        uint64_t size = check_random(&seed) % MIB + 1;
        uint64_t again = 0;
        largest = size > largest ? size : largest;
        if (ray__rate_take(&rate, size, now, &again)) {
            taken += size;
            // A third of what is taken is not used.
            if (check_random(&seed) % 3 == 0) {
                ray__rate_give(&rate, size);
                taken -= size;
            }
        } else {
            CHECK(again > now);
            // Mostly it is taken as soon as it may be, now and then after a pause that is forfeit.
            now = again + (check_random(&seed) % 50 == 0 ? SECOND / 2 : 0);
        }
        CHECK((double)taken <= (double)max * (double)(now - begin + RAY__RATE_BURST_NS) / 1e9 + (double)largest + 64);
    }
    CHECK(taken > 5 * max);
    ray__rate none;
    ray__rate_init(&none, 0);
    uint64_t again;
    CHECK(ray__rate_take(&none, UINT64_MAX, 1, &again) && ray__rate_is_open(&none, 1, &again));
    CHECK_EQUAL(ray__rate_reserve(&none, UINT64_MAX, 5), 5);
}

static void whoReservesIsServedInTurn(void) {
    ray__rate rate;
    ray__rate_init(&rate, MIB);
    uint64_t now = 5 * SECOND;
    uint64_t last = 0;
    for (int i = 0; i < 100; i++) {
        uint64_t when = ray__rate_reserve(&rate, 64 * KIB, now);
        CHECK(when >= last);
        last = when;
    }
    // 99 pieces were paid for before the last one could go, but for the burst.
    CHECK(last + RAY__RATE_BURST_NS + 1000 >= now + 99 * SECOND / 16);
}

static const uint64_t no_caps[RAY_URGENCY_COUNT] = {0};

static void theLessUrgentHaveOneOfTenBytes(void) {
    ray__flow flow;
    ray__flow_init(&flow, 0, no_caps);
    uint64_t now = SECOND;
    uint64_t again;
    // Alone, any class takes all.
    for (int i = 0; i < 100; i++) {
        CHECK(ray__flow_take(&flow, RAY_URGENCY_BACKGROUND, MIB, now, &again));
    }
    ray__flow_due(&flow, RAY_URGENCY_GET, 900 * MIB, now);
    uint64_t low = 0;
    for (int i = 0; i < 900; i++) {
        CHECK(ray__flow_take(&flow, RAY_URGENCY_GET, MIB, now, &again));
        ray__flow_moved(&flow, RAY_URGENCY_GET, MIB, now);
        for (uint32_t u = RAY_URGENCY_WAIT; u < RAY_URGENCY_COUNT; u++) {
            bool took = ray__flow_take(&flow, u, 256 * KIB, now, &again);
            CHECK(took || again > now);
            low += took;
        }
        now += SECOND / 1000;
    }
    CHECK(low * 256 * KIB <= 100 * MIB && low * 256 * KIB >= 99 * MIB);
    ray__flow_not_due(&flow, RAY_URGENCY_GET, 900 * MIB);
    CHECK(ray__flow_take(&flow, RAY_URGENCY_BACKGROUND, 900 * MIB, now, &again));
}

static void aClassThatStallsHoldsNobodyBack(void) {
    ray__flow flow;
    ray__flow_init(&flow, 0, no_caps);
    uint64_t again;
    ray__flow_due(&flow, RAY_URGENCY_WAIT, MIB, 10 * SECOND);
    CHECK(ray__flow_take(&flow, RAY_URGENCY_GET, MIB, 10 * SECOND, &again));
    CHECK(!ray__flow_take(&flow, RAY_URGENCY_PREFETCH, MIB, 10 * SECOND, &again));
    CHECK(!ray__flow_take(&flow, RAY_URGENCY_PREFETCH, MIB, 10 * SECOND + RAY__STALL_NS - 1, &again));
    CHECK(ray__flow_take(&flow, RAY_URGENCY_PREFETCH, MIB, 10 * SECOND + RAY__STALL_NS, &again));
    ray__flow_moved(&flow, RAY_URGENCY_WAIT, 1, 20 * SECOND);
    CHECK(!ray__flow_take(&flow, RAY_URGENCY_PREFETCH, MIB, 20 * SECOND, &again));
}

// A class that its own cap holds back does not use what others leave.
static void aCappedClassHoldsNobodyBack(void) {
    uint64_t caps[RAY_URGENCY_COUNT] = {[RAY_URGENCY_GET] = MIB};
    ray__flow flow;
    ray__flow_init(&flow, 0, caps);
    uint64_t now = 9 * SECOND;
    uint64_t again = 0;
    ray__flow_due(&flow, RAY_URGENCY_GET, 8 * MIB, now);
    CHECK(ray__flow_take(&flow, RAY_URGENCY_GET, 8 * MIB, now, &again));
    CHECK(!ray__flow_take(&flow, RAY_URGENCY_GET, MIB, now, &again) && again > now + 7 * SECOND);
    CHECK(ray__flow_take(&flow, RAY_URGENCY_BACKGROUND, 8 * MIB, now, &again));
}

static void piecesAreSmallUnderACapAndBesideTheUrgent(void) {
    ray__flow flow;
    uint64_t now = 9 * SECOND;
    uint64_t when = 0;
    ray__flow_init(&flow, 0, no_caps);
    CHECK_EQUAL(ray__flow_next_piece(&flow, RAY_URGENCY_BACKGROUND, RAY_CHUNK_SIZE, false, now, &when), RAY_CHUNK_SIZE);
    CHECK_EQUAL(when, now);
    ray__flow_due(&flow, RAY_URGENCY_GET, RAY_CHUNK_SIZE, now);
    CHECK_EQUAL(ray__flow_next_piece(&flow, RAY_URGENCY_BACKGROUND, RAY_CHUNK_SIZE, false, now, &when), 0);
    CHECK_EQUAL(ray__flow_next_piece(&flow, RAY_URGENCY_BACKGROUND, RAY_CHUNK_SIZE, true, now, &when), RAY__FLOW_PIECE);
    CHECK_EQUAL(ray__flow_next_piece(&flow, RAY_URGENCY_GET, RAY_CHUNK_SIZE, false, now, &when), RAY_CHUNK_SIZE);
    ray__flow_moved(&flow, RAY_URGENCY_GET, 9 * RAY__FLOW_PIECE, now);
    CHECK_EQUAL(ray__flow_next_piece(&flow, RAY_URGENCY_BACKGROUND, RAY_CHUNK_SIZE, false, now, &when), RAY__FLOW_PIECE);
    CHECK_EQUAL(ray__flow_next_piece(&flow, RAY_URGENCY_BACKGROUND, RAY_CHUNK_SIZE, false, now, &when), 0);
    ray__flow_init(&flow, RAY_RATE_MIN, no_caps);
    CHECK_EQUAL(ray__flow_next_piece(&flow, RAY_URGENCY_GET, RAY_CHUNK_SIZE, false, now, &when), RAY_RATE_MIN / 64);
}

// ---- over real connections -----------------------------------------------------------------------------------------------

static ray_transfer *make_transfer(const ray_transfer_options *caps, bool listen) {
    ray_transfer_options options = *caps;
    options.struct_size = sizeof options;
    options.key = fixture_key;
    options.bind_host = listen ? "127.0.0.1" : NULL;
    options.find = listen ? fixture_find : NULL;
    options.context = &table;
    ray_transfer *transfer = NULL;
    CHECK_OK(ray_transfer_create(&options, &transfer));
    return transfer;
}

static bool is_done(fixture_pull *p) {
    pthread_mutex_lock(&p->lock);
    bool done = p->done_count > 0;
    pthread_mutex_unlock(&p->lock);
    return done;
}

static void target_of(char *path, uint32_t index) {
    char name[32];
    snprintf(name, sizeof name, "target-%u", index);
    fixture_path(path, name);
}

static void start_pull(fixture_pull *p, ray_transfer *receiver, ray_transfer *sender, uint32_t index, ray_pull_options options) {
    char path[128];
    target_of(path, index);
    fixture_pull_init(p, path);
    uint16_t port = ray_transfer_port(sender);
    fixture_start(p, receiver, NUMBER, &port, 1, &options);
}

static void end_pull(fixture_pull *p, ray_status expected) {
    char path[512];
    snprintf(path, sizeof path, "%s", p->path);
    CHECK_STATUS(fixture_finish(p), expected);
    if (expected == RAY_OK) {
        CHECK(fixture_file_is(path, bytes, SIZE_MIB * MIB));
        unlink(path);
    }
}

// Looks all the time whether more has come than may have. *on_top: what may be under way beside it.
static void pull_under_cap(ray_transfer *sender, ray_transfer *receiver, uint64_t cap, bool at_sender, uint64_t on_top) {
    fixture_pull p;
    uint64_t begin = ray__now_ns();
    ray_pull_options options = {.chunk_size = 256 << 10};
    start_pull(&p, receiver, sender, 0, options);
    bool done = false;
    uint64_t moved = 0;
    // The receiver may be done before the sender has counted what it sent last.
    while (!done || moved < SIZE_MIB * MIB) {
        done = is_done(&p);
        moved = at_sender ? fixture_stats(sender).sent_wire_bytes : fixture_stats(receiver).received_wire_bytes;
        double may = (double)cap * ((double)(ray__now_ns() - begin) / 1e9 + 0.1) + (double)on_top;
        if ((double)moved > may) {
            fprintf(stderr, "    %llu bytes moved where %.0f may\n", (unsigned long long)moved, may);
            exit(1);
        }
        CHECK(ray__now_ns() - begin < FIXTURE_DEADLINE_NS);
        sched_yield();
    }
    end_pull(&p, RAY_OK);
}

static void aReceiversCapHolds(void) {
    ray_transfer *sender = make_transfer(&(ray_transfer_options){0}, true);
    ray_transfer *receiver = make_transfer(&(ray_transfer_options){.receive_rate_max_bytes = 32 * MIB}, false);
    pull_under_cap(sender, receiver, 32 * MIB, false, 256 * KIB);
    ray_transfer_destroy(receiver);
    receiver = make_transfer(&(ray_transfer_options){.urgency_rate_max_bytes = {[RAY_URGENCY_GET] = 32 * MIB}}, false);
    pull_under_cap(sender, receiver, 32 * MIB, false, 256 * KIB);
    ray_transfer_destroy(receiver);
    ray_transfer_destroy(sender);
}

static void aSendersCapHolds(void) {
    ray_transfer *receiver = make_transfer(&(ray_transfer_options){0}, false);
    ray_transfer *sender = make_transfer(&(ray_transfer_options){.send_rate_max_bytes = 32 * MIB}, true);
    pull_under_cap(sender, receiver, 32 * MIB, true, 256 * KIB);
    ray_transfer_destroy(sender);
    sender = make_transfer(&(ray_transfer_options){.urgency_rate_max_bytes = {[RAY_URGENCY_GET] = 32 * MIB}}, true);
    pull_under_cap(sender, receiver, 32 * MIB, true, 256 * KIB);
    ray_transfer_destroy(sender);
    ray_transfer_destroy(receiver);
}

// Data that travels with a card counts as well.
static void smallThingsStayUnderTheCap(void) {
    enum { COUNT = 100, LINKS = 32, SIZE = RAY_INLINE_MAX };
    const uint64_t cap = 4 * MIB;
    table.count = 0;
    uint8_t *small = fixture_bytes(SIZE, 3, false);
    fixture_write_file(source_path, small, SIZE);
    fixture_add_file(&table, NUMBER, source_path);
    for (int at_sender = 0; at_sender < 2; at_sender++) {
        ray_transfer_options caps = {.send_rate_max_bytes = at_sender ? cap : 0, .receive_rate_max_bytes = at_sender ? 0 : cap};
        ray_transfer *sender = make_transfer(&caps, true);
        ray_transfer *receiver = make_transfer(&caps, false);
        static fixture_pull pulls[COUNT];
        uint64_t begin = ray__now_ns();
        for (uint32_t i = 0; i < COUNT; i++) {
            start_pull(&pulls[i], receiver, sender, i, (ray_pull_options){0});
        }
        for (uint32_t i = 0; i < COUNT; i++) {
            char path[128];
            target_of(path, i);
            CHECK_OK(fixture_finish(&pulls[i]));
            CHECK(fixture_file_is(path, small, SIZE));
            unlink(path);
        }
        // As many as there are connections may have begun before the first one was counted.
        double seconds = (double)(ray__now_ns() - begin) / 1e9;
        CHECK((double)fixture_stats(receiver).received_wire_bytes <= (double)cap * (seconds + 0.1) + (double)LINKS * SIZE + 256 * KIB);
        ray_transfer_destroy(receiver);
        ray_transfer_destroy(sender);
    }
    free(small);
    table.count = 0;
    fixture_write_file(source_path, bytes, SIZE_MIB * MIB);
    fixture_add_file(&table, NUMBER, source_path);
}

static void impossibleCapsClassesAndConnectionsAreRefused(void) {
    static const char *const names[] = {"send_rate_max_bytes", "receive_rate_max_bytes", "urgency_rate_max_bytes[get]",
                                        "urgency_rate_max_bytes[wait]", "urgency_rate_max_bytes[prefetch]",
                                        "urgency_rate_max_bytes[background]"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        ray_transfer_options options = {.struct_size = sizeof options, .key = fixture_key};
        uint64_t *fields[] = {&options.send_rate_max_bytes, &options.receive_rate_max_bytes, &options.urgency_rate_max_bytes[0],
                              &options.urgency_rate_max_bytes[1], &options.urgency_rate_max_bytes[2], &options.urgency_rate_max_bytes[3]};
        *fields[i] = RAY_RATE_MIN - 1;
        ray_transfer *transfer = NULL;
        CHECK_STATUS(ray_transfer_create(&options, &transfer), RAY_INVALID_ARGUMENT);
        CHECK(strstr(ray_last_error_message(), names[i]) != NULL);
        *fields[i] = RAY_RATE_MIN;
        CHECK_OK(ray_transfer_create(&options, &transfer));
        ray_transfer_destroy(transfer);
    }
    ray_transfer *transfer = make_transfer(&(ray_transfer_options){0}, false);
    ray_endpoint source = {.host = "127.0.0.1", .port = 1};
    ray_object_id id = fixture_id(1);
    ray_pull_options options = {.struct_size = sizeof options, .urgency = RAY_URGENCY_COUNT};
    ray_pull *pull = NULL;
    CHECK_STATUS(ray_pull_start(transfer, &id, &source, 1, &options, &fixture_callbacks, NULL, &pull), RAY_INVALID_ARGUMENT);
    CHECK(strstr(ray_last_error_message(), "urgency") != NULL);
    options = (ray_pull_options){.struct_size = sizeof options, .connection_count = RAY_CONNECTION_COUNT_MAX + 1};
    CHECK_STATUS(ray_pull_start(transfer, &id, &source, 1, &options, &fixture_callbacks, NULL, &pull), RAY_INVALID_ARGUMENT);
    CHECK(strstr(ray_last_error_message(), "connection_count is 17") != NULL);
    ray_transfer_destroy(transfer);
    ray_transfer_options crowded = {.struct_size = sizeof crowded, .connection_count = RAY_CONNECTION_COUNT_MAX + 1};
    CHECK_STATUS(ray_transfer_create(&crowded, &transfer), RAY_INVALID_ARGUMENT);
    CHECK(strstr(ray_last_error_message(), "connection_count is 17") != NULL);
}

// Both want the same capped sender; the get gets nine parts, and the other is not starved.
static void aGetGoesBeforeTheBackground(void) {
    ray_transfer *sender = make_transfer(&(ray_transfer_options){.send_rate_max_bytes = 24 * MIB}, true);
    for (int same = 0; same < 2; same++) {
        ray_transfer *receiver = make_transfer(&(ray_transfer_options){0}, false);
        ray_transfer *other = make_transfer(&(ray_transfer_options){0}, false);
        ray_pull_options low = {.chunk_size = RAY_CHUNK_SIZE_MIN, .window_bytes = 1, .urgency = RAY_URGENCY_BACKGROUND};
        ray_pull_options high = {.chunk_size = RAY_CHUNK_SIZE_MIN, .urgency = RAY_URGENCY_GET};
        // Two of the background, so that one of them is under way all the time.
        fixture_pull background[2];
        start_pull(&background[0], receiver, sender, 1, low);
        start_pull(&background[1], receiver, sender, 2, low);
        fixture_wait_bytes(&background[0], MIB);
        fixture_pull get;
        uint64_t before = fixture_stats(receiver).received_bytes;
        // Beside the others in their own node, and in another that shares only the sender.
        start_pull(&get, same ? receiver : other, sender, 3, high);
        fixture_wait_bytes(&get, UINT64_MAX);
        uint64_t meanwhile = fixture_stats(receiver).received_bytes - before - (same ? SIZE_MIB * MIB : 0);
        CHECK(!is_done(&background[0]) || !is_done(&background[1]));
        fprintf(stderr, "    %.1f MiB of the background during %d MiB of the get\n", (double)meanwhile / (double)MIB, SIZE_MIB);
        CHECK(meanwhile < SIZE_MIB * MIB / 2 && meanwhile > 0);
        end_pull(&get, RAY_OK);
        end_pull(&background[0], RAY_OK);
        end_pull(&background[1], RAY_OK);
        ray_transfer_destroy(other);
        ray_transfer_destroy(receiver);
    }
    ray_transfer_destroy(sender);
}

// More pulls of a capped class than there are connections: a more urgent one comes through all the same.
static void aGetIsNotHeldUpByManyPullsOf(uint32_t urgency) {
    ray_transfer *sender = make_transfer(&(ray_transfer_options){0}, true);
    ray_transfer_options caps = {0};
    caps.urgency_rate_max_bytes[urgency] = RAY_RATE_MIN;
    ray_transfer *receiver = make_transfer(&caps, false);
    static fixture_pull slow[MANY];
    for (uint32_t i = 0; i < MANY; i++) {
        start_pull(&slow[i], receiver, sender, i, (ray_pull_options){.urgency = urgency});
    }
    fixture_pull get;
    start_pull(&get, receiver, sender, MANY, (ray_pull_options){.urgency = RAY_URGENCY_GET});
    end_pull(&get, RAY_OK);
    for (uint32_t i = 0; i < MANY; i++) {
        CHECK(!is_done(&slow[i]));
        ray_pull_cancel(slow[i].handle);
        end_pull(&slow[i], RAY_CANCELLED);
    }
    ray_transfer_destroy(receiver);
    ray_transfer_destroy(sender);
}

static void aGetIsNotHeldUpByManyWaits(void) {
    aGetIsNotHeldUpByManyPullsOf(RAY_URGENCY_WAIT);
}

static void aGetIsNotHeldUpByMuchInTheBackground(void) {
    aGetIsNotHeldUpByManyPullsOf(RAY_URGENCY_BACKGROUND);
}

// Their class would take minutes; more urgent they are through at once, those that run and those that wait for a connection.
static void aPullCanBeMadeMoreUrgent(void) {
    ray_transfer *sender = make_transfer(&(ray_transfer_options){0}, true);
    ray_transfer_options caps = {.urgency_rate_max_bytes = {[RAY_URGENCY_BACKGROUND] = RAY_RATE_MIN, [RAY_URGENCY_PREFETCH] = RAY_RATE_MIN}};
    ray_transfer *receiver = make_transfer(&caps, false);
    static fixture_pull slow[MANY];
    for (uint32_t i = 0; i < MANY; i++) {
        start_pull(&slow[i], receiver, sender, i, (ray_pull_options){.urgency = RAY_URGENCY_BACKGROUND});
    }
    static const uint32_t raised[] = {0, 1, MANY - 2, MANY - 1};
    for (size_t i = 0; i < sizeof raised / sizeof raised[0]; i++) {
        CHECK_STATUS(ray_pull_set_urgency(slow[raised[i]].handle, RAY_URGENCY_COUNT), RAY_INVALID_ARGUMENT);
        CHECK_OK(ray_pull_set_urgency(slow[raised[i]].handle, RAY_URGENCY_WAIT));
        // Less urgent again it does not get.
        CHECK_OK(ray_pull_set_urgency(slow[raised[i]].handle, RAY_URGENCY_PREFETCH));
    }
    for (size_t i = 0; i < sizeof raised / sizeof raised[0]; i++) {
        end_pull(&slow[raised[i]], RAY_OK);
    }
    for (uint32_t i = 2; i < MANY - 2; i++) {
        CHECK(!is_done(&slow[i]));
        ray_pull_cancel(slow[i].handle);
        end_pull(&slow[i], RAY_CANCELLED);
    }
    ray_transfer_destroy(receiver);
    ray_transfer_destroy(sender);
}

int main(void) {
    fixture_make_directory();
    fixture_path(source_path, "source");
    bytes = fixture_bytes(SIZE_MIB * MIB, 1, false);
    fixture_write_file(source_path, bytes, SIZE_MIB * MIB);
    fixture_add_file(&table, NUMBER, source_path);
    RUN(aRateLetsNoMoreThroughThanItSays);
    RUN(whoReservesIsServedInTurn);
    RUN(theLessUrgentHaveOneOfTenBytes);
    RUN(aClassThatStallsHoldsNobodyBack);
    RUN(aCappedClassHoldsNobodyBack);
    RUN(piecesAreSmallUnderACapAndBesideTheUrgent);
    RUN(aReceiversCapHolds);
    RUN(aSendersCapHolds);
    RUN(smallThingsStayUnderTheCap);
    RUN(impossibleCapsClassesAndConnectionsAreRefused);
    RUN(aGetGoesBeforeTheBackground);
    RUN(aGetIsNotHeldUpByManyWaits);
    RUN(aGetIsNotHeldUpByMuchInTheBackground);
    RUN(aPullCanBeMadeMoreUrgent);
    unlink(source_path);
    fixture_remove_directory();
    free(bytes);
    return 0;
}
