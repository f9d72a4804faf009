// SPDX-License-Identifier: Apache-2.0
// Who is near is not sent to by the clock, where the machine begins with that; who is far is, and what is not BBR stays as it is.
#include <netinet/in.h>
#include <linux/tcp.h>
#include <sys/socket.h>

#include "transfer/connection_internal.h"
#include "transfer/pacing_internal.h"
#include "transfer_fixture.h"

#define NAME_SIZE 16
#define NEAR_NS 50000ull
#define FAR_NS 50000000ull

typedef struct choice {
    char name[NAME_SIZE];
} choice;

static choice choice_of(int fd) {
    choice made = {{0}};
    socklen_t size = sizeof made.name;
    CHECK_EQUAL(getsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, made.name, &size), 0);
    return made;
}

static int fresh_socket(void) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0);
    return fd;
}

static bool is_bbr(choice made) {
    return strncmp(made.name, "bbr", 3) == 0;
}

static bool may_choose(const char *name) {
    int fd = fresh_socket();
    bool may = setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, name, (socklen_t)strlen(name)) == 0;
    close(fd);
    return may;
}

// Connects to a listener of the engine's and answers the accepted end, `client` the other.
static int accepted(int *client) {
    int listener;
    uint16_t port;
    CHECK_OK(ray__listener_open("127.0.0.1", 0, &listener, &port));
    ray_endpoint to = {.host = "127.0.0.1", .port = port};
    ray__connection out;
    CHECK_OK(ray__connection_open(&to, FIXTURE_DEADLINE_NS, -1, 0, &out));
    ray__connection in;
    ray_status status;
    uint64_t deadline = ray__now_ns() + FIXTURE_DEADLINE_NS;
    while ((status = ray__listener_accept(listener, -1, &in)) == RAY_AGAIN) {
        CHECK(ray__now_ns() < deadline);
        sched_yield();
    }
    CHECK_OK(status);
    close(listener);
    *client = out.socket;
    return in.socket;
}

// What is done once a link has proved to be slow; that it is seen to be is not tested here.
static void check_a_slow_link(choice usual) {
    int client;
    int served = accepted(&client);
    ray__pacing_allow(served);
    CHECK(strcmp(choice_of(served).name, usual.name) == 0);
    ray__pacing_allow(served); // once more does nothing
    CHECK(strcmp(choice_of(served).name, usual.name) == 0);
    close(served);
    close(client);
    ray__pacing_allow(-1);
}

static void check_near_and_far(choice usual) {
    bool may_do_without = may_choose("cubic") || may_choose("reno");
    int client;
    int served = accepted(&client);
    choice near = choice_of(served);
    if (is_bbr(usual) && may_do_without) {
        CHECK(!is_bbr(near));
    } else {
        CHECK(strcmp(near.name, usual.name) == 0);
    }
    ray__pacing_suit(served, NEAR_NS);
    CHECK(strcmp(choice_of(served).name, near.name) == 0);
    ray__pacing_suit(served, FAR_NS);
    CHECK(strcmp(choice_of(served).name, usual.name) == 0);
    close(served);
    close(client);
}

// Somebody may have set another one for this socket, by a BPF program say.
static void check_another_is_left_alone(void) {
    int fd = fresh_socket();
    if (!may_choose("reno")) {
        fprintf(stderr, "  skipped: this kernel does not let us choose reno\n");
    } else {
        CHECK_EQUAL(setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "reno", 4), 0);
        ray__pacing_begin(fd);
        CHECK(strcmp(choice_of(fd).name, "reno") == 0);
    }
    close(fd);
    // Nor does it matter what the descriptor is.
    ray__pacing_begin(-1);
    ray__pacing_suit(-1, FAR_NS);
}

// What a machine begins with is not for a test to change, but for a socket it can be shown by choosing.
static void check_a_listener_that_paces(void) {
    if (!may_choose("bbr")) {
        fprintf(stderr, "  skipped: this kernel does not let us choose bbr\n");
        return;
    }
    int fd = fresh_socket();
    CHECK_EQUAL(setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, "bbr", 3), 0);
    ray__pacing_begin(fd);
    CHECK(is_bbr(choice_of(fd)) == !(may_choose("cubic") || may_choose("reno")));
    close(fd);
}

int main(void) {
    int fd = fresh_socket();
    choice usual = choice_of(fd);
    close(fd);
    fprintf(stderr, "  this machine begins with %s\n", usual.name);
    check_near_and_far(usual);
    check_a_slow_link(usual);
    check_another_is_left_alone();
    check_a_listener_that_paces();
    return 0;
}
