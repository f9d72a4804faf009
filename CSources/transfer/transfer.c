// SPDX-License-Identifier: Apache-2.0
// The transfer itself: made, supervised, destroyed.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock_internal.h"
#include "base/error_internal.h"
#include "base/thread_internal.h"
#include "transfer/transfer_internal.h"

#define WINDOW_BYTES (64u << 20)
// A slow receiver holds what was packed for it, up to this many in all; beyond, chunks leave raw.
#define SEND_BUFFERS 32u

void ray__transfer_wake_supervisor(ray_transfer *transfer) {
    pthread_mutex_lock(&transfer->supervise_lock);
    transfer->supervise_now = true;
    pthread_cond_signal(&transfer->supervise_changed);
    pthread_mutex_unlock(&transfer->supervise_lock);
}

// Takes a reference to each pull, since a pull may end while others are tended.
static uint32_t list_pulls(ray_transfer *transfer, ray_pull ***pulls, uint32_t *capacity) {
    pthread_mutex_lock(&transfer->list_lock);
    if (transfer->pull_count > *capacity) {
        uint32_t wanted = transfer->pull_count * 2;
        ray_pull **larger = realloc(*pulls, wanted * sizeof *larger);
        if (larger != NULL) {
            *pulls = larger;
            *capacity = wanted;
        }
    }
    uint32_t count = 0;
    for (ray_pull *pull = transfer->pulls; pull != NULL && count < *capacity; pull = pull->next) {
        ray__pull_acquire(pull);
        (*pulls)[count++] = pull;
    }
    pthread_mutex_unlock(&transfer->list_lock);
    return count;
}

// Sleeps until the time or until woken. False when the supervisor is to end.
static bool wait_for_work(ray_transfer *transfer, uint64_t until_ns) {
    pthread_mutex_lock(&transfer->supervise_lock);
    while (!transfer->supervise_now && !transfer->supervisor_ends && ray__now_ns() < until_ns) {
        ray__cond_wait_until(&transfer->supervise_changed, &transfer->supervise_lock, until_ns);
    }
    transfer->supervise_now = false;
    bool go_on = !transfer->supervisor_ends;
    pthread_mutex_unlock(&transfer->supervise_lock);
    return go_on;
}

static void *supervise(void *context) {
    ray_transfer *transfer = context;
    ray_pull **pulls = NULL;
    uint32_t capacity = 0;
    uint64_t next;
    do {
        uint32_t count = list_pulls(transfer, &pulls, &capacity);
        uint64_t now = ray__now_ns();
        next = now + RAY__SECOND;
        for (uint32_t i = 0; i < count; i++) {
            uint64_t due = ray__pull_tend(pulls[i], now);
            next = due < next ? due : next;
            ray_pull_release(pulls[i]);
        }
        ray__idle_expire(transfer, now > RAY__IDLE_NS ? now - RAY__IDLE_NS : 0);
        ray__swarms_expire(transfer, now > RAY__IDLE_NS ? now - RAY__IDLE_NS : 0);
    } while (wait_for_work(transfer, next));
    free(pulls);
    return NULL;
}

static void init_locks(ray_transfer *transfer) {
    ray__headroom_init(&transfer->headroom);
    pthread_mutex_init(&transfer->served_lock, NULL);
    ray__cond_init(&transfer->served_changed);
    pthread_mutex_init(&transfer->offers_lock, NULL);
    ray__peers_init(&transfer->peers);
    pthread_mutex_init(&transfer->swarms_lock, NULL);
    pthread_mutex_init(&transfer->list_lock, NULL);
    pthread_cond_init(&transfer->list_changed, NULL);
    pthread_mutex_init(&transfer->supervise_lock, NULL);
    ray__cond_init(&transfer->supervise_changed);
    pthread_mutex_init(&transfer->queue_lock, NULL);
    pthread_cond_init(&transfer->queue_changed, NULL);
    pthread_mutex_init(&transfer->idle_lock, NULL);
}

