// SPDX-License-Identifier: Apache-2.0
#include "plasma/layout_internal.h"

#include <errno.h>
#include <string.h>

#include "base/error_internal.h"

static uint64_t take(uint64_t *end, uint64_t size) {
    uint64_t offset = *end;
    *end = (offset + size + RAY__UNIT - 1) / RAY__UNIT * RAY__UNIT;
    return offset;
}

void ray__layout_make(uint64_t capacity, uint32_t entry_count_max, ray__layout *layout) {
    layout->capacity = capacity;
    layout->entry_count_max = entry_count_max;
    // A quarter of the places stays free at least, so that a search for an unknown id soon meets a free one.
    uint32_t table_size = 64;
    while (table_size < entry_count_max + entry_count_max / 3 + 1) {
        table_size *= 2;
    }
    layout->table_size = table_size;
    // Free blocks never touch each other, so there is at most one more of them than of used ones.
    layout->block_count = 2 * entry_count_max + 2;
    uint32_t words = table_size;
    uint64_t end = RAY__PAGE;
    layout->slots_offset = take(&end, RAY_SLOTS_MAX * sizeof(ray__slot));
    layout->buckets_offset = take(&end, RAY__WAIT_BUCKETS * sizeof(ray__bucket));
    for (int level = 0; level < 3; level++) {
        words = (words + 63) / 64;
        layout->attention_words[level] = words;
        layout->attention_offset[level] = take(&end, words * sizeof(uint64_t));
    }
    layout->used_offset = take(&end, table_size / 64 * sizeof(uint64_t));
    layout->sealed_offset = take(&end, RAY__SEALED_RING * sizeof(uint64_t));
    layout->arena_offset = take(&end, sizeof(ray__arena));
    layout->blocks_offset = take(&end, layout->block_count * sizeof(ray__block));
    layout->origins_offset = take(&end, table_size * (uint64_t)sizeof(ray__origin));
    end = (end + RAY__PAGE - 1) / RAY__PAGE * RAY__PAGE;
    layout->table_offset = take(&end, table_size * (uint64_t)sizeof(ray__entry));
    layout->meta_size = (end + RAY__PAGE - 1) / RAY__PAGE * RAY__PAGE;
}

uint64_t ray__layout_signature(void) {
    static const uint64_t facts[] = {
        RAY__LAYOUT_VERSION, RAY__UNIT, RAY__LARGE_BYTES, RAY__WAIT_BUCKETS, RAY_CLIENTS_MAX,
        RAY__FLAG_COUNTED, RAY__FLAG_WATCHED, RAY__FLAG_DOOMED, RAY__FLAG_NODE_PIN, RAY__FLAG_NODE_REF,
        RAY__CREATOR_SHIFT, RAY__PASSED_SHIFT,
        sizeof(ray__header), offsetof(ray__header, capacity), offsetof(ray__header, entry_count_max),
        offsetof(ray__header, table_size), offsetof(ray__header, block_count), offsetof(ray__header, poisoned),
        offsetof(ray__header, reserved_bytes), offsetof(ray__header, lock), sizeof(pthread_mutex_t),
        offsetof(ray__header, entry_count), offsetof(ray__header, lock_wanted), offsetof(ray__header, tick), offsetof(ray__header, attention_seq),
        offsetof(ray__header, attention_waiting), offsetof(ray__header, room_wanted), offsetof(ray__header, room_pass),
        offsetof(ray__header, room_seq), offsetof(ray__header, room_kept), offsetof(ray__header, sealed_count), RAY__SEALED_RING,
        RAY__SEALED_ABOVE,
        sizeof(ray__slot), offsetof(ray__slot, serial), offsetof(ray__slot, pid), offsetof(ray__slot, wake_seq),
        offsetof(ray__slot, came),
        sizeof(ray__bucket), offsetof(ray__bucket, waiting),
        sizeof(ray__entry), offsetof(ray__entry, id_tail), offsetof(ray__entry, metadata_size),
        offsetof(ray__entry, state), offsetof(ray__entry, place), offsetof(ray__entry, data_size),
        offsetof(ray__entry, access), offsetof(ray__entry, pins), offsetof(ray__entry, refs),
        sizeof(ray__block), offsetof(ray__block, size), offsetof(ray__block, before), offsetof(ray__block, after),
        offsetof(ray__block, next_free), offsetof(ray__block, previous_free),
        sizeof(ray__arena), offsetof(ray__arena, used), offsetof(ray__arena, row_bitmap), offsetof(ray__arena, free),
        offsetof(ray__arena, small_free), offsetof(ray__arena, free_count), sizeof(ray__origin),
        offsetof(ray__origin, pid), RAY__ORIGIN_TENTH_NS,
        offsetof(ray__arena, class_bitmap), offsetof(ray__arena, heads), offsetof(ray__arena, caches), RAY__CLASS_BITS,
    };
    uint64_t hash = 0xcbf29ce484222325u; // FNV-1a, a fact at a time
    for (size_t i = 0; i < sizeof facts / sizeof *facts; i++) {
        hash = (hash ^ facts[i]) * 0x100000001b3u;
        hash ^= hash >> 29;
    }
    return hash;
}

