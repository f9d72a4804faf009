// SPDX-License-Identifier: Apache-2.0
// What a peer may keep of one who serves without being of use: it says whole messages for ever, or proves itself a byte at a time. Each has a
// bound in time, since there are 256 slots for all, and 64 for those who have not proved themselves.
#include <sys/eventfd.h>

#include "transfer/transfer_internal.h"
#include "transfer_peer.h"

#define USELESS_NS (2 * RAY__SECOND)
#define PAUSE_MS 50

static ray_transfer *server;
static int stop;

enum { SMALL = 1, LARGE = 2, MISSING = 3 };

enum talker {
    CLOSES_WHAT_IS_NOT_OPEN,
    OPENS_WHAT_IS_NOT_THERE,
    OPENS_AND_CLOSES,
    TAKES_WHAT_IS_SMALL, // its data is in the card: this one is of use
    TAKES_A_CHUNK,       // and this one
    TALKERS,
};

static uint32_t next_words(enum talker talker, uint32_t stream, uint8_t *words) {
    uint32_t size;
    switch (talker) {
    case CLOSES_WHAT_IS_NOT_OPEN:
        return peer_write_close(words, stream);
    case OPENS_WHAT_IS_NOT_THERE:
        return peer_write_open(words, MISSING, stream);
    case TAKES_WHAT_IS_SMALL:
        size = peer_write_open(words, SMALL, stream);
        return size + peer_write_close(words + size, stream);
    case TAKES_A_CHUNK: {
        // Closes the stream that it was sent a chunk of the last time.
        size = peer_write_close(words, stream - 1);
        size += peer_write_open(words + size, LARGE, stream);
        ray__request request = {.codec = RAY_CODEC_NONE, .count = 1, .indices = {0}};
        uint32_t asked = ray__request_write(&request, words + size + RAY__MESSAGE_HEADER_SIZE);
        ray__message_seal(words + size, RAY__MESSAGE_REQUEST, stream, asked);
        return size + RAY__MESSAGE_HEADER_SIZE + asked;
    }
    default:
        size = peer_write_open(words, LARGE, stream);
        return size + peer_write_close(words + size, stream);
    }
}

// All of them say something each 50 ms. Those that are sent nothing of an object lose their slots in time, the others keep theirs.
static void whoTalksAndTakesNothingLosesItsSlot(void) {
    server->useless_ns = USELESS_NS;
    ray__connection talkers[TALKERS];
    uint64_t began[TALKERS];
    bool ended[TALKERS] = {false};
    for (int t = 0; t < TALKERS; t++) {
        began[t] = ray__now_ns();
        talkers[t] = peer_connect_proved(server, stop);
    }
    // Those of use are looked at for thrice as long.
    uint64_t until = ray__now_ns() + 3 * USELESS_NS;
    uint32_t ended_count = 0;
    for (uint32_t stream = 1; ray__now_ns() < until || ended_count < TAKES_WHAT_IS_SMALL; stream++) {
        CHECK(ray__now_ns() < until + FIXTURE_DEADLINE_NS);
        for (int t = 0; t < TALKERS; t++) {
            uint8_t words[3 * (RAY__MESSAGE_HEADER_SIZE + RAY__OPEN_BODY_MAX)];
            uint32_t size = next_words((enum talker)t, stream, words);
            if (!ended[t] && (!peer_send(&talkers[t], words, size) || peer_has_ended(&talkers[t]))) {
                ended[t] = true;
                ended_count++;
                CHECK(t < TAKES_WHAT_IS_SMALL);
                CHECK(ray__now_ns() - began[t] >= USELESS_NS);
            }
        }
        poll(NULL, 0, PAUSE_MS);
    }
    for (int t = 0; t < TALKERS; t++) {
        CHECK_EQUAL(ended[t], t < TAKES_WHAT_IS_SMALL);
        ray__connection_close(&talkers[t]);
    }
}

// A proof of which a byte comes each 200 ms would take ten seconds.
static void aProofThatTricklesEndsInItsTime(void) {
    uint64_t refused = fixture_stats(server).refused_count;
    ray__connection slow = peer_connect(server, stop);
    uint8_t hello[RAY_AUTH_MESSAGE_MAX];
    size_t size = 0;
    size_t consumed = 0;
    ray_auth *auth = NULL;
    CHECK_OK(ray_auth_create(&fixture_key, RAY_ROLE_CONNECTING, RAY_PURPOSE_BULK, &auth));
    CHECK_STATUS(ray_auth_step(auth, hello, 0, &consumed, hello, &size), RAY_AGAIN);
    ray_auth_destroy(auth);
    uint64_t began = ray__now_ns();
    bool ended = false;
    for (size_t sent = 0; !ended; sent++) {
        CHECK(sent < size - 1 && ray__now_ns() - began < FIXTURE_DEADLINE_NS);
        ended = !peer_send(&slow, hello + sent, 1) || peer_has_ended(&slow);
        poll(NULL, 0, 200);
    }
    CHECK(ray__now_ns() - began >= RAY__PROVE_NS);
    ray__connection_close(&slow);
    uint64_t deadline = ray__now_ns() + FIXTURE_DEADLINE_NS;
    while (fixture_stats(server).refused_count == refused) {
        CHECK(ray__now_ns() < deadline);
        sched_yield();
    }
}

int main(void) {
    static fixture_table table;
    static char small_path[128];
    static char large_path[128];
    fixture_make_directory();
    fixture_path(small_path, "small");
    fixture_path(large_path, "large");
    uint8_t *bytes = fixture_bytes(MIB, 3, true);
    fixture_write_file(small_path, bytes, 1000);
    fixture_write_file(large_path, bytes, MIB);
    free(bytes);
    fixture_add_file(&table, SMALL, small_path);
    fixture_add_file(&table, LARGE, large_path);
    server = fixture_transfer(&table, NULL, true);
    stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    CHECK(stop >= 0);
    RUN(whoTalksAndTakesNothingLosesItsSlot);
    RUN(aProofThatTricklesEndsInItsTime);
    close(stop);
    ray_transfer_destroy(server);
    unlink(small_path);
    unlink(large_path);
    fixture_remove_directory();
    return 0;
}
