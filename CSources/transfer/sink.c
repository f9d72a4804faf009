// SPDX-License-Identifier: Apache-2.0
// Where a pull's bytes go: an object being filled in the store, a new file, or memory of the caller (memory_sink.c).
#include <errno.h>
#include <fcntl.h>
#include <linux/magic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/disk_internal.h"
#include "base/error_internal.h"
#include "base/identity_internal.h"
#include "plasma/glimpse_internal.h"
#include "transfer/transfer_internal.h"

static ray_status refuse_range(const ray_pull *pull) {
    if (pull->range_offset != 0 || pull->range_size != 0) {
        return ray__fail(RAY_INVALID_ARGUMENT, "a part of an object is pulled into memory: call ray_pull_into_memory");
    }
    return RAY_OK;
}

ray_status ray_pull_into_store(ray_pull *pull) {
    const ray_card *card = pull->card;
    if (card == NULL || pull->sink.kind >= 0) {
        return ray__fail(RAY_INVALID_ARGUMENT, "a pull's sink is chosen once, in its opened callback");
    }
    RAY_TRY(refuse_range(pull));
    if (pull->transfer->store == NULL) {
        return ray__fail(RAY_INVALID_ARGUMENT, "this transfer was made without a store; pull into a file");
    }
    RAY_TRY(ray_object_create(pull->transfer->store, &pull->id, card->size_bytes, card->metadata_size, 0, &pull->sink.writer));
    if (card->metadata_size > 0) {
        memcpy(pull->sink.writer.metadata, card->metadata, card->metadata_size);
    }
    pull->sink.kind = RAY_KIND_OBJECT;
    return RAY_OK;
}

ray_status ray_pull_into_object(ray_pull *pull, ray_object_writer *writer) {
    const ray_card *card = pull->card;
    if (card == NULL || pull->sink.kind >= 0 || pull->transfer->store == NULL) {
        return ray__fail(RAY_INVALID_ARGUMENT, "a pull's sink is chosen once, in its opened callback, and its object is of its transfer's store");
    }
    RAY_TRY(refuse_range(pull));
    if (writer->data_size != card->size_bytes || writer->metadata_size != card->metadata_size) {
        return ray__fail(RAY_INVALID_ARGUMENT, "the object has room for %llu and %u bytes, the source says %llu and %u",
                         (unsigned long long)writer->data_size, writer->metadata_size, (unsigned long long)card->size_bytes,
                         card->metadata_size);
    }
    pull->sink.writer = *writer;
    *writer = (ray_object_writer){NULL, 0, NULL, 0, 0, 0};
    if (card->metadata_size > 0) {
        memcpy(pull->sink.writer.metadata, card->metadata, card->metadata_size);
    }
    pull->sink.kind = RAY_KIND_OBJECT;
    return RAY_OK;
}

// A file whose disk is memory: to reserve its pages takes as long as to write them, and nobody else could be let in meanwhile.
static bool is_in_memory(int file) {
    struct statfs kind;
    return fstatfs(file, &kind) == 0 && kind.f_type == TMPFS_MAGIC;
}

// Room is taken before the first byte is asked for, where that costs little. A size that the disk cannot have is refused before it is
// tried.
static ray_status reserve(const char *path, int file, uint64_t size, const ray__disk_limits *limits) {
    struct stat info;
    if (size == 0) {
        return RAY_OK;
    }
    // One that is being resumed has its room already.
    uint64_t has = fstat(file, &info) == 0 ? (uint64_t)info.st_blocks * 512 : 0;
    if (size > has) {
        RAY_TRY(ray__disk_check(file, path, size - has, limits));
    }
    int result = -1;
    errno = EOPNOTSUPP;
    if (!is_in_memory(file)) {
        do {
            result = fallocate(file, 0, 0, (off_t)size);
        } while (result != 0 && errno == EINTR);
    }
    if (result != 0 && errno == EOPNOTSUPP) {
        result = ftruncate(file, (off_t)size);
    }
    return result == 0 ? RAY_OK : ray__disk_failure(file, path, size);
}

static ray_status make_file(const char *path, int *file) {
    *file = open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (*file >= 0) {
        return RAY_OK;
    }
    ray_status kind = errno == EEXIST ? RAY_EXISTS : errno == ENOSPC ? RAY_OUT_OF_DISK : errno == ENOENT ? RAY_FILE_NOT_FOUND : RAY_SYSTEM;
    return ray__fail_errno(kind, "cannot make the file %s", path);
}

