// SPDX-License-Identifier: Apache-2.0
// What is kept of peers between transfers: by address without the port, bounded, not for ever.
#include "transfer/transfer_internal.h"
#include "transfer_fixture.h"

#define LATER RAY__PEER_STALE_NS

static ray__peers peers;

static void learn(const char *peer, uint64_t now_ns, double link_rate) {
    ray__tuner tuner;
    ray__tuner_init(&tuner, 2, 2);
    ray__tuner_link(&tuner, link_rate);
    ray__peers_remember(&peers, peer, now_ns, &tuner);
    ray__tuner_end(&tuner);
}

static double known(const char *peer, uint64_t now_ns) {
    ray__tuner tuner;
    ray__tuner_init(&tuner, 2, 2);
    ray__peers_recall(&peers, peer, now_ns, &tuner);
    double rate = tuner.link_rate;
    ray__tuner_end(&tuner);
    return rate;
}

static void begin(void) {
    memset(&peers, 0, sizeof peers);
    ray__peers_init(&peers);
}

static bool is_near(double a, double b) {
    return a > 0.99 * b && a < 1.01 * b;
}

static void aPeerIsKnownAgainAtAnotherPort(void) {
    begin();
    learn("10.0.0.1:4000", 1, 5e6);
    learn("fe80::1:4000", 1, 7e6);
    CHECK(is_near(known("10.0.0.1:4001", 2), 5e6));
    CHECK(is_near(known("fe80::1:4001", 2), 7e6));
    CHECK(known("10.0.0.11:4000", 2) <= 0);
    CHECK(known("10.0.0.:4000", 2) <= 0);
    ray__peers_end(&peers);
}

static void whatIsOldIsForgotten(void) {
    begin();
    learn("10.0.0.1:4000", 1000, 5e6);
    CHECK(known("10.0.0.1:4000", 1000 + LATER) > 0);
    CHECK(known("10.0.0.1:4000", 999) > 0); // a clock that was read a little earlier
    CHECK(known("10.0.0.1:4000", 1001 + LATER) <= 0);
    ray__peers_end(&peers);
}

static void ofTooManyPeersTheOneNotUsedForLongestGoes(void) {
    begin();
    char peer[64];
    for (uint32_t i = 0; i < RAY__PEERS_MAX; i++) {
        snprintf(peer, sizeof peer, "10.0.1.%u:9", i);
        learn(peer, 100 + i, 1e6 + i);
    }
    learn("10.0.1.0:9", 500, 2e6);
    learn("10.0.2.1:9", 501, 3e6);
    CHECK(known("10.0.1.0:9", 502) > 0);
    CHECK(known("10.0.1.1:9", 502) <= 0);
    CHECK(known("10.0.1.2:9", 502) > 0);
    CHECK(is_near(known("10.0.2.1:9", 502), 3e6));
    ray__peers_end(&peers);
}

static void aTransferThatSawNothingOfTheLinkChangesNothing(void) {
    begin();
    learn("10.0.0.1:4000", 1, 5e6);
    ray__tuner tuner;
    ray__tuner_init(&tuner, 2, 2);
    ray__peers_remember(&peers, "10.0.0.1:4000", 2, &tuner);
    ray__peers_remember(&peers, "10.0.0.2:4000", 2, &tuner);
    ray__tuner_end(&tuner);
    CHECK(is_near(known("10.0.0.1:4000", 3), 5e6));
    CHECK_EQUAL(peers.of[1].host[0], 0);
    ray__peers_end(&peers);
}

static double kept_of(ray_transfer *transfer, const char *host) {
    double rate = 0;
    pthread_mutex_lock(&transfer->peers.lock);
    for (uint32_t i = 0; i < RAY__PEERS_MAX; i++) {
        rate = strcmp(transfer->peers.of[i].host, host) == 0 ? transfer->peers.of[i].past.link_rate : rate;
    }
    pthread_mutex_unlock(&transfer->peers.lock);
    return rate;
}

static void aSenderKeepsWhatAPullShowedOfTheLink(void) {
    static fixture_table table;
    char source[128];
    char target[128];
    fixture_make_directory();
    fixture_path(source, "source");
    fixture_path(target, "target");
    uint64_t size = 24 * MIB;
    uint8_t *bytes = fixture_bytes(size, 1, true);
    fixture_write_file(source, bytes, size);
    fixture_add_file(&table, 1, source);
    ray_transfer *sender = fixture_transfer(&table, NULL, true);
    ray_transfer *receiver = fixture_transfer(NULL, NULL, false);
    for (int round = 0; round < 2; round++) {
        fixture_pull p;
        CHECK_OK(fixture_pull_now(&p, receiver, 1, ray_transfer_port(sender), target, NULL));
        CHECK(fixture_file_is(target, bytes, size));
        unlink(target);
        // The sender ends its part when it hears that the pull is over.
        uint64_t deadline = ray__deadline_ns(10 * RAY__SECOND);
        while (kept_of(sender, "127.0.0.1") <= 0 && ray__now_ns() < deadline) {
            sched_yield();
        }
        CHECK(kept_of(sender, "127.0.0.1") > 0);
    }
    CHECK(kept_of(receiver, "127.0.0.1") <= 0);
    ray_transfer_destroy(receiver);
    ray_transfer_destroy(sender);
    unlink(source);
    free(bytes);
    fixture_remove_directory();
}

int main(void) {
    RUN(aPeerIsKnownAgainAtAnotherPort);
    RUN(whatIsOldIsForgotten);
    RUN(ofTooManyPeersTheOneNotUsedForLongestGoes);
    RUN(aTransferThatSawNothingOfTheLinkChangesNothing);
    RUN(aSenderKeepsWhatAPullShowedOfTheLink);
    return 0;
}
