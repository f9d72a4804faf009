// SPDX-License-Identifier: Apache-2.0
// What leaves on a served connection: prepared chunks, from where they lie, and why there are none.
#include <stdio.h>
#include <string.h>
#include <sys/uio.h>

#include "base/clock_internal.h"
#include "base/error_internal.h"
#include "codec/frame_internal.h"
#include "plasma/store_internal.h"
#include "transfer/pacing_internal.h"
#include "transfer/session_internal.h"

ray_status ray__session_send(ray__session *s, void *bytes, size_t size, bool more) {
    struct iovec part = {bytes, size};
    return ray__connection_write(s->connection, &part, 1, more);
}

ray_status ray__session_send_failed(ray__session *s, uint32_t name, uint32_t index, ray_status why, const char *text) {
    uint8_t message[RAY__MESSAGE_HEADER_SIZE + RAY__FAILED_BODY_MAX];
    ray__failed failed = {.index = index, .status = why};
    snprintf(failed.text, sizeof failed.text, "%s", text);
    uint32_t size = ray__failed_write(&failed, message + RAY__MESSAGE_HEADER_SIZE);
    ray__message_seal(message, RAY__MESSAGE_FAILED, name, size);
    return ray__session_send(s, message, RAY__MESSAGE_HEADER_SIZE + size, false);
}

ray_status ray__session_send_refer(ray__session *s, uint32_t name, const ray__refer *refer) {
    uint8_t message[RAY__MESSAGE_HEADER_SIZE + RAY__REFER_BODY_MAX];
    uint32_t size = ray__refer_write(refer, message + RAY__MESSAGE_HEADER_SIZE);
    ray__message_seal(message, RAY__MESSAGE_REFER, name, size);
    return ray__session_send(s, message, RAY__MESSAGE_HEADER_SIZE + size, false);
}

// Raw bytes of an object are lent to the kernel, too, page by page: a copy would cost as much as the rest of sending them. Fewer bytes than
// this are copied for less than a second call costs.
#define LENT_MIN (64u << 10)

// Where a chunk's stored bytes lie: in memory, or (bytes is NULL) in a file.
typedef struct location {
    const uint8_t *bytes;
    int file;
    uint64_t offset;
} location;

static location location_of(const ray__session *s, const ray__order *order) {
    const ray__offer *offer = order->offer;
    uint64_t offset = (uint64_t)order->index * offer->chunk_size;
    if (order->packed != NULL) {
        return (location){.bytes = order->packed};
    }
    if (offer->file >= 0) {
        return (location){.file = offer->file, .offset = offer->answer.file_offset + offset};
    }
    // What is lent must stay until the receiver has it: an object that is pinned does, since the receiver closes the stream only then. The
    // memory of one that is still being filled may go at once with its pull.
    if (offer->pinned && order->header.stored_size >= LENT_MIN) {
        const ray_store *store = s->transfer->store;
        return (location){.file = ray_store_data_fd(store), .offset = ray__store_offset_of(store, offer->view.data) + offset};
    }
    return (location){.bytes = offer->view.data + offset};
}

// In one go, unless a cap or a more urgent class lets it go in pieces only.
static ray_status send_stored(ray__session *s, ray__order *order, uint8_t *prefix) {
    location from = location_of(s, order);
    for (uint64_t at = 0, piece = 0; at < order->header.stored_size; at += piece) {
        RAY_TRY(ray__pace(s->transfer, s->connection, order->urgency, order->header.stored_size - at, &piece));
        if (from.bytes != NULL) {
            // The cast takes const away for iovec; sendmsg only reads.
            struct iovec parts[2] = {{prefix, at == 0 ? RAY__CHUNK_PREFIX_SIZE : 0}, {(void *)(uintptr_t)(from.bytes + at), piece}};
            RAY_TRY(ray__connection_write(s->connection, parts, 2, false));
        } else {
            RAY_TRY(at == 0 ? ray__session_send(s, prefix, RAY__CHUNK_PREFIX_SIZE, true) : RAY_OK);
            RAY_TRY(ray__connection_send_file(s->connection, from.file, from.offset + at, piece));
            atomic_fetch_add(&s->transfer->sendfile_bytes, piece);
        }
        ray__flow_moved(&s->transfer->sending, order->urgency, piece, ray__now_ns());
    }
    return RAY_OK;
}

