// SPDX-License-Identifier: Apache-2.0
// Room on the disk, for those who have the file open.
#ifndef RAY_DISK_INTERNAL_H
#define RAY_DISK_INTERNAL_H

#include <sys/stat.h>

#include "raystore/file.h"

// What must stay free; see ray_disk_kept.
typedef struct ray__disk_limits {
    uint64_t reserve_bytes;
    uint32_t watermark_permille;
} ray__disk_limits;

ray_status ray__disk_of(int file, const char *path, ray_disk_info *disk) RAY_NODISCARD;

// RAY_OUT_OF_DISK, with needed, free and kept, unless so many bytes more can be written within the limits.
ray_status ray__disk_check(int file, const char *path, uint64_t needed, const ray__disk_limits *limits) RAY_NODISCARD;

// Whether a failure, by its errno, means that the disk or a quota is full.
bool ray__disk_is_full(int number);

// What a failed write of so many bytes means, by errno.
ray_status ray__disk_failure(int file, const char *path, uint64_t needed) RAY_NODISCARD;

static inline int64_t ray__mtime_of(const struct stat *info) {
    return (int64_t)info->st_mtim.tv_sec * 1000000000 + info->st_mtim.tv_nsec;
}

#endif
