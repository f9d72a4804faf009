// SPDX-License-Identifier: Apache-2.0
// Other processes of this machine, as /proc shows them.
#ifndef RAY_BASE_PROCESS_INTERNAL_H
#define RAY_BASE_PROCESS_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

typedef enum ray__thread_state { RAY__THREAD_NONE, RAY__THREAD_RUNS, RAY__THREAD_STOPPED } ray__thread_state;

// Whether the process has such a thread, and whether a signal stopped it (not a debugger, which lets it go on by itself).
ray__thread_state ray__thread_state_of(int64_t pid, uint32_t tid);

// A descriptor of the process, which no later one with the same number answers to; -1 when there is none.
int ray__process_open(int64_t pid);
// SIGKILL.
bool ray__process_kill(int process_fd);

#endif
