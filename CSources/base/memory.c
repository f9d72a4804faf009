// SPDX-License-Identifier: Apache-2.0
// How much memory is left: of the machine, and of the control groups that this process is in.
//
// A container's limit is a control group's. Who goes beyond it is killed, and neither fallocate nor a fault says so before; so
// each limit from the process's own group up to the root is looked at, of version 2 and of version 1 of the hierarchy.
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/error_internal.h"
#include "base/shm_internal.h"

// One part in so many of a limit is left to others: what the kernel counts as available is an estimate, and what others ask
// for next is not in it. Ray kills workers at the same 95 %.
#define MARGIN_PART 20u

#define GROUP_PATH_MAX 1024u

// Where memory is shortest: what may still be taken there, margin off.
typedef struct room {
    uint64_t left;
    uint64_t margin;
    char where[GROUP_PATH_MAX + 1]; // always ends with 0
} room;

// How one version of the hierarchy names things.
typedef struct dialect {
    const char *limit;
    const char *usage;
    const char *inactive;
    const char *active;
} dialect;

static const dialect version_2 = {"memory.max", "memory.current", "\ninactive_file ", "\nactive_file "};
static const dialect version_1 = {"memory.limit_in_bytes", "memory.usage_in_bytes", "\ntotal_inactive_file ",
                                  "\ntotal_active_file "};

// The beginning of a file as text. False if there is none.
static bool read_text(const char *path, char *text, size_t size) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return false;
    }
    size_t length = 0;
    ssize_t got;
    while (length < size - 1 && (got = read(fd, text + length, size - 1 - length)) > 0) {
        length += (size_t)got;
    }
    ray__fd_close(fd);
    text[length] = '\0';
    return length != 0;
}

static uint64_t number_after(const char *text, const char *name, uint64_t missing) {
    const char *found = strstr(text, name);
    return found == NULL ? missing : strtoull(found + strlen(name), NULL, 10);
}

static void narrow(room *least, const char *where, uint64_t limit, uint64_t available) {
    uint64_t margin = limit / MARGIN_PART;
    uint64_t left = available < margin ? 0 : available - margin;
    if (left < least->left) {
        least->left = left;
        least->margin = margin;
        strncpy(least->where, where, sizeof least->where - 1);
    }
}

static void look_at_machine(room *least) {
    char text[512]; // MemTotal is the first line, MemAvailable the third
    if (!read_text("/proc/meminfo", text, sizeof text)) {
        return; // without /proc there is nothing to go by
    }
    uint64_t total = number_after(text, "MemTotal:", UINT64_MAX / 1024u) * 1024u;
    uint64_t available = number_after(text, "MemAvailable:", UINT64_MAX / 1024u) * 1024u;
    narrow(least, "the machine", total, available);
}

static bool read_file(const char *folder, const char *name, char *text, size_t size) {
    char path[GROUP_PATH_MAX + 64];
    int length = snprintf(path, sizeof path, "%s/%s", folder, name);
    return length > 0 && (size_t)length < sizeof path && read_text(path, text, size);
}

static void look_at_group(const char *folder, const dialect *names, room *least) {
    char text[4096];
    if (!read_file(folder, names->limit, text, sizeof text) || text[0] < '0' || text[0] > '9') {
        return; // no controller here, or "max"
    }
    uint64_t limit = strtoull(text, NULL, 10);
    if (limit >= INT64_MAX / 4096 * 4096 || !read_file(folder, names->usage, text, sizeof text)) {
        return; // version 1 says "no limit" with its largest number
    }
    uint64_t used = strtoull(text, NULL, 10);
    // What is cached of files is given up before anybody is killed, as it is in MemAvailable.
    uint64_t cached = 0;
    text[0] = '\n'; // so that the first line has its end before it, too
    if (read_file(folder, "memory.stat", text + 1, sizeof text - 1)) {
        cached = number_after(text, names->inactive, 0) + number_after(text, names->active, 0);
    }
    used = cached < used ? used - cached : 0;
    narrow(least, folder, limit, used < limit ? limit - used : 0);
}

// From a group up to the root of what is mounted. A container may be shown a path that is not mounted for it: its own limit is at
// the root then.
static void climb(const char *mount, const char *group, size_t group_length, const dialect *names, room *least) {
    char folder[GROUP_PATH_MAX];
    size_t mount_length = strlen(mount);
    if (mount_length + group_length >= sizeof folder) {
        return;
    }
    memcpy(folder, mount, mount_length);
    memcpy(folder + mount_length, group, group_length);
    folder[mount_length + group_length] = '\0';
    for (;;) {
        look_at_group(folder, names, least);
        char *end = strrchr(folder, '/');
        if (end < folder + mount_length) {
            return;
        }
        *end = '\0';
    }
}

// Whether "4:cpu,memory:/path" is the line of the memory controller.
static bool names_memory(const char *controllers, size_t length) {
    const char *end = controllers + length;
    for (const char *at = controllers; at < end;) {
        const char *comma = memchr(at, ',', (size_t)(end - at));
        size_t size = (size_t)((comma == NULL ? end : comma) - at);
        if (size == 6 && memcmp(at, "memory", 6) == 0) {
            return true;
        }
        at += size + 1;
    }
    return false;
}

static void look_at_groups(room *least) {
    char text[8192];
    if (!read_text("/proc/self/cgroup", text, sizeof text)) {
        return;
    }
    char *next;
    for (char *line = text; line != NULL && *line != '\0'; line = next) {
        next = strchr(line, '\n');
        size_t length = next == NULL ? strlen(line) : (size_t)(next - line);
        next = next == NULL ? NULL : next + 1;
        const char *controllers = memchr(line, ':', length);
        const char *group = controllers == NULL
                                ? NULL
                                : memchr(controllers + 1, ':', (size_t)(line + length - (controllers + 1)));
        if (group == NULL) {
            continue;
        }
        size_t group_length = (size_t)(line + length - (group + 1));
        if (group == controllers + 1) {
            climb("/sys/fs/cgroup", group + 1, group_length, &version_2, least);
        } else if (names_memory(controllers + 1, (size_t)(group - (controllers + 1)))) {
            climb("/sys/fs/cgroup/memory", group + 1, group_length, &version_1, least);
        }
    }
}

static void look(room *least) {
    *least = (room){.left = UINT64_MAX};
    look_at_machine(least);
    look_at_groups(least);
}

uint64_t ray__memory_left(void) {
    room least;
    look(&least);
    return least.left;
}

ray_status ray__memory_check(uint64_t size_bytes) {
    room least;
    look(&least);
    if (least.left >= size_bytes) {
        return RAY_OK;
    }
    return ray__fail(RAY_OUT_OF_MEMORY,
                     "no memory for %llu bytes of the store: %llu are left, and %llu that stay free for others, of %s",
                     (unsigned long long)size_bytes, (unsigned long long)least.left, (unsigned long long)least.margin,
                     least.where);
}
