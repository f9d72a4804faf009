// SPDX-License-Identifier: Apache-2.0
// Serving: the thread of an accepted connection. It proves the key, then reads requests and sends chunks in turn.
//
// Requests are small and bounded by the receiver's window, so they wait in the socket while a chunk is being sent. Workers prepare the
// next chunks meanwhile; what is prepared first leaves first. What cannot be sent yet (it has not come here itself, or others are served
// first) is kept until it can (refer.c, partial.c).
#include "transfer/serve_internal.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/clock_internal.h"
#include "base/error_internal.h"
#include "codec/bytes_internal.h"
#include "codec/frame_internal.h"
#include "transfer/name_internal.h"

// An OPEN with a name is the largest message of a receiver; room for two.
#define IN_MAX (2 * (RAY__MESSAGE_HEADER_SIZE + RAY__OPEN_BODY_MAX))
// Chunks asked for and not begun. A receiver with a larger window than this waits in the socket.
#define WAITING_MAX 1024u
// Chunks that a connection has under way: for each thread one, and some more that wait for a thread or for the link.
#define ORDERS_MIN 4u
#define ORDERS_MAX 8u
#define STREAMS_MAX 16u
// How long to wait for another connection of the same pull before looking at this one again.
#define GATE_NS (20 * RAY__MS)

typedef struct waiting {
    uint32_t stream;
    uint32_t index;
    uint16_t codec;
    int16_t level;
    uint16_t urgency;
    uint32_t raw_size;
    uint8_t depth;
    uint8_t flags;
} waiting;

typedef struct stream {
    uint32_t name;
    ray__offer *offer; // NULL: free
    uint32_t orders;   // under way; the offer stays for them after CLOSE
    bool closed;
    bool held;                 // something of it waits for a place
    ray__watcher coming;       // for chunks that are on their way here
    ray__watcher turn;         // for a place
} stream;

typedef struct session {
    ray_transfer *transfer;
    ray__connection *connection;
    stream streams[STREAMS_MAX];
    int wake; // eventfd of the watchers
    uint32_t in_size;
    uint8_t in[IN_MAX];
    uint32_t waiting_count;
    waiting waiting[WAITING_MAX];
    ray__ring *prepared;
    _Atomic uint32_t at_workers;
    uint32_t order_count;
    uint32_t free_count;
    ray__order *free_orders[ORDERS_MAX];
    ray__order orders[ORDERS_MAX];
    ray__drain drain;
    uint64_t due_bytes[RAY_URGENCY_COUNT]; // raw, asked for and not yet sent
} session;
_Static_assert(sizeof(session) <= RAY__SESSION_MAX, "what memory_internal.h reserves is enough");

// A chunk is owed from now on, or is not any more.
static void owe(session *s, uint32_t raw_size, uint32_t urgency) {
    s->due_bytes[urgency] += raw_size;
    ray__flow_due(&s->transfer->sending, urgency, raw_size, ray__now_ns());
}

static void owe_no_more(session *s, uint64_t raw_size, uint32_t urgency) {
    s->due_bytes[urgency] -= raw_size;
    ray__flow_not_due(&s->transfer->sending, urgency, raw_size);
}

static stream *find_stream(session *s, uint32_t name) {
    for (uint32_t i = 0; i < STREAMS_MAX; i++) {
        if (s->streams[i].offer != NULL && s->streams[i].name == name && !s->streams[i].closed) {
            return &s->streams[i];
        }
    }
    return NULL;
}

static void end_stream(session *s, stream *ended) {
    ray__partial_unwatch(ended->offer, &ended->coming);
    ray__swarm_unwatch(ended->offer, &ended->turn);
    ray__offer_release(s->transfer, ended->offer);
    memset(ended, 0, sizeof *ended);
}

static void end_stream_if_unused(session *s, stream *ended) {
    if (ended->closed && ended->orders == 0) {
        end_stream(s, ended);
    }
}

static ray_status send_bytes(session *s, void *bytes, size_t size, bool more) {
    struct iovec part = {bytes, size};
    return ray__connection_write(s->connection, &part, 1, more);
}

