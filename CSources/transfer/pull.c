// SPDX-License-Identifier: Apache-2.0
// A pull: who starts it, what moves it on, how it ends. It ends once: with the last chunk, or with the first reason why not; then the
// parts that are still active notice, and the last of them finishes it.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

#include "base/clock_internal.h"
#include "base/error_internal.h"
#include "transfer/name_internal.h"
#include "transfer/transfer_internal.h"

void ray__pull_acquire(ray_pull *pull) {
    atomic_fetch_add(&pull->refs, 1);
}

void ray_pull_release(ray_pull *pull) {
    if (pull == NULL || atomic_fetch_sub(&pull->refs, 1) != 1) {
        return;
    }
    if (pull->stop >= 0) {
        close(pull->stop);
    }
    pthread_mutex_destroy(&pull->lock);
    pthread_mutex_destroy(&pull->callback_lock);
    pthread_mutex_destroy(&pull->sink.turn);
    pthread_cond_destroy(&pull->opened_changed);
    pthread_cond_destroy(&pull->claims_changed);
    pthread_cond_destroy(&pull->readers_changed);
    free(pull->chunks);
    free(pull->depths);
    free(pull->next_referred);
    free(pull->away);
    free(pull->metadata);
    free(pull->descriptor);
    free(pull->checksums);
    free(pull->sink.path);
    free(pull->name);
    free(pull);
}

static void raise_stop_locked(ray_pull *pull) {
    uint64_t one = 1;
    ssize_t written = pull->stop < 0 ? 0 : write(pull->stop, &one, sizeof one);
    (void)written;
}

ray_status ray__pull_make_stop(ray_pull *pull) {
    ray_status status = RAY_OK;
    pthread_mutex_lock(&pull->lock);
    if (pull->stop < 0) {
        pull->stop = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
        if (pull->stop < 0) {
            status = ray__fail_errno(RAY_SYSTEM, "an event for a pull; raise the limit of open files");
            ray__pull_end_locked(pull, status, ray_last_error_message());
        } else if (atomic_load(&pull->ended)) {
            raise_stop_locked(pull);
        }
    }
    pthread_mutex_unlock(&pull->lock);
    return status;
}

void ray__pull_end_locked(ray_pull *pull, ray_status status, const char *message) {
    if (atomic_load(&pull->ended)) {
        return;
    }
    pull->status = status;
    snprintf(pull->message, sizeof pull->message, "%s", message);
    atomic_store(&pull->ended, true);
    pthread_cond_broadcast(&pull->opened_changed);
    ray__link_queue_drop(pull);
    pthread_cond_broadcast(&pull->claims_changed);
    ray__partial_changed_locked(pull);
    // Of a complete pull no chunk is due anywhere, so this only ends waits for connections and cards that nobody needs now.
    raise_stop_locked(pull);
    if (pull->active == 0) {
        ray__transfer_wake_supervisor(pull->transfer);
    }
}

void ray__pull_end(ray_pull *pull, ray_status status, const char *message) {
    pthread_mutex_lock(&pull->lock);
    ray__pull_end_locked(pull, status, message);
    pthread_mutex_unlock(&pull->lock);
}

static void unlist(ray_pull *pull) {
    ray_transfer *transfer = pull->transfer;
    pthread_mutex_lock(&transfer->list_lock);
    if (pull->previous != NULL) {
        pull->previous->next = pull->next;
    } else {
        transfer->pulls = pull->next;
    }
    if (pull->next != NULL) {
        pull->next->previous = pull->previous;
    }
    transfer->pull_count--;
    pthread_cond_broadcast(&transfer->list_changed);
    pthread_mutex_unlock(&transfer->list_lock);
}

// The last step, by exactly one thread, with nothing of the pull active any more.
static void finish(ray_pull *pull) {
    ray_status status = pull->status;
    if (status == RAY_OK) {
        status = ray__sink_finish(pull);
        if (status != RAY_OK) {
            snprintf(pull->message, sizeof pull->message, "%s", ray_last_error_message());
        }
    }
    // Those that are served from here keep an object from now on, or have let go of its memory.
    ray__partial_settle(pull, status);
    if (status != RAY_OK) {
        ray__sink_abandon(pull, status);
    }
    pthread_mutex_lock(&pull->lock);
    pull->status = status;
    pull->progress.elapsed_ns = ray__now_ns() - pull->started_ns;
    pull->progress.source_count = 0;
    ray_transfer_progress progress = pull->progress;
    pthread_mutex_unlock(&pull->lock);
    pthread_mutex_lock(&pull->callback_lock);
    if (pull->callbacks.progressed != NULL) {
        pull->callbacks.progressed(pull->context, &progress);
    }
    pull->done_called = true;
    pull->callbacks.done(pull->context, status, pull->message, &progress);
    pthread_mutex_unlock(&pull->callback_lock);
    ray__sink_settle(pull);
    pthread_mutex_lock(&pull->lock);
    if (pull->stop >= 0) {
        close(pull->stop); // the caller may keep the handle for long
        pull->stop = -1;
    }
    pthread_mutex_unlock(&pull->lock);
    unlist(pull);
    ray_pull_release(pull);
}

