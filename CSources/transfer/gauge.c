// SPDX-License-Identifier: Apache-2.0
// What an offer's tuner is told of its chunks' way: how many wait for the link, and how fast the link takes them.
#include <time.h>

#include "base/clock_internal.h"
#include "transfer/transfer_internal.h"

// The kernel counts busy time in ticks of 1 to 10 ms.
#define SPAN_NS (50 * RAY__MS)
// How often the way of the first chunk is looked at.
#define LOOK_NS RAY__MS

void ray__gauge_init(ray__gauge *gauge) {
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&gauge->lock, NULL);
    pthread_cond_init(&gauge->known, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

void ray__gauge_end(ray__gauge *gauge) {
    pthread_cond_destroy(&gauge->known);
    pthread_mutex_destroy(&gauge->lock);
}

bool ray__gauge_begin(ray__offer *offer, bool is_tuned) {
    ray__gauge *gauge = &offer->gauge;
    if (!is_tuned || ray__tuner_is_ready(&offer->tuner)) {
        atomic_fetch_add(&gauge->under_way, 1);
        return true;
    }
    pthread_mutex_lock(&gauge->lock);
    // After a while another one is tried: the connection of the first may have ended.
    bool is_on_its_way = gauge->first_size != 0 && ray__now_ns() - gauge->first_ns < RAY__SECOND;
    pthread_mutex_unlock(&gauge->lock);
    uint32_t none = 0;
    return !is_on_its_way && atomic_compare_exchange_strong(&gauge->under_way, &none, 1);
}

void ray__gauge_prepared(ray__order *order) {
    ray__gauge *gauge = &order->offer->gauge;
    order->ready_size = order->header.stored_size;
    if (!ray__tuner_is_ready(&order->offer->tuner)) {
        // The first measurement is short: what came before this chunk must not count.
        pthread_mutex_lock(&gauge->lock);
        gauge->since_ns = ray__now_ns();
        gauge->drained = (ray__drain){0};
        pthread_mutex_unlock(&gauge->lock);
    }
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

static double idle_part(ray__gauge *gauge) {
    ray__cores now;
    ray__cores before = gauge->cores;
    if (!ray__cores_read(&now)) {
        return -1;
    }
    gauge->cores = now;
    return before.total == 0 || now.total <= before.total ? -1 : (double)(now.idle - before.idle) / (double)(now.total - before.total);
}

static uint64_t at_most(uint64_t value, uint64_t limit) {
    return value < limit ? value : limit;
}

static void end_span(ray__offer *offer, uint64_t time) {
    ray__gauge *gauge = &offer->gauge;
    ray__span span = gauge->span;
    span.span_ns = time - gauge->since_ns;
    span.limited_ns = at_most(gauge->drained.limited_ns, span.span_ns);
    span.receiver_ns = at_most(gauge->drained.receiver_ns, span.span_ns);
    span.drained_bytes = gauge->drained.acked_bytes;
    span.idle = idle_part(gauge);
    ray__tuner_span(&offer->tuner, &span);
    gauge->since_ns = time;
    gauge->span = (ray__span){0};
    gauge->drained = (ray__drain){0};
    pthread_cond_broadcast(&gauge->known);
}

// Connections of one pull share the link, so their counts are added up: bytes over the time in which the link was the limit, which is
// at most the time that went by.
void ray__gauge_drained(ray__offer *offer, ray__drain *last, const ray__connection *connection, const ray_chunk_header *chunk) {
    ray__gauge *gauge = &offer->gauge;
    ray__drain now;
    ray__connection_drain(connection, &now);
    uint64_t time = ray__now_ns();
    pthread_mutex_lock(&gauge->lock);
    gauge->drained.acked_bytes += now.acked_bytes - last->acked_bytes;
    gauge->drained.limited_ns += now.limited_ns - last->limited_ns;
    gauge->drained.receiver_ns += now.receiver_ns - last->receiver_ns;
    *last = now;
    if (chunk == NULL) {
        if (gauge->since_ns == 0) {
            gauge->since_ns = time;
            gauge->drained = (ray__drain){0};
            (void)idle_part(gauge); // where the first span begins
        }
    } else {
        gauge->span.raw_bytes += chunk->raw_size;
        gauge->span.packed_raw_bytes += chunk->codec != RAY_CODEC_NONE ? chunk->raw_size : 0;
        if (!ray__tuner_is_ready(&offer->tuner)) {
            gauge->first_size = chunk->stored_size;
            gauge->first_ns = time;
        } else if (time - gauge->since_ns >= SPAN_NS) {
            end_span(offer, time);
        }
    }
    // Of the first chunk most must have arrived: what the kernel took at once says nothing of the link.
    if (gauge->first_size != 0 && gauge->drained.acked_bytes >= gauge->first_size / 4 * 3) {
        gauge->drained.limited_ns = UINT64_MAX;
        gauge->first_size = 0;
        end_span(offer, time);
    }
    pthread_mutex_unlock(&gauge->lock);
}

void ray__gauge_wait(ray__offer *offer, ray__drain *last, const ray__connection *connection, uint64_t timeout_ns) {
    ray__gauge *gauge = &offer->gauge;
    uint64_t deadline = ray__deadline_ns(timeout_ns);
    while (!ray__tuner_is_ready(&offer->tuner) && ray__now_ns() < deadline) {
        uint64_t look = ray__deadline_ns(LOOK_NS);
        struct timespec until = {(time_t)(look / RAY__SECOND), (long)(look % RAY__SECOND)};
        pthread_mutex_lock(&gauge->lock);
        pthread_cond_timedwait(&gauge->known, &gauge->lock, &until);
        pthread_mutex_unlock(&gauge->lock);
        ray__gauge_drained(offer, last, connection, NULL);
    }
}
