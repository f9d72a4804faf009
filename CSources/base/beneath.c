// SPDX-License-Identifier: Apache-2.0
// The kernel walks the path and keeps it below the directory (openat2, Linux 5.6): a check of the name in advance would leave a gap in
// which a folder becomes a link.
#include "base/beneath_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/openat2.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/error_internal.h"

// The kernel answers EAGAIN when a rename anywhere made it unsure; trying again is what it asks for.
#define TRIES_MAX 100

static int open_beneath(int directory, const char *name) {
    struct open_how how = {
        // Not blocking, in case it is a pipe.
        .flags = O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK,
        .resolve = RESOLVE_BENEATH | RESOLVE_NO_MAGICLINKS,
    };
    long opened = -1;
    for (int i = 0; i < TRIES_MAX && opened < 0 && (i == 0 || errno == EAGAIN || errno == EINTR); i++) {
        opened = syscall(SYS_openat2, directory, name, &how, sizeof how);
    }
    return (int)opened;
}

ray_status ray__open_beneath(int directory, const char *name, int *file) {
    int opened = open_beneath(directory, name);
    if (opened < 0) {
        switch (errno) {
        case EXDEV:
            return ray__fail(RAY_INVALID_ARGUMENT, "%s leads out of the directory that is served: name a file in it", name);
        case ENOENT:
        case ENOTDIR:
        case ENAMETOOLONG:
            return ray__fail_errno(RAY_FILE_NOT_FOUND, "there is no file %s", name);
        case ENXIO:
            return ray__fail(RAY_NOT_A_FILE, "%s is not a regular file", name);
        case EACCES:
        case EPERM:
        case ELOOP:
            return ray__fail_errno(RAY_FILE_NOT_READABLE, "the file %s cannot be read", name);
        default:
            return ray__fail_errno(RAY_SYSTEM, "the file %s cannot be opened", name);
        }
    }
    struct stat info;
    if (fstat(opened, &info) != 0) {
        ray_status status = ray__fail_errno(RAY_SYSTEM, "looking at %s", name);
        close(opened);
        return status;
    }
    if (!S_ISREG(info.st_mode)) {
        close(opened);
        return S_ISDIR(info.st_mode) ? ray__fail(RAY_NOT_A_FILE, "%s is a directory: name a file in it", name)
                                     : ray__fail(RAY_NOT_A_FILE, "%s is not a regular file", name);
    }
    *file = opened;
    return RAY_OK;
}
