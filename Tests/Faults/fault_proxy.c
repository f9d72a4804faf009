// SPDX-License-Identifier: Apache-2.0
#include "fault_proxy_internal.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <unistd.h>

static void end_pair(pair *p) {
    struct linger reset = {.l_onoff = 1};
    for (int i = 0; i < 2; i++) {
        if (p->cut) {
            setsockopt(p->sockets[i], SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
        }
        close(p->sockets[i]);
    }
    free(p);
}

static int connect_to(uint16_t port) {
    int made = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    if (made >= 0 && connect(made, (struct sockaddr *)&to, sizeof to) != 0) {
        close(made);
        return -1;
    }
    return made;
}

static void take_connection(fault_proxy *proxy) {
    int client = accept4(proxy->listener, NULL, NULL, SOCK_CLOEXEC);
    if (client < 0) {
        return;
    }
    bool refuses = atomic_load(&proxy->refuses);
    pthread_mutex_lock(&proxy->lock);
    uint64_t number = proxy->counts.connections++;
    proxy->counts.refused += refuses;
    pthread_mutex_unlock(&proxy->lock);
    int server = refuses || proxy->pair_count == CONNECTIONS_MAX ? -1 : connect_to(proxy->options.to);
    pair *p = server < 0 ? NULL : calloc(1, sizeof *p);
    if (p == NULL) {
        close(client);
        if (server >= 0) {
            close(server);
        }
        return;
    }
    int on = 1;
    p->sockets[0] = client;
    p->sockets[1] = server;
    for (int i = 0; i < 2; i++) {
        setsockopt(p->sockets[i], IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
        uint64_t state = proxy->options.seed;
        p->ways[i].random = fault_draw(&state) ^ (number * 2 + (uint64_t)i) * 0x9e3779b97f4a7c15u;
        fault_way_begin(proxy, &p->ways[i], i);
    }
    proxy->pairs[proxy->pair_count++] = p;
}

// What to wait for on behalf of one pair; two entries. Answers when a delay ends.
static uint64_t want(const pair *p, struct pollfd *fds, uint64_t now) {
    uint64_t until = UINT64_MAX;
    for (int i = 0; i < 2; i++) {
        fds[i] = (struct pollfd){.fd = p->sockets[i]};
    }
    for (int i = 0; i < 2; i++) {
        const way *w = &p->ways[i];
        if (w->held_until > now) {
            until = w->held_until < until ? w->held_until : until;
        } else if (w->start < w->end) {
            fds[1 - i].events |= POLLOUT;
        } else if (!w->ended) {
            fds[i].events |= POLLIN;
        }
    }
    for (int i = 0; i < 2; i++) {
        fds[i].fd = fds[i].events == 0 ? -1 : fds[i].fd; // else a hang-up is told again and again
    }
    return until;
}

static void serve_pair(fault_proxy *proxy, pair *p, const struct pollfd *fds) {
    for (int i = 0; i < 2 && !p->cut; i++) {
        way *w = &p->ways[i];
        if (w->held_until > fault_now_ns()) {
            continue;
        }
        if (w->start == w->end && !w->ended && (fds[i].revents & (POLLIN | POLLHUP | POLLERR)) != 0) {
            fault_way_read(proxy, p, i);
        }
        if (w->held_until <= fault_now_ns() || w->ended) {
            fault_way_write(proxy, p, i);
        }
    }
}

static void serve_pairs(fault_proxy *proxy, const struct pollfd *fds) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < proxy->pair_count; i++) {
        pair *p = proxy->pairs[i];
        serve_pair(proxy, p, fds + 2 * i);
        p->cut = p->cut || atomic_load(&proxy->refuses);
        // When the server has ended and all of that was passed on, nothing that the client says matters.
        bool ended = p->ways[FROM_SERVER].told && (p->ways[FROM_CLIENT].told || p->ways[FROM_SERVER].next_at == UINT64_MAX);
        if (p->cut || ended) {
            end_pair(p);
        } else {
            proxy->pairs[kept++] = p;
        }
    }
    proxy->pair_count = kept;
}

