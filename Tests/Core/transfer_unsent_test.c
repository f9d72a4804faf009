// SPDX-License-Identifier: Apache-2.0
// Over a link that is not fast the kernel may hold little that it does not send at once: what it holds is out of the tuner's sight, and in the
// way of what is more urgent.
#include <netinet/in.h>
#include <linux/tcp.h>
#include <sys/socket.h>

#include "paced_listener.h"
#include "transfer_fixture.h"

#define DESCRIPTORS 1024

// The bounds of the sockets that a port serves: the least and the most of those that are connected.
static void bounds_of(uint16_t port, uint32_t *least, uint32_t *most) {
    *least = UINT32_MAX;
    *most = 0;
    for (int fd = 3; fd < DESCRIPTORS; fd++) {
        struct sockaddr_in local;
        struct sockaddr_in peer;
        socklen_t local_size = sizeof local;
        socklen_t peer_size = sizeof peer;
        bool is_connected = getsockname(fd, (struct sockaddr *)&local, &local_size) == 0 &&
                            getpeername(fd, (struct sockaddr *)&peer, &peer_size) == 0;
        if (!is_connected || local.sin_family != AF_INET || ntohs(local.sin_port) != port) {
            continue;
        }
        uint32_t bound = 0;
        socklen_t size = sizeof bound;
        CHECK_EQUAL(getsockopt(fd, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &bound, &size), 0);
        *least = bound < *least ? bound : *least;
        *most = bound > *most ? bound : *most;
    }
    CHECK(*least != UINT32_MAX);
}

// Fetches raw bytes over links of this pace (0: as fast as it goes), and looks at the bounds before the connections end.
static void fetch(uint32_t pace, uint64_t size, uint32_t *least, uint32_t *most) {
    ray_store *here = fixture_store(128 * MIB);
    ray_store *there = fixture_store(128 * MIB);
    ray_transfer *sender = fixture_transfer(NULL, there, true);
    if (pace != 0) {
        pace_listener(ray_transfer_port(sender), pace);
    }
    uint16_t port = ray_transfer_port(sender);
    ray_transfer *receiver = fixture_transfer(NULL, here, false);
    ray_object_id id = fixture_id(1);
    uint8_t *bytes = fixture_bytes(size, 1, false);
    CHECK_OK(ray_object_put(there, &id, bytes, size, "m", 1, 0));
    uint32_t state;
    CHECK_OK(ray_node_adopt(here, &id, &state));
    fixture_pull p;
    fixture_pull_init(&p, NULL);
    ray_pull_options options = {.codec = RAY_CODEC_NONE, .connection_count = 2};
    fixture_start(&p, receiver, 1, &port, 1, &options);
    CHECK_OK(fixture_finish(&p));
    bounds_of(port, least, most);
    fixture_check_object(here, 1, bytes, size);
    free(bytes);
    ray_transfer_destroy(receiver);
    ray_transfer_destroy(sender);
    ray_store_close(here);
    ray_store_close(there);
}

static void theSlowerTheLinkTheLessTheKernelHolds(void) {
    uint32_t least;
    uint32_t most;
    fetch(40000000, 48 * MIB, &least, &most);
    // 8 ms of 40 MB/s are 320 KB.
    CHECK(least >= 128u << 10);
    CHECK(most <= 1u << 20);
}

int main(void) {
    RUN(theSlowerTheLinkTheLessTheKernelHolds);
    return 0;
}