static void end_locks(ray_transfer *transfer) {
    ray__headroom_end(&transfer->headroom);
    pthread_mutex_destroy(&transfer->served_lock);
    pthread_cond_destroy(&transfer->served_changed);
    pthread_mutex_destroy(&transfer->offers_lock);
    ray__peers_end(&transfer->peers);
    pthread_mutex_destroy(&transfer->swarms_lock);
    pthread_mutex_destroy(&transfer->list_lock);
    pthread_cond_destroy(&transfer->list_changed);
    pthread_mutex_destroy(&transfer->supervise_lock);
    pthread_cond_destroy(&transfer->supervise_changed);
    pthread_mutex_destroy(&transfer->queue_lock);
    pthread_cond_destroy(&transfer->queue_changed);
    pthread_mutex_destroy(&transfer->idle_lock);
}

static uint32_t at_most(uint32_t count, uint64_t share_bytes) {
    return share_bytes / RAY__BUFFER_SIZE < count ? (uint32_t)(share_bytes / RAY__BUFFER_SIZE) : count;
}

// As memory_internal.h says.
_Static_assert(RAY__MESSAGE_HEADER_SIZE + RAY__CARD_BODY_MAX <= RAY__MEMORY_SHARED_MIN / 16, "no card waits for room that there cannot be");
static ray_status deal_memory_out(ray_transfer *transfer) {
    uint64_t fixed = (uint64_t)(transfer->workers.count + RAY__READERS) * RAY_CHUNK_SIZE + (uint64_t)RAY__LINKS_MAX * RAY__LINK_BUFFER_MAX +
                     (uint64_t)RAY__SERVED_MAX * RAY__SESSION_MAX;
    if (transfer->memory_max_bytes < fixed + RAY__MEMORY_SHARED_MIN) {
        return ray__fail(RAY_INVALID_ARGUMENT, "memory_max_bytes is %llu; on %u cores it must be at least %llu",
                         (unsigned long long)transfer->memory_max_bytes, transfer->workers.count,
                         (unsigned long long)(fixed + RAY__MEMORY_SHARED_MIN));
    }
    uint64_t shared = transfer->memory_max_bytes - fixed;
    // As many as links can be receiving into, and as many again as workers can be unpacking.
    transfer->receive_buffers.limit = at_most(RAY__LINKS_MAX + 2 * transfer->workers.count, shared / 8 * 3);
    transfer->send_buffers.limit = at_most(SEND_BUFFERS, shared / 8 * 3);
    transfer->answers.limit = shared / 8;
    transfer->cards_sent.limit = shared / 16;
    transfer->cards_received.limit = shared / 16;
    return RAY_OK;
}

static ray_status start(ray_transfer *transfer, const char *bind_host, uint16_t bind_port, bool sums_ahead) {
    transfer->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (transfer->stop < 0) {
        return ray__fail_errno(RAY_SYSTEM, "an event for a transfer; raise the limit of open files");
    }
    atomic_store(&transfer->large_card, malloc(RAY__CARD_BUFFER));
    if (atomic_load(&transfer->large_card) == NULL) {
        return ray__fail(RAY_OUT_OF_MEMORY, "a buffer for cards of %u bytes", RAY__CARD_BUFFER);
    }
    RAY_TRY(ray__sums_cache_create(&transfer->sums));
    RAY_TRY(ray__workers_start(&transfer->workers, &transfer->memory, 0));
    RAY_TRY(deal_memory_out(transfer));
    RAY_TRY(sums_ahead ? ray__ahead_start(transfer, &transfer->ahead) : RAY_OK);
    RAY_TRY(ray__thread_start(&transfer->supervisor, "ray-supervisor", supervise, transfer));
    transfer->supervising = true;
    if (bind_host != NULL) {
        RAY_TRY(ray__serving_start(transfer, bind_host, bind_port));
        transfer->advertise_port = transfer->advertise_port == 0 ? transfer->port : transfer->advertise_port;
    }
    return RAY_OK;
}

static ray_status check_cap(uint64_t max_bytes, const char *name) {
    if (max_bytes != 0 && max_bytes < RAY_RATE_MIN) {
        return ray__fail(RAY_INVALID_ARGUMENT, "%s is %llu bytes a second; the least is %u, 0 is no cap", name, (unsigned long long)max_bytes,
                         RAY_RATE_MIN);
    }
    return RAY_OK;
}

