// SPDX-License-Identifier: Apache-2.0
// Client: a process's session with its node.
//
// A client attaches over the node's Unix socket, receives the store's descriptors and its slot, and from then on works in
// shared memory. Only what concerns other machines, files or names is a request to the node. Requests have ids and
// are answered in any order, by completion callback or blocking call.
//
// Caveats:
//  - Whatever the process held is dropped when it closes the session or ends, also by kill -9. A process whose socket alone is gone
//    (the node died, or disconnected it) can still read what it has pinned, so its slot is kept until it ends.
//  - A process that replaces itself by exec without closing its session keeps its slot until it ends.
//  - A fork's child must make its own session: every call with the parent's handle answers RAY_FORKED. It may close the handle, which
//    frees its copy and leaves the parent's session alone.
//  - A guarded reader (RAY_ACCESS_GUARDED_READER) has no ray_store: the node pins for it, and each get is an exchange with the node, some
//    ten microseconds instead of some hundred nanoseconds. It can read the whole data segment, not only what it pins.
//  - A session has 4,194,967,295 put ids. ray_client_put and ray_client_put_file answer RAY_TOO_LARGE when they are used up.
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
#define RAY_READER_PAYLOAD_MAX (64u << 10) // of one message of a guarded reader

// A session of no job: it looks, opens refs, and can stop the node, but puts nothing. It needs no word of the head, so it works while the
// head is away.
#define RAY_JOB_NONE UINT32_MAX

// How a session may touch the store. A guarded reader maps the data segment so that it cannot be written, and the metadata not at all: get,
// wait, contains, stat, list and refs are requests to the node, which pins and refers on its behalf and drops all of it when the session
// or the process ends. Whatever writes answers RAY_UNSUPPORTED: put, put_file, share_ref, next_id, and requests that change something.
// It may be of another user whom the node's owner has allowed (ray_host_options.reader_uids), at the node's socket for readers; of the
// owner at either socket.
//
// Protected is full access with the metadata shut outside the library's calls: see ray_store_protect. RAYSTORE_PROTECT=1 in the environment
// makes every session with full access so.
enum { RAY_ACCESS_FULL = 0, RAY_ACCESS_GUARDED_READER = 1, RAY_ACCESS_PROTECTED = 2 };

typedef struct ray_client_options {
    uint32_t struct_size;
    uint32_t job;                           // a running job to join; 0: a new job, which ends with this session; or RAY_JOB_NONE
    const char *socket_path;
    const char *RAY_NULLABLE name_space;    // of names; NULL: the job's own, which no other job sees
    uint64_t timeout_ns;                    // for attaching; 0: 10 s
    uint32_t access;                        // RAY_ACCESS_*; a guarded reader has no job: job is 0 or RAY_JOB_NONE
} ray_client_options;

// What the node said at attach.
typedef struct ray_session_info {
    uint32_t job;
    uint32_t node_number;
    uint32_t slot;
    bool is_driver;                         // the job ends with this session
    ray_task_id task;                       // what this session's puts are named after
    uint8_t node_id[RAY_NODE_ID_SIZE];
    bool is_guarded_reader;
} ray_session_info;

// Attaches. RAY_NOT_RUNNING: nobody answers at the socket (stale or missing); RAY_VERSION_MISMATCH, RAY_LAYOUT_MISMATCH, RAY_TOO_MANY_CLIENTS,
// RAY_TIMED_OUT, RAY_UNREACHABLE (the socket, or the node, is another user's; or the node does not allow this user), RAY_NODE_DIED (it ended
// meanwhile), RAY_UNSUPPORTED or RAY_IN_USE (no memory protection key, see ray_store_protect), or why the node refused. A guarded reader
// believes a node that is its own user's or that of the owner of the socket's directory.
RAY_API ray_status ray_client_connect(const ray_client_options *options, ray_client *RAY_NULLABLE *RAY_NULLABLE client) RAY_NODISCARD;

// Ends the session; every pending request completes with RAY_CLOSED before it returns, and the store is unmapped: views are void. Not
// from a completion. Accepts NULL.
RAY_API void ray_client_close(ray_client *RAY_NULLABLE client);

// NULL in a session of a guarded reader.
RAY_API ray_store *RAY_NULLABLE ray_client_store(ray_client *client);
RAY_API const ray_session_info *ray_client_info(const ray_client *client);

