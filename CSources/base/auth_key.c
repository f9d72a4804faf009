// SPDX-License-Identifier: Apache-2.0
// Key files: 64 hex digits and a newline, readable by their owner alone.
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <sodium.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/directory_internal.h"
#include "base/error_internal.h"
#include "raystore/auth.h"

#define KEY_TEXT_SIZE (2 * RAY_KEY_SIZE + 1) // with the newline

void ray_key_random(ray_key *key) {
    randombytes_buf(key->bytes, sizeof key->bytes);
}

static void format_key(const ray_key *key, char *text) {
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < RAY_KEY_SIZE; i++) {
        text[2 * i] = digits[key->bytes[i] >> 4];
        text[2 * i + 1] = digits[key->bytes[i] & 15];
    }
    text[KEY_TEXT_SIZE - 1] = '\n';
}

static int digit_value(char c) {
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

static bool parse_key(const char *text, ray_key *key) {
    for (size_t i = 0; i < RAY_KEY_SIZE; i++) {
        int high = digit_value(text[2 * i]);
        int low = digit_value(text[2 * i + 1]);
        if (high < 0 || low < 0) {
            return false;
        }
        key->bytes[i] = (uint8_t)(high << 4 | low);
    }
    return true;
}

// Writes the whole text to a new file that only we can read, and makes sure it is on the disk.
static ray_status write_new(const char *path, const char *text, size_t size) {
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return ray__fail_errno(RAY_SYSTEM, "cannot create %s for a key", path);
    }
    ray_status status = RAY_OK;
    ssize_t written;
    do {
        written = write(fd, text, size);
    } while (written < 0 && errno == EINTR);
    // fchmod because a strict umask may have taken the owner's own bits away.
    if (written < 0 || fchmod(fd, 0600) != 0 || fsync(fd) != 0) {
        status = ray__fail_errno(errno == ENOSPC ? RAY_OUT_OF_DISK : RAY_SYSTEM, "cannot write the key to %s", path);
    } else if ((size_t)written != size) {
        status = ray__fail(RAY_OUT_OF_DISK, "cannot write the key to %s: only %zd of %zu bytes fit", path, written, size);
    }
    close(fd);
    if (status != RAY_OK) {
        unlink(path);
    }
    return status;
}

// Gives the finished file its name unless that name is taken. link does so on most file systems; the rest know renameat2.
static ray_status publish(const char *temporary, const char *path) {
    if (link(temporary, path) == 0) {
        unlink(temporary);
        return RAY_OK;
    }
    if ((errno == EPERM || errno == EOPNOTSUPP || errno == ENOSYS) &&
        renameat2(AT_FDCWD, temporary, AT_FDCWD, path, RENAME_NOREPLACE) == 0) {
        return RAY_OK;
    }
    ray_status status = errno == EEXIST
                            ? ray__fail(RAY_EXISTS, "%s exists; delete it if no cluster uses it any more, or choose another path", path)
                            : ray__fail_errno(RAY_SYSTEM, "cannot give the key file its name %s", path);
    unlink(temporary);
    return status;
}

ray_status ray_key_create(const char *path, ray_key *key) {
    uint64_t serial;
    randombytes_buf(&serial, sizeof serial);
    char temporary[PATH_MAX];
    int length = snprintf(temporary, sizeof temporary, "%s.%016llx.new", path, (unsigned long long)serial);
    if (path[0] == '\0' || length < 0 || (size_t)length >= sizeof temporary) {
        return ray__fail(RAY_INVALID_ARGUMENT, "'%.80s' is not a usable path for a key file", path);
    }
    ray_key made;
    char text[KEY_TEXT_SIZE];
    ray_key_random(&made);
    format_key(&made, text);
    ray_status status = write_new(temporary, text, sizeof text);
    if (status == RAY_OK) {
        status = publish(temporary, path);
    }
    if (status == RAY_OK) {
        status = ray__directory_sync_of(path); // else a restarted head could make a second key
    }
    if (status == RAY_OK) {
        *key = made;
    }
    sodium_memzero(&made, sizeof made);
    sodium_memzero(text, sizeof text);
    return status;
}

// Who may read the file, judged on the open descriptor so that nobody can swap the file between the look and the read.
static ray_status check_owner_and_mode(int fd, const char *path) {
    struct stat info;
    if (fstat(fd, &info) != 0) {
        return ray__fail_errno(RAY_KEY_UNUSABLE, "cannot look at the key file %s", path);
    }
    if (!S_ISREG(info.st_mode)) {
        return ray__fail(RAY_KEY_UNUSABLE, "the key file %s is not a regular file", path);
    }
    if (info.st_uid != geteuid()) {
        return ray__fail(RAY_KEY_UNUSABLE, "the key file %s belongs to user %u, not to user %u who runs this; copy it to a file of your own",
                         path, info.st_uid, geteuid());
    }
    if ((info.st_mode & 077) != 0) {
        return ray__fail(RAY_KEY_UNUSABLE, "the key file %s has mode %04o, so others than its owner can use it; run chmod 600 %s", path,
                         info.st_mode & 07777, path);
    }
    return RAY_OK;
}

static ray_status read_key(int fd, const char *path, ray_key *key) {
    char text[KEY_TEXT_SIZE + 1]; // one more, to see that the file goes on
    size_t size = 0;
    while (size < sizeof text) {
        ssize_t got = read(fd, text + size, sizeof text - size);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return ray__fail_errno(RAY_KEY_UNUSABLE, "cannot read the key file %s", path);
        }
        if (got == 0) {
            break;
        }
        size += (size_t)got;
    }
    // An editor may have taken the newline away.
    bool sized = size == KEY_TEXT_SIZE - 1 || (size == KEY_TEXT_SIZE && text[size - 1] == '\n');
    ray_key parsed;
    bool valid = sized && parse_key(text, &parsed);
    if (valid) {
        *key = parsed;
    }
    sodium_memzero(text, sizeof text);
    sodium_memzero(&parsed, sizeof parsed);
    if (!valid) {
        return ray__fail(RAY_KEY_UNUSABLE, "the key file %s does not hold a key, which is %d hex digits and a newline; copy it again from the head",
                         path, 2 * RAY_KEY_SIZE);
    }
    return RAY_OK;
}

ray_status ray_key_load(const char *path, ray_key *key) {
    // O_NONBLOCK because the path may name a fifo, on which open would wait for a writer.
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);
    if (fd < 0) {
        return ray__fail_errno(RAY_KEY_UNUSABLE, "cannot open the key file %s", path);
    }
    ray_status status = check_owner_and_mode(fd, path);
    if (status == RAY_OK) {
        status = read_key(fd, path, key);
    }
    close(fd);
    return status;
}