// What the kernel has taken and not sent yet is out of sight: the tuner counts it as sent, and what is more urgent waits behind it. So it may
// hold as much as the link takes in this time; by itself it holds 4 MiB and more, 40 ms of a link of 1 Gbit/s.
#define UNSENT_NS (8 * RAY__MS)
#define UNSENT_MIN (128u << 10)
#define UNSENT_MAX (4u << 20) // beyond, the kernel's own bounds are enough
#define SLOW_PART 2           // such a part of it: of links of 2 Gbit/s and less
// The link is judged by so much of it: the kernel counts in ticks.
#define JUDGED_NS (20 * RAY__MS)
#define JUDGED_BYTES (32u << 20)

static void bound_unsent(ray__session *s) {
    uint64_t bytes = s->drain.acked_bytes - s->bounded.acked_bytes;
    uint64_t busy_ns = s->drain.limited_ns - s->bounded.limited_ns;
    if (bytes < JUDGED_BYTES && (busy_ns < JUDGED_NS || bytes < UNSENT_MIN)) {
        return;
    }
    double taken = (double)bytes * (double)UNSENT_NS / (double)(busy_ns > 0 ? busy_ns : 1);
    uint32_t most = taken > UNSENT_MAX ? 0 : taken < UNSENT_MIN ? UNSENT_MIN : (uint32_t)taken;
    s->bounded = s->drain;
    if (most != 0 && most < UNSENT_MAX / SLOW_PART && !s->may_be_paced) {
        ray__pacing_allow(s->connection->socket);
        s->may_be_paced = true;
    }
    // A quarter more or less is not worth a call.
    if (most == 0 ? s->unsent_max != 0 : most < s->unsent_max - s->unsent_max / 4 || most > s->unsent_max + s->unsent_max / 4) {
        ray__connection_bound_unsent(s->connection, most);
        s->unsent_max = most;
    }
}

static ray_status send_chunk(ray__session *s, ray__order *order) {
    uint8_t prefix[RAY__CHUNK_PREFIX_SIZE];
    ray__offer *offer = order->offer;
    RAY_TRY(ray__session_note(s, order));
    ray__chunk_header_write(&order->header, prefix + RAY__MESSAGE_HEADER_SIZE);
    ray__message_seal(prefix, RAY__MESSAGE_CHUNK, order->stream, RAY_CHUNK_HEADER_SIZE + order->header.stored_size);
    ray__gauge_sending(offer, &s->drain, s->connection, order->header.stored_size);
    ray_status status = send_stored(s, order, prefix);
    ray__gauge_sent(offer, s->connection);
    if (status == RAY_OK && order->packed == NULL && offer->file >= 0 && ray__offer_check(offer) != RAY_OK) {
        // The receiver's checksum decides about this chunk; the next ones are refused.
        ray__sums_forget(s->transfer->sums, &offer->id);
    }
    if (status == RAY_OK) {
        ray__offer_sent(s->transfer, offer, order->header.raw_size, order->header.stored_size);
        ray__gauge_drained(offer, &s->drain, s->connection, &order->header);
        bound_unsent(s);
    }
    return status;
}

void ray__session_put_back(ray__session *s, ray__order *order) {
    if (order->has_slot) {
        ray__swarm_give_slot(order->offer);
    }
    if (order->given) {
        ray__swarm_ungive(order->offer, order->index);
    }
    ray__buffers_give(&s->transfer->send_buffers, order->packed);
    order->packed = NULL;
    s->read_count -= order->is_read;
    ray__session_owe_no_more(s, order->raw_size, order->urgency);
    ray__gauge_left(order);
    for (uint32_t i = 0; i < RAY__STREAMS_MAX; i++) {
        if (s->streams[i].offer == order->offer && s->streams[i].name == order->stream && s->streams[i].orders > 0) {
            s->streams[i].orders--;
            ray__session_end_unused(s, &s->streams[i]);
            break;
        }
    }
    s->free_orders[s->free_count++] = order;
}

// Sends a prepared chunk, or why there is none.
ray_status ray__session_send_prepared(ray__session *s, ray__order *order) {
    ray__stream *of = ray__session_find(s, order->stream);
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
    return ray__session_send_failed(s, order->stream, order->index, order->status, order->text);
}
