// SPDX-License-Identifier: Apache-2.0
// The inside of a ray_host.
//
// One thread (host.c) waits on everything and runs every callback. What any thread may touch, the table and each connection's
// socket, outbox and state, is under the host's lock; a connection is freed by the host's thread alone.
//
//   state       from                        to
//   NEW         accepted                    ATTACHING (attach request), gone
//   ATTACHING   slot claimed, node asked    WELCOMED, REFUSED, gone
//   REFUSED     the node's no is sent       gone
//   WELCOMED    the store's descriptors     ENDED (socket closed while the process runs), gone (goodbye, or the process ended)
//               are with the client
//   ENDED       disconnected, runs on       gone (the process ended)
#ifndef RAY_CLIENT_HOST_INTERNAL_H
#define RAY_CLIENT_HOST_INTERNAL_H

#include <pthread.h>
#include <sys/stat.h>

#include "base/fork_internal.h"
#include "client/stream_internal.h"

// Places for connections: a slot each, and as many again for processes that are still attaching or being refused. A power of two.
#define RAY__CONNECTIONS_MAX (2u * RAY_CLIENTS_MAX)

enum ray__connection_state { RAY__NEW, RAY__ATTACHING, RAY__REFUSED_BY_NODE, RAY__WELCOMED, RAY__ENDED };

struct ray__connection {
    uint64_t id; // serial number and place in the table
    int fd;      // -1: closed
    int pid_fd;
    int64_t pid;
    uint32_t slot; // RAY_NODE_SLOT: none
    uint32_t request_count; // without an answer
    enum ray__connection_state state;
    bool doomed;  // the host's thread is to disconnect it
    bool writing; // the outbox waits for the socket
    uint64_t attach_deadline_ns;
    struct ray__outbox outbox;
    struct ray__inbox inbox; // the host thread's alone
};

struct ray_host {
    ray_store *store;
    ray_host_callbacks callbacks;
    void *context;
    char *socket_path;
    int directory_fd; // locked while a socket is made or removed in it
    int listen_fd;
    dev_t socket_device; // of the socket's file, to remove no other's
    ino_t socket_inode;
    int epoll_fd;
    int wake_fd;
    uint32_t fork_generation;
    pthread_t thread;
    uint64_t listen_again_ns; // the listener rests until then, for want of descriptors; 0: it does not rest

    pthread_mutex_t lock; // guards what follows
    bool stopping;
    bool any_doomed;
    uint64_t serial;
    struct ray__connection *connections[RAY__CONNECTIONS_MAX];
};

// What an event of the epoll means: a connection's id, or one of the host's own, shifted by two bits for the kind.
enum { RAY__EVENT_SOCKET = 0, RAY__EVENT_PROCESS = 1, RAY__EVENT_LISTENER = 2, RAY__EVENT_WAKE = 3 };

// ---- host_listener.c: the directory, the socket, and who comes in ---------------------------------------------------------

ray_status ray__host_listen(ray_host *host);
void ray__host_unlisten(ray_host *host);

// Takes in those who knock, as far as there are descriptors and places.
void ray__host_accept(ray_host *host);
void ray__host_listener_resume(ray_host *host);

// ---- host_connection.c: one client, on the host's thread ----------------------------------------------------------------

// Owns both descriptors on success.
ray_status ray__connection_add(ray_host *host, int fd, int pid_fd, int64_t pid);

void ray__connection_readable(ray_host *host, struct ray__connection *connection);
void ray__connection_writable(ray_host *host, struct ray__connection *connection);

// Closes the socket. The client is gone if it cannot touch the store, else when its process ends.
void ray__connection_disconnect(ray_host *host, struct ray__connection *connection);

// The client is gone: reaps its slot, tells the node, frees the connection.
void ray__connection_gone(ray_host *host, struct ray__connection *connection);

// The host stops while the client's process runs on: its slot stays taken, nobody is told.
void ray__connection_abandon(ray_host *host, struct ray__connection *connection);

// ---- host_replies.c: any thread -----------------------------------------------------------------------------------------

struct ray__connection *ray__connection_find(ray_host *host, uint64_t id); // the lock is held

// Sends or keeps a message; dooms a connection that does not read or cannot be written to. The lock is held.
void ray__connection_post(ray_host *host, struct ray__connection *connection, const struct ray__parts *parts);

#endif
