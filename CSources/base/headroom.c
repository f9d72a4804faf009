// SPDX-License-Identifier: Apache-2.0
#include "base/headroom_internal.h"

#include <string.h>

// The kernel counts what cores do in ticks of 1 to 10 ms.
#define LOOK_NS 50000000u
#define FIRST_LOOK_NS 25000000u // after one that says nothing yet
// A span that is longer says too little of now.
#define SPAN_MAX_NS 1000000000u

void ray__headroom_init(ray__headroom *headroom) {
    memset(headroom, 0, sizeof *headroom);
    pthread_mutex_init(&headroom->lock, NULL);
    ray__quota_find(&headroom->quota, "/proc/self/cgroup", "/proc/self/mountinfo");
}

void ray__headroom_end(ray__headroom *headroom) {
    pthread_mutex_destroy(&headroom->lock);
}

static uint32_t thousandths(double value, double limit) {
    double clipped = value < 0 ? 0 : value > limit ? limit : value;
    return (uint32_t)(clipped * 1000 + 0.5);
}

void ray__headroom_judge(const ray__headroom_span *span, ray__free_cores *spare) {
    double allowed = span->quota > 0 && span->quota < span->cores ? span->quota : span->cores;
    double unused = span->idle;
    if (span->quota > 0 && span->quota - span->group_used < unused) {
        unused = span->quota - span->group_used;
    }
    spare->allowed = thousandths(allowed, allowed);
    spare->allowed = spare->allowed == 0 ? 1 : spare->allowed;
    spare->unused = thousandths(unused, allowed);
    spare->own = thousandths(span->process_used, allowed);
}

static void look(ray__headroom *headroom, uint64_t now_ns) {
    ray__cores cores;
    if (!ray__cores_read(&cores)) {
        return; // nothing is known then, and nothing is made up
    }
    double quota = ray__quota_cores(&headroom->quota);
    uint64_t process_ns = ray__process_core_ns();
    uint64_t group_ns = quota > 0 ? ray__quota_used_ns(&headroom->quota) : 0;
    // Of a group that does not tell, what is known is what this process uses of it.
    group_ns = group_ns != 0 ? group_ns : process_ns;
    const ray__cores *before = &headroom->cores;
    uint64_t span_ns = now_ns - headroom->looked_ns;
    double seconds = (double)span_ns / 1e9;
    bool is_of_now = headroom->looked_ns != 0 && span_ns <= SPAN_MAX_NS && cores.total > before->total && cores.idle >= before->idle &&
                     cores.count == before->count && process_ns >= headroom->process_ns && group_ns >= headroom->group_ns;
    ray__headroom_span span = {.cores = cores.count, .quota = quota};
    ray__free_cores spare;
    if (is_of_now) {
        span.idle = cores.count * (double)(cores.idle - before->idle) / (double)(cores.total - before->total);
        span.group_used = (double)(group_ns - headroom->group_ns) / 1e9 / seconds;
        span.process_used = (double)(process_ns - headroom->process_ns) / 1e9 / seconds;
    }
    ray__headroom_judge(&span, &spare);
    atomic_store(&headroom->unused, is_of_now ? spare.unused : RAY__SPARE_UNKNOWN);
    atomic_store(&headroom->own, spare.own);
    atomic_store(&headroom->allowed, spare.allowed);
    headroom->cores = cores;
    headroom->group_ns = group_ns;
    headroom->process_ns = process_ns;
    headroom->looked_ns = now_ns;
}

void ray__headroom_now(ray__headroom *headroom, uint64_t now_ns, ray__free_cores *spare) {
    if (now_ns >= atomic_load(&headroom->due_ns) && pthread_mutex_trylock(&headroom->lock) == 0) {
        // Another thread may have looked meanwhile.
        if (now_ns >= atomic_load(&headroom->due_ns)) {
            look(headroom, now_ns);
            bool knows = atomic_load(&headroom->unused) != RAY__SPARE_UNKNOWN;
            atomic_store(&headroom->due_ns, now_ns + (knows ? LOOK_NS : FIRST_LOOK_NS));
        }
        pthread_mutex_unlock(&headroom->lock);
    }
    spare->allowed = atomic_load(&headroom->allowed);
    spare->unused = atomic_load(&headroom->unused);
    spare->own = atomic_load(&headroom->own);
}
