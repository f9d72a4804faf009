// SPDX-License-Identifier: Apache-2.0
// Client: a process's session with its node.
//
// A client attaches over the node's Unix socket, receives the store's descriptors and its slot, and from then on works in
// shared memory. Only what concerns other machines, files or names is a request to the node. Requests have ids and
// are answered in any order, by completion callback or blocking call.
//
// Caveats:
//  - The node ends the session when the socket closes; whatever the process held is dropped then, also after kill -9.
//  - A fork's child must make its own session: every call with the parent's handle answers RAY_FORKED.
//
// Thread safety: a ray_client may be used by any thread. Completions come from the client's own thread and must not block.
#ifndef RAYSTORE_CLIENT_H
#define RAYSTORE_CLIENT_H

#include "store.h"
#include "transfer.h"

RAY_BEGIN_DECLS
RAY_ASSUME_NONNULL_BEGIN

typedef struct ray_client ray_client;

#define RAY_NODE_ID_SIZE 28
#define RAY_NAMESPACE_MAX 128
#define RAY_PAYLOAD_MAX (16u << 20) // of one message

typedef struct ray_client_options {
    uint32_t struct_size;
    uint32_t job;                           // a running job to join; 0: a new job, which ends with this session
    const char *socket_path;
    const char *RAY_NULLABLE name_space;    // of names; NULL: the job's own, which no other job sees
    uint64_t timeout_ns;                    // for attaching; 0: 10 s
} ray_client_options;

// What the node said at attach.
typedef struct ray_session_info {
    uint32_t job;
    uint32_t node_number;
    uint32_t slot;
    bool is_driver;                         // the job ends with this session
    ray_task_id task;                       // what this session's puts are named after
    uint8_t node_id[RAY_NODE_ID_SIZE];
} ray_session_info;

// Attaches. RAY_NOT_RUNNING: nobody answers at the socket (stale or missing); RAY_VERSION_MISMATCH, RAY_LAYOUT_MISMATCH, RAY_TOO_MANY_CLIENTS,
// RAY_TIMED_OUT, or why the node refused.
RAY_API ray_status ray_client_connect(const ray_client_options *options, ray_client *RAY_NULLABLE *RAY_NULLABLE client) RAY_NODISCARD;

// Ends the session; every pending request completes with RAY_CLOSED before it returns. Not from a completion. Accepts NULL.
RAY_API void ray_client_close(ray_client *RAY_NULLABLE client);

RAY_API ray_store *ray_client_store(ray_client *client);
RAY_API const ray_session_info *ray_client_info(const ray_client *client);

// The id of this session's next put.
RAY_API ray_object_id ray_client_next_id(ray_client *client);

// ---- requests ----------------------------------------------------------------------------------------------------------

// What can be asked of a node, with the payload of the request and of its answer. Integers are little endian and unpadded;
// `text` is u32 length and UTF-8 bytes; `id` is 28 bytes; `ids` is u32 count and ids.
enum {
    RAY_REQUEST_GET = 1,       // u64 timeout_ns, ids            -> (all are sealed here) ; failure: the id of the first that failed
    RAY_REQUEST_WAIT = 2,      // u64 timeout_ns, u32 wanted, u32 flags, ids -> one byte an id, 1 = ready
    RAY_REQUEST_OPEN_REF = 3,  // id                              -> (registered with its owner; this slot's ref bit is set)
    RAY_REQUEST_SHARE_REF = 4, // id                              -> (held until somebody has opened it, or this session ends)
    RAY_REQUEST_CONTAIN = 5,   // id outer, ids inner             -> (outer keeps inner alive)
    RAY_REQUEST_FREE = 6,      // ids                             -> (freed everywhere)
    RAY_REQUEST_PUT_FILE = 7,  // u32 mode, u32 flags, id, text path -> (the id names the file; this slot's ref bit is set)
    RAY_REQUEST_DETACH = 8,    // id                              -> (lives until removed, whatever becomes of the job)
    RAY_REQUEST_REMOVE = 9,    // id                              -> (a detached object may go)
    RAY_REQUEST_BIND_NAME = 10,   // id, text name                -> ()
    RAY_REQUEST_FIND_NAME = 11,   // text name                    -> id
    RAY_REQUEST_UNBIND_NAME = 12, // text name                    -> id
    RAY_REQUEST_REPORT = 13,   // text what ("status", "list", "memory", "names", "nodes", ...), text arguments (JSON) -> JSON
    RAY_REQUEST_STOP = 14,     // u32 flags                       -> () ; then the node ends
};

