// SPDX-License-Identifier: Apache-2.0
#include "transfer/journal_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/checksum_internal.h"
#include "base/error_internal.h"
#include "codec/bytes_internal.h"
#include "transfer/wire_internal.h"

enum {
    AT_MAGIC = 0,
    AT_VERSION = 8,
    AT_CHUNK_SIZE = 12,
    AT_SIZE = 16,
    AT_ID = 24,
    AT_ZERO = 52,
    AT_EDITION = 56,
    AT_CHECK = 64,
    AT_PID = 72,
};

static const uint8_t magic[8] = {'R', 'A', 'Y', 'C', 'H', 'N', 'K', 'S'};

static void write_header(const ray__subject *subject, uint8_t *header) {
    memset(header, 0, RAY__JOURNAL_HEADER_SIZE);
    memcpy(header + AT_MAGIC, magic, sizeof magic);
    ray__put_u32(header + AT_VERSION, RAY__JOURNAL_VERSION);
    ray__put_u32(header + AT_CHUNK_SIZE, subject->chunk_size);
    ray__put_u64(header + AT_SIZE, subject->size_bytes);
    memcpy(header + AT_ID, subject->id.bytes, RAY_OBJECT_ID_SIZE);
    ray__put_u64(header + AT_EDITION, subject->edition);
    ray__put_u64(header + AT_CHECK, ray__checksum_of(header, AT_CHECK));
    ray__put_u32(header + AT_PID, (uint32_t)getpid());
}

// Up to size bytes from the offset; fewer at the end of the file.
static ray_status read_at(const ray__journal *journal, void *bytes, size_t size, uint64_t offset, size_t *got) {
    *got = 0;
    while (*got < size) {
        ssize_t count = pread(journal->file, (uint8_t *)bytes + *got, size - *got, (off_t)(offset + *got));
        if (count < 0 && errno == EINTR) {
            continue;
        }
        if (count < 0) {
            return ray__fail_errno(RAY_SYSTEM, "reading %s", journal->path);
        }
        if (count == 0) {
            break;
        }
        *got += (size_t)count;
    }
    return RAY_OK;
}

static ray_status write_at(const ray__journal *journal, const void *bytes, size_t size, uint64_t offset) {
    ssize_t written;
    do {
        written = pwrite(journal->file, bytes, size, (off_t)offset);
    } while (written < 0 && errno == EINTR);
    if (written == (ssize_t)size) {
        return RAY_OK;
    }
    bool full = written >= 0 || errno == ENOSPC || errno == EDQUOT;
    return ray__fail_errno(full ? RAY_OUT_OF_DISK : RAY_SYSTEM, "writing %s", journal->path);
}

static bool is_whole(const uint8_t *header, size_t size) {
    return size == RAY__JOURNAL_HEADER_SIZE && memcmp(header + AT_MAGIC, magic, sizeof magic) == 0 &&
           ray__get_u64(header + AT_CHECK) == ray__checksum_of(header, AT_CHECK);
}

// ---- opening and locking -------------------------------------------------------------------------------------------------

// Whoever ends a pull removes the journal with the lock held, so a lock on a file that is no longer at the path is worth nothing.
static bool is_at_path(const ray__journal *journal) {
    struct stat mine;
    struct stat there;
    return fstat(journal->file, &mine) == 0 && lstat(journal->path, &there) == 0 && mine.st_ino == there.st_ino &&
           mine.st_dev == there.st_dev;
}

static ray_status lock(const ray__journal *journal) {
    int result;
    do {
        result = flock(journal->file, LOCK_EX | LOCK_NB);
    } while (result != 0 && errno == EINTR);
    if (result == 0) {
        return RAY_OK;
    }
    if (errno != EWOULDBLOCK) {
        return ray__fail_errno(RAY_SYSTEM, "locking %s", journal->path);
    }
    uint8_t header[RAY__JOURNAL_HEADER_SIZE] = {0};
    size_t got = 0;
    RAY_TRY(read_at(journal, header, sizeof header, 0, &got));
    int length = (int)(strlen(journal->path) - strlen(RAY_JOURNAL_SUFFIX));
    return ray__fail(RAY_IN_USE, "process %u is pulling into %.*s: wait for it, or choose another place", ray__get_u32(header + AT_PID),
                     length, journal->path);
}

