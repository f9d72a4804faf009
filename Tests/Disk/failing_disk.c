// SPDX-License-Identifier: Apache-2.0
// A disk that fails, for a process that is started with this library in LD_PRELOAD: calls on files below some folders answer with an error.
//
// RAYSTORE_FAILING_DISK names a file of rules, which is read anew at each call, so a test changes it as it goes: a line is a kind and a folder.
//
//   write FOLDER   opening for writing and writing answer EIO
//   torn FOLDER    a write takes half of what it is given, the next one answers EIO
//   full FOLDER    the same with ENOSPC
//   read FOLDER    reading answers EIO
//
// Only what the node does to files of its storage is caught: open, writev, preadv, pread, sendfile.
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/sendfile.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

// By the kernel's own door: this library's open must not meet itself.
static int read_rules(char *rules, size_t size) {
    const char *path = getenv("RAYSTORE_FAILING_DISK");
    int file = path != NULL ? (int)syscall(SYS_openat, AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0) : -1;
    ssize_t count = file < 0 ? 0 : syscall(SYS_read, file, rules, size - 1);
    if (file >= 0) {
        close(file);
    }
    rules[count > 0 ? count : 0] = '\0';
    return count > 0;
}

static bool has_rule(const char *kind, const char *path) {
    char rules[4096];
    int saved = errno;
    bool found = false;
    if (read_rules(rules, sizeof rules)) {
        char *rest = NULL;
        for (char *line = strtok_r(rules, "\n", &rest); line != NULL && !found; line = strtok_r(NULL, "\n", &rest)) {
            size_t length = strlen(kind);
            const char *folder = line + length + 1;
            found = strncmp(line, kind, length) == 0 && line[length] == ' ' && strncmp(path, folder, strlen(folder)) == 0;
        }
    }
    errno = saved;
    return found;
}

static bool applies(const char *kind, int file) {
    char link[64];
    char path[PATH_MAX];
    snprintf(link, sizeof link, "/proc/self/fd/%d", file);
    ssize_t length = syscall(SYS_readlink, link, path, sizeof path - 1);
    if (length <= 0 || path[0] != '/') {
        return false;
    }
    path[length] = '\0';
    return has_rule(kind, path);
}

static void *next(const char *name) {
    return dlsym(RTLD_NEXT, name);
}

int open(const char *path, int flags, ...) {
    va_list more;
    va_start(more, flags);
    unsigned mode = (flags & O_CREAT) != 0 ? va_arg(more, unsigned) : 0;
    va_end(more);
    if ((flags & O_ACCMODE) != O_RDONLY && has_rule("write", path)) {
        errno = EIO;
        return -1;
    }
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, mode);
}

// What a write may still take; 0 when it is to fail, with errno.
static int parts_left(int file, const struct iovec *parts, int count, struct iovec *half) {
    if (applies("write", file)) {
        errno = EIO;
        return 0;
    }
    bool is_torn = applies("torn", file);
    if (!is_torn && !applies("full", file)) {
        return count;
    }
    if (lseek(file, 0, SEEK_CUR) > 0 || parts[0].iov_len < 2) {
        errno = is_torn ? EIO : ENOSPC;
        return 0;
    }
    *half = (struct iovec){parts[0].iov_base, parts[0].iov_len / 2};
    return -1;
}

ssize_t writev(int file, const struct iovec *parts, int count) {
    ssize_t (*real)(int, const struct iovec *, int) = (ssize_t(*)(int, const struct iovec *, int))next("writev");
    struct iovec half;
    int left = count > 0 ? parts_left(file, parts, count, &half) : count;
    if (left == 0 && count > 0) {
        return -1;
    }
    return left < 0 ? real(file, &half, 1) : real(file, parts, count);
}

ssize_t preadv(int file, const struct iovec *parts, int count, off_t offset) {
    ssize_t (*real)(int, const struct iovec *, int, off_t) = (ssize_t(*)(int, const struct iovec *, int, off_t))next("preadv");
    if (applies("read", file)) {
        errno = EIO;
        return -1;
    }
    return real(file, parts, count, offset);
}

ssize_t pread(int file, void *bytes, size_t size, off_t offset) {
    ssize_t (*real)(int, void *, size_t, off_t) = (ssize_t(*)(int, void *, size_t, off_t))next("pread");
    if (applies("read", file)) {
        errno = EIO;
        return -1;
    }
    return real(file, bytes, size, offset);
}

ssize_t sendfile(int to, int from, off_t *offset, size_t count) {
    ssize_t (*real)(int, int, off_t *, size_t) = (ssize_t(*)(int, int, off_t *, size_t))next("sendfile");
    if (applies("read", from)) {
        errno = EIO;
        return -1;
    }
    return real(to, from, offset, count);
}
