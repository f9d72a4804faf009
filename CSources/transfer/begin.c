// SPDX-License-Identifier: Apache-2.0
// What a caller does with a pull: begins it, adds sources, watches and cancels it.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/clock_internal.h"
#include "base/error_internal.h"
#include "transfer/name_internal.h"
#include "transfer/transfer_internal.h"

static ray_status make_pull(ray_transfer *transfer, const ray_object_id *id, const ray_pull_options *options,
                            const ray_pull_callbacks *callbacks, void *context, ray_pull **made) {
    ray_pull *pull = calloc(1, sizeof *pull);
    if (pull == NULL) {
        return ray__fail(RAY_OUT_OF_MEMORY, "a pull");
    }
    pull->stop = -1;
    atomic_init(&pull->refs, 2); // the list's and the caller's
    pull->transfer = transfer;
    pull->name = options->name != NULL ? strdup(options->name) : NULL;
    if (options->name != NULL && pull->name == NULL) {
        free(pull);
        return ray__fail(RAY_OUT_OF_MEMORY, "a pull");
    }
    pull->id = pull->name != NULL ? ray__name_id(pull->name) : *id;
    pull->resume = options->resume;
    if (getrandom(&pull->token, sizeof pull->token, GRND_NONBLOCK) != (ssize_t)sizeof pull->token) {
        pull->token = ray__now_ns() ^ (uint64_t)(uintptr_t)pull;
    }
    pull->connection_count = options->connection_count == 0 ? transfer->connection_count : options->connection_count;
    pull->codec = options->codec;
    pull->level = (int16_t)(options->level < INT16_MIN ? INT16_MIN : options->level > INT16_MAX ? INT16_MAX : options->level);
    ray__rate_init(&pull->rate, options->rate_max_bytes);
    atomic_init(&pull->urgency, options->urgency);
    pull->patience_ns = options->patience_ns;
    pull->range_offset = options->range_offset;
    pull->range_size = options->range_size;
    pull->chunk_size = options->chunk_size == 0 ? RAY_CHUNK_SIZE : options->chunk_size;
    pull->window_bytes = options->window_bytes == 0 ? transfer->window_bytes : options->window_bytes;
    pull->started_ns = ray__now_ns();
    pull->deadline_ns = options->timeout_ns == 0 ? UINT64_MAX : ray__deadline_ns(options->timeout_ns);
    pull->progress_due_ns = pull->started_ns + RAY__PROGRESS_NS;
    pull->callbacks = *callbacks;
    pull->context = context;
    pull->sink.kind = -1;
    pull->sink.file = -1;
    pull->sink.journal.file = -1;
    pthread_mutex_init(&pull->lock, NULL);
    pthread_mutex_init(&pull->callback_lock, NULL);
    pthread_mutex_init(&pull->sink.turn, NULL);
    pthread_cond_init(&pull->opened_changed, NULL);
    pthread_cond_init(&pull->claims_changed, NULL);
    pthread_cond_init(&pull->readers_changed, NULL);
    *made = pull;
    return RAY_OK;
}

