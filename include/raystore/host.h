// SPDX-License-Identifier: Apache-2.0
// Host: the node's end of its clients' sockets.
//
// A host listens on a Unix socket in a directory of mode 0700, admits processes of the same user only (SO_PEERCRED), gives each the
// store's descriptors and a slot, and hands their requests to the node. When a client is gone, the host reaps its slot and then
// says so.
//
// Guarded readers (client.h) may be let in too: at a second socket, in a directory that others may enter, come processes of the users whom
// the owner allowed. They get a descriptor of the data segment that cannot be mapped or reopened for writing, and nothing else; the host pins
// for each with a slot of its own. Only requests that change nothing reach the node. A reader is gone when its connection is.
//
// When a client is gone: a process that has mapped the store may touch it for as long as it runs, whatever became of its socket. So a
// client is gone when it said goodbye (ray_client_close does, once the store is unmapped), or when its process has ended (a
// pidfd tells; a fork's child that still has the socket open changes nothing). A client that was disconnected but runs on keeps
// its slot, and detached comes when it ends.
//
// A client is disconnected when it sends what is no message, or leaves more than 64 MiB of answers unread; no other client
// notices. A client's request beyond 16,384 that wait for an answer is answered with RAY_AGAIN by the host itself.
//
// Thread safety: functions may be called from any thread, callbacks too, but ray_host_stop not from a callback. Callbacks come from the
// host's one thread, in order, and must not block: take the request and answer later.
#ifndef RAYSTORE_HOST_H
#define RAYSTORE_HOST_H

#include "client.h"

RAY_BEGIN_DECLS
RAY_ASSUME_NONNULL_BEGIN

typedef struct ray_host ray_host;

typedef struct ray_attach_request {
    int64_t pid;
    uint32_t slot;
    uint32_t slot_serial;          // ray_store_slot_serial of the slot for this client
    uint32_t job;                  // to join; 0: a new one; or RAY_JOB_NONE
    const char *name_space;        // "" for the job's own
    uint32_t uid;
    bool is_guarded_reader;        // its slot is used by the host, on its behalf
} ray_attach_request;

typedef struct ray_host_callbacks {
    // A client wants in. Answer with ray_host_welcome or ray_host_refuse, now or later. `client` is never used twice.
    void (*attached)(void *RAY_NULLABLE context, uint64_t client, const ray_attach_request *request);
    // A request of a welcomed client. Answer it exactly once with ray_host_reply. The payload is valid during the call.
    void (*requested)(void *RAY_NULLABLE context, uint64_t client, uint64_t request_id, uint16_t request,
                      const void *payload, size_t payload_size);
    // The client gave a request up. It must still be answered.
    void (*cancelled)(void *RAY_NULLABLE context, uint64_t client, uint64_t request_id);
    // The client is gone and its slot is reaped. Answers to it are dropped from now on (and from the end of its socket on). Comes once for
    // every attached client, except for one that was refused, and one that still runs when the host is stopped.
    void (*detached)(void *RAY_NULLABLE context, uint64_t client, uint32_t slot);
} ray_host_callbacks;

typedef struct ray_host_options {
    uint32_t struct_size;
    const char *socket_path;       // its directory is made with mode 0700 if missing
    ray_store *store;
    ray_host_callbacks callbacks;
    void *RAY_NULLABLE context;
    const char *RAY_NULLABLE reader_socket_path; // of guarded readers; its directory is made with mode 0711 if missing. NULL: none
    const uint32_t *RAY_NULLABLE reader_uids;    // who may come there beside this process's own user; copied
    uint32_t reader_uid_count;
    uint32_t reader_count_max;     // guarded readers at a time, at either socket; 0: 16
} ray_host_options;

// RAY_ADDRESS_IN_USE when a living node answers at that path; a stale socket is replaced. RAY_INVALID_ARGUMENT when the path is too long for a
// socket, or when the directory is another user's or can be written by others.
// Callbacks may run before it returns; *host is set before the first.
RAY_API ray_status ray_host_start(const ray_host_options *options, ray_host *RAY_NULLABLE *RAY_NULLABLE host) RAY_NODISCARD;

// Closes every client and the listener, removes the socket, waits for the thread. Answers given before are still sent, for at most a second.
// Clients that run on keep their slots and what they have mapped, so close the store after this. Accepts NULL.
RAY_API void ray_host_stop(ray_host *RAY_NULLABLE host);

// The node's verdict on an attached client; the host fills in the slot. No effect if the client is gone meanwhile.
RAY_API void ray_host_welcome(ray_host *host, uint64_t client, const ray_session_info *info);
RAY_API void ray_host_refuse(ray_host *host, uint64_t client, ray_status status, const char *message);

// The answer to a request. Never blocks; what the client does not take at once is sent by the host's thread. A payload above
// RAY_PAYLOAD_MAX is answered with RAY_TOO_LARGE instead; a message is cut to 511 bytes.
RAY_API void ray_host_reply(ray_host *host, uint64_t client, uint64_t request_id, ray_status status, const char *message,
                            const void *RAY_NULLABLE payload, size_t payload_size);

// How a request stands. Dropped when the client did not ask for it, or is slow to read.
RAY_API void ray_host_progress(ray_host *host, uint64_t client, uint64_t request_id, const ray_object_id *id,
                               const ray_transfer_progress *progress);

RAY_ASSUME_NONNULL_END
RAY_END_DECLS
#endif
