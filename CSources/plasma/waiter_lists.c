// SPDX-License-Identifier: Apache-2.0
// A waiter's memory, and its heap of deadlines.
#include <stdlib.h>

#include "plasma/waiter_internal.h"

ray_status ray__waiter_grow(ray_waiter *w) {
    uint32_t after = w->capacity == 0 ? 64 : 2 * w->capacity;
    if (after > RAY__WAITS_MAX) {
        return ray__fail(RAY_AGAIN, "%u waits of this waiter are open, which is the most; let some of them end", w->capacity);
    }
    ray__waiting *waits = realloc(w->waits, after * sizeof *waits);
    w->waits = waits != NULL ? waits : w->waits;
    uint32_t *heap = realloc(w->heap, after * sizeof *heap);
    w->heap = heap != NULL ? heap : w->heap;
    if (waits == NULL || heap == NULL) {
        return ray__fail(RAY_OUT_OF_MEMORY, "no memory for %u waits", after);
    }
    for (uint32_t at = w->capacity; at < after; at++) {
        waits[at] = (ray__waiting){.after = at + 1 < after ? at + 1 : w->free_wait};
    }
    w->free_wait = w->capacity;
    w->capacity = after;
    return RAY_OK;
}

void ray__waiter_free_lists(ray_waiter *w) {
    free(w->waits);
    free(w->heap);
}

static bool is_earlier(const ray_waiter *w, uint32_t a, uint32_t b) {
    return w->waits[w->heap[a]].deadline_ns < w->waits[w->heap[b]].deadline_ns;
}

static void put(ray_waiter *w, uint32_t place, uint32_t at) {
    w->heap[place] = at;
    w->waits[at].heap_place = place;
}

static void exchange(ray_waiter *w, uint32_t a, uint32_t b) {
    uint32_t at = w->heap[a];
    put(w, a, w->heap[b]);
    put(w, b, at);
}

static void sift_up(ray_waiter *w, uint32_t place) {
    while (place > 0 && is_earlier(w, place, (place - 1) / 2)) {
        exchange(w, place, (place - 1) / 2);
        place = (place - 1) / 2;
    }
}

static void sift_down(ray_waiter *w, uint32_t place) {
    for (;;) {
        uint32_t earliest = place;
        for (uint32_t child = 2 * place + 1; child <= 2 * place + 2; child++) {
            if (child < w->heap_count && is_earlier(w, child, earliest)) {
                earliest = child;
            }
        }
        if (earliest == place) {
            return;
        }
        exchange(w, place, earliest);
        place = earliest;
    }
}

void ray__waiter_heap_add(ray_waiter *w, uint32_t at) {
    put(w, w->heap_count, at);
    sift_up(w, w->heap_count++);
}

void ray__waiter_heap_remove(ray_waiter *w, uint32_t at) {
    uint32_t place = w->waits[at].heap_place;
    if (place == RAY__NO_WAIT) {
        return;
    }
    w->waits[at].heap_place = RAY__NO_WAIT;
    w->heap_count--;
    if (place != w->heap_count) {
        put(w, place, w->heap[w->heap_count]);
        sift_up(w, place);
        sift_down(w, place);
    }
}
