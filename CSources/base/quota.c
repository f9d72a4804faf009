// SPDX-License-Identifier: Apache-2.0
#include "base/quota_internal.h"

#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// The first bytes of a file of a group's folder. False when there is none.
static bool read_file(const ray__quota *quota, const char *name, char *text, size_t capacity) {
    char path[RAY__QUOTA_PATH_MAX + 32];
    snprintf(path, sizeof path, "%s/%s", quota->path, name);
    int file = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = file < 0 ? -1 : read(file, text, capacity - 1);
    if (file >= 0) {
        close(file);
    }
    text[got > 0 ? got : 0] = '\0';
    return got > 0;
}

double ray__quota_cores(const ray__quota *quota) {
    char text[64];
    double limit = 0;
    double period = 0;
    if (quota->path[0] == '\0') {
        return 0;
    }
    if (quota->version == 2) {
        // "max 100000" or "50000 100000"
        if (!read_file(quota, "cpu.max", text, sizeof text) || sscanf(text, "%lf %lf", &limit, &period) != 2) {
            return 0;
        }
    } else {
        // -1: no limit
        limit = read_file(quota, "cpu.cfs_quota_us", text, sizeof text) ? strtod(text, NULL) : 0;
        period = read_file(quota, "cpu.cfs_period_us", text, sizeof text) ? strtod(text, NULL) : 0;
    }
    return limit > 0 && period > 0 ? limit / period : 0;
}

uint64_t ray__quota_used_ns(const ray__quota *quota) {
    char text[256];
    if (quota->path[0] == '\0') {
        return 0;
    }
    if (quota->version == 1) {
        // Where both controllers are mounted together, as they mostly are.
        return read_file(quota, "cpuacct.usage", text, sizeof text) ? strtoull(text, NULL, 10) : 0;
    }
    static const char key[] = "usage_usec ";
    const char *at = read_file(quota, "cpu.stat", text, sizeof text) ? strstr(text, key) : NULL;
    return at == NULL ? 0 : strtoull(at + sizeof key - 1, NULL, 10) * 1000;
}

// Whether a list with commas has this word.
static bool lists(const char *list, const char *word) {
    size_t length = strlen(word);
    for (const char *at = strstr(list, word); at != NULL; at = strstr(at + 1, word)) {
        bool begins = at == list || at[-1] == ',';
        if (begins && (at[length] == '\0' || at[length] == ',')) {
            return true;
        }
    }
    return false;
}

// "4:cpu,cpuacct:/a/group" of version 1, "0::/a/group" of version 2. Takes the line's end off.
static const char *group_of(char *line, uint32_t version) {
    line[strcspn(line, "\n")] = '\0';
    char *controllers = strchr(line, ':');
    char *path = controllers == NULL ? NULL : strchr(controllers + 1, ':');
    if (path == NULL) {
        return NULL;
    }
    *path++ = '\0';
    bool is_it = version == 2 ? strncmp(line, "0:", 2) == 0 && controllers[1] == '\0' : lists(controllers + 1, "cpu");
    return is_it ? path : NULL;
}

static bool find_group(const char *groups, uint32_t version, char *group) {
    FILE *file = fopen(groups, "re");
    char line[RAY__QUOTA_PATH_MAX];
    bool found = false;
    while (file != NULL && !found && fgets(line, sizeof line, file) != NULL) {
        const char *path = group_of(line, version);
        found = path != NULL;
        snprintf(group, RAY__QUOTA_PATH_MAX, "%s", found ? path : "");
    }
    if (file != NULL) {
        fclose(file);
    }
    return found;
}

// "31 23 0:28 / /sys/fs/cgroup/cpu rw,relatime shared:1 - cgroup cgroup rw,cpu": the fifth field, and behind the dash the kind and,
// last, the options.
static bool find_mount(const char *mounts, uint32_t version, char *folder) {
    FILE *file = fopen(mounts, "re");
    char line[4096];
    bool found = false;
    while (file != NULL && !found && fgets(line, sizeof line, file) != NULL) {
        char at[RAY__QUOTA_PATH_MAX];
        char kind[32];
        char options[512];
        const char *behind = strstr(line, " - ");
        if (behind != NULL && sscanf(line, "%*s %*s %*s %*s %511s", at) == 1 && sscanf(behind, " - %31s %*s %511s", kind, options) == 2) {
            found = version == 2 ? strcmp(kind, "cgroup2") == 0 : strcmp(kind, "cgroup") == 0 && lists(options, "cpu");
            snprintf(folder, RAY__QUOTA_PATH_MAX, "%s", found ? at : "");
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    return found;
}

// Looks at the group and at those around it, up to the mount. In a container the group's name may be that of the machine outside, whose
// folders are not there: the mount is then the container's own.
static void look_at_groups(ray__quota *quota, uint32_t version, const char *mount, char *group) {
    double least = ray__quota_cores(quota);
    for (;;) {
        ray__quota here = {.version = version};
        size_t length = strlen(group);
        while (length > 0 && group[length - 1] == '/') {
            group[--length] = '\0';
        }
        if ((size_t)snprintf(here.path, sizeof here.path, "%s%s", mount, group) < sizeof here.path && access(here.path, F_OK) == 0) {
            double cores = ray__quota_cores(&here);
            if (quota->path[0] == '\0' || (cores > 0 && (least <= 0 || cores < least))) {
                *quota = here;
                least = cores;
            }
        }
        char *last = strrchr(group, '/');
        if (last == NULL) {
            return;
        }
        *last = '\0';
    }
}

void ray__quota_find(ray__quota *quota, const char *groups, const char *mounts) {
    memset(quota, 0, sizeof *quota);
    // On a machine with both versions the controller belongs to one of them.
    for (uint32_t version = 1; version <= 2; version++) {
        char group[RAY__QUOTA_PATH_MAX];
        char mount[RAY__QUOTA_PATH_MAX];
        if (find_group(groups, version, group) && find_mount(mounts, version, mount)) {
            look_at_groups(quota, version, mount, group);
        }
    }
}