enum { RAY_WAIT_FETCH = 1u << 0 };                       // ready means local, and pulls start
enum { RAY_FILE_COPY = 0, RAY_FILE_REFERENCE = 1, RAY_FILE_ADOPT = 2 }; // modes of PUT_FILE

// The answer to a request. message is "" on success. The pointers are valid during the call.
typedef void (*ray_completion_fn)(void *RAY_NULLABLE context, ray_status status, const char *message,
                                  const void *RAY_NULLABLE payload, size_t payload_size);

// How a request's transfer stands; only for requests that move data, and only if asked for.
typedef void (*ray_progress_fn)(void *RAY_NULLABLE context, const ray_object_id *id, const ray_transfer_progress *progress);

// Sends a request. On RAY_OK the completion runs exactly once, later, on the client's thread; on failure never.
RAY_API ray_status ray_client_send(ray_client *client, uint16_t request, const void *RAY_NULLABLE payload, size_t payload_size,
                                   ray_completion_fn completion, ray_progress_fn RAY_NULLABLE progress, void *RAY_NULLABLE context,
                                   uint64_t *RAY_NULLABLE request_id) RAY_NODISCARD;

// Asks the node to give the request up; its completion still runs, usually with RAY_CANCELLED.
RAY_API void ray_client_cancel(ray_client *client, uint64_t request_id);

// Sends and waits. The payload of the answer is allocated; free it with ray_client_free. timeout_ns 0: as long as the node takes.
RAY_API ray_status ray_client_call(ray_client *client, uint16_t request, const void *RAY_NULLABLE payload, size_t payload_size,
                                   uint64_t timeout_ns, void *RAY_NULLABLE *RAY_NULLABLE answer, size_t *RAY_NULLABLE answer_size) RAY_NODISCARD;
RAY_API void ray_client_free(void *RAY_NULLABLE answer);

// ---- the common ones, blocking ---------------------------------------------------------------------------------------

// Puts an object under the session's next id, with a ref of this process.
RAY_API ray_status ray_client_put(ray_client *client, const void *RAY_NULLABLE data, uint64_t data_size, const void *RAY_NULLABLE metadata,
                                  uint32_t metadata_size, ray_object_id *id) RAY_NODISCARD;

// Pins an object, fetching it to this node first if need be. The process must hold a ref. timeout_ns as in store.h.
RAY_API ray_status ray_client_get(ray_client *client, const ray_object_id *id, uint64_t timeout_ns, ray_object_view *view) RAY_NODISCARD;

// Makes a ref of this process from an id that came from elsewhere, and registers it with the owner.
RAY_API ray_status ray_client_open_ref(ray_client *client, const ray_object_id *id) RAY_NODISCARD;

// Must be called before an id leaves the process, so that its object waits for whoever opens it.
RAY_API ray_status ray_client_share_ref(ray_client *client, const ray_object_id *id) RAY_NODISCARD;

// Puts a file; mode is RAY_FILE_*. The path must be absolute. RAY_FILE_NOT_FOUND, RAY_FILE_NOT_READABLE, RAY_NOT_A_FILE, RAY_OUT_OF_DISK.
RAY_API ray_status ray_client_put_file(ray_client *client, const char *path, uint32_t mode, ray_object_id *id) RAY_NODISCARD;

// Fetches a file object and gives its local path; the view pins it: the file stays until the view is released.
RAY_API ray_status ray_client_get_file(ray_client *client, const ray_object_id *id, uint64_t timeout_ns, ray_object_view *view,
                                       char *path, size_t path_capacity) RAY_NODISCARD;

RAY_ASSUME_NONNULL_END
RAY_END_DECLS
#endif
