// SPDX-License-Identifier: Apache-2.0
// A control group of the kernel's with a quota of core time, where this user may make one. It is gone when the process that made it exits,
// also by a check that failed.
#ifndef RAY_TESTS_CONTROL_GROUP_H
#define RAY_TESTS_CONTROL_GROUP_H

#include <fcntl.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char control_group_path[128];
static pid_t control_group_maker;

static inline bool control_group_write(const char *name, const char *text) {
    char path[256];
    snprintf(path, sizeof path, "%s/%s", control_group_path, name);
    int file = open(path, O_WRONLY | O_CLOEXEC);
    bool written = file >= 0 && write(file, text, strlen(text)) == (ssize_t)strlen(text);
    if (file >= 0) {
        close(file);
    }
    return written;
}

// Whoever is in it must have ended. Whether it is gone.
static inline bool control_group_remove(void) {
    if (control_group_path[0] == '\0' || getpid() != control_group_maker) {
        return true;
    }
    bool gone = rmdir(control_group_path) == 0;
    control_group_path[0] = '\0';
    return gone;
}

static void control_group_forget(void) {
    (void)control_group_remove();
}

static inline bool control_group_try(const char *parent, const char *name, const char *text) {
    snprintf(control_group_path, sizeof control_group_path, "%s/raystore-test-%d", parent, (int)getpid());
    control_group_maker = getpid();
    if (mkdir(control_group_path, 0700) != 0) {
        control_group_path[0] = '\0';
        return false;
    }
    if (!control_group_write(name, text)) {
        (void)control_group_remove();
        return false;
    }
    return true;
}

// So many microseconds of core time in each 100 ms, by the kernel's second version of control groups or its first.
static inline bool control_group_make(uint32_t quota_us) {
    char text[64];
    snprintf(text, sizeof text, "%u 100000", quota_us);
    bool made = control_group_try("/sys/fs/cgroup", "cpu.max", text);
    if (!made) {
        snprintf(text, sizeof text, "%u", quota_us);
        made = control_group_try("/sys/fs/cgroup/cpu", "cpu.cfs_quota_us", text);
    }
    return made && atexit(control_group_forget) == 0;
}

static inline bool control_group_enter(void) {
    char id[32];
    snprintf(id, sizeof id, "%d", (int)getpid());
    return control_group_write("cgroup.procs", id);
}

#endif
