// SPDX-License-Identifier: Apache-2.0
// A wire that fails: a TCP proxy on loopback, in this process, that harms what passes through it.
//
// Two ways to say what it does, which may be mixed. *Odds*: each direction of each connection draws its faults from the seed, the
// connection's number and the direction, by byte offsets of that stream; so the same seed harms the same bytes, as long as the two ends
// say the same. *Orders*: a fault at a given byte of what the server says, counted over all connections together.
//
// One thread, one poll. It links nothing but libc, so that any test can use it.
#ifndef RAY_TESTS_FAULT_PROXY_H
#define RAY_TESTS_FAULT_PROXY_H

#include <stdbool.h>
#include <stdint.h>

typedef enum fault_kind {
    FAULT_DELAY,    // what follows waits, up to delay_max_ms
    FAULT_DISCARD,  // a span of bytes is left out
    FAULT_REPEAT,   // the latest bytes come a second time
    FAULT_FLIP,     // a bit of the next byte
    FAULT_TRUNCATE, // this direction ends here, in order; the other goes on
    FAULT_STALL,    // this direction takes everything and passes nothing any more
    FAULT_CUT,      // the connection is reset
    FAULT_KINDS
} fault_kind;

extern const char *const fault_names[FAULT_KINDS];

typedef struct fault_odds {
    double per_mib[FAULT_KINDS]; // how many are to be expected in a MiB of a direction
    uint64_t spared_bytes;       // at the start of each direction of each connection
    uint32_t delay_max_ms;
    uint32_t span_max;           // of DISCARD and REPEAT, at most 4096
} fault_odds;

typedef struct fault_proxy_options {
    uint16_t to;                // port on loopback
    uint64_t seed;
    fault_odds from_client;
    fault_odds from_server;
    uint32_t bytes_per_second;  // of each direction of each connection; 0: as fast as it goes
} fault_proxy_options;

typedef struct fault_counts {
    uint64_t connections;
    uint64_t refused;           // connections that came while it refused them
    uint64_t passed_bytes;      // that the server said and the client was given
    uint64_t faults[FAULT_KINDS];
} fault_counts;

typedef struct fault_proxy fault_proxy;

// Answers NULL, with errno, when it cannot listen.
fault_proxy *fault_proxy_start(const fault_proxy_options *options);
uint16_t fault_proxy_port(const fault_proxy *proxy);
void fault_proxy_counts(fault_proxy *proxy, fault_counts *counts);

// A fault at this byte of what the server says on all connections together, and again after so many more (0: once).
// At most eight orders; true if there was a place for it.
bool fault_proxy_order(fault_proxy *proxy, fault_kind kind, uint64_t at, uint64_t every);
// Passes nothing any more, on all connections, and keeps them open.
void fault_proxy_stall_all(fault_proxy *proxy);
// Cuts what there is and refuses new connections, until told otherwise.
void fault_proxy_refuse(fault_proxy *proxy, bool refuses);

// Ends all connections and the thread. Accepts NULL.
void fault_proxy_stop(fault_proxy *proxy);

#endif
