// SPDX-License-Identifier: Apache-2.0
// A peer that speaks for itself: a connection to a transfer whose messages a test writes by hand.
#ifndef RAY_TESTS_TRANSFER_PEER_H
#define RAY_TESTS_TRANSFER_PEER_H

#include <poll.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "transfer/connection_internal.h"
#include "transfer/limits_internal.h"
#include "transfer/wire_internal.h"
#include "transfer_fixture.h"

// Connected, and nothing said.
static inline ray__connection peer_connect(ray_transfer *to, int stop) {
    ray_endpoint where = {.port = ray_transfer_port(to)};
    snprintf(where.host, sizeof where.host, "127.0.0.1");
    ray__connection connection;
    CHECK_OK(ray__connection_open(&where, 5 * RAY__SECOND, stop, 0, &connection));
    return connection;
}

static inline ray__connection peer_connect_proved(ray_transfer *to, int stop) {
    ray__connection connection = peer_connect(to, stop);
    CHECK_OK(ray__connection_prove(&connection, &fixture_key, RAY_ROLE_CONNECTING, 5 * RAY__SECOND));
    connection.silent_ns = 10 * RAY__SECOND;
    return connection;
}

// Writes the OPEN of an object; answers its size.
static inline uint32_t peer_write_open(uint8_t *message, uint32_t number, uint32_t stream) {
    ray__open open = {.id = fixture_id(number), .token = 7, .threads = 1, .chunk_size = RAY_CHUNK_SIZE};
    uint32_t size = ray__open_write(&open, message + RAY__MESSAGE_HEADER_SIZE);
    ray__message_seal(message, RAY__MESSAGE_OPEN, stream, size);
    return RAY__MESSAGE_HEADER_SIZE + size;
}

static inline uint32_t peer_write_close(uint8_t *message, uint32_t stream) {
    ray__message_seal(message, RAY__MESSAGE_CLOSE, stream, 0);
    return RAY__MESSAGE_HEADER_SIZE;
}

// Whether the other end takes it: false when the connection has ended.
static inline bool peer_send(ray__connection *c, const void *bytes, uint32_t size) {
    return send(c->socket, bytes, size, MSG_NOSIGNAL) == (ssize_t)size;
}

// Drops what has come. Whether the other end has closed the connection.
static inline bool peer_has_ended(ray__connection *c) {
    static uint8_t bytes[65536];
    for (;;) {
        ssize_t got = recv(c->socket, bytes, sizeof bytes, MSG_DONTWAIT);
        if (got <= 0) {
            return got == 0 || (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
        }
    }
}

#endif
