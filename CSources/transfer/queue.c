// SPDX-License-Identifier: Apache-2.0
// The threads that run links, and the proved connections kept for the next pull: a small object then costs one round trip.
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock_internal.h"
#include "base/error_internal.h"
#include "base/thread_internal.h"
#include "transfer/transfer_internal.h"

// ---- which link is next --------------------------------------------------------------------------------------------------

static bool may_run(const ray_transfer *transfer, uint32_t urgency) {
    const ray__link_queue *queues = transfer->queues;
    return queues[urgency].first != NULL &&
           (urgency <= RAY_URGENCY_WAIT ||
            queues[RAY_URGENCY_PREFETCH].running + queues[RAY_URGENCY_BACKGROUND].running < RAY__LINKS_LOW_MAX);
}

// The most urgent, and at every tenth turn the least urgent, so that none waits for ever. RAY_URGENCY_COUNT: none.
static uint32_t next_class(const ray_transfer *transfer) {
    bool backwards = transfer->queue_turn % 10 == 9;
    for (uint32_t i = 0; i < RAY_URGENCY_COUNT; i++) {
        uint32_t urgency = backwards ? RAY_URGENCY_COUNT - 1 - i : i;
        if (may_run(transfer, urgency)) {
            return urgency;
        }
    }
    return RAY_URGENCY_COUNT;
}

// What waits although every thread that it may have is at work. With the queue's lock.
static void note_top(ray_transfer *transfer) {
    bool is_short = transfer->link_threads_idle == 0 && transfer->link_threads == RAY__LINKS_MAX;
    uint32_t top = 0;
    while (top < RAY_URGENCY_COUNT && (transfer->queues[top].first == NULL || (may_run(transfer, top) && !is_short))) {
        top++;
    }
    atomic_store(&transfer->queue_top, top);
}

bool ray__link_queue_must_yield(ray_transfer *transfer, uint32_t urgency) {
    if (atomic_load(&transfer->queue_top) >= urgency) {
        return false;
    }
    pthread_mutex_lock(&transfer->queue_lock);
    uint32_t waiting = 0;
    uint32_t low_running = 0;
    for (uint32_t u = 0; u < RAY_URGENCY_COUNT; u++) {
        low_running += u >= urgency ? transfer->queues[u].running : 0;
        for (const ray__link_job *job = transfer->queues[u].first; u < urgency && job != NULL && waiting < RAY__LINKS_MAX; job = job->next) {
            waiting++;
        }
    }
    bool wanted = transfer->queue_yielding < waiting && low_running > RAY__LINKS_KEPT + transfer->queue_yielding;
    transfer->queue_yielding += wanted;
    pthread_mutex_unlock(&transfer->queue_lock);
    return wanted;
}

bool ray__link_queue_is_roomy(ray_transfer *transfer) {
    pthread_mutex_lock(&transfer->queue_lock);
    bool is_roomy = transfer->link_threads - transfer->link_threads_idle + transfer->queue_length < RAY__LINKS_MAX / 2;
    pthread_mutex_unlock(&transfer->queue_lock);
    return is_roomy;
}

static void append(ray__link_queue *queue, ray__link_job *job) {
    job->next = NULL;
    job->previous = queue->last;
    if (queue->last != NULL) {
        queue->last->next = job;
    } else {
        queue->first = job;
    }
    queue->last = job;
}

static void take_out(ray__link_queue *queue, ray__link_job *job) {
    *(job->previous != NULL ? &job->previous->next : &queue->first) = job->next;
    *(job->next != NULL ? &job->next->previous : &queue->last) = job->previous;
}

void ray__link_queue_move(ray_pull *pull, uint32_t urgency) {
    ray_transfer *transfer = pull->transfer;
    pthread_mutex_lock(&transfer->queue_lock);
    ray__link_queue *from = &transfer->queues[atomic_load(&pull->urgency)];
    ray__link_queue *to = &transfer->queues[urgency];
    atomic_store(&pull->urgency, urgency);
    from->running -= pull->links_running;
    to->running += pull->links_running;
    for (ray__link_job *job = pull->links_waiting; job != NULL; job = job->next_of_pull) {
        take_out(from, job);
        append(to, job);
    }
    note_top(transfer);
    pthread_cond_broadcast(&transfer->queue_changed);
    pthread_mutex_unlock(&transfer->queue_lock);
}

void ray__link_queue_drop(ray_pull *pull) {
    ray_transfer *transfer = pull->transfer;
    pthread_mutex_lock(&transfer->queue_lock);
    ray__link_job *dropped = pull->links_waiting;
    pull->links_waiting = NULL;
    for (ray__link_job *job = dropped; job != NULL; job = job->next_of_pull) {
        take_out(&transfer->queues[atomic_load(&pull->urgency)], job);
        transfer->queue_length--;
    }
    note_top(transfer);
    pthread_mutex_unlock(&transfer->queue_lock);
    while (dropped != NULL) {
        ray__link_job *job = dropped;
        dropped = job->next_of_pull;
        if (job->source != RAY__SOURCE_DISK) {
            pull->sources[job->source].links--;
        }
        pull->active--;
        free(job);
    }
}

