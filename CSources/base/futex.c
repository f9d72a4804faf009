// SPDX-License-Identifier: Apache-2.0
#include "base/futex_internal.h"

#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

bool ray__futex_wait_bits(const uint32_t *word, uint32_t expected, uint64_t deadline_ns, uint32_t bits) {
    struct timespec deadline;
    struct timespec *until = NULL;
    if (deadline_ns != UINT64_MAX) {
        deadline.tv_sec = (time_t)(deadline_ns / 1000000000u);
        deadline.tv_nsec = (long)(deadline_ns % 1000000000u);
        until = &deadline;
    }
    // The bitset form takes an absolute time, so a signal or a vain wake does not lengthen the wait.
    long result = syscall(SYS_futex, word, FUTEX_WAIT_BITSET, expected, until, NULL, bits);
    return !(result == -1 && errno == ETIMEDOUT);
}

bool ray__futex_wait(const uint32_t *word, uint32_t expected, uint64_t deadline_ns) {
    return ray__futex_wait_bits(word, expected, deadline_ns, FUTEX_BITSET_MATCH_ANY);
}

void ray__futex_wake_bits(uint32_t *word, uint32_t bits) {
    syscall(SYS_futex, word, FUTEX_WAKE_BITSET, INT_MAX, NULL, NULL, bits);
}

void ray__futex_wake_all(uint32_t *word) {
    syscall(SYS_futex, word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
}

void ray__futex_wake_one(uint32_t *word) {
    syscall(SYS_futex, word, FUTEX_WAKE, 1, NULL, NULL, 0);
}
