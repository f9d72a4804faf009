// SPDX-License-Identifier: Apache-2.0
#include "transfer/memory_internal.h"

#include <poll.h>
#include <stdlib.h>

#include "base/clock_internal.h"
#include "base/error_internal.h"
#include "base/thread_internal.h"

#define PAGE 4096u
#define LOOK_NS 100000000ull

void ray__memory_took(ray__memory *memory, uint64_t size) {
    uint64_t used = atomic_fetch_add(&memory->used, size) + size;
    uint64_t peak = atomic_load(&memory->peak);
    while (used > peak && !atomic_compare_exchange_weak(&memory->peak, &peak, used)) {
    }
}

void ray__memory_gave(ray__memory *memory, uint64_t size) {
    atomic_fetch_sub(&memory->used, size);
}

void *ray__memory_allocate(ray__memory *memory, size_t size) {
    void *bytes = aligned_alloc(PAGE, (size + PAGE - 1) / PAGE * PAGE);
    if (bytes != NULL) {
        ray__memory_took(memory, size);
    }
    return bytes;
}

void ray__memory_free(ray__memory *memory, void *bytes, size_t size) {
    if (bytes != NULL) {
        free(bytes);
        ray__memory_gave(memory, size);
    }
}

void ray__share_init(ray__share *share, ray__memory *memory, uint64_t limit) {
    share->memory = memory;
    share->limit = limit;
    share->used = 0;
    pthread_mutex_init(&share->lock, NULL);
    ray__cond_init(&share->returned);
}

void ray__share_end(ray__share *share) {
    pthread_cond_destroy(&share->returned);
    pthread_mutex_destroy(&share->lock);
}

bool ray__share_take(ray__share *share, uint64_t size, uint64_t timeout_ns) {
    uint64_t deadline = ray__deadline_ns(timeout_ns);
    pthread_mutex_lock(&share->lock);
    while (share->limit - share->used < size && timeout_ns > 0 && ray__now_ns() < deadline) {
        ray__cond_wait_until(&share->returned, &share->lock, deadline);
    }
    bool taken = share->limit - share->used >= size;
    share->used += taken ? size : 0;
    pthread_mutex_unlock(&share->lock);
    if (taken) {
        ray__memory_took(share->memory, size);
    }
    return taken;
}

ray_status ray__share_wait(ray__share *share, uint64_t size, int stop) {
    while (!ray__share_take(share, size, LOOK_NS)) {
        struct pollfd fd = {.fd = stop, .events = POLLIN};
        if (poll(&fd, 1, 0) > 0) {
            return ray__fail(RAY_CANCELLED, "the end came while %llu bytes of memory were waited for", (unsigned long long)size);
        }
    }
    return RAY_OK;
}

ray_status ray__share_get(ray__share *share, uint64_t size, int stop) {
    if (stop >= 0) {
        return ray__share_wait(share, size, stop);
    }
    return ray__share_take(share, size, 0) ? RAY_OK : ray__fail(RAY_AGAIN, "there is no memory now for %llu bytes", (unsigned long long)size);
}

void ray__share_give(ray__share *share, uint64_t size) {
    ray__memory_gave(share->memory, size);
    pthread_mutex_lock(&share->lock);
    share->used -= size;
    // Those who wait want different sizes.
    pthread_cond_broadcast(&share->returned);
    pthread_mutex_unlock(&share->lock);
}
