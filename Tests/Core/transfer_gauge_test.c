// SPDX-License-Identifier: Apache-2.0
// What the gauge makes of a link that is known from an earlier transfer.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock_internal.h"
#include "check.h"
#include "transfer/transfer_internal.h"

#define RATE 12.5e6 // 100 Mbit/s
#define SLOW 1.25e6
#define CHUNK (4u << 20)

typedef struct bench {
    ray__headroom headroom;
    ray__offer *offer;
    ray__connection connection;
    ray__drain last;
    int far_end;
} bench;

// A connection of this machine with itself that sends at this pace (0: as fast as it goes), and a sender that has known its link at RATE.
static void bench_begin(bench *b, unsigned pace) {
    memset(b, 0, sizeof *b);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK_EQUAL(bind(listener, (struct sockaddr *)&address, size), 0);
    CHECK_EQUAL(listen(listener, 1), 0);
    CHECK_EQUAL(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    b->connection.socket = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (pace != 0) {
        // What is paced are packets, and those of a loopback are long.
        CHECK_EQUAL(setsockopt(b->connection.socket, IPPROTO_TCP, TCP_MAXSEG, &(int){1400}, sizeof(int)), 0);
        CHECK_EQUAL(setsockopt(b->connection.socket, SOL_SOCKET, SO_MAX_PACING_RATE, &pace, sizeof pace), 0);
    }
    CHECK_EQUAL(connect(b->connection.socket, (struct sockaddr *)&address, size), 0);
    b->far_end = accept(listener, NULL, NULL);
    CHECK(b->far_end >= 0);
    close(listener);
    b->offer = calloc(1, sizeof *b->offer);
    CHECK(b->offer != NULL);
    b->offer->chunk_size = CHUNK;
    ray__headroom_init(&b->headroom);
    ray__gauge_init(&b->offer->gauge, &b->headroom);
    ray__tuner_init(&b->offer->tuner, 2, 2);
    ray__past past = {.link_rate = RATE};
    ray__tuner_recall(&b->offer->tuner, &past);
}

static void bench_end(bench *b) {
    ray__tuner_end(&b->offer->tuner);
    ray__gauge_end(&b->offer->gauge);
    ray__headroom_end(&b->headroom);
    free(b->offer);
    close(b->connection.socket);
    close(b->far_end);
}

static void pass(bench *b, uint32_t bytes) {
    static char buffer[64 << 10];
    for (uint32_t left = bytes; left > 0;) {
        uint32_t part = left < sizeof buffer ? left : (uint32_t)sizeof buffer;
        CHECK_EQUAL(write(b->connection.socket, buffer, part), part);
        CHECK_EQUAL(recv(b->far_end, buffer, part, MSG_WAITALL), part);
        left -= part;
    }
}

static void wait_ms(unsigned ms) {
    nanosleep(&(struct timespec){.tv_nsec = ms * 1000000l}, NULL);
}

// So many bytes of a first chunk arrive, and after a while the gauge looks.
static void arrive(bench *b, uint32_t bytes, unsigned ms) {
    ray__gauge_sending(b->offer, &b->last, &b->connection, CHUNK);
    pass(b, bytes);
    wait_ms(ms);
    ray__gauge_drained(b->offer, &b->last, &b->connection, NULL);
}

// The bucket of a link that is shaped is full after a rest: what passes at once says that the link is there, not that it is faster now.
static void whatPassesAtOnceDoesNotMakeAKnownLinkFaster(void) {
    bench b;
    bench_begin(&b, 0);
    arrive(&b, 512 << 10, 5);
    CHECK(ray__tuner_has_measured_link(&b.offer->tuner));
    CHECK(b.offer->tuner.link_rate > 0.99 * RATE && b.offer->tuner.link_rate < 1.01 * RATE);
    // Nor is it part of what is measured next: nothing has passed since.
    CHECK_EQUAL(b.offer->gauge.drained.acked_bytes, 0);
    bench_end(&b);
}

// A few bytes in 5 ms say nothing of it. On a busy machine 5 ms may be the 20 after which it is judged in any case: that round says nothing.
static void aKnownLinkIsNotConfirmedByLittle(void) {
    for (bool is_in_time = false; !is_in_time;) {
        bench b;
        bench_begin(&b, 0);
        uint64_t began = ray__now_ns();
        arrive(&b, 4 << 10, 5);
        is_in_time = ray__now_ns() - began < 20 * RAY__MS;
        CHECK(!is_in_time || !ray__tuner_has_measured_link(&b.offer->tuner));
        bench_end(&b);
    }
}

// One that takes a tenth of what it did is known for that after the first 20 ms and a little.
static void aKnownLinkThatIsSlowerNowIsNoticed(void) {
    bench b;
    bench_begin(&b, (unsigned)SLOW);
    arrive(&b, 64 << 10, 0);
    CHECK(ray__tuner_has_measured_link(&b.offer->tuner));
    CHECK(b.offer->tuner.link_rate < RATE / 2);
    bench_end(&b);
}

int main(void) {
    RUN(whatPassesAtOnceDoesNotMakeAKnownLinkFaster);
    RUN(aKnownLinkIsNotConfirmedByLittle);
    RUN(aKnownLinkThatIsSlowerNowIsNoticed);
    return 0;
}