// With the queue's lock: a thread has it now.
static void take_up(ray_transfer *transfer, ray__link_queue *queue, ray__link_job *job) {
    take_out(queue, job);
    queue->running++;
    job->pull->links_running++;
    ray__link_job **cursor = &job->pull->links_waiting;
    while (*cursor != job) {
        cursor = &(*cursor)->next_of_pull;
    }
    *cursor = job->next_of_pull;
    transfer->queue_length--;
}

// A thread counts as idle from its making on, not from when it first runs, so that who asks meanwhile counts it once.
static ray__link_job *next_job(ray_transfer *transfer, bool is_first) {
    ray__link_job *job = NULL;
    pthread_mutex_lock(&transfer->queue_lock);
    transfer->link_threads_idle += !is_first;
    uint32_t urgency;
    while ((urgency = next_class(transfer)) == RAY_URGENCY_COUNT && !transfer->links_end) {
        pthread_cond_wait(&transfer->queue_changed, &transfer->queue_lock);
    }
    transfer->link_threads_idle--;
    if (urgency < RAY_URGENCY_COUNT) {
        job = transfer->queues[urgency].first;
        take_up(transfer, &transfer->queues[urgency], job);
        transfer->queue_turn++;
        note_top(transfer);
    }
    pthread_mutex_unlock(&transfer->queue_lock);
    return job;
}

// ---- pulls that are begun together ---------------------------------------------------------------------------------------

static const ray_endpoint *endpoint_of(const ray__link_job *job) {
    return &job->pull->sources[job->source].endpoint; // does not change once it is there
}

// Takes the next jobs of the same class that open at the same place, behind jobs[0]. Answers how many jobs there are now.
static uint32_t take_companions(ray_transfer *transfer, ray__link_job **jobs) {
    const ray_endpoint *at = endpoint_of(jobs[0]);
    uint32_t count = 1;
    uint32_t seen = 0;
    pthread_mutex_lock(&transfer->queue_lock);
    ray__link_queue *queue = &transfer->queues[atomic_load(&jobs[0]->pull->urgency)];
    ray__link_job *next = queue->first;
    while (next != NULL && count < RAY__BATCH_MAX && seen++ < 16 * RAY__BATCH_MAX) {
        ray__link_job *job = next;
        next = job->next;
        const ray_endpoint *other = job->opens ? endpoint_of(job) : NULL;
        if (other != NULL && other->port == at->port && strcasecmp(other->host, at->host) == 0) {
            take_up(transfer, queue, job);
            jobs[count++] = job;
        }
    }
    note_top(transfer);
    pthread_mutex_unlock(&transfer->queue_lock);
    return count;
}

// Many pulls from one place, on a connection that is there: they are begun together. Without such a connection the first one goes alone
// and makes it, and beside a cap each waits for its own turn. False: nothing was done.
static bool run_together(ray_transfer *transfer, ray__link_job *first) {
    uint64_t again_ns = 0;
    pthread_mutex_lock(&transfer->queue_lock);
    bool is_alone = !first->opens || transfer->queue_length == 0;
    pthread_mutex_unlock(&transfer->queue_lock);
    is_alone = is_alone || !ray__flow_is_open(&transfer->receiving, atomic_load(&first->pull->urgency), ray__now_ns(), &again_ns);
    ray__connection connection;
    if (is_alone || !ray__idle_take(transfer, endpoint_of(first), transfer->stop, &connection)) {
        return false;
    }
    ray_endpoint endpoint = *endpoint_of(first);
    ray__link_job *jobs[RAY__BATCH_MAX] = {first};
    uint32_t count = take_companions(transfer, jobs);
    ray__batch_run(transfer, &endpoint, &connection, jobs, count);
    for (uint32_t i = 1; i < count; i++) {
        free(jobs[i]);
    }
    return true;
}

void ray__link_job_done(const ray__link_job *job, bool yielded) {
    ray_pull *pull = job->pull;
    ray_transfer *transfer = pull->transfer;
    if (job->source != RAY__SOURCE_DISK) {
        pthread_mutex_lock(&pull->lock);
        pull->sources[job->source].links--;
        pthread_mutex_unlock(&pull->lock);
    }
    // While the pull is active still.
    pthread_mutex_lock(&transfer->queue_lock);
    transfer->queues[atomic_load(&pull->urgency)].running--;
    pull->links_running--;
    transfer->queue_yielding -= yielded;
    // One that had to wait for the limit of its class may go now.
    pthread_cond_signal(&transfer->queue_changed);
    pthread_mutex_unlock(&transfer->queue_lock);
    ray__pull_leave(pull);
}

