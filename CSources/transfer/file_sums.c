// SPDX-License-Identifier: Apache-2.0
// The checksums of a file on their way to where its owner keeps them, and back; those of an object from who has put it.
#include <sys/stat.h>

#include "base/error_internal.h"
#include "base/identity_internal.h"
#include "plasma/glimpse_internal.h"
#include "transfer/transfer_internal.h"

static ray_status look(const char *path, struct stat *info) {
    if (stat(path, info) != 0) {
        return ray__fail_errno(RAY_SYSTEM, "looking at %s", path);
    }
    return S_ISREG(info->st_mode) ? RAY_OK : ray__fail(RAY_NOT_A_FILE, "%s is not a regular file", path);
}

static ray__sums_key key_of(const ray_object_id *id, const struct stat *info) {
    return (ray__sums_key){.id = id,
                           .size_bytes = (uint64_t)info->st_size,
                           .chunk_size = RAY_CHUNK_SIZE,
                           .stamp = ray__file_identity(info),
                           .settled_ns = ray__file_settled_ns(info)};
}

ray_status ray_transfer_sum_ahead(ray_transfer *transfer, const ray_object_id *id, const char *path) {
    return transfer->ahead == NULL ? RAY_OK : ray__ahead_ask(transfer->ahead, id, path);
}

ray_status ray_transfer_file_placed(ray_transfer *transfer, const ray_object_id *id, const char *path) {
    struct stat info;
    RAY_TRY(look(path, &info));
    if ((uint64_t)info.st_size > RAY_INLINE_MAX &&
        !ray__sums_restamp(transfer->sums, id, ray__file_number(&info), ray__file_identity(&info))) {
        ray__sums_key key = key_of(id, &info);
        ray__sums *sums = ray__sums_acquire(transfer->sums, &key);
        if (sums != NULL) {
            ray__sums_trust(transfer->sums, sums);
        }
        ray__sums_release(sums);
    }
    return RAY_OK;
}

ray_status ray_transfer_file_sums_give(ray_transfer *transfer, const ray_object_id *id, const char *path, const uint64_t *sums,
                                       uint32_t count) {
    struct stat info;
    RAY_TRY(look(path, &info));
    if (ray__chunk_count((uint64_t)info.st_size, RAY_CHUNK_SIZE) != count) {
        return ray__fail(RAY_INVALID_ARGUMENT, "%s has %llu bytes, which are not %u chunks", path, (unsigned long long)info.st_size, count);
    }
    ray__sums_key key = key_of(id, &info);
    ray__sums *kept = ray__sums_acquire(transfer->sums, &key);
    if (kept == NULL) {
        return ray__fail(RAY_OUT_OF_MEMORY, "the checksums of %u chunks", count);
    }
    for (uint32_t i = 0; i < count; i++) {
        ray__sums_set(kept, i, sums[i]);
    }
    ray__sums_trust(transfer->sums, kept);
    (void)ray__sums_tell(kept); // whoever gave them has them
    ray__sums_release(kept);
    return RAY_OK;
}

ray_status ray_transfer_object_sums_give(ray_transfer *transfer, const ray_object_id *id, uint64_t value, uint64_t size_bytes,
                                         const uint64_t *sums, uint32_t count) {
    if (size_bytes == 0 || ray__chunk_count(size_bytes, RAY_CHUNK_SIZE) != count) {
        return ray__fail(RAY_INVALID_ARGUMENT, "an object of %llu bytes has no %u chunks", (unsigned long long)size_bytes, count);
    }
    ray__glimpse seen;
    if (transfer->store == NULL || !ray__glimpse_begin(transfer->store, id, &seen) || seen.stamp != value || seen.data_size != size_bytes) {
        char name[RAY_OBJECT_ID_HEX_SIZE];
        ray_object_id_format(id, name);
        return ray__fail(RAY_NOT_FOUND, "object %s of %llu bytes, as it was when it was hashed, is not here", name, (unsigned long long)size_bytes);
    }
    ray__sums_key key = {.id = id, .size_bytes = size_bytes, .chunk_size = RAY_CHUNK_SIZE, .stamp = value};
    if (!ray__sums_learn(transfer->sums, &key, sums)) {
        return ray__fail(RAY_OUT_OF_MEMORY, "the checksums of %u chunks", count);
    }
    atomic_fetch_add(&transfer->given_bytes, size_bytes);
    return RAY_OK;
}

ray_status ray_transfer_file_sums_read(ray_transfer *transfer, const ray_object_id *id, const char *path, uint64_t *identity, uint64_t *sums,
                                       uint32_t capacity, uint32_t *count) {
    struct stat info;
    *identity = 0;
    *count = 0;
    RAY_TRY(look(path, &info));
    ray__sums_key key = key_of(id, &info);
    ray__sums *kept = ray__sums_peek(transfer->sums, &key);
    bool whole = kept != NULL && ray__sums_are_whole(kept);
    uint32_t chunks = ray__chunk_count(key.size_bytes, RAY_CHUNK_SIZE);
    for (uint32_t i = 0; i < chunks && i < capacity && whole; i++) {
        sums[i] = ray__sums_get(kept, i);
    }
    ray__sums_release(kept);
    if (!whole) {
        return ray__fail(RAY_NOT_FOUND, "not all checksums of %s as it is now are known", path);
    }
    *identity = key.stamp;
    *count = chunks;
    return chunks <= capacity ? RAY_OK : ray__fail(RAY_INVALID_ARGUMENT, "%s has %u chunks, there is room for %u", path, chunks, capacity);
}