// One attempt; RAY_AGAIN when another process removed or made the file in between.
static ray_status open_once(ray__journal *journal, bool make, bool *made) {
    *made = false;
    journal->file = open(journal->path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (journal->file < 0 && errno == ENOENT) {
        if (!make) {
            return RAY_OK;
        }
        journal->file = open(journal->path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
        *made = journal->file >= 0;
        if (journal->file < 0 && errno == EEXIST) {
            return RAY_AGAIN;
        }
    }
    if (journal->file < 0) {
        bool full = errno == ENOSPC || errno == EDQUOT;
        return ray__fail_errno(errno == ENOENT ? RAY_FILE_NOT_FOUND : full ? RAY_OUT_OF_DISK : RAY_SYSTEM,
                               "the journal %s cannot be opened", journal->path);
    }
    struct stat info;
    if (fstat(journal->file, &info) != 0 || !S_ISREG(info.st_mode) || info.st_uid != geteuid()) {
        return ray__fail(RAY_EXISTS, "%s is not a journal of ours: remove it, or choose another place", journal->path);
    }
    RAY_TRY(lock(journal));
    return is_at_path(journal) ? RAY_OK : RAY_AGAIN;
}

static char *path_of(const char *partial) {
    size_t length = strlen(partial);
    char *path = malloc(length + sizeof RAY_JOURNAL_SUFFIX);
    if (path != NULL) {
        memcpy(path, partial, length);
        memcpy(path + length, RAY_JOURNAL_SUFFIX, sizeof RAY_JOURNAL_SUFFIX);
    }
    return path;
}

static ray_status open_and_lock(const char *partial, bool make, ray__journal *journal, bool *made) {
    journal->file = -1;
    journal->path = path_of(partial);
    if (journal->path == NULL) {
        return ray__fail(RAY_OUT_OF_MEMORY, "a path of %zu bytes", strlen(partial) + sizeof RAY_JOURNAL_SUFFIX);
    }
    ray_status status;
    while ((status = open_once(journal, make, made)) == RAY_AGAIN) {
        if (journal->file >= 0) {
            close(journal->file);
        }
    }
    if (status != RAY_OK) {
        ray__journal_close(journal, false);
    }
    return status;
}

ray_status ray__journal_open(const char *partial, const ray__subject *subject, ray__journal *journal, enum ray__journal_found *found) {
    bool made = false;
    RAY_TRY(open_and_lock(partial, true, journal, &made));
    uint8_t header[RAY__JOURNAL_HEADER_SIZE];
    uint8_t wanted[RAY__JOURNAL_HEADER_SIZE];
    size_t got = 0;
    ray_status status = read_at(journal, header, sizeof header, 0, &got);
    if (status == RAY_OK && got >= sizeof magic && memcmp(header, magic, sizeof magic) != 0) {
        status = ray__fail(RAY_EXISTS, "%s is not a journal of a pull: remove it, or choose another place", journal->path);
    }
    if (status != RAY_OK) {
        ray__journal_close(journal, false);
        return status;
    }
    write_header(subject, wanted);
    bool whole = is_whole(header, got);
    if (made) {
        *found = RAY__JOURNAL_MADE;
    } else if (!whole || memcmp(header, wanted, AT_SIZE) != 0 || memcmp(header + AT_ID, wanted + AT_ID, RAY_OBJECT_ID_SIZE) != 0) {
        *found = RAY__JOURNAL_OTHER;
    } else if (memcmp(header, wanted, AT_CHECK) != 0) {
        *found = RAY__JOURNAL_CHANGED;
    } else {
        *found = RAY__JOURNAL_SAME;
        status = write_at(journal, wanted + AT_PID, 4, AT_PID);
    }
    if (status != RAY_OK) {
        ray__journal_close(journal, false);
    }
    return status;
}

ray_status ray__journal_open_existing(const char *partial, ray__journal *journal) {
    bool made = false;
    return open_and_lock(partial, false, journal, &made);
}

bool ray__journal_is_of(const char *partial, const ray_object_id *id, uint64_t *size_bytes) {
    ray__journal journal = {.file = -1, .path = path_of(partial)};
    if (journal.path == NULL) {
        return false;
    }
    uint8_t header[RAY__JOURNAL_HEADER_SIZE];
    size_t got = 0;
    struct stat info;
    journal.file = open(journal.path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    bool is = journal.file >= 0 && fstat(journal.file, &info) == 0 && S_ISREG(info.st_mode) && info.st_uid == geteuid() &&
              read_at(&journal, header, sizeof header, 0, &got) == RAY_OK && is_whole(header, got) &&
              ray__get_u32(header + AT_VERSION) == RAY__JOURNAL_VERSION &&
              memcmp(header + AT_ID, id->bytes, RAY_OBJECT_ID_SIZE) == 0;
    *size_bytes = is ? ray__get_u64(header + AT_SIZE) : 0;
    ray__journal_close(&journal, false);
    return is;
}

void ray__journal_close(ray__journal *journal, bool remove) {
    if (journal->file >= 0) {
        if (remove) {
            unlink(journal->path);
        }
        close(journal->file);
    }
    free(journal->path);
    journal->file = -1;
    journal->path = NULL;
}

// ---- contents ------------------------------------------------------------------------------------------------------------

ray_status ray__journal_begin(const ray__journal *journal, const ray__subject *subject) {
    uint8_t header[RAY__JOURNAL_HEADER_SIZE];
    write_header(subject, header);
    // The records go before the header changes: those of one file never stand under the name of another.
    if (ftruncate(journal->file, RAY__JOURNAL_HEADER_SIZE) != 0) {
        return ray__fail_errno(RAY_SYSTEM, "writing %s", journal->path);
    }
    RAY_TRY(write_at(journal, header, sizeof header, 0));
    // Room for every record now, so that a full disk ends the pull before it begins.
    off_t size = (off_t)RAY__JOURNAL_HEADER_SIZE + 8 * (off_t)ray__chunk_count(subject->size_bytes, subject->chunk_size);
    int result;
    do {
        result = fallocate(journal->file, 0, 0, size);
    } while (result != 0 && errno == EINTR);
    if (result != 0 && errno == EOPNOTSUPP) {
        result = ftruncate(journal->file, size);
    }
    if (result != 0) {
        return ray__fail_errno(errno == ENOSPC || errno == EDQUOT ? RAY_OUT_OF_DISK : RAY_SYSTEM, "reserving %lld bytes for %s",
                               (long long)size, journal->path);
    }
    return RAY_OK;
}

ray_status ray__journal_load(const ray__journal *journal, uint32_t count, uint64_t *checksums) {
    size_t got = 0;
    RAY_TRY(read_at(journal, checksums, 8 * (size_t)count, RAY__JOURNAL_HEADER_SIZE, &got));
    for (size_t i = 0; i < count; i++) {
        uint8_t bytes[8];
        memcpy(bytes, &checksums[i], sizeof bytes);
        checksums[i] = 8 * (i + 1) <= got ? ray__get_u64(bytes) : 0;
    }
    return RAY_OK;
}

ray_status ray__journal_record(const ray__journal *journal, uint32_t index, uint64_t checksum) {
    uint8_t bytes[8];
    ray__put_u64(bytes, checksum);
    return write_at(journal, bytes, sizeof bytes, RAY__JOURNAL_HEADER_SIZE + 8 * (uint64_t)index);
}
