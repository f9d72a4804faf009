// SPDX-License-Identifier: Apache-2.0
// Transfer: bulk data between machines, by chunks, asked for by the receiver.
//
// One ray_transfer serves what this machine has and pulls what it wants. An object or a file is a list of chunks of 4 MiB, or of what the
// pull asks for, the last one shorter; an empty one has none. A pull opens the object at a source, which answers with a *card* (size, metadata, other
// holders, and the bytes themselves if they are few), decides where the bytes go (the *sink*), then asks for chunks within a credit
// window, over one or more connections, from every holder it was told of. Each chunk carries the XXH3-64 of its raw bytes and is verified on
// arrival; a chunk that is wrong, late or lost is asked for again, elsewhere if there is an elsewhere. The codec of each chunk is chosen
// by measurement (codec.h).
//
// Usable without nodes: two programs that share a key can serve and pull. What is served has an id that never names anything else, or it
// is a file served by its name, whose content may change between two pulls; Examples/c/serve_file.c and fetch_file.c do the latter.
//
// A pull into a file can be *resumed*: beside the file lies a journal, the file's path with RAY_JOURNAL_SUFFIX. It names the object and
// holds the checksum of each chunk whose bytes were written. A pull that finds both hashes what is recorded, keeps what is right and
// asks for the rest only. So a process may be killed at any point. Nothing is synced: after a power cut the disk may have lost written
// chunks, which the hashing notices.
//
// *Urgency*: each pull has a class. While a more urgent class has chunks under way in a transfer, and they move, the less urgent ones share
// one byte of every ten, at the receiving end (which asks for chunks) and at the sending end (which writes them). None is starved. A class
// of which nothing moved for 2 s holds nobody back. When more pulls want a connection than there are, the more urgent are first in
// nine of ten times, a less urgent pull gives its connection up between two chunks, and prefetch and background have at most 24 of the 32.
//
// *Caps* count bytes as stored in frames. A span of t seconds sees at most cap * (t + 0.1) bytes, and what was under way: a chunk at the
// receiving end, and for each connection that begins the data in its card; 256 KiB at the sending end.
//
// Caveats: the connection is authenticated (auth.h), not encrypted. A less urgent class holds back also where another link would have been
// free for it.
// Thread safety: every function may be called from any thread. Callbacks come from the transfer's own threads, must not block for
// long, and must not destroy the transfer.
#ifndef RAYSTORE_TRANSFER_H
#define RAYSTORE_TRANSFER_H

#include "auth.h"
#include "codec.h" // RAY_CHUNK_SIZE, RAY_CODEC_*
#include "store.h"

RAY_BEGIN_DECLS
RAY_ASSUME_NONNULL_BEGIN

#define RAY_INLINE_MAX (100u << 10)     // data of this size and less travels inside the card; of objects over fast links, up to 256 KiB
#define RAY_CONNECTION_COUNT_MAX 16u    // to one source, for one pull
#define RAY_METADATA_MAX (1u << 20)
#define RAY_HOST_MAX 256
#define RAY_NAME_MAX 4095               // bytes of a name
#define RAY_JOURNAL_SUFFIX ".chunks"

enum { RAY_KIND_OBJECT = 0, RAY_KIND_FILE = 1 };

// Why the data is wanted, the most urgent first.
enum { RAY_URGENCY_GET = 0, RAY_URGENCY_WAIT = 1, RAY_URGENCY_PREFETCH = 2, RAY_URGENCY_BACKGROUND = 3 };
#define RAY_URGENCY_COUNT 4u
#define RAY_RATE_MIN (64u << 10) // the lowest cap of a transfer

typedef struct ray_transfer ray_transfer;
typedef struct ray_answer ray_answer; // what a server's find callback fills in
typedef struct ray_pull ray_pull;

typedef struct ray_endpoint {
    char host[RAY_HOST_MAX]; // a name or a numeric address
    uint16_t port;
} ray_endpoint;

