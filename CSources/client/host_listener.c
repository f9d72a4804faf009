// SPDX-License-Identifier: Apache-2.0
// The host's sockets: a directory that we alone can write in, one living node a path, and only our own user's processes let in; to that of
// guarded readers also those of users whom the owner allowed.
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/file.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock_internal.h"
#include "client/host_internal.h"
#include "client/socket_internal.h"

#define BACKLOG 128
#define ACCEPTS_AT_ONCE 16 // then the clients that are in get their turn
#define REST_NS UINT64_C(100000000)

#ifndef SO_PEERPIDFD
#define SO_PEERPIDFD 77 // Linux 6.5
#endif

#define DIRECTORY_SIZE (sizeof(((struct sockaddr_un *)0)->sun_path) + 1)

static void directory_of(const char *socket_path, char path[static DIRECTORY_SIZE]) {
    snprintf(path, DIRECTORY_SIZE, "%s", socket_path);
    char *slash = strrchr(path, '/');
    if (slash == NULL) {
        snprintf(path, DIRECTORY_SIZE, ".");
    } else {
        slash[slash == path ? 1 : 0] = '\0';
    }
}

static ray_status open_directory(struct ray__listener *listener) {
    char path[DIRECTORY_SIZE];
    directory_of(listener->path, path);
    // Readers need to find the socket by its name, not to list the directory. The umask takes away what they need.
    bool made = mkdir(path, 0700) == 0;
    listener->made_directory = made;
    if ((!made && errno != EEXIST) || (made && listener->for_readers && chmod(path, 0711) != 0)) {
        return ray__fail_errno(RAY_SYSTEM, "cannot make the directory %s for the node's socket", path);
    }
    int opened = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    struct stat info;
    if (opened < 0 || fstat(opened, &info) != 0) {
        ray_status status = ray__fail_errno(RAY_SYSTEM, "cannot open the directory %s of the node's socket", path);
        if (opened >= 0) {
            close(opened);
        }
        return status;
    }
    if (info.st_uid != geteuid() || (info.st_mode & 022) != 0) {
        close(opened);
        return ray__fail(RAY_INVALID_ARGUMENT,
                         "the directory %s of the node's socket belongs to user %u and has mode %04o; it must be user %u's and writable by "
                         "no other, else they could put a false node there",
                         path, info.st_uid, info.st_mode & 07777, geteuid());
    }
    listener->directory_fd = opened;
    return RAY_OK;
}

// Removes a socket that nobody listens on any more. The directory is locked, so no node is between bind and listen.
static ray_status remove_stale(const char *path) {
    struct stat info;
    if (lstat(path, &info) != 0) {
        return errno == ENOENT ? RAY_OK : ray__fail_errno(RAY_SYSTEM, "cannot look at %s", path);
    }
    if (!S_ISSOCK(info.st_mode)) {
        return ray__fail(RAY_ADDRESS_IN_USE, "%s exists and is not a socket; remove it or choose another path", path);
    }
    int fd = -1;
    ray_status status = ray__socket_connect(path, 1000000, &fd);
    if (status == RAY_OK) {
        // A child that a dead node had forked may still hold its socket; nobody will ever answer there.
        struct ucred listener = {0};
        socklen_t size = sizeof listener;
        bool known = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &listener, &size) == 0 && listener.pid > 0;
        status = known && kill(listener.pid, 0) != 0 && errno == ESRCH ? RAY_NOT_RUNNING : RAY_OK;
        close(fd);
    }
    if (status == RAY_OK || status == RAY_TIMED_OUT) {
        return ray__fail(RAY_ADDRESS_IN_USE, "a node runs already at %s; stop it or choose another path", path);
    }
    if (status != RAY_NOT_RUNNING) {
        return status;
    }
    if (unlink(path) != 0 && errno != ENOENT) {
        return ray__fail_errno(RAY_SYSTEM, "cannot remove the stale socket %s", path);
    }
    return RAY_OK;
}

static ray_status bind_and_listen(struct ray__listener *listener, const struct sockaddr_un *address) {
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0) {
        return ray__fail_errno(RAY_SYSTEM, "cannot make a socket");
    }
    struct stat info;
    // The mode of the socket is the mode of its file, so it is never open to others, whatever the umask. That of readers is open to all:
    // let_in looks at who comes. Nobody else writes in the directory, so the name is still that of our socket.
    if (fchmod(fd, 0600) != 0 || bind(fd, (const struct sockaddr *)address, sizeof *address) != 0 ||
        (listener->for_readers && chmod(listener->path, 0666) != 0) || listen(fd, BACKLOG) != 0 || lstat(listener->path, &info) != 0) {
        ray_status status = ray__fail_errno(RAY_SYSTEM, "cannot listen at %s", listener->path);
        close(fd);
        return status;
    }
    listener->fd = fd;
    listener->socket_device = info.st_dev;
    listener->socket_inode = info.st_ino;
    return RAY_OK;
}

static ray_status begin_listening(struct ray__listener *listener) {
    struct sockaddr_un address;
    RAY_TRY(ray__socket_address(listener->path, &address));
    RAY_TRY(open_directory(listener));
    if (flock(listener->directory_fd, LOCK_EX) != 0) {
        return ray__fail_errno(RAY_SYSTEM, "cannot lock the directory of %s", listener->path);
    }
    ray_status status = remove_stale(listener->path);
    if (status == RAY_OK) {
        status = bind_and_listen(listener, &address);
    }
    flock(listener->directory_fd, LOCK_UN);
    return status;
}

ray_status ray__host_listen(ray_host *host) {
    for (uint32_t i = 0; i < RAY__LISTENER_COUNT; i++) {
        if (host->listeners[i].path != NULL) {
            RAY_TRY(begin_listening(&host->listeners[i]));
        }
    }
    return RAY_OK;
}

