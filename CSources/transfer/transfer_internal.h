// SPDX-License-Identifier: Apache-2.0
// What the parts of a transfer share.
//
// Threads of a ray_transfer, all joined by ray_transfer_destroy:
//   1 supervisor     deadlines, progress callbacks, retries that are due, idle connections
//   1 acceptor       if it listens
//   <= 16 workers    one a core: hash, pack, unpack, place (workers_internal.h)
//   <= 32 links      a link pulls from one source over one connection (link.c); made when needed
//   <= 256 served    a thread for each accepted connection (serve.c)
//
// What they share of a direction is in flow_internal.h, what memory they may take in memory_internal.h.
//
// Locks, in the order in which they may be taken: list_lock, a pull's lock, then one of queue_lock, idle_lock, supervise_lock. served_lock and the
// others stand alone. No callback runs under any of them.
#ifndef RAY_TRANSFER_TRANSFER_INTERNAL_H
#define RAY_TRANSFER_TRANSFER_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/cores_internal.h"
#include "codec/tuner_internal.h"
#include "transfer/connection_internal.h"
#include "transfer/flow_internal.h"
#include "transfer/journal_internal.h"
#include "transfer/sums_internal.h"
#include "transfer/wire_internal.h"
#include "transfer/workers_internal.h"

#define RAY__LINKS_MAX 32u
#define RAY__SERVED_MAX 256u
#define RAY__PROVING_MAX 32u  // accepted connections that have not proved themselves yet
#define RAY__IDLE_MAX 64u     // connections kept for the next pull
#define RAY__SOURCES_MAX 64u  // of a pull
#define RAY__SESSION_MAX (64u << 10) // of what a served connection keeps for itself
#define RAY__PULLS_MAX 65536u // at once

#define RAY__MS 1000000ull
#define RAY__SECOND 1000000000ull
#define RAY__PROVE_NS (5 * RAY__SECOND)
#define RAY__CONNECT_NS (5 * RAY__SECOND)
#define RAY__SILENT_NS (5 * RAY__SECOND)         // a sender that owes chunks
#define RAY__SERVED_SILENT_NS (60 * RAY__SECOND) // a receiver that takes nothing, or asks for nothing
#define RAY__IDLE_NS (15 * RAY__SECOND)          // shorter than what the serving end allows
#define RAY__HEDGE_NS (250 * RAY__MS)            // for a source to answer, before the next one is asked as well
#define RAY__PROGRESS_NS (100 * RAY__MS)
#define RAY__GRACE_NS (500 * RAY__MS)            // for another source, after the last one broke
#define RAY__ATTEMPTS_MAX 4u                     // in a row that bring nothing
#define RAY__BACKOFF_NS (50 * RAY__MS)           // doubled each time
#define RAY__CORRUPT_MAX 5u                      // in a row from one source

// ---- answers and offers: the sending side ------------------------------------------------------------------------------

enum { RAY__ANSWER_NOTHING = -1 };

struct ray_answer {
    int kind; // RAY_KIND_* or RAY__ANSWER_NOTHING
    char *path;
    int file;         // opened by ray_answer_beneath, else -1
    uint64_t edition; // of what was found by name, else 0
    uint64_t size_bytes;
    int64_t mtime_ns;
    uint8_t *metadata;
    uint32_t metadata_size;
    uint8_t *descriptor;
    uint32_t descriptor_size;
    ray_status failure; // of an answer function, such as no memory
    ray__share *share;  // for what it keeps
    uint64_t taken_bytes;
    int stop;
    uint32_t holder_count;
    ray_endpoint holders[RAY__HOLDERS_MAX];
    char text[RAY__TEXT_MAX];
};

// The chunks of an offer on their way to the link, and what became of those that left.
typedef struct ray__gauge {
    _Atomic uint32_t under_way; // given to workers and not yet sent
    _Atomic uint32_t ready;     // of which prepared
    _Atomic uint64_t ready_bytes;
    pthread_mutex_t lock;
    pthread_cond_t known; // the tuner knows the link, or nothing is under way
    uint64_t since_ns;    // the span that is being summed up, on all connections
    ray__drain drained;
    ray__span span;
    ray__cores cores;
} ray__gauge;

