// SPDX-License-Identifier: Apache-2.0
#include "client/stream_internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#define INBOX_SIZE (16u << 10) // the usual messages are far smaller; a larger one gets a buffer of its own size

void ray__inbox_free(struct ray__inbox *inbox) {
    for (uint32_t i = 0; i < inbox->fd_count; i++) {
        close(inbox->fds[i]);
    }
    free(inbox->bytes);
    memset(inbox, 0, sizeof *inbox);
}

// Moves what is left to the front of a buffer that has room for `size` bytes. The memory of a long message is given back as soon as
// it is through.
static ray_status inbox_make_room(struct ray__inbox *inbox, size_t size) {
    size_t left = inbox->end - inbox->begin;
    size_t wanted = size > INBOX_SIZE ? size : INBOX_SIZE;
    if (inbox->begin > 0) {
        memmove(inbox->bytes, inbox->bytes + inbox->begin, left);
        inbox->begin = 0;
        inbox->end = left;
    }
    if (inbox->capacity == wanted || (inbox->capacity > wanted && left > wanted)) {
        return RAY_OK;
    }
    uint8_t *moved = realloc(inbox->bytes, wanted);
    if (moved == NULL) {
        return ray__fail(RAY_OUT_OF_MEMORY, "no memory for a message of %zu bytes", wanted);
    }
    inbox->bytes = moved;
    inbox->capacity = wanted;
    return RAY_OK;
}

// The size of the message at the front, as far as it is known.
static size_t inbox_message_size(const struct ray__inbox *inbox) {
    struct ray__message header;
    if (inbox->end - inbox->begin < sizeof header) {
        return sizeof header;
    }
    memcpy(&header, inbox->bytes + inbox->begin, sizeof header);
    // ray__inbox_next has refused a longer one before anybody asks for room.
    return sizeof header + (header.body_size <= RAY__BODY_MAX ? header.body_size : 0);
}

static ray_status inbox_keep_fds(struct ray__inbox *inbox, struct msghdr *message) {
    ray_status status = RAY_OK;
    for (struct cmsghdr *part = CMSG_FIRSTHDR(message); part != NULL; part = CMSG_NXTHDR(message, part)) {
        if (part->cmsg_level != SOL_SOCKET || part->cmsg_type != SCM_RIGHTS) {
            continue;
        }
        size_t count = (part->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < count; i++) {
            int fd;
            memcpy(&fd, CMSG_DATA(part) + i * sizeof fd, sizeof fd);
            if (inbox->fd_count < RAY__FDS_MAX) {
                inbox->fds[inbox->fd_count++] = fd;
            } else {
                close(fd);
                status = ray__fail(RAY_PROTOCOL, "the peer sent more than %d descriptors", RAY__FDS_MAX);
            }
        }
    }
    if (status == RAY_OK && (message->msg_flags & MSG_CTRUNC) != 0) {
        status = ray__fail(RAY_SYSTEM, "this process has no room for the node's descriptors; raise its limit of open files (ulimit -n)");
    }
    return status;
}

ray_status ray__inbox_receive(struct ray__inbox *inbox, int fd, bool with_fds) {
    RAY_TRY(inbox_make_room(inbox, inbox_message_size(inbox)));
    struct iovec into = {.iov_base = inbox->bytes + inbox->end, .iov_len = inbox->capacity - inbox->end};
    union {
        struct cmsghdr align;
        char bytes[CMSG_SPACE(RAY__FDS_MAX * sizeof(int))];
    } control;
    struct msghdr message = {.msg_iov = &into, .msg_iovlen = 1};
    if (with_fds) {
        message.msg_control = control.bytes;
        message.msg_controllen = sizeof control.bytes;
    }
    ssize_t got;
    do {
        got = recvmsg(fd, &message, MSG_DONTWAIT | MSG_CMSG_CLOEXEC);
    } while (got < 0 && errno == EINTR);
    if (got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK)) {
        return RAY_AGAIN;
    }
    if (got < 0 && errno != ECONNRESET) {
        return ray__fail_errno(RAY_SYSTEM, "cannot receive from the socket");
    }
    if (got <= 0) {
        return ray__fail(RAY_PEER_CLOSED, "the peer closed the socket");
    }
    inbox->end += (size_t)got;
    return with_fds ? inbox_keep_fds(inbox, &message) : RAY_OK;
}

ray_status ray__inbox_next(struct ray__inbox *inbox, size_t body_max, struct ray__message *header, const uint8_t **body) {
    size_t there = inbox->end - inbox->begin;
    if (there < sizeof *header) {
        return RAY_AGAIN;
    }
    memcpy(header, inbox->bytes + inbox->begin, sizeof *header);
    if (header->magic != RAY__MESSAGE_MAGIC || header->zero != 0) {
        return ray__fail(RAY_PROTOCOL, "the peer sent bytes that are no message");
    }
    if (header->body_size > body_max || header->text_size > header->body_size || header->text_size >= RAY_MESSAGE_MAX) {
        return ray__fail(RAY_PROTOCOL, "the peer announced a message of type %u with %u bytes, %u of them text; at most %zu are allowed",
                         header->type, header->body_size, header->text_size, body_max);
    }
    if (there - sizeof *header < header->body_size) {
        return RAY_AGAIN;
    }
    *body = inbox->bytes + inbox->begin + sizeof *header;
    inbox->begin += sizeof *header + header->body_size;
    return RAY_OK;
}

