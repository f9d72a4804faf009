// SPDX-License-Identifier: Apache-2.0
#include "transfer/flow_internal.h"

// One of ten bytes is for the less urgent.
#define SHARE 9
// A capped sender writes in pieces small enough that every connection gets one long before its peer takes it for silent.
#define PIECES_A_SECOND 64u
#define PIECE_MIN 1024u
#define PIECE_MAX (256u << 10)

void ray__flow_init(ray__flow *flow, uint64_t rate_max_bytes, const uint64_t *class_rate_max_bytes) {
    ray__rate_init(&flow->all, rate_max_bytes);
    atomic_init(&flow->credit, 0);
    for (uint32_t u = 0; u < RAY_URGENCY_COUNT; u++) {
        ray__rate_init(&flow->classes[u], class_rate_max_bytes[u]);
        atomic_init(&flow->under_way[u].due_bytes, 0);
        atomic_init(&flow->under_way[u].moved_ns, 0);
    }
}

void ray__flow_due(ray__flow *flow, uint32_t urgency, uint64_t size, uint64_t now_ns) {
    if (atomic_fetch_add(&flow->under_way[urgency].due_bytes, (int64_t)size) == 0) {
        atomic_store(&flow->under_way[urgency].moved_ns, now_ns); // it begins
    }
}

void ray__flow_not_due(ray__flow *flow, uint32_t urgency, uint64_t size) {
    atomic_fetch_sub(&flow->under_way[urgency].due_bytes, (int64_t)size);
}

void ray__flow_moved(ray__flow *flow, uint32_t urgency, uint64_t size, uint64_t now_ns) {
    atomic_store(&flow->under_way[urgency].moved_ns, now_ns);
    if (urgency + 1 < RAY_URGENCY_COUNT && atomic_load(&flow->credit) < RAY__CREDIT_MAX) {
        atomic_fetch_add(&flow->credit, (int64_t)(size / SHARE));
    }
}

static bool is_pressed(ray__flow *flow, uint32_t urgency, uint64_t now_ns) {
    for (uint32_t u = 0; u < urgency; u++) {
        // Another thread's clock may be a little ahead of ours.
        uint64_t moved = atomic_load(&flow->under_way[u].moved_ns);
        uint64_t again_ns;
        // Who waits for a cap of its own class has no use for what others leave.
        if (ray__rate_is_open(&flow->classes[u], now_ns, &again_ns) &&
            atomic_load(&flow->under_way[u].due_bytes) > 0 && (moved > now_ns || now_ns - moved < RAY__STALL_NS)) {
            return true;
        }
    }
    return false;
}

static bool take_credit(ray__flow *flow, uint64_t size) {
    int64_t credit = atomic_load(&flow->credit);
    do {
        if (credit < (int64_t)size) {
            return false;
        }
    } while (!atomic_compare_exchange_weak(&flow->credit, &credit, credit - (int64_t)size));
    return true;
}

bool ray__flow_take(ray__flow *flow, uint32_t urgency, uint64_t size, uint64_t now_ns, uint64_t *again_ns) {
    if (!ray__rate_take(&flow->classes[urgency], size, now_ns, again_ns)) {
        return false;
    }
    if (!ray__rate_take(&flow->all, size, now_ns, again_ns)) {
        ray__rate_give(&flow->classes[urgency], size);
        return false;
    }
    if (is_pressed(flow, urgency, now_ns) && !take_credit(flow, size)) {
        ray__flow_give(flow, urgency, size);
        *again_ns = now_ns + RAY__FLOW_AGAIN_NS;
        return false;
    }
    return true;
}

void ray__flow_give(ray__flow *flow, uint32_t urgency, uint64_t size) {
    ray__rate_give(&flow->classes[urgency], size);
    ray__rate_give(&flow->all, size);
}

void ray__flow_came(ray__flow *flow, uint32_t urgency, uint64_t size, uint64_t now_ns) {
    (void)ray__rate_reserve(&flow->classes[urgency], size, now_ns);
    (void)ray__rate_reserve(&flow->all, size, now_ns);
}

bool ray__flow_is_open(ray__flow *flow, uint32_t urgency, uint64_t now_ns, uint64_t *again_ns) {
    return ray__rate_is_open(&flow->classes[urgency], now_ns, again_ns) && ray__rate_is_open(&flow->all, now_ns, again_ns);
}

static uint64_t at_most(uint64_t piece, uint64_t rate_max_bytes) {
    if (rate_max_bytes == 0) {
        return piece;
    }
    uint64_t limit = rate_max_bytes / PIECES_A_SECOND;
    limit = limit < PIECE_MIN ? PIECE_MIN : limit > PIECE_MAX ? PIECE_MAX : limit;
    return piece < limit ? piece : limit;
}

uint64_t ray__flow_next_piece(ray__flow *flow, uint32_t urgency, uint64_t size, bool must, uint64_t now_ns, uint64_t *when_ns) {
    uint64_t piece = at_most(at_most(size, flow->all.max_bytes), flow->classes[urgency].max_bytes);
    if (is_pressed(flow, urgency, now_ns)) {
        piece = piece < RAY__FLOW_PIECE ? piece : RAY__FLOW_PIECE;
        if (!take_credit(flow, piece) && !must) {
            return 0;
        }
    }
    uint64_t class_when = ray__rate_reserve(&flow->classes[urgency], piece, now_ns);
    uint64_t when = ray__rate_reserve(&flow->all, piece, now_ns);
    *when_ns = when > class_when ? when : class_when;
    return piece;
}