// An object or file that is being sent to one pull, over any number of connections.
typedef struct ray__offer {
    struct ray__offer *next;
    uint32_t refs; // under offers_lock
    uint64_t token;
    ray_object_id id;
    char *name; // NULL: asked for by its id
    char peer[RAY_HOST_MAX + 8];
    uint64_t since_ns;
    _Atomic uint64_t sent_bytes; // of all its connections
    _Atomic uint64_t wire_bytes;
    ray_status status; // why it cannot be sent, or RAY_OK
    ray_answer answer;
    ray_object_view view; // of an object, if pinned
    bool pinned;
    int file;             // of a file, -1 otherwise
    uint64_t size_bytes;
    uint32_t chunk_size;
    ray__sums *sums;
    _Atomic bool changed; // the file is not what it was
    ray__tuner tuner;
    ray__gauge gauge;
} ray__offer;

// may_wait: for memory. Else RAY_AGAIN, as an answer or as the offer's status.
ray_status ray__offer_open(ray_transfer *transfer, const ray__open *open, const char *peer, bool may_wait, ray__offer **offer) RAY_NODISCARD;
void ray__offer_release(ray_transfer *transfer, ray__offer *offer);
// Fills a card; its pointers are valid as long as the offer is.
void ray__offer_card(const ray__offer *offer, bool with_data, ray__card_message *card);
// Reads from the file. RAY_SOURCE_CHANGED when it is not what it was.
ray_status ray__offer_read(ray__offer *offer, void *bytes, uint64_t offset, size_t size) RAY_NODISCARD;
// Counts what was sent of it.
void ray__offer_sent(ray_transfer *transfer, ray__offer *offer, uint32_t raw_size, uint32_t stored_size);
// Looks at the file's size and time.
ray_status ray__offer_check(ray__offer *offer) RAY_NODISCARD;
// A chunk that a connection owes, prepared by a worker. The connection has a fixed number of them.
typedef struct ray__order {
    ray__job job;
    ray_transfer *transfer;
    ray__ring *prepared; // where it goes when done
    _Atomic uint32_t *at_workers; // orders that a worker may still touch the ring for
    ray__offer *offer;
    uint32_t stream;
    uint32_t index;
    uint16_t codec; // wish
    int16_t level;
    uint16_t urgency;
    uint32_t raw_size;
    uint32_t ready_size; // as counted by the offer's gauge
    ray_status status;
    char text[RAY__TEXT_MAX];
    ray_chunk_header header;
    uint8_t *packed; // NULL: raw
} ray__order;

void ray__order_prepare(ray__job *job, ray__worker *worker);

// gauge.c
void ray__gauge_init(ray__gauge *gauge);
void ray__gauge_end(ray__gauge *gauge);
// Counts a chunk as under way. False when it has to wait: until the link is known each chunk is chosen alone, for the first would
// otherwise all go raw over a slow one.
bool ray__gauge_begin(ray__offer *offer, bool is_tuned);
// Waits until one that had to wait can be tried again.
void ray__gauge_wait(ray__offer *offer, uint64_t timeout_ns);
void ray__gauge_prepared(ray__order *order);
// It was sent, or dropped.
void ray__gauge_left(ray__order *order);
void ray__gauge_backlog(const ray__offer *offer, ray__backlog *backlog);
// Tells the tuner how the link does, after a chunk (NULL: none yet) left on this connection.
void ray__gauge_drained(ray__offer *offer, ray__drain *last, const ray__connection *connection, const ray_chunk_header *chunk);

typedef struct ray__served ray__served;

ray_status ray__serving_start(ray_transfer *transfer, const char *host, uint16_t port) RAY_NODISCARD;
void ray__serving_stop(ray_transfer *transfer);

// ---- pulls: the receiving side -----------------------------------------------------------------------------------------

enum ray__chunk_state { RAY__CHUNK_MISSING = 0, RAY__CHUNK_ASKED = 1, RAY__CHUNK_HERE = 2 };

