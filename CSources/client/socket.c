// SPDX-License-Identifier: Apache-2.0
#include "client/socket_internal.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

ray_status ray__socket_address(const char *path, struct sockaddr_un *address) {
    size_t length = strlen(path);
    if (length == 0 || length >= sizeof address->sun_path) {
        return ray__fail(RAY_INVALID_ARGUMENT, "the socket path '%.200s' has %zu bytes; it must have 1 to %zu, so choose a shorter directory",
                         path, length, sizeof address->sun_path - 1);
    }
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    memcpy(address->sun_path, path, length);
    return RAY_OK;
}

static ray_status connect_failure(const char *path) {
    switch (errno) {
    case ENOENT:
    case ENOTDIR:
    case ECONNREFUSED:
        return ray__fail_errno(RAY_NOT_RUNNING, "no node answers at %s; start one, or name the socket of one that runs", path);
    case EAGAIN:
        return ray__fail(RAY_TIMED_OUT, "the node at %s takes nobody in: its queue is full", path);
    case EACCES:
    case EPERM:
        return ray__fail_errno(RAY_UNREACHABLE, "the node at %s belongs to another user", path);
    default:
        return ray__fail_errno(RAY_SYSTEM, "cannot connect to %s", path);
    }
}

ray_status ray__socket_connect(const char *path, uint64_t timeout_ns, int *fd) {
    struct sockaddr_un address;
    RAY_TRY(ray__socket_address(path, &address));
    int made = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (made < 0) {
        return ray__fail_errno(RAY_SYSTEM, "cannot make a socket");
    }
    // While the listener's queue is full a Unix connect waits, and this is the limit it keeps. 0 would be no limit.
    uint64_t limit_us = timeout_ns / 1000 > 0 ? timeout_ns / 1000 : 1;
    limit_us = limit_us > UINT64_C(1000000000000) ? UINT64_C(1000000000000) : limit_us;
    struct timeval limit = {.tv_sec = (time_t)(limit_us / 1000000), .tv_usec = (suseconds_t)(limit_us % 1000000)};
    int result = setsockopt(made, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    if (result == 0) {
        // An interrupted connect of a Unix socket has not begun: it can be asked again.
        do {
            result = connect(made, (const struct sockaddr *)&address, sizeof address);
        } while (result != 0 && errno == EINTR);
    }
    if (result != 0) {
        ray_status status = connect_failure(path);
        close(made);
        return status;
    }
    *fd = made;
    return RAY_OK;
}

ray_status ray__socket_peer(int fd, const char *path, uint32_t *uid, int64_t *pid) {
    struct ucred peer;
    socklen_t size = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) != 0) {
        return ray__fail_errno(RAY_SYSTEM, "cannot tell who is at the other end of %s", path);
    }
    *uid = peer.uid;
    *pid = peer.pid;
    return RAY_OK;
}

ray_status ray__socket_check_peer(int fd, const char *path, int64_t *pid) {
    uint32_t uid = 0;
    int64_t found = 0;
    RAY_TRY(ray__socket_peer(fd, path, &uid, &found));
    if (uid != geteuid()) {
        return ray__fail(RAY_UNREACHABLE, "the process at the other end of %s runs as user %u, this one as user %u; a node serves its own user only",
                         path, uid, geteuid());
    }
    if (pid != NULL) {
        *pid = found;
    }
    return RAY_OK;
}

void ray__event_set(int event_fd) {
    uint64_t one = 1;
    // It fails only when the counter is full, and then the sleeper is awake already.
    (void)!write(event_fd, &one, sizeof one);
}

void ray__event_clear(int event_fd) {
    uint64_t count;
    (void)!read(event_fd, &count, sizeof count);
}
