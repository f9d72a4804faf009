// SPDX-License-Identifier: Apache-2.0
// The inside of a ray_client.
#ifndef RAY_CLIENT_CLIENT_INTERNAL_H
#define RAY_CLIENT_CLIENT_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/fork_internal.h"
#include "client/stream_internal.h"

// What is put from this size on cannot stay in the caches until it is read. It is hashed while it is copied, and the node is told.
#define RAY__CLIENT_SUMMED_MIN ((uint64_t)64 << 20)

// A request without an answer. Its place in the table is in its id, so that an answer finds it at once.
struct ray__pending {
    uint64_t id; // 0: free
    ray_completion_fn completion;
    ray_progress_fn progress;
    void *context;
    uint32_t next_free;
};

// How many views share a pin that the node holds for this guarded reader.
struct ray__pin_count {
    uint64_t serial; // 0: none
    uint32_t count;
};

// All zero with full access.
struct ray__guarded {
    const uint8_t *data; // the data segment, read-only
    uint64_t size;
    struct ray__pin_count *pins; // by place; under the client's lock
    uint32_t pin_capacity;
};

struct ray__opening;

// Opens under way of some of all objects, by their hash.
struct ray__openings {
    pthread_mutex_t lock;
    struct ray__opening *first;      // under the lock
    _Atomic uint32_t count;          // in that list
    _Atomic uint32_t releasing_count; // releases under way that may not have seen the list
};

#define RAY__OPENINGS_COUNT 64

struct ray_client {
    int fd;
    int wake_fd; // an eventfd: the reader has something to do beside reading
    int node_fd; // a pidfd: a node's forked child may keep the socket open after the node's end. -1: the socket must do
    uint32_t fork_generation;
    pthread_t reader;
    ray_store *store; // NULL: a guarded reader
    struct ray__guarded guarded;
    ray_session_info info;
    char *socket_path;
    _Atomic uint64_t put_count;
    struct ray__inbox inbox; // the reader's alone, once it runs
    struct ray__openings openings[RAY__OPENINGS_COUNT];

    pthread_mutex_t lock; // guards what follows
    pthread_cond_t drained; // the outbox shrank, a request was answered, or the session is over
    uint32_t drain_waiter_count; // close waits for them
    struct ray__outbox outbox;
    struct ray__pending *pending;
    uint32_t pending_capacity;
    uint32_t pending_free;  // the first free place, or pending_capacity
    uint64_t pending_serial;
    ray_waiter *waiter; // made when first needed; once made it stays until close
    bool closing;
    ray_status over; // why there is no session any more; RAY_OK while there is
    char over_text[RAY_MESSAGE_MAX];
};

// Body of the reader thread.
void *ray__client_reader(void *client);

// Waits until a request may find room, at most until the deadline. Not on the reader.
void ray__client_wait_drained(ray_client *client, uint64_t deadline_ns);

// Ends the session for everybody but the reader, which then completes what is pending. The first reason stays.
void ray__client_end(ray_client *client, ray_status status, const char *text);

// RAY_FORKED in a fork's child.
ray_status ray__client_check_process(const ray_client *client);

// Once the session is over.
void ray__client_end_waits(ray_client *client);

// ray_client_send, which waits for room until the deadline: RAY_TIMED_OUT. Not on the reader: RAY_INVALID_ARGUMENT.
ray_status ray__client_send_patiently(ray_client *client, uint16_t request, const void *payload, size_t payload_size, ray_completion_fn completion,
                                      void *context, uint64_t deadline_ns, uint64_t *id);

// Undoes what a successful answer says was done, when nobody waits for it any more. On the reader: must not block.
typedef void (*ray__give_back_fn)(ray_client *client, const void *answer, size_t answer_size);

// ray_client_call, for requests whose answer brings something that must not be lost. NULL: it brings nothing.
ray_status ray__client_call(ray_client *client, uint16_t request, const void *payload, size_t payload_size, uint64_t timeout_ns,
                            ray__give_back_fn give_back, void **answer, size_t *answer_size);

// Sends what has no answer. Nothing when the session is over: then the node has dropped all, or is about to.
void ray__client_tell(ray_client *client, uint16_t what, const void *payload, size_t payload_size);

// ---- guarded_client.c ----------------------------------------------------------------------------------------------------

// Takes the descriptor, also on failure.
ray_status ray__guarded_begin(ray_client *client, int data_fd);
void ray__guarded_end(ray_client *client);

// RAY_UNSUPPORTED in a guarded reader's session.
ray_status ray__guarded_refuse(const ray_client *client, const char *what);

// As ray_object_get with timeout 0.
ray_status ray__guarded_get(ray_client *client, const ray_object_id *id, uint64_t patience_ns, ray_object_view *view);
ray_status ray__guarded_hold(ray_client *client, const ray_object_id *id);
ray_status ray__guarded_look(ray_client *client, const ray_object_id *ids, uint32_t count, uint8_t *here);

// Gives back every pin of an answer that nobody waits for.
void ray__guarded_give_back(ray_client *client, const void *answer, size_t answer_size);

void ray__pending_free_all(ray_client *client);
void ray__openings_free(ray_client *client);

#endif
