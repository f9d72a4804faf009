// SPDX-License-Identifier: Apache-2.0
#include "raystore/file.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <linux/fs.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/disk_internal.h"
#include "base/error_internal.h"

enum { BUFFER_SIZE = 1 << 20 };

static ray_file_info info_of(const struct stat *status) {
    return (ray_file_info){
        .size_bytes = (uint64_t)status->st_size, .mtime_ns = ray__mtime_of(status), .mode = status->st_mode & 07777u};
}

static ray_status refuse(const char *path) {
    switch (errno) {
    case ENOENT:
    case ENOTDIR:
        return ray__fail_errno(RAY_FILE_NOT_FOUND, "file %s", path);
    case EACCES:
    case EPERM:
        return ray__fail_errno(RAY_FILE_NOT_READABLE, "file %s cannot be read; check its permissions", path);
    default:
        return ray__fail_errno(RAY_SYSTEM, "file %s", path);
    }
}

// O_NONBLOCK: opening a FIFO must not wait for a writer; for a regular file it changes nothing.
static ray_status open_regular(const char *path, int *file, struct stat *status) {
    *file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (*file < 0) {
        return refuse(path);
    }
    if (fstat(*file, status) != 0) {
        ray_status failure = refuse(path);
        close(*file);
        return failure;
    }
    if (!S_ISREG(status->st_mode)) {
        close(*file);
        return ray__fail(RAY_NOT_A_FILE, "%s is %s; only a regular file can be put", path,
                         S_ISDIR(status->st_mode) ? "a directory" : "not a regular file");
    }
    return RAY_OK;
}

ray_status ray_file_look(const char *path, ray_file_info *info) {
    int file;
    struct stat status;
    RAY_TRY(open_regular(path, &file, &status));
    close(file);
    *info = info_of(&status);
    return RAY_OK;
}

ray_status ray_file_unchanged(const char *path, uint64_t size_bytes, int64_t mtime_ns) {
    struct stat status;
    if (stat(path, &status) != 0) {
        return ray__fail_errno(RAY_SOURCE_CHANGED, "file %s was put by reference and is gone now", path);
    }
    if ((uint64_t)status.st_size != size_bytes) {
        return ray__fail(RAY_SOURCE_CHANGED, "file %s was changed after it was put: it had %" PRIu64 " bytes and has %" PRIu64,
                         path, size_bytes, (uint64_t)status.st_size);
    }
    if (ray__mtime_of(&status) != mtime_ns) {
        return ray__fail(RAY_SOURCE_CHANGED, "file %s was changed after it was put: its modification time is another", path);
    }
    return RAY_OK;
}

ray_status ray_file_read(const char *path, uint64_t offset, void *bytes, size_t size, size_t *got) {
    *got = 0;
    if (offset > INT64_MAX || size > INT64_MAX - offset) {
        return ray__fail(RAY_INVALID_ARGUMENT, "%s: no file has a byte %" PRIu64, path, offset);
    }
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (file < 0) {
        return ray__fail_errno(errno == ENOENT ? RAY_FILE_NOT_FOUND : RAY_FILE_NOT_READABLE, "cannot read %s", path);
    }
    ray_status status = RAY_OK;
    while (*got < size) {
        ssize_t count = pread(file, (uint8_t *)bytes + *got, size - *got, (off_t)(offset + *got));
        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count < 0) {
            status = ray__fail_errno(RAY_SYSTEM, "reading %s", path);
        }
        if (count <= 0) {
            break;
        }
        *got += (size_t)count;
    }
    close(file);
    return status;
}

static ray_status write_all(int file, const char *path, const uint8_t *bytes, size_t size) {
    while (size > 0) {
        ssize_t written = write(file, bytes, size);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written < 0) {
            return ray__disk_failure(file, path, size);
        }
        bytes += written;
        size -= (size_t)written;
    }
    return RAY_OK;
}

static ray_status copy_by_hand(int source, const char *from, int target, const char *to) {
    uint8_t *buffer = malloc(BUFFER_SIZE);
    if (buffer == NULL) {
        return ray__fail(RAY_OUT_OF_MEMORY, "no memory to copy %s", from);
    }
    ray_status status = RAY_OK;
    for (;;) {
        ssize_t count = read(source, buffer, BUFFER_SIZE);
        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count < 0) {
            status = ray__fail_errno(RAY_SYSTEM, "reading %s", from);
        }
        if (count <= 0) {
            break;
        }
        status = write_all(target, to, buffer, (size_t)count);
        if (status != RAY_OK) {
            break;
        }
    }
    free(buffer);
    return status;
}