static void *run(void *context) {
    fault_proxy *proxy = context;
    static _Thread_local struct pollfd fds[2 + 2 * CONNECTIONS_MAX];
    while (!atomic_load(&proxy->ends)) {
        uint64_t now = fault_now_ns();
        uint64_t until = UINT64_MAX;
        fds[0] = (struct pollfd){.fd = proxy->wake, .events = POLLIN};
        fds[1] = (struct pollfd){.fd = proxy->listener, .events = POLLIN};
        for (uint32_t i = 0; i < proxy->pair_count; i++) {
            uint64_t held = want(proxy->pairs[i], fds + 2 + 2 * i, now);
            until = held < until ? held : until;
        }
        int wait_ms = until == UINT64_MAX ? -1 : (int)((until - now) / 1000000) + 1;
        poll(fds, 2 + 2 * proxy->pair_count, wait_ms);
        if (fds[0].revents != 0) {
            uint64_t value;
            ssize_t got = read(proxy->wake, &value, sizeof value);
            (void)got;
        }
        serve_pairs(proxy, fds + 2);
        if (fds[1].revents != 0) {
            take_connection(proxy);
        }
    }
    while (proxy->pair_count > 0) {
        end_pair(proxy->pairs[--proxy->pair_count]);
    }
    return NULL;
}

static bool listen_on_any(fault_proxy *proxy) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof at;
    proxy->listener = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (proxy->listener < 0 || bind(proxy->listener, (struct sockaddr *)&at, sizeof at) != 0 || listen(proxy->listener, 128) != 0 ||
        getsockname(proxy->listener, (struct sockaddr *)&at, &size) != 0) {
        return false;
    }
    proxy->port = ntohs(at.sin_port);
    return true;
}

fault_proxy *fault_proxy_start(const fault_proxy_options *options) {
    fault_proxy *proxy = calloc(1, sizeof *proxy);
    if (proxy == NULL) {
        return NULL;
    }
    proxy->options = *options;
    proxy->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    pthread_mutex_init(&proxy->lock, NULL);
    if (proxy->wake < 0 || !listen_on_any(proxy) || pthread_create(&proxy->thread, NULL, run, proxy) != 0) {
        int error = errno;
        close(proxy->listener);
        close(proxy->wake);
        pthread_mutex_destroy(&proxy->lock);
        free(proxy);
        errno = error;
        return NULL;
    }
    return proxy;
}

static void wake(fault_proxy *proxy) {
    uint64_t one = 1;
    ssize_t written = write(proxy->wake, &one, sizeof one);
    (void)written;
}

uint16_t fault_proxy_port(const fault_proxy *proxy) {
    return proxy->port;
}

void fault_proxy_counts(fault_proxy *proxy, fault_counts *counts) {
    pthread_mutex_lock(&proxy->lock);
    *counts = proxy->counts;
    pthread_mutex_unlock(&proxy->lock);
}

bool fault_proxy_order(fault_proxy *proxy, fault_kind kind, uint64_t at, uint64_t every) {
    bool placed = false;
    pthread_mutex_lock(&proxy->lock);
    for (int i = 0; i < ORDERS_MAX && !placed; i++) {
        if (!proxy->orders[i].armed) {
            proxy->orders[i] = (order){kind, at, every, true};
            placed = true;
        }
    }
    pthread_mutex_unlock(&proxy->lock);
    return placed;
}

void fault_proxy_stall_all(fault_proxy *proxy) {
    atomic_store(&proxy->stalls, true);
}

void fault_proxy_refuse(fault_proxy *proxy, bool refuses) {
    atomic_store(&proxy->refuses, refuses);
    wake(proxy);
}

void fault_proxy_stop(fault_proxy *proxy) {
    if (proxy == NULL) {
        return;
    }
    atomic_store(&proxy->ends, true);
    wake(proxy);
    pthread_join(proxy->thread, NULL);
    close(proxy->listener);
    close(proxy->wake);
    pthread_mutex_destroy(&proxy->lock);
    free(proxy);
}
