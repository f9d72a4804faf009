// SPDX-License-Identifier: Apache-2.0
// Taking memory for data: by create when it comes to memory that was never used, and in the background before.
//
// Two things make a first write slow. The machine must find and clear the memory, once for all processes; the watermark
// reserved_bytes says up to where that is done. And each process must enter it into its own page tables, a fault for each page, which are
// 512 times fewer where the memory is in huge pages; `touched` says for which 2 MiB this process has done that.
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock_internal.h"
#include "base/futex_internal.h"
#include "base/shm_internal.h"
#include "base/thread_internal.h"
#include "plasma/store_internal.h"

#define STEP (8u << 20)      // of the background: short enough to stop between, long enough to cost little
#define AHEAD (4u << 20)     // of create: so that the next ones find their memory taken
#define GAP_MAX (64u << 20)  // a block farther behind the watermark takes its own range only
#define LOOK_NS 1000000000u  // of the background, whether nobody creates and there is something to take
#define PREFAULT_PART 4u     // of the memory that is left: what the background takes unasked
// Behind whoever works, but not last: beside 19 busy threads a step took seconds at priority 19, and a stop waits for one.
#define BACKGROUND_PRIORITY 10

static uint64_t page_up(uint64_t size) {
    return (size + RAY__PAGE - 1) / RAY__PAGE * RAY__PAGE;
}

// ---- the machine's part ------------------------------------------------------------------------------------------------

// Moves the watermark to `end`, if everything before `begin` is reserved.
static void advance(ray_store *store, uint64_t begin, uint64_t end) {
    uint64_t reserved = ray__shm_load(&store->header->reserved_bytes);
    while (begin <= reserved && reserved < end &&
           !ray__shm_swap_if(&store->header->reserved_bytes, &reserved, end)) {
    }
}

static ray_status reserve_part(void *context, uint64_t begin, uint64_t end) {
    const ray_store *store = context;
    return ray__segment_reserve(store->data_fd, store->writable, begin, end - begin);
}

static ray_status reserve(ray_store *store, uint64_t begin, uint64_t end) {
    RAY_TRY(ray__in_parts(begin, end, reserve_part, store));
    RAY_CRASH_POINT();
    advance(store, begin, end);
    return RAY_OK;
}

static ray_status reserve_for(ray_store *store, uint64_t offset, uint64_t end, uint64_t reserved) {
    uint64_t begin = offset / RAY__PAGE * RAY__PAGE;
    // All of it or nothing: what was taken part by part before a refusal would stay taken, and others would be short of it.
    RAY_TRY(ray__memory_check(end - begin));
    if (begin <= reserved + GAP_MAX) {
        uint64_t ahead = (end + AHEAD - 1) / AHEAD * AHEAD;
        ahead = ahead < store->layout.capacity ? ahead : store->layout.capacity;
        if (ray__memory_check(ahead - reserved) == RAY_OK && reserve(store, reserved, ahead) == RAY_OK) {
            return RAY_OK;
        }
        // Less may still be there.
    }
    return reserve(store, begin, end);
}

// ---- this process's part -----------------------------------------------------------------------------------------------

uint64_t ray__touched_size(const ray_store *store) {
    uint64_t pages = (store->layout.capacity + RAY__HUGE_PAGE - 1) / RAY__HUGE_PAGE;
    return page_up((pages + 63) / 64 * sizeof(uint64_t));
}

static bool is_touched(const ray_store *store, uint64_t offset) {
    uint64_t number = offset / RAY__HUGE_PAGE;
    return (__atomic_load_n(&store->touched[number / 64], __ATOMIC_RELAXED) & 1ull << number % 64) != 0;
}

static uint64_t next_huge_page(uint64_t offset) {
    return (offset / RAY__HUGE_PAGE + 1) * RAY__HUGE_PAGE;
}

// What is not a whole huge page is not noted, and so is looked at again the next time.
static ray_status touch_part(void *context, uint64_t begin, uint64_t end) {
    ray_store *store = context;
    uint64_t next;
    for (uint64_t at = begin; at < end; at = next) {
        next = next_huge_page(at);
        if (is_touched(store, at)) {
            continue;
        }
        uint64_t stop = next < end ? next : end;
        ray__segment_touch(store->writable + at, stop - at);
        if (stop - at == RAY__HUGE_PAGE) {
            uint64_t number = at / RAY__HUGE_PAGE;
            __atomic_fetch_or(&store->touched[number / 64], 1ull << number % 64, __ATOMIC_RELAXED);
        }
    }
    return RAY_OK;
}

// All the huge pages that a block lies in, as far as they have memory.
static void touch(ray_store *store, uint64_t offset, uint64_t end) {
    uint64_t reserved = ray__shm_load(&store->header->reserved_bytes);
    if (end <= reserved) {
        offset = offset / RAY__HUGE_PAGE * RAY__HUGE_PAGE;
        end = next_huge_page(end - 1);
        end = end < reserved ? end : reserved;
    } // else it lies behind the watermark, and what is around it may have no memory
    for (uint64_t at = offset / RAY__PAGE * RAY__PAGE; at < end; at = next_huge_page(at)) {
        if (!is_touched(store, at)) {
            (void)ray__in_parts(at, end, touch_part, store);
            return;
        }
    }
}

