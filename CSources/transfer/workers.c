// SPDX-License-Identifier: Apache-2.0
#include "transfer/workers_internal.h"

#include <assert.h>
#include <errno.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock_internal.h"
#include "base/error_internal.h"
#include "base/thread_internal.h"

// Buffers kept for the next transfer; more than that are given back to the system.
#define SPARE_KEPT 8u

static void *work(void *context) {
    ray__worker *worker = context;
    void *job;
    while (ray__ring_pop(worker->jobs, &job, UINT64_MAX) == RAY_OK) {
        ((ray__job *)job)->run(job, worker);
    }
    return NULL;
}

// The cores that this process may use, which in a container are fewer than the machine's.
static uint32_t core_count(void) {
    cpu_set_t allowed;
    int count = sched_getaffinity(0, sizeof allowed, &allowed) == 0 ? CPU_COUNT(&allowed) : 1;
    if (count < 1) {
        return 1;
    }
    return (uint32_t)count > RAY__WORKERS_MAX ? RAY__WORKERS_MAX : (uint32_t)count;
}

static ray_status equip(ray__worker *worker, ray__memory *memory) {
    worker->raw = ray__memory_allocate(memory, RAY_CHUNK_SIZE);
    ray_status status = worker->raw == NULL ? ray__fail(RAY_OUT_OF_MEMORY, "a buffer of one chunk for each worker")
                                            : ray_codec_create(&worker->codec);
    if (status != RAY_OK) {
        ray__memory_free(memory, worker->raw, RAY_CHUNK_SIZE);
        worker->raw = NULL;
    }
    return status;
}

static void strip(ray__worker *worker, ray__memory *memory) {
    ray_codec_destroy(worker->codec);
    ray__memory_free(memory, worker->raw, RAY_CHUNK_SIZE);
}

ray_status ray__workers_start(ray__workers *workers, ray__memory *memory, uint32_t count) {
    memset(workers, 0, sizeof *workers);
    workers->memory = memory;
    RAY_TRY(ray__ring_create(RAY__JOBS_MAX, &workers->jobs));
    pthread_mutex_init(&workers->guest_lock, NULL);
    uint32_t wanted = count == 0 ? core_count() : count;
    ray_status status = RAY_OK;
    while (workers->count < wanted && status == RAY_OK) {
        ray__worker *worker = &workers->workers[workers->count];
        worker->jobs = workers->jobs;
        status = equip(worker, memory);
        if (status == RAY_OK) {
            status = ray__thread_start(&worker->thread, "ray-worker", work, worker);
            if (status == RAY_OK) {
                workers->count++;
            } else {
                strip(worker, memory);
            }
        }
    }
    if (status != RAY_OK) {
        ray__workers_stop(workers);
    }
    return status;
}

void ray__workers_stop(ray__workers *workers) {
    if (workers->jobs == NULL) {
        return;
    }
    ray__ring_close(workers->jobs);
    for (uint32_t i = 0; i < workers->count; i++) {
        pthread_join(workers->workers[i].thread, NULL);
        strip(&workers->workers[i], workers->memory);
    }
    strip(&workers->guest, workers->memory);
    pthread_mutex_destroy(&workers->guest_lock);
    ray__ring_destroy(workers->jobs);
    memset(workers, 0, sizeof *workers);
}

bool ray__workers_run_here(ray__workers *workers, ray__job *job) {
    if (pthread_mutex_trylock(&workers->guest_lock) != 0) {
        return false;
    }
    bool can = workers->guest.raw != NULL || equip(&workers->guest, workers->memory) == RAY_OK;
    if (can) {
        job->run(job, &workers->guest);
    }
    pthread_mutex_unlock(&workers->guest_lock);
    return can;
}

void ray__workers_submit(ray__workers *workers, ray__job *job) {
    // The ring is closed only when nobody submits any more, so a push cannot fail; it may wait, since workers always go on.
    ray_status pushed = ray__ring_push(workers->jobs, job, UINT64_MAX);
    assert(pushed == RAY_OK);
    (void)pushed;
}

void ray__buffers_init(ray__buffers *buffers, ray__memory *memory, uint32_t limit) {
    memset(buffers, 0, sizeof *buffers);
    buffers->memory = memory;
    buffers->limit = limit;
    pthread_mutex_init(&buffers->lock, NULL);
    ray__cond_init(&buffers->returned);
}

void ray__buffers_end(ray__buffers *buffers) {
    for (uint32_t i = 0; i < buffers->spare_count; i++) {
        ray__memory_free(buffers->memory, buffers->spare[i], RAY__BUFFER_SIZE);
    }
    pthread_cond_destroy(&buffers->returned);
    pthread_mutex_destroy(&buffers->lock);
}

static uint8_t *take_one(ray__buffers *buffers) {
    if (buffers->spare_count > 0) {
        return buffers->spare[--buffers->spare_count];
    }
    uint8_t *made = buffers->made < buffers->limit ? ray__memory_allocate(buffers->memory, RAY__BUFFER_SIZE) : NULL;
    buffers->made += made != NULL ? 1 : 0;
    return made;
}

uint8_t *ray__buffers_take_above(ray__buffers *buffers, uint32_t kept) {
    pthread_mutex_lock(&buffers->lock);
    uint8_t *taken = buffers->limit - buffers->made + buffers->spare_count > kept ? take_one(buffers) : NULL;
    pthread_mutex_unlock(&buffers->lock);
    return taken;
}

uint8_t *ray__buffers_take(ray__buffers *buffers, uint64_t timeout_ns) {
    uint64_t deadline = ray__deadline_ns(timeout_ns);
    pthread_mutex_lock(&buffers->lock);
    while (buffers->spare_count == 0 && buffers->made >= buffers->limit && ray__now_ns() < deadline) {
        ray__cond_wait_until(&buffers->returned, &buffers->lock, deadline);
    }
    uint8_t *taken = take_one(buffers);
    pthread_mutex_unlock(&buffers->lock);
    return taken;
}

void ray__buffers_give(ray__buffers *buffers, uint8_t *buffer) {
    if (buffer == NULL) {
        return;
    }
    pthread_mutex_lock(&buffers->lock);
    if (buffers->spare_count < SPARE_KEPT) {
        buffers->spare[buffers->spare_count++] = buffer;
    } else {
        // Before another is made in its stead.
        ray__memory_free(buffers->memory, buffer, RAY__BUFFER_SIZE);
        buffers->made--;
    }
    pthread_cond_signal(&buffers->returned);
    pthread_mutex_unlock(&buffers->lock);
    if (buffers->came_back != NULL) {
        buffers->came_back(buffers->context);
    }
}
