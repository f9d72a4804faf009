// SPDX-License-Identifier: Apache-2.0
// Making connections: connect, listen, accept, and the proof of the key.
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/clock_internal.h"
#include "base/error_internal.h"
#include "transfer/connection_internal.h"
#include "transfer/pacing_internal.h"

#define BACKLOG 1024 // beyond, a connect waits for a second and longer

// Notices a machine that is gone although nothing is being sent to it (keepalive), or does not acknowledge (user timeout).
static void set_options(int socket) {
    int on = 1;
    int idle_s = 10;
    int interval_s = 5;
    int probes = 3;
    unsigned int unacked_ms = 10000;
    setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(socket, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(socket, IPPROTO_TCP, TCP_KEEPIDLE, &idle_s, sizeof idle_s);
    setsockopt(socket, IPPROTO_TCP, TCP_KEEPINTVL, &interval_s, sizeof interval_s);
    setsockopt(socket, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
    setsockopt(socket, IPPROTO_TCP, TCP_USER_TIMEOUT, &unacked_ms, sizeof unacked_ms);
}

static uint16_t port_of(const struct sockaddr_storage *address) {
    if (address->ss_family == AF_INET) {
        return ntohs(((const struct sockaddr_in *)address)->sin_port);
    }
    return address->ss_family == AF_INET6 ? ntohs(((const struct sockaddr_in6 *)address)->sin6_port) : 0;
}

static bool same_host(const struct sockaddr_storage *a, const struct sockaddr_storage *b) {
    if (a->ss_family != b->ss_family) {
        return false;
    }
    if (a->ss_family == AF_INET) {
        return ((const struct sockaddr_in *)a)->sin_addr.s_addr == ((const struct sockaddr_in *)b)->sin_addr.s_addr;
    }
    return memcmp(&((const struct sockaddr_in6 *)a)->sin6_addr, &((const struct sockaddr_in6 *)b)->sin6_addr,
                  sizeof(struct in6_addr)) == 0;
}

enum peer { PEER_OTHER, PEER_OWN_LISTENER, PEER_OWN_SOCKET };

// A holder list may name this very process, under whatever name; a socket whose two ends are one machine and whose peer is our own
// listener tells. A connect to a free local port can even meet itself: then nobody listens there.
static enum peer peer_of(int socket, uint16_t own_port) {
    struct sockaddr_storage here;
    struct sockaddr_storage there;
    socklen_t here_size = sizeof here;
    socklen_t there_size = sizeof there;
    if (getsockname(socket, (struct sockaddr *)&here, &here_size) != 0 ||
        getpeername(socket, (struct sockaddr *)&there, &there_size) != 0 || !same_host(&here, &there)) {
        return PEER_OTHER;
    }
    if (port_of(&there) == port_of(&here)) {
        return PEER_OWN_SOCKET;
    }
    return own_port != 0 && port_of(&there) == own_port ? PEER_OWN_LISTENER : PEER_OTHER;
}

// Connects to one address. Answers 0 or an errno; ECANCELED when stopped.
static int connect_to(int socket, const struct addrinfo *address, uint64_t deadline, int stop) {
    if (connect(socket, address->ai_addr, address->ai_addrlen) == 0) {
        return 0;
    }
    if (errno != EINPROGRESS) {
        return errno;
    }
    for (;;) {
        uint64_t now = ray__now_ns();
        if (now >= deadline) {
            return ETIMEDOUT;
        }
        struct pollfd fds[2] = {{.fd = socket, .events = POLLOUT}, {.fd = stop, .events = POLLIN}};
        int ready = poll(fds, 2, (int)((deadline - now) / 1000000 + 1));
        if (ready < 0 && errno != EINTR) {
            return errno;
        }
        if (ready > 0 && fds[1].revents != 0) {
            return ECANCELED;
        }
        if (ready > 0 && fds[0].revents != 0) {
            int error = 0;
            socklen_t size = sizeof error;
            return getsockopt(socket, SOL_SOCKET, SO_ERROR, &error, &size) == 0 ? error : errno;
        }
    }
}

ray_status ray__connection_open(const ray_endpoint *to, uint64_t timeout_ns, int stop, uint16_t own_port,
                                ray__connection *connection) {
    memset(connection, 0, sizeof *connection);
    connection->socket = -1;
    connection->stop = stop;
    snprintf(connection->peer, sizeof connection->peer, "%s:%u", to->host, to->port);
    char service[8];
    snprintf(service, sizeof service, "%u", to->port);
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *addresses = NULL;
    int found = getaddrinfo(to->host, service, &hints, &addresses);
    if (found != 0) {
        return ray__fail(RAY_UNREACHABLE, "cannot find the address of %s: %s", connection->peer, gai_strerror(found));
    }
    uint64_t deadline = ray__deadline_ns(timeout_ns);
    int error = EADDRNOTAVAIL;
    for (const struct addrinfo *address = addresses; address != NULL && error != 0 && error != ECANCELED; address = address->ai_next) {
        int made = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
        if (made < 0) {
            error = errno;
            continue;
        }
        error = connect_to(made, address, deadline, stop);
        if (error == 0) {
            connection->socket = made;
        } else {
            close(made);
        }
    }
    freeaddrinfo(addresses);
    if (error == ECANCELED) {
        return ray__fail(RAY_CANCELLED, "connecting to %s was stopped", connection->peer);
    }
    if (error != 0) {
        errno = error;
        return ray__fail_errno(RAY_UNREACHABLE, "cannot connect to %s", connection->peer);
    }
    enum peer peer = peer_of(connection->socket, own_port);
    if (peer != PEER_OTHER) {
        ray__connection_close(connection);
        return peer == PEER_OWN_SOCKET ? ray__fail(RAY_UNREACHABLE, "cannot connect to %s: nobody listens there", connection->peer)
                                       : ray__fail(RAY_EXISTS, "%s is this process itself", connection->peer);
    }
    set_options(connection->socket);
    return RAY_OK;
}

ray_status ray__listener_open(const char *host, uint16_t port, int *listener, uint16_t *bound_port) {
    char service[8];
    snprintf(service, sizeof service, "%u", port);
    struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV | AI_PASSIVE};
    struct addrinfo *address = NULL;
    int found = getaddrinfo(host, service, &hints, &address);
    if (found != 0) {
        return ray__fail(RAY_INVALID_ARGUMENT, "cannot listen at %s: %s", host, gai_strerror(found));
    }
    ray_status status = RAY_OK;
    int made = socket(address->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (made < 0) {
        status = ray__fail_errno(RAY_SYSTEM, "a socket for %s", host);
        goto out_free_address;
    }
    int on = 1;
    setsockopt(made, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    ray__pacing_begin(made);
    if (bind(made, address->ai_addr, address->ai_addrlen) != 0 || listen(made, BACKLOG) != 0) {
        ray_status kind = errno == EADDRINUSE ? RAY_ADDRESS_IN_USE : errno == EADDRNOTAVAIL ? RAY_INVALID_ARGUMENT : RAY_SYSTEM;
        status = ray__fail_errno(kind, "cannot listen at %s:%u; give another port, or 0 for any", host, port);
        goto out_close;
    }
    struct sockaddr_storage bound;
    socklen_t size = sizeof bound;
    if (getsockname(made, (struct sockaddr *)&bound, &size) != 0) {
        status = ray__fail_errno(RAY_SYSTEM, "the port of %s", host);
        goto out_close;
    }
    *bound_port = port_of(&bound);
    *listener = made;
    goto out_free_address;
out_close:
    close(made);
out_free_address:
    freeaddrinfo(address);
    return status;
}

ray_status ray__listener_accept(int listener, int stop, ray__connection *connection) {
    struct sockaddr_storage from;
    socklen_t size = sizeof from;
    int made = accept4(listener, (struct sockaddr *)&from, &size, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (made < 0) {
        bool gone = errno == EAGAIN || errno == EINTR || errno == ECONNABORTED;
        return ray__fail_errno(gone ? RAY_AGAIN : RAY_SYSTEM, "accepting a connection");
    }
    set_options(made);
    memset(connection, 0, sizeof *connection);
    connection->socket = made;
    connection->stop = stop;
    char host[64] = "?";
    getnameinfo((struct sockaddr *)&from, size, host, sizeof host, NULL, 0, NI_NUMERICHOST);
    snprintf(connection->peer, sizeof connection->peer, "%s:%u", host, port_of(&from));
    return RAY_OK;
}

static ray_status exchange(ray__connection *connection, ray_auth *auth, uint64_t deadline) {
    uint8_t in[RAY_AUTH_MESSAGE_MAX];
    size_t in_size = 0;
    for (;;) {
        uint8_t out[RAY_AUTH_MESSAGE_MAX];
        size_t out_size = 0;
        size_t consumed = 0;
        ray_status step = ray_auth_step(auth, in, in_size, &consumed, out, &out_size);
        char reason[RAY_MESSAGE_MAX];
        snprintf(reason, sizeof reason, "%s", step == RAY_OK || step == RAY_AGAIN ? "" : ray_last_error_message());
        struct iovec part = {out, out_size};
        ray_status sent = ray__connection_write(connection, &part, 1, false);
        if (step != RAY_OK && step != RAY_AGAIN) {
            return ray__fail(step, "%s: %.400s", connection->peer, reason);
        }
        RAY_TRY(sent);
        memmove(in, in + consumed, in_size - consumed);
        in_size -= consumed;
        if (step == RAY_OK) {
            // Neither end may speak the next protocol before the other has proved itself.
            return in_size == 0 ? RAY_OK : ray__fail(RAY_PROTOCOL, "%s spoke before its turn", connection->peer);
        }
        if (in_size > 0 && consumed > 0) {
            continue;
        }
        uint64_t now = ray__now_ns();
        if (now >= deadline || in_size == sizeof in) {
            return ray__fail(RAY_TIMED_OUT, "%s did not prove the cluster's key in time", connection->peer);
        }
        connection->silent_ns = deadline - now;
        size_t got = 0;
        RAY_TRY(ray__connection_read_some(connection, in + in_size, sizeof in - in_size, &got));
        in_size += got;
    }
}

ray_status ray__connection_prove(ray__connection *connection, const ray_key *key, uint32_t role, uint64_t timeout_ns) {
    ray_auth *auth = NULL;
    RAY_TRY(ray_auth_create(key, role, RAY_PURPOSE_BULK, &auth));
    connection->silent_ns = timeout_ns;
    ray_status status = exchange(connection, auth, ray__deadline_ns(timeout_ns));
    ray_auth_destroy(auth);
    return status;
}
