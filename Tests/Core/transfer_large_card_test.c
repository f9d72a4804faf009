// SPDX-License-Identifier: Apache-2.0
// Over a link that is known to be fast an object of up to RAY__CARD_DATA_MAX bytes comes with its card, in one round trip; in every other
// case it is asked for by chunk.
//
// What comes as a raw chunk is lent to the kernel from where it lies and counted so (sendfile_bytes); what comes in a card is not.
#include "fault_proxy.h"
#include "paced_listener.h"
#include "transfer/wire_internal.h"
#include "transfer_fixture.h"

#define BULK (24u * MIB)
#define SLOW_RATE 100000000u
#define ROUNDS 50

static ray_store *here;
static ray_store *there;
static ray_transfer *sender;
static ray_transfer *receiver;
static uint16_t port; // that the receiver is told: the sender's, or a proxy's before it
static uint32_t number = 100;

static void begin(uint32_t pace) {
    here = fixture_store(64 * MIB);
    there = fixture_store(64 * MIB);
    sender = fixture_transfer(NULL, there, true);
    if (pace != 0) {
        pace_listener(ray_transfer_port(sender), pace);
    }
    port = ray_transfer_port(sender);
    receiver = fixture_transfer(NULL, here, false);
}

static void end(void) {
    ray_transfer_destroy(receiver);
    ray_transfer_destroy(sender);
    ray_store_close(here);
    ray_store_close(there);
}

// Puts an object and pulls it, over one connection, with so many sources, of which the second is not there.
static void bring(uint64_t size, ray_pull_options options, uint32_t sources) {
    ray_object_id id = fixture_id(++number);
    uint8_t *bytes = fixture_bytes(size, number, false);
    CHECK_OK(ray_object_put(there, &id, bytes, size, "m", 1, 0));
    uint32_t state;
    CHECK_OK(ray_node_adopt(here, &id, &state));
    options.connection_count = 1;
    fixture_pull p;
    fixture_pull_init(&p, NULL);
    uint16_t ports[2] = {port, 1};
    fixture_start(&p, receiver, number, ports, sources, &options);
    CHECK_OK(fixture_finish(&p));
    fixture_check_object(here, number, bytes, size);
    CHECK_OK(ray_node_disown(here, &id));
    CHECK_OK(ray_object_delete(there, &id, RAY_OBJECT_FREED));
    free(bytes);
}

// Whether it came with its card.
static bool comes_in_card(uint64_t size, ray_pull_options options, uint32_t sources) {
    ray_transfer_stats before = fixture_stats(sender);
    bring(size, options, sources);
    fixture_await_sent(sender, before.sent_bytes + size);
    uint64_t lent = fixture_stats(sender).sendfile_bytes - before.sendfile_bytes;
    CHECK(lent == 0 || lent == size);
    return lent == 0;
}

static bool comes(uint64_t size) {
    return comes_in_card(size, (ray_pull_options){0}, 1);
}

// Others on the machine may leave this process no core for a while, and then loopback is slow, too.
static void learn_that_it_is_fast(void) {
    for (int round = 0; !comes(RAY_INLINE_MAX + 1); round++) {
        CHECK(round < ROUNDS);
        CHECK(!comes(BULK));
    }
}

static void aLinkKnownToBeFastNeedsOneRoundTrip(void) {
    begin(0);
    CHECK(comes(RAY_INLINE_MAX));
    CHECK(!comes(RAY_INLINE_MAX + 1));
    learn_that_it_is_fast();
    CHECK(comes(200000));
    CHECK(comes(RAY__CARD_DATA_MAX));
    CHECK(!comes(RAY__CARD_DATA_MAX + 1));
    end();
}

static void whatIsNotWantedSoIsAskedForByChunk(void) {
    begin(0);
    learn_that_it_is_fast();
    // In raw chunks, by choice; from two sources.
    CHECK(!comes_in_card(200000, (ray_pull_options){.codec = RAY_CODEC_NONE}, 1));
    CHECK(!comes_in_card(200000, (ray_pull_options){0}, 2));
    CHECK(comes(200000));
    end();
}

static void aRangeOfItDoesNotBringTheRest(void) {
    begin(0);
    learn_that_it_is_fast();
    uint64_t size = RAY__CARD_DATA_MAX;
    ray_object_id id = fixture_id(++number);
    uint8_t *bytes = fixture_bytes(size, number, false);
    CHECK_OK(ray_object_put(there, &id, bytes, size, NULL, 0, 0));
    uint64_t received = fixture_stats(receiver).received_wire_bytes;
    uint8_t part[100];
    fixture_pull p;
    fixture_pull_init(&p, NULL);
    p.memory = part;
    p.memory_size = sizeof part;
    ray_pull_options options = {.range_offset = 70000, .range_size = sizeof part, .chunk_size = RAY_CHUNK_SIZE_MIN};
    fixture_start(&p, receiver, number, &port, 1, &options);
    CHECK_OK(fixture_finish(&p));
    CHECK(memcmp(part, bytes + 70000, sizeof part) == 0);
    CHECK(fixture_stats(receiver).received_wire_bytes - received <= RAY_CHUNK_SIZE_MIN);
    free(bytes);
    end();
}

// On its way a card is damaged, or cut off, in the middle of its data: the object is had again, on another connection.
static void hadAgainAfter(fault_kind kind) {
    begin(0);
    fault_proxy_options options = {.to = ray_transfer_port(sender)};
    fault_proxy *proxy = fault_proxy_start(&options);
    CHECK(proxy != NULL);
    port = fault_proxy_port(proxy);
    learn_that_it_is_fast();
    fault_counts counts;
    fault_proxy_counts(proxy, &counts);
    CHECK(fault_proxy_order(proxy, kind, counts.passed_bytes + 100000, 0));
    bring(200000, (ray_pull_options){0}, 1);
    fault_proxy_counts(proxy, &counts);
    CHECK_EQUAL(counts.faults[kind], 1);
    fault_proxy_stop(proxy);
    end();
}

static void aCardThatDoesNotArriveWholeIsHadAgain(void) {
    hadAgainAfter(FAULT_FLIP);
    hadAgainAfter(FAULT_CUT);
}

static void aSlowLinkKeepsItsChunks(void) {
    begin(SLOW_RATE);
    CHECK(!comes(BULK));
    CHECK(!comes(BULK));
    CHECK(!comes(200000));
    CHECK(comes(RAY_INLINE_MAX));
    end();
}

int main(void) {
    RUN(aLinkKnownToBeFastNeedsOneRoundTrip);
    RUN(whatIsNotWantedSoIsAskedForByChunk);
    RUN(aRangeOfItDoesNotBringTheRest);
    RUN(aCardThatDoesNotArriveWholeIsHadAgain);
    RUN(aSlowLinkKeepsItsChunks);
    return 0;
}