ray_status ray_pull_into_file(ray_pull *pull, const char *path) {
    const ray_card *card = pull->card;
    if (card == NULL || pull->sink.kind >= 0) {
        return ray__fail(RAY_INVALID_ARGUMENT, "a pull's sink is chosen once, in its opened callback");
    }
    RAY_TRY(refuse_range(pull));
    char *kept = strdup(path);
    if (kept == NULL) {
        return ray__fail(RAY_OUT_OF_MEMORY, "pulling into %s", path);
    }
    int file = -1;
    ray_status status = pull->resume == RAY_RESUME_OFF ? make_file(path, &file) : ray__resume_open(pull, path, card->size_bytes, &file);
    if (status != RAY_OK) {
        free(kept);
        return status;
    }
    pull->sink.file = file;
    pull->sink.path = kept;
    pull->sink.kind = RAY_KIND_FILE;
    status = reserve(path, file, card->size_bytes, &pull->transfer->disk);
    if (status != RAY_OK && !pull->sink.goes_on) {
        // Nothing is in it yet.
        close(file);
        pull->sink.file = -1;
        pull->sink.kind = -1;
        unlink(path);
        ray__journal_close(&pull->sink.journal, true);
    }
    return status;
}

ray_status ray__sink_begin(ray_pull *pull) {
    if (pull->sink.kind < 0) {
        return ray__fail(RAY_INVALID_ARGUMENT, "the opened callback of a pull chose no sink; call ray_pull_into_store, _file or _memory in it");
    }
    if (pull->sink.kind != RAY__SINK_MEMORY) {
        pull->sink.range_end = pull->size_bytes;
    }
    // The sink has room for all of it, or a limit of its own, so a lie about the size costs no more than this.
    uint32_t count = ray__sink_chunk_count(pull);
    pull->chunks = calloc((size_t)count + 1, 1);
    pull->checksums = calloc((size_t)count + 1, sizeof pull->checksums[0]);
    pull->depths = calloc((size_t)count + 1, 1);
    pull->next_referred = calloc((size_t)count + 1, sizeof pull->next_referred[0]);
    pull->away = calloc((size_t)count + 1, sizeof pull->away[0]);
    if (pull->chunks == NULL || pull->checksums == NULL || pull->depths == NULL || pull->next_referred == NULL || pull->away == NULL) {
        return ray__fail(RAY_OUT_OF_MEMORY, "the list of %u chunks", count);
    }
    return pull->sink.goes_on ? ray__journal_load(&pull->sink.journal, count, pull->checksums) : RAY_OK;
}

uint32_t ray__sink_chunk_count(const ray_pull *pull) {
    return ray__chunk_count(pull->sink.range_end, pull->chunk_size);
}

uint32_t ray__sink_skipped_count(const ray_pull *pull) {
    return (uint32_t)(pull->sink.range_begin / pull->chunk_size);
}

uint32_t ray__sink_wanted_size(const ray_pull *pull, uint32_t index) {
    uint64_t begin = (uint64_t)index * pull->chunk_size;
    uint64_t end = begin + ray__chunk_raw_size(pull->size_bytes, pull->chunk_size, index);
    begin = begin > pull->sink.range_begin ? begin : pull->sink.range_begin;
    end = end < pull->sink.range_end ? end : pull->sink.range_end;
    return end > begin ? (uint32_t)(end - begin) : 0;
}

uint8_t *ray__sink_destination(const ray_pull *pull, uint32_t index) {
    uint64_t offset = (uint64_t)index * pull->chunk_size;
    if (pull->sink.kind == RAY_KIND_OBJECT) {
        return pull->sink.writer.data + offset;
    }
    return pull->sink.kind == RAY__SINK_MEMORY ? ray__memory_destination(pull, offset, ray__chunk_raw_size(pull->size_bytes, pull->chunk_size, index)) : NULL;
}

static ray_status write_in_turn(ray_pull *pull, const void *bytes, size_t size, uint64_t offset) {
    const uint8_t *at = bytes;
    while (size > 0) {
        ssize_t written = pwrite(pull->sink.file, at, size, (off_t)offset);
        if (written > 0) {
            at += written;
            offset += (uint64_t)written;
            size -= (size_t)written;
        } else if (written == 0 || errno != EINTR) {
            return ray__disk_failure(pull->sink.file, pull->sink.path, size);
        }
    }
    return RAY_OK;
}

