// SPDX-License-Identifier: Apache-2.0
// What the two halves of the proxy share: fault_way.c harms one direction of one connection, fault_proxy.c runs the connections.
#ifndef RAY_TESTS_FAULT_PROXY_INTERNAL_H
#define RAY_TESTS_FAULT_PROXY_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "fault_proxy.h"

enum { CONNECTIONS_MAX = 256, ORDERS_MAX = 8, BUFFER = 65536, HISTORY = 4096 };
enum { FROM_CLIENT = 0, FROM_SERVER = 1 };

typedef struct order {
    fault_kind kind;
    uint64_t at;
    uint64_t every;
    bool armed;
} order;

// One direction of a connection. Bytes are read up to the next fault only, so that each fault strikes between two reads.
typedef struct way {
    uint64_t random;
    uint64_t read_bytes;  // of the stream, so far
    uint64_t next_at;     // byte of the stream at which the next drawn fault strikes
    fault_kind next_kind;
    uint64_t held_until;  // ns
    uint32_t discard_left;
    uint32_t start;       // what waits in the buffer
    uint32_t end;
    bool flips_next;
    bool stalled;
    bool ended;           // nothing more is read
    bool told;            // and the other end knows
    uint32_t history_size;
    uint8_t history[HISTORY];
    uint8_t buffer[BUFFER + HISTORY];
} way;

typedef struct pair {
    int sockets[2]; // client, server
    way ways[2];    // from client, from server
    bool cut;
} pair;

struct fault_proxy {
    fault_proxy_options options;
    int listener;
    int wake;
    uint16_t port;
    pthread_t thread;
    pthread_mutex_t lock; // the orders and counts
    order orders[ORDERS_MAX];
    fault_counts counts;
    uint64_t server_bytes; // read from the server, on all connections
    _Atomic bool ends;
    _Atomic bool stalls;
    _Atomic bool refuses;
    uint32_t pair_count;
    pair *pairs[CONNECTIONS_MAX];
};

uint64_t fault_now_ns(void);
// Draws from a state of splitmix64 (Steele, Lea, Flood 2014).
uint64_t fault_draw(uint64_t *state);
// The first fault of a direction, whose random state is set.
void fault_way_begin(fault_proxy *proxy, way *w, int direction);
// Of a socket that can be read and whose bytes have all been passed on: strikes what is due, then reads up to the next fault.
void fault_way_read(fault_proxy *proxy, pair *p, int direction);
// Passes on what waits, as much as the reader takes now.
void fault_way_write(fault_proxy *proxy, pair *p, int direction);

#endif
