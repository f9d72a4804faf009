// SPDX-License-Identifier: Apache-2.0
// Where links and served connections meet the flows: what they owe and are owed, how they wait for their turn, how urgent a pull is.
#include <poll.h>

#include "base/clock_internal.h"
#include "base/error_internal.h"
#include "transfer/transfer_internal.h"

// A link looks so often whether its thread is wanted.
#define LOOK_MS 50
// A served connection writes a piece at least so often, whatever is more urgent: its peer would take it for silent.
#define PIECE_DUE_NS RAY__SECOND

static int milliseconds_until(uint64_t until_ns, int at_most) {
    uint64_t now = ray__now_ns();
    uint64_t rest = until_ns > now ? (until_ns - now + 999999) / 1000000 : 0;
    return rest > (uint64_t)at_most ? at_most : (int)rest;
}

// ---- receiving -----------------------------------------------------------------------------------------------------------

void ray__pull_wait(const ray_pull *pull, uint64_t until_ns) {
    struct pollfd stop = {.fd = pull->stop, .events = POLLIN};
    poll(&stop, 1, milliseconds_until(until_ns, LOOK_MS));
}

bool ray__link_may_open(ray__link *link) {
    ray_pull *pull = link->pull;
    uint64_t again_ns = 0;
    while (!ray__flow_is_open(&pull->transfer->receiving, atomic_load(&pull->urgency), ray__now_ns(), &again_ns)) {
        link->yields = ray__link_queue_must_yield(pull->transfer, atomic_load(&pull->urgency));
        if (atomic_load(&pull->ended) || link->yields) {
            return false;
        }
        ray__pull_wait(pull, again_ns);
    }
    return true;
}

void ray__link_asked(ray__link *link, const uint32_t *indices, uint32_t count) {
    const ray_pull *pull = link->pull;
    ray__flow *flow = &pull->transfer->receiving;
    uint32_t urgency = atomic_load(&pull->urgency);
    uint64_t now = ray__now_ns();
    if (urgency != link->due_urgency) {
        ray__flow_not_due(flow, link->due_urgency, link->due_bytes);
        ray__flow_due(flow, urgency, link->due_bytes, now);
        link->due_urgency = urgency;
    }
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < count; i++) {
        bytes += ray__chunk_raw_size(pull->size_bytes, pull->chunk_size, indices[i]);
    }
    link->due_bytes += bytes;
    ray__flow_due(flow, urgency, bytes, now);
}

void ray__link_arrived(ray__link *link, const ray_chunk_header *header) {
    ray__flow *flow = &link->pull->transfer->receiving;
    link->due_bytes -= header->raw_size;
    ray__flow_not_due(flow, link->due_urgency, header->raw_size);
    ray__flow_moved(flow, link->due_urgency, header->stored_size, ray__now_ns());
    // The caps count what is stored; asked for was what it is raw.
    ray__flow_give(flow, link->due_urgency, header->raw_size - header->stored_size);
}

void ray__link_refused(ray__link *link, uint32_t index) {
    ray__flow *flow = &link->pull->transfer->receiving;
    uint32_t raw_size = ray__chunk_raw_size(link->pull->size_bytes, link->pull->chunk_size, index);
    link->due_bytes -= raw_size;
    ray__flow_not_due(flow, link->due_urgency, raw_size);
    ray__flow_give(flow, link->due_urgency, raw_size);
}

void ray__link_gives_up(ray__link *link) {
    ray__flow *flow = &link->pull->transfer->receiving;
    ray__flow_not_due(flow, link->due_urgency, link->due_bytes);
    ray__flow_give(flow, link->due_urgency, link->due_bytes);
    link->due_bytes = 0;
}

ray_status ray_pull_set_urgency(ray_pull *pull, uint32_t urgency) {
    if (urgency >= RAY_URGENCY_COUNT) {
        return ray__fail(RAY_INVALID_ARGUMENT, "urgency is %u; the classes are 0 to %u", urgency, RAY_URGENCY_COUNT - 1);
    }
    pthread_mutex_lock(&pull->lock);
    if (urgency < atomic_load(&pull->urgency) && !atomic_load(&pull->ended)) {
        ray__link_queue_move(pull, urgency);
    }
    pthread_mutex_unlock(&pull->lock);
    return RAY_OK;
}

// ---- sending -------------------------------------------------------------------------------------------------------------

ray_status ray__pace(ray_transfer *transfer, const ray__connection *connection, uint32_t urgency, uint64_t size, uint64_t *piece) {
    uint64_t now = ray__now_ns();
    uint64_t must_ns = now + PIECE_DUE_NS;
    uint64_t when = now;
    *piece = 0;
    while (*piece == 0 || when > now) {
        if (*piece == 0) {
            *piece = ray__flow_next_piece(&transfer->sending, urgency, size, now >= must_ns, now, &when);
        }
        uint64_t until = *piece == 0 ? now + RAY__FLOW_AGAIN_NS : when;
        if (until > now) {
            struct pollfd stop = {.fd = connection->stop, .events = POLLIN};
            if (poll(&stop, 1, milliseconds_until(until, 1000)) > 0) {
                return ray__fail(RAY_CANCELLED, "the connection to %s was stopped", connection->peer);
            }
            now = ray__now_ns();
        }
    }
    return RAY_OK;
}
