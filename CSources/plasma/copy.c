// SPDX-License-Identifier: Apache-2.0
// Work on large data by more than one thread.
#include <pthread.h>
#include <sched.h>
#include <string.h>

#include "base/checksum_internal.h"
#include "base/shm_internal.h"
#include "base/thread_internal.h"
#include "plasma/store_internal.h"

// One core does not saturate the memory of most machines, and four saturate that of almost all.
#define PARTS_MAX 4u

// A part for each 4 MiB at most, so two from 8 MiB on: below, making a thread costs more than it saves. With two busy cores 4 MiB took
// 222 us alone and 251 us by two, 8 MiB 485 and 358.
#define PART_BYTES (4u << 20)

typedef struct part {
    ray__part_body body;
    void *context;
    uint64_t begin;
    uint64_t end;
    ray_status status;
} part;

static void *run_part(void *argument) {
    part *p = argument;
    p->status = p->body(p->context, p->begin, p->end);
    return NULL;
}

// The cores this process may use: more threads than those would take turns.
static uint64_t core_count(void) {
    cpu_set_t cores;
    return sched_getaffinity(0, sizeof cores, &cores) == 0 ? (uint64_t)CPU_COUNT(&cores) : 1;
}

static uint64_t part_count(uint64_t size) {
    uint64_t count = size / PART_BYTES;
    if (count < 2) {
        return 1;
    }
    uint64_t cores = core_count();
    count = count < cores ? count : cores;
    return count < PARTS_MAX ? count : PARTS_MAX;
}

ray_status ray__in_parts(uint64_t begin, uint64_t end, ray__part_body body, void *context) {
    uint64_t count = part_count(end - begin);
    if (count < 2) {
        return body(context, begin, end);
    }
    part parts[PARTS_MAX];
    pthread_t threads[PARTS_MAX];
    bool is_started[PARTS_MAX] = {false};
    uint64_t step = (end - begin) / count;
    for (uint64_t i = 0; i < count; i++) {
        uint64_t first = i == 0 ? begin : parts[i - 1].end;
        uint64_t last = i == count - 1 ? end : (begin + (i + 1) * step) / RAY__HUGE_PAGE * RAY__HUGE_PAGE;
        parts[i] = (part){body, context, first, last, RAY_SYSTEM};
        if (i != 0) { // the first is this thread's
            is_started[i] = ray__thread_start(&threads[i], "ray-copy", run_part, &parts[i]) == RAY_OK;
        }
    }
    ray_status status = body(context, parts[0].begin, parts[0].end);
    for (uint64_t i = 1; i < count; i++) {
        if (is_started[i]) {
            pthread_join(threads[i], NULL);
        }
        // Also when there was no thread to be had: alone it takes longer, nothing else.
        if (status == RAY_OK && parts[i].status != RAY_OK) {
            status = body(context, parts[i].begin, parts[i].end);
        }
    }
    return status;
}

typedef struct copy {
    uint8_t *to;
    const uint8_t *from;
} copy;

// Positions are addresses of the target, so that the parts are cut where huge pages are.
static ray_status copy_part(void *context, uint64_t begin, uint64_t end) {
    const copy *c = context;
    uint64_t skipped = begin - (uintptr_t)c->to;
    memcpy(c->to + skipped, c->from + skipped, end - begin);
    return RAY_OK;
}

void ray__copy(uint8_t *to, const uint8_t *from, uint64_t size_bytes) {
    copy c = {to, from};
    (void)ray__in_parts((uintptr_t)to, (uintptr_t)to + size_bytes, copy_part, &c);
}

typedef struct summed_copy {
    copy bytes;
    uint64_t size_bytes;
    uint32_t chunk_size;
    uint64_t *sums;
} summed_copy;

// Positions are offsets. A part has the chunks that begin in it.
static ray_status copy_chunks(void *context, uint64_t begin, uint64_t end) {
    const summed_copy *c = context;
    for (uint64_t index = (begin + c->chunk_size - 1) / c->chunk_size; index * c->chunk_size < end; index++) {
        uint64_t at = index * c->chunk_size;
        uint64_t rest = c->size_bytes - at;
        c->sums[index] = ray__checksum_copy(c->bytes.to + at, c->bytes.from + at, rest < c->chunk_size ? rest : c->chunk_size);
    }
    return RAY_OK;
}

void ray__copy_summed(uint8_t *to, const uint8_t *from, uint64_t size_bytes, uint32_t chunk_size, uint64_t *sums) {
    summed_copy c = {{to, from}, size_bytes, chunk_size, sums};
    (void)ray__in_parts(0, size_bytes, copy_chunks, &c);
}
