// SPDX-License-Identifier: Apache-2.0
// Workers: a thread for every core, shared by all connections, that hash, pack and unpack chunks; and the buffers they fill.
//
// A job must not wait for the network: what a worker does always ends by itself. Readers are workers of another kind: what they do ends when a source's
// read does.
#ifndef RAY_TRANSFER_WORKERS_INTERNAL_H
#define RAY_TRANSFER_WORKERS_INTERNAL_H

#include <pthread.h>
#include <stdbool.h>

#include "codec/uniform_internal.h"
#include "raystore/codec.h"
#include "ring/ring_internal.h"
#include "transfer/memory_internal.h"

#define RAY__WORKERS_MAX 16u
// Jobs that may wait. More than all connections can have under way would be of no use.
#define RAY__JOBS_MAX 4096u

typedef struct ray__worker {
    pthread_t thread;
    ray__ring *jobs;
    ray_codec *codec;
    uint8_t *raw; // one chunk's room, for bytes on their way from or to a file
    ray__uniform uniform;
} ray__worker;

typedef struct ray__job ray__job;
struct ray__job {
    void (*run)(ray__job *job, ray__worker *worker);
};

typedef struct ray__workers {
    ray__ring *jobs;
    ray__memory *memory;
    uint32_t count;
    ray__worker workers[RAY__WORKERS_MAX];
    pthread_mutex_t guest_lock;
    ray__worker guest; // of the thread that runs a job itself; made when first needed
} ray__workers;

// count 0: one for each core.
ray_status ray__workers_start(ray__workers *workers, ray__memory *memory, uint32_t count) RAY_NODISCARD;
// Runs what was submitted, then joins. Nothing may be submitted any more.
void ray__workers_stop(ray__workers *workers);
void ray__workers_submit(ray__workers *workers, ray__job *job);
// Runs a short job on this thread, which costs no switch to another. False, and nothing is done, while somebody else does so.
bool ray__workers_run_here(ray__workers *workers, ray__job *job);

// Buffers of one chunk each, with room behind it for what must be known of the chunk; made when first needed, at most `limit` of them.
#define RAY__BUFFER_TAIL 4096u

typedef struct ray__buffers {
    pthread_mutex_t lock;
    pthread_cond_t returned;
    ray__memory *memory;
    uint32_t limit;
    uint32_t made;
    uint32_t spare_count;
    uint8_t *spare[64];
    void (*came_back)(void *context); // called, under no lock of these, when one was given back; NULL: nobody is told
    void *context;
} ray__buffers;

#define RAY__BUFFER_SIZE (RAY_CHUNK_SIZE + RAY__BUFFER_TAIL)

void ray__buffers_init(ray__buffers *buffers, ray__memory *memory, uint32_t limit);
void ray__buffers_end(ray__buffers *buffers);
// NULL when all are in use until the timeout, or when there is no memory.
uint8_t *ray__buffers_take(ray__buffers *buffers, uint64_t timeout_ns);
// At once, and only while more than so many are not in use.
uint8_t *ray__buffers_take_above(ray__buffers *buffers, uint32_t kept);
void ray__buffers_give(ray__buffers *buffers, uint8_t *buffer);

#endif