// The id of this session's next put. RAY_TOO_LARGE when all are used up, RAY_INVALID_ARGUMENT in a session of no job.
RAY_API ray_status ray_client_next_id(ray_client *client, ray_object_id *id) RAY_NODISCARD;

// ---- requests ----------------------------------------------------------------------------------------------------------

// What can be asked of a node, with the payload of the request and of its answer. Integers are little endian and unpadded;
// `text` is u32 length and UTF-8 bytes; `id` is 28 bytes; `ids` is u32 count and ids.
// `tuning` may be left out, or is 32 bytes: u16 codec (RAY_CODEC_*), u16 urgency (RAY_URGENCY_*, 65535: that of the request), i32 zstd level, u32
// connections, u32 chunk size, u64 window, u64 rate cap in bytes a second; 0: not fixed. It holds if the request begins a transfer; one that
// runs it makes at most more urgent.
enum {
    RAY_REQUEST_GET = 1,       // u64 timeout_ns, ids, tuning    -> (all are sealed here) ; failure: the id of the first that failed
    RAY_REQUEST_WAIT = 2,      // u64 timeout_ns, u32 wanted, u32 flags, ids, tuning -> one byte an id, 1 = ready
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
    RAY_REQUEST_CREATE = 17,   // u64 timeout_ns, u64 data_size, u32 metadata_size, u32 flags (RAY_CREATE_*), id -> id, for ray_object_accept
    RAY_REQUEST_PREFETCH = 16, // u64 timeout_ns, u32 flags, u32 zero, u64 keep_ns (0: 10 min), id, text node (56 hex digits, "": this one),
                               // tuning                          -> ()
    RAY_REQUEST_SUMS = 18,     // id, u64 value, u64 size, u32 count, a u64 for each chunk, as of ray_transfer_object_sums_give -> ()
    RAY_REQUEST_READ = 15,     // u64 timeout_ns, u64 offset, u64 size (0: to the end), id, tuning -> u32 where, u32 zero, u64 size of all of it, id

    // Of guarded readers, who may else ask GET, WAIT, OPEN_REF, FIND_NAME and REPORT.
    RAY_REQUEST_PIN = 32,      // ids                             -> 48 bytes an id, for ray_client_pin_take
    RAY_REQUEST_LOOK = 33,     // ids                             -> one byte an id, 1 = sealed here
    RAY_REQUEST_STAT = 34,     // id                              -> 72 bytes
    RAY_REQUEST_LIST = 35,     // u64 cursor, u32 count           -> u64 cursor, 72 bytes an object
    RAY_REQUEST_HOLD_REF = 36, // id                              -> (one more ref of this session, of an id that OPEN_REF has opened)
};

// The answer to READ. HERE: the object is sealed on this node; read it as any other. FETCHED: the bytes of the range lie in an object of their
// own, under the id in the answer, with the metadata of the object that was asked for. Nobody else knows that id, and this slot's ref bit is
// set: take a ref and a pin and drop the ref, and it goes with the pin. It goes too when the process ends.
enum { RAY_READ_HERE = 0, RAY_READ_FETCHED = 1 };
// PREFETCH: the node gets a copy and keeps it, as long as the object lives, for keep_ns from now or until PREFETCH with END. Answers when the
// pull has begun, with WAIT when the copy is there.
enum { RAY_PREFETCH_WAIT = 1u << 0, RAY_PREFETCH_END = 1u << 1 };
enum { RAY_WAIT_FETCH = 1u << 0 };                       // ready means local, and pulls start
enum { RAY_FILE_COPY = 0, RAY_FILE_REFERENCE = 1, RAY_FILE_ADOPT = 2 }; // modes of PUT_FILE

// The answer to a request. message is "" on success. The pointers are valid during the call.
typedef void (*ray_completion_fn)(void *RAY_NULLABLE context, ray_status status, const char *message,
                                  const void *RAY_NULLABLE payload, size_t payload_size);

// How a request's transfer stands; only for requests that move data, and only if asked for.
typedef void (*ray_progress_fn)(void *RAY_NULLABLE context, const ray_object_id *id, const ray_transfer_progress *progress);