// Looks up what a peer asks for. Answer with the ray_answer_* functions and return RAY_OK, or return why not (RAY_NOT_FOUND,
// RAY_OBJECT_FREED, RAY_OWNER_DIED, ...; RAY_NO_HOLDER when nobody has it now and somebody may again: a patient pull asks again). Called on a connection's thread; must not block for long.
typedef ray_status (*ray_find_fn)(void *RAY_NULLABLE context, const ray_object_id *id, ray_answer *answer);

// The same for what a peer asks for by a name: any bytes but NUL, 1 to RAY_NAME_MAX of them. Answer with ray_answer_beneath, and return
// what it returns. peer is host:port, for logs.
typedef ray_status (*ray_find_named_fn)(void *RAY_NULLABLE context, const char *name, const char *peer, ray_answer *answer);

// What became of one question by name. The pointers are valid during the callback.
typedef struct ray_served {
    const char *peer;     // host:port of the first connection
    const char *name;
    const char *message;  // why not, or ""
    ray_status status;    // RAY_OK, why it could not be served, or RAY_SOURCE_CHANGED
    uint64_t size_bytes;  // of the file
    uint64_t sent_bytes;  // raw; less than the size when the peer had some, or went away; more when it asked again
    uint64_t wire_bytes;  // the same as stored in frames
    uint64_t elapsed_ns;
} ray_served;

// Called when what ray_answer_spilled offers cannot be sent: RAY_CORRUPT it was altered or cut, RAY_OBJECT_LOST it is gone; the message names file and
// byte. data_offset is where the record's data begins. On a thread of the transfer's, perhaps several times; must not block for long.
typedef void (*ray_damaged_fn)(void *RAY_NULLABLE context, const ray_object_id *id, const char *path, uint64_t data_offset,
                               ray_status status, const char *message);

// Called when all checksums of a file that is served by an id are known, in chunks of RAY_CHUNK_SIZE (ray_transfer_file_sums_read has them). Once for
// each state of the file; not for what ray_transfer_file_sums_give gave. On a thread of the transfer's; must not block for long.
typedef void (*ray_summed_fn)(void *RAY_NULLABLE context, const ray_object_id *id);

// Called when the last connection of a pull by name is done with it.
typedef void (*ray_served_fn)(void *RAY_NULLABLE context, const ray_served *served);

typedef struct ray_transfer_options {
    uint32_t struct_size;
    uint32_t connection_count;         // per source and pull, at most RAY_CONNECTION_COUNT_MAX; 0: 2, and more to a far one
    ray_store *RAY_NULLABLE store;     // for objects; NULL: files only
    ray_key key;
    const char *RAY_NULLABLE bind_host; // NULL: do not listen
    uint16_t bind_port;                // 0: any free port
    uint16_t codec;                    // RAY_CODEC_*, 0: automatic
    int32_t level;                     // of zstd, when the codec is fixed
    ray_find_fn RAY_NULLABLE find;     // NULL: what is in the store
    void *RAY_NULLABLE context;        // for find, find_named, served and damaged
    uint64_t window_bytes;             // asked for and not yet arrived, per source, at most 256 chunks a connection; 0: 64 MiB
    ray_find_named_fn RAY_NULLABLE find_named; // NULL: nothing is served by name
    ray_served_fn RAY_NULLABLE served;
    // Caps, in bytes a second as stored in frames, RAY_RATE_MIN at least; 0: none. For all connections together, and for the pulls of a class,
    // in each direction.
    uint64_t send_rate_max_bytes;
    uint64_t receive_rate_max_bytes;
    uint64_t urgency_rate_max_bytes[RAY_URGENCY_COUNT];
    // Of all buffers together, in both directions; 0: 512 MiB. At least 108 MiB and 4 MiB for each core that this process may use, up to 16:
    // RAY_INVALID_ARGUMENT says how many. Where there is no more, a chunk waits, or leaves unpacked; nothing fails. What is not counted: the
    // kernel's buffers, the compressors' tables, 22 bytes for each chunk of a pull, 1 KiB for each source that sends some, at most 64 KiB of its
    // card, 16 for each chunk of what is sent to several, the checksums kept (32 MiB at most).
    uint64_t memory_max_bytes;
    // Where others reach what listens at bind_host, if it is not where its connections come from (a forwarder, a translated address): while
    // this end pulls an object, others that pull the same are referred to it.
    const char *RAY_NULLABLE advertise_host; // NULL: the address that a source sees
    uint16_t advertise_port;                 // 0: the port that it listens on
    // What a pull into a file leaves free of its disk when it begins: so many bytes, and what is above so many thousandths of it; 0 for
    // neither. RAY_OUT_OF_DISK otherwise.
    uint64_t disk_reserve_bytes;
    uint32_t disk_watermark_permille; // up to 1000
    ray_damaged_fn RAY_NULLABLE damaged; // NULL: nobody is told
    // Not 0: two threads compute the checksums of what is in the store, and of files (ray_transfer_sum_ahead), before anybody asks, in the
    // default chunk size, of what has more than RAY_INLINE_MAX bytes, the last that came first, while nobody else wants a core; the first pull then need not. They hold no object: it may be
    // deleted, evicted or sent at any time. Of 4,096 objects at most; no checksum that a transfer has used goes for one of these.
    uint32_t sums_ahead;
    ray_summed_fn RAY_NULLABLE summed; // NULL: nobody is told
} ray_transfer_options;

