// SPDX-License-Identifier: Apache-2.0
#include "transfer/ahead_file_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/checksum_internal.h"
#include "base/error_internal.h"
#include "base/identity_internal.h"
#include "raystore/transfer.h"
#include "transfer/wire_internal.h"

// Stays in the cache from its reading to its hashing.
#define PIECE (256u << 10)

ray_status ray__ahead_file_init(ray__ahead_file *held) {
    held->file = -1;
    held->room = malloc(PIECE);
    pthread_mutex_init(&held->lock, NULL);
    return held->room != NULL ? RAY_OK : ray__fail(RAY_OUT_OF_MEMORY, "a buffer of %u bytes", PIECE);
}

void ray__ahead_file_destroy(ray__ahead_file *held) {
    pthread_mutex_destroy(&held->lock);
    free(held->room);
}

static void close_locked(ray__ahead_file *held) {
    if (held->file >= 0) {
        close(held->file);
        held->file = -1;
    }
}

bool ray__ahead_file_open(ray__ahead_file *held, const ray_object_id *id, const char *path, struct stat *info) {
    pthread_mutex_lock(&held->lock);
    held->id = *id;
    // Not blocking, in case somebody put a pipe in its place.
    held->file = open(path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (held->file >= 0 && (fstat(held->file, info) != 0 || !S_ISREG(info->st_mode))) {
        close_locked(held);
    }
    bool is_open = held->file >= 0;
    pthread_mutex_unlock(&held->lock);
    return is_open;
}

void ray__ahead_file_close(ray__ahead_file *held) {
    pthread_mutex_lock(&held->lock);
    close_locked(held);
    pthread_mutex_unlock(&held->lock);
}

void ray__ahead_file_let_go(ray__ahead_file *held, const ray_object_id *id) {
    pthread_mutex_lock(&held->lock);
    if (ray_object_id_equal(&held->id, id)) {
        close_locked(held);
    }
    pthread_mutex_unlock(&held->lock);
}

// Without waiting for a disk, where the file system can do that (a tmpfs cannot, and has none). False: not all of it is in memory, or it is to be
// let go.
static bool read_piece(ray__ahead_file *held, uint64_t offset, uint32_t size) {
    struct iovec part = {held->room, size};
    pthread_mutex_lock(&held->lock);
    while (part.iov_len > 0 && held->file >= 0) {
        ssize_t got = preadv2(held->file, &part, 1, (off_t)offset, RWF_NOWAIT);
        if (got < 0 && errno == EOPNOTSUPP) {
            got = preadv(held->file, &part, 1, (off_t)offset);
        }
        if (got <= 0) {
            break;
        }
        part = (struct iovec){(uint8_t *)part.iov_base + got, part.iov_len - (size_t)got};
        offset += (uint64_t)got;
    }
    pthread_mutex_unlock(&held->lock);
    return part.iov_len == 0;
}

static bool is_unchanged(ray__ahead_file *held, const ray__hash_item *item) {
    struct stat info;
    pthread_mutex_lock(&held->lock);
    bool same = held->file >= 0 && fstat(held->file, &info) == 0 && ray__file_identity(&info) == item->stamp;
    pthread_mutex_unlock(&held->lock);
    return same;
}

static bool hash_chunk(ray__ahead_file *held, ray__hasher *hasher, const ray__hash_item *item, uint32_t index, uint64_t *checksum) {
    uint32_t size = ray__chunk_raw_size(item->size_bytes, RAY_CHUNK_SIZE, index);
    ray__checksum sum;
    ray__checksum_begin(&sum);
    for (uint32_t at = 0; at < size; at += PIECE) {
        uint32_t piece = size - at < PIECE ? size - at : PIECE;
        if (!ray__hasher_goes_on(hasher, item) || !read_piece(held, (uint64_t)index * RAY_CHUNK_SIZE + at, piece)) {
            return false;
        }
        ray__hasher_add(hasher, &sum, held->room, piece);
    }
    *checksum = ray__checksum_end(&sum);
    return true;
}

// Chunks that are not in memory are passed over.
enum ray__hash_end ray__ahead_file_hash(ray__ahead_file *held, ray__hasher *hasher, const ray__hash_item *item) {
    uint32_t count = ray__chunk_count(item->size_bytes, RAY_CHUNK_SIZE);
    for (uint32_t index = 0; index < count && ray__hasher_goes_on(hasher, item); index++) {
        uint64_t checksum = 0;
        if (ray__sums_get(item->sums, index) != 0 || !hash_chunk(held, hasher, item, index, &checksum)) {
            continue;
        }
        if (!is_unchanged(held, item)) {
            return RAY__HASH_LEFT;
        }
        ray__hasher_keep(hasher, item, index, checksum);
    }
    return ray__sums_are_whole(item->sums) ? RAY__HASH_WHOLE : RAY__HASH_LEFT;
}