typedef struct ray__pull_source {
    ray_endpoint endpoint;
    bool learned;      // from a card, not from the caller
    bool ended;        // not to be used any more
    bool answered;     // has given a card that fits
    uint32_t links;    // queued or running
    uint32_t attempts; // failed in a row
    uint32_t corrupt;  // chunks in a row
    uint64_t retry_at_ns;
} ray__pull_source;

#define RAY__SINK_MEMORY 2           // beside the RAY_KIND_*
#define RAY__RANGE_CHUNKS_MAX (4u << 20) // before a range's end; the list of them takes 9 bytes each

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
    uint32_t connection_count;
    uint16_t codec;
    int16_t level;
    uint16_t resume; // RAY_RESUME_*
    uint32_t chunk_size;
    uint64_t window_bytes;
    ray__rate rate;
    _Atomic uint32_t urgency; // RAY_URGENCY_*; only ever more urgent
    uint32_t links_running;   // under queue_lock: with a thread
    struct ray__link_job *links_waiting; // the same: for a thread
    uint64_t range_offset; // as asked for
    uint64_t range_size;
    uint64_t started_ns;
    uint64_t deadline_ns;
    ray_pull_callbacks callbacks;
    void *context;
    int stop; // eventfd: readable when the pull has ended; -1 before its first link, so that a pull that waits costs none
    _Atomic bool ended;

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
void ray__pull_add_locked(ray_pull *pull, const ray_endpoint *endpoint, bool learned);
// Queues links where they are useful, and ends the pull if nothing can help it any more. Under the pull's lock.
void ray__pull_schedule_locked(ray_pull *pull, uint64_t now);
// Takes care of one pull at this time; answers when to look again.
uint64_t ray__pull_tend(ray_pull *pull, uint64_t now);

// chunks.c: who fetches what
// Takes up to `capacity` chunks; *wait_until_ns is set when a cap or a more urgent class allows none now;
// NULL: the bytes are here already, nothing holds them back.
uint32_t ray__pull_take_chunks(ray_pull *pull, uint32_t capacity, uint32_t *indices, uint64_t *wait_until_ns);
void ray__pull_return_chunks(ray_pull *pull, const uint32_t *indices, uint32_t count);
void ray__pull_chunk_arrived(ray_pull *pull, uint32_t source, const ray_chunk_header *header);
void ray__pull_chunk_corrupt(ray_pull *pull, uint32_t source, uint32_t index, const char *message);
// What became of a chunk that the journal lists.
void ray__pull_chunk_was_here(ray_pull *pull, uint32_t index, bool is_right);
// Records why a source failed; `final` ends its use.
void ray__pull_source_failed(ray_pull *pull, uint32_t source, ray_status status, const char *message, bool final);
void ray__pull_source_failed_locked(ray_pull *pull, uint32_t source, ray_status status, const char *message, bool final);

// sink.c
// Makes the sink ready for size_bytes and counts its chunks. Under no lock; only the link that opens.
ray_status ray__sink_begin(ray_pull *pull) RAY_NODISCARD;
ray_status ray__sink_write(ray_pull *pull, const void *bytes, size_t size, uint64_t offset) RAY_NODISCARD;
// The same, but not (*written) while another thread writes to the file.
ray_status ray__sink_try_write(ray_pull *pull, const void *bytes, size_t size, uint64_t offset, bool *written) RAY_NODISCARD;
ray_status ray__sink_finish(ray_pull *pull) RAY_NODISCARD;
// Where a chunk may be received straight into, before it is verified; NULL: nowhere, it goes through ray__sink_write.
uint8_t *ray__sink_place(const ray_pull *pull, uint32_t index);
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
uint8_t *ray__memory_place(const ray_pull *pull, uint64_t offset, uint32_t raw_size);

