// SPDX-License-Identifier: Apache-2.0
// A pull that goes on with what an earlier one left. What the journal lists counts as asked for, from the disk: a thread of the pull
// hashes it while the links bring what is missing, and what turns out wrong is missing too.
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/checksum_internal.h"
#include "base/error_internal.h"
#include "transfer/transfer_internal.h"

static ray_status cannot_open(const char *path) {
    if (errno == EEXIST) {
        return ray__fail(RAY_EXISTS, "%s is there, and no interrupted pull left it: remove it, or choose another place", path);
    }
    ray_status kind = errno == ENOSPC ? RAY_OUT_OF_DISK : errno == ENOENT ? RAY_FILE_NOT_FOUND : RAY_SYSTEM;
    return ray__fail_errno(kind, "cannot make the file %s", path);
}

// Opens the partial file beside a journal that was there; *whole says whether it has the size that a resumed one has.
static ray_status open_left(const char *path, uint64_t size_bytes, int *file, bool *whole) {
    *whole = false;
    *file = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (*file < 0 && errno == ENOENT) {
        *file = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
        return *file >= 0 ? RAY_OK : cannot_open(path);
    }
    if (*file < 0) {
        return cannot_open(path);
    }
    struct stat info;
    if (fstat(*file, &info) != 0 || !S_ISREG(info.st_mode) || info.st_uid != geteuid()) {
        close(*file);
        return ray__fail(RAY_EXISTS, "%s is not a file of ours: remove it, or choose another place", path);
    }
    *whole = (uint64_t)info.st_size == size_bytes;
    return RAY_OK;
}

static ray_status changed(const char *path, ray__journal *journal) {
    unlink(path);
    ray__journal_close(journal, true);
    return ray__fail(RAY_SOURCE_CHANGED, "the source has changed since the pull into %s was interrupted; what had come is removed: "
                                         "pull again to get it as it is now", path);
}

ray_status ray__resume_open(ray_pull *pull, const char *path, uint64_t size_bytes, int *file) {
    ray__subject subject = {.id = pull->id, .size_bytes = size_bytes, .edition = pull->edition, .chunk_size = pull->chunk_size};
    ray__journal journal;
    enum ray__journal_found found;
    RAY_TRY(ray__journal_open(path, &subject, &journal, &found));
    if (found == RAY__JOURNAL_CHANGED && pull->resume == RAY_RESUME_KEEP) {
        return changed(path, &journal);
    }
    bool go_on = found == RAY__JOURNAL_SAME && pull->resume == RAY_RESUME_KEEP;
    bool whole = false;
    ray_status status;
    if (found == RAY__JOURNAL_MADE) {
        *file = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
        status = *file >= 0 ? RAY_OK : cannot_open(path);
    } else {
        status = open_left(path, size_bytes, file, &whole);
    }
    if (status != RAY_OK) {
        ray__journal_close(&journal, found == RAY__JOURNAL_MADE);
        return status;
    }
    go_on = go_on && whole;
    if (!go_on) {
        status = ray__journal_begin(&journal, &subject);
        if (status == RAY_OK && ftruncate(*file, 0) != 0) {
            status = ray__fail_errno(RAY_SYSTEM, "emptying %s", path);
        }
        if (status != RAY_OK) {
            close(*file);
            unlink(path);
            ray__journal_close(&journal, true);
            return status;
        }
    }
    pull->sink.journal = journal;
    pull->sink.goes_on = go_on;
    return RAY_OK;
}

// ---- what is here --------------------------------------------------------------------------------------------------------

uint32_t ray__resume_mark_locked(ray_pull *pull) {
    uint32_t recorded = 0;
    for (uint32_t i = 0; pull->sink.goes_on && i < pull->chunk_count; i++) {
        if (pull->checksums[i] != 0) {
            pull->chunks[i] = RAY__CHUNK_ASKED;
            recorded++;
        }
    }
    return recorded;
}

// A chunk that is asked for and has a checksum already is one that the journal lists: a link's chunk gets its checksum when it is here.
static bool next_recorded(ray_pull *pull, uint32_t *at, uint64_t *checksum) {
    pthread_mutex_lock(&pull->lock);
    while (*at < pull->chunk_count && (pull->chunks[*at] != RAY__CHUNK_ASKED || pull->checksums[*at] == 0)) {
        (*at)++;
    }
    bool found = *at < pull->chunk_count && !atomic_load(&pull->ended);
    *checksum = found ? pull->checksums[*at] : 0;
    pthread_mutex_unlock(&pull->lock);
    return found;
}

static bool is_right(const ray_pull *pull, uint32_t index, uint64_t checksum, uint8_t *piece) {
    uint32_t raw_size = ray__chunk_raw_size(pull->size_bytes, pull->chunk_size, index);
    ray__checksum sum;
    ray__checksum_begin(&sum);
    for (uint32_t at = 0; at < raw_size;) {
        uint32_t size = raw_size - at < RAY_CHECKSUM_PIECE ? raw_size - at : RAY_CHECKSUM_PIECE;
        ssize_t got = pread(pull->sink.file, piece, size, (off_t)((uint64_t)index * pull->chunk_size + at));
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return false; // what cannot be read is fetched and written again, which tells whether the disk is well
        }
        ray__checksum_add(&sum, piece, (size_t)got);
        at += (uint32_t)got;
    }
    return ray__checksum_end(&sum) == checksum;
}

void ray__resume_verify(ray_pull *pull) {
    uint8_t *piece = ray__memory_allocate(&pull->transfer->memory, RAY_CHECKSUM_PIECE);
    if (piece == NULL) {
        ray__pull_end(pull, RAY_OUT_OF_MEMORY, "no memory to look at what is here already");
        return;
    }
    uint64_t checksum;
    for (uint32_t at = 0; next_recorded(pull, &at, &checksum); at++) {
        ray__pull_chunk_was_here(pull, at, is_right(pull, at, checksum, piece));
    }
    ray__memory_free(&pull->transfer->memory, piece, RAY_CHECKSUM_PIECE);
}

ray_status ray_pull_can_resume(const char *path, const ray_object_id *id) {
    uint64_t size_bytes = 0;
    struct stat info;
    if (ray__journal_is_of(path, id, &size_bytes) && lstat(path, &info) == 0 && S_ISREG(info.st_mode) &&
        info.st_uid == geteuid() && (uint64_t)info.st_size == size_bytes) {
        return RAY_OK;
    }
    return ray__fail(RAY_NOT_FOUND, "there is nothing at %s that a pull of this object could go on with", path);
}

ray_status ray_pull_discard(const char *path) {
    ray__journal journal;
    RAY_TRY(ray__journal_open_existing(path, &journal));
    ray_status status = RAY_OK;
    if (journal.file >= 0 && unlink(path) != 0 && errno != ENOENT) {
        status = ray__fail_errno(RAY_SYSTEM, "cannot remove %s", path);
    }
    ray__journal_close(&journal, status == RAY_OK);
    return status;
}