static ray_status send_card(session *s, uint32_t name, ray__offer *offer, bool with_data, uint32_t urgency) {
    ray__card_message card;
    ray__offer_card(offer, with_data, &card);
    // The message, and before it a file's data.
    uint64_t taken = RAY__MESSAGE_HEADER_SIZE + ray__card_size(&card) + card.inline_size;
    RAY_TRY(ray__share_wait(&s->transfer->cards_sent, taken, s->connection->stop));
    uint8_t *file_data = NULL;
    if ((card.flags & RAY__CARD_INLINE) != 0 && offer->file >= 0) {
        file_data = malloc(card.inline_size + 1);
        ray_status status = file_data == NULL ? ray__fail(RAY_OUT_OF_MEMORY, "a card")
                                              : ray__offer_read(offer, file_data, 0, card.inline_size);
        card.inline_data = file_data;
        if (status != RAY_OK) {
            memset(&card, 0, sizeof card);
            card.status = status;
            snprintf(card.text, sizeof card.text, "%s", ray_last_error_message());
        }
    }
    uint32_t size = ray__card_size(&card);
    uint8_t *message = malloc(RAY__MESSAGE_HEADER_SIZE + size);
    ray_status status;
    if (message == NULL) {
        status = ray__fail(RAY_OUT_OF_MEMORY, "a card of %u bytes", size);
    } else {
        ray__card_write(&card, message + RAY__MESSAGE_HEADER_SIZE);
        ray__message_seal(message, RAY__MESSAGE_CARD, name, size);
        status = send_bytes(s, message, RAY__MESSAGE_HEADER_SIZE + size, false);
    }
    if (status == RAY_OK && card.inline_size > 0) {
        ray__flow_came(&s->transfer->sending, urgency, card.inline_size, ray__now_ns());
        ray__offer_sent(s->transfer, offer, card.inline_size, card.inline_size);
    }
    free(message);
    free(file_data);
    ray__share_give(&s->transfer->cards_sent, taken);
    return status;
}

// There is no memory for one more while this connection holds what others are waiting for.
static ray_status send_try_again(session *s, uint32_t name) {
    ray__card_message card;
    memset(&card, 0, sizeof card);
    card.status = RAY_AGAIN;
    uint8_t message[RAY__MESSAGE_HEADER_SIZE + RAY__CARD_FIXED_SIZE];
    ray__card_write(&card, message + RAY__MESSAGE_HEADER_SIZE);
    ray__message_seal(message, RAY__MESSAGE_CARD, name, RAY__CARD_FIXED_SIZE);
    return send_bytes(s, message, sizeof message, false);
}

static ray_status take_open(session *s, uint32_t name, const uint8_t *body, uint32_t size) {
    ray__open open;
    RAY_TRY(ray__open_read(body, size, &open));
    if (open.name[0] != '\0') {
        // Else a peer could have the checksums of one file kept as those of another.
        ray_object_id id = ray__name_id(open.name);
        if (!ray_object_id_equal(&id, &open.id)) {
            return ray__fail(RAY_PROTOCOL, "%s asked by name under an id that is not the name's", s->connection->peer);
        }
    }
    if (find_stream(s, name) != NULL) {
        return ray__fail(RAY_PROTOCOL, "%s opened stream %u twice", s->connection->peer, name);
    }
    stream *place = NULL;
    bool has_others = false;
    for (uint32_t i = 0; i < STREAMS_MAX; i++) {
        has_others = has_others || s->streams[i].offer != NULL;
        place = place == NULL && s->streams[i].offer == NULL ? &s->streams[i] : place;
    }
    if (place == NULL) {
        return ray__fail(RAY_PROTOCOL, "%s opened more than %u streams", s->connection->peer, STREAMS_MAX);
    }
    ray__offer *offer = NULL;
    ray_status opened = ray__offer_open(s->transfer, &open, s->connection->peer, !has_others, &offer);
    if (opened == RAY_AGAIN) {
        return send_try_again(s, name);
    }
    RAY_TRY(opened);
    ray__connection_drain(s->connection, &s->drain);
    ray__gauge_drained(offer, &s->drain, s->connection, NULL);
    // Where the caps allow nothing now the data does not travel with the card: it is asked for, and then waits its turn.
    uint64_t again_ns = 0;
    bool with_data = ray__flow_is_open(&s->transfer->sending, open.urgency, ray__now_ns(), &again_ns);
    ray_status status = send_card(s, name, offer, with_data, open.urgency);
    if (status != RAY_OK || offer->status != RAY_OK || offer->answer.kind == RAY__ANSWER_NOTHING) {
        ray__offer_release(s->transfer, offer);
        return status;
    }
    place->name = name;
    place->offer = offer;
    place->coming.event = s->wake;
    place->turn.event = s->wake;
    ray__partial_watch(offer, &place->coming);
    ray__swarm_watch(offer, &place->turn);
    return RAY_OK;
}