// resume.c
// Opens the partial file and its journal, and sets the sink's part of it. In opened.
ray_status ray__resume_open(ray_pull *pull, const char *path, uint64_t size_bytes, int *file) RAY_NODISCARD;
// Marks what the journal lists as asked for; answers how many chunks. Under the pull's lock.
uint32_t ray__resume_mark_locked(ray_pull *pull);
// Hashes what the journal lists.
void ray__resume_verify(ray_pull *pull);

// link.c
#define RAY__SOURCE_DISK UINT32_MAX // what the journal lists, to be verified

typedef struct ray__link_job {
    struct ray__link_job *next;
    struct ray__link_job *previous;
    struct ray__link_job *next_of_pull;
    ray_pull *pull;
    uint32_t source; // or RAY__SOURCE_DISK
    bool opens;      // nothing is known of the pull yet, so it may be asked for together with others
} ray__link_job;

#define RAY__LINKS_LOW_MAX 24u // of prefetch and background together
#define RAY__LINKS_KEPT 3u     // that the less urgent need not give up

// Links that wait for a thread, and that have one, by class.
typedef struct ray__link_queue {
    ray__link_job *first;
    ray__link_job *last;
    uint32_t running;
} ray__link_queue;

// Answers whether it ended early to give its place up (ray__link_queue_wants_place).
bool ray__link_run(ray_pull *pull, uint32_t source);

// receive.c: one connection of a pull
#define RAY__HELD_MAX RAY__LINK_BUFFER_MAX

typedef struct ray__link {
    ray_pull *pull;
    uint32_t source;
    ray__connection connection;
    uint32_t stream;
    uint32_t depth;         // chunks that may be due at once
    uint32_t due_count;
    uint32_t due[RAY__INDICES_MAX];
    uint64_t due_bytes;     // raw, of the chunks that are due
    bool gives_place;       // asks for no more, since its place is wanted
    uint32_t due_urgency;   // the class that they count in
    uint8_t *held;          // RAY__HELD_MAX bytes on their way into a file
} ray__link;

// urgency.c
// Waits until the time, or less: until the pull ends or its place is wanted.
void ray__pull_wait(const ray_pull *pull, uint64_t until_ns);
// Waits until the caps allow that a card is asked for, which may bring data. False when the pull ends first, or the link's place is wanted.
bool ray__link_may_open(ray__link *link);
// These chunks are due now, these bytes not any more.
void ray__link_asked(ray__link *link, const uint32_t *indices, uint32_t count);
void ray__link_arrived(ray__link *link, const ray_chunk_header *header);
void ray__link_gives_up(ray__link *link);
// Waits for the turn of up to size bytes and says how many may be sent. RAY_CANCELLED when the connection is stopped.
ray_status ray__pace(ray_transfer *transfer, const ray__connection *connection, uint32_t urgency, uint64_t size, uint64_t *piece) RAY_NODISCARD;

ray_status ray__link_receive(ray__link *link) RAY_NODISCARD;

// The parts of ray__link_run, for batch.c.
void ray__link_begin(ray__link *link, ray_pull *pull, uint32_t source);
// Writes an OPEN on a new stream of the link's connection; answers its size.
uint32_t ray__link_write_open(ray__link *link, uint8_t *message);
// Bytes of a card, within the share of cards that are received.
typedef struct ray__card_body {
    uint8_t *bytes;
    uint32_t size; // as taken of the share
} ray__card_body;

// Waits for room for the body, whose size was checked; *card points into it. To be freed also after a failure.
ray_status ray__link_read_card(ray_transfer *transfer, ray__connection *connection, ray__card_body *body, ray__card_message *card,
                               uint32_t *stream) RAY_NODISCARD;
void ray__card_body_free(ray_transfer *transfer, ray__card_body *body);
// True when there are chunks to fetch on the card's stream.
bool ray__link_answer(ray__link *link, const ray__card_message *card);
void ray__link_note_failure(ray__link *link, ray_status status);

// batch.c: many pulls begun together on a connection that is there
#define RAY__BATCH_MAX 16u // as many streams as a sender allows on a connection

// Runs these jobs, which all open at this endpoint, and gives their pulls up. Frees neither.
void ray__batch_run(ray_transfer *transfer, const ray_endpoint *endpoint, ray__connection *connection, ray__link_job *const *jobs,
                    uint32_t count);

