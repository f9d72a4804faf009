// SPDX-License-Identifier: Apache-2.0
#include "base/cores_internal.h"

#include <fcntl.h>
#include <sched.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

// Enough for some 300 cores; of a machine with more, the first ones stand for all.
#define STAT_MAX 16384

// Reads all of a file, or as much as there is room for; answers the size, and ends it with a NUL.
static size_t read_text(const char *path, char *text, size_t capacity) {
    int file = open(path, O_RDONLY | O_CLOEXEC);
    if (file < 0) {
        return 0;
    }
    size_t size = 0;
    ssize_t got = 1;
    while (got > 0 && size + 1 < capacity) {
        got = read(file, text + size, capacity - 1 - size);
        size += got > 0 ? (size_t)got : 0;
    }
    close(file);
    text[size] = '\0';
    return size;
}

// "user nice system idle iowait irq softirq steal ..."
static bool add_ticks(const char *numbers, ray__cores *cores) {
    uint64_t ticks[8] = {0};
    uint32_t found = 0;
    for (const char *at = numbers; found < 8; found++) {
        char *end;
        ticks[found] = strtoull(at, &end, 10);
        if (end == at) {
            break;
        }
        at = end;
    }
    if (found < 4) {
        return false;
    }
    cores->idle += ticks[3] + ticks[4];
    for (uint32_t i = 0; i < 8; i++) {
        cores->total += ticks[i];
    }
    return true;
}

bool ray__cores_read(ray__cores *cores) {
    char text[STAT_MAX];
    cpu_set_t allowed;
    *cores = (ray__cores){0};
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0 || read_text("/proc/stat", text, sizeof text) == 0) {
        return false;
    }
    // A line for all of them, "cpu  ...", and then one for each, "cpu0 ...", which is whole if another follows.
    for (char *line = text, *end = strchr(line, '\n'); end != NULL && strncmp(line, "cpu", 3) == 0; line = end + 1, end = strchr(line, '\n')) {
        char *numbers;
        unsigned long number = strtoul(line + 3, &numbers, 10);
        if (numbers != line + 3 && line[3] != ' ' && number < CPU_SETSIZE && CPU_ISSET(number, &allowed) && !add_ticks(numbers, cores)) {
            return false;
        }
    }
    cores->count = (uint32_t)CPU_COUNT(&allowed);
    return cores->total > 0;
}

uint64_t ray__thread_core_ns(void) {
    struct timespec used;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
    return (uint64_t)used.tv_sec * 1000000000u + (uint64_t)used.tv_nsec;
}

uint64_t ray__process_core_ns(void) {
    struct timespec used;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &used);
    return (uint64_t)used.tv_sec * 1000000000u + (uint64_t)used.tv_nsec;
}