static ray_status take_request(session *s, uint32_t name, const uint8_t *body, uint32_t size) {
    ray__request request;
    RAY_TRY(ray__request_read(body, size, &request));
    stream *of = find_stream(s, name);
    if (of == NULL) {
        return ray__fail(RAY_PROTOCOL, "%s asked for chunks of stream %u, which is not open", s->connection->peer, name);
    }
    uint32_t count = ray__chunk_count(of->offer->size_bytes, of->offer->chunk_size);
    for (uint32_t i = 0; i < request.count; i++) {
        if (request.indices[i] >= count) {
            return ray__fail(RAY_PROTOCOL, "%s asked for chunk %u of %u", s->connection->peer, request.indices[i], count);
        }
        // take_requests has seen that there is room.
        uint32_t raw_size = ray__chunk_raw_size(of->offer->size_bytes, of->offer->chunk_size, request.indices[i]);
        s->waiting[s->waiting_count++] = (waiting){
            name, request.indices[i], request.codec, request.level, request.urgency, raw_size, request.depth, request.flags,
        };
        owe(s, raw_size, request.urgency);
    }
    return RAY_OK;
}

static ray_status take_message(session *s, const ray__message *message, const uint8_t *body) {
    if (message->type == RAY__MESSAGE_OPEN) {
        return take_open(s, message->stream, body, message->body_size);
    }
    if (message->type == RAY__MESSAGE_REQUEST) {
        return take_request(s, message->stream, body, message->body_size);
    }
    stream *ended = find_stream(s, message->stream);
    if (ended != NULL) {
        ended->closed = true;
        end_stream_if_unused(s, ended);
    }
    return RAY_OK;
}

// Takes every whole message that is in the buffer and has room.
static ray_status take_messages(session *s) {
    uint32_t at = 0;
    ray_status status = RAY_OK;
    while (status == RAY_OK && s->in_size - at >= RAY__MESSAGE_HEADER_SIZE && s->waiting_count + RAY__INDICES_MAX <= WAITING_MAX) {
        ray__message message;
        status = ray__message_read(s->in + at, true, &message);
        if (status != RAY_OK || s->in_size - at < RAY__MESSAGE_HEADER_SIZE + message.body_size) {
            break;
        }
        const uint8_t *body = s->in + at + RAY__MESSAGE_HEADER_SIZE;
        status = ray__message_verify(s->in + at, &message, body);
        if (status == RAY_OK) {
            status = take_message(s, &message, body);
        }
        at += RAY__MESSAGE_HEADER_SIZE + message.body_size;
    }
    memmove(s->in, s->in + at, s->in_size - at);
    s->in_size -= at;
    return status;
}

static ray_status read_requests(session *s, bool may_wait) {
    if (s->waiting_count + RAY__INDICES_MAX > WAITING_MAX) {
        return RAY_OK;
    }
    size_t got = 0;
    if (may_wait) {
        RAY_TRY(ray__connection_read_some(s->connection, s->in + s->in_size, IN_MAX - s->in_size, &got));
    } else if (s->in_size < IN_MAX) {
        RAY_TRY(ray__connection_read_now(s->connection, s->in + s->in_size, IN_MAX - s->in_size, &got));
    }
    s->in_size += (uint32_t)got;
    return take_messages(s);
}

static ray_status send_failed(session *s, uint32_t name, uint32_t index, ray_status why, const char *text) {
    uint8_t message[RAY__MESSAGE_HEADER_SIZE + RAY__FAILED_BODY_MAX];
    ray__failed failed = {.index = index, .status = why};
    snprintf(failed.text, sizeof failed.text, "%s", text);
    uint32_t size = ray__failed_write(&failed, message + RAY__MESSAGE_HEADER_SIZE);
    ray__message_seal(message, RAY__MESSAGE_FAILED, name, size);
    return send_bytes(s, message, RAY__MESSAGE_HEADER_SIZE + size, false);
}

static ray_status send_refer(session *s, uint32_t name, const ray__refer *refer) {
    uint8_t message[RAY__MESSAGE_HEADER_SIZE + RAY__REFER_BODY_MAX];
    uint32_t size = ray__refer_write(refer, message + RAY__MESSAGE_HEADER_SIZE);
    ray__message_seal(message, RAY__MESSAGE_REFER, name, size);
    return send_bytes(s, message, RAY__MESSAGE_HEADER_SIZE + size, false);
}

