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

static ray__link_job *next_job(ray_transfer *transfer) {
    pthread_mutex_lock(&transfer->queue_lock);
    transfer->link_threads_idle++;
    while (transfer->queue_first == NULL && !transfer->links_end) {
        pthread_cond_wait(&transfer->queue_changed, &transfer->queue_lock);
    }
    transfer->link_threads_idle--;
    ray__link_job *job = transfer->queue_first;
    if (job != NULL) {
        transfer->queue_first = job->next;
        if (transfer->queue_first == NULL) {
            transfer->queue_last = NULL;
        }
        transfer->queue_length--;
    }
    pthread_mutex_unlock(&transfer->queue_lock);
    return job;
}

static void *run_links(void *context) {
    ray_transfer *transfer = context;
    for (;;) {
        ray__link_job *job = next_job(transfer);
        if (job == NULL) {
            return NULL;
        }
        ray_pull *pull = job->pull;
        uint32_t source = job->source;
        free(job);
        if (source == RAY__SOURCE_DISK) {
            ray__resume_verify(pull);
        } else {
            ray__link_run(pull, source);
            pthread_mutex_lock(&pull->lock);
            pull->sources[source].links--;
            pthread_mutex_unlock(&pull->lock);
        }
        ray__pull_leave(pull);
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
    ray_status status = RAY_OK;
    pthread_mutex_lock(&transfer->queue_lock);
    if (transfer->link_threads_idle <= transfer->queue_length && transfer->link_threads < RAY__LINKS_MAX) {
        ray_status started = ray__thread_start(&transfer->links[transfer->link_threads], "ray-link", run_links, transfer);
        if (started == RAY_OK) {
            transfer->link_threads++;
        } else if (transfer->link_threads == 0) {
            status = started;
        }
    }
    if (status == RAY_OK) {
        if (transfer->queue_last != NULL) {
            transfer->queue_last->next = job;
        } else {
            transfer->queue_first = job;
        }
        transfer->queue_last = job;
        transfer->queue_length++;
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
