// SPDX-License-Identifier: Apache-2.0
// A proxy for TCP that makes a link long: each byte leaves so many milliseconds after it came, in each direction. This machine's kernel has
// no netem. It does not limit the rate: what is on its way is bounded by RING_BYTES a direction, more than twice what 1 Gbit/s brings in
// 100 ms, and when the ring is full it stops reading, as a full link would.
//
//   delay LISTEN_HOST TARGET_HOST TARGET_PORT MILLISECONDS    prints {"port":N}, ends when standard input does
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define RING_BYTES ((size_t)64 << 20)
#define READ_BYTES ((size_t)256 << 10)
#define MARKS 65536u // reads that are on their way

typedef struct mark {
    uint64_t leaves_ns;
    size_t end; // position in the stream behind its last byte
} mark;

// One direction of a connection. Positions count the stream's bytes; the ring holds [sent, got).
typedef struct direction {
    int from;
    int to;
    uint8_t *ring;
    mark *marks;
    uint32_t first_mark; // counted on, like positions
    uint32_t next_mark;
    size_t got;
    size_t sent;
    bool got_end;
    bool sent_end;
} direction;

static struct sockaddr_in target;
static uint64_t delay_ns;

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void fail(const char *what) {
    fprintf(stderr, "delay: %s: %s\n", what, strerror(errno));
    exit(1);
}

static bool has_room(const direction *d) {
    return !d->got_end && d->got - d->sent < RING_BYTES && d->next_mark - d->first_mark < MARKS;
}

// How far it may send now; *next_ns is when more may leave.
static size_t due(direction *d, uint64_t now, uint64_t *next_ns) {
    size_t end = d->sent;
    for (uint32_t m = d->first_mark; m != d->next_mark; m++) {
        const mark *one = &d->marks[m % MARKS];
        if (one->leaves_ns > now) {
            *next_ns = one->leaves_ns < *next_ns ? one->leaves_ns : *next_ns;
            break;
        }
        end = one->end;
    }
    return end;
}

// False when the connection is broken.
static bool take(direction *d) {
    size_t at = d->got % RING_BYTES;
    size_t room = RING_BYTES - (d->got - d->sent);
    size_t most = RING_BYTES - at < room ? RING_BYTES - at : room;
    ssize_t got = recv(d->from, d->ring + at, most < READ_BYTES ? most : READ_BYTES, MSG_DONTWAIT);
    if (got < 0) {
        return errno == EAGAIN || errno == EINTR;
    }
    d->got_end = got == 0;
    d->got += (size_t)got;
    // The end of the stream leaves late as well: a mark of no bytes.
    d->marks[d->next_mark++ % MARKS] = (mark){now_ns() + delay_ns, d->got};
    return true;
}

static bool give(direction *d, size_t end) {
    while (d->sent < end) {
        size_t at = d->sent % RING_BYTES;
        size_t most = RING_BYTES - at < end - d->sent ? RING_BYTES - at : end - d->sent;
        ssize_t sent = send(d->to, d->ring + at, most, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (sent < 0) {
            return errno == EAGAIN || errno == EINTR;
        }
        d->sent += (size_t)sent;
    }
    return true;
}

// Forgets what has left, and passes the stream's end on.
static void settle(direction *d, uint64_t now) {
    while (d->first_mark != d->next_mark && d->marks[d->first_mark % MARKS].leaves_ns <= now && d->marks[d->first_mark % MARKS].end <= d->sent) {
        d->first_mark++;
    }
    if (d->got_end && !d->sent_end && d->first_mark == d->next_mark) {
        shutdown(d->to, SHUT_WR);
        d->sent_end = true;
    }
}

static void carry(direction both[2]) {
    while (!both[0].sent_end || !both[1].sent_end) {
        uint64_t now = now_ns();
        uint64_t next = UINT64_MAX;
        struct pollfd waits[4];
        size_t ends[2];
        for (int i = 0; i < 2; i++) {
            settle(&both[i], now);
            ends[i] = due(&both[i], now, &next);
            bool reads = has_room(&both[i]);
            bool writes = ends[i] > both[i].sent;
            waits[2 * i] = (struct pollfd){reads ? both[i].from : -1, POLLIN, 0};
            waits[2 * i + 1] = (struct pollfd){writes ? both[i].to : -1, POLLOUT, 0};
        }
        uint64_t most = next == UINT64_MAX ? 1000000000u : next - now;
        struct timespec until = {(time_t)(most / 1000000000u), (long)(most % 1000000000u)};
        if (ppoll(waits, 4, &until, NULL) < 0 && errno != EINTR) {
            return;
        }
        for (int i = 0; i < 2; i++) {
            if ((waits[2 * i].revents != 0 && !take(&both[i])) || (waits[2 * i + 1].revents != 0 && !give(&both[i], ends[i]))) {
                return;
            }
        }
    }
}

static void *map_anew(size_t size) {
    void *memory = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (memory == MAP_FAILED) {
        fail("no memory for a connection");
    }
    return memory;
}

static void *run(void *argument) {
    int near = (int)(intptr_t)argument;
    int far = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    int yes = 1;
    if (far >= 0 && connect(far, (const struct sockaddr *)&target, sizeof target) == 0) {
        setsockopt(far, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        setsockopt(near, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        direction both[2] = {{.from = near, .to = far}, {.from = far, .to = near}};
        for (int i = 0; i < 2; i++) {
            both[i].ring = map_anew(RING_BYTES);
            both[i].marks = map_anew(MARKS * sizeof(mark));
        }
        carry(both);
        for (int i = 0; i < 2; i++) {
            munmap(both[i].ring, RING_BYTES);
            munmap(both[i].marks, MARKS * sizeof(mark));
        }
    } else {
        fprintf(stderr, "delay: cannot connect to the target: %s\n", strerror(errno));
    }
    if (far >= 0) {
        close(far);
    }
    close(near);
    return NULL;
}

static void *accept_all(void *argument) {
    int listener = (int)(intptr_t)argument;
    int near;
    while ((near = accept4(listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, run, (void *)(intptr_t)near) != 0) {
            fail("no thread for a connection");
        }
        pthread_detach(thread);
    }
    fail("accept");
    return NULL;
}

int main(int argc, char **argv) {
    struct sockaddr_in here = {.sin_family = AF_INET};
    target.sin_family = AF_INET;
    if (argc != 5 || inet_pton(AF_INET, argv[1], &here.sin_addr) != 1 || inet_pton(AF_INET, argv[2], &target.sin_addr) != 1) {
        fprintf(stderr, "usage: delay LISTEN_HOST TARGET_HOST TARGET_PORT MILLISECONDS\n");
        return 64;
    }
    target.sin_port = htons((uint16_t)atoi(argv[3]));
    delay_ns = strtoull(argv[4], NULL, 10) * 1000000u;
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    socklen_t size = sizeof here;
    if (listener < 0 || bind(listener, (struct sockaddr *)&here, sizeof here) != 0 || listen(listener, 64) != 0 ||
        getsockname(listener, (struct sockaddr *)&here, &size) != 0) {
        fail(argv[1]);
    }
    pthread_t acceptor;
    if (pthread_create(&acceptor, NULL, accept_all, (void *)(intptr_t)listener) != 0) {
        fail("no thread");
    }
    printf("{\"port\":%u}\n", ntohs(here.sin_port));
    fflush(stdout);
    while (getchar() != EOF) {
    }
    return 0;
}
