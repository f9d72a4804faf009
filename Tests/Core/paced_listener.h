// SPDX-License-Identifier: Apache-2.0
// A slow link without rights: what a listening socket's connections send is paced by the kernel.
#ifndef PACED_LISTENER_H
#define PACED_LISTENER_H

#include <netinet/in.h>
#include <sys/socket.h>

#include "check.h"

// From now on each connection that this process accepts at the port sends so many bytes a second at most: the socket that listens there is
// found among the descriptors, and who is accepted inherits its pace.
static inline void pace_listener(uint16_t port, unsigned rate) {
    bool is_found = false;
    for (int fd = 3; fd < 1024; fd++) {
        struct sockaddr_in address;
        socklen_t size = sizeof address;
        int listens = 0;
        socklen_t listens_size = sizeof listens;
        if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &listens_size) == 0 && listens != 0 &&
            getsockname(fd, (struct sockaddr *)&address, &size) == 0 && address.sin_family == AF_INET && ntohs(address.sin_port) == port) {
            CHECK(setsockopt(fd, SOL_SOCKET, SO_MAX_PACING_RATE, &rate, sizeof rate) == 0);
            is_found = true;
        }
    }
    CHECK(is_found);
}

#endif