// Starts serving, if bind_host is given. RAY_ADDRESS_IN_USE names the address, RAY_INVALID_ARGUMENT the option that is not possible.
RAY_API ray_status ray_transfer_create(const ray_transfer_options *options, ray_transfer *RAY_NULLABLE *RAY_NULLABLE transfer) RAY_NODISCARD;

// Cancels all pulls, ends all connections, waits for the threads, also for a ray_source's read that is under way. Every pull's done callback has run when it returns. Accepts NULL.
RAY_API void ray_transfer_destroy(ray_transfer *RAY_NULLABLE transfer);

// The port that it listens on, 0 if it does not.
RAY_API uint16_t ray_transfer_port(const ray_transfer *transfer);

typedef struct ray_transfer_stats {
    uint32_t struct_size;
    uint32_t connection_count;
    uint64_t sent_bytes;          // raw
    uint64_t sent_wire_bytes;     // as stored in frames
    uint64_t received_bytes;
    uint64_t received_wire_bytes;
    uint64_t refused_count;       // connections without the key
    uint64_t corrupt_count;       // chunks that did not match their checksum
    uint64_t retried_count;       // chunks asked for again, for any reason
    uint64_t buffer_bytes;        // taken of memory_max_bytes now
    uint64_t buffer_peak_bytes;   // the most that ever was
    uint64_t hashed_bytes;        // to send them: their checksums were not known
    uint64_t sendfile_bytes;      // that left without being copied through this process
    uint64_t ahead_bytes;         // hashed before anybody asked (sums_ahead)
    uint64_t ahead_pending_count; // that still have no checksums, as of the last look: objects,
    uint64_t ahead_pending_bytes; // and their bytes
    uint64_t given_bytes;         // whose checksums came with them (ray_transfer_object_sums_give)
} ray_transfer_stats;

RAY_API void ray_transfer_stats_read(ray_transfer *transfer, ray_transfer_stats *stats);

// Forgets the cached checksums of an object (it was deleted or replaced). A file that was served by this id is not open for them on return
// (sums_ahead): after a call that follows the file's removal its room is the disk's again.
RAY_API void ray_transfer_forget(ray_transfer *transfer, const ray_object_id *id);

