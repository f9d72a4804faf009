// SPDX-License-Identifier: Apache-2.0
// Moving bytes over a stream. Sockets do not block; a call that would is followed by a poll together with the stop descriptor.
#include "transfer/connection_internal.h"

#include <errno.h>
#include <linux/tcp.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/clock_internal.h"
#include "base/error_internal.h"
#include "transfer/limits_internal.h"

// Until when a peer may take its time with so many bytes. Silence alone does not end one that takes a byte now and then.
static uint64_t taking_deadline(const ray__connection *connection, uint64_t size) {
    uint64_t span = size > UINT64_MAX / RAY__SECOND ? UINT64_MAX : size * RAY__SECOND / RAY__TAKING_RATE;
    return ray__deadline_ns(span > UINT64_MAX - connection->silent_ns ? UINT64_MAX : span + connection->silent_ns);
}

// Waits until the socket is ready, for at most the time a peer may be silent, and until the deadline.
static ray_status wait_ready(ray__connection *connection, short events, uint64_t end_ns) {
    uint64_t silent_until = ray__deadline_ns(connection->silent_ns);
    uint64_t deadline = silent_until < end_ns ? silent_until : end_ns;
    for (;;) {
        struct pollfd fds[2] = {
            {.fd = connection->socket, .events = events},
            {.fd = connection->stop, .events = POLLIN},
        };
        uint64_t now = ray__now_ns();
        if (now >= deadline && deadline != silent_until) {
            return ray__fail(RAY_TIMED_OUT, "%s takes less than %llu bytes a second", connection->peer,
                             (unsigned long long)RAY__TAKING_RATE);
        }
        if (now >= deadline) {
            return ray__fail(RAY_TIMED_OUT, "%s was silent for %llu ms", connection->peer,
                             (unsigned long long)(connection->silent_ns / 1000000));
        }
        uint64_t rest_ms = (deadline - now) / 1000000 + 1;
        int ready = poll(fds, 2, rest_ms > 3600000 ? 3600000 : (int)rest_ms);
        if (ready < 0 && errno != EINTR) {
            return ray__fail_errno(RAY_SYSTEM, "waiting for %s", connection->peer);
        }
        if (ready > 0 && fds[1].revents != 0) {
            return ray__fail(RAY_CANCELLED, "the connection to %s was stopped", connection->peer);
        }
        if (ready > 0 && fds[0].revents != 0) {
            return RAY_OK;
        }
    }
}

static ray_status broken(const ray__connection *connection) {
    if (errno == ETIMEDOUT) {
        return ray__fail_errno(RAY_TIMED_OUT, "%s does not answer any more", connection->peer);
    }
    return ray__fail_errno(RAY_PEER_CLOSED, "the connection to %s broke", connection->peer);
}

ray_status ray__connection_read_now(ray__connection *connection, void *bytes, size_t size, size_t *got) {
    for (;;) {
        ssize_t count = recv(connection->socket, bytes, size, MSG_DONTWAIT);
        if (count > 0) {
            *got = (size_t)count;
            return RAY_OK;
        }
        if (count == 0) {
            return ray__fail(RAY_PEER_CLOSED, "%s closed the connection", connection->peer);
        }
        if (errno == EAGAIN || errno == EWOULDBLOCK) {
            *got = 0;
            return RAY_OK;
        }
        if (errno != EINTR) {
            return broken(connection);
        }
    }
}

ray_status ray__connection_read_some(ray__connection *connection, void *bytes, size_t size, size_t *got) {
    for (;;) {
        RAY_TRY(ray__connection_read_now(connection, bytes, size, got));
        if (*got != 0) {
            return RAY_OK;
        }
        RAY_TRY(wait_ready(connection, POLLIN, UINT64_MAX));
    }
}

ray_status ray__connection_read(ray__connection *connection, void *bytes, size_t size) {
    uint8_t *at = bytes;
    while (size > 0) {
        size_t got;
        RAY_TRY(ray__connection_read_some(connection, at, size, &got));
        at += got;
        size -= got;
    }
    return RAY_OK;
}

