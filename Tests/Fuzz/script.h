// SPDX-License-Identifier: Apache-2.0
// A conversation as an input: records of type (1 byte), flags (1), size (2, little endian), body. They become messages of the bulk protocol,
// sealed, since mutations do not guess a checksum. Flags: bit 0 damages the check, bit 1 another stream, bit 2 a size that lies, bit 3 the
// body alone, without a header.
#ifndef RAY_TESTS_FUZZ_SCRIPT_H
#define RAY_TESTS_FUZZ_SCRIPT_H

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fuzz.h"

#include "transfer/wire_internal.h"

enum { SCRIPT_DAMAGE = 1, SCRIPT_STREAM = 2, SCRIPT_SIZE = 4, SCRIPT_BARE = 8 };

// Allocates *bytes. Streams count from 1: an OPEN begins the next one, everything else is of the latest.
static inline size_t script_messages(const uint8_t *data, size_t size, bool counts_opens, uint8_t **bytes) {
    uint8_t *out = malloc(size * (RAY__MESSAGE_HEADER_SIZE / 4 + 2) + RAY__MESSAGE_HEADER_SIZE);
    MUST(out != NULL);
    size_t at = 0;
    uint32_t stream = counts_opens ? 0 : 1;
    while (size >= 4) {
        uint16_t type = data[0];
        uint8_t flags = data[1];
        uint32_t body = (uint32_t)(data[2] | data[3] << 8);
        body = body < size - 4 ? body : (uint32_t)size - 4;
        uint8_t *message = out + at;
        memcpy(message + RAY__MESSAGE_HEADER_SIZE, data + 4, body);
        stream += counts_opens && type == RAY__MESSAGE_OPEN;
        data += 4 + body;
        size -= 4 + body;
        if ((flags & SCRIPT_BARE) != 0) {
            memmove(message, message + RAY__MESSAGE_HEADER_SIZE, body);
            at += body;
            continue;
        }
        bool sealable = type != RAY__MESSAGE_CHUNK || body >= RAY_CHUNK_HEADER_SIZE;
        if (sealable) {
            ray__message_seal(message, type, (flags & SCRIPT_STREAM) != 0 ? stream + 1 : stream, body);
        } else {
            memset(message, 0, RAY__MESSAGE_HEADER_SIZE);
        }
        message[16] ^= (flags & SCRIPT_DAMAGE) != 0;
        message[8] = (uint8_t)(message[8] + ((flags & SCRIPT_SIZE) != 0));
        at += RAY__MESSAGE_HEADER_SIZE + body;
    }
    *bytes = out;
    return at;
}

// The other end of a connection: says all of it, hears everything, hangs up in order. A thread of its own, since the engine blocks.
typedef struct script_peer {
    int socket;
    bool hears_first; // waits for the first byte before it speaks
    void (*ended)(void); // called when the engine has hung up; may be NULL
    uint8_t *bytes;
    size_t size;
    pthread_t thread;
} script_peer;

#define SCRIPT_HEARD_MAX (4u << 20) // then it hangs up in the middle: a request may name a chunk many times

static inline void *script_run(void *context) {
    script_peer *peer = context;
    static _Thread_local uint8_t heard[65536];
    size_t said = 0;
    size_t heard_size = 0;
    bool may_speak = !peer->hears_first;
    for (;;) {
        if (may_speak && said == peer->size) {
            shutdown(peer->socket, SHUT_WR);
            said++; // once
        }
        bool speaks = may_speak && said < peer->size;
        struct pollfd fd = {.fd = peer->socket, .events = (short)(POLLIN | (speaks ? POLLOUT : 0))};
        if (poll(&fd, 1, 20000) <= 0) {
            fprintf(stderr, "the engine neither speaks nor hangs up\n");
            abort();
        }
        if (speaks && (fd.revents & POLLOUT) != 0) {
            ssize_t sent = send(peer->socket, peer->bytes + said, peer->size - said, MSG_NOSIGNAL | MSG_DONTWAIT);
            if (sent < 0 && errno != EAGAIN) {
                break;
            }
            said += sent > 0 ? (size_t)sent : 0;
        }
        if ((fd.revents & (POLLIN | POLLHUP | POLLERR)) != 0) {
            ssize_t got = recv(peer->socket, heard, sizeof heard, MSG_DONTWAIT);
            if (got == 0 || (got < 0 && errno != EAGAIN)) {
                break;
            }
            heard_size += got > 0 ? (size_t)got : 0;
            may_speak = true;
        }
        if (heard_size > SCRIPT_HEARD_MAX) {
            break;
        }
    }
    close(peer->socket);
    if (peer->ended != NULL) {
        peer->ended();
    }
    return NULL;
}

// Answers the engine's end of the pair.
static inline int script_start(script_peer *peer, const uint8_t *data, size_t size, bool counts_opens, bool hears_first) {
    int ends[2];
    MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0, ends) == 0);
    peer->socket = ends[1];
    peer->hears_first = hears_first;
    peer->size = script_messages(data, size, counts_opens, &peer->bytes);
    MUST(pthread_create(&peer->thread, NULL, script_run, peer) == 0);
    return ends[0];
}

static inline void script_join(script_peer *peer) {
    MUST(pthread_join(peer->thread, NULL) == 0);
    free(peer->bytes);
}

#endif
