// SPDX-License-Identifier: Apache-2.0
// One direction of one connection, and the harm that comes to it.
#include "fault_proxy_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

const char *const fault_names[FAULT_KINDS] = {"delay", "discard", "repeat", "flip", "truncate", "stall", "cut"};

uint64_t fault_now_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

uint64_t fault_draw(uint64_t *state) {
    uint64_t z = (*state += 0x9e3779b97f4a7c15u);
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static double draw_unit(uint64_t *state) {
    return (double)(fault_draw(state) >> 11) / (double)(1ull << 53);
}

static const fault_odds *odds_of(const fault_proxy *proxy, int direction) {
    return direction == FROM_CLIENT ? &proxy->options.from_client : &proxy->options.from_server;
}

// The distance is uniform between 0 and twice its mean.
static void draw_next(const fault_odds *odds, way *w) {
    double total = 0;
    for (int kind = 0; kind < FAULT_KINDS; kind++) {
        total += odds->per_mib[kind];
    }
    if (total <= 0) {
        w->next_at = UINT64_MAX;
        return;
    }
    w->next_at += (uint64_t)(2.0 * draw_unit(&w->random) * 1048576.0 / total);
    double pick = draw_unit(&w->random) * total;
    w->next_kind = FAULT_DELAY;
    for (int kind = 0; kind < FAULT_KINDS; kind++) {
        pick -= odds->per_mib[kind];
        if (pick < 0) {
            w->next_kind = (fault_kind)kind;
            return;
        }
    }
}

static void count_fault(fault_proxy *proxy, fault_kind kind) {
    pthread_mutex_lock(&proxy->lock);
    proxy->counts.faults[kind]++;
    pthread_mutex_unlock(&proxy->lock);
}

// Done when everything before it has left the buffer, so that REPEAT repeats what was passed and DELAY delays what follows.
static void strike(fault_proxy *proxy, pair *p, int direction, fault_kind kind) {
    way *w = &p->ways[direction];
    const fault_odds *odds = odds_of(proxy, direction);
    uint32_t span_max = odds->span_max == 0 || odds->span_max > HISTORY ? HISTORY : odds->span_max;
    uint32_t span = 1 + (uint32_t)(fault_draw(&w->random) % span_max);
    uint32_t delay_max = odds->delay_max_ms == 0 ? 20 : odds->delay_max_ms;
    count_fault(proxy, kind);
    switch (kind) {
    case FAULT_DELAY:
        w->held_until = fault_now_ns() + (1 + fault_draw(&w->random) % delay_max) * 1000000u;
        break;
    case FAULT_DISCARD:
        w->discard_left = span;
        break;
    case FAULT_REPEAT:
        span = span < w->history_size ? span : w->history_size;
        memcpy(w->buffer, w->history + w->history_size - span, span);
        w->start = 0;
        w->end = span;
        break;
    case FAULT_FLIP:
        w->flips_next = true;
        break;
    case FAULT_TRUNCATE:
        w->ended = true;
        break;
    case FAULT_STALL:
        w->stalled = true;
        break;
    default:
        p->cut = true;
    }
}

// How many bytes may be read before the next order strikes; strikes what is due now.
static uint64_t until_order(fault_proxy *proxy, pair *p) {
    uint64_t distance = UINT64_MAX;
    fault_kind due[ORDERS_MAX];
    int due_count = 0;
    pthread_mutex_lock(&proxy->lock);
    for (int i = 0; i < ORDERS_MAX; i++) {
        order *o = &proxy->orders[i];
        if (o->armed && o->at <= proxy->server_bytes) {
            due[due_count++] = o->kind;
            o->armed = o->every != 0;
            o->at = proxy->server_bytes + o->every;
        }
        if (o->armed && o->at - proxy->server_bytes < distance) {
            distance = o->at - proxy->server_bytes;
        }
    }
    pthread_mutex_unlock(&proxy->lock);
    for (int i = 0; i < due_count; i++) {
        strike(proxy, p, FROM_SERVER, due[i]);
    }
    return distance;
}

static void remember(way *w, const uint8_t *bytes, uint32_t size) {
    uint32_t fresh = size < HISTORY ? size : HISTORY;
    uint32_t kept = w->history_size < HISTORY - fresh ? w->history_size : HISTORY - fresh;
    memmove(w->history, w->history + w->history_size - kept, kept);
    memcpy(w->history + kept, bytes + size - fresh, fresh);
    w->history_size = kept + fresh;
}

void fault_way_read(fault_proxy *proxy, pair *p, int direction) {
    way *w = &p->ways[direction];
    while (w->next_at <= w->read_bytes && !w->ended && !p->cut) {
        fault_kind kind = w->next_kind;
        draw_next(odds_of(proxy, direction), w);
        strike(proxy, p, direction, kind);
    }
    uint64_t room = BUFFER;
    if (direction == FROM_SERVER) {
        uint64_t ordered = until_order(proxy, p);
        room = ordered < room ? ordered : room;
    }
    if (w->start < w->end || w->held_until > fault_now_ns() || w->ended || p->cut) {
        return; // a fault has changed what comes next
    }
    room = w->next_at - w->read_bytes < room ? w->next_at - w->read_bytes : room;
    room = w->flips_next ? 1 : room;
    if (proxy->options.bytes_per_second != 0) {
        uint64_t share = proxy->options.bytes_per_second / 100 + 1;
        room = share < room ? share : room;
    }
    ssize_t got = recv(p->sockets[direction], w->buffer, room, MSG_DONTWAIT);
    if (got <= 0) {
        w->ended = got == 0 || (errno != EAGAIN && errno != EINTR);
        return;
    }
    w->read_bytes += (uint64_t)got;
    if (proxy->options.bytes_per_second != 0) {
        w->held_until = fault_now_ns() + (uint64_t)got * 1000000000u / proxy->options.bytes_per_second;
    }
    if (direction == FROM_SERVER) {
        pthread_mutex_lock(&proxy->lock);
        proxy->server_bytes += (uint64_t)got;
        pthread_mutex_unlock(&proxy->lock);
    }
    if (w->stalled || atomic_load(&proxy->stalls)) {
        return;
    }
    uint32_t dropped = w->discard_left < (uint32_t)got ? w->discard_left : (uint32_t)got;
    w->discard_left -= dropped;
    w->start = dropped;
    w->end = (uint32_t)got;
    if (w->flips_next) {
        w->buffer[0] ^= (uint8_t)(1u << fault_draw(&w->random) % 8);
        w->flips_next = false;
    }
    remember(w, w->buffer, w->end);
}

void fault_way_write(fault_proxy *proxy, pair *p, int direction) {
    way *w = &p->ways[direction];
    if (w->start < w->end) {
        ssize_t sent = send(p->sockets[1 - direction], w->buffer + w->start, w->end - w->start, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent > 0) {
            w->start += (uint32_t)sent;
            if (direction == FROM_SERVER) {
                pthread_mutex_lock(&proxy->lock);
                proxy->counts.passed_bytes += (uint64_t)sent;
                pthread_mutex_unlock(&proxy->lock);
            }
        } else if (errno != EAGAIN && errno != EINTR) {
            p->cut = true; // the reader is gone
        }
    }
    if (w->start == w->end && w->ended && !w->told) {
        shutdown(p->sockets[1 - direction], SHUT_WR);
        w->told = true;
    }
}

void fault_way_begin(fault_proxy *proxy, way *w, int direction) {
    w->next_at = odds_of(proxy, direction)->spared_bytes;
    draw_next(odds_of(proxy, direction), w);
}