// ---- checksums of files ------------------------------------------------------------------------------------------------
// What is known of a file's chunks of RAY_CHUNK_SIZE is kept while the transfer lives, as long as the file's size, times and inode are the
// same. Who serves files by their ids can keep it for longer: with the file's identity (ray_file_identity), which is another after any change. A file
// that was changed in the last 20 ms has checksums that count for one pull only, since its times may not tell the next change from that one.
// Each of these looks at the file at the path: RAY_SYSTEM, RAY_NOT_A_FILE. They block on the disk for that only.

// Has the checksums of a file that is, or is about to be, served by this id computed ahead, as far as its bytes are in memory: what would
// have to be read from a disk is left to the first pull. Nothing happens without sums_ahead. RAY_OUT_OF_MEMORY.
RAY_API ray_status ray_transfer_sum_ahead(ray_transfer *transfer, const ray_object_id *id, const char *path) RAY_NODISCARD;

// A file lies there now, with the name and the times that it will be served with, and nobody writes to it any more. If a pull of this
// transfer has filled it, what was verified as it came counts as its checksums. Else they count once they are computed, however young it is.
RAY_API ray_status ray_transfer_file_placed(ray_transfer *transfer, const ray_object_id *id, const char *path) RAY_NODISCARD;

// Gives the checksums of a file's chunks, as they were read for the same identity. RAY_INVALID_ARGUMENT when their number is not that of the
// file's chunks. Wrong ones make each pull fail with RAY_CORRUPT, and nothing else.
RAY_API ray_status ray_transfer_file_sums_give(ray_transfer *transfer, const ray_object_id *id, const char *path, const uint64_t *sums,
                                               uint32_t count) RAY_NODISCARD;

// Copies them out, if all are known of the file as it is now; else RAY_NOT_FOUND. *count says how many there are, also when they are more
// than the capacity (RAY_INVALID_ARGUMENT).
RAY_API ray_status ray_transfer_file_sums_read(ray_transfer *transfer, const ray_object_id *id, const char *path, uint64_t *identity, uint64_t *sums,
                                               uint32_t capacity, uint32_t *count) RAY_NODISCARD;

// ---- checksums of objects ----------------------------------------------------------------------------------------------

// Gives the checksums of an object of the store, XXH3-64 of each RAY_CHUNK_SIZE bytes of its data, to who has them from writing it. `value` tells what
// the id stands for from what it stands for at another time: generation << 32 | entry of the ray_object_writer that it was made with.
// RAY_NOT_FOUND when that is not sealed here with so many bytes, RAY_INVALID_ARGUMENT when `count` is not the number of its chunks, RAY_OUT_OF_MEMORY when
// no more are kept: then it is hashed when it is sent. Wrong ones make each pull fail with RAY_CORRUPT, and nothing else.
RAY_API ray_status ray_transfer_object_sums_give(ray_transfer *transfer, const ray_object_id *id, uint64_t value, uint64_t size_bytes,
                                                 const uint64_t *sums, uint32_t count) RAY_NODISCARD;

// ---- answering a find --------------------------------------------------------------------------------------------------

// The object is in the store; its size and metadata come from there. Without this, or a file, the answer is only holders.
RAY_API void ray_answer_object(ray_answer *answer);

// The object is a file here. descriptor says what its owner knows of it. size_bytes and mtime_ns are what the file must still have when it
// is opened and when it was sent, else the peer hears RAY_SOURCE_CHANGED.
RAY_API void ray_answer_file(ray_answer *answer, const char *path, uint64_t size_bytes, int64_t mtime_ns,
                             const void *metadata, size_t metadata_size, const void *descriptor, size_t descriptor_size);

// An object's record in a spill file (spill.h), as ray_spill_lay left it.
typedef struct ray_spilled {
    uint32_t struct_size;
    const char *path;
    uint64_t offset; // of the record
    uint64_t owner_size;
    uint64_t metadata_size;
    uint64_t data_size;
    uint64_t metadata_checksum;
    const uint64_t *RAY_NULLABLE sums; // of the data's blocks
} ray_spilled;

