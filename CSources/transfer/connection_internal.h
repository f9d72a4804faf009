// SPDX-License-Identifier: Apache-2.0
// Connection: one TCP stream to a peer, with waits that end.
//
// Every wait ends when the stop descriptor (an eventfd) is readable, when the peer is silent too long, or when the stream breaks.
#ifndef RAY_TRANSFER_CONNECTION_INTERNAL_H
#define RAY_TRANSFER_CONNECTION_INTERNAL_H

#include "raystore/transfer.h"

struct iovec;

typedef struct ray__connection {
    int socket;
    int stop;                     // not owned
    uint32_t stream_count;        // opened so far, by the receiving end
    uint64_t silent_ns;           // how long the peer may neither send nor take a byte
    char peer[RAY_HOST_MAX + 8];  // host:port, for messages
} ray__connection;

// All answer RAY_OK, RAY_CANCELLED (stop was raised), RAY_TIMED_OUT (silent, or taking a write more slowly than RAY__TAKING_RATE), RAY_PEER_CLOSED, or RAY_SYSTEM, and name the peer.
ray_status ray__connection_read(ray__connection *connection, void *bytes, size_t size) RAY_NODISCARD;
// Reads at least 1 and at most size bytes.
ray_status ray__connection_read_some(ray__connection *connection, void *bytes, size_t size, size_t *got) RAY_NODISCARD;
// Reads what is there now: *got may be 0.
ray_status ray__connection_read_now(ray__connection *connection, void *bytes, size_t size, size_t *got) RAY_NODISCARD;
// more: something follows at once, so the kernel need not send a short packet.
ray_status ray__connection_write(ray__connection *connection, struct iovec *parts, int count, bool more) RAY_NODISCARD;
// RAY_SOURCE_CHANGED when the file ends before offset + size.
ray_status ray__connection_send_file(ray__connection *connection, int file, uint64_t offset, uint64_t size) RAY_NODISCARD;

// Whether an idle connection is still good: open, and with nothing to read.
bool ray__connection_is_quiet(const ray__connection *connection);

// Connects within timeout_ns. RAY_UNREACHABLE names host, port and reason. A connection that reached this transfer's own listener
// (own_port) answers RAY_EXISTS.
ray_status ray__connection_open(const ray_endpoint *to, uint64_t timeout_ns, int stop, uint16_t own_port,
                                ray__connection *connection) RAY_NODISCARD;
void ray__connection_close(ray__connection *connection);

// A listening socket. RAY_ADDRESS_IN_USE names the address. *port is the one it got.
ray_status ray__listener_open(const char *host, uint16_t port, int *listener, uint16_t *bound_port) RAY_NODISCARD;
// Takes a connection that poll said is there; RAY_AGAIN when it went away.
ray_status ray__listener_accept(int listener, int stop, ray__connection *connection) RAY_NODISCARD;

// Proves the key to each other, within timeout_ns.
ray_status ray__connection_prove(ray__connection *connection, const ray_key *key, uint32_t role, uint64_t timeout_ns) RAY_NODISCARD;

// The kernel's account of what the stream did since it was opened.
typedef struct ray__drain {
    uint64_t acked_bytes;
    uint64_t limited_ns; // time with data on its way that was not spent waiting for room at the peer
    uint64_t receiver_ns; // time that was
} ray__drain;
// The least time to the peer and back that the kernel has seen lately; 0: not known.
uint64_t ray__connection_round_trip_ns(const ray__connection *connection);
void ray__connection_drain(const ray__connection *connection, ray__drain *drain);
// Of what is written the kernel takes so many bytes at most that it does not send at once; 0: as many as it likes.
void ray__connection_bound_unsent(const ray__connection *connection, uint32_t bytes);

#endif