// Reflink first: it takes no room and no time. copy_file_range keeps the bytes in the kernel; it refuses some pairs of file systems, and
// then has copied nothing.
static ray_status copy_bytes(int source, const char *from, uint64_t size, int target, const char *to, uint64_t reserve) {
    if (size == 0 || ioctl(target, FICLONE, source) == 0) {
        return RAY_OK;
    }
    RAY_TRY(ray__disk_check(target, to, size, &(ray__disk_limits){.reserve_bytes = reserve}));
    uint64_t copied = 0;
    for (;;) {
        ssize_t count = copy_file_range(source, NULL, target, NULL, 1u << 30, 0);
        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count < 0 && copied == 0 && errno != ENOSPC && errno != EIO && errno != EDQUOT) {
            return copy_by_hand(source, from, target, to);
        }
        if (count < 0) {
            return ray__disk_failure(target, to, size - copied);
        }
        if (count == 0) {
            // Some pseudo file systems answer 0 for files that have bytes; reading finds out.
            return copied == 0 ? copy_by_hand(source, from, target, to) : RAY_OK;
        }
        copied += (uint64_t)count;
    }
}

ray_status ray_file_copy(const char *from, const char *to, uint64_t reserve_bytes, ray_file_info *info) {
    int source;
    struct stat before;
    RAY_TRY(open_regular(from, &source, &before));
    int target = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (target < 0) {
        ray_status status = ray__fail_errno(errno == EEXIST ? RAY_EXISTS : RAY_SYSTEM, "creating %s", to);
        close(source);
        return status;
    }
    ray_status status = copy_bytes(source, from, (uint64_t)before.st_size, target, to, reserve_bytes);
    struct stat after;
    if (status == RAY_OK && (fstat(source, &after) != 0 || after.st_size != before.st_size || ray__mtime_of(&after) != ray__mtime_of(&before))) {
        status = ray__fail(RAY_SOURCE_CHANGED, "file %s was changed while it was copied; put it when nobody writes it", from);
    }
    struct stat copy;
    if (status == RAY_OK && (fstat(target, &copy) != 0 || copy.st_size != before.st_size)) {
        status = ray__fail(RAY_SYSTEM, "the copy of %s at %s is not complete", from, to);
    }
    struct timespec times[2] = {before.st_atim, before.st_mtim};
    if (status == RAY_OK && (fchmod(target, before.st_mode & 0777u) != 0 || futimens(target, times) != 0)) {
        status = ray__fail_errno(RAY_SYSTEM, "permissions and times of %s", to);
    }
    close(source);
    if (close(target) != 0 && status == RAY_OK) {
        status = ray__fail_errno(ray__disk_is_full(errno) ? RAY_OUT_OF_DISK : RAY_SYSTEM, "writing %s", to);
    }
    if (status != RAY_OK) {
        unlink(to);
        return status;
    }
    *info = info_of(&before);
    return RAY_OK;
}

ray_status ray_file_move(const char *from, const char *to, uint64_t reserve_bytes) {
    if (renameat2(AT_FDCWD, from, AT_FDCWD, to, RENAME_NOREPLACE) == 0) {
        return RAY_OK;
    }
    if (errno == EEXIST) {
        return ray__fail(RAY_EXISTS, "%s exists; %s was not moved over it", to, from);
    }
    if (errno != EXDEV) {
        return errno == ENOENT ? refuse(from) : ray__fail_errno(RAY_SYSTEM, "moving %s to %s", from, to);
    }
    ray_file_info info;
    RAY_TRY(ray_file_copy(from, to, reserve_bytes, &info));
    if (unlink(from) != 0) {
        ray_status status = ray__fail_errno(RAY_SYSTEM, "%s cannot be moved: it cannot be removed from where it is", from);
        unlink(to);
        return status;
    }
    return RAY_OK;
}

ray_status ray_file_protect(const char *path) {
    struct stat status;
    if (stat(path, &status) != 0 || chmod(path, status.st_mode & 07777u & ~0222u) != 0) {
        return ray__fail_errno(RAY_SYSTEM, "permissions of %s", path);
    }
    return RAY_OK;
}

ray_status ray_file_dress(const char *path, const ray_file_info *info) {
    int64_t seconds = info->mtime_ns / 1000000000;
    int64_t rest = info->mtime_ns % 1000000000;
    if (rest < 0) {
        seconds -= 1;
        rest += 1000000000;
    }
    struct timespec times[2] = {{.tv_nsec = UTIME_NOW}, {.tv_sec = seconds, .tv_nsec = rest}};
    if (chmod(path, info->mode & 0777u) != 0 || utimensat(AT_FDCWD, path, times, AT_SYMLINK_NOFOLLOW) != 0) {
        return ray__fail_errno(RAY_SYSTEM, "permissions and times of %s", path);
    }
    return RAY_OK;
}

ray_status ray_file_remove(const char *path) {
    if (unlink(path) != 0 && errno != ENOENT) {
        return ray__fail_errno(RAY_SYSTEM, "removing %s", path);
    }
    return RAY_OK;
}
