// SPDX-License-Identifier: Apache-2.0
// The receiving side: a pull, its sources, its chunks and the sink that they go to.
#ifndef RAY_TRANSFER_PULL_INTERNAL_H
#define RAY_TRANSFER_PULL_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "raystore/transfer.h"
#include "transfer/journal_internal.h"
#include "transfer/limits_internal.h"
#include "transfer/offer_internal.h"
#include "transfer/rate_internal.h"
#include "transfer/wire_internal.h"
#include "transfer/workers_internal.h"

typedef struct ray__link ray__link;

enum ray__chunk_state {
    RAY__CHUNK_MISSING = 0,
    RAY__CHUNK_ASKED = 1,
    RAY__CHUNK_HERE = 2,
    RAY__CHUNK_REFERRED = 3, // is to be asked of one source, in whose list it is
};

#define RAY__NO_REFER UINT8_MAX // instead of a depth: of a missing chunk that is to be asked for without being referred again
#define RAY__NO_CHUNK UINT32_MAX

typedef struct ray__pull_source {
    ray_endpoint endpoint;
    bool learned;      // from a card, not from the caller
    bool ended;        // not to be used any more
    bool answered;     // has given a card that fits
    bool guides;       // knows, or will know, who has the object, and does not have it itself
    uint64_t round_trip_ns; // to it and back, once it has answered
    uint32_t links;    // queued or running
    uint32_t attempts; // failed in a row
    uint32_t corrupt;  // chunks in a row
    uint64_t retry_at_ns;
    bool referred;     // learned from a REFER
    bool late;         // others are asked for what is due from it; until it brings a chunk
    bool partial;      // said that it is still being filled itself
    uint32_t due_count;           // asked for and not answered, on all its links
    uint32_t referred_first;      // list of the chunks to be asked of it, linked by the pull's next_referred
    uint32_t referred_last;
    uint32_t referred_count;
    uint64_t arrived_ns;          // the latest chunk
    uint64_t rate;                // measured, bytes a second; 0: not known yet
    uint64_t rate_since_ns;
    uint64_t rate_bytes;
    uint64_t card_bytes;          // of the data, that came with its card
    struct ray__account *account; // of its chunks (explain.c); NULL: it has sent none
} ray__pull_source;

#define RAY__SINK_MEMORY 2           // beside the RAY_KIND_*
#define RAY__RANGE_CHUNKS_MAX (4u << 20) // before a range's end; the list of them takes 22 bytes each

// Who writes a chunk to the sink. A chunk may come twice, but only one may write at a time, and nobody once it is here.
typedef struct ray__claim {
    uint32_t index;
    ray__link *link; // NULL: a worker
    bool left;       // a worker has thrown away what came meanwhile
} ray__claim;
#define RAY__CLAIMS_MAX (RAY__LINKS_MAX + RAY__WORKERS_MAX)

typedef struct ray__sink {
    int kind; // RAY_KIND_*, RAY__SINK_MEMORY, -1: none yet
    uint8_t *memory;     // of the caller, for the range
    uint64_t range_begin; // of the data, clipped to its size; all of it but in memory
    uint64_t range_end;
    ray_object_writer writer;
    int file;
    char *path;
    pthread_mutex_t turn; // to write to the file: the kernel lets one thread at a time, and others burn their core meanwhile
    ray__journal journal; // of a file that can be resumed
    bool goes_on;         // the journal lists chunks of an earlier pull
} ray__sink;

struct ray_pull {
    _Atomic uint32_t refs;
    ray_transfer *transfer; // not to be touched once done
    ray_pull *next;         // in the transfer's list
    ray_pull *previous;
    ray_object_id id;
    char *name; // NULL: asked for by its id
    uint64_t token;
    uint32_t connection_count; // to each source; 0: by its distance
    uint16_t codec;
    int16_t level;
    uint16_t resume; // RAY_RESUME_*
    uint32_t chunk_size;
    uint64_t window_bytes;
    ray__rate rate;
    _Atomic uint32_t urgency; // RAY_URGENCY_*; only ever more urgent
    uint32_t links_running;   // under queue_lock: with a thread
    struct ray__link_job *links_waiting; // the same: for a thread
    uint64_t patience_ns;
    uint64_t range_offset; // as asked for
    uint64_t range_size;
    uint64_t started_ns;
    uint64_t deadline_ns;
    ray_pull_callbacks callbacks;
    void *context;
    int stop; // eventfd: readable when the pull has ended; -1 before its first link, so that a pull that waits costs none
    _Atomic bool ended;
    _Atomic uint32_t unpack_ps[RAY_CODEC_ZSTD + 1]; // picoseconds of a core for a raw byte, by codec, as measured; 0: not yet