static ray_status check_caps(const ray_transfer_options *given) {
    static const char *const names[RAY_URGENCY_COUNT] = {"urgency_rate_max_bytes[get]", "urgency_rate_max_bytes[wait]",
                                                         "urgency_rate_max_bytes[prefetch]", "urgency_rate_max_bytes[background]"};
    RAY_TRY(check_cap(given->send_rate_max_bytes, "send_rate_max_bytes"));
    RAY_TRY(check_cap(given->receive_rate_max_bytes, "receive_rate_max_bytes"));
    for (uint32_t u = 0; u < RAY_URGENCY_COUNT; u++) {
        RAY_TRY(check_cap(given->urgency_rate_max_bytes[u], names[u]));
    }
    if (given->disk_watermark_permille > 1000) {
        return ray__fail(RAY_INVALID_ARGUMENT, "disk_watermark_permille is %u; a disk has 1000 thousandths", given->disk_watermark_permille);
    }
    return RAY_OK;
}

ray_status ray__connection_count_check(uint32_t count) {
    if (count > RAY_CONNECTION_COUNT_MAX) {
        return ray__fail(RAY_INVALID_ARGUMENT, "connection_count is %u; at most %u are possible, 0 leaves it open", count, RAY_CONNECTION_COUNT_MAX);
    }
    return RAY_OK;
}

ray_status ray_transfer_create(const ray_transfer_options *options, ray_transfer **transfer) {
    ray_transfer_options given;
    memset(&given, 0, sizeof given);
    memcpy(&given, options, options->struct_size < sizeof given ? options->struct_size : sizeof given);
    if (given.codec > RAY_CODEC_ZSTD) {
        return ray__fail(RAY_INVALID_ARGUMENT, "%u is not a codec", given.codec);
    }
    RAY_TRY(ray__connection_count_check(given.connection_count));
    RAY_TRY(check_caps(&given));
    if (given.advertise_host != NULL && strlen(given.advertise_host) >= RAY_HOST_MAX) {
        return ray__fail(RAY_INVALID_ARGUMENT, "advertise_host has %zu bytes, at most %u are allowed", strlen(given.advertise_host),
                         RAY_HOST_MAX - 1);
    }
    ray_transfer *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return ray__fail(RAY_OUT_OF_MEMORY, "a transfer");
    }
    init_locks(made);
    made->memory_max_bytes = given.memory_max_bytes == 0 ? RAY__MEMORY_DEFAULT : given.memory_max_bytes;
    ray__buffers_init(&made->send_buffers, &made->memory, 0);
    ray__reads_init(&made->reads, &made->send_buffers);
    ray__buffers_init(&made->receive_buffers, &made->memory, 0);
    ray__share_init(&made->answers, &made->memory, 0);
    ray__share_init(&made->cards_sent, &made->memory, 0);
    ray__share_init(&made->cards_received, &made->memory, 0);
    made->listener = -1;
    made->useless_ns = RAY__SERVED_USELESS_NS;
    made->stop = -1;
    made->connection_count = given.connection_count;
    made->codec = given.codec;
    made->level = (int16_t)(given.level < INT16_MIN ? INT16_MIN : given.level > INT16_MAX ? INT16_MAX : given.level);
    made->window_bytes = given.window_bytes == 0 ? WINDOW_BYTES : given.window_bytes;
    ray__flow_init(&made->sending, given.send_rate_max_bytes, given.urgency_rate_max_bytes);
    ray__flow_init(&made->receiving, given.receive_rate_max_bytes, given.urgency_rate_max_bytes);
    atomic_init(&made->queue_top, RAY_URGENCY_COUNT);
    made->store = given.store;
    made->key = given.key;
    made->find = given.find;
    made->find_named = given.find_named;
    made->served_by_name = given.served;
    made->damaged = given.damaged;
    made->summed = given.summed;
    made->context = given.context;
    made->disk = (ray__disk_limits){given.disk_reserve_bytes, given.disk_watermark_permille};
    made->advertise_port = given.bind_host == NULL ? 0 : given.advertise_port;
    snprintf(made->advertise_host, sizeof made->advertise_host, "%s", given.advertise_host == NULL ? "" : given.advertise_host);
    ray_status status = start(made, given.bind_host, given.bind_port, given.sums_ahead != 0);
    if (status != RAY_OK) {
        ray_transfer_destroy(made);
        return status;
    }
    *transfer = made;
    return RAY_OK;
}

