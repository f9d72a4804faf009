// SPDX-License-Identifier: Apache-2.0
// Spill files: written with vectors from where the objects lie, read with vectors to where they shall lie.
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/checksum_internal.h"
#include "base/directory_internal.h"
#include "base/disk_internal.h"
#include "base/error_internal.h"
#include "raystore/file.h"
#include "raystore/spill.h"

_Static_assert(sizeof(ray_spill_part) == sizeof(struct iovec) && offsetof(ray_spill_part, bytes) == offsetof(struct iovec, iov_base) &&
                   offsetof(ray_spill_part, size) == offsetof(struct iovec, iov_len),
               "parts are given to the kernel as they are");

// Parts given to one call. The kernel takes 1,024; beyond some ten, more gain nothing.
#define PARTS_MAX 256
// Of packed data that is not in memory, written at once.
#define PACKED_BYTES (1u << 20)
// Given to the kernel at once. What is to be on the disk before the call returns begins to be written back whenever so much more is there: the disk
// works while the next is copied. Of small parts a call gives it less; to begin with each of those would write the page where two meet twice.
#define PIECE_BYTES (8u << 20)

// A place in a list of parts.
typedef struct place {
    const ray_spill_part *parts;
    uint32_t count;
    uint32_t at;
    size_t into; // bytes of parts[at] that are done
} place;

static uint64_t size_of(const ray_spill_part *parts, uint32_t count) {
    uint64_t size = 0;
    for (uint32_t i = 0; i < count; i++) {
        size += parts[i].size;
    }
    return size;
}

// What the next call is to move, without parts that are empty, and at most so much; none when the first is not in memory.
static int next_parts(const place *walk, size_t most, ray_spill_part *next) {
    int count = 0;
    for (uint32_t i = walk->at; i < walk->count && count < PARTS_MAX && most > 0; i++) {
        size_t done = i == walk->at ? walk->into : 0;
        if (walk->parts[i].size > 0 && walk->parts[i].bytes == NULL) {
            break;
        }
        size_t size = walk->parts[i].size - done;
        if (size > 0) {
            size = size < most ? size : most;
            next[count++] = (ray_spill_part){(char *)walk->parts[i].bytes + done, size};
            most -= size;
        }
    }
    return count;
}

static void advance(place *walk, size_t moved) {
    while (walk->at < walk->count && moved >= walk->parts[walk->at].size - walk->into) {
        moved -= walk->parts[walk->at].size - walk->into;
        walk->at++;
        walk->into = 0;
    }
    walk->into += moved;
}

// Packs what is to be written next and is not in memory, into the buffer that is made for it; nothing when all is written.
static ray_status pack_next(place *walk, ray_spill_packed *packed, uint8_t **buffer, ray_spill_part *next, int *ready) {
    while (walk->at < walk->count && walk->parts[walk->at].size == walk->into) {
        walk->at++;
        walk->into = 0;
    }
    if (walk->at == walk->count) {
        return RAY_OK;
    }
    if (packed == NULL) {
        return ray__fail(RAY_INVALID_ARGUMENT, "part %u of a spill file has %zu bytes and is neither in memory nor packed", walk->at,
                         walk->parts[walk->at].size);
    }
    *buffer = *buffer == NULL ? malloc(PACKED_BYTES) : *buffer;
    if (*buffer == NULL) {
        return ray__fail(RAY_OUT_OF_MEMORY, "a buffer for packed data");
    }
    size_t left = walk->parts[walk->at].size - walk->into;
    *ready = 1;
    *next = (ray_spill_part){*buffer, left < PACKED_BYTES ? left : PACKED_BYTES};
    return ray_spill_packed_read(packed, walk->at, walk->into, *buffer, next->size);
}

static ray_status write_parts(const char *path, int file, uint64_t size, place walk, ray_spill_packed *packed, uint8_t **buffer,
                              uint32_t flags) {
    ray_spill_part next[PARTS_MAX];
    off_t written = 0;
    off_t begun = 0; // to be written back
    for (;;) {
        int ready = next_parts(&walk, PIECE_BYTES, next);
        if (ready == 0) {
            RAY_TRY(pack_next(&walk, packed, buffer, next, &ready));
        }
        if (ready == 0) {
            return RAY_OK;
        }
        ssize_t moved = writev(file, (const struct iovec *)next, ready);
        if (moved < 0 && errno == EINTR) {
            continue;
        }
        if (moved <= 0) {
            errno = moved == 0 ? ENOSPC : errno;
            return ray__disk_failure(file, path, size);
        }
        advance(&walk, (size_t)moved);
        written += moved;
        if ((flags & RAY_SPILL_SYNC) != 0 && written - begun >= (off_t)PIECE_BYTES) {
            // A hint: a file system without it writes back in its own time.
            (void)sync_file_range(file, begun, written - begun, SYNC_FILE_RANGE_WRITE);
            begun = written;
        }
    }
}

static ray_status write_all(const char *path, int file, uint64_t size, const ray_spill_part *parts, uint32_t count, ray_spill_packed *packed,
                            uint32_t flags) {
    uint8_t *buffer = NULL;
    ray_status status = write_parts(path, file, size, (place){parts, count, 0, 0}, packed, &buffer, flags);
    free(buffer);
    return status;
}

static ray_status finish(const char *path, int file, uint64_t size, uint32_t flags) {
    if ((flags & RAY_SPILL_SYNC) != 0) {
        if (fdatasync(file) != 0) {
            return ray__disk_is_full(errno) ? ray__disk_failure(file, path, size) : ray__fail_errno(RAY_SYSTEM, "syncing %s", path);
        }
        return ray__directory_sync_of(path);
    }
    return RAY_OK;
}

