// SPDX-License-Identifier: Apache-2.0
#include "base/thread_internal.h"

#include <errno.h>
#include <signal.h>
#include <stddef.h>
#include <time.h>

#include "base/error_internal.h"

ray_status ray__thread_start(pthread_t *thread, const char *name, void *(*body)(void *), void *argument) {
    sigset_t blocked;
    sigset_t kept;
    sigfillset(&blocked);
    // A fault of the thread itself must reach the program's handler, if it has one.
    static const int faults[] = {SIGSEGV, SIGBUS, SIGFPE, SIGILL, SIGABRT, SIGTRAP};
    for (size_t i = 0; i < sizeof faults / sizeof *faults; i++) {
        sigdelset(&blocked, faults[i]);
    }
    // A new thread inherits the mask of its maker; set it before, so that no moment is left.
    pthread_sigmask(SIG_SETMASK, &blocked, &kept);
    int failure = pthread_create(thread, NULL, body, argument);
    pthread_sigmask(SIG_SETMASK, &kept, NULL);
    if (failure != 0) {
        errno = failure;
        return ray__fail_errno(RAY_SYSTEM, "cannot start the thread %s; raise the limit of processes (ulimit -u)", name);
    }
    (void)pthread_setname_np(*thread, name);
    return RAY_OK;
}

void ray__cond_init(pthread_cond_t *condition) {
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(condition, &monotonic);
    pthread_condattr_destroy(&monotonic);
}

void ray__cond_wait_until(pthread_cond_t *condition, pthread_mutex_t *lock, uint64_t deadline_ns) {
    if (deadline_ns == UINT64_MAX) {
        pthread_cond_wait(condition, lock);
        return;
    }
    struct timespec until = {(time_t)(deadline_ns / 1000000000u), (long)(deadline_ns % 1000000000u)};
    pthread_cond_timedwait(condition, lock, &until);
}
