// SPDX-License-Identifier: Apache-2.0
#include "transfer/thread_internal.h"

#include <signal.h>
#include <stddef.h>

int ray__thread_start(pthread_t *thread, void *(*run)(void *context), void *context) {
    sigset_t blocked;
    sigset_t kept;
    sigfillset(&blocked);
    // A fault of the thread itself must reach the program's handler, if it has one.
    sigdelset(&blocked, SIGSEGV);
    sigdelset(&blocked, SIGBUS);
    sigdelset(&blocked, SIGFPE);
    sigdelset(&blocked, SIGILL);
    sigdelset(&blocked, SIGABRT);
    sigdelset(&blocked, SIGTRAP);
    // A new thread inherits the mask of its maker; set it before, so that no moment is left.
    pthread_sigmask(SIG_SETMASK, &blocked, &kept);
    int result = pthread_create(thread, NULL, run, context);
    pthread_sigmask(SIG_SETMASK, &kept, NULL);
    return result;
}
