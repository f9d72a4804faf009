// SPDX-License-Identifier: Apache-2.0
// Starting a thread of the library.
#ifndef RAY_TRANSFER_THREAD_INTERNAL_H
#define RAY_TRANSFER_THREAD_INTERNAL_H

#include <pthread.h>

// Starts a thread in which the program's signals are blocked: they belong to the program's own threads. That also keeps SIGPIPE away:
// sendfile has no flag for it, and one that stays pending in this thread ends with it. Answers 0 or an errno.
int ray__thread_start(pthread_t *thread, void *(*run)(void *context), void *context);

#endif
