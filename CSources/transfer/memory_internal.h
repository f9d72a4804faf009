// SPDX-License-Identifier: Apache-2.0
// Memory: what a transfer's buffers may take, dealt out beforehand.
//
// The bound is divided into shares, one for each use, so that no use waits for another: whoever waits for its share waits for holders that go
// on without any more of it. Fixed are a chunk for each worker and each reader, what each link and each served connection has.
//
//   share           of what is not fixed    who waits                          who holds, and until when
//   receive         3/8, in buffers         a link, before it reads a chunk    a worker, until it has unpacked
//   send            3/8, in buffers         nobody: the chunk leaves raw       a connection, until it is written
//                                           one read from a source (reads.c)   its reader, then that connection
//   answers         1/8                     a connection that has none open    an offer, until its pull ends
//   cards received  1/16                    a link, before it reads a card     that link, until the sink is chosen
//   cards sent      1/16                    a connection, with its offer       that connection, until it is written
//
// A connection that has a pull open and is asked for another answers RAY_AGAIN instead of waiting, and the other comes back alone: it would hold
// what it waits for.
//
// Not counted: what the kernel buffers, the compressors' own tables and rooms (of two chunks a worker, for filters), a pull's list of its chunks (9 bytes each) and what it keeps of its card
// while others may have parts from it (64 KiB at most), kept checksums, a buffer for one large card (272 KiB).
#ifndef RAY_TRANSFER_MEMORY_INTERNAL_H
#define RAY_TRANSFER_MEMORY_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "raystore/transfer.h"

#define RAY__MEMORY_DEFAULT (512ull << 20)
#define RAY__MEMORY_SHARED_MIN (40ull << 20) // so that every share holds the largest of its kind
#define RAY__LINK_BUFFER_MAX (1u << 20)      // of a link, for pieces on their way into a file or much memory

// All that is taken of a transfer's bound.
typedef struct ray__memory {
    _Atomic uint64_t used;
    _Atomic uint64_t peak;
} ray__memory;

void ray__memory_took(ray__memory *memory, uint64_t size);
void ray__memory_gave(ray__memory *memory, uint64_t size);
// Aligned to a page, and counted. NULL: there is none.
void *ray__memory_allocate(ray__memory *memory, size_t size);
// Accepts NULL.
void ray__memory_free(ray__memory *memory, void *bytes, size_t size);

// A part of it that is waited for.
typedef struct ray__share {
    pthread_mutex_t lock; // a leaf
    pthread_cond_t returned;
    ray__memory *memory;
    uint64_t limit;
    uint64_t used;
} ray__share;

void ray__share_init(ray__share *share, ray__memory *memory, uint64_t limit);
void ray__share_end(ray__share *share);
// False when there is not as much until the timeout. More than all of it is never there.
bool ray__share_take(ray__share *share, uint64_t size, uint64_t timeout_ns);
// The same without end, until the stop descriptor (an eventfd) is readable: RAY_CANCELLED.
ray_status ray__share_wait(ray__share *share, uint64_t size, int stop) RAY_NODISCARD;
// The same; but at once, or RAY_AGAIN, if stop is -1.
ray_status ray__share_get(ray__share *share, uint64_t size, int stop) RAY_NODISCARD;
void ray__share_give(ray__share *share, uint64_t size);

#endif