static ray_status write_lock(pthread_mutex_t *lock) {
    pthread_mutexattr_t attributes;
    int error = pthread_mutexattr_init(&attributes);
    if (error == 0) {
        pthread_mutexattr_setpshared(&attributes, PTHREAD_PROCESS_SHARED);
        pthread_mutexattr_setrobust(&attributes, PTHREAD_MUTEX_ROBUST);
        error = pthread_mutex_init(lock, &attributes);
        pthread_mutexattr_destroy(&attributes);
    }
    if (error != 0) {
        errno = error;
        return ray__fail_errno(RAY_SYSTEM, "make the store's lock");
    }
    return RAY_OK;
}

ray_status ray__layout_write(const ray__layout *layout, void *meta) {
    ray__header *header = meta;
    header->magic = RAY__MAGIC;
    header->signature = ray__layout_signature();
    header->meta_size = layout->meta_size;
    header->capacity = layout->capacity;
    header->entry_count_max = layout->entry_count_max;
    header->table_size = layout->table_size;
    header->block_count = layout->block_count;
    return write_lock(&header->lock);
}

ray_status ray__layout_read(const void *meta, uint64_t meta_size, uint64_t data_size, ray__layout *layout) {
    const ray__header *header = meta;
    if (header->magic != RAY__MAGIC) {
        return ray__fail(RAY_LAYOUT_MISMATCH, "the shared memory is not a store: it begins with %016llx",
                         (unsigned long long)header->magic);
    }
    uint64_t signature = ray__layout_signature();
    if (header->signature != signature) {
        return ray__fail(RAY_LAYOUT_MISMATCH,
                         "the store was made by another build of the library (layout %016llx, this build has %016llx): "
                         "use the same version in the node and in its clients",
                         (unsigned long long)header->signature, (unsigned long long)signature);
    }
    if (header->entry_count_max == 0 || header->entry_count_max > RAY__ENTRY_MAX || header->capacity == 0 ||
        header->capacity > RAY__CAPACITY_MAX || header->capacity % RAY__PAGE != 0) {
        return ray__fail(RAY_LAYOUT_MISMATCH, "the store's header is damaged: %u entries, %llu bytes",
                         header->entry_count_max, (unsigned long long)header->capacity);
    }
    ray__layout_make(header->capacity, header->entry_count_max, layout);
    if (layout->meta_size != meta_size || layout->meta_size != header->meta_size || layout->capacity != data_size ||
        layout->table_size != header->table_size || layout->block_count != header->block_count) {
        return ray__fail(RAY_LAYOUT_MISMATCH, "the store's segments have %llu and %llu bytes, its header says %llu and %llu",
                         (unsigned long long)meta_size, (unsigned long long)data_size,
                         (unsigned long long)layout->meta_size, (unsigned long long)layout->capacity);
    }
    return RAY_OK;
}
