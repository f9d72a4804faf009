// SPDX-License-Identifier: Apache-2.0
// A long fat link between two network namespaces. This machine's kernel has no netem, so packets go through this program: each waits for
// those before it, at the link's rate, and arrives so many milliseconds later. Both ends' TCP sees the delay, so windows, buffers and slow
// start are those of a real long link. Packets come with their segments still together (up to 64 KiB), which keeps the rate easy on a core;
// the rate counts their bytes with the headers that each segment has. What would wait for more than 50 ms for its turn is dropped.
//
//   far DEVICE NAMESPACE_A NAMESPACE_B MILLISECONDS MBIT      makes the device in both, prints {"device":"…"}, ends when standard input does
#include <errno.h>
#include <fcntl.h>
#include <linux/if.h>
#include <linux/if_tun.h>
#include <linux/virtio_net.h>
#include <pthread.h>
#include <sched.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <time.h>
#include <unistd.h>

#define PACKET_MAX ((size_t)(64 << 10) + 256)
#define QUEUE_NS 50000000u
#define FRAME_EXTRA 14u // Ethernet's header, which a tun device does not have
#define PACKETS 65536u

typedef struct packet {
    uint64_t leaves_ns;
    size_t size;
    uint8_t *bytes;
} packet;

// One direction: a reader puts in, a writer takes out.
typedef struct way {
    int from;
    int to;
    uint64_t free_ns; // when the link has sent what came so far
    packet packets[PACKETS];
    uint32_t first;
    uint32_t next;
    pthread_mutex_t lock;
    pthread_cond_t changed;
} way;

static way ways[2];
static uint64_t delay_ns;
static double ns_per_byte;

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void fail(const char *what) {
    fprintf(stderr, "far: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int open_in(const char *namespace, const char *device) {
    char path[300];
    snprintf(path, sizeof path, "/run/netns/%s", namespace);
    int entered = open(path, O_RDONLY | O_CLOEXEC);
    if (entered < 0 || setns(entered, CLONE_NEWNET) != 0) {
        fail(path);
    }
    close(entered);
    int tun = open("/dev/net/tun", O_RDWR | O_CLOEXEC);
    struct ifreq request = {.ifr_flags = IFF_TUN | IFF_NO_PI | IFF_VNET_HDR};
    snprintf(request.ifr_name, sizeof request.ifr_name, "%s", device);
    if (tun < 0 || ioctl(tun, TUNSETIFF, &request) != 0 || ioctl(tun, TUNSETOFFLOAD, TUN_F_CSUM | TUN_F_TSO4) != 0) {
        fail(device);
    }
    return tun;
}

static double bytes_on_the_wire(const uint8_t *bytes, size_t size) {
    const struct virtio_net_hdr *header = (const void *)bytes;
    size_t rest = size - sizeof *header;
    uint32_t segments = header->gso_type != VIRTIO_NET_HDR_GSO_NONE && header->gso_size > 0
                            ? (uint32_t)((rest - header->hdr_len + header->gso_size - 1) / header->gso_size)
                            : 1;
    segments = segments == 0 ? 1 : segments;
    return (double)rest + (segments - 1.0) * header->hdr_len + (double)segments * FRAME_EXTRA;
}

static void *take_in(void *context) {
    way *w = context;
    for (;;) {
        uint8_t *bytes = malloc(PACKET_MAX);
        if (bytes == NULL) {
            fail("memory for a packet");
        }
        ssize_t size = read(w->from, bytes, PACKET_MAX);
        if (size <= (ssize_t)sizeof(struct virtio_net_hdr)) {
            fail("reading a packet");
        }
        uint64_t now = now_ns();
        uint64_t begins = w->free_ns > now ? w->free_ns : now;
        pthread_mutex_lock(&w->lock);
        if (begins - now > QUEUE_NS || w->next - w->first == PACKETS) {
            free(bytes);
        } else {
            w->free_ns = begins + (uint64_t)(bytes_on_the_wire(bytes, (size_t)size) * ns_per_byte);
            w->packets[w->next++ % PACKETS] = (packet){.leaves_ns = w->free_ns + delay_ns, .size = (size_t)size, .bytes = bytes};
            pthread_cond_signal(&w->changed);
        }
        pthread_mutex_unlock(&w->lock);
    }
    return NULL;
}

static void *let_out(void *context) {
    way *w = context;
    for (;;) {
        pthread_mutex_lock(&w->lock);
        while (w->first == w->next) {
            pthread_cond_wait(&w->changed, &w->lock);
        }
        packet p = w->packets[w->first++ % PACKETS];
        pthread_mutex_unlock(&w->lock);
        struct timespec until = {.tv_sec = (time_t)(p.leaves_ns / 1000000000u), .tv_nsec = (long)(p.leaves_ns % 1000000000u)};
        while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &until, NULL) == EINTR) {
        }
        // What a full device does not take is lost, as on any link.
        ssize_t written = write(w->to, p.bytes, p.size);
        (void)written;
        free(p.bytes);
    }
    return NULL;
}

int main(int count, char **arguments) {
    if (count != 6) {
        fprintf(stderr, "usage: far DEVICE NAMESPACE_A NAMESPACE_B MILLISECONDS MBIT\n");
        return 2;
    }
    delay_ns = strtoull(arguments[4], NULL, 10) * 1000000u;
    ns_per_byte = 8e3 / strtod(arguments[5], NULL);
    int ends[2] = {open_in(arguments[2], arguments[1]), open_in(arguments[3], arguments[1])};
    for (uint32_t i = 0; i < 2; i++) {
        ways[i].from = ends[i];
        ways[i].to = ends[1 - i];
        pthread_mutex_init(&ways[i].lock, NULL);
        pthread_cond_init(&ways[i].changed, NULL);
        pthread_t thread;
        if (pthread_create(&thread, NULL, take_in, &ways[i]) != 0 || pthread_create(&thread, NULL, let_out, &ways[i]) != 0) {
            fail("starting a thread");
        }
    }
    printf("{\"device\":\"%s\"}\n", arguments[1]);
    fflush(stdout);
    char end;
    while (read(STDIN_FILENO, &end, 1) > 0) {
    }
    return 0;
}