    pthread_mutex_t callback_lock; // callbacks run one at a time
    bool done_called;              // under callback_lock

    pthread_mutex_t lock; // all below
    pthread_cond_t opened_changed;
    bool opening;         // a link is asking the caller for a sink
    bool opened;
    bool finishing;
    bool goes_alone;      // was begun in a batch that had no place for its data
    const ray_card *card; // during opened
    uint64_t open_next_ns; // when the next source is asked, if none has answered
    uint32_t active; // links queued or running, chunks being unpacked
    ray_status status;
    char message[RAY__TEXT_MAX];
    ray_status source_status; // the weightiest reason why a source failed
    char source_message[RAY__TEXT_MAX];
    uint64_t grace_until_ns;
    uint64_t still_since_ns; // since a source failed that no other one stands in for; 0: a chunk has come since
    uint64_t progress_due_ns;
    ray__sink sink;
    uint32_t kind;
    uint64_t size_bytes;
    uint64_t edition;
    uint32_t chunk_count;
    uint32_t missing_count;
    uint32_t here_count;
    uint32_t search_from;
    uint8_t *chunks;
    uint8_t *depths;         // of a chunk asked for or referred: with which depth; of a missing one 0 or RAY__NO_REFER
    uint32_t *next_referred; // in a source's list
    uint64_t *away;          // a bit for every source that does not have the chunk, or is too slow with it
    uint64_t arrived_ns;     // the latest chunk
    uint64_t chunk_time_ns;  // from asking to arriving, on average
    uint64_t rescue_since_ns; // without a source that has all of it, 0: there is one
    uint64_t look_due_ns;    // when to look again whether a source is too slow
    ray__link *links;        // that run
    uint32_t claim_count;
    ray__claim claims[RAY__CLAIMS_MAX];
    pthread_cond_t claims_changed;
    // of those that are served from here
    uint8_t *metadata;
    uint8_t *descriptor;
    uint32_t metadata_size;
    uint32_t descriptor_size;
    uint32_t offer_count;
    ray__watcher *watchers;
    ray__reader *readers;
    pthread_cond_t readers_changed;
    bool settled;        // nobody joins it any more
    bool serving_failed;
    bool pinned;
    ray_object_view view;
    uint64_t *checksums; // of the chunks that are here, or that the journal lists
    uint32_t source_count;
    ray__pull_source sources[RAY__SOURCES_MAX];
    ray_transfer_progress progress;
};

// pull.c
void ray__pull_acquire(ray_pull *pull);
// Makes the event that its links wait with. A failure has ended the pull.
ray_status ray__pull_make_stop(ray_pull *pull) RAY_NODISCARD;
// Ends the pull with this status and the message, unless it has ended. Under the pull's lock.
void ray__pull_end_locked(ray_pull *pull, ray_status status, const char *message);
void ray__pull_end(ray_pull *pull, ray_status status, const char *message);
// One active part less; the last one of an ended pull finishes it.
void ray__pull_leave(ray_pull *pull);
// Takes care of one pull at this time; answers when to look again.
uint64_t ray__pull_tend(ray_pull *pull, uint64_t now);

// schedule.c
// How many connections the source gets.
uint32_t ray__pull_connections_locked(const ray_pull *pull, uint32_t source);
// Which source it is, or UINT32_MAX.
uint32_t ray__pull_find_locked(const ray_pull *pull, const ray_endpoint *endpoint);
void ray__pull_add_locked(ray_pull *pull, const ray_endpoint *endpoint, bool learned);
// Queues links where they are useful, and ends the pull if nothing can help it any more. Under the pull's lock.
void ray__pull_schedule_locked(ray_pull *pull, uint64_t now);

// chunks.c: who fetches what
// Takes chunks for this link to ask for, as many as it may have due, and notes them as due; *wait_until_ns is set when a cap or a more
// urgent class allows none now.
void ray__pull_take_chunks(ray__link *link, ray__request *request, uint64_t *wait_until_ns);
// Takes a chunk whose bytes came with the card. False: none is missing any more.
bool ray__pull_take_inline(ray_pull *pull, uint32_t *index);
// Whether one of those that are missing may be asked of this source.
bool ray__pull_has_missing_for_locked(const ray_pull *pull, uint32_t source);
bool ray__link_is_due(ray__link *link, uint32_t index);
void ray__link_not_due(ray__link *link, uint32_t index);
// The same, with the chunk; notes how long it took.
void ray__link_answered(ray__link *link, uint32_t index);
// Puts a link on its pull's list, before it asks.
void ray__link_enlist(ray__link *link);
// Returns what is due on a link that ends, and takes it off the list.
void ray__link_return_due(ray__link *link);
// What is in a source's list is asked for elsewhere.
void ray__referred_return_locked(ray_pull *pull, uint32_t source);
void ray__chunk_missing_locked(ray_pull *pull, uint32_t index, bool may_be_referred);
// The same, of one that was asked for, if it still is; counts it as retried.
void ray__chunk_return_locked(ray_pull *pull, uint32_t index);