ray_status ray__store_reserve(ray_store *store, uint64_t offset, uint64_t size_bytes) {
    uint64_t reserved = ray__shm_load(&store->header->reserved_bytes);
    uint64_t end = page_up(offset + size_bytes);
    if (__builtin_expect(end > reserved, 0)) {
        RAY_TRY(reserve_for(store, offset, end, reserved));
    }
    // Smaller blocks are left to the faults of who fills them: a call costs as much as three of those.
    if (size_bytes >= RAY__LARGE_BYTES) {
        touch(store, offset, end);
    }
    return RAY_OK;
}

// ---- before it is asked for ----------------------------------------------------------------------------------------------

static ray_status prefault(ray_store *store, uint64_t up_to_bytes, const uint32_t *stopping) {
    uint64_t end = up_to_bytes < store->layout.capacity ? page_up(up_to_bytes) : store->layout.capacity;
    for (;;) {
        RAY_TRY(ray__store_enter(store));
        uint64_t reserved = ray__shm_load(&store->header->reserved_bytes); // others move it, too
        if (reserved >= end || (stopping != NULL && __atomic_load_n(stopping, __ATOMIC_ACQUIRE) != 0)) {
            return RAY_OK;
        }
        uint64_t step_end = end - reserved < STEP ? end : reserved + STEP;
        RAY_TRY(reserve_part(store, reserved, step_end)); // by this thread alone: the others have work to do
        RAY_CRASH_POINT();
        advance(store, reserved, step_end);
    }
}

ray_status ray_store_prefault(ray_store *store, uint64_t up_to_bytes) {
    RAY__GATE(store);
    return prefault(store, up_to_bytes, NULL);
}

// What the background aims at. The usual share comes on top of what objects take now, so that a store that fills finds memory ahead.
static uint64_t goal(const ray_store *store) {
    if (store->prefault.up_to != RAY_PREFAULT_USUAL) {
        return store->prefault.up_to;
    }
    uint64_t used = ray__shm_load_relaxed(&store->arena->used);
    used = used > store->layout.capacity / RAY__UNIT ? store->layout.capacity : used * RAY__UNIT; // it is read without the lock
    uint64_t share = ray__memory_left() / PREFAULT_PART;
    return share > UINT64_MAX - used ? UINT64_MAX : used + share;
}

// Whether there will never be more to take.
static bool is_all_taken(const ray_store *store) {
    uint64_t reserved = ray__shm_load(&store->header->reserved_bytes);
    return reserved >= store->layout.capacity || reserved >= store->prefault.up_to;
}

static void *run_prefault(void *argument) {
    ray_store *store = argument;
    RAY__GATE(store);
    // Of this thread alone on Linux. Advice: where it is refused, others share the core with it.
    (void)setpriority(PRIO_PROCESS, (id_t)syscall(SYS_gettid), BACKGROUND_PRIORITY);
    const uint32_t *stopping = &store->prefault.stopping;
    // A refusal is no end: memory may be given back. How far it came is in reserved_bytes, and who creates more is told why there is none.
    (void)prefault(store, goal(store), stopping);
    uint64_t tick = ray__shm_load_relaxed(&store->header->tick);
    while (__atomic_load_n(stopping, __ATOMIC_ACQUIRE) == 0 && !is_all_taken(store)) {
        if (ray__futex_wait(stopping, 0, ray__now_ns() + LOOK_NS)) {
            continue;
        }
        uint64_t before = tick;
        tick = ray__shm_load_relaxed(&store->header->tick);
        if (tick == before) { // nobody has created anything since the last look
            (void)prefault(store, goal(store), stopping);
        }
    }
    return NULL;
}

ray_status ray_store_prefault_start(ray_store *store, uint64_t up_to_bytes) {
    RAY__GATE(store);
    RAY_TRY(ray__store_enter(store));
    ray__prefault *work = &store->prefault;
    pthread_mutex_lock(&work->lock);
    ray_status status;
    if (work->is_started) {
        status = ray__fail(RAY_IN_USE, "memory of this store is being taken already: stop that first");
    } else {
        work->up_to = up_to_bytes;
        work->stopping = 0;
        status = ray__thread_start(&work->thread, "ray-prefault", run_prefault, store);
        work->is_started = status == RAY_OK;
    }
    pthread_mutex_unlock(&work->lock);
    return status;
}

void ray_store_prefault_stop(ray_store *store) {
    if (store->fork_generation != ray__fork_generation()) {
        return; // the thread is the parent's
    }
    ray__prefault *work = &store->prefault;
    pthread_mutex_lock(&work->lock);
    if (work->is_started) {
        __atomic_store_n(&work->stopping, 1, __ATOMIC_RELEASE);
        ray__futex_wake_all(&work->stopping);
        pthread_join(work->thread, NULL);
        work->is_started = false;
    }
    pthread_mutex_unlock(&work->lock);
}
