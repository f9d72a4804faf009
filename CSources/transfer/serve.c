// SPDX-License-Identifier: Apache-2.0
// Serving: the thread of an accepted connection. It reads requests and sends chunks in turn.
//
// Workers prepare the next chunks meanwhile; what is prepared first leaves first. What cannot be sent yet (it has not come here itself, or
// others are served first) is kept until it can (refer.c, partial.c).
#include "transfer/serve_internal.h"

#include <errno.h>
#include <poll.h>
#include <sched.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock_internal.h"
#include "base/error_internal.h"
#include "transfer/session_internal.h"

// A chunk that comes alone and is no larger is prepared by the thread that sends it: to wake another for it would take as long.
#define ALONE_MAX (256u << 10)
// How long to wait for another connection of the same pull before looking at this one again.
#define GATE_NS (20 * RAY__MS)

static void submit_order(ray__session *s, ray__stream *of, const ray__waiting *next, uint64_t checksum, bool has_slot, uint8_t *room) {
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
    order->has_slot = has_slot;
    order->is_read = room != NULL;
    order->room = room;
    s->read_count += order->is_read;
    of->orders++;
    atomic_fetch_add(&s->at_workers, 1);
    bool is_alone = !order->is_read && order->raw_size <= ALONE_MAX && s->waiting_count == 1 && s->free_count + 1 == s->order_count;
    if (is_alone && ray__workers_run_here(&s->transfer->workers, &order->job)) {
        return;
    }
    ray__workers_submit(order->is_read ? &s->transfer->readers : &s->transfer->workers, &order->job);
}

enum fate { FATE_KEPT, FATE_BEGUN, FATE_OVER };

// Begins a chunk that is here unless it has to wait, or somebody else is to send it.
static ray_status begin_chunk(ray__session *s, ray__stream *of, const ray__waiting *next, uint64_t checksum, enum fate *fate, ray__offer **gated) {
    bool is_read = of->offer->answer.source.read != NULL;
    uint8_t *room = NULL;
    bool may_wait = s->free_count == s->order_count;
    of->cannot_read = is_read && (of->cannot_read || !ray__read_begin(&s->transfer->reads, &of->reading, s->read_count > 0, may_wait, &room));
    if (of->cannot_read) {
        *fate = FATE_KEPT;
        return RAY_OK;
    }
    // What is read may take longer than a receiver bears silence, so no connection waits for another's.
    bool waits = !is_read && next->codec == RAY_CODEC_AUTO && s->transfer->codec == RAY_CODEC_AUTO;
    if (!ray__gauge_begin(of->offer, waits)) {
        *gated = of->offer;
        *fate = FATE_KEPT;
        return RAY_OK;
    }
    ray__refer refer = {.index = next->index};
    ray__request request = {.depth = next->depth, .flags = next->flags};
    bool has_slot = false;
    enum ray__verdict verdict = ray__swarm_decide(of->offer, &of->turn, next->index, &request, &refer, &has_slot);
    if (verdict == RAY__SEND) {
        submit_order(s, of, next, checksum, has_slot, room);
        *fate = FATE_BEGUN;
        return RAY_OK;
    }
    ray__gauge_cancel(of->offer);
    if (is_read) {
        ray__read_done(&s->transfer->reads, of->offer, room);
    }
    if (verdict == RAY__REFER) {
        return ray__session_send_refer(s, next->stream, &refer);
    }
    of->held = true;
    *fate = FATE_KEPT;
    return RAY_OK;
}

// Begins a chunk if it can be sent now, says who else has it, or keeps it.
static ray_status try_waiting(ray__session *s, const ray__waiting *next, enum fate *fate, ray__offer **gated) {
    ray__stream *of = ray__session_find(s, next->stream);
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
        return ray__session_send_refer(s, next->stream, &refer);
    }
    if (presence == RAY__GONE) {
        return ray__session_send_failed(s, next->stream, next->index, RAY_NOT_LOCAL, "the pull that was to bring it here has failed");
    }
    return begin_chunk(s, of, next, checksum, fate, gated);
}