static void end_listening(struct ray__listener *listener) {
    if (listener->fd >= 0) {
        struct stat info;
        flock(listener->directory_fd, LOCK_EX);
        if (lstat(listener->path, &info) == 0 && info.st_dev == listener->socket_device && info.st_ino == listener->socket_inode) {
            unlink(listener->path);
        }
        // The owner's is its state directory, which stays. One that holds something else by now stays, too.
        char path[DIRECTORY_SIZE];
        directory_of(listener->path, path);
        if (listener->for_readers && listener->made_directory) {
            (void)rmdir(path);
        }
        flock(listener->directory_fd, LOCK_UN);
        close(listener->fd);
        listener->fd = -1;
    }
    if (listener->directory_fd >= 0) {
        close(listener->directory_fd);
        listener->directory_fd = -1;
    }
}

void ray__host_unlisten(ray_host *host) {
    for (uint32_t i = 0; i < RAY__LISTENER_COUNT; i++) {
        end_listening(&host->listeners[i]);
    }
}

// A descriptor that tells when the peer's process has ended.
static ray_status open_pid_fd(int fd, int64_t pid, int *pid_fd) {
    socklen_t size = sizeof *pid_fd;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERPIDFD, pid_fd, &size) == 0) {
        return RAY_OK;
    }
    int opened = pid > 0 ? (int)syscall(SYS_pidfd_open, (pid_t)pid, 0) : -1;
    if (opened < 0) {
        return ray__fail(RAY_UNSUPPORTED, "the node cannot watch process %lld; both must share a PID namespace, and Linux be 5.3 or later",
                         (long long)pid);
    }
    // The number may have been given to another process since the peer connected. It has not if the peer's socket is open still.
    struct pollfd peer = {.fd = fd, .events = POLLRDHUP};
    if (poll(&peer, 1, 0) != 0) {
        close(opened);
        return ray__fail(RAY_PEER_CLOSED, "the process ended while it attached");
    }
    *pid_fd = opened;
    return RAY_OK;
}

// Tells why, as far as the socket takes it at once, and closes.
static void turn_away(int fd, ray_status status) {
    const char *text = ray_last_error_message();
    struct ray__outbox outbox = {0};
    struct ray__parts parts = {.header = {.type = RAY__REFUSED, .status = status}, .text = text, .text_size = strlen(text)};
    (void)ray__outbox_send(&outbox, fd, &parts, RAY__OUT_MAX);
    ray__outbox_free(&outbox);
    close(fd);
}

// At the readers' socket come this process's own user and those whom the owner has allowed.
static ray_status check_reader(const ray_host *host, const struct ray__listener *listener, uint32_t uid) {
    bool allowed = uid == geteuid();
    for (uint32_t i = 0; i < host->reader_uid_count; i++) {
        allowed = allowed || host->reader_uids[i] == uid;
    }
    return allowed ? RAY_OK
                   : ray__fail(RAY_UNREACHABLE, "the node at %s does not allow user %u as a reader; its owner can, with --allow-reader %u",
                               listener->path, uid, uid);
}

static ray_status identify(const ray_host *host, const struct ray__listener *listener, int fd, struct ray__peer *peer) {
    if (!listener->for_readers) {
        RAY_TRY(ray__socket_check_peer(fd, listener->path, NULL));
    }
    RAY_TRY(ray__socket_peer(fd, listener->path, &peer->uid, &peer->pid));
    if (listener->for_readers) {
        RAY_TRY(check_reader(host, listener, peer->uid));
    }
    peer->is_foreign = listener->for_readers;
    if (peer->pid <= 0) {
        return ray__fail(RAY_UNSUPPORTED, "the node at %s cannot see this process; both must share a PID namespace", listener->path);
    }
    return RAY_OK;
}

static void let_in(ray_host *host, const struct ray__listener *listener, int fd) {
    struct ray__peer peer;
    int pid_fd = -1;
    ray_status status = identify(host, listener, fd, &peer);
    if (status == RAY_OK) {
        status = open_pid_fd(fd, peer.pid, &pid_fd);
    }
    if (status != RAY_OK) {
        turn_away(fd, status);
        return;
    }
    status = ray__connection_add(host, fd, pid_fd, &peer);
    if (status != RAY_OK) {
        turn_away(fd, status);
        close(pid_fd);
    }
}

static void listeners_watch(ray_host *host, bool on) {
    for (uint32_t i = 0; i < RAY__LISTENER_COUNT; i++) {
        struct epoll_event event = {.events = on ? EPOLLIN : 0, .data.u64 = (uint64_t)i << 2 | RAY__EVENT_LISTENER};
        if (host->listeners[i].fd >= 0) {
            (void)epoll_ctl(host->epoll_fd, EPOLL_CTL_MOD, host->listeners[i].fd, &event);
        }
    }
}

void ray__host_accept(ray_host *host, struct ray__listener *listener) {
    for (int i = 0; i < ACCEPTS_AT_ONCE; i++) {
        int fd = accept4(listener->fd, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd >= 0) {
            let_in(host, listener, fd);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            // They wait in the queue; looking again and again would burn a core.
            host->listen_again_ns = ray__deadline_ns(REST_NS);
            listeners_watch(host, false);
            return;
        } else if (errno != EINTR && errno != ECONNABORTED) {
            return;
        }
    }
}

void ray__host_listener_resume(ray_host *host) {
    if (host->listen_again_ns != 0 && ray__now_ns() >= host->listen_again_ns) {
        host->listen_again_ns = 0;
        listeners_watch(host, true);
    }
}