// Sends a request. On RAY_OK the completion runs exactly once, later, on the client's thread; on failure never. Does not block: RAY_AGAIN
// when 16,384 requests are without answer or the node has not read 64 MiB of them. RAY_NODE_DIED or RAY_CLOSED when the session is over,
// RAY_TOO_LARGE above RAY_PAYLOAD_MAX. For a guarded reader the limits are 256 requests and RAY_READER_PAYLOAD_MAX. *request_id is set before the completion can run.
RAY_API ray_status ray_client_send(ray_client *client, uint16_t request, const void *RAY_NULLABLE payload, size_t payload_size,
                                   ray_completion_fn completion, ray_progress_fn RAY_NULLABLE progress, void *RAY_NULLABLE context,
                                   uint64_t *RAY_NULLABLE request_id) RAY_NODISCARD;

// Asks the node to give the request up; its completion still runs, usually with RAY_CANCELLED.
RAY_API void ray_client_cancel(ray_client *client, uint64_t request_id);

// Sends and waits. The payload of the answer is allocated (NULL if empty); free it with ray_client_free. timeout_ns 0: as long as the node
// takes. When it runs out the request is cancelled and its answer ignored. Not from a completion, whose thread would wait for itself.
RAY_API ray_status ray_client_call(ray_client *client, uint16_t request, const void *RAY_NULLABLE payload, size_t payload_size,
                                   uint64_t timeout_ns, void *RAY_NULLABLE *RAY_NULLABLE answer, size_t *RAY_NULLABLE answer_size) RAY_NODISCARD;
RAY_API void ray_client_free(void *RAY_NULLABLE answer);

// ---- waiting here ------------------------------------------------------------------------------------------------------

// Waits while the object is being made by a process of this machine, as ray_waiter_add does with RAY_WAITER_WHILE_MADE: without the node, any
// number of waits on one thread of this session. Only the node can say more of an object that is not being made here. When the session is
// over, all waits end with the reason, such as RAY_NODE_DIED. Must not be called from `done` of a session that closes.
RAY_API ray_status ray_client_wait(ray_client *client, const ray_object_id *id, uint64_t timeout_ns, ray_waited_fn done,
                                   void *RAY_NULLABLE context, uint64_t *ticket) RAY_NODISCARD;

// Gives it up, as ray_waiter_cancel does.
RAY_API bool ray_client_wait_cancel(ray_client *client, uint64_t ticket);

// ---- the common ones, blocking ---------------------------------------------------------------------------------------

// Puts an object under the session's next id, with a ref of this process. One of 64 MiB or more is written past the caches and hashed on the way, so
// that the node need not hash it when it sends it elsewhere.
RAY_API ray_status ray_client_put(ray_client *client, const void *RAY_NULLABLE data, uint64_t data_size, const void *RAY_NULLABLE metadata,
                                  uint32_t metadata_size, ray_object_id *id) RAY_NODISCARD;

// The same; when there is no room it waits for it for timeout_ns, whatever comes (0: not at all; RAY_FOREVER: as long as there is hope). The node
// makes room, in the order of those who wait. What fits at once costs what ray_client_put costs. RAY_TIMED_OUT when the time is over; with
// RAY_FOREVER, RAY_STORE_FULL when nothing can be freed: the message says needed, free, and pinned by whom. RAY_STORE_FULL at once when no
// room ever will do. Not from a completion.
RAY_API ray_status ray_client_put_within(ray_client *client, const void *RAY_NULLABLE data, uint64_t data_size,
                                         const void *RAY_NULLABLE metadata, uint32_t metadata_size, uint64_t timeout_ns,
                                         ray_object_id *id) RAY_NODISCARD;

// ray_object_create under the session's next id, with a ref of this process, waiting for room as ray_client_put_within does. Fill it, then
// ray_object_seal or ray_object_abort, with ray_client_store.
RAY_API ray_status ray_client_create(ray_client *client, uint64_t data_size, uint32_t metadata_size, uint64_t timeout_ns, ray_object_id *id,
                                     ray_object_writer *writer) RAY_NODISCARD;

// Pins an object, fetching it to this node first if need be. The process must hold a ref. timeout_ns as in store.h. RAY_FETCH_TIMED_OUT when it
// was fetched many times and evicted each time before it could be pinned.
RAY_API ray_status ray_client_get(ray_client *client, const ray_object_id *id, uint64_t timeout_ns, ray_object_view *view) RAY_NODISCARD;