static void *run_links(void *context) {
    ray_transfer *transfer = context;
    for (bool is_first = true;; is_first = false) {
        ray__link_job *job = next_job(transfer, is_first);
        if (job == NULL) {
            return NULL;
        }
        if (job->source == RAY__SOURCE_DISK) {
            ray__resume_verify(job->pull);
            ray__link_job_done(job, false);
        } else if (!run_together(transfer, job)) {
            bool yielded = ray__link_run(job->pull, job->source);
            ray__link_job_done(job, yielded);
        }
        free(job);
    }
}

ray_status ray__link_queue_push(ray_pull *pull, uint32_t source) {
    ray_transfer *transfer = pull->transfer;
    ray__link_job *job = calloc(1, sizeof *job);
    if (job == NULL) {
        return ray__fail(RAY_OUT_OF_MEMORY, "a connection of a pull");
    }
    job->pull = pull;
    job->source = source;
    job->opens = source != RAY__SOURCE_DISK && !pull->opened && !pull->goes_alone;
    ray_status status = RAY_OK;
    pthread_mutex_lock(&transfer->queue_lock);
    if (transfer->link_threads_idle <= transfer->queue_length && transfer->link_threads < RAY__LINKS_MAX) {
        ray_status started = ray__thread_start(&transfer->links[transfer->link_threads], "ray-link", run_links, transfer);
        if (started == RAY_OK) {
            transfer->link_threads++;
            transfer->link_threads_idle++;
        } else if (transfer->link_threads == 0) {
            status = started;
        }
    }
    if (status == RAY_OK) {
        append(&transfer->queues[atomic_load(&pull->urgency)], job);
        job->next_of_pull = pull->links_waiting;
        pull->links_waiting = job;
        transfer->queue_length++;
        note_top(transfer);
        pthread_cond_signal(&transfer->queue_changed);
    }
    pthread_mutex_unlock(&transfer->queue_lock);
    if (status != RAY_OK) {
        free(job);
    }
    return status;
}

void ray__link_threads_stop(ray_transfer *transfer) {
    pthread_mutex_lock(&transfer->queue_lock);
    transfer->links_end = true;
    pthread_cond_broadcast(&transfer->queue_changed);
    uint32_t count = transfer->link_threads;
    pthread_mutex_unlock(&transfer->queue_lock);
    for (uint32_t i = 0; i < count; i++) {
        pthread_join(transfer->links[i], NULL);
    }
}

bool ray__idle_take(ray_transfer *transfer, const ray_endpoint *endpoint, int stop, ray__connection *connection) {
    bool found = false;
    pthread_mutex_lock(&transfer->idle_lock);
    // The latest first: it is the most likely to be alive.
    for (uint32_t i = transfer->idle_count; i > 0 && !found; i--) {
        ray__idle *idle = &transfer->idle[i - 1];
        if (idle->endpoint.port == endpoint->port && strcasecmp(idle->endpoint.host, endpoint->host) == 0) {
            *connection = idle->connection;
            memmove(idle, idle + 1, (transfer->idle_count - i) * sizeof *idle);
            transfer->idle_count--;
            found = ray__connection_is_quiet(connection);
            if (!found) {
                ray__connection_close(connection);
            }
        }
    }
    pthread_mutex_unlock(&transfer->idle_lock);
    connection->stop = stop;
    return found;
}

void ray__idle_give(ray_transfer *transfer, const ray_endpoint *endpoint, const ray__connection *connection) {
    ray__connection surplus = {.socket = -1};
    pthread_mutex_lock(&transfer->idle_lock);
    if (transfer->idle_count == RAY__IDLE_MAX) {
        surplus = transfer->idle[0].connection;
        memmove(&transfer->idle[0], &transfer->idle[1], (RAY__IDLE_MAX - 1) * sizeof transfer->idle[0]);
        transfer->idle_count--;
    }
    ray__idle *idle = &transfer->idle[transfer->idle_count++];
    idle->endpoint = *endpoint;
    idle->connection = *connection;
    idle->since_ns = ray__now_ns();
    pthread_mutex_unlock(&transfer->idle_lock);
    ray__connection_close(&surplus);
}

void ray__idle_expire(ray_transfer *transfer, uint64_t older_than_ns) {
    pthread_mutex_lock(&transfer->idle_lock);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < transfer->idle_count; i++) {
        if (transfer->idle[i].since_ns < older_than_ns) {
            ray__connection_close(&transfer->idle[i].connection);
        } else {
            transfer->idle[kept++] = transfer->idle[i];
        }
    }
    transfer->idle_count = kept;
    pthread_mutex_unlock(&transfer->idle_lock);
}
