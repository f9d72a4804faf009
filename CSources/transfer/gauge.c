// SPDX-License-Identifier: Apache-2.0
// What an offer's tuner is told of its chunks' way: how many wait for the link, and how fast the link takes them.

#include "base/clock_internal.h"
#include "base/thread_internal.h"
#include "transfer/transfer_internal.h"

// The kernel counts busy time in ticks of 1 to 10 ms.
#define SPAN_NS (50 * RAY__MS)
// Of a link known from an earlier transfer: the first span, in which few chunks are begun, and when it may be over since the link is as it was.
#define FIRST_SPAN_NS (20 * RAY__MS)
#define CONFIRM_NS (4 * RAY__MS)
// How often the way of the first chunk is looked at.
#define LOOK_NS RAY__MS
// How long after its begin a mark is set, how long after that the link is judged at the earliest, and by how many bytes at least.
#define MARK_NS (2 * RAY__MS)
#define MARKED_NS (4 * RAY__MS)
#define FIRST_MIN (32u << 10)

void ray__gauge_init(ray__gauge *gauge, ray__headroom *headroom) {
    gauge->headroom = headroom;
    pthread_mutex_init(&gauge->lock, NULL);
    ray__cond_init(&gauge->known);
}

void ray__gauge_end(ray__gauge *gauge) {
    pthread_cond_destroy(&gauge->known);
    pthread_mutex_destroy(&gauge->lock);
}

// Whether a chunk may be begun now, if so many are.
static bool may_begin(ray__offer *offer, uint32_t under_way) {
    ray__gauge *gauge = &offer->gauge;
    uint32_t places = ray__tuner_places(&offer->tuner);
    if (under_way >= places) {
        return false;
    }
    if (places > 1) {
        return true;
    }
    pthread_mutex_lock(&gauge->lock);
    bool is_on_its_way = gauge->first_ns != 0 && ray__now_ns() - gauge->first_ns < RAY__SECOND;
    if (!is_on_its_way) {
        gauge->first_ns = 0; // its connection may have ended, so another one is tried
    }
    pthread_mutex_unlock(&gauge->lock);
    return !is_on_its_way;
}

bool ray__gauge_begin(ray__offer *offer, bool is_tuned) {
    ray__gauge *gauge = &offer->gauge;
    uint32_t under_way = atomic_load(&gauge->under_way);
    do {
        if (is_tuned && !may_begin(offer, under_way)) {
            return false;
        }
    } while (!atomic_compare_exchange_weak(&gauge->under_way, &under_way, under_way + 1));
    return true;
}

void ray__gauge_learned(ray__offer *offer) {
    if (!ray__tuner_has_measured_link(&offer->tuner)) {
        pthread_mutex_lock(&offer->gauge.lock);
        pthread_cond_broadcast(&offer->gauge.known);
        pthread_mutex_unlock(&offer->gauge.lock);
    }
}

void ray__gauge_prepared(ray__order *order) {
    ray__gauge *gauge = &order->offer->gauge;
    order->ready_size = order->header.stored_size;
    atomic_fetch_add(&gauge->ready, 1);
    atomic_fetch_add(&gauge->ready_bytes, order->ready_size);
}

void ray__gauge_left(ray__order *order) {
    ray__gauge *gauge = &order->offer->gauge;
    atomic_fetch_sub(&gauge->ready, 1);
    atomic_fetch_sub(&gauge->ready_bytes, order->ready_size);
    ray__gauge_cancel(order->offer);
}

void ray__gauge_cancel(ray__offer *offer) {
    ray__gauge *gauge = &offer->gauge;
    if (atomic_fetch_sub(&gauge->under_way, 1) == 1) {
        pthread_mutex_lock(&gauge->lock);
        pthread_cond_broadcast(&gauge->known);
        pthread_mutex_unlock(&gauge->lock);
    }
}

