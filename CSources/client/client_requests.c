// SPDX-License-Identifier: Apache-2.0
// Requests: the table of those without an answer, sending, cancelling, and the blocking call on top.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock_internal.h"
#include "base/thread_internal.h"
#include "client/client_internal.h"
#include "client/socket_internal.h"

// A cancel must reach a node that is behind with reading, so it may go a little beyond the limit of requests.
#define CANCEL_OUT_MAX (RAY__OUT_MAX + RAY__REQUESTS_MAX * sizeof(struct ray__message))
// So must the end of every pin and ref that a guarded reader can have.
#define TELL_OUT_MAX (CANCEL_OUT_MAX + RAY__OUT_MAX)

void ray__pending_free_all(ray_client *client) {
    free(client->pending);
    client->pending = NULL;
}

static ray_status pending_grow(ray_client *client) {
    uint32_t before = client->pending_capacity;
    if (before >= (client->info.is_guarded_reader ? RAY__READER_REQUESTS_MAX : RAY__REQUESTS_MAX)) {
        return ray__fail(RAY_AGAIN, "%u requests of this session wait for an answer, which is the most; wait for some of them", before);
    }
    uint32_t after = before == 0 ? 64 : 2 * before;
    struct ray__pending *moved = realloc(client->pending, after * sizeof *moved);
    if (moved == NULL) {
        return ray__fail(RAY_OUT_OF_MEMORY, "no memory for %u requests", after);
    }
    for (uint32_t place = before; place < after; place++) {
        moved[place] = (struct ray__pending){.next_free = place + 1};
    }
    client->pending = moved;
    client->pending_capacity = after;
    return RAY_OK;
}

// Claims a place and makes an id that says where it is. The lock is held.
static ray_status pending_claim(ray_client *client, const struct ray__pending *request, uint64_t *id) {
    if (client->pending_free == client->pending_capacity) {
        RAY_TRY(pending_grow(client));
    }
    uint32_t place = client->pending_free;
    struct ray__pending *claimed = &client->pending[place];
    client->pending_free = claimed->next_free;
    *claimed = *request;
    uint64_t serial = ++client->pending_serial;
    claimed->id = (request->progress != NULL ? RAY__WANTS_PROGRESS : 0) | (serial * RAY__REQUESTS_MAX + place);
    *id = claimed->id;
    return RAY_OK;
}

static void pending_give_back(ray_client *client, uint64_t id) {
    uint32_t place = (uint32_t)(id & (RAY__REQUESTS_MAX - 1));
    client->pending[place].id = 0;
    client->pending[place].next_free = client->pending_free;
    client->pending_free = place;
}

// Sends one message. The reader sends what the socket does not take, and hears if the stream broke in the middle of a message: nothing
// can follow then. The lock is held.
static ray_status post_locked(ray_client *client, const struct ray__parts *parts, size_t limit) {
    bool waiting = ray__outbox_size(&client->outbox) > 0;
    ray_status status = ray__outbox_send(&client->outbox, client->fd, parts, limit);
    if (status == RAY_SYSTEM || status == RAY_OUT_OF_MEMORY) {
        client->over = status;
        snprintf(client->over_text, sizeof client->over_text, "%s", ray_last_error_message());
    }
    if (client->over != RAY_OK || (!waiting && ray__outbox_size(&client->outbox) > 0)) {
        ray__event_set(client->wake_fd);
    }
    return status;
}

static ray_status send_locked(ray_client *client, uint16_t request, const void *payload, size_t payload_size,
                              const struct ray__pending *pending, uint64_t *request_id) {
    if (client->over != RAY_OK) {
        return ray__fail(client->over, "%s", client->over_text);
    }
    uint64_t id;
    RAY_TRY(pending_claim(client, pending, &id));
    // The reader needs the lock to complete it, so the id is there first.
    *request_id = id;
    struct ray__parts parts = {
        .header = {.type = RAY__REQUEST, .request = request, .request_id = id},
        .payload = payload,
        .payload_size = payload_size,
    };
    ray_status status = post_locked(client, &parts, RAY__OUT_MAX);
    if (status == RAY_OK) {
        return RAY_OK;
    }
    pending_give_back(client, id);
    if (status == RAY_AGAIN) {
        return ray__fail(RAY_AGAIN, "the node at %s has not read %zu bytes of requests yet; try again later", client->socket_path,
                         ray__outbox_size(&client->outbox));
    }
    if (status == RAY_PEER_CLOSED) {
        // The reader is about to find out; whoever asks meanwhile hears the same.
        return ray__fail(RAY_NODE_DIED, "the node at %.400s ended; connect again when it runs", client->socket_path);
    }
    return status;
}

