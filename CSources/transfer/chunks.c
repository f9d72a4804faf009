// SPDX-License-Identifier: Apache-2.0
// Which chunks of a pull are missing, asked for, here; and which sources are still worth asking.
#include <stdio.h>

#include "base/clock_internal.h"
#include "transfer/transfer_internal.h"

static uint32_t running_links(const ray_pull *pull) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < pull->source_count; i++) {
        count += pull->sources[i].links;
    }
    return count;
}

// The pull's own cap, those of its class and of the transfer, and what is more urgent.
static bool may_ask(ray_pull *pull, uint32_t raw_size, uint64_t *wait_until_ns) {
    uint64_t now = ray__now_ns();
    if (!ray__rate_take(&pull->rate, raw_size, now, wait_until_ns)) {
        return false;
    }
    bool may = ray__flow_take(&pull->transfer->receiving, atomic_load(&pull->urgency), raw_size, now, wait_until_ns);
    if (!may) {
        ray__rate_give(&pull->rate, raw_size);
    }
    return may;
}

uint32_t ray__pull_take_chunks(ray_pull *pull, uint32_t capacity, uint32_t *indices, uint64_t *wait_until_ns) {
    uint32_t taken = 0;
    if (wait_until_ns != NULL) {
        *wait_until_ns = 0;
    }
    pthread_mutex_lock(&pull->lock);
    // Near the end every link gets its share, so that the last chunks are not all due from the slowest.
    uint32_t links = running_links(pull);
    uint32_t share = pull->missing_count / (links == 0 ? 1 : links) + 1;
    uint32_t limit = capacity < share ? capacity : share;
    uint32_t at = pull->search_from;
    while (taken < limit && pull->missing_count > 0 && !atomic_load(&pull->ended)) {
        while (at < pull->chunk_count && pull->chunks[at] != RAY__CHUNK_MISSING) {
            at++;
        }
        if (at == pull->chunk_count) {
            break;
        }
        if (wait_until_ns != NULL && !may_ask(pull, ray__chunk_raw_size(pull->size_bytes, pull->chunk_size, at), wait_until_ns)) {
            break;
        }
        pull->chunks[at] = RAY__CHUNK_ASKED;
        pull->missing_count--;
        indices[taken++] = at++;
    }
    pull->search_from = at;
    pthread_mutex_unlock(&pull->lock);
    return taken;
}

static void return_locked(ray_pull *pull, uint32_t index) {
    if (pull->chunks[index] == RAY__CHUNK_ASKED) {
        pull->chunks[index] = RAY__CHUNK_MISSING;
        pull->missing_count++;
        pull->search_from = index < pull->search_from ? index : pull->search_from;
        pull->progress.retried_count++;
        atomic_fetch_add(&pull->transfer->retried_count, 1);
    }
}

void ray__pull_return_chunks(ray_pull *pull, const uint32_t *indices, uint32_t count) {
    pthread_mutex_lock(&pull->lock);
    bool ended = atomic_load(&pull->ended);
    for (uint32_t i = 0; i < count && !ended; i++) {
        return_locked(pull, indices[i]);
    }
    if (count > 0) {
        ray__pull_schedule_locked(pull, ray__now_ns());
    }
    pthread_mutex_unlock(&pull->lock);
}

void ray__pull_chunk_arrived(ray_pull *pull, uint32_t source, const ray_chunk_header *header) {
    atomic_fetch_add(&pull->transfer->received_bytes, header->raw_size);
    if (pull->sink.journal.file >= 0) {
        // Its bytes are written: only now may a later process count on them.
        ray_status recorded = ray__journal_record(&pull->sink.journal, header->index, header->checksum);
        if (recorded != RAY_OK) {
            ray__pull_end(pull, recorded, ray_last_error_message());
            return;
        }
    }
    pthread_mutex_lock(&pull->lock);
    if (pull->chunks[header->index] == RAY__CHUNK_ASKED) {
        pull->chunks[header->index] = RAY__CHUNK_HERE;
        pull->checksums[header->index] = header->checksum;
        pull->here_count++;
        pull->progress.done_bytes += ray__sink_wanted_size(pull, header->index);
        pull->progress.wire_bytes += header->stored_size;
        pull->progress.none_count += header->codec == RAY_CODEC_NONE;
        pull->progress.lz4_count += header->codec == RAY_CODEC_LZ4;
        if (header->codec == RAY_CODEC_ZSTD) {
            pull->progress.zstd_count++;
            pull->progress.zstd_level = header->level;
        }
        pull->sources[source].attempts = 0;
        pull->sources[source].corrupt = 0;
        if (pull->here_count == pull->chunk_count) {
            ray__pull_end_locked(pull, RAY_OK, "");
        }
    }
    pthread_mutex_unlock(&pull->lock);
}