void ray__gauge_backlog(const ray__offer *offer, ray__backlog *backlog) {
    *backlog = (ray__backlog){
        .under_way = atomic_load(&offer->gauge.under_way),
        .ready = atomic_load(&offer->gauge.ready),
        .ready_bytes = atomic_load(&offer->gauge.ready_bytes),
        .chunk_size = offer->chunk_size,
    };
}

// Whoever looks at the begin of a span is told of it at its end.
static void look_at_cores(ray__gauge *gauge, ray__span *span) {
    ray__free_cores spare;
    ray__headroom_now(gauge->headroom, ray__now_ns(), &spare);
    span->cores = spare.allowed / 1e3;
    span->idle = spare.unused == RAY__SPARE_UNKNOWN ? -1 : spare.unused / 1e3;
}

static uint64_t at_most(uint64_t value, uint64_t limit) {
    return value < limit ? value : limit;
}

static void begin_span(ray__gauge *gauge, uint64_t time) {
    gauge->since_ns = time;
    gauge->span = (ray__span){0};
    gauge->drained = (ray__drain){0};
}

static void end_span(ray__offer *offer, uint64_t time) {
    ray__gauge *gauge = &offer->gauge;
    ray__span span = gauge->span;
    span.span_ns = time - gauge->since_ns;
    span.limited_ns = at_most(gauge->drained.limited_ns, span.span_ns);
    span.receiver_ns = at_most(gauge->drained.receiver_ns, span.span_ns);
    span.drained_bytes = gauge->drained.acked_bytes;
    look_at_cores(gauge, &span);
    ray__tuner_span(&offer->tuner, &span);
    begin_span(gauge, time);
    pthread_cond_broadcast(&gauge->known);
}

static void add_drained(ray__gauge *gauge, ray__drain *last, const ray__connection *connection) {
    ray__drain now;
    ray__connection_drain(connection, &now);
    gauge->drained.acked_bytes += now.acked_bytes - last->acked_bytes;
    gauge->drained.limited_ns += now.limited_ns - last->limited_ns;
    gauge->drained.receiver_ns += now.receiver_ns - last->receiver_ns;
    *last = now;
}

// ---- the link, by the way of the first chunk ---------------------------------------------------------------------------------------

void ray__gauge_sending(ray__offer *offer, ray__drain *last, const ray__connection *connection, uint32_t stored_size) {
    ray__gauge *gauge = &offer->gauge;
    if (ray__tuner_has_measured_link(&offer->tuner)) {
        return;
    }
    pthread_mutex_lock(&gauge->lock);
    if (gauge->first_ns == 0) {
        ray__connection_drain(connection, last); // what came before this chunk does not count
        gauge->first_ns = ray__now_ns();
        begin_span(gauge, gauge->first_ns);
        gauge->first_size = 0;
        gauge->mark_ns = 0;
    }
    gauge->first_size += stored_size;
    for (uint32_t i = 0; i < RAY__GAUGE_SENDING; i++) {
        if (gauge->sending[i].connection == NULL) {
            gauge->sending[i].connection = connection;
            gauge->sending[i].last = last;
            break;
        }
    }
    pthread_mutex_unlock(&gauge->lock);
}

void ray__gauge_sent(ray__offer *offer, const ray__connection *connection) {
    ray__gauge *gauge = &offer->gauge;
    pthread_mutex_lock(&gauge->lock);
    for (uint32_t i = 0; i < RAY__GAUGE_SENDING; i++) {
        if (gauge->sending[i].connection == connection) {
            gauge->sending[i].connection = NULL;
        }
    }
    pthread_mutex_unlock(&gauge->lock);
}