// How what has to come from another node is transferred, for those who want to fix what is otherwise chosen by itself. Zero-initialise it,
// set struct_size and what is to be fixed.
typedef struct ray_client_tuning {
    uint32_t struct_size;
    uint32_t connection_count; // to each place that has the data, 1 to 16; 0: the node's
    uint32_t chunk_size;       // a power of two, RAY_CHUNK_SIZE_MIN ... RAY_CHUNK_SIZE; 0: RAY_CHUNK_SIZE
    uint16_t codec;            // RAY_CODEC_*; 0: as measured
    uint16_t urgency;          // RAY_URGENCY_*; 0: a get's
    uint64_t window_bytes;     // asked for and not yet arrived, for each place that has the data; 0: the node's
    uint64_t rate_max_bytes;   // a second, before packing; 0: no cap but the node's
    int32_t level;             // of zstd, when that is the codec
    uint32_t reserved;         // 0
} ray_client_tuning;

// ray_client_get, in this way: it holds if this get begins the transfer; one that runs it makes at most more urgent. What is here already is
// given as it is, so ray_client_get_file after it asks nobody. RAY_INVALID_ARGUMENT names the field that is not possible.
RAY_API ray_status ray_client_get_tuned(ray_client *client, const ray_object_id *id, uint64_t timeout_ns, const ray_client_tuning *tuning,
                                        ray_object_view *view) RAY_NODISCARD;

// Writes the tuning as it stands at the end of a GET, WAIT, READ or PREFETCH, for who sends those himself: RAY_TUNING_SIZE bytes, which the
// caller has. RAY_INVALID_ARGUMENT: no struct_size, or a codec or an urgency that there is not; other fields are looked at by the node.
#define RAY_TUNING_SIZE 32u
RAY_API ray_status ray_client_tuning_pack(const ray_client_tuning *tuning, uint8_t *bytes) RAY_NODISCARD;

// What follows works in every session; with full access it is what store.h has, and costs what that costs.

// Drops the pin and makes the view void; a void view is ignored. Does not block.
RAY_API void ray_client_release(ray_client *client, ray_object_view *view);

// One more pin of the same object, released on its own. A copy of a void view is void.
RAY_API void ray_client_view_copy(ray_client *client, const ray_object_view *from, ray_object_view *to);

// As ray_object_contains, ray_object_stat and ray_store_list. A guarded reader lists at most 512 at a time.
RAY_API ray_status ray_client_contains(ray_client *client, const ray_object_id *id, bool *is_here) RAY_NODISCARD;
RAY_API ray_status ray_client_stat(ray_client *client, const ray_object_id *id, ray_object_info *info) RAY_NODISCARD;
RAY_API ray_status ray_client_list(ray_client *client, uint64_t *cursor, ray_object_info *infos, uint32_t capacity,
                                   uint32_t *count) RAY_NODISCARD;

// Waits until at least ready_count_wanted of the ids are sealed or failed on this node, and has the node fetch what is elsewhere. Results as
// of ray_object_wait. A guarded reader waits for at most 2,300 ids at a time: RAY_TOO_LARGE.
RAY_API ray_status ray_client_wait_many(ray_client *client, const ray_object_id *ids, uint32_t count, uint32_t ready_count_wanted,
                                        uint64_t timeout_ns, uint8_t *ready, uint32_t *ready_count) RAY_NODISCARD;

// One ref of this process less, as ray_ref_release. Does not block; a guarded reader hears of no failure. While this session opens a ref of the
// object the release is only noted, and done when the open is over.
RAY_API ray_status ray_client_release_ref(ray_client *client, const ray_object_id *id);

// For who sends RAY_REQUEST_OPEN_REF by himself: begins before it is sent, and ends after ray_ref_acquire, or RAY_REQUEST_HOLD_REF, whatever came of
// them. In between no ray_client_release_ref takes away what the node has given. Each begin that succeeds needs one end. RAY_OUT_OF_MEMORY,
// RAY_FORKED. Safe from any thread.
RAY_API ray_status ray_client_opening_begin(ray_client *client, const ray_object_id *id) RAY_NODISCARD;
RAY_API void ray_client_opening_end(ray_client *client, const ray_object_id *id);