static void end_pulls(ray_transfer *transfer) {
    pthread_mutex_lock(&transfer->list_lock);
    transfer->closing = true;
    for (ray_pull *pull = transfer->pulls; pull != NULL; pull = pull->next) {
        ray__pull_end(pull, RAY_CANCELLED, "the transfer was destroyed");
    }
    while (transfer->pulls != NULL) {
        pthread_cond_wait(&transfer->list_changed, &transfer->list_lock);
    }
    pthread_mutex_unlock(&transfer->list_lock);
}

void ray_transfer_destroy(ray_transfer *transfer) {
    if (transfer == NULL) {
        return;
    }
    if (transfer->supervising) {
        end_pulls(transfer);
        pthread_mutex_lock(&transfer->supervise_lock);
        transfer->supervisor_ends = true;
        pthread_cond_signal(&transfer->supervise_changed);
        pthread_mutex_unlock(&transfer->supervise_lock);
        pthread_join(transfer->supervisor, NULL);
    }
    ray__link_threads_stop(transfer);
    if (transfer->stop >= 0) {
        uint64_t one = 1;
        ssize_t written = write(transfer->stop, &one, sizeof one);
        (void)written;
    }
    ray__ahead_stop(transfer->ahead);
    ray__serving_stop(transfer);
    ray__workers_stop(&transfer->workers);
    ray__workers_stop(&transfer->readers);
    ray__idle_expire(transfer, UINT64_MAX);
    ray__swarms_expire(transfer, UINT64_MAX);
    ray__sums_cache_destroy(transfer->sums);
    ray__reads_end(&transfer->reads);
    ray__buffers_end(&transfer->send_buffers);
    ray__buffers_end(&transfer->receive_buffers);
    ray__share_end(&transfer->answers);
    ray__share_end(&transfer->cards_sent);
    ray__share_end(&transfer->cards_received);
    free(atomic_load(&transfer->large_card));
    if (transfer->stop >= 0) {
        close(transfer->stop);
    }
    end_locks(transfer);
    explicit_bzero(&transfer->key, sizeof transfer->key);
    free(transfer);
}

uint16_t ray_transfer_port(const ray_transfer *transfer) {
    return transfer->port;
}

void ray_transfer_stats_read(ray_transfer *transfer, ray_transfer_stats *stats) {
    ray_transfer_stats now;
    memset(&now, 0, sizeof now);
    uint32_t size = stats->struct_size < sizeof now ? stats->struct_size : (uint32_t)sizeof now;
    now.struct_size = size;
    pthread_mutex_lock(&transfer->served_lock);
    now.connection_count = transfer->served_count;
    pthread_mutex_unlock(&transfer->served_lock);
    pthread_mutex_lock(&transfer->idle_lock);
    now.connection_count += transfer->idle_count;
    pthread_mutex_unlock(&transfer->idle_lock);
    now.connection_count += atomic_load(&transfer->open_links);
    now.sent_bytes = atomic_load(&transfer->sent_bytes);
    now.sent_wire_bytes = atomic_load(&transfer->sent_wire_bytes);
    now.received_bytes = atomic_load(&transfer->received_bytes);
    now.received_wire_bytes = atomic_load(&transfer->received_wire_bytes);
    now.refused_count = atomic_load(&transfer->refused_count);
    now.corrupt_count = atomic_load(&transfer->corrupt_count);
    now.retried_count = atomic_load(&transfer->retried_count);
    now.buffer_bytes = atomic_load(&transfer->memory.used);
    now.buffer_peak_bytes = atomic_load(&transfer->memory.peak);
    now.hashed_bytes = atomic_load(&transfer->hashed_bytes);
    now.given_bytes = atomic_load(&transfer->given_bytes);
    now.sendfile_bytes = atomic_load(&transfer->sendfile_bytes);
    if (transfer->ahead != NULL) {
        ray__ahead_figures ahead;
        ray__ahead_read(transfer->ahead, &ahead);
        now.ahead_bytes = ahead.hashed_bytes;
        now.ahead_pending_count = ahead.pending_count;
        now.ahead_pending_bytes = ahead.pending_bytes;
    }
    memcpy(stats, &now, size);
}

void ray_transfer_forget(ray_transfer *transfer, const ray_object_id *id) {
    ray__sums_forget(transfer->sums, id);
    if (transfer->ahead != NULL) {
        ray__ahead_let_go(transfer->ahead, id);
    }
}