// Most of the first chunk must have arrived, for what the kernel took at once says nothing of the link; or some time must have passed since
// a mark, for links that are shaped let the first bytes pass faster.
static void look_at_first(ray__offer *offer, uint64_t time) {
    ray__gauge *gauge = &offer->gauge;
    uint64_t acked = gauge->drained.acked_bytes;
    if (gauge->first_ns == 0 || ray__tuner_has_measured_link(&offer->tuner)) {
        return;
    }
    if (ray__tuner_knows_link(&offer->tuner)) {
        uint64_t span = time - gauge->since_ns;
        if (span >= CONFIRM_NS && ray__tuner_confirm_link(&offer->tuner, acked, span)) {
            // It takes no less than it did. Whether it takes more is for a longer span to say: links that are shaped let the first bytes
            // pass faster.
            begin_span(gauge, time);
            pthread_cond_broadcast(&gauge->known);
        } else if (span >= FIRST_SPAN_NS) {
            end_span(offer, time);
        }
        return;
    }
    bool has_arrived = acked >= gauge->first_size / 4 * 3;
    bool is_marked = gauge->mark_ns != 0 && time - gauge->mark_ns >= (has_arrived ? MARKED_NS / 2 : MARKED_NS) &&
                     acked - gauge->mark_bytes >= FIRST_MIN;
    if (has_arrived && acked < FIRST_MIN) {
        gauge->first_ns = 0; // too short to say anything: the next one shall
        pthread_cond_broadcast(&gauge->known);
    } else if (is_marked || has_arrived) {
        uint64_t since = is_marked ? gauge->mark_ns : gauge->first_ns;
        uint64_t bytes = is_marked ? acked - gauge->mark_bytes : acked;
        ray__tuner_link(&offer->tuner, (double)bytes * 1e9 / (double)(time > since ? time - since : 1));
        begin_span(gauge, time);
        pthread_cond_broadcast(&gauge->known);
    } else if (gauge->mark_ns == 0 && time - gauge->first_ns >= MARK_NS) {
        gauge->mark_ns = time;
        gauge->mark_bytes = acked;
    }
}

// ---- what drains, from then on -----------------------------------------------------------------------------------------------------

// Connections of one pull share the link, so their counts are added up: bytes over the time in which the link was the limit, which is
// at most the time that went by.
void ray__gauge_drained(ray__offer *offer, ray__drain *last, const ray__connection *connection, const ray_chunk_header *chunk) {
    ray__gauge *gauge = &offer->gauge;
    uint64_t time = ray__now_ns();
    pthread_mutex_lock(&gauge->lock);
    add_drained(gauge, last, connection);
    if (gauge->since_ns == 0) {
        gauge->since_ns = time;
        gauge->drained = (ray__drain){0};
        look_at_cores(gauge, &gauge->span); // where the first span begins
    }
    look_at_first(offer, time);
    if (chunk != NULL) {
        gauge->span.raw_bytes += chunk->raw_size;
        gauge->span.packed_raw_bytes += chunk->codec != RAY_CODEC_NONE ? chunk->raw_size : 0;
        if (ray__tuner_has_measured_link(&offer->tuner) && time - gauge->since_ns >= SPAN_NS) {
            end_span(offer, time);
        }
    }
    pthread_mutex_unlock(&gauge->lock);
}

void ray__gauge_wait(ray__offer *offer, ray__drain *last, const ray__connection *connection, uint64_t timeout_ns) {
    ray__gauge *gauge = &offer->gauge;
    uint64_t deadline = ray__deadline_ns(timeout_ns);
    while (!may_begin(offer, atomic_load(&gauge->under_way)) && ray__now_ns() < deadline) {
        uint64_t look = ray__deadline_ns(LOOK_NS);
        pthread_mutex_lock(&gauge->lock);
        ray__cond_wait_until(&gauge->known, &gauge->lock, look);
        add_drained(gauge, last, connection);
        for (uint32_t i = 0; i < RAY__GAUGE_SENDING; i++) {
            if (gauge->sending[i].connection != NULL) {
                add_drained(gauge, gauge->sending[i].last, gauge->sending[i].connection);
            }
        }
        look_at_first(offer, ray__now_ns());
        pthread_mutex_unlock(&gauge->lock);
    }
}