// arrivals.c
void ray__pull_chunk_arrived(ray_pull *pull, uint32_t source, const ray_chunk_header *header);
void ray__pull_chunk_corrupt(ray_pull *pull, uint32_t source, uint32_t index, const char *message);
// The source says who else has the chunk.
void ray__pull_chunk_referred(ray__link *link, const ray__refer *refer);
// What became of a chunk that the journal lists.
void ray__pull_chunk_was_here(ray_pull *pull, uint32_t index, bool is_right);

// failures.c
// Records why a source failed; `final` ends its use.
void ray__pull_source_failed(ray_pull *pull, uint32_t source, ray_status status, const char *message, bool final);
void ray__pull_source_failed_locked(ray_pull *pull, uint32_t source, ray_status status, const char *message, bool final);
// The source has named who has the object. It is asked again while nobody brings any of it.
void ray__pull_source_guides(ray_pull *pull, uint32_t source);
// A card names a place that may have been given up.
void ray__pull_named_locked(ray_pull *pull, const ray_endpoint *endpoint);

// tail.c: chunks that come twice
enum ray__claimed { RAY__CLAIM_MINE, RAY__CLAIM_HERE, RAY__CLAIM_BUSY };
// The right to write a chunk to the sink. BUSY: another is at it.
enum ray__claimed ray__claim_take(ray_pull *pull, uint32_t index, ray__link *link);
void ray__claim_drop(ray_pull *pull, uint32_t index);
// Waits for the right. A link that has it and waits for the network is cut off. Not for workers.
enum ray__claimed ray__claim_wait(ray__link *link, uint32_t index);
// For workers, who wait for nobody: whoever is at it returns the chunk, to be asked for once more, if he does not bring it; a link that is
// at it is cut off.
enum ray__claimed ray__claim_take_or_leave(ray_pull *pull, uint32_t index);
// Lets idle sources have what is due from slow ones. Answers when to look again.
uint64_t ray__tail_look_locked(ray_pull *pull, uint64_t now);
// Whether the source has all of it and may still be asked; whether there is one.
bool ray__source_is_whole(const ray__pull_source *source);
bool ray__pull_has_whole_locked(const ray_pull *pull);

// sink.c
// Makes the sink ready for size_bytes and counts its chunks. Under no lock; only the link that opens.
ray_status ray__sink_begin(ray_pull *pull) RAY_NODISCARD;
ray_status ray__sink_write(ray_pull *pull, const void *bytes, size_t size, uint64_t offset) RAY_NODISCARD;
// The same, but not (*written) while another thread writes to the file.
ray_status ray__sink_try_write(ray_pull *pull, const void *bytes, size_t size, uint64_t offset, bool *written) RAY_NODISCARD;
ray_status ray__sink_finish(ray_pull *pull) RAY_NODISCARD;
// Where a chunk may be received straight into, before it is verified; NULL: nowhere, it goes through ray__sink_write.
uint8_t *ray__sink_destination(const ray_pull *pull, uint32_t index);
// How many chunks there are up to the end of what is wanted, and before its beginning; how many bytes of a chunk are wanted.
uint32_t ray__sink_chunk_count(const ray_pull *pull);
uint32_t ray__sink_skipped_count(const ray_pull *pull);
uint32_t ray__sink_wanted_size(const ray_pull *pull, uint32_t index);
// Undoes it after this failure; what can be resumed stays.
void ray__sink_abandon(ray_pull *pull, ray_status status);
// After the done callback: gives up the lock of a complete file.
void ray__sink_settle(ray_pull *pull);

// memory_sink.c
void ray__memory_write(ray_pull *pull, const void *bytes, size_t size, uint64_t offset);
// NULL for a chunk that the range covers in part.
uint8_t *ray__memory_destination(const ray_pull *pull, uint64_t offset, uint32_t raw_size);

// resume.c
// Opens the partial file and its journal, and sets the sink's part of it. In opened.
ray_status ray__resume_open(ray_pull *pull, const char *path, uint64_t size_bytes, int *file) RAY_NODISCARD;
// Marks what the journal lists as asked for; answers how many chunks. Under the pull's lock.
uint32_t ray__resume_mark_locked(ray_pull *pull);
// Hashes what the journal lists.
void ray__resume_verify(ray_pull *pull);

#endif
