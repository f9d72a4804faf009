// SPDX-License-Identifier: Apache-2.0
// Peers that hold the key and trickle: a byte now and then must not keep a place that others want.
#include <sys/eventfd.h>

#include "transfer_peer.h"

static fixture_table table;
static char source_path[128];

// One sends a byte of its question each half second; another asks and then rests, as a connection that is kept for later does.
static void aRequestThatTricklesLosesItsConnection(void) {
    ray_transfer *server = fixture_transfer(&table, NULL, true);
    int stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    CHECK(stop >= 0);
    ray__connection slow = peer_connect_proved(server, stop);
    ray__connection idle = peer_connect_proved(server, stop);
    uint8_t message[RAY__MESSAGE_HEADER_SIZE + RAY__OPEN_BODY_MAX];
    uint32_t size = peer_write_open(message, 1, 1);
    CHECK(size > 40);
    struct iovec whole = {message, size};
    CHECK_OK(ray__connection_write(&idle, &whole, 1, false));
    uint64_t began = ray__now_ns();
    uint32_t sent = 0;
    bool ended = false;
    while (!ended && ray__now_ns() - began < 18 * RAY__SECOND) {
        CHECK(sent < size - 1);
        ended = send(slow.socket, message + sent++, 1, MSG_NOSIGNAL) != 1;
        struct pollfd fd = {.fd = slow.socket, .events = POLLIN};
        char byte;
        ended = ended || (poll(&fd, 1, 500) > 0 && recv(slow.socket, &byte, 1, 0) <= 0);
    }
    CHECK(ended);
    CHECK(ray__now_ns() - began >= RAY__MESSAGE_NS - RAY__SECOND);
    // The other one has its answer and its connection.
    char byte;
    CHECK_EQUAL(recv(idle.socket, &byte, 1, 0), 1);
    CHECK_OK(ray__connection_write(&idle, &(struct iovec){(uint8_t[1]){0}, 0}, 1, false));
    ray__connection_close(&slow);
    ray__connection_close(&idle);
    close(stop);
    ray_transfer_destroy(server);
}

typedef struct taker {
    int socket;
    size_t step;
    _Atomic bool end;
} taker;

static void *take_slowly(void *context) {
    taker *t = context;
    uint8_t bytes[4096];
    while (!atomic_load(&t->end) && recv(t->socket, bytes, t->step, MSG_WAITALL) > 0) {
        poll(NULL, 0, 20);
    }
    return NULL;
}

// Both never fall silent; one takes 6,400 bytes a second, the other 32 times as many.
static void aPeerThatTakesAlmostNothingIsGivenUp(void) {
    uint8_t *bytes = fixture_bytes(256 << 10, 5, true);
    for (uint32_t fast = 0; fast < 2; fast++) {
        int pair[2];
        CHECK(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, pair) == 0);
        CHECK(fcntl(pair[0], F_SETFL, O_NONBLOCK) == 0);
        int small = 4096;
        CHECK(setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &small, sizeof small) == 0);
        taker t = {.socket = pair[1], .step = fast ? 4096 : 128};
        pthread_t thread;
        CHECK(pthread_create(&thread, NULL, take_slowly, &t) == 0);
        int stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        // So long that only the pace can end it: 64 KiB take 4 s at the least pace.
        ray__connection connection = {.socket = pair[0], .stop = stop, .silent_ns = 2 * RAY__SECOND, .peer = "a taker"};
        struct iovec part = {bytes, 64 << 10};
        uint64_t began = ray__now_ns();
        CHECK_STATUS(ray__connection_write(&connection, &part, 1, false), fast ? RAY_OK : RAY_TIMED_OUT);
        if (!fast) {
            CHECK(strstr(ray_last_error_message(), "a taker takes less than 16384 bytes a second") != NULL);
            CHECK(ray__now_ns() - began >= 6 * RAY__SECOND - 100 * RAY__MS);
        }
        atomic_store(&t.end, true);
        shutdown(pair[0], SHUT_RDWR);
        pthread_join(thread, NULL);
        close(pair[0]);
        close(pair[1]);
        close(stop);
    }
    free(bytes);
}

int main(void) {
    fixture_make_directory();
    fixture_path(source_path, "source");
    uint8_t *bytes = fixture_bytes(1000, 3, true);
    fixture_write_file(source_path, bytes, 1000);
    free(bytes);
    fixture_add_file(&table, 1, source_path);
    RUN(aRequestThatTricklesLosesItsConnection);
    RUN(aPeerThatTakesAlmostNothingIsGivenUp);
    unlink(source_path);
    fixture_remove_directory();
    return 0;
}
