// SPDX-License-Identifier: Apache-2.0
// What comes for a chunk that was asked for: its bytes, damage, or who else has it; and what turns out to be here already.
#include <stdio.h>

#include "base/clock_internal.h"
#include "base/error_internal.h"
#include "transfer/explain_internal.h"
#include "transfer/transfer_internal.h"

// The source that is referred to, or UINT32_MAX when it is of no use.
static uint32_t referred_source_locked(ray_pull *pull, const ray__refer *refer) {
    if (refer->holder.port == 0) {
        return UINT32_MAX;
    }
    uint32_t at = ray__pull_find_locked(pull, &refer->holder);
    if (at == UINT32_MAX && pull->source_count < RAY__SOURCES_MAX) {
        at = pull->source_count;
        ray__pull_add_locked(pull, &refer->holder, true);
        pull->sources[at].referred = true;
        pull->sources[at].partial = true;
    }
    return at != UINT32_MAX && !pull->sources[at].ended ? at : UINT32_MAX;
}

void ray__pull_chunk_referred(ray__link *link, const ray__refer *refer) {
    ray_pull *pull = link->pull;
    uint32_t index = refer->index;
    pthread_mutex_lock(&pull->lock);
    if (!atomic_load(&pull->ended) && pull->chunks[index] == RAY__CHUNK_ASKED) {
        uint32_t at = referred_source_locked(pull, refer);
        if (at == UINT32_MAX || at == link->source || refer->depth == 0) {
            if (refer->holder.port == 0) {
                pull->away[index] |= 1ull << link->source;
            }
            ray__chunk_missing_locked(pull, index, false);
        } else {
            ray__pull_source *to = &pull->sources[at];
            pull->chunks[index] = RAY__CHUNK_REFERRED;
            pull->depths[index] = refer->depth;
            if (to->referred_count++ == 0) {
                to->referred_first = index;
            } else {
                pull->next_referred[to->referred_last] = index;
            }
            to->referred_last = index;
            ray__partial_changed_locked(pull);
        }
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
    if (pull->chunks[header->index] != RAY__CHUNK_HERE) {
        // Not always from where it was asked for last.
        pull->missing_count -= pull->chunks[header->index] == RAY__CHUNK_MISSING;
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
        ray__account_arrived_locked(pull->sources[source].account, header);
        pull->sources[source].attempts = 0;
        pull->still_since_ns = 0;
        pull->sources[source].corrupt = 0;
        ray__partial_changed_locked(pull);
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
        ray__partial_changed_locked(pull);
        pull->here_count++;
        pull->progress.done_bytes += raw_size;
        pull->progress.resumed_bytes += raw_size;
        if (pull->here_count == pull->chunk_count) {
            ray__pull_end_locked(pull, RAY_OK, "");
        }
    } else {
        pull->checksums[index] = 0;
        ray__chunk_missing_locked(pull, index, true);
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
        ray__chunk_return_locked(pull, index);
        ray__pull_schedule_locked(pull, ray__now_ns());
    }
    pthread_mutex_unlock(&pull->lock);
}