void ray__pull_chunk_was_here(ray_pull *pull, uint32_t index, bool is_right) {
    uint32_t raw_size = ray__chunk_raw_size(pull->size_bytes, pull->chunk_size, index);
    pthread_mutex_lock(&pull->lock);
    if (is_right) {
        pull->chunks[index] = RAY__CHUNK_HERE;
        pull->here_count++;
        pull->progress.done_bytes += raw_size;
        pull->progress.resumed_bytes += raw_size;
        if (pull->here_count == pull->chunk_count) {
            ray__pull_end_locked(pull, RAY_OK, "");
        }
    } else {
        pull->checksums[index] = 0;
        pull->chunks[index] = RAY__CHUNK_MISSING;
        pull->missing_count++;
        pull->search_from = index < pull->search_from ? index : pull->search_from;
        ray__pull_schedule_locked(pull, ray__now_ns());
    }
    pthread_mutex_unlock(&pull->lock);
}

void ray__pull_chunk_corrupt(ray_pull *pull, uint32_t source, uint32_t index, const char *message) {
    atomic_fetch_add(&pull->transfer->corrupt_count, 1);
    pthread_mutex_lock(&pull->lock);
    ray__pull_source *from = &pull->sources[source];
    if (++from->corrupt >= RAY__CORRUPT_MAX) {
        char text[RAY__TEXT_MAX];
        snprintf(text, sizeof text, "%s:%u sent %u damaged chunks in a row: %.300s", from->endpoint.host, from->endpoint.port,
                 from->corrupt, message);
        ray__pull_source_failed_locked(pull, source, RAY_CORRUPT, text, true);
    }
    if (index != UINT32_MAX) {
        return_locked(pull, index);
        ray__pull_schedule_locked(pull, ray__now_ns());
    }
    pthread_mutex_unlock(&pull->lock);
}

// When several sources failed, the reason that says most about the object is told.
static int weight_of(ray_status status) {
    static const ray_status order[] = {RAY_EXISTS,         RAY_UNREACHABLE, RAY_PROTOCOL,   RAY_VERSION_MISMATCH, RAY_KEY_REFUSED,
                                       RAY_NOT_FOUND,      RAY_NOT_LOCAL,   RAY_NOT_SEALED, RAY_OBJECT_LOST,      RAY_OWNER_DIED,
                                       RAY_OBJECT_FREED,   RAY_CORRUPT,     RAY_SOURCE_CHANGED};
    for (int i = 0; i < (int)(sizeof order / sizeof order[0]); i++) {
        if (order[i] == status) {
            return 2 * i;
        }
    }
    return 9; // between what concerns the peer and what concerns the object
}

static bool is_of_the_network(ray_status status) {
    return status == RAY_UNREACHABLE || status == RAY_PEER_CLOSED || status == RAY_TIMED_OUT;
}

void ray__pull_source_failed_locked(ray_pull *pull, uint32_t source, ray_status status, const char *message, bool final) {
    ray__pull_source *failed = &pull->sources[source];
    uint64_t now = ray__now_ns();
    if (final || ++failed->attempts > RAY__ATTEMPTS_MAX) {
        failed->ended = true;
    } else {
        failed->retry_at_ns = now + (RAY__BACKOFF_NS << failed->attempts) / 2;
    }
    // TIMED_OUT is the caller's own limit, and a copy that a card promised and that is not there is lost.
    ray_status told = is_of_the_network(status) ? RAY_UNREACHABLE : status;
    told = told == RAY_NOT_FOUND && failed->learned ? RAY_OBJECT_LOST : told;
    if (pull->source_status == RAY_OK || weight_of(told) >= weight_of(pull->source_status)) {
        pull->source_status = told;
        snprintf(pull->source_message, sizeof pull->source_message, "%s", message);
    }
    if (told == RAY_UNREACHABLE) {
        pull->grace_until_ns = now + RAY__GRACE_NS;
    }
    ray__transfer_wake_supervisor(pull->transfer);
}

void ray__pull_source_failed(ray_pull *pull, uint32_t source, ray_status status, const char *message, bool final) {
    pthread_mutex_lock(&pull->lock);
    ray__pull_source_failed_locked(pull, source, status, message, final);
    pthread_mutex_unlock(&pull->lock);
}
