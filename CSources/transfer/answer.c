// SPDX-License-Identifier: Apache-2.0
// What a find callback says. A failure to keep it is remembered and answered to the peer.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/beneath_internal.h"
#include "base/checksum_internal.h"
#include "base/disk_internal.h"
#include "base/error_internal.h"
#include "codec/bytes_internal.h"
#include "raystore/spill.h"
#include "transfer/answer_internal.h"

void ray__answer_init(ray_answer *answer, ray__share *share, int stop) {
    memset(answer, 0, sizeof *answer);
    answer->share = share;
    answer->stop = stop;
    answer->kind = RAY__ANSWER_NOTHING;
    answer->file = -1;
}

void ray__answer_end(ray_answer *answer) {
    if (answer->file >= 0) {
        close(answer->file);
    }
    answer->file = -1;
    if (answer->source.release != NULL) {
        answer->source.release(answer->source.context);
    }
    memset(&answer->source, 0, sizeof answer->source);
    free(answer->path);
    free(answer->metadata);
    free(answer->descriptor);
    free(answer->sums);
    answer->sums = NULL;
    answer->is_spilled = false;
    answer->file_offset = 0;
    answer->path = NULL;
    answer->metadata = NULL;
    answer->descriptor = NULL;
    if (answer->taken_bytes > 0) {
        ray__share_give(answer->share, answer->taken_bytes);
    }
    answer->taken_bytes = 0;
}

void ray_answer_object(ray_answer *answer) {
    ray__answer_end(answer);
    answer->kind = RAY_KIND_OBJECT;
}

static void *keep(ray_answer *answer, const void *bytes, size_t size) {
    if (size == 0) {
        return NULL;
    }
    void *kept = malloc(size);
    if (kept == NULL) {
        answer->failure = RAY_OUT_OF_MEMORY;
        return NULL;
    }
    memcpy(kept, bytes, size);
    return kept;
}

static void keep_path(ray_answer *answer, const char *path) {
    answer->path = strdup(path);
    if (answer->path == NULL) {
        answer->failure = RAY_OUT_OF_MEMORY;
    }
}

static void keep_about(ray_answer *answer, const void *metadata, size_t metadata_size, const void *descriptor, size_t descriptor_size) {
    if (metadata_size > RAY_METADATA_MAX || descriptor_size > RAY_METADATA_MAX) {
        answer->failure = RAY_TOO_LARGE;
        snprintf(answer->text, sizeof answer->text, "metadata and descriptor are at most %u bytes", RAY_METADATA_MAX);
        return;
    }
    // Both at once: who has one and waits for the other would keep others from either.
    ray_status waited = ray__share_get(answer->share, metadata_size + descriptor_size, answer->stop);
    if (waited != RAY_OK) {
        answer->failure = waited;
        return;
    }
    answer->taken_bytes = metadata_size + descriptor_size;
    answer->metadata = keep(answer, metadata, metadata_size);
    answer->metadata_size = answer->metadata == NULL ? 0 : (uint32_t)metadata_size;
    answer->descriptor = keep(answer, descriptor, descriptor_size);
    answer->descriptor_size = answer->descriptor == NULL ? 0 : (uint32_t)descriptor_size;
}

void ray_answer_file(ray_answer *answer, const char *path, uint64_t size_bytes, int64_t mtime_ns, const void *metadata,
                     size_t metadata_size, const void *descriptor, size_t descriptor_size) {
    ray__answer_end(answer);
    answer->kind = RAY_KIND_FILE;
    answer->size_bytes = size_bytes;
    answer->mtime_ns = mtime_ns;
    keep_path(answer, path);
    keep_about(answer, metadata, metadata_size, descriptor, descriptor_size);
}

void ray_answer_source(ray_answer *answer, const ray_source *source) {
    ray__answer_end(answer);
    memcpy(&answer->source, source, source->struct_size < sizeof answer->source ? source->struct_size : sizeof answer->source);
    // Else it would be taken for an object, or a file, of this machine.
    bool is_whole = source->struct_size >= offsetof(ray_source, release) && answer->source.read != NULL;
    if (!is_whole || (source->kind != RAY_KIND_OBJECT && source->kind != RAY_KIND_FILE)) {
        answer->failure = RAY_INVALID_ARGUMENT;
        ray_answer_message(answer, is_whole ? "a source of a kind that there is not" : "a source without read, or with fields missing before release");
        return;
    }
    answer->kind = (int)source->kind;
    answer->size_bytes = source->size_bytes;
    keep_about(answer, source->metadata, source->metadata_size, source->descriptor, source->descriptor_size);
}