ray_status ray_client_send(ray_client *client, uint16_t request, const void *payload, size_t payload_size, ray_completion_fn completion,
                           ray_progress_fn progress, void *context, uint64_t *request_id) {
    RAY_TRY(ray__client_check_process(client));
    size_t most = client->info.is_guarded_reader ? RAY_READER_PAYLOAD_MAX : RAY_PAYLOAD_MAX;
    if (payload_size > most || (payload == NULL && payload_size > 0)) {
        return ray__fail(payload == NULL ? RAY_INVALID_ARGUMENT : RAY_TOO_LARGE, "a request's payload has %zu bytes, at most %zu are allowed",
                         payload_size, most);
    }
    struct ray__pending pending = {.completion = completion, .progress = progress, .context = context};
    uint64_t unwanted;
    pthread_mutex_lock(&client->lock);
    ray_status status = send_locked(client, request, payload, payload_size, &pending, request_id != NULL ? request_id : &unwanted);
    pthread_mutex_unlock(&client->lock);
    return status;
}

void ray_client_cancel(ray_client *client, uint64_t request_id) {
    if (client->fork_generation != ray__fork_generation()) {
        return;
    }
    uint32_t place = (uint32_t)(request_id & (RAY__REQUESTS_MAX - 1));
    pthread_mutex_lock(&client->lock);
    bool waits = request_id != 0 && place < client->pending_capacity && client->pending[place].id == request_id;
    if (waits && client->over == RAY_OK) {
        struct ray__parts parts = {.header = {.type = RAY__CANCEL, .request_id = request_id}};
        // A node that takes not even this lets the request run on, as it may in any case.
        (void)post_locked(client, &parts, CANCEL_OUT_MAX);
    }
    pthread_mutex_unlock(&client->lock);
}

void ray__client_tell(ray_client *client, uint16_t what, const void *payload, size_t payload_size) {
    struct ray__parts parts = {.header = {.type = RAY__TELL, .request = what}, .payload = payload, .payload_size = payload_size};
    pthread_mutex_lock(&client->lock);
    if (client->over == RAY_OK) {
        // A node that has not read so much does not run; what is not said now is dropped with the session.
        (void)post_locked(client, &parts, TELL_OUT_MAX);
    }
    pthread_mutex_unlock(&client->lock);
}

void ray__client_wait_drained(ray_client *client, uint64_t deadline_ns) {
    // 20 ms at most at a time: another thread may take the room before this one looks.
    uint64_t soon = ray__deadline_ns(20000000);
    pthread_mutex_lock(&client->lock);
    client->drain_waiter_count++;
    if (client->over == RAY_OK) {
        ray__cond_wait_until(&client->drained, &client->lock, soon < deadline_ns ? soon : deadline_ns);
    }
    client->drain_waiter_count--;
    pthread_cond_broadcast(&client->drained); // a close may wait for this count
    pthread_mutex_unlock(&client->lock);
}

// ---- the blocking call --------------------------------------------------------------------------------------------------

// Belongs to the caller and to the completion; whoever comes last frees it, since a caller whose time ran out does not wait.
struct call {
    pthread_mutex_t lock;
    pthread_cond_t done_changed;
    bool done;
    bool abandoned;
    bool wants_answer;
    ray_client *client;
    ray__give_back_fn give_back; // for an answer that comes too late
    ray_status status;
    char text[RAY_MESSAGE_MAX];
    void *answer;
    size_t answer_size;
};

static struct call *make_call(ray_client *client, bool wants_answer, ray__give_back_fn give_back) {
    struct call *call = calloc(1, sizeof *call);
    if (call != NULL) {
        pthread_mutex_init(&call->lock, NULL);
        ray__cond_init(&call->done_changed);
        call->wants_answer = wants_answer;
        call->client = client;
        call->give_back = give_back;
    }
    return call;
}

static void free_call(struct call *call) {
    pthread_cond_destroy(&call->done_changed);
    pthread_mutex_destroy(&call->lock);
    free(call->answer);
    free(call);
}