static void submit_order(session *s, stream *of, const waiting *next, uint64_t checksum, bool has_place) {
    ray__order *order = s->free_orders[--s->free_count];
    order->offer = of->offer;
    order->stream = next->stream;
    order->index = next->index;
    order->codec = next->codec;
    order->level = next->level;
    order->urgency = next->urgency;
    order->raw_size = next->raw_size;
    order->checksum = checksum;
    order->given = true;
    order->has_place = has_place;
    of->orders++;
    atomic_fetch_add(&s->at_workers, 1);
    ray__workers_submit(&s->transfer->workers, &order->job);
}

enum fate { FATE_KEPT, FATE_BEGUN, FATE_OVER };

// Begins a chunk if it can be sent now, says who else has it, or keeps it.
static ray_status try_waiting(session *s, const waiting *next, enum fate *fate, ray__offer **gated) {
    stream *of = find_stream(s, next->stream);
    *fate = FATE_OVER;
    if (of == NULL) {
        return RAY_OK;
    }
    uint64_t checksum = 0;
    enum ray__presence presence = RAY__COMING;
    if (s->free_count > 0) {
        presence = of->offer->partial == NULL ? RAY__HERE
                                              : ray__partial_look(of->offer, &of->coming, next->index, next->depth, &checksum);
    }
    if (presence == RAY__COMING) {
        *fate = FATE_KEPT;
        return RAY_OK;
    }
    ray__refer refer = {.index = next->index};
    if (presence == RAY__AWAY) {
        return send_refer(s, next->stream, &refer);
    }
    if (presence == RAY__GONE) {
        return send_failed(s, next->stream, next->index, RAY_NOT_LOCAL, "the pull that was to bring it here has failed");
    }
    if (!ray__gauge_begin(of->offer, next->codec == RAY_CODEC_AUTO && s->transfer->codec == RAY_CODEC_AUTO)) {
        *gated = of->offer;
        *fate = FATE_KEPT;
        return RAY_OK;
    }
    ray__request request = {.depth = next->depth, .flags = next->flags};
    bool has_place = false;
    enum ray__verdict verdict = ray__swarm_decide(of->offer, &of->turn, next->index, &request, &refer, &has_place);
    if (verdict != RAY__SEND) {
        ray__gauge_cancel(of->offer);
    }
    if (verdict == RAY__REFER) {
        return send_refer(s, next->stream, &refer);
    }
    if (verdict == RAY__HOLD) {
        of->held = true;
        *fate = FATE_KEPT;
        return RAY_OK;
    }
    submit_order(s, of, next, checksum, has_place);
    *fate = FATE_BEGUN;
    return RAY_OK;
}

static ray_status submit_orders(session *s, ray__offer **gated) {
    ray_status status = RAY_OK;
    uint32_t kept_count = 0;
    for (uint32_t i = 0; i < STREAMS_MAX; i++) {
        s->streams[i].held = false;
    }
    for (uint32_t i = 0; i < s->waiting_count; i++) {
        waiting next = s->waiting[i];
        enum fate fate = FATE_KEPT;
        if (status == RAY_OK) {
            status = try_waiting(s, &next, &fate, gated);
        }
        if (fate == FATE_KEPT) {
            s->waiting[kept_count++] = next;
        } else if (fate == FATE_OVER) {
            owe_no_more(s, next.raw_size, next.urgency);
        }
    }
    s->waiting_count = kept_count;
    for (uint32_t i = 0; i < STREAMS_MAX; i++) {
        if (s->streams[i].offer != NULL && !s->streams[i].held) {
            ray__swarm_pass(s->streams[i].offer, &s->streams[i].turn);
        }
    }
    return status;
}

