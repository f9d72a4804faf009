// SPDX-License-Identifier: Apache-2.0
#include "test_sockets.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static int is_paced(int descriptor) {
    char name[16] = "";
    socklen_t size = sizeof name;
    return getsockopt(descriptor, IPPROTO_TCP, TCP_CONGESTION, name, &size) == 0 && strncmp(name, "bbr", 3) == 0;
}

int test_sockets_begin_paced(void) {
    int descriptor = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int begins_paced = is_paced(descriptor) && (setsockopt(descriptor, IPPROTO_TCP, TCP_CONGESTION, "cubic", 5) == 0 ||
                                                setsockopt(descriptor, IPPROTO_TCP, TCP_CONGESTION, "reno", 4) == 0);
    close(descriptor);
    return begins_paced;
}

void test_sockets_to(uint16_t port, int *count, int *paced) {
    struct rlimit limit = {.rlim_cur = 1024};
    getrlimit(RLIMIT_NOFILE, &limit);
    *count = 0;
    *paced = 0;
    for (int descriptor = 0; descriptor < (int)(limit.rlim_cur < 65536 ? limit.rlim_cur : 65536); descriptor++) {
        struct sockaddr_in peer;
        socklen_t size = sizeof peer;
        if (getpeername(descriptor, (struct sockaddr *)&peer, &size) == 0 && peer.sin_family == AF_INET && ntohs(peer.sin_port) == port &&
            peer.sin_addr.s_addr == htonl(INADDR_LOOPBACK)) {
            *count += 1;
            *paced += is_paced(descriptor);
        }
    }
}
