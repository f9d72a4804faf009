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

typedef struct ray__link ray__link;

#define RAY__LINKS_MAX 32u
#define RAY__SERVED_MAX 256u
#define RAY__PROVING_MAX 64u  // accepted connections that have not proved themselves yet
#define RAY__IDLE_MAX 64u     // connections kept for the next pull
#define RAY__SOURCES_MAX 64u  // of a pull
#define RAY__SESSION_MAX (64u << 10) // of what a served connection keeps for itself
#define RAY__PULLS_MAX 65536u // at once

#define RAY__MS 1000000ull
#define RAY__SECOND 1000000000ull
#define RAY__PROVE_NS (5 * RAY__SECOND)
#define RAY__PROVE_CROWDED_NS (100 * RAY__MS)    // when there are more strangers than places for them
#define RAY__CONNECT_NS (5 * RAY__SECOND)
#define RAY__SILENT_NS (5 * RAY__SECOND)         // a sender that owes chunks
#define RAY__SERVED_SILENT_NS (60 * RAY__SECOND) // a receiver that takes nothing, or asks for nothing
#define RAY__IDLE_NS (15 * RAY__SECOND)          // shorter than what the serving end allows
#define RAY__HEDGE_NS (250 * RAY__MS)            // for a source to answer, before the next one is asked as well
#define RAY__PROGRESS_NS (100 * RAY__MS)
#define RAY__GRACE_NS (500 * RAY__MS)            // for another source, after the last one broke
#define RAY__ATTEMPTS_MAX 4u                     // in a row that bring nothing
#define RAY__BACKOFF_NS (50 * RAY__MS)           // doubled each time, up to
#define RAY__BACKOFF_MAX_NS (500 * RAY__MS)
#define RAY__CORRUPT_MAX 5u                      // in a row from one source
#define RAY__DUE_MIN 2u                          // chunks due from a source of several, however slow it is
#define RAY__RATE_SPAN_NS (200 * RAY__MS)
#define RAY__TAIL_NS RAY__SECOND                 // a chunk is due for, before a link that has nothing to do asks for it too
#define RAY__TAIL_LOOK_NS (250 * RAY__MS)
#define RAY__RESCUE_NS (2 * RAY__SECOND)         // without a chunk, when only those are left that lack some themselves
#define RAY__WAIT_NS RAY__SECOND                 // between two signs of life to one whose chunks are not here yet

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
    uint32_t first_size;  // of the chunk that tells how fast the link is, while it is on its way; else 0
    uint64_t first_ns;    // when it left
    uint64_t since_ns;    // the span that is being summed up, on all connections
    ray__drain drained;
    ray__span span;
    ray__cores cores;
} ray__gauge;
typedef struct ray__swarm ray__swarm;

// Who is woken when what he waits for may be here. Under the lock of the list that it is in.
typedef struct ray__watcher {
    struct ray__watcher *next;
    int event;      // eventfd
    bool waits;
    bool granted;   // of a swarm: has a place to send
    uint32_t member;
    uint64_t since_ns;
} ray__watcher;

// Who is reading the memory of an object that is being filled.
typedef struct ray__reader {
    struct ray__reader *next;
    int socket; // to which it sends, or -1
} ray__reader;

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
    ray_pull *partial;    // that fills what is offered, or NULL: all of it is here
    ray__swarm *swarm;    // who else is sent it, or NULL
    uint32_t member;      // of the swarm
    _Atomic bool broken;  // one of its connections broke
    ray__sums *sums;
    _Atomic bool changed; // the file is not what it was
    ray__tuner tuner;
    ray__gauge gauge;
    uint32_t element_width;        // of an array of numbers, by its metadata; else 0
    _Atomic uint32_t filter_ways;  // that helped last (order.c)
    _Atomic uint32_t filter_age;   // chunks since
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
    bool is_tuned;       // the tuner chose the codec
    uint32_t ready_size; // as counted by the offer's gauge
    uint64_t checksum; // if it is known, else 0
    bool given;        // noted in the swarm as being sent
    bool has_place;    // one of the swarm's
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
// Waits until one that had to wait can be tried again, and looks at the way of what this connection has sent.
void ray__gauge_wait(ray__offer *offer, ray__drain *last, const ray__connection *connection, uint64_t timeout_ns);
void ray__gauge_prepared(ray__order *order);
// It was sent, or dropped.
void ray__gauge_cancel(ray__offer *offer); // what was begun is not sent after all
void ray__gauge_left(ray__order *order);
void ray__gauge_backlog(const ray__offer *offer, ray__backlog *backlog);
// Tells the tuner how the link does, after a chunk (NULL: none yet) left on this connection.
void ray__gauge_drained(ray__offer *offer, ray__drain *last, const ray__connection *connection, const ray_chunk_header *chunk);