// In one go, unless a cap or a more urgent class lets it go in pieces only.
static ray_status send_stored(session *s, ray__order *order, uint8_t *prefix) {
    ray__offer *offer = order->offer;
    uint64_t offset = (uint64_t)order->index * offer->chunk_size;
    const uint8_t *bytes = order->packed != NULL ? order->packed : offer->file >= 0 ? NULL : offer->view.data + offset;
    for (uint64_t at = 0, piece = 0; at < order->header.stored_size; at += piece) {
        RAY_TRY(ray__pace(s->transfer, s->connection, order->urgency, order->header.stored_size - at, &piece));
        if (bytes != NULL) {
            // The cast takes const away for iovec; sendmsg only reads.
            struct iovec parts[2] = {{prefix, at == 0 ? RAY__CHUNK_PREFIX_SIZE : 0}, {(void *)(uintptr_t)(bytes + at), piece}};
            RAY_TRY(ray__connection_write(s->connection, parts, 2, false));
        } else {
            RAY_TRY(at == 0 ? send_bytes(s, prefix, RAY__CHUNK_PREFIX_SIZE, true) : RAY_OK);
            RAY_TRY(ray__connection_send_file(s->connection, offer->file, offset + at, piece));
        }
        ray__flow_moved(&s->transfer->sending, order->urgency, piece, ray__now_ns());
    }
    return RAY_OK;
}

static ray_status send_chunk(session *s, ray__order *order) {
    uint8_t prefix[RAY__CHUNK_PREFIX_SIZE];
    ray__offer *offer = order->offer;
    ray__chunk_header_write(&order->header, prefix + RAY__MESSAGE_HEADER_SIZE);
    ray__message_seal(prefix, RAY__MESSAGE_CHUNK, order->stream, RAY_CHUNK_HEADER_SIZE + order->header.stored_size);
    ray_status status = send_stored(s, order, prefix);
    if (status == RAY_OK && order->packed == NULL && offer->file >= 0 && ray__offer_check(offer) != RAY_OK) {
        // The receiver's checksum decides about this chunk; the next ones are refused.
        ray__sums_forget(s->transfer->sums, &offer->id);
    }
    if (status == RAY_OK) {
        ray__offer_sent(s->transfer, offer, order->header.raw_size, order->header.stored_size);
        ray__gauge_drained(offer, &s->drain, s->connection, &order->header);
    }
    return status;
}

static void put_back(session *s, ray__order *order) {
    if (order->has_place) {
        ray__swarm_give_place(order->offer);
    }
    if (order->given) {
        ray__swarm_ungive(order->offer, order->index);
    }
    ray__buffers_give(&s->transfer->send_buffers, order->packed);
    order->packed = NULL;
    owe_no_more(s, order->raw_size, order->urgency);
    ray__gauge_left(order);
    for (uint32_t i = 0; i < STREAMS_MAX; i++) {
        if (s->streams[i].offer == order->offer && s->streams[i].name == order->stream && s->streams[i].orders > 0) {
            s->streams[i].orders--;
            end_stream_if_unused(s, &s->streams[i]);
            break;
        }
    }
    s->free_orders[s->free_count++] = order;
}

static ray__order *next_prepared(session *s) {
    void *item = NULL;
    // Workers always finish, so this ends.
    ray_status status = ray__ring_pop(s->prepared, &item, UINT64_MAX);
    (void)status;
    return item;
}

// Sends a prepared chunk, or why there is none.
static ray_status send_prepared(session *s, ray__order *order) {
    stream *of = find_stream(s, order->stream);
    if (of == NULL || of->offer != order->offer) {
        return RAY_OK;
    }
    ray__reader reader;
    if (order->status == RAY_OK && !ray__partial_enter(of->offer, &reader, s->connection->socket)) {
        order->status = RAY_NOT_LOCAL;
        snprintf(order->text, sizeof order->text, "the pull that was to bring it here has failed");
    } else if (order->status == RAY_OK) {
        ray_status status = send_chunk(s, order);
        ray__partial_leave(of->offer, &reader);
        order->given = status != RAY_OK;
        return status;
    }
    return send_failed(s, order->stream, order->index, order->status, order->text);
}

