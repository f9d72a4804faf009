// SPDX-License-Identifier: Apache-2.0
// How much room a file system has, and how much of it is not to be taken.
#include "base/disk_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "base/error_internal.h"

static void fill(const struct statvfs *room, ray_disk_info *disk) {
    uint64_t unit = room->f_frsize;
    uint64_t used = room->f_blocks > room->f_bfree ? room->f_blocks - room->f_bfree : 0;
    disk->free_bytes = (uint64_t)room->f_bavail * unit;
    // As df counts: what only root may take is neither used nor free.
    disk->total_bytes = used * unit + disk->free_bytes;
}

ray_status ray_disk_look(const char *path, ray_disk_info *disk) {
    struct statvfs room;
    *disk = (ray_disk_info){0, 0};
    if (statvfs(path, &room) != 0) {
        return ray__fail_errno(RAY_SYSTEM, "file system of %s", path);
    }
    fill(&room, disk);
    return RAY_OK;
}

ray_status ray__disk_of(int file, const char *path, ray_disk_info *disk) {
    struct statvfs room;
    *disk = (ray_disk_info){0, 0};
    if (fstatvfs(file, &room) != 0) {
        return ray__fail_errno(RAY_SYSTEM, "file system of %s", path);
    }
    fill(&room, disk);
    return RAY_OK;
}

uint64_t ray_disk_kept(const ray_disk_info *disk, uint64_t reserve_bytes, uint32_t watermark_permille) {
    if (watermark_permille == 0 || watermark_permille >= 1000) {
        return reserve_bytes;
    }
    uint64_t above = disk->total_bytes / 1000 * (1000 - watermark_permille);
    return above > reserve_bytes ? above : reserve_bytes;
}

uint64_t ray_file_allocated(const char *path) {
    struct stat info;
    return lstat(path, &info) == 0 ? (uint64_t)info.st_blocks * 512 : 0;
}

ray_status ray__disk_check(int file, const char *path, uint64_t needed, const ray__disk_limits *limits) {
    ray_disk_info disk;
    RAY_TRY(ray__disk_of(file, path, &disk));
    uint64_t kept = ray_disk_kept(&disk, limits->reserve_bytes, limits->watermark_permille);
    // A pseudo file system that counts no blocks cannot say.
    if (disk.total_bytes == 0 || (disk.free_bytes >= kept && disk.free_bytes - kept >= needed)) {
        return RAY_OK;
    }
    return ray__fail(RAY_OUT_OF_DISK,
                     "no room for %s: %" PRIu64 " bytes needed, %" PRIu64 " free, of which %" PRIu64
                     " are kept in reserve; make room or choose another place",
                     path, needed, disk.free_bytes, kept);
}

bool ray__disk_is_full(int number) {
    return number == ENOSPC || number == EDQUOT || number == EFBIG;
}

ray_status ray__disk_failure(int file, const char *path, uint64_t needed) {
    int number = errno;
    if (!ray__disk_is_full(number)) {
        return ray__fail_errno(RAY_SYSTEM, "writing %s", path);
    }
    ray_disk_info disk;
    if (ray__disk_of(file, path, &disk) != RAY_OK) {
        errno = number;
        return ray__fail_errno(RAY_OUT_OF_DISK, "writing %s", path);
    }
    errno = number;
    return ray__fail_errno(RAY_OUT_OF_DISK, "%s needs %" PRIu64 " bytes, its disk has %" PRIu64 " free; make room or choose another place",
                           path, needed, disk.free_bytes);
}