ray_status ray_spill_write(const char *path, const ray_spill_part *parts, uint32_t part_count, uint64_t reserve_bytes, uint32_t flags) {
    return ray_spill_write_packed(path, parts, part_count, NULL, reserve_bytes, flags);
}

ray_status ray_spill_write_packed(const char *path, const ray_spill_part *parts, uint32_t part_count, ray_spill_packed *packed,
                                  uint64_t reserve_bytes, uint32_t flags) {
    int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (file < 0) {
        if (ray__disk_is_full(errno)) {
            return ray__fail_errno(RAY_OUT_OF_DISK, "spilling to %s", path);
        }
        return ray__fail_errno(errno == EEXIST ? RAY_EXISTS : RAY_SYSTEM, "spilling to %s", path);
    }
    uint64_t size = size_of(parts, part_count);
    ray_status status = ray__disk_check(file, path, size, &(ray__disk_limits){.reserve_bytes = reserve_bytes});
    if (status == RAY_OK) {
        status = write_all(path, file, size, parts, part_count, packed, flags);
    }
    if (status == RAY_OK) {
        status = finish(path, file, size, flags);
    }
    // Some file systems find out only now that there is no room.
    if (close(file) != 0 && status == RAY_OK) {
        status = ray__fail_errno(ray__disk_is_full(errno) ? RAY_OUT_OF_DISK : RAY_SYSTEM, "closing %s", path);
    }
    if (status != RAY_OK) {
        unlink(path);
    }
    return status;
}

void ray_spill_write_back(const char *path) {
    int file = open(path, O_WRONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (file >= 0) {
        (void)sync_file_range(file, 0, 0, SYNC_FILE_RANGE_WRITE);
        close(file);
    }
}

// Adds to the sums what has been read since the place: of each record its third part.
static void add_to_sums(place *summed, size_t moved, ray__checksum *sum, uint64_t *checksums) {
    for (; summed->at < summed->count; summed->at++, summed->into = 0) {
        const ray_spill_part *part = &summed->parts[summed->at];
        size_t left = part->size - summed->into;
        size_t some = left < moved ? left : moved;
        bool is_data = summed->at % RAY_SPILL_READ_PARTS == RAY_SPILL_READ_PARTS - 1;
        uint64_t *checksum = &checksums[summed->at / RAY_SPILL_READ_PARTS];
        if (is_data && some == part->size) {
            *checksum = ray__checksum_of(part->bytes, some);
        } else if (is_data && some > 0) {
            if (summed->into == 0) {
                ray__checksum_begin(sum);
            }
            ray__checksum_add(sum, (const uint8_t *)part->bytes + summed->into, some);
        }
        summed->into += some;
        moved -= some;
        if (summed->into < part->size) {
            return;
        }
        if (is_data && some < part->size) {
            *checksum = ray__checksum_end(sum);
        }
    }
}

// With checksums the parts are those of records, and so much is read at once that it can be summed up from the cache.
static ray_status read_all(const char *path, int file, uint64_t offset, const ray_spill_part *parts, uint32_t count, uint64_t *checksums) {
    place walk = {parts, count, 0, 0};
    place summed = walk;
    ray__checksum sum;
    ray_spill_part next[PARTS_MAX];
    size_t most = checksums == NULL ? SIZE_MAX : RAY_CHECKSUM_PIECE;
    for (int ready; (ready = next_parts(&walk, most, next)) > 0;) {
        ssize_t moved = preadv(file, (const struct iovec *)next, ready, (off_t)offset);
        if (moved < 0 && errno == EINTR) {
            continue;
        }
        if (moved < 0) {
            return ray__fail_errno(RAY_SYSTEM, "reading %s at byte %llu", path, (unsigned long long)offset);
        }
        if (moved == 0) {
            return ray__fail(RAY_CORRUPT, "%s ends at byte %llu, in the middle of what was spilled there: somebody cut it", path,
                             (unsigned long long)offset);
        }
        advance(&walk, (size_t)moved);
        offset += (uint64_t)moved;
        if (checksums != NULL) {
            add_to_sums(&summed, (size_t)moved, &sum, checksums);
        }
    }
    while (walk.at < walk.count && walk.parts[walk.at].size == 0) {
        walk.at++;
    }
    if (walk.at < walk.count) {
        return ray__fail(RAY_INVALID_ARGUMENT, "part %u of what is to be read from %s has %zu bytes and no memory for them", walk.at, path,
                         walk.parts[walk.at].size);
    }
    return RAY_OK;
}

static ray_status read_file(const char *path, uint64_t offset, const ray_spill_part *parts, uint32_t part_count, uint64_t *checksums) {
    int file = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (file < 0) {
        return ray__fail_errno(errno == ENOENT || errno == ENOTDIR ? RAY_FILE_NOT_FOUND : RAY_SYSTEM, "what was spilled to %s cannot be read",
                               path);
    }
    ray_status status = read_all(path, file, offset, parts, part_count, checksums);
    close(file);
    return status;
}

ray_status ray_spill_read(const char *path, uint64_t offset, const ray_spill_part *parts, uint32_t part_count) {
    return read_file(path, offset, parts, part_count, NULL);
}

ray_status ray_spill_read_records(const char *path, uint64_t offset, const ray_spill_part *parts, uint32_t record_count,
                                  uint64_t *checksums) {
    return read_file(path, offset, parts, record_count * RAY_SPILL_READ_PARTS, checksums);
}