// Nothing that is asked for can be sent now: waits until that may have changed, or a request comes. Says now and then that we are alive.
static ray_status wait_for_turn(session *s) {
    bool has_room = s->waiting_count + RAY__INDICES_MAX <= WAITING_MAX;
    struct pollfd fds[3] = {
        {.fd = s->connection->socket, .events = has_room ? POLLIN : 0},
        {.fd = s->connection->stop, .events = POLLIN},
        {.fd = s->wake, .events = POLLIN},
    };
    int ready = poll(fds, 3, (int)(RAY__WAIT_NS / RAY__MS));
    if (ready < 0 && errno != EINTR) {
        return ray__fail_errno(RAY_SYSTEM, "waiting to send to %s", s->connection->peer);
    }
    if (ready > 0 && fds[1].revents != 0) {
        return ray__fail(RAY_CANCELLED, "the connection to %s was stopped", s->connection->peer);
    }
    if (ready > 0 && (fds[0].revents & (POLLHUP | POLLERR)) != 0) {
        return ray__fail(RAY_PEER_CLOSED, "%s closed the connection", s->connection->peer);
    }
    if (ready > 0 && fds[2].revents != 0) {
        uint64_t count;
        ssize_t got = read(s->wake, &count, sizeof count);
        (void)got;
    }
    if (ready != 0) {
        return RAY_OK;
    }
    uint8_t message[RAY__MESSAGE_HEADER_SIZE];
    ray__message_seal(message, RAY__MESSAGE_WAIT, s->waiting[0].stream, 0);
    return send_bytes(s, message, sizeof message, false);
}

static ray_status serve_requests(session *s) {
    ray_status status = RAY_OK;
    ray__offer *gated = NULL; // whose next chunk has to wait for another connection's
    bool all_wait = false; // nothing is under way, and what is asked for could not be begun at the last look
    while (status == RAY_OK) {
        if (all_wait && gated != NULL) {
            ray__gauge_wait(gated, &s->drain, s->connection, GATE_NS);
        } else if (all_wait) {
            status = wait_for_turn(s);
        }
        if (status == RAY_OK) {
            status = read_requests(s, s->free_count == s->order_count && s->waiting_count == 0);
        }
        gated = NULL;
        if (status == RAY_OK) {
            status = submit_orders(s, &gated);
        }
        all_wait = s->free_count == s->order_count && s->waiting_count > 0;
        if (status == RAY_OK && s->free_count < s->order_count) {
            ray__order *order = next_prepared(s);
            status = send_prepared(s, order);
            put_back(s, order);
        }
    }
    for (uint32_t i = 0; i < STREAMS_MAX; i++) {
        bool owed = s->streams[i].orders > 0;
        for (uint32_t k = 0; k < s->waiting_count && !owed; k++) {
            owed = s->waiting[k].stream == s->streams[i].name;
        }
        if (s->streams[i].offer != NULL && owed) {
            atomic_store(&s->streams[i].offer->broken, true);
        }
    }
    while (s->free_count < s->order_count) {
        put_back(s, next_prepared(s));
    }
    while (atomic_load(&s->at_workers) != 0) {
        sched_yield(); // a worker is between its push and its next job: a few instructions
    }
    return status;
}

ray_status ray__serve(ray_transfer *transfer, ray__connection *connection) {
    session *s = calloc(1, sizeof *s);
    if (s == NULL) {
        return ray__fail(RAY_OUT_OF_MEMORY, "serving %s", connection->peer);
    }
    ray__memory_took(&transfer->memory, sizeof *s);
    s->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    ray_status status = s->wake < 0 ? ray__fail_errno(RAY_SYSTEM, "an event for a connection; raise the limit of open files")
                                    : ray__ring_create(ORDERS_MAX, &s->prepared);
    if (status == RAY_OK) {
        s->transfer = transfer;
        s->connection = connection;
        connection->silent_ns = RAY__SERVED_SILENT_NS;
        s->order_count = transfer->workers.count + 2;
        s->order_count = s->order_count < ORDERS_MIN ? ORDERS_MIN : s->order_count > ORDERS_MAX ? ORDERS_MAX : s->order_count;
        for (uint32_t i = 0; i < s->order_count; i++) {
            s->orders[i].job.run = ray__order_prepare;
            s->orders[i].transfer = transfer;
            s->orders[i].prepared = s->prepared;
            s->orders[i].at_workers = &s->at_workers;
            s->free_orders[s->free_count++] = &s->orders[i];
        }
        status = serve_requests(s);
    }
    for (uint32_t u = 0; u < RAY_URGENCY_COUNT; u++) {
        ray__flow_not_due(&transfer->sending, u, s->due_bytes[u]);
    }
    for (uint32_t i = 0; i < STREAMS_MAX; i++) {
        if (s->streams[i].offer != NULL) {
            end_stream(s, &s->streams[i]);
        }
    }
    ray__ring_destroy(s->prepared);
    if (s->wake >= 0) {
        close(s->wake);
    }
    free(s);
    ray__memory_gave(&transfer->memory, sizeof *s);
    return status;
}