void ray_answer_spilled(ray_answer *answer, const ray_spilled *spilled) {
    ray__answer_end(answer);
    answer->kind = RAY_KIND_OBJECT;
    answer->is_spilled = true;
    answer->size_bytes = spilled->data_size;
    keep_path(answer, spilled->path);
    if (spilled->sums == NULL && spilled->data_size > 0) {
        answer->failure = RAY_INVALID_ARGUMENT;
        ray_answer_message(answer, "what was spilled without sums of its blocks is restored before it is sent");
        return;
    }
    uint64_t before = RAY_SPILL_HEADER_SIZE + spilled->metadata_size;
    bool fits = spilled->metadata_size <= RAY_METADATA_MAX && spilled->owner_size <= INT64_MAX - before;
    before += fits ? spilled->owner_size : 0;
    fits = fits && spilled->offset <= INT64_MAX - before && spilled->data_size <= INT64_MAX - before - spilled->offset;
    if (!fits) {
        answer->failure = RAY_TOO_LARGE;
        snprintf(answer->text, sizeof answer->text, "%.200s: no record at byte %llu has %llu bytes, or its metadata has more than %u", spilled->path,
                 (unsigned long long)spilled->offset, (unsigned long long)spilled->data_size, RAY_METADATA_MAX);
        return;
    }
    answer->file_offset = spilled->offset + before;
    answer->metadata_checksum = spilled->metadata_checksum;
    uint64_t sums_size = ray_spill_sum_count(spilled->data_size) * sizeof spilled->sums[0];
    ray_status waited = ray__share_get(answer->share, spilled->metadata_size + sums_size, answer->stop);
    if (waited != RAY_OK) {
        answer->failure = waited;
        return;
    }
    answer->taken_bytes = spilled->metadata_size + sums_size;
    answer->sums = keep(answer, spilled->sums, sums_size);
    // Read when the file is opened.
    answer->metadata_size = (uint32_t)spilled->metadata_size;
    answer->metadata = malloc(spilled->metadata_size + 1);
    if (answer->metadata == NULL) {
        answer->failure = RAY_OUT_OF_MEMORY;
    }
}

// Another file of this name, or the same with other contents, is another edition.
static uint64_t edition_of(const struct stat *info) {
    uint8_t bytes[32];
    ray__put_u64(bytes, (uint64_t)info->st_ino);
    ray__put_u64(bytes + 8, (uint64_t)info->st_size);
    ray__put_u64(bytes + 16, (uint64_t)info->st_mtim.tv_sec);
    ray__put_u64(bytes + 24, (uint64_t)info->st_mtim.tv_nsec);
    return ray__checksum_of(bytes, sizeof bytes) | 1;
}

ray_status ray_answer_beneath(ray_answer *answer, int directory, const char *name) {
    ray__answer_end(answer);
    answer->kind = RAY__ANSWER_NOTHING;
    int file = -1;
    struct stat info;
    ray_status status = ray__open_beneath(directory, name, &file);
    if (status == RAY_OK && fstat(file, &info) != 0) {
        status = ray__fail_errno(RAY_SYSTEM, "looking at %s", name);
    }
    answer->path = status == RAY_OK ? strdup(name) : NULL;
    if (status == RAY_OK && answer->path == NULL) {
        status = ray__fail(RAY_OUT_OF_MEMORY, "a name");
    }
    if (status != RAY_OK) {
        if (file >= 0) {
            close(file);
        }
        ray_answer_message(answer, ray_last_error_message());
        return status;
    }
    answer->kind = RAY_KIND_FILE;
    answer->file = file;
    answer->size_bytes = (uint64_t)info.st_size;
    answer->mtime_ns = ray__mtime_of(&info);
    answer->edition = edition_of(&info);
    return RAY_OK;
}

// Holders beyond the limit are left out: the peer needs some, not all.
void ray_answer_holder(ray_answer *answer, const char *host, uint16_t port) {
    size_t length = strlen(host);
    if (answer->holder_count < RAY__HOLDERS_MAX && length > 0 && length < RAY_HOST_MAX) {
        ray_endpoint *holder = &answer->holders[answer->holder_count++];
        memcpy(holder->host, host, length + 1);
        holder->port = port;
    }
}

void ray_answer_message(ray_answer *answer, const char *message) {
    snprintf(answer->text, sizeof answer->text, "%s", message);
}
