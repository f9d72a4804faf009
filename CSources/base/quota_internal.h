// SPDX-License-Identifier: Apache-2.0
// The control group that limits how much of the cores this process gets: a container's, mostly. Both versions of control groups.
#ifndef RAY_BASE_QUOTA_INTERNAL_H
#define RAY_BASE_QUOTA_INTERNAL_H

#include <stdint.h>

#define RAY__QUOTA_PATH_MAX 512u

typedef struct ray__quota {
    char path[RAY__QUOTA_PATH_MAX]; // the group's folder; "": there is none
    uint32_t version;               // 1 or 2
} ray__quota;

// Finds the one that limits it most, of its own group and those around it; its own, if none does. groups and mounts are files as
// /proc/self/cgroup and /proc/self/mountinfo are.
void ray__quota_find(ray__quota *quota, const char *groups, const char *mounts);
// So much time of cores as so many cores have; 0: there is no limit. Read anew each time.
double ray__quota_cores(const ray__quota *quota);
// Nanoseconds of a core that all in the group have used; 0: the kernel does not tell.
uint64_t ray__quota_used_ns(const ray__quota *quota);

#endif
