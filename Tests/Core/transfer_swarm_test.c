// SPDX-License-Identifier: Apache-2.0
// Who of a swarm is sent a chunk and who is referred, without a network: more receivers than the swarm notes.
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
        bool has_place = false;
        switch (ray__swarm_decide(&offers[i], &watcher, 0, &request, &refer, &has_place)) {
        case RAY__SEND:
            sent++;
            break;
        case RAY__REFER:
            CHECK(refer.holder.port >= 2000 && refer.holder.port != 2000 + i);
            break;
        default:
            CHECK(false);
        }
        if (has_place) {
            ray__swarm_give_place(&offers[i]);
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

int main(void) {
    RUN(moreReceiversThanAreNotedTakeOneCopyToo);
    RUN(whoMayNotBeReferredIsSentIt);
    RUN(whatIsSmallIsSentToAll);
    return 0;
}
