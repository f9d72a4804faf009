// SPDX-License-Identifier: Apache-2.0
#include "base/identity_internal.h"

#include "base/checksum_internal.h"
#include "base/clock_internal.h"
#include "base/error_internal.h"
#include "raystore/file.h"

// The kernel takes a file's times from a clock that moves every 1 to 10 ms.
#define STEP_NS 20000000

static int64_t ns_of(const struct timespec *time) {
    return (int64_t)time->tv_sec * 1000000000 + time->tv_nsec;
}

uint64_t ray__file_identity(const struct stat *info) {
    const uint64_t facts[] = {(uint64_t)info->st_dev, (uint64_t)info->st_ino, (uint64_t)info->st_size, (uint64_t)ns_of(&info->st_mtim),
                              (uint64_t)ns_of(&info->st_ctim)};
    return ray__checksum_of(facts, sizeof facts) | 1;
}

uint64_t ray__file_number(const struct stat *info) {
    const uint64_t facts[] = {(uint64_t)info->st_dev, (uint64_t)info->st_ino};
    return ray__checksum_of(facts, sizeof facts) | 1;
}

int64_t ray__file_settled_ns(const struct stat *info) {
    return ns_of(&info->st_ctim) + STEP_NS;
}

ray_status ray_file_identity(const char *path, uint64_t *identity) {
    struct stat info;
    *identity = 0;
    if (stat(path, &info) != 0) {
        return ray__fail_errno(RAY_SYSTEM, "looking at %s", path);
    }
    if (!S_ISREG(info.st_mode)) {
        return ray__fail(RAY_NOT_A_FILE, "%s is not a regular file", path);
    }
    if (ray__wall_ns() < ray__file_settled_ns(&info)) {
        return ray__fail(RAY_AGAIN, "%s was changed just now, so its times do not tell it from what it may be next", path);
    }
    *identity = ray__file_identity(&info);
    return RAY_OK;
}