// The object lies there, not in the store. Its bytes go from the file to the peer without being in memory whole, after the blocks that they
// are in were found to be what was spilled. Else the peer hears, at once, RAY_CORRUPT when the file was altered or cut, RAY_OBJECT_LOST
// when it is gone, with the file and the byte. The file may hold other records, and may be removed while it is sent.
RAY_API void ray_answer_spilled(ray_answer *answer, const ray_spilled *spilled);

// What lies neither in the store nor in a file as it is to be sent: far away, or packed. struct_size says which fields there are: at least those up to
// release. Without read, or of another kind, the peer hears RAY_INVALID_ARGUMENT.
typedef struct ray_source {
    uint32_t struct_size;
    uint32_t kind;            // RAY_KIND_*
    uint64_t size_bytes;
    const void *RAY_NULLABLE metadata;
    const void *RAY_NULLABLE descriptor; // of a file
    uint32_t metadata_size;   // at most RAY_METADATA_MAX, both of them
    uint32_t descriptor_size;
    void *RAY_NULLABLE context;
    // Reads size bytes from offset on and makes sure that they are right: a chunk of the size that the peer asked for, or less at the end. May block as on
    // a network, on threads that do nothing else, for which ray_transfer_destroy waits. A failure reaches the peer, with why in message, a text of at most message_capacity bytes with its NUL.
    ray_status (*read)(void *RAY_NULLABLE context, uint64_t offset, void *bytes, size_t size, char *message, size_t message_capacity);
    // Called once, when nobody reads any more.
    void (*RAY_NULLABLE release)(void *RAY_NULLABLE context);
} ray_source;

// The object, or file, is to be had from there, chunk by chunk. Five threads for all of a transfer's sources together, of which one has four at most, begin
// with the first. A chunk waits for one of them and for a buffer, for as long as none is free.
RAY_API void ray_answer_source(ray_answer *answer, const ray_source *source);

// For find_named: the regular file of this name below an open directory, as it is now. Nothing outside of the directory is ever opened,
// not by "..", an absolute path or a symbolic link. The peer hears RAY_SOURCE_CHANGED if the file is changed while it is sent. Answers
// RAY_INVALID_ARGUMENT for a name that leads out, RAY_FILE_NOT_FOUND, RAY_FILE_NOT_READABLE, RAY_NOT_A_FILE, each with a message that
// reaches the peer. The descriptor of the directory stays the caller's. Blocks on the disk. Needs Linux 5.6.
RAY_API ray_status ray_answer_beneath(ray_answer *answer, int directory, const char *name) RAY_NODISCARD;

// Another place that has it, whole or in part.
RAY_API void ray_answer_holder(ray_answer *answer, const char *host, uint16_t port);

// Why the find fails, in words that reach the peer; for use before returning a failure.
RAY_API void ray_answer_message(ray_answer *answer, const char *message);

// ---- pulling -----------------------------------------------------------------------------------------------------------

// What a source said of the object. The pointers are valid during the callback.
typedef struct ray_card {
    uint32_t kind;                            // RAY_KIND_*
    uint32_t metadata_size;
    const uint8_t *RAY_NULLABLE metadata;
    uint64_t size_bytes;                      // of the data, or of the file
    const uint8_t *RAY_NULLABLE descriptor;   // of a file
    uint32_t descriptor_size;
    uint32_t holder_count;                    // other places, which the pull uses by itself
} ray_card;

typedef struct ray_transfer_progress {
    uint64_t done_bytes;      // verified and in place
    uint64_t total_bytes;     // of what is wanted: all, or the range
    uint64_t wire_bytes;      // received in frames, for the done bytes
    uint64_t elapsed_ns;
    uint32_t none_count;      // chunks by codec
    uint32_t lz4_count;
    uint32_t zstd_count;
    int32_t zstd_level;       // of the latest zstd chunk
    uint32_t source_count;    // places that serve it now
    uint32_t retried_count;
    uint64_t resumed_bytes;   // of the done bytes: were here when the pull began
} ray_transfer_progress;

