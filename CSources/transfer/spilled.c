// SPDX-License-Identifier: Apache-2.0
// What lies in a record of a spill file: opened where it is, and hashed against what was noted when it was spilled.
//
// A file's chunk has the checksum that its sender computes, which says nothing of what happened on the disk before. A record comes with
// sums of blocks of RAY_SPILL_SUM_BYTES, made when it was in memory. Before a chunk leaves for the first time the block that it is in is
// hashed and compared; a chunk that is smaller than a block gets its own sum in the same pass.
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/checksum_internal.h"
#include "base/disk_internal.h"
#include "base/error_internal.h"
#include "raystore/spill.h"
#include "transfer/transfer_internal.h"

_Static_assert(RAY_SPILL_SUM_BYTES == RAY_CHUNK_SIZE, "every chunk size divides a block");

ray_status ray__spilled_check(ray__offer *offer) {
    struct stat info;
    if (fstat(offer->file, &info) != 0) {
        return ray__fail_errno(RAY_SYSTEM, "looking at %s", offer->answer.path);
    }
    if ((uint64_t)info.st_size < offer->answer.file_offset + offer->size_bytes) {
        return ray__fail(RAY_CORRUPT, "%s ends at byte %llu, in the middle of what was spilled there at byte %llu: somebody cut it",
                         offer->answer.path, (unsigned long long)info.st_size, (unsigned long long)offer->answer.file_offset);
    }
    if (ray__mtime_of(&info) != offer->answer.mtime_ns) {
        // Perhaps another record of the file; what is noted of this one does not count any more.
        atomic_store(&offer->touched, true);
    }
    return RAY_OK;
}

static ray_status altered(const ray__offer *offer, uint64_t offset, uint64_t size) {
    return ray__fail(RAY_CORRUPT, "%s was altered: of what was spilled there, the %llu bytes at byte %llu are not the same any more",
                     offer->answer.path, (unsigned long long)size, (unsigned long long)offset);
}

// Which lies before the data.
static ray_status read_metadata(ray__offer *offer) {
    uint32_t size = offer->answer.metadata_size;
    uint64_t offset = offer->answer.file_offset - size;
    offer->view.metadata = offer->answer.metadata;
    offer->view.metadata_size = size;
    ssize_t got;
    do {
        got = pread(offer->file, offer->answer.metadata, size, (off_t)offset);
    } while (got < 0 && errno == EINTR);
    if (got < 0) {
        return ray__fail_errno(RAY_SYSTEM, "reading %s", offer->answer.path);
    }
    bool same = (size_t)got == size && ray__checksum_of(offer->answer.metadata, size) == offer->answer.metadata_checksum;
    return same ? RAY_OK : altered(offer, offset, size);
}

ray_status ray__spilled_open(ray__offer *offer) {
    offer->size_bytes = offer->answer.size_bytes;
    // Not blocking, in case somebody put a pipe in its place.
    offer->file = open(offer->answer.path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK | O_NOFOLLOW);
    if (offer->file < 0) {
        bool is_gone = errno == ENOENT || errno == ENOTDIR;
        return ray__fail_errno(is_gone ? RAY_OBJECT_LOST : RAY_SYSTEM, "what was spilled to %s at byte %llu %s", offer->answer.path,
                               (unsigned long long)offer->answer.file_offset, is_gone ? "is gone: somebody removed the file" : "cannot be read");
    }
    struct stat info;
    if (fstat(offer->file, &info) != 0 || !S_ISREG(info.st_mode)) {
        return ray__fail(RAY_CORRUPT, "%s is not the file that was spilled there", offer->answer.path);
    }
    offer->answer.mtime_ns = ray__mtime_of(&info);
    posix_fadvise(offer->file, (off_t)offer->answer.file_offset, (off_t)offer->size_bytes, POSIX_FADV_SEQUENTIAL);
    RAY_TRY(ray__spilled_check(offer));
    return read_metadata(offer);
}

void ray__spilled_note(ray_transfer *transfer, const ray__offer *offer, ray_status status) {
    if (offer->answer.is_spilled && (status == RAY_CORRUPT || status == RAY_OBJECT_LOST) && transfer->damaged != NULL) {
        transfer->damaged(transfer->context, &offer->id, offer->answer.path, offer->answer.file_offset, status, ray_last_error_message());
    }
}

ray_status ray__spilled_matches(const ray__offer *offer, const void *bytes, uint64_t size) {
    bool same = size == 0 || ray__checksum_of(bytes, (size_t)size) == offer->answer.sums[0];
    return same ? RAY_OK : altered(offer, offer->answer.file_offset, size);
}

// One pass over the block for both: pieces stay in the core's cache.
static ray_status hash_block(ray__offer *offer, uint8_t *room, uint64_t begin, uint64_t end, uint64_t *block_sum, uint64_t *chunk_sums) {
    bool is_whole = end - begin <= offer->chunk_size; // the block is one chunk
    ray__checksum block;
    ray__checksum_begin(&block);
    for (uint64_t from = begin; from < end; from += offer->chunk_size) {
        uint64_t until = end - from < offer->chunk_size ? end : from + offer->chunk_size;
        ray__checksum chunk;
        ray__checksum_begin(&chunk);
        for (uint64_t at = from; at < until;) {
            uint32_t size = until - at < RAY_CHECKSUM_PIECE ? (uint32_t)(until - at) : RAY_CHECKSUM_PIECE;
            RAY_TRY(ray__offer_read(offer, room, at, size));
            ray__checksum_add(&block, room, size);
            if (!is_whole) {
                ray__checksum_add(&chunk, room, size);
            }
            at += size;
        }
        chunk_sums[(from - begin) / offer->chunk_size] = ray__checksum_end(&chunk);
    }
    *block_sum = ray__checksum_end(&block);
    if (is_whole) {
        chunk_sums[0] = *block_sum;
    }
    return RAY_OK;
}

ray_status ray__spilled_sum(ray__offer *offer, uint8_t *room, uint32_t index, uint64_t *checksum) {
    uint64_t sums[RAY_SPILL_SUM_BYTES / RAY_CHUNK_SIZE_MIN];
    uint64_t block = (uint64_t)index * offer->chunk_size / RAY_SPILL_SUM_BYTES;
    uint64_t begin = block * RAY_SPILL_SUM_BYTES;
    uint64_t end = offer->size_bytes - begin < RAY_SPILL_SUM_BYTES ? offer->size_bytes : begin + RAY_SPILL_SUM_BYTES;
    uint64_t found = 0;
    RAY_TRY(hash_block(offer, room, begin, end, &found, sums));
    if (found != offer->answer.sums[block]) {
        return altered(offer, offer->answer.file_offset + begin, end - begin);
    }
    uint32_t first = (uint32_t)(begin / offer->chunk_size);
    uint32_t count = ray__chunk_count(end - begin, offer->chunk_size);
    for (uint32_t i = 0; i < count; i++) {
        ray__sums_set(offer->sums, first + i, sums[i]);
    }
    *checksum = sums[index - first];
    return RAY_OK;
}
