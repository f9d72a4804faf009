// SPDX-License-Identifier: Apache-2.0
// A pull's life: what moves it on, how it ends. It ends once: with the last chunk, or with the first reason why not; then the parts that
// are still active notice, and the last of them finishes it.
#include <stdio.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock_internal.h"
#include "base/error_internal.h"
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
    for (uint32_t i = 0; i < pull->source_count; i++) {
        free(pull->sources[i].account);
    }
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
