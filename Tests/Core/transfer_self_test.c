// SPDX-License-Identifier: Apache-2.0
// A connection that meets itself: to a port of this machine at which nobody listens, from that very port. It is one that cannot be made, and
// may be tried again; else a server that is waited for would be given up.
#include <fcntl.h>
#include <net/if.h>
#include <sched.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

#include "base/clock_internal.h"
#include "check.h"
#include "raystore/status.h"
#include "transfer/connection_internal.h"
#include "transfer/limits_internal.h"

#define PORT 40000

// A network of its own, with few ports to connect from.
static bool make_network(void) {
    if (unshare(CLONE_NEWNET) != 0) {
        return false;
    }
    int control = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq loopback = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
    bool is_up = control >= 0 && ioctl(control, SIOCSIFFLAGS, &loopback) == 0;
    close(control);
    int range = open("/proc/sys/net/ipv4/ip_local_port_range", O_WRONLY | O_CLOEXEC);
    static const char text[] = "40000 40003";
    bool is_set = range >= 0 && write(range, text, sizeof text - 1) == (ssize_t)(sizeof text - 1);
    close(range);
    return is_up && is_set;
}

static void aConnectionThatMeetsItselfIsNone(void) {
    ray_endpoint endpoint = {.host = "127.0.0.1", .port = PORT};
    bool met = false;
    for (int tries = 0; tries < 1000 && !met; tries++) {
        ray__connection connection;
        CHECK_STATUS(ray__connection_open(&endpoint, 5 * RAY__SECOND, -1, 0, &connection), RAY_UNREACHABLE);
        CHECK_EQUAL(connection.socket, -1);
        met = strstr(ray_last_error_message(), "nobody listens there") != NULL;
    }
    CHECK(met);
}

int main(void) {
    if (!make_network()) {
        SKIP("no right to make a network namespace");
    }
    RUN(aConnectionThatMeetsItselfIsNone);
    return 0;
}
