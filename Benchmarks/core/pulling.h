// SPDX-License-Identifier: Apache-2.0
// A pull that is waited for.
#ifndef RAY_BENCH_PULLING_H
#define RAY_BENCH_PULLING_H

#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "measuring.h"

// The context of a pull's callbacks, or the first member of it.
typedef struct waiter {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool done;
    ray_status status;
    char message[512];
    ray_transfer_progress progress; // the last
} waiter;

static inline void waiter_begin(waiter *w) {
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&w->lock, NULL);
    pthread_cond_init(&w->changed, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

static inline void waiter_done(void *context, ray_status status, const char *message, const ray_transfer_progress *progress) {
    waiter *w = context;
    pthread_mutex_lock(&w->lock);
    w->status = status;
    snprintf(w->message, sizeof w->message, "%s", message);
    w->progress = *progress;
    w->done = true;
    pthread_cond_signal(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

// Waits until the pull is done, or until the time.
static inline void waiter_wait_until(waiter *w, double until) {
    struct timespec at = {(time_t)until, (long)((until - (double)(time_t)until) * 1e9)};
    pthread_mutex_lock(&w->lock);
    while (!w->done && pthread_cond_timedwait(&w->changed, &w->lock, &at) != ETIMEDOUT) {
    }
    pthread_mutex_unlock(&w->lock);
}

// Waits until the pull is done, lets go of it, and gives up unless it brought everything. Answers when it was done.
static inline double waiter_finish(waiter *w, ray_pull *pull) {
    pthread_mutex_lock(&w->lock);
    while (!w->done) {
        pthread_cond_wait(&w->changed, &w->lock);
    }
    pthread_mutex_unlock(&w->lock);
    double end = now();
    ray_pull_release(pull);
    if (w->status != RAY_OK) {
        fail(ray_status_name(w->status), w->message);
    }
    pthread_cond_destroy(&w->changed);
    pthread_mutex_destroy(&w->lock);
    return end;
}

#endif