static ray_status submit_orders(ray__session *s, ray__offer **gated) {
    ray_status status = RAY_OK;
    uint32_t kept_count = 0;
    for (uint32_t i = 0; i < RAY__STREAMS_MAX; i++) {
        s->streams[i].held = false;
        s->streams[i].cannot_read = false;
    }
    for (uint32_t i = 0; i < s->waiting_count; i++) {
        ray__waiting next = s->waiting[i];
        enum fate fate = FATE_KEPT;
        if (status == RAY_OK) {
            status = try_waiting(s, &next, &fate, gated);
        }
        if (fate == FATE_KEPT) {
            s->waiting[kept_count++] = next;
        } else if (fate == FATE_OVER) {
            ray__session_owe_no_more(s, next.raw_size, next.urgency);
        }
    }
    s->waiting_count = kept_count;
    for (uint32_t i = 0; i < RAY__STREAMS_MAX; i++) {
        if (s->streams[i].offer != NULL && !s->streams[i].held) {
            ray__swarm_pass(s->streams[i].offer, &s->streams[i].turn);
        }
        // Who has something under way looks again when that has left.
        if (s->streams[i].offer != NULL && s->free_count < s->order_count) {
            ray__read_withdraw(&s->transfer->reads, &s->streams[i].reading);
        }
    }
    return status;
}

static ray__order *next_prepared(ray__session *s) {
    void *item = NULL;
    // Workers always finish, and readers when their source's read does, so this ends.
    ray_status status = ray__ring_pop(s->prepared, &item, UINT64_MAX);
    (void)status;
    return item;
}

// Tells who waits for a chunk that is being read that we are alive.
static ray_status say_alive(ray__session *s) {
    for (uint32_t i = 0; i < RAY__STREAMS_MAX; i++) {
        if (s->streams[i].offer != NULL && s->streams[i].orders > 0 && !s->streams[i].closed) {
            uint8_t message[RAY__MESSAGE_HEADER_SIZE];
            ray__message_seal(message, RAY__MESSAGE_WAIT, s->streams[i].name, 0);
            return ray__session_send(s, message, sizeof message, false);
        }
    }
    return RAY_OK;
}

static ray_status send_next_prepared(ray__session *s) {
    void *item = NULL;
    while (ray__ring_pop(s->prepared, &item, RAY__WAIT_NS) != RAY_OK) {
        RAY_TRY(say_alive(s));
    }
    ray_status status = ray__session_send_prepared(s, item);
    s->useful_ns = ray__now_ns();
    ray__session_put_back(s, item);
    return status;
}

// Nothing that is asked for can be sent now: waits until that may have changed, or a request comes. Says now and then that we are alive.
static ray_status wait_for_turn(ray__session *s) {
    bool has_room = s->waiting_count + RAY__INDICES_MAX <= RAY__WAITING_MAX;
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
    return ray__session_send(s, message, sizeof message, false);
}

static ray_status serve_requests(ray__session *s) {
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
            status = ray__session_read(s, s->free_count == s->order_count && s->waiting_count == 0);
        }
        gated = NULL;
        if (status == RAY_OK) {
            status = submit_orders(s, &gated);
        }
        all_wait = s->free_count == s->order_count && s->waiting_count > 0;
        if (status == RAY_OK && s->free_count < s->order_count) {
            status = send_next_prepared(s);
        }
    }
    for (uint32_t i = 0; i < RAY__STREAMS_MAX; i++) {
        bool owed = s->streams[i].orders > 0;
        for (uint32_t k = 0; k < s->waiting_count && !owed; k++) {
            owed = s->waiting[k].stream == s->streams[i].name;
        }
        if (s->streams[i].offer != NULL && owed) {
            atomic_store(&s->streams[i].offer->broken, true);
        }
    }
    while (s->free_count < s->order_count) {
        ray__session_put_back(s, next_prepared(s));
    }
    while (atomic_load(&s->at_workers) != 0) {
        sched_yield(); // a worker is between its push and its next job: a few instructions
    }
    return status;
}

ray_status ray__serve(ray_transfer *transfer, ray__connection *connection) {
    ray__session *s = calloc(1, sizeof *s);
    if (s == NULL) {
        return ray__fail(RAY_OUT_OF_MEMORY, "serving %s", connection->peer);
    }
    ray__memory_took(&transfer->memory, sizeof *s);
    s->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    ray_status status = s->wake < 0 ? ray__fail_errno(RAY_SYSTEM, "an event for a connection; raise the limit of open files")
                                    : ray__ring_create(RAY__ORDERS_MAX, &s->prepared);
    if (status == RAY_OK) {
        s->transfer = transfer;
        s->connection = connection;
        s->useful_ns = ray__now_ns();
        connection->silent_ns = RAY__SERVED_SILENT_NS;
        s->order_count = transfer->workers.count + 2;
        s->order_count = s->order_count < RAY__ORDERS_MIN ? RAY__ORDERS_MIN : s->order_count > RAY__ORDERS_MAX ? RAY__ORDERS_MAX : s->order_count;
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
    for (uint32_t i = 0; i < RAY__STREAMS_MAX; i++) {
        if (s->streams[i].offer != NULL) {
            ray__session_end(s, &s->streams[i]);
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
