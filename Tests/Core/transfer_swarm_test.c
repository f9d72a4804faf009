// SPDX-License-Identifier: Apache-2.0
// Decisions that need no network: who of a swarm is sent a chunk and who is referred, and how many connections a source gets.
#include "check.h"
#include "transfer/relay_internal.h"
#include "transfer/swarm_internal.h"

enum { RECEIVERS = 600, SIZE = 3 << 20 };

static ray_transfer transfer;
static ray__offer offers[RECEIVERS];

static void begin(uint64_t size) {
    memset(&transfer, 0, sizeof transfer);
    memset(offers, 0, sizeof offers);
    pthread_mutex_init(&transfer.swarms_lock, NULL);
    for (uint32_t i = 0; i < RECEIVERS; i++) {
        offers[i].id.bytes[0] = 1;
        offers[i].size_bytes = size;
        offers[i].chunk_size = RAY_CHUNK_SIZE;
        ray__open open = {.token = i + 1, .port = (uint16_t)(2000 + i), .host = "10.0.0.1"};
        ray__swarm_join(&transfer, &offers[i], &open);
    }
}

static void end(void) {
    for (uint32_t i = 0; i < RECEIVERS; i++) {
        ray__swarm_leave(&transfer, &offers[i]);
    }
    ray__swarms_expire(&transfer, UINT64_MAX);
    CHECK(transfer.swarms == NULL);
    pthread_mutex_destroy(&transfer.swarms_lock);
}

// How many of them all are sent the first chunk, one after the other.
static uint32_t sent_count(uint8_t flags) {
    ray__watcher watcher = {.event = -1};
    ray__request request = {.flags = flags};
    uint32_t sent = 0;
    for (uint32_t i = 0; i < RECEIVERS; i++) {
        ray__refer refer = {0};
        bool has_slot = false;
        switch (ray__swarm_decide(&offers[i], &watcher, 0, &request, &refer, &has_slot)) {
        case RAY__SEND:
            sent++;
            break;
        case RAY__REFER:
            CHECK(refer.holder.port >= 2000 && refer.holder.port != 2000 + i);
            break;
        default:
            CHECK(false);
        }
        if (has_slot) {
            ray__swarm_give_slot(&offers[i]);
        }
    }
    return sent;
}

static void moreReceiversThanAreNotedTakeOneCopyToo(void) {
    begin(SIZE);
    CHECK_EQUAL(sent_count(0), 1);
    end();
}

static void whoMayNotBeReferredIsSentIt(void) {
    begin(SIZE);
    CHECK_EQUAL(sent_count(RAY__REQUEST_NO_REFER), RECEIVERS);
    end();
}

static void whatIsSmallIsSentToAll(void) {
    begin(200 << 10);
    CHECK_EQUAL(sent_count(0), RECEIVERS);
    end();
}

// As many bytes are on a connection's way as the kernel allows, however long the way is: so a far source gets more connections.
static void aFarSourceGetsMoreConnections(void) {
    const struct {
        uint64_t round_trip_ms;
        uint32_t connections;
    } cases[] = {{0, 2}, {4, 2}, {5, 3}, {50, 12}, {70, 16}, {10000, 16}};
    static ray_pull pull;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        pull.connection_count = 0;
        pull.sources[0].round_trip_ns = cases[i].round_trip_ms * 1000000;
        CHECK_EQUAL(ray__pull_connections_locked(&pull, 0), cases[i].connections);
        pull.connection_count = 7;
        CHECK_EQUAL(ray__pull_connections_locked(&pull, 0), 7);
    }
}

static void whatDistanceAsksForLeavesHalfOfTheThreads(void) {
    memset(&transfer, 0, sizeof transfer);
    pthread_mutex_init(&transfer.queue_lock, NULL);
    CHECK(ray__link_queue_is_roomy(&transfer));
    transfer.link_threads = RAY__LINKS_MAX;
    transfer.link_threads_idle = RAY__LINKS_MAX / 2 + 2;
    transfer.queue_length = 1;
    CHECK(ray__link_queue_is_roomy(&transfer));
    transfer.queue_length = 2;
    CHECK(!ray__link_queue_is_roomy(&transfer));
    pthread_mutex_destroy(&transfer.queue_lock);
}

// All of the same urgency, which takes no thread from another.
static void aNearPullFindsThreadsBesideTwoFarOnes(void) {
    static ray_pull pulls[3];
    static uint8_t missing[1000]; // RAY__CHUNK_MISSING
    static uint64_t away[1000];
    memset(&transfer, 0, sizeof transfer);
    pthread_mutex_init(&transfer.queue_lock, NULL);
    pthread_cond_init(&transfer.queue_changed, NULL);
    // None runs, so what is queued shows who would have one.
    transfer.link_threads = RAY__LINKS_MAX;
    transfer.link_threads_idle = RAY__LINKS_MAX;
    for (uint32_t i = 0; i < 3; i++) {
        pulls[i].transfer = &transfer;
        pulls[i].opened = true;
        pulls[i].chunk_count = pulls[i].missing_count = 1000;
        pulls[i].chunks = missing;
        pulls[i].away = away;
        pulls[i].source_count = 1;
        pulls[i].sources[0].answered = true;
        pulls[i].sources[0].round_trip_ns = i < 2 ? 200000000 : 100000;
        ray__pull_schedule_locked(&pulls[i], 1);
    }
    CHECK_EQUAL(pulls[0].sources[0].links, RAY_CONNECTION_COUNT_MAX);
    CHECK_EQUAL(pulls[1].sources[0].links, 2);
    CHECK_EQUAL(pulls[2].sources[0].links, 2);
    CHECK(transfer.queue_length <= RAY__LINKS_MAX);
    for (uint32_t i = 0; i < 3; i++) {
        ray__link_queue_drop(&pulls[i]);
    }
    pthread_cond_destroy(&transfer.queue_changed);
    pthread_mutex_destroy(&transfer.queue_lock);
}

int main(void) {
    RUN(moreReceiversThanAreNotedTakeOneCopyToo);
    RUN(whoMayNotBeReferredIsSentIt);
    RUN(whatIsSmallIsSentToAll);
    RUN(aFarSourceGetsMoreConnections);
    RUN(whatDistanceAsksForLeavesHalfOfTheThreads);
    RUN(aNearPullFindsThreadsBesideTwoFarOnes);
    return 0;
}