static bool may_finish_locked(ray_pull *pull) {
    if (!atomic_load(&pull->ended) || pull->active > 0 || pull->finishing) {
        return false;
    }
    pull->finishing = true;
    return true;
}

void ray__pull_leave(ray_pull *pull) {
    pthread_mutex_lock(&pull->lock);
    pull->active--;
    if (!atomic_load(&pull->ended)) {
        ray__pull_schedule_locked(pull, ray__now_ns());
    }
    bool last = may_finish_locked(pull);
    pthread_mutex_unlock(&pull->lock);
    if (last) {
        finish(pull);
    }
}

// ---- sources -------------------------------------------------------------------------------------------------------------

uint32_t ray__pull_find_locked(const ray_pull *pull, const ray_endpoint *endpoint) {
    for (uint32_t i = 0; i < pull->source_count; i++) {
        if (pull->sources[i].endpoint.port == endpoint->port && strcasecmp(pull->sources[i].endpoint.host, endpoint->host) == 0) {
            return i;
        }
    }
    return UINT32_MAX;
}

void ray__pull_add_locked(ray_pull *pull, const ray_endpoint *endpoint, bool learned) {
    if (ray__pull_find_locked(pull, endpoint) != UINT32_MAX) {
        return;
    }
    if (pull->source_count < RAY__SOURCES_MAX) {
        ray__pull_source *added = &pull->sources[pull->source_count++];
        memset(added, 0, sizeof *added);
        added->endpoint = *endpoint;
        added->learned = learned;
    }
}

static void start_link_locked(ray_pull *pull, uint32_t source) {
    if (ray__link_queue_push(pull, source) == RAY_OK) {
        pull->sources[source].links++;
        pull->active++;
    } else {
        ray__pull_end_locked(pull, RAY_OUT_OF_MEMORY, ray_last_error_message());
    }
}

static bool usable(const ray__pull_source *source, uint64_t now) {
    return !source->ended && source->retry_at_ns <= now;
}

// Before a source has answered: one after the other, the next when one has failed or takes long.
static void schedule_opening_locked(ray_pull *pull, uint64_t now) {
    uint32_t links = 0;
    for (uint32_t i = 0; i < pull->source_count; i++) {
        links += pull->sources[i].links;
    }
    if (pull->opening || (links > 0 && now < pull->open_next_ns)) {
        return;
    }
    for (uint32_t i = 0; i < pull->source_count; i++) {
        if (usable(&pull->sources[i], now) && pull->sources[i].links == 0) {
            start_link_locked(pull, i);
            pull->open_next_ns = now + RAY__HEDGE_NS;
            return;
        }
    }
}

// Afterwards: a link for every source first, then more, never more links than chunks are missing. One that lacks chunks itself gets one
// link, for those it was said to have.
static void schedule_fetching_locked(ray_pull *pull, uint64_t now) {
    uint32_t wanted = pull->missing_count;
    bool has_timely = false; // one that is whole and not late
    for (uint32_t i = 0; i < pull->source_count; i++) {
        has_timely = has_timely || (!pull->sources[i].ended && !pull->sources[i].partial && !pull->sources[i].late);
    }
    bool has_whole = ray__pull_has_whole_locked(pull);
    for (uint32_t round = 0; round < pull->connection_count; round++) {
        for (uint32_t i = 0; i < pull->source_count && !atomic_load(&pull->ended); i++) {
            ray__pull_source *source = &pull->sources[i];
            bool late = source->late && has_timely;
            bool useful = source->referred_count > 0 || (wanted > 0 && !late && (!source->partial || !has_whole));
            if (source->links > round) {
                // A link of one that is late does not take what is missing.
                wanted -= wanted > 0 && !source->partial && !late;
            } else if (useful && usable(source, now)) {
                // A source that never answered gets one link, until it has.
                if (round == 0 || (source->answered && !source->partial)) {
                    start_link_locked(pull, i);
                    wanted -= wanted > 0 && !source->partial;
                }
            }
        }
    }
}

