// SPDX-License-Identifier: Apache-2.0
// What both ends need to know of Unix sockets, and a thread's start.
#ifndef RAY_CLIENT_SOCKET_INTERNAL_H
#define RAY_CLIENT_SOCKET_INTERNAL_H

#include <pthread.h>
#include <sys/socket.h>
#include <sys/un.h>

#include "base/error_internal.h"

// The address of a path, which must fit one (107 bytes).
ray_status ray__socket_address(const char *path, struct sockaddr_un *address);

// Connects a new blocking socket. RAY_NOT_RUNNING: nobody listens there; RAY_TIMED_OUT: it listens but takes nobody in;
// RAY_UNREACHABLE: not ours to open.
ray_status ray__socket_connect(const char *path, uint64_t timeout_ns, int *fd);

// Who is at the other end of a connected socket, as the kernel knows it.
ray_status ray__socket_peer(int fd, const char *path, uint32_t *uid, int64_t *pid);

// The peer must belong to the user that this process runs as. pid may be NULL.
ray_status ray__socket_check_peer(int fd, const char *path, int64_t *pid);

// Wakes whoever polls this eventfd; empties it again.
void ray__event_set(int event_fd);
void ray__event_clear(int event_fd);

#endif
