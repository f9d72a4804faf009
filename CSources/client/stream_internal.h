// SPDX-License-Identifier: Apache-2.0
// Messages in and out of a stream socket, without blocking: what has arrived of a message, and what waits to be sent.
#ifndef RAY_CLIENT_STREAM_INTERNAL_H
#define RAY_CLIENT_STREAM_INTERNAL_H

#include "client/messages_internal.h"

#define RAY__FDS_MAX 2

// Bytes received. Holds at most one buffer's worth, or one whole message if that is longer.
struct ray__inbox {
    uint8_t *bytes;
    size_t capacity;
    size_t begin; // of what was not taken yet
    size_t end;
    int fds[RAY__FDS_MAX]; // that came along, if asked for
    uint32_t fd_count;
};

void ray__inbox_free(struct ray__inbox *inbox); // closes descriptors that nobody took

// Receives once; only when ray__inbox_next has answered RAY_AGAIN. RAY_OK: there is more; RAY_AGAIN: nothing there; RAY_PEER_CLOSED; RAY_PROTOCOL: more descriptors than are
// allowed. with_fds says whether descriptors may come; if not, the kernel discards them.
ray_status ray__inbox_receive(struct ray__inbox *inbox, int fd, bool with_fds);

// Takes the next whole message. *body is valid until the next call with this inbox. RAY_AGAIN: not all there; RAY_PROTOCOL: what is
// there is no message, or its body is longer than body_max.
ray_status ray__inbox_next(struct ray__inbox *inbox, size_t body_max, struct ray__message *header, const uint8_t **body);

// Bytes that the peer did not take yet. The caller's lock guards it.
struct ray__outbox {
    uint8_t *bytes;
    size_t capacity;
    size_t begin;
    size_t end;
};

void ray__outbox_free(struct ray__outbox *outbox);

static inline size_t ray__outbox_size(const struct ray__outbox *outbox) {
    return outbox->end - outbox->begin;
}

// A message to send: header.body_size is text_size + payload_size.
struct ray__parts {
    struct ray__message header;
    const void *text;
    size_t text_size;
    const void *payload;
    size_t payload_size;
    const int *fds;
    uint32_t fd_count;
};

// Sends, or keeps what the socket does not take. RAY_AGAIN: more than limit would be kept, nothing was done; RAY_PEER_CLOSED; RAY_SYSTEM,
// RAY_OUT_OF_MEMORY: the stream is broken. Descriptors go with the first byte: only into an empty outbox.
ray_status ray__outbox_send(struct ray__outbox *outbox, int fd, const struct ray__parts *parts, size_t limit);

// Sends what was kept, as far as the socket takes it. RAY_OK if nothing is left, RAY_AGAIN if something is.
ray_status ray__outbox_flush(struct ray__outbox *outbox, int fd);

#endif