void ray__outbox_free(struct ray__outbox *outbox) {
    free(outbox->bytes);
    memset(outbox, 0, sizeof *outbox);
}

static ray_status send_failure(void) {
    if (errno == EPIPE || errno == ECONNRESET || errno == ENOTCONN) {
        return ray__fail(RAY_PEER_CLOSED, "the peer closed the socket");
    }
    return ray__fail_errno(RAY_SYSTEM, "cannot send to the socket");
}

// Sends once; *sent may be short or 0.
static ray_status send_once(int fd, struct msghdr *message, size_t *sent) {
    *sent = 0;
    ssize_t done;
    do {
        done = sendmsg(fd, message, MSG_DONTWAIT | MSG_NOSIGNAL);
    } while (done < 0 && errno == EINTR);
    if (done < 0) {
        return errno == EAGAIN || errno == EWOULDBLOCK ? RAY_OK : send_failure();
    }
    *sent = (size_t)done;
    return RAY_OK;
}

static ray_status outbox_make_room(struct ray__outbox *outbox, size_t size) {
    if (outbox->capacity - outbox->end >= size) {
        return RAY_OK;
    }
    size_t kept = ray__outbox_size(outbox);
    if (outbox->begin > 0) {
        memmove(outbox->bytes, outbox->bytes + outbox->begin, kept);
        outbox->begin = 0;
        outbox->end = kept;
    }
    if (outbox->capacity - kept >= size) {
        return RAY_OK;
    }
    size_t wanted = 2 * outbox->capacity > kept + size ? 2 * outbox->capacity : kept + size;
    uint8_t *moved = realloc(outbox->bytes, wanted);
    if (moved == NULL) {
        return ray__fail(RAY_OUT_OF_MEMORY, "no memory to keep %zu bytes for a peer that does not read", wanted);
    }
    outbox->bytes = moved;
    outbox->capacity = wanted;
    return RAY_OK;
}

// Keeps what lies beyond the first `sent` bytes.
static void outbox_append(struct ray__outbox *outbox, const void *bytes, size_t size, size_t *sent) {
    size_t skipped = *sent < size ? *sent : size;
    *sent -= skipped;
    if (size > skipped) {
        memcpy(outbox->bytes + outbox->end, (const uint8_t *)bytes + skipped, size - skipped);
        outbox->end += size - skipped;
    }
}

ray_status ray__outbox_send(struct ray__outbox *outbox, int fd, const struct ray__parts *parts, size_t limit) {
    struct ray__message header = parts->header;
    header.magic = RAY__MESSAGE_MAGIC;
    header.body_size = (uint32_t)(parts->text_size + parts->payload_size);
    header.text_size = (uint32_t)parts->text_size;
    size_t total = sizeof header + header.body_size;
    if (ray__outbox_size(outbox) + total > limit) {
        return ray__fail(RAY_AGAIN, "the peer has not read %zu bytes yet", ray__outbox_size(outbox));
    }
    size_t sent = 0;
    if (ray__outbox_size(outbox) == 0) {
        struct iovec from[3] = {{&header, sizeof header},
                                {(void *)(uintptr_t)parts->text, parts->text_size},
                                {(void *)(uintptr_t)parts->payload, parts->payload_size}};
        struct msghdr message = {.msg_iov = from, .msg_iovlen = 3};
        union {
            struct cmsghdr align;
            char bytes[CMSG_SPACE(RAY__FDS_MAX * sizeof(int))];
        } control;
        if (parts->fd_count > 0) {
            memset(&control, 0, sizeof control);
            message.msg_control = control.bytes;
            message.msg_controllen = CMSG_SPACE(parts->fd_count * sizeof(int));
            struct cmsghdr *rights = CMSG_FIRSTHDR(&message);
            rights->cmsg_level = SOL_SOCKET;
            rights->cmsg_type = SCM_RIGHTS;
            rights->cmsg_len = CMSG_LEN(parts->fd_count * sizeof(int));
            memcpy(CMSG_DATA(rights), parts->fds, parts->fd_count * sizeof(int));
        }
        RAY_TRY(send_once(fd, &message, &sent));
    }
    if (sent == total) {
        return RAY_OK;
    }
    if (sent == 0 && parts->fd_count > 0) {
        return ray__fail(RAY_SYSTEM, "the socket does not take the descriptors");
    }
    RAY_TRY(outbox_make_room(outbox, total - sent));
    outbox_append(outbox, &header, sizeof header, &sent);
    outbox_append(outbox, parts->text, parts->text_size, &sent);
    outbox_append(outbox, parts->payload, parts->payload_size, &sent);
    return RAY_OK;
}

ray_status ray__outbox_flush(struct ray__outbox *outbox, int fd) {
    while (ray__outbox_size(outbox) > 0) {
        struct iovec from = {.iov_base = outbox->bytes + outbox->begin, .iov_len = ray__outbox_size(outbox)};
        struct msghdr message = {.msg_iov = &from, .msg_iovlen = 1};
        size_t sent;
        RAY_TRY(send_once(fd, &message, &sent));
        if (sent == 0) {
            return RAY_AGAIN;
        }
        outbox->begin += sent;
    }
    ray__outbox_free(outbox);
    return RAY_OK;
}