typedef struct ray_pull_callbacks {
    // Called once, when the first source has answered. Choose the sink with ray_pull_into_store, ray_pull_into_file or ray_pull_into_memory
    // and return RAY_OK, or return why the pull must fail.
    ray_status (*opened)(void *RAY_NULLABLE context, ray_pull *pull, const ray_card *card);
    // Now and then, at most ten times a second, and once at the end. May be NULL.
    void (*RAY_NULLABLE progressed)(void *RAY_NULLABLE context, const ray_transfer_progress *progress);
    // Called exactly once, last. On RAY_OK the object is sealed, the memory filled, or the file complete and for the caller to sync and rename. Otherwise
    // nothing of it is left in the store, and the partial file is removed, unless it can be resumed. The message names the peer or the
    // path.
    void (*done)(void *RAY_NULLABLE context, ray_status status, const char *message, const ray_transfer_progress *progress);
} ray_pull_callbacks;

enum {
    RAY_RESUME_OFF = 0,  // the file must not exist
    RAY_RESUME_KEEP = 1, // goes on with what an earlier pull left there
    RAY_RESUME_ANEW = 2, // forgets what an earlier pull left there
};

typedef struct ray_pull_options {
    uint32_t struct_size;
    uint32_t connection_count; // to each source, at most RAY_CONNECTION_COUNT_MAX; 0: the transfer's
    uint64_t timeout_ns;       // for the whole pull; 0: no limit
    uint64_t rate_max_bytes;   // raw ones a second; 0: no limit
    uint16_t codec;            // what to ask the sources for: RAY_CODEC_*, 0: automatic
    uint16_t resume;           // RAY_RESUME_*, for pulls into a file
    int32_t level;
    const char *RAY_NULLABLE name; // asks for what the sources serve by this name; the id is NULL then
    uint64_t range_offset;     // a part of the data, into memory: from here
    uint64_t range_size;       // so many bytes; 0: to the end
    uint64_t window_bytes;     // asked for and not yet arrived, per source; two to 256 chunks a connection; 0: the transfer's
    // A power of two, RAY_CHUNK_SIZE_MIN ... RAY_CHUNK_SIZE; 0: RAY_CHUNK_SIZE. Smaller ones suit slow links and low caps; they cost
    // more messages, and a partial file of another chunk size is begun anew.
    uint32_t chunk_size;
    uint32_t urgency;          // RAY_URGENCY_*
    // Once a source has answered: for how long sources that cannot be reached are tried again while no chunk comes from any, and those asked
    // again that had only named holders, or said RAY_NOT_LOCAL or RAY_NO_HOLDER: whom they name then is asked too. What has come is kept
    // meanwhile, so a link may be cut for so long, and another holder may turn up. 0: five times each, and half a second for another one.
    uint64_t patience_ns;
} ray_pull_options;

// Starts a pull from these sources; more may be learned from their cards. Returns at once. The caller owns *pull and ends it
// with ray_pull_release, before or after done. RAY_INVALID_ARGUMENT without sources, with neither or both of id and name, or with a
// value that an option does not take; the message names the option.
RAY_API ray_status ray_pull_start(ray_transfer *transfer, const ray_object_id *RAY_NULLABLE id, const ray_endpoint *sources, uint32_t source_count,
                                  const ray_pull_options *RAY_NULLABLE options, const ray_pull_callbacks *callbacks,
                                  void *RAY_NULLABLE context, ray_pull *RAY_NULLABLE *RAY_NULLABLE pull) RAY_NODISCARD;

// In opened: the data goes into the store under the pull's id, is verified chunk by chunk, and sealed when all is there.
RAY_API ray_status ray_pull_into_store(ray_pull *pull) RAY_NODISCARD;

