// SPDX-License-Identifier: Apache-2.0
#include "base/cores_internal.h"

#include <fcntl.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

bool ray__cores_read(ray__cores *cores) {
    // The first line is all that is read: "cpu  user nice system idle iowait irq softirq steal ...".
    char text[256];
    int file = open("/proc/stat", O_RDONLY | O_CLOEXEC);
    if (file < 0) {
        return false;
    }
    ssize_t size = read(file, text, sizeof text - 1);
    close(file);
    if (size <= 0) {
        return false;
    }
    text[size] = '\0';
    unsigned long long v[8] = {0};
    int found = sscanf(text, "cpu %llu %llu %llu %llu %llu %llu %llu %llu", &v[0], &v[1], &v[2], &v[3], &v[4], &v[5], &v[6], &v[7]);
    if (found < 4) {
        return false;
    }
    *cores = (ray__cores){.idle = v[3] + v[4], .total = 0};
    for (int i = 0; i < 8; i++) {
        cores->total += v[i];
    }
    return true;
}

uint64_t ray__thread_core_ns(void) {
    struct timespec used;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    return (uint64_t)used.tv_sec * 1000000000u + (uint64_t)used.tv_nsec;
}