// queue.c: link threads and idle connections
typedef struct ray__idle {
    ray_endpoint endpoint;
    ray__connection connection;
    uint64_t since_ns;
} ray__idle;

ray_status ray__link_queue_push(ray_pull *pull, uint32_t source) RAY_NODISCARD;
// Makes what the pull has there of another class. Under the pull's lock.
void ray__link_queue_move(ray_pull *pull, uint32_t urgency);
// Takes out what an ended pull has there, which would wait for a thread only to find that there is nothing to do. Under the pull's lock.
void ray__link_queue_drop(ray_pull *pull);
// Whether a link of this class should end early, because a more urgent pull waits for a thread. Who is told so does.
bool ray__link_queue_wants_place(ray_transfer *transfer, uint32_t urgency);
// The end of a job that a thread has: its link counts no more, and the pull goes on or finishes.
void ray__link_job_done(const ray__link_job *job, bool gave_place);
void ray__link_threads_stop(ray_transfer *transfer);
bool ray__idle_take(ray_transfer *transfer, const ray_endpoint *endpoint, int stop, ray__connection *connection);
void ray__idle_give(ray_transfer *transfer, const ray_endpoint *endpoint, const ray__connection *connection);
void ray__idle_expire(ray_transfer *transfer, uint64_t older_than_ns);

// ---- the transfer ------------------------------------------------------------------------------------------------------

struct ray_transfer {
    uint32_t connection_count;
    uint16_t codec;
    int16_t level;
    uint64_t window_bytes;
    ray_store *store;
    ray_key key;
    ray_find_fn find;
    ray_find_named_fn find_named;
    ray_served_fn served_by_name;
    void *context;
    ray__workers workers;
    ray__memory memory;
    uint64_t memory_max_bytes;
    ray__share answers;
    ray__share cards_sent;
    ray__share cards_received;
    ray__flow sending;
    ray__flow receiving;
    ray__buffers send_buffers;
    ray__buffers receive_buffers;
    ray__sums_cache *sums;
    int stop; // eventfd: readable when the transfer is being destroyed

    _Atomic uint64_t sent_bytes;
    _Atomic uint64_t sent_wire_bytes;
    _Atomic uint64_t received_bytes;
    _Atomic uint64_t received_wire_bytes;
    _Atomic uint64_t refused_count;
    _Atomic uint64_t corrupt_count;
    _Atomic uint64_t retried_count;
    _Atomic uint32_t open_links;

    // serving
    int listener;
    uint16_t port;
    pthread_t acceptor;
    bool accepting;
    pthread_mutex_t served_lock;
    pthread_cond_t served_changed;
    ray__served *served; // with those that ended and wait to be joined
    uint32_t served_count;
    uint32_t proving_count;
    bool serving_stopped;
    pthread_mutex_t offers_lock;
    ray__offer *offers;

    // pulling
    pthread_mutex_t list_lock;
    pthread_cond_t list_changed;
    ray_pull *pulls;
    uint32_t pull_count;
    bool closing;
    pthread_mutex_t supervise_lock; // a leaf
    pthread_cond_t supervise_changed;
    bool supervise_now;
    bool supervisor_ends;
    bool supervising;
    pthread_t supervisor;
    pthread_mutex_t queue_lock;
    pthread_cond_t queue_changed;
    ray__link_queue queues[RAY_URGENCY_COUNT];
    uint32_t queue_length;
    uint32_t queue_turn;
    uint32_t queue_yielding; // links that were told to give their place up and have it still
    _Atomic uint32_t queue_top; // the most urgent class that waits without a thread, or RAY_URGENCY_COUNT
    uint32_t link_threads;
    uint32_t link_threads_idle;
    bool links_end;
    pthread_t links[RAY__LINKS_MAX];
    pthread_mutex_t idle_lock;
    uint32_t idle_count;
    ray__idle idle[RAY__IDLE_MAX];
};

void ray__transfer_wake_supervisor(ray_transfer *transfer);

#endif