// In opened: the same into an object that the caller has created, under the pull's id and with the sizes of the card. On success the writer is
// the pull's, which seals or aborts it, and void here; on failure it stays the caller's. RAY_INVALID_ARGUMENT: other sizes.
RAY_API ray_status ray_pull_into_object(ray_pull *pull, ray_object_writer *writer) RAY_NODISCARD;

// In opened: the data goes into a new file at this path. Room is reserved first, on tmpfs only looked at: RAY_OUT_OF_DISK says
// needed and free, and can come later there. The file is complete, but neither renamed nor made read-only, when done is called.
// RAY_EXISTS if there is a file already.
//
// With resume there may be one, if its journal is beside it; what is recorded for another object, in another chunk size, by another
// version or damaged is begun anew. A journal of the same object in another size or edition answers RAY_SOURCE_CHANGED. One pull at a time: RAY_IN_USE names the path
// and the process. That lock is held until done has returned, so a caller that renames the file in done is alone with it. The pull
// keeps file and journal when it fails in a way that another try may mend (cancelled, timed out, unreachable, no room, ...), and
// removes both when it cannot succeed any more: RAY_NOT_FOUND, RAY_FILE_NOT_FOUND, RAY_OBJECT_FREED, RAY_OWNER_DIED, RAY_CORRUPT,
// RAY_SOURCE_CHANGED. After success the journal is gone when done has returned.
RAY_API ray_status ray_pull_into_file(ray_pull *pull, const char *path) RAY_NODISCARD;

// In opened: the range of the options (all, if there is none) goes into this memory, which is the caller's until done has returned. Only the
// chunks that the range touches are asked for; each is verified whole, and what of it is not wanted goes through a buffer. As with
// pread a range that goes beyond the end of the data is shorter, or empty: the progress's total says how many bytes it has, the card the
// size of all of it. Whatever the end of the pull, the memory's bytes are those of the range only where done says RAY_OK.
// RAY_TOO_LARGE when the range, so clipped, has more bytes than the capacity, or ends behind four million chunks (16 TiB)
// of the pull's size.
RAY_API ray_status ray_pull_into_memory(ray_pull *pull, void *RAY_NULLABLE bytes, size_t capacity) RAY_NODISCARD;

// Whether a pull of this object, with RAY_RESUME_KEEP and in the chunk size of then, could go on with what one left at this path: RAY_NOT_FOUND when
// there is none, or it is another object's, another version's or damaged. Whether the source has changed since, only the pull finds out. Looks only, and
// may look at what a pull is at.
RAY_API ray_status ray_pull_can_resume(const char *path, const ray_object_id *id) RAY_NODISCARD;

// Removes what a pull with resume left at this path: the file and its journal. None is not a failure. RAY_IN_USE while a pull is at it.
RAY_API ray_status ray_pull_discard(const char *path) RAY_NODISCARD;

// Another place to pull from.
RAY_API ray_status ray_pull_add_source(ray_pull *pull, const ray_endpoint *source);

// Makes it as urgent as this, if it is less: from its next request on. RAY_INVALID_ARGUMENT for what is no class.
RAY_API ray_status ray_pull_set_urgency(ray_pull *pull, uint32_t urgency);

// Ends it soon with RAY_CANCELLED, unless it is done already.
RAY_API void ray_pull_cancel(ray_pull *pull);

RAY_API void ray_pull_progress(ray_pull *pull, ray_transfer_progress *progress);

// ---- why it goes as it goes --------------------------------------------------------------------------------------------

