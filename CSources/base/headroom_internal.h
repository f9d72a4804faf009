// SPDX-License-Identifier: Apache-2.0
// What of the machine's cores this process could use now: by its affinity, by the quota of its control group, and by what others use.
#ifndef RAY_BASE_HEADROOM_INTERNAL_H
#define RAY_BASE_HEADROOM_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "base/cores_internal.h"
#include "base/quota_internal.h"

// What is known at a time, in thousandths of a core.
typedef struct ray__free_cores {
    uint32_t allowed; // that it may use at most; 0: nothing is known yet
    uint32_t unused;  // of which nobody uses; RAY__SPARE_UNKNOWN: nobody has looked for a while
    uint32_t own;     // of which it uses itself
} ray__free_cores;
#define RAY__SPARE_UNKNOWN UINT32_MAX

typedef struct ray__headroom {
    pthread_mutex_t lock; // of who looks; a leaf
    ray__quota quota;
    ray__cores cores;     // when it was looked last
    uint64_t group_ns;
    uint64_t process_ns;
    uint64_t looked_ns;
    _Atomic uint64_t due_ns; // when to look again
    _Atomic uint32_t allowed;
    _Atomic uint32_t unused;
    _Atomic uint32_t own;
} ray__headroom;

void ray__headroom_init(ray__headroom *headroom);
void ray__headroom_end(ray__headroom *headroom);
// Looks at most every 50 ms, and tells of the time since the look before, if that was not long ago. Cheap meanwhile, for any thread.
void ray__headroom_now(ray__headroom *headroom, uint64_t now_ns, ray__free_cores *spare);

// For that and for tests: what the parts make together, of cores (allowed by affinity, and idle) and time that was used in the span.
typedef struct ray__headroom_span {
    double cores;        // that it may run on
    double idle;         // of these
    double quota;        // 0: none
    double group_used;   // cores that its control group used
    double process_used; // that it used itself
} ray__headroom_span;
void ray__headroom_judge(const ray__headroom_span *span, ray__free_cores *spare);

#endif