static void complete_call(void *context, ray_status status, const char *message, const void *payload, size_t payload_size) {
    struct call *call = context;
    bool unwanted = false;
    pthread_mutex_lock(&call->lock);
    call->status = status;
    snprintf(call->text, sizeof call->text, "%s", message);
    if (call->wants_answer && !call->abandoned && payload_size > 0) {
        call->answer = malloc(payload_size);
        if (call->answer != NULL) {
            memcpy(call->answer, payload, payload_size);
            call->answer_size = payload_size;
        } else {
            unwanted = true;
            call->status = RAY_OUT_OF_MEMORY;
            snprintf(call->text, sizeof call->text, "no memory for an answer of %zu bytes", payload_size);
        }
    }
    call->done = true;
    bool last = call->abandoned;
    ray_client *client = call->client;
    ray__give_back_fn give_back = (last || unwanted) && status == RAY_OK ? call->give_back : NULL;
    pthread_cond_signal(&call->done_changed);
    pthread_mutex_unlock(&call->lock);
    if (give_back != NULL) {
        give_back(client, payload, payload_size);
    }
    if (last) {
        free_call(call);
    }
}

ray_status ray__client_send_patiently(ray_client *client, uint16_t request, const void *payload, size_t payload_size, ray_completion_fn completion,
                                      void *context, uint64_t deadline_ns, uint64_t *id) {
    if (pthread_equal(pthread_self(), client->reader)) {
        return ray__fail(RAY_INVALID_ARGUMENT, "a completion made a blocking call, for which its own thread would have to go on; use send");
    }
    for (;;) {
        ray_status status = ray_client_send(client, request, payload, payload_size, completion, NULL, context, id);
        if (status != RAY_AGAIN) {
            return status;
        }
        if (ray__now_ns() >= deadline_ns) {
            return ray__fail(RAY_TIMED_OUT, "the node at %s did not take a request in the time given", client->socket_path);
        }
        ray__client_wait_drained(client, deadline_ns);
    }
}

ray_status ray_client_call(ray_client *client, uint16_t request, const void *payload, size_t payload_size, uint64_t timeout_ns, void **answer,
                           size_t *answer_size) {
    return ray__client_call(client, request, payload, payload_size, timeout_ns, NULL, answer, answer_size);
}

ray_status ray__client_call(ray_client *client, uint16_t request, const void *payload, size_t payload_size, uint64_t timeout_ns,
                            ray__give_back_fn give_back, void **answer, size_t *answer_size) {
    if (answer != NULL) {
        *answer = NULL;
    }
    if (answer_size != NULL) {
        *answer_size = 0;
    }
    RAY_TRY(ray__client_check_process(client));
    struct call *call = make_call(client, answer != NULL, give_back);
    if (call == NULL) {
        return ray__fail(RAY_OUT_OF_MEMORY, "no memory for a call");
    }
    uint64_t deadline_ns = timeout_ns == 0 ? RAY_FOREVER : ray__deadline_ns(timeout_ns);
    uint64_t id;
    ray_status status = ray__client_send_patiently(client, request, payload, payload_size, complete_call, call, deadline_ns, &id);
    if (status != RAY_OK) {
        free_call(call);
        return status;
    }
    pthread_mutex_lock(&call->lock);
    while (!call->done && (deadline_ns == RAY_FOREVER || ray__now_ns() < deadline_ns)) {
        ray__cond_wait_until(&call->done_changed, &call->lock, deadline_ns);
    }
    bool done = call->done;
    call->abandoned = !done;
    pthread_mutex_unlock(&call->lock);
    if (!done) {
        ray_client_cancel(client, id);
        return ray__fail(RAY_TIMED_OUT, "the node at %s did not answer within %llu ms", client->socket_path,
                         (unsigned long long)(timeout_ns / 1000000));
    }
    status = call->status;
    if (status == RAY_OK && answer != NULL) {
        *answer = call->answer;
        call->answer = NULL;
        if (answer_size != NULL) {
            *answer_size = call->answer_size;
        }
    }
    if (status != RAY_OK) {
        ray__fail(status, "%s", call->text[0] != '\0' ? call->text : ray_status_text(status));
    }
    free_call(call);
    return status;
}

void ray_client_free(void *answer) {
    free(answer);
}
