// SPDX-License-Identifier: Apache-2.0
// Congestion control that sends by the clock (BBR) suits ways that are long or lossy. To a peer that is near it costs timers and short segments:
// over a link that is no limit a third of the processors' time (Benchmarks/RESULTS.md). There Linux' usual choice is taken, where BBR is what this
// machine begins with; another is left alone.
//
// A socket that has paced once goes on doing so in Linux, whatever is chosen later. So a listener begins without, and each connection that proves to
// be long or slow goes over to what the machine begins with.
#include "transfer/pacing_internal.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "transfer/limits_internal.h"

#define NAME_SIZE 16 // the kernel's TCP_CA_NAME_MAX
// Within a machine room, not beyond it.
#define NEAR_NS RAY__MS

static bool is_paced_by(int socket, char name[static NAME_SIZE]) {
    socklen_t size = NAME_SIZE;
    memset(name, 0, NAME_SIZE);
    return getsockopt(socket, IPPROTO_TCP, TCP_CONGESTION, name, &size) == 0 && strncmp(name, "bbr", 3) == 0;
}

static bool choose(int socket, const char *name) {
    return setsockopt(socket, IPPROTO_TCP, TCP_CONGESTION, name, (socklen_t)strlen(name)) == 0;
}

void ray__pacing_begin(int listener) {
    char name[NAME_SIZE];
    if (is_paced_by(listener, name) && !choose(listener, "cubic")) {
        // Who is not allowed either stays with what is there.
        (void)choose(listener, "reno");
    }
}

void ray__pacing_suit(int connection, uint64_t round_trip_ns) {
    if (round_trip_ns >= NEAR_NS) {
        ray__pacing_allow(connection);
    }
}

void ray__pacing_allow(int connection) {
    char name[NAME_SIZE];
    if (is_paced_by(connection, name)) {
        return;
    }
    int fresh = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0); // has what this machine begins with
    if (fresh >= 0) {
        if (is_paced_by(fresh, name)) {
            (void)choose(connection, name);
        }
        close(fresh);
    }
}