ray_status ray__connection_write(ray__connection *connection, struct iovec *parts, int count, bool more) {
    uint64_t size = 0;
    for (int i = 0; i < count; i++) {
        size += parts[i].iov_len;
    }
    uint64_t end_ns = 0; // of the whole write; known when it has to wait
    while (count > 0) {
        if (parts->iov_len == 0) {
            parts++;
            count--;
            continue;
        }
        struct msghdr message = {.msg_iov = parts, .msg_iovlen = (size_t)count};
        ssize_t sent = sendmsg(connection->socket, &message, MSG_DONTWAIT | MSG_NOSIGNAL | (more ? MSG_MORE : 0));
        if (sent < 0) {
            if (errno == EAGAIN || errno == EWOULDBLOCK) {
                end_ns = end_ns == 0 ? taking_deadline(connection, size) : end_ns;
                RAY_TRY(wait_ready(connection, POLLOUT, end_ns));
            } else if (errno != EINTR) {
                return broken(connection);
            }
            continue;
        }
        size_t rest = (size_t)sent;
        while (count > 0 && rest >= parts->iov_len) {
            rest -= parts->iov_len;
            parts++;
            count--;
        }
        if (count > 0) {
            parts->iov_base = (uint8_t *)parts->iov_base + rest;
            parts->iov_len -= rest;
        }
    }
    return RAY_OK;
}

ray_status ray__connection_send_file(ray__connection *connection, int file, uint64_t offset, uint64_t size) {
    off_t at = (off_t)offset;
    uint64_t end_ns = 0;
    while (size > 0) {
        // The socket does not block (O_NONBLOCK is set on it), so neither does sendfile.
        ssize_t sent = sendfile(connection->socket, file, &at, size);
        if (sent > 0) {
            size -= (uint64_t)sent;
        } else if (sent == 0) {
            return ray__fail(RAY_SOURCE_CHANGED, "the file became shorter while it was sent to %s", connection->peer);
        } else if (errno == EAGAIN) {
            end_ns = end_ns == 0 ? taking_deadline(connection, size) : end_ns;
            RAY_TRY(wait_ready(connection, POLLOUT, end_ns));
        } else if (errno == EIO) {
            return ray__fail_errno(RAY_SYSTEM, "reading the file to send it to %s", connection->peer);
        } else if (errno != EINTR) {
            return broken(connection);
        }
    }
    return RAY_OK;
}

bool ray__connection_is_quiet(const ray__connection *connection) {
    struct pollfd fd = {.fd = connection->socket, .events = POLLIN | POLLRDHUP};
    return poll(&fd, 1, 0) == 0;
}

void ray__connection_close(ray__connection *connection) {
    if (connection->socket >= 0) {
        close(connection->socket);
        connection->socket = -1;
    }
}

uint64_t ray__connection_round_trip_ns(const ray__connection *connection) {
    struct tcp_info info;
    memset(&info, 0, sizeof info);
    socklen_t size = sizeof info;
    bool is_known = getsockopt(connection->socket, IPPROTO_TCP, TCP_INFO, &info, &size) == 0;
    return is_known && info.tcpi_min_rtt != UINT32_MAX ? (uint64_t)info.tcpi_min_rtt * 1000 : 0;
}

void ray__connection_bound_unsent(const ray__connection *connection, uint32_t bytes) {
    // Where the kernel refuses, it holds what it held before.
    (void)setsockopt(connection->socket, IPPROTO_TCP, TCP_NOTSENT_LOWAT, &bytes, sizeof bytes);
}

void ray__connection_drain(const ray__connection *connection, ray__drain *drain) {
    struct tcp_info info;
    memset(&info, 0, sizeof info);
    socklen_t size = sizeof info;
    drain->acked_bytes = 0;
    drain->limited_ns = 0;
    drain->receiver_ns = 0;
    if (getsockopt(connection->socket, IPPROTO_TCP, TCP_INFO, &info, &size) == 0) {
        drain->acked_bytes = info.tcpi_bytes_acked;
        uint64_t elsewhere = info.tcpi_rwnd_limited;
        drain->receiver_ns = elsewhere * 1000;
        drain->limited_ns = info.tcpi_busy_time > elsewhere ? (info.tcpi_busy_time - elsewhere) * 1000 : 0;
    }
}
