// SPDX-License-Identifier: Apache-2.0
// Copying large data into the store with a second thread.
#include <pthread.h>
#include <signal.h>
#include <string.h>

#include "plasma/store_internal.h"

// One core does not saturate the memory of most machines. Below this size making a thread costs more than it saves.
#define SPLIT_BYTES (8u << 20)

typedef struct part {
    uint8_t *to;
    const uint8_t *from;
    uint64_t size;
} part;

static void *copy_part(void *argument) {
    const part *p = argument;
    memcpy(p->to, p->from, p->size);
    return NULL;
}

// The helper must not run the program's signal handlers.
static bool start_helper(part *p, pthread_t *thread) {
    sigset_t all;
    sigset_t before;
    sigfillset(&all);
    if (pthread_sigmask(SIG_SETMASK, &all, &before) != 0) {
        return false;
    }
    int error = pthread_create(thread, NULL, copy_part, p);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error == 0;
}

void ray__copy(uint8_t *to, const uint8_t *from, uint64_t size_bytes) {
    if (size_bytes < SPLIT_BYTES) {
        memcpy(to, from, size_bytes);
        return;
    }
    uint64_t half = size_bytes / 2 / RAY__PAGE * RAY__PAGE;
    part second = {to + half, from + half, size_bytes - half};
    pthread_t thread;
    if (!start_helper(&second, &thread)) {
        memcpy(to, from, size_bytes); // no thread to be had: alone it takes longer, nothing else
        return;
    }
    memcpy(to, from, half);
    pthread_join(thread, NULL);
}