typedef struct ray__served ray__served;

ray_status ray__serving_start(ray_transfer *transfer, const char *host, uint16_t port) RAY_NODISCARD;
void ray__serving_stop(ray_transfer *transfer);

// ---- many receivers: refer.c, partial.c --------------------------------------------------------------------------------

enum ray__verdict { RAY__SEND, RAY__REFER, RAY__HOLD };

// refer.c: whom a holder has sent what, so that one that asks for the same can be referred to him
// Joins those that are sent the same. Without memory, or for one chunk, the offer stays alone.
void ray__swarm_join(ray_transfer *transfer, ray__offer *offer, const ray__open *open);
void ray__swarm_leave(ray_transfer *transfer, ray__offer *offer);
void ray__swarm_watch(ray__offer *offer, ray__watcher *watcher);
void ray__swarm_unwatch(ray__offer *offer, ray__watcher *watcher);
// What to do about a chunk that is here. SEND notes that it is being sent and sets *has_place if it took one of the places.
enum ray__verdict ray__swarm_decide(ray__offer *offer, ray__watcher *watcher, uint32_t index, const ray__request *request,
                                    ray__refer *refer, bool *has_place);
// Gives a place to the next one.
void ray__swarm_give_place(ray__offer *offer);
// A place that was granted and is not needed.
void ray__swarm_pass(ray__offer *offer, ray__watcher *watcher);
// The chunk was not sent after all.
void ray__swarm_ungive(ray__offer *offer, uint32_t index);
void ray__swarms_expire(ray_transfer *transfer, uint64_t older_than_ns);

// partial.c: a pull as a holder of what has come already
enum ray__presence { RAY__HERE, RAY__COMING, RAY__AWAY, RAY__GONE };

// Makes the offer one of a pull of ours that fills the object. False: there is none.
bool ray__partial_open(ray_transfer *transfer, ray__offer *offer);
void ray__partial_close(ray_transfer *transfer, ray__offer *offer);
void ray__partial_watch(ray__offer *offer, ray__watcher *watcher);
void ray__partial_unwatch(ray__offer *offer, ray__watcher *watcher);
// Whether the chunk is here (then with its checksum), or comes; one that comes wakes the watcher when that has changed.
enum ray__presence ray__partial_look(ray__offer *offer, ray__watcher *watcher, uint32_t index, uint32_t depth, uint64_t *checksum);
// Between these two the bytes of an offer may be read; false: not any more. Of any offer.
bool ray__partial_enter(const ray__offer *offer, ray__reader *reader, int socket);
void ray__partial_leave(const ray__offer *offer, ray__reader *reader);
// Something changed that watchers may wait for.
void ray__partial_changed_locked(ray_pull *pull);
// After the seal, or before the memory is given back: the offers keep the object, or end; then nobody reads any more.
void ray__partial_settle(ray_pull *pull, ray_status status);
// Keeps what the card says for those that are served from here.
ray_status ray__partial_keep_card(ray_pull *pull, const ray_card *card) RAY_NODISCARD;

// ---- pulls: the receiving side -----------------------------------------------------------------------------------------

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
} ray__pull_source;

#define RAY__SINK_MEMORY 2           // beside the RAY_KIND_*
#define RAY__RANGE_CHUNKS_MAX (4u << 20) // before a range's end; the list of them takes 22 bytes each

