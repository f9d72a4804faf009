// SPDX-License-Identifier: Apache-2.0
#include "base/process_internal.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

ray__thread_state ray__thread_state_of(int64_t pid, uint32_t tid) {
    char path[64];
    char text[128]; // number, name in brackets of at most 64 bytes, state
    snprintf(path, sizeof path, "/proc/%lld/task/%u/stat", (long long)pid, tid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return RAY__THREAD_NONE;
    }
    ssize_t length = read(fd, text, sizeof text - 1);
    close(fd);
    if (length <= 0) {
        return RAY__THREAD_NONE;
    }
    text[length] = '\0';
    const char *name_end = strrchr(text, ')'); // a name may have brackets, what follows it has none
    if (name_end == NULL || name_end[1] == '\0') {
        return RAY__THREAD_NONE;
    }
    return name_end[2] == 'T' ? RAY__THREAD_STOPPED : RAY__THREAD_RUNS;
}

int ray__process_open(int64_t pid) {
    return pid <= 0 ? -1 : (int)syscall(SYS_pidfd_open, (pid_t)pid, 0);
}

bool ray__process_kill(int process_fd) {
    return syscall(SYS_pidfd_send_signal, process_fd, SIGKILL, NULL, 0) == 0;
}
