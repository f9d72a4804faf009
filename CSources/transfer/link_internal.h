// SPDX-License-Identifier: Apache-2.0
// The connections of pulls: links, what is due on them, the threads that run them, and those that are idle.
#ifndef RAY_TRANSFER_LINK_INTERNAL_H
#define RAY_TRANSFER_LINK_INTERNAL_H

#include "transfer/pull_internal.h"

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

// Answers whether it ended early to give its thread up (ray__link_queue_must_yield).
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
    bool noted;             // a NOTE has come, and nothing that it could stand in front of
    bool yields;            // asks for no more, since its thread is wanted
    uint32_t due_urgency;   // the class that they count in
    uint8_t *held;          // RAY__HELD_MAX bytes on their way into a file
};

// urgency.c
// Waits until the time, or less: until the pull ends or its thread is wanted.
void ray__pull_wait(const ray_pull *pull, uint64_t until_ns);
// Waits until the caps allow that a card is asked for, which may bring data. False when the pull ends first, or the link's thread is wanted.
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
// Room for a card with data and little else. The transfer keeps one, for those of this size and more: the allocator would give their pages
// back to the kernel each time.
#define RAY__CARD_BUFFER (RAY__CARD_DATA_MAX + (16u << 10))
#define RAY__CARD_BUFFER_MIN (64u << 10)
// Bytes of a card, within the share of cards that are received.
typedef struct ray__card_body {
    uint8_t *bytes;
    uint32_t size; // as taken of the share
    bool is_kept;  // the bytes are the transfer's
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
bool ray__link_queue_must_yield(ray_transfer *transfer, uint32_t urgency);
// Whether a pull may have more connections than one needs that is near: so many as leave half of the threads to others.
bool ray__link_queue_is_roomy(ray_transfer *transfer);
// The end of a job that a thread has: its link counts no more, and the pull goes on or finishes.
void ray__link_job_done(const ray__link_job *job, bool yielded);
void ray__link_threads_stop(ray_transfer *transfer);
bool ray__idle_take(ray_transfer *transfer, const ray_endpoint *endpoint, int stop, ray__connection *connection);
void ray__idle_give(ray_transfer *transfer, const ray_endpoint *endpoint, const ray__connection *connection);
void ray__idle_expire(ray_transfer *transfer, uint64_t older_than_ns);

#endif
