// SPDX-License-Identifier: Apache-2.0
// Threads of the library, and how they wait for each other.
#ifndef RAY_BASE_THREAD_INTERNAL_H
#define RAY_BASE_THREAD_INTERNAL_H

#include <pthread.h>

#include "raystore/status.h"

// Starts a thread in which the program's signals are blocked: its handlers run on its own threads. That also keeps SIGPIPE away:
// sendfile has no flag for it, and one that stays pending in this thread ends with it. The name has 15 bytes at most.
ray_status ray__thread_start(pthread_t *thread, const char *name, void *(*body)(void *), void *argument);

// A condition whose deadlines are those of clock_internal.h: a change of the wall clock neither ends nor lengthens a wait.
void ray__cond_init(pthread_cond_t *condition);
// Waits until woken or until the deadline, UINT64_MAX: for ever; may return for no reason. With the lock.
void ray__cond_wait_until(pthread_cond_t *condition, pthread_mutex_t *lock, uint64_t deadline_ns);

#endif
