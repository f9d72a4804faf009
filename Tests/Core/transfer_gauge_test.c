// SPDX-License-Identifier: Apache-2.0
// What the gauge makes of a link that is known from an earlier transfer.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/clock_internal.h"
#include "check.h"
#include "transfer/transfer_internal.h"

#define RATE 12.5e6 // 100 Mbit/s
#define CHUNK (4u << 20)

typedef struct bench {
    ray__headroom headroom;
    ray__offer *offer;
    ray__connection connection;
    ray__drain last;
    int far_end;
} bench;

// A connection of this machine with itself, and a sender that has known its link at RATE.
static void bench_begin(bench *b) {
    memset(b, 0, sizeof *b);
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK_EQUAL(bind(listener, (struct sockaddr *)&address, size), 0);
    CHECK_EQUAL(listen(listener, 1), 0);
    CHECK_EQUAL(getsockname(listener, (struct sockaddr *)&address, &size), 0);
    b->connection.socket = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
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

// The bucket of a link that is shaped is full after a rest: what passes at once says that the link is there, not that it is faster now.
static void whatPassesAtOnceDoesNotMakeAKnownLinkFaster(void) {
    bench b;
    bench_begin(&b);
    ray__gauge_sending(b.offer, &b.last, &b.connection, CHUNK);
    pass(&b, 512 << 10);
    wait_ms(5);
    ray__gauge_drained(b.offer, &b.last, &b.connection, NULL);
    CHECK(ray__tuner_has_measured_link(&b.offer->tuner));
    CHECK(b.offer->tuner.link_rate > 0.99 * RATE && b.offer->tuner.link_rate < 1.01 * RATE);
    // Nor is it part of what is measured next: nothing has passed since.
    CHECK_EQUAL(b.offer->gauge.drained.acked_bytes, 0);
    bench_end(&b);
}

// One that takes far less is noticed in the first 20 ms and a little.
static void aKnownLinkThatIsSlowerNowIsNoticed(void) {
    bench b;
    bench_begin(&b);
    ray__gauge_sending(b.offer, &b.last, &b.connection, CHUNK);
    pass(&b, 4 << 10);
    wait_ms(5);
    ray__gauge_drained(b.offer, &b.last, &b.connection, NULL);
    CHECK(!ray__tuner_has_measured_link(&b.offer->tuner));
    wait_ms(25);
    ray__gauge_drained(b.offer, &b.last, &b.connection, NULL);
    CHECK(ray__tuner_has_measured_link(&b.offer->tuner));
    bench_end(&b);
}

int main(void) {
    RUN(whatPassesAtOnceDoesNotMakeAKnownLinkFaster);
    RUN(aKnownLinkThatIsSlowerNowIsNoticed);
    return 0;
}
