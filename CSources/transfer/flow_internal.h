// SPDX-License-Identifier: Apache-2.0
// Flow: what all pulls of a transfer share in one direction, received or sent: the caps, and who goes first.
//
// While a more urgent class has chunks under way, and they move, the less urgent ones may take one byte for every nine that move of the
// more urgent: their *credit*. They share it, first come, first served, so none is starved. A class of which nothing has moved for
// RAY__STALL_NS holds nobody back: its source is slow, not we.
//
// It knows no clock and takes no lock: the counts are atomic and a few bytes more or less do not matter.
#ifndef RAY_TRANSFER_FLOW_INTERNAL_H
#define RAY_TRANSFER_FLOW_INTERNAL_H

#include "raystore/transfer.h"
#include "transfer/rate_internal.h"

#define RAY__STALL_NS 2000000000ull
#define RAY__CREDIT_MAX (2ll * RAY_CHUNK_SIZE) // saved by those who had nothing to take
#define RAY__FLOW_AGAIN_NS 5000000ull          // to look again, for who waits for credit
#define RAY__FLOW_PIECE (64u << 10)            // sent at a time beside a more urgent class

typedef struct ray__flow {
    ray__rate all;
    ray__rate classes[RAY_URGENCY_COUNT];
    _Atomic int64_t credit;
    struct {
        _Atomic int64_t due_bytes; // asked for and not yet here, or not yet sent
        _Atomic uint64_t moved_ns; // when some of them last were
    } under_way[RAY_URGENCY_COUNT];
} ray__flow;

void ray__flow_init(ray__flow *flow, uint64_t rate_max_bytes, const uint64_t *class_rate_max_bytes);

// So many bytes are asked for; so many are not any more, since they have come, or will not.
void ray__flow_due(ray__flow *flow, uint32_t urgency, uint64_t size, uint64_t now_ns);
void ray__flow_not_due(ray__flow *flow, uint32_t urgency, uint64_t size);
// So many have moved.
void ray__flow_moved(ray__flow *flow, uint32_t urgency, uint64_t size, uint64_t now_ns);

// Takes a chunk's bytes, if class and caps allow it now; if not, says when to ask again.
bool ray__flow_take(ray__flow *flow, uint32_t urgency, uint64_t size, uint64_t now_ns, uint64_t *again_ns);
// Of what was taken so much was not used: the chunk was packed, or does not come.
void ray__flow_give(ray__flow *flow, uint32_t urgency, uint64_t size);
// Counts bytes that came unasked, with a card.
void ray__flow_came(ray__flow *flow, uint32_t urgency, uint64_t size, uint64_t now_ns);
// Whether the caps allow anything now; if not, says when.
bool ray__flow_is_open(ray__flow *flow, uint32_t urgency, uint64_t now_ns, uint64_t *again_ns);

// How many of these bytes may be sent in one go: all of them, or a piece; 0 while it is the turn of a more urgent class. The first has
// taken its credit, and the caps are reserved: *when_ns says when it may leave.
uint64_t ray__flow_next_piece(ray__flow *flow, uint32_t urgency, uint64_t size, bool must, uint64_t now_ns, uint64_t *when_ns);

#endif