// Who writes a chunk to the sink. A chunk may come twice, but only one may write at a time, and nobody once it is here.
typedef struct ray__claim {
    uint32_t index;
    ray__link *link; // NULL: a worker
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
    uint64_t patience_ns;
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
    uint64_t unreachable_since_ns; // since a source could not be reached and no chunk came from any; 0: not so
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
// Which source it is, or UINT32_MAX.
uint32_t ray__pull_find_locked(const ray_pull *pull, const ray_endpoint *endpoint);
void ray__pull_add_locked(ray_pull *pull, const ray_endpoint *endpoint, bool learned);
// Queues links where they are useful, and ends the pull if nothing can help it any more. Under the pull's lock.
void ray__pull_schedule_locked(ray_pull *pull, uint64_t now);
// Takes care of one pull at this time; answers when to look again.
uint64_t ray__pull_tend(ray_pull *pull, uint64_t now);

// chunks.c: who fetches what
// Takes chunks for this link to ask for, as many as it may have due, and notes them as due; *wait_until_ns is set when a cap or a more
// urgent class allows none now.
void ray__pull_take_chunks(ray__link *link, ray__request *request, uint64_t *wait_until_ns);
// Takes a chunk whose bytes came with the card. False: none is missing any more.
bool ray__pull_take_inline(ray_pull *pull, uint32_t *index);
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
void ray__pull_chunk_arrived(ray_pull *pull, uint32_t source, const ray_chunk_header *header);
void ray__pull_chunk_corrupt(ray_pull *pull, uint32_t source, uint32_t index, const char *message);
// The source says who else has the chunk.
void ray__pull_chunk_referred(ray__link *link, const ray__refer *refer);
// What became of a chunk that the journal lists.
void ray__pull_chunk_was_here(ray_pull *pull, uint32_t index, bool is_right);
// Records why a source failed; `final` ends its use.
void ray__pull_source_failed(ray_pull *pull, uint32_t source, ray_status status, const char *message, bool final);
void ray__pull_source_failed_locked(ray_pull *pull, uint32_t source, ray_status status, const char *message, bool final);

// tail.c: chunks that come twice
enum ray__claimed { RAY__CLAIM_MINE, RAY__CLAIM_HERE, RAY__CLAIM_BUSY };
// The right to write a chunk to the sink. BUSY: another is at it.
enum ray__claimed ray__claim_take(ray_pull *pull, uint32_t index, ray__link *link);
void ray__claim_drop(ray_pull *pull, uint32_t index);
// Waits for the right. A link that has it and waits for the network is cut off. Not for workers.
enum ray__claimed ray__claim_wait(ray__link *link, uint32_t index);
// Cuts off the link that is at it.
void ray__claim_kick(ray_pull *pull, uint32_t index);
// Lets idle sources have what is due from slow ones. Answers when to look again.
uint64_t ray__tail_look_locked(ray_pull *pull, uint64_t now);
// Whether a source that has all of it may still be asked.
bool ray__pull_has_whole_locked(const ray_pull *pull);

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

struct ray__link {
    ray__link *next;        // in the pull's list
    bool kicked;            // cut off by us; under the pull's lock, as what is due
    ray_pull *pull;
    uint32_t source;
    ray__connection connection;
    uint32_t stream;
    uint32_t depth;         // chunks that may be due at once
    uint32_t due_count;
    uint32_t due[RAY__INDICES_MAX];
    uint64_t due_since_ns[RAY__INDICES_MAX]; // UINT64_MAX: asked for elsewhere too
    uint64_t due_bytes;     // raw, of the chunks that are due
    bool gives_place;       // asks for no more, since its place is wanted
    uint32_t due_urgency;   // the class that they count in
    uint8_t *held;          // RAY__HELD_MAX bytes on their way into a file
};

// urgency.c
// Waits until the time, or less: until the pull ends or its place is wanted.
void ray__pull_wait(const ray_pull *pull, uint64_t until_ns);
// Waits until the caps allow that a card is asked for, which may bring data. False when the pull ends first, or the link's place is wanted.
bool ray__link_may_open(ray__link *link);
// These chunks are due now, these bytes not any more.
void ray__link_asked(ray__link *link, const uint32_t *indices, uint32_t count);
void ray__link_arrived(ray__link *link, const ray_chunk_header *header);
// The chunk does not come from this source.
void ray__link_refused(ray__link *link, uint32_t index);
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
    pthread_mutex_t swarms_lock;
    ray__swarm *swarms;
    uint16_t advertise_port;
    char advertise_host[RAY_HOST_MAX];

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
