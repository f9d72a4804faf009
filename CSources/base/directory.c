// SPDX-License-Identifier: Apache-2.0
// Directories: made private, cleared, locked by the node that uses them, and synced for the sake of a new name.
#include "base/directory_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <ftw.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error_internal.h"
#include "raystore/file.h"

#define HOLDER_MAX 192 // of what a lock says of its holder

static ray_status make_one(const char *path) {
    if (mkdir(path, 0700) == 0 || errno == EEXIST) {
        return RAY_OK;
    }
    return ray__fail_errno(RAY_SYSTEM, "directory %s cannot be made", path);
}

ray_status ray_directory_make_private(const char *path) {
    char partial[4096];
    size_t length = strlen(path);
    if (length == 0 || length >= sizeof partial) {
        return ray__fail(RAY_INVALID_ARGUMENT, "'%s' is not a path for a directory", path);
    }
    memcpy(partial, path, length + 1);
    for (char *slash = strchr(partial + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        RAY_TRY(make_one(partial));
        *slash = '/';
    }
    RAY_TRY(make_one(path));
    struct stat status;
    if (stat(path, &status) != 0) {
        return ray__fail_errno(RAY_SYSTEM, "directory %s", path);
    }
    if (!S_ISDIR(status.st_mode)) {
        return ray__fail(RAY_INVALID_ARGUMENT, "%s is not a directory", path);
    }
    if (status.st_uid != geteuid()) {
        return ray__fail(RAY_INVALID_ARGUMENT, "directory %s belongs to another user; choose one of your own", path);
    }
    if ((status.st_mode & 0077u) != 0) {
        return ray__fail(RAY_INVALID_ARGUMENT, "directory %s is open to other users; close it: chmod 700 %s", path, path);
    }
    return RAY_OK;
}

static int remove_entry(const char *path, const struct stat *status, int kind, struct FTW *position) {
    (void)status;
    (void)kind;
    return position->level == 0 || remove(path) == 0 ? 0 : -1;
}

ray_status ray_directory_clear(const char *path) {
    if (nftw(path, remove_entry, 16, FTW_DEPTH | FTW_PHYS | FTW_MOUNT) != 0) {
        return ray__fail_errno(RAY_SYSTEM, "directory %s cannot be cleared", path);
    }
    return RAY_OK;
}

bool ray_directory_remove_empty(const char *path) {
    return rmdir(path) == 0;
}

ray_status ray__directory_sync_of(const char *path) {
    char directory[PATH_MAX];
    int length = snprintf(directory, sizeof directory, "%s", path);
    if (length < 0 || length >= (int)sizeof directory) {
        return ray__fail(RAY_INVALID_ARGUMENT, "the path %.200s... is too long", path);
    }
    char *slash = strrchr(directory, '/');
    if (slash == NULL) {
        snprintf(directory, sizeof directory, ".");
    } else {
        slash[slash == directory ? 1 : 0] = '\0';
    }
    int opened = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (opened < 0) {
        return ray__fail_errno(RAY_SYSTEM, "%s cannot be opened, to sync the name of %s", directory, path);
    }
    // Some file systems cannot sync a directory and say so with EINVAL; they need no help either.
    ray_status status = fsync(opened) == 0 || errno == EINVAL ? RAY_OK : ray__fail_errno(RAY_SYSTEM, "syncing the directory of %s", path);
    close(opened);
    return status;
}

// Opens a lock file and locks it: -1 with errno on failure. One that was removed between the two, by its holder's end, is made again.
static int open_locked(const char *file) {
    for (;;) {
        int descriptor = open(file, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (descriptor < 0) {
            return -1;
        }
        struct stat now;
        int reason = flock(descriptor, LOCK_EX | LOCK_NB) != 0 || fstat(descriptor, &now) != 0 ? errno : 0;
        if (reason == 0 && now.st_nlink != 0) {
            return descriptor;
        }
        close(descriptor);
        if (reason != 0) {
            errno = reason;
            return -1;
        }
    }
}

// Takes the lock; RAY_IN_USE with what its holder has written there, without a message.
static ray_status take_lock(const char *file, const char *mine, int *lock, char holder[static HOLDER_MAX]) {
    *lock = -1;
    int descriptor = open_locked(file);
    if (descriptor < 0 && errno == EWOULDBLOCK) {
        int other = open(file, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
        ssize_t count = other < 0 ? 0 : read(other, holder, HOLDER_MAX - 1);
        holder[count > 0 ? count : 0] = '\0';
        if (other >= 0) {
            close(other);
        }
        return RAY_IN_USE;
    }
    if (descriptor < 0 && (errno == EOPNOTSUPP || errno == ENOLCK || errno == ENOSYS)) {
        return ray__fail_errno(RAY_UNSUPPORTED, "the file system of %s has no locks", file);
    }
    if (descriptor < 0) {
        return ray__fail_errno(RAY_SYSTEM, "the lock %s cannot be opened", file);
    }
    // Who holds it, for the other's message; the lock itself is the kernel's and goes with the process.
    ssize_t size = (ssize_t)strlen(mine);
    if (ftruncate(descriptor, 0) != 0 || pwrite(descriptor, mine, (size_t)size, 0) != size) {
        ray_status status = ray__fail_errno(RAY_SYSTEM, "the lock %s cannot be written", file);
        close(descriptor);
        return status;
    }
    *lock = descriptor;
    return RAY_OK;
}

ray_status ray_directory_lock(const char *path, int *lock) {
    char file[4096];
    int length = snprintf(file, sizeof file, "%s/lock", path);
    if (length < 0 || length >= (int)sizeof file) {
        return ray__fail(RAY_INVALID_ARGUMENT, "the path %s is too long", path);
    }
    char mine[HOLDER_MAX];
    char holder[HOLDER_MAX];
    snprintf(mine, sizeof mine, "%d", (int)getpid());
    ray_status status = take_lock(file, mine, lock, holder);
    return status != RAY_IN_USE ? status
                                : ray__fail(RAY_IN_USE, "a node (process %s) uses the state directory %s; stop it, or choose another --state-dir",
                                            holder, path);
}

ray_status ray_file_lock(const char *path, int *lock) {
    char host[128] = "";
    char mine[HOLDER_MAX];
    char holder[HOLDER_MAX];
    (void)gethostname(host, sizeof host - 1);
    snprintf(mine, sizeof mine, "process %d of machine %s", (int)getpid(), host);
    ray_status status = take_lock(path, mine, lock, holder);
    return status != RAY_IN_USE ? status : ray__fail(RAY_IN_USE, "%s holds %s", holder[0] == '\0' ? "another process" : holder, path);
}

void ray_directory_unlock(int lock) {
    if (lock >= 0) {
        close(lock);
    }
}
