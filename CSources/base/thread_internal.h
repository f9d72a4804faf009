// SPDX-License-Identifier: Apache-2.0
// Starting a thread of the library.
#ifndef RAY_BASE_THREAD_INTERNAL_H
#define RAY_BASE_THREAD_INTERNAL_H

#include <pthread.h>

#include "raystore/status.h"

// Starts a thread in which the program's signals are blocked: its handlers run on its own threads. That also keeps SIGPIPE away:
// sendfile has no flag for it, and one that stays pending in this thread ends with it. The name has 15 bytes at most.
ray_status ray__thread_start(pthread_t *thread, const char *name, void *(*body)(void *), void *argument);

#endif
