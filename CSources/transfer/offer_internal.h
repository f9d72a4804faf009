// SPDX-License-Identifier: Apache-2.0
// The sending side: what the node answers, what is offered to a receiver because of it, and the chunks that a connection owes.
#ifndef RAY_TRANSFER_OFFER_INTERNAL_H
#define RAY_TRANSFER_OFFER_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/headroom_internal.h"
#include "codec/tuner_internal.h"
#include "raystore/transfer.h"
#include "transfer/connection_internal.h"
#include "transfer/memory_internal.h"
#include "transfer/note_internal.h"
#include "transfer/sums_internal.h"
#include "transfer/wire_internal.h"
#include "transfer/workers_internal.h"

typedef struct ray__swarm ray__swarm;

enum { RAY__ANSWER_NOTHING = -1 };

struct ray_answer {
    int kind; // RAY_KIND_* or RAY__ANSWER_NOTHING
    char *path;
    int file;         // opened by ray_answer_beneath, else -1
    uint64_t edition; // of what was found by name, else 0
    uint64_t size_bytes;
    int64_t mtime_ns;
    bool is_spilled;      // an object in a spill file:
    uint64_t file_offset; // of its data
    uint64_t *sums;       // of its blocks
    uint64_t metadata_checksum;
    ray_source source;    // read is NULL: none
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

#define RAY__GAUGE_SENDING 4u

// The chunks of an offer on their way to the link, and what became of those that left.
typedef struct ray__gauge {
    _Atomic uint32_t under_way; // given to workers and not yet sent
    _Atomic uint32_t ready;     // of which prepared
    _Atomic uint64_t ready_bytes;
    pthread_mutex_t lock;
    pthread_cond_t known; // the tuner knows the link, or nothing is under way
    // While the tuner does not know the link, what tells it:
    uint64_t first_ns;    // when the first chunk began to leave, or 0
    uint64_t first_size;  // stored bytes that left since, or are leaving
    uint64_t mark_ns;     // a little later, or 0
    uint64_t mark_bytes;  // that had arrived by then
    struct {
        const ray__connection *connection; // NULL: none
        ray__drain *last;
    } sending[RAY__GAUGE_SENDING];         // connections that a chunk leaves by now
    uint64_t since_ns;    // the span that is being summed up, on all connections
    ray__drain drained;
    ray__span span;
    ray__headroom *headroom; // of the transfer
} ray__gauge;

// Who is woken when what he waits for may be here. Under the lock of the list that it is in.
typedef struct ray__watcher {
    struct ray__watcher *next;
    int event;      // eventfd
    bool waits;
    bool granted;   // of a swarm: has a slot to send
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
    _Atomic bool touched; // the same of a spill file: perhaps elsewhere, so what is sent is hashed anew
    ray__tuner tuner;
    ray__gauge gauge;
    uint32_t reading; // chunks that readers have (reads.c), under the lock of the reads
    uint32_t element_width;        // of an array of numbers, by its metadata; else 0
    _Atomic uint32_t filter_ways;  // that helped last (filters.c)
    _Atomic uint32_t filter_age;   // chunks since
    ray__notes notes;
} ray__offer;

// may_wait: for memory. Else RAY_AGAIN, as an answer or as the offer's status.
ray_status ray__offer_open(ray_transfer *transfer, const ray__open *open, const char *peer, bool may_wait, ray__offer **offer) RAY_NODISCARD;
void ray__offer_release(ray_transfer *transfer, ray__offer *offer);
// Fills a card, with the data if it has so many bytes at most (of a file RAY_INLINE_MAX); its pointers are valid as long as the offer is.
void ray__offer_card(const ray__offer *offer, uint64_t data_max, ray__card_message *card);
// Reads from the file. RAY_SOURCE_CHANGED when it is not what it was.
ray_status ray__offer_read(ray__offer *offer, void *bytes, uint64_t offset, size_t size) RAY_NODISCARD;
// Counts what was sent of it.
void ray__offer_sent(ray_transfer *transfer, ray__offer *offer, uint32_t raw_size, uint32_t stored_size);
// Looks at the file's size and time.
ray_status ray__offer_check(ray__offer *offer) RAY_NODISCARD;

// spilled.c: an offer of what lies in a spill file
ray_status ray__spilled_open(ray__offer *offer) RAY_NODISCARD;
ray_status ray__spilled_check(ray__offer *offer) RAY_NODISCARD;
// Tells the node why the offer, or a chunk of it, could not be sent, with the thread's message, if that is because of its file.
void ray__spilled_note(ray_transfer *transfer, const ray__offer *offer, ray_status status);
// Whether all of the data, of one block at most, is what was spilled. RAY_CORRUPT naming file and offset.
ray_status ray__spilled_matches(const ray__offer *offer, const void *bytes, uint64_t size) RAY_NODISCARD;
// The checksum of a chunk, after the block that it is in was hashed, through room for RAY_CHECKSUM_PIECE, and found to be what was spilled.
ray_status ray__spilled_sum(ray__offer *offer, uint8_t *room, uint32_t index, uint64_t *checksum) RAY_NODISCARD;


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
    bool has_slot;     // one of the swarm's
    ray_status status;
    char text[RAY__TEXT_MAX];
    ray_chunk_header header;
    bool is_read;    // from a source
    uint8_t *room;   // to read it into
    uint8_t *packed; // NULL: raw
} ray__order;

void ray__order_prepare(ray__job *job, ray__worker *worker);

// gauge.c
void ray__gauge_init(ray__gauge *gauge, ray__headroom *headroom);
void ray__gauge_end(ray__gauge *gauge);
// Counts a chunk as under way. False when it has to wait: until the link is known few are begun, for the first are not chosen well.
bool ray__gauge_begin(ray__offer *offer, bool is_tuned);
// Waits until one that had to wait can be tried again, and looks at the way of what this connection has sent.
void ray__gauge_wait(ray__offer *offer, ray__drain *last, const ray__connection *connection, uint64_t timeout_ns);
// The tuner knows more of the data, so what has to wait may begin.
void ray__gauge_learned(ray__offer *offer);
void ray__gauge_prepared(ray__order *order);
// Around the sending of a chunk. Until the link is known others look at its way meanwhile.
void ray__gauge_sending(ray__offer *offer, ray__drain *last, const ray__connection *connection, uint32_t stored_size);
void ray__gauge_sent(ray__offer *offer, const ray__connection *connection);
void ray__gauge_cancel(ray__offer *offer); // what was begun is not sent after all
// What was prepared was sent, or dropped.
void ray__gauge_left(ray__order *order);
void ray__gauge_backlog(const ray__offer *offer, ray__backlog *backlog);
// Tells the tuner how the link does, after a chunk (NULL: none yet) left on this connection.
void ray__gauge_drained(ray__offer *offer, ray__drain *last, const ray__connection *connection, const ray_chunk_header *chunk);

#endif
