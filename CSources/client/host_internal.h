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

struct ray__reader; // guarded_host.c

struct ray__connection {
    uint64_t id; // serial number and place in the table
    int fd;      // -1: closed
    int pid_fd;
    int64_t pid;
    uint32_t uid;
    bool is_foreign;            // it came to the readers' socket, so it can only be a guarded reader
    bool is_reader;             // a guarded reader: it never maps the store, so it is gone with its socket
    struct ray__reader *reader; // the host thread's alone
    uint32_t slot; // RAY_NODE_SLOT: none
    uint32_t request_count; // without an answer
    enum ray__connection_state state;
    bool doomed;  // the host's thread is to disconnect it
    bool writing; // the outbox waits for the socket
    uint64_t attach_deadline_ns;
    struct ray__outbox outbox;
    struct ray__inbox inbox; // the host thread's alone
};

// A socket that clients come to.
struct ray__listener {
    char *path;       // NULL: there is none
    int directory_fd; // locked while a socket is made or removed in it
    int fd;
    dev_t socket_device; // of the socket's file, to remove no other's
    ino_t socket_inode;
    bool for_readers;
    bool made_directory;
};

enum { RAY__LISTENER_COUNT = 2 }; // the owner's, the readers'

struct ray_host {
    ray_store *store;
    ray_host_callbacks callbacks;
    void *context;
    char *socket_path;
    struct ray__listener listeners[RAY__LISTENER_COUNT];
    uint32_t *reader_uids; // sorted out at the start, never changed
    uint32_t reader_uid_count;
    uint32_t reader_count_max;
    int epoll_fd;
    int wake_fd;
    uint32_t fork_generation;
    pthread_t thread;
    uint64_t listen_again_ns; // the listeners rest until then, for want of descriptors; 0: they do not rest

    pthread_mutex_t lock; // guards what follows
    bool stopping;
    bool any_doomed;
    uint64_t serial;
    struct ray__connection *connections[RAY__CONNECTIONS_MAX];
};

// What an event of the epoll means: a connection's id, a listener's index, or 0, shifted by two bits for the kind.
enum { RAY__EVENT_SOCKET = 0, RAY__EVENT_PROCESS = 1, RAY__EVENT_LISTENER = 2, RAY__EVENT_WAKE = 3 };

// ---- host_listener.c: the directory, the socket, and who comes in ---------------------------------------------------------

ray_status ray__host_listen(ray_host *host);
void ray__host_unlisten(ray_host *host);

// Takes in those who knock, as far as there are descriptors and places.
void ray__host_accept(ray_host *host, struct ray__listener *listener);
void ray__host_listener_resume(ray_host *host);

// ---- host_connection.c: one client, on the host's thread ----------------------------------------------------------------

struct ray__peer {
    int64_t pid;
    uint32_t uid;
    bool is_foreign;
};

// Owns both descriptors on success.
ray_status ray__connection_add(ray_host *host, int fd, int pid_fd, const struct ray__peer *peer);

// Whether the client can touch the store for as long as its process runs. The lock is held.
static inline bool ray__connection_has_store(const struct ray__connection *connection) {
    return !connection->is_reader && (connection->state == RAY__WELCOMED || connection->state == RAY__ENDED);
}

void ray__connection_readable(ray_host *host, struct ray__connection *connection);
void ray__connection_writable(ray_host *host, struct ray__connection *connection);

// Closes the socket. The client is gone if it cannot touch the store, else when its process ends.
void ray__connection_disconnect(ray_host *host, struct ray__connection *connection);

// The client is gone: reaps its slot, tells the node, frees the connection.
void ray__connection_gone(ray_host *host, struct ray__connection *connection);

// The host stops while the client's process runs on: its slot stays taken, nobody is told.
void ray__connection_abandon(ray_host *host, struct ray__connection *connection);

// ---- guarded_host.c: what the node does for a guarded reader, on the host's thread ------------------------------------------

// Attaches to the store with the slot that was claimed for the connection.
ray_status ray__reader_begin(ray_host *host, struct ray__connection *connection);

// Drops all that the node holds for it. Accepts NULL.
void ray__reader_end(struct ray__reader *reader);

// Whether a request changes nothing and may go to the node; and whether the host answers it by itself.
bool ray__reader_may_ask(uint16_t request);
bool ray__reader_is_own(uint16_t request);

// Answers one.
void ray__reader_serve(ray_host *host, struct ray__connection *connection, const struct ray__message *header, const uint8_t *body);

// Does what a TELL says. False: it makes no sense, so its sender is to be disconnected.
bool ray__reader_told(struct ray__connection *connection, uint16_t what, const uint8_t *body, size_t size);

// ---- host_replies.c: any thread -----------------------------------------------------------------------------------------

struct ray__connection *ray__connection_find(ray_host *host, uint64_t id); // the lock is held

// Sends or keeps a message; dooms a connection that does not read or cannot be written to. The lock is held.
void ray__connection_post(ray_host *host, struct ray__connection *connection, const struct ray__parts *parts);

#endif