ray_status ray__sink_write(ray_pull *pull, const void *bytes, size_t size, uint64_t offset) {
    if (pull->sink.kind == RAY__SINK_MEMORY) {
        ray__memory_write(pull, bytes, size, offset);
        return RAY_OK;
    }
    if (pull->sink.kind == RAY_KIND_OBJECT) {
        memcpy(pull->sink.writer.data + offset, bytes, size);
        return RAY_OK;
    }
    pthread_mutex_lock(&pull->sink.turn);
    ray_status status = write_in_turn(pull, bytes, size, offset);
    pthread_mutex_unlock(&pull->sink.turn);
    return status;
}

ray_status ray__sink_try_write(ray_pull *pull, const void *bytes, size_t size, uint64_t offset, bool *written) {
    *written = true;
    if (pull->sink.kind != RAY_KIND_FILE) {
        return ray__sink_write(pull, bytes, size, offset);
    }
    *written = pthread_mutex_trylock(&pull->sink.turn) == 0;
    if (!*written) {
        return RAY_OK;
    }
    ray_status status = write_in_turn(pull, bytes, size, offset);
    pthread_mutex_unlock(&pull->sink.turn);
    return status;
}

// Whoever serves this copy later need not hash it again, if it is still the same then.
static void keep_checksums(ray_pull *pull) {
    if (pull->sink.kind == RAY__SINK_MEMORY) {
        return; // what lies in the caller's memory is not served
    }
    ray__sums_key key = {.id = &pull->id, .size_bytes = pull->size_bytes, .chunk_size = pull->chunk_size};
    key.stamp = ray__object_stamp(pull->sink.writer.entry, pull->sink.writer.generation);
    struct stat info;
    if (pull->sink.kind == RAY_KIND_FILE) {
        if (fstat(pull->sink.file, &info) != 0) {
            return;
        }
        key.stamp = ray__file_identity(&info);
    }
    // What came by name is not served under its id from here.
    if (pull->size_bytes <= RAY_INLINE_MAX || pull->name != NULL) {
        return;
    }
    ray__sums *sums = ray__sums_acquire(pull->transfer->sums, &key);
    for (uint32_t i = 0; i < pull->chunk_count; i++) {
        ray__sums_set(sums, i, pull->checksums[i]);
    }
    ray__sums_of_file(sums, pull->sink.kind == RAY_KIND_FILE ? ray__file_number(&info) : 0);
    ray__sums_release(sums);
}

ray_status ray__sink_finish(ray_pull *pull) {
    keep_checksums(pull);
    if (pull->sink.kind == RAY_KIND_OBJECT) {
        return ray_object_seal(pull->transfer->store, &pull->sink.writer);
    }
    if (pull->sink.kind == RAY__SINK_MEMORY) {
        return RAY_OK;
    }
    int closed = close(pull->sink.file);
    pull->sink.file = -1;
    return closed == 0 ? RAY_OK : ray__fail_errno(RAY_SYSTEM, "closing %s", pull->sink.path);
}

// Whether another try could not succeed: the bytes are not to be had any more.
static bool is_for_good(ray_status status) {
    return status == RAY_NOT_FOUND || status == RAY_FILE_NOT_FOUND || status == RAY_OBJECT_FREED || status == RAY_OWNER_DIED ||
           status == RAY_CORRUPT || status == RAY_SOURCE_CHANGED;
}

void ray__sink_abandon(ray_pull *pull, ray_status status) {
    if (pull->sink.kind == RAY_KIND_OBJECT) {
        ray_object_abort(pull->transfer->store, &pull->sink.writer);
    } else if (pull->sink.kind == RAY_KIND_FILE) {
        if (pull->sink.file >= 0) {
            close(pull->sink.file);
            pull->sink.file = -1;
        }
        bool keep = pull->sink.journal.file >= 0 && !is_for_good(status);
        if (!keep) {
            unlink(pull->sink.path);
        }
        ray__journal_close(&pull->sink.journal, !keep);
    }
}

void ray__sink_settle(ray_pull *pull) {
    ray__journal_close(&pull->sink.journal, true);
}