void ray__pull_schedule_locked(ray_pull *pull, uint64_t now) {
    if (atomic_load(&pull->ended)) {
        return;
    }
    if (!pull->opened) {
        schedule_opening_locked(pull, now);
    } else {
        schedule_fetching_locked(pull, now);
    }
    if (pull->active > 0) {
        return;
    }
    for (uint32_t i = 0; i < pull->source_count; i++) {
        if (!pull->sources[i].ended) {
            return; // to be tried again at its time
        }
    }
    if (now < pull->grace_until_ns) {
        return;
    }
    if (pull->source_status == RAY_OK) {
        ray__pull_end_locked(pull, RAY_OBJECT_LOST, "none of the places that were asked has the object, or knows who has");
    } else {
        ray__pull_end_locked(pull, pull->source_status, pull->source_message);
    }
}

// ---- time ------------------------------------------------------------------------------------------------------------------

static void show_progress(ray_pull *pull) {
    if (pull->callbacks.progressed == NULL || pthread_mutex_trylock(&pull->callback_lock) != 0) {
        return;
    }
    if (!pull->done_called) {
        ray_transfer_progress progress;
        ray_pull_progress(pull, &progress);
        pull->callbacks.progressed(pull->context, &progress);
    }
    pthread_mutex_unlock(&pull->callback_lock);
}

static uint64_t earlier(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

static uint64_t next_time_locked(const ray_pull *pull, uint64_t now) {
    uint64_t next = pull->deadline_ns;
    if (pull->callbacks.progressed != NULL) {
        next = earlier(next, pull->progress_due_ns);
    }
    if (!pull->opened && pull->open_next_ns > now) {
        next = earlier(next, pull->open_next_ns);
    }
    for (uint32_t i = 0; i < pull->source_count; i++) {
        if (!pull->sources[i].ended && pull->sources[i].retry_at_ns > now) {
            next = earlier(next, pull->sources[i].retry_at_ns);
        }
    }
    return pull->grace_until_ns > now ? earlier(next, pull->grace_until_ns) : next;
}

uint64_t ray__pull_tend(ray_pull *pull, uint64_t now) {
    pthread_mutex_lock(&pull->lock);
    if (now >= pull->deadline_ns && !atomic_load(&pull->ended)) {
        char text[RAY__TEXT_MAX];
        snprintf(text, sizeof text, "the time for the pull ran out with %llu of %llu bytes here%s%.300s",
                 (unsigned long long)pull->progress.done_bytes, (unsigned long long)pull->progress.total_bytes,
                 pull->source_message[0] != '\0' ? "; " : "", pull->source_message);
        ray__pull_end_locked(pull, RAY_TIMED_OUT, text);
    }
    uint64_t look = ray__tail_look_locked(pull, now);
    ray__pull_schedule_locked(pull, now);
    bool show = pull->opened && now >= pull->progress_due_ns && !atomic_load(&pull->ended);
    if (now >= pull->progress_due_ns) {
        pull->progress_due_ns = now + RAY__PROGRESS_NS;
    }
    bool last = may_finish_locked(pull);
    uint64_t next = atomic_load(&pull->ended) ? UINT64_MAX : earlier(look, next_time_locked(pull, now));
    pthread_mutex_unlock(&pull->lock);
    if (show) {
        show_progress(pull);
    }
    if (last) {
        finish(pull);
    }
    return next;
}

// ---- public ----------------------------------------------------------------------------------------------------------------

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
    pull->connection_count = pull->connection_count > 16 ? 16 : pull->connection_count;
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
            again->ended = again->referred = again->partial = again->learned = false;
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

void ray_pull_cancel(ray_pull *pull) {
    ray__pull_end(pull, RAY_CANCELLED, "cancelled by the caller");
}

void ray_pull_progress(ray_pull *pull, ray_transfer_progress *progress) {
    pthread_mutex_lock(&pull->lock);
    *progress = pull->progress;
    if (!pull->finishing) {
        progress->elapsed_ns = ray__now_ns() - pull->started_ns;
        for (uint32_t i = 0; i < pull->source_count; i++) {
            progress->source_count += pull->sources[i].answered && pull->sources[i].links > 0;
        }
    }
    pthread_mutex_unlock(&pull->lock);
}