// Why a chunk came packed as it did, or not packed. More may be added.
enum {
    RAY_REASON_UNKNOWN = 0,     // the source has not said, or not yet
    RAY_REASON_START = 1,       // nothing was known of the link yet
    RAY_REASON_HOPELESS = 2,    // the data does not shrink
    RAY_REASON_FAST = 3,        // the link takes more than the free cores can pack
    RAY_REASON_STRONGEST = 4,   // the link is the limit, and nothing stronger pays
    RAY_REASON_BALANCE = 5,     // with it link and cores are both full
    RAY_REASON_RECEIVER = 6,    // the receiver is the limit, and unpacks it quickly
    RAY_REASON_NO_GAIN = 7,     // packing was tried and brought less than raw
    RAY_REASON_TRIAL = 8,       // so that its cost is known
    RAY_REASON_ASKED = 9,       // this pull asks for it
    RAY_REASON_FIXED = 10,      // the source is set to it
    RAY_REASON_SMALL = 11,      // the data came with the source's first answer
    RAY_REASON_NOT_SMALLER = 12, // it was to be packed; that did not make it smaller, or there was no memory for it
    RAY_REASON_UNIFORM = 13,    // it is one byte over and over
};
#define RAY_REASON_COUNT 14u
#define RAY_EXPLAIN_CHOICES_MAX 18u

// One way in which chunks came from a source, or which it has used or measured.
typedef struct ray_choice_explanation {
    uint16_t codec;          // RAY_CODEC_NONE, _LZ4, _ZSTD
    int16_t level;           // of zstd, else 0
    uint16_t reason;         // RAY_REASON_*: why most of them came so
    uint16_t filter;         // what was done before packing, of the latest (docs/PROTOCOL.md)
    uint32_t chunk_count;    // arrived, as counted here
    uint32_t chosen_count;   // as the source counted its choices; those on their way are among them
    uint64_t raw_bytes;      // of the arrived
    uint64_t wire_bytes;     // the same as stored in frames
    uint64_t core_rate;      // raw bytes a second that a core of the source packs, as it measured; 0: it has not
    uint32_t ratio_permille; // stored / raw, as it measured; 0: it has not
} ray_choice_explanation;

// What came from one source, and the latest of what it said: a few times a second, and near the end.
typedef struct ray_source_explanation {
    uint32_t struct_size;
    uint32_t chunk_count;    // that were kept, by their first arrival
    ray_endpoint endpoint;
    uint64_t raw_bytes;
    uint64_t wire_bytes;
    uint64_t link_rate;      // bytes a second that its link takes, as it measured; 0: not known
    uint32_t is_told;        // 1: it has said something; else this and what follows up to choices is not known
    uint32_t thread_count;   // with which it packs
    uint32_t idle_permille;  // of its cores that nobody uses; 65535: not known
    uint16_t codec;          // of the latest chunk, as it chose
    int16_t level;
    uint16_t reason;         // why that
    uint16_t choice_count;
    ray_choice_explanation choices[RAY_EXPLAIN_CHOICES_MAX]; // from none to strong
} ray_source_explanation;

// Tells what came from the index-th of the sources that sent something or said something, and why it came so; in opened, while it runs and
// after the end alike, as long as the caller has the handle. What a source says is believed only to be shown. RAY_NOT_FOUND beyond the
// last one. Set struct_size before each call; a shorter one gets the beginning.
RAY_API ray_status ray_pull_explain_source(ray_pull *pull, uint32_t index, ray_source_explanation *source) RAY_NODISCARD;

// The same for people: a line for each source, then one that says what was chosen for most chunks, how many of them, and why. Lines end
// with a newline. Writes at most capacity bytes with the NUL, and answers how many characters all of it has, as snprintf does. The wording
// may change; programs read the numbers.
RAY_API size_t ray_pull_explain(ray_pull *pull, char *RAY_NULLABLE text, size_t capacity);

// Why nothing comes now, as the sources last said, or which has not answered yet; "" while something does, and after the end. Otherwise as ray_pull_explain.
RAY_API size_t ray_pull_standstill(ray_pull *pull, char *RAY_NULLABLE text, size_t capacity);

// Gives the handle up; does not cancel. Accepts NULL.
RAY_API void ray_pull_release(ray_pull *RAY_NULLABLE pull);

RAY_ASSUME_NONNULL_END
RAY_END_DECLS
#endif
