// SPDX-License-Identifier: Apache-2.0
#include "base/fork_internal.h"

#include <pthread.h>

uint32_t ray__fork_count;

static pthread_once_t once = PTHREAD_ONCE_INIT;

static void child_began(void) {
    ray__shm_store32_relaxed(&ray__fork_count, ray__shm_load32_relaxed(&ray__fork_count) + 1);
}

static void watch(void) {
    // Without memory for the handler a fork would go unseen; the handles still work in this process.
    (void)pthread_atfork(NULL, NULL, child_began);
}

void ray__fork_watch(void) {
    pthread_once(&once, watch);
}