// For who sends RAY_REQUEST_PIN by himself: takes the index-th pin out of its answer. Each must be taken, once, and released. RAY_NOT_FOUND,
// RAY_NOT_SEALED, RAY_NOT_LOCAL or the failure, as ray_object_get with timeout 0; RAY_TOO_LARGE when the session has 65,536 pins.
RAY_API ray_status ray_client_pin_take(ray_client *client, const void *RAY_NULLABLE answer, size_t answer_size, uint32_t index,
                                       ray_object_view *view) RAY_NODISCARD;

// Makes a ref of this process from an id that came from elsewhere, and registers it with the owner.
RAY_API ray_status ray_client_open_ref(ray_client *client, const ray_object_id *id) RAY_NODISCARD;

// Must be called before an id leaves the process, so that its object waits for whoever opens it.
RAY_API ray_status ray_client_share_ref(ray_client *client, const ray_object_id *id) RAY_NODISCARD;

// Puts a file; mode is RAY_FILE_*. The path must be absolute. RAY_FILE_NOT_FOUND, RAY_FILE_NOT_READABLE, RAY_NOT_A_FILE, RAY_OUT_OF_DISK.
RAY_API ray_status ray_client_put_file(ray_client *client, const char *path, uint32_t mode, ray_object_id *id) RAY_NODISCARD;

// Fetches a file object and gives its local path; the view pins it: the file stays until the view is released. RAY_SOURCE_CHANGED when
// it was put by reference and is not what it was. RAY_WRONG_KIND when the object is no file; RAY_TOO_LARGE when path_capacity is too small for the path and its NUL.
RAY_API ray_status ray_client_get_file(ray_client *client, const ray_object_id *id, uint64_t timeout_ns, ray_object_view *view,
                                       char *path, size_t path_capacity) RAY_NODISCARD;

// ---- what objects hold -------------------------------------------------------------------------------------------------

// The first byte of an object's metadata says what kind of value it is; the rest belongs to the language that made it.
enum {
    RAY_VALUE_BYTES = 'B', // raw bytes
    RAY_VALUE_ARRAY = 'A', // elements of one type, read in place
    RAY_VALUE_JSON = 'J',
    RAY_VALUE_FILE = 'F',  // the data is a file descriptor, as below; the file is on the node's disk
    RAY_VALUE_ERROR = 'E',
};

#define RAY_FILE_DESCRIPTOR_MAGIC 0x46594152u // "RAYF" as bytes
#define RAY_FILE_DESCRIPTOR_VERSION 1u
#define RAY_FILE_NAME_MAX 255u
#define RAY_FILE_PATH_MAX 4095u
#define RAY_FILE_DESCRIPTOR_MAX (40u + RAY_FILE_NAME_MAX + RAY_FILE_PATH_MAX)

// What is known of a file object's local file. As bytes, little endian and unpadded: u32 magic, u32 version, u64 size_bytes, i64 mtime_ns,
// u32 mode, u32 flags, u32 name_length, u32 path_length, name, path; nothing after it. Neither text has a NUL.
typedef struct ray_file_descriptor {
    uint64_t size_bytes;
    int64_t mtime_ns;
    uint32_t mode;        // permission bits of the source
    uint32_t flags;       // low byte: how the node came by it, RAY_FILE_*; the rest is 0
    const char *RAY_NULLABLE name; // the original base name, 1 to 255 bytes, no '/', neither "." nor ".."; not NUL-terminated
    const char *RAY_NULLABLE path; // absolute, 2 to 4095 bytes; not NUL-terminated
    uint32_t name_length;
    uint32_t path_length;
} ray_file_descriptor;

// Writes the bytes. RAY_INVALID_ARGUMENT when a name or path is not as above, RAY_TOO_LARGE when capacity is too small; *size is the size
// needed in that case too.
RAY_API ray_status ray_file_descriptor_encode(const ray_file_descriptor *descriptor, void *bytes, size_t capacity,
                                              size_t *size) RAY_NODISCARD;

// Reads the bytes, trusting none; name and path point into them. RAY_CORRUPT when they are no descriptor, RAY_VERSION_MISMATCH when they are one
// of another version.
RAY_API ray_status ray_file_descriptor_decode(const void *bytes, size_t size, ray_file_descriptor *descriptor) RAY_NODISCARD;

RAY_ASSUME_NONNULL_END
RAY_END_DECLS
#endif