ray_status ray_pull_start(ray_transfer *transfer, const ray_object_id *id, const ray_endpoint *sources, uint32_t source_count,
                          const ray_pull_options *options, const ray_pull_callbacks *callbacks, void *context, ray_pull **pull) {
    if (source_count == 0) {
        return ray__fail(RAY_INVALID_ARGUMENT, "a pull needs at least one place to pull from");
    }
    ray_pull_options given;
    memset(&given, 0, sizeof given);
    if (options != NULL) {
        memcpy(&given, options, options->struct_size < sizeof given ? options->struct_size : sizeof given);
    }
    if (given.codec > RAY_CODEC_ZSTD) {
        return ray__fail(RAY_INVALID_ARGUMENT, "%u is not a codec", given.codec);
    }
    RAY_TRY(ray__connection_count_check(given.connection_count));
    if (given.resume > RAY_RESUME_ANEW) {
        return ray__fail(RAY_INVALID_ARGUMENT, "%u is not a way to resume", given.resume);
    }
    if (given.chunk_size != 0 && !ray__chunk_size_is_possible(given.chunk_size)) {
        return ray__fail(RAY_INVALID_ARGUMENT, "chunk_size is %u bytes; it must be a power of two from %u to %u, or 0 for %u", given.chunk_size,
                         RAY_CHUNK_SIZE_MIN, RAY_CHUNK_SIZE, RAY_CHUNK_SIZE);
    }
    if (given.urgency >= RAY_URGENCY_COUNT) {
        return ray__fail(RAY_INVALID_ARGUMENT, "urgency is %u; the classes are 0 to %u", given.urgency, RAY_URGENCY_COUNT - 1);
    }
    if ((id == NULL) == (given.name == NULL)) {
        return ray__fail(RAY_INVALID_ARGUMENT, "a pull asks for an id or for a name: give one of them");
    }
    if (given.name != NULL) {
        RAY_TRY(ray__name_check(given.name));
    }
    ray_pull *made = NULL;
    RAY_TRY(make_pull(transfer, id, &given, callbacks, context, &made));
    for (uint32_t i = 0; i < source_count; i++) {
        ray__pull_add_locked(made, &sources[i], false);
    }
    pthread_mutex_lock(&transfer->list_lock);
    bool refused = transfer->closing || transfer->pull_count >= RAY__PULLS_MAX;
    bool closing = transfer->closing;
    if (!refused) {
        made->next = transfer->pulls;
        if (made->next != NULL) {
            made->next->previous = made;
        }
        transfer->pulls = made;
        transfer->pull_count++;
    }
    pthread_mutex_unlock(&transfer->list_lock);
    if (refused) {
        ray_pull_release(made);
        ray_pull_release(made);
        return closing ? ray__fail(RAY_CLOSED, "the transfer is being destroyed")
                       : ray__fail(RAY_AGAIN, "%u pulls are under way, which is the limit; wait for some to end", RAY__PULLS_MAX);
    }
    *pull = made;
    pthread_mutex_lock(&made->lock);
    ray__pull_schedule_locked(made, ray__now_ns());
    pthread_mutex_unlock(&made->lock);
    ray__transfer_wake_supervisor(transfer);
    return RAY_OK;
}

ray_status ray_pull_add_source(ray_pull *pull, const ray_endpoint *source) {
    ray_status status = RAY_OK;
    pthread_mutex_lock(&pull->lock);
    if (atomic_load(&pull->ended)) {
        status = ray__fail(RAY_CLOSED, "the pull has ended");
    } else {
        uint32_t known = ray__pull_find_locked(pull, source);
        if (known != UINT32_MAX) {
            // The caller knows more than what it was given up for.
            ray__pull_source *again = &pull->sources[known];
            again->ended = again->referred = again->partial = again->learned = again->guides = false;
            again->attempts = again->corrupt = 0;
            again->retry_at_ns = 0;
        } else {
            ray__pull_add_locked(pull, source, false);
        }
        ray__pull_schedule_locked(pull, ray__now_ns());
    }
    pthread_mutex_unlock(&pull->lock);
    return status;
}

// One that is being asked and says nothing, before anything has come; NULL if there is none.
static const ray_endpoint *silent_source_locked(const ray_pull *pull) {
    uint32_t count = pull->opened ? 0 : pull->source_count;
    for (uint32_t i = 0; i < count; i++) {
        const ray__pull_source *source = &pull->sources[i];
        if (source->links > 0 && !source->answered && !source->guides) {
            return &source->endpoint;
        }
    }
    return NULL;
}

size_t ray_pull_standstill(ray_pull *pull, char *text, size_t capacity) {
    pthread_mutex_lock(&pull->lock);
    bool ended = atomic_load(&pull->ended);
    bool has_failed = pull->still_since_ns != 0 || (!pull->opened && pull->source_status != RAY_OK);
    const ray_endpoint *silent = ended || has_failed ? NULL : silent_source_locked(pull);
    int size = silent != NULL ? snprintf(text, capacity, "%s:%u has not answered yet", silent->host, silent->port)
                              : snprintf(text, capacity, "%s", has_failed && !ended ? pull->source_message : "");
    pthread_mutex_unlock(&pull->lock);
    return size < 0 ? 0 : (size_t)size;
}

void ray_pull_cancel(ray_pull *pull) {
    ray__pull_end(pull, RAY_CANCELLED, "cancelled by the caller");
}

void ray_pull_progress(ray_pull *pull, ray_transfer_progress *progress) {
    pthread_mutex_lock(&pull->lock);
    *progress = pull->progress;
    if (!pull->finishing) {
        progress->elapsed_ns = ray__now_ns() - pull->started_ns;
        for (uint32_t i = 0; i < pull->source_count; i++) {
            progress->source_count += pull->sources[i].answered && pull->sources[i].links > 0 && pull->sources[i].attempts == 0;
        }
    }
    pthread_mutex_unlock(&pull->lock);
}
