// SPDX-License-Identifier: Apache-2.0
// Records: how objects lie one after the other in a file.
#include <stdio.h>
#include <string.h>

#include "base/checksum_internal.h"
#include "base/error_internal.h"
#include "codec/bytes_internal.h"
#include "spill/sums_internal.h"

void ray_spill_name(const ray_object_id *first, uint32_t count, char *name) {
    char text[RAY_OBJECT_ID_HEX_SIZE];
    ray_object_id_format(first, text);
    snprintf(name, RAY_SPILL_NAME_SIZE, "%s-multi-%u", text, count);
}

// A part is for writing and for reading, so it has no const; what is laid down is only read.
static ray_spill_part part_of(const void *bytes, uint64_t size) {
    return (ray_spill_part){(void *)(uintptr_t)bytes, (size_t)size};
}

uint64_t ray_spill_sum_count(uint64_t data_size) {
    return data_size / RAY_SPILL_SUM_BYTES + (data_size % RAY_SPILL_SUM_BYTES != 0);
}

void ray_spill_lay_unsummed(ray_spill_object *objects, uint32_t count, uint8_t *headers, ray_spill_part *parts) {
    uint64_t offset = 0;
    for (uint32_t i = 0; i < count; i++) {
        ray_spill_object *object = &objects[i];
        uint8_t *header = headers + (size_t)i * RAY_SPILL_HEADER_SIZE;
        ray__put_u64(header, object->owner_size);
        ray__put_u64(header + 8, object->metadata_size);
        ray__put_u64(header + 16, object->data_size);
        parts[0] = part_of(header, RAY_SPILL_HEADER_SIZE);
        parts[1] = part_of(object->owner, object->owner_size);
        parts[2] = part_of(object->metadata, object->metadata_size);
        parts[3] = part_of(object->data, object->data_size);
        parts += RAY_SPILL_PARTS;
        object->offset = offset;
        object->size = RAY_SPILL_HEADER_SIZE + object->owner_size + object->metadata_size + object->data_size;
        object->is_summed = false;
        object->metadata_checksum = ray__checksum_of(object->metadata, (size_t)object->metadata_size);
        offset += object->size;
    }
}

void ray_spill_lay(ray_spill_object *objects, uint32_t count, uint8_t *headers, ray_spill_part *parts) {
    ray_spill_lay_unsummed(objects, count, headers, parts);
    for (uint32_t i = 0; i < count; i++) {
        ray__spill_sum(&objects[i]);
    }
}

ray_status ray_spill_lengths_read(const uint8_t *header, uint64_t record_size, ray_spill_lengths *lengths) {
    *lengths = (ray_spill_lengths){ray__get_u64(header), ray__get_u64(header + 8), ray__get_u64(header + 16)};
    uint64_t left = record_size - RAY_SPILL_HEADER_SIZE;
    // One after the other, so that no sum of lengths from a disk can overflow.
    bool adds_up = record_size >= RAY_SPILL_HEADER_SIZE && lengths->owner_size <= left;
    left = adds_up ? left - lengths->owner_size : 0;
    adds_up = adds_up && lengths->metadata_size <= left && lengths->data_size == left - lengths->metadata_size;
    if (!adds_up) {
        return ray__fail(RAY_CORRUPT, "a spilled record of %llu bytes says that it has %llu + %llu + %llu after its lengths",
                         (unsigned long long)record_size, (unsigned long long)lengths->owner_size,
                         (unsigned long long)lengths->metadata_size, (unsigned long long)lengths->data_size);
    }
    return RAY_OK;
}

bool ray_spill_matches(const void *data, uint64_t size, uint64_t checksum) {
    return ray__checksum_of(data, (size_t)size) == checksum;
}

void ray_spill_blocks(uint64_t data_size, uint64_t *from, uint64_t *size) {
    if (*size == 0) {
        return;
    }
    uint64_t end = *from + *size;
    uint64_t rest = end % RAY_SPILL_SUM_BYTES == 0 ? 0 : RAY_SPILL_SUM_BYTES - end % RAY_SPILL_SUM_BYTES;
    end += rest < data_size - end ? rest : data_size - end;
    *from -= *from % RAY_SPILL_SUM_BYTES;
    *size = end - *from;
}

bool ray_spill_blocks_match(const ray_spill_part *parts, uint32_t part_count, uint64_t from, const uint64_t *sums, uint64_t *altered) {
    uint64_t end = from;
    for (uint32_t i = 0; i < part_count; i++) {
        end += parts[i].size;
    }
    ray__checksum block;
    uint64_t at = from;
    for (uint32_t i = 0; i < part_count; i++) {
        for (size_t into = 0; into < parts[i].size;) {
            uint64_t room = RAY_SPILL_SUM_BYTES - at % RAY_SPILL_SUM_BYTES;
            size_t size = parts[i].size - into < room ? parts[i].size - into : (size_t)room;
            if (at % RAY_SPILL_SUM_BYTES == 0) {
                ray__checksum_begin(&block);
            }
            ray__checksum_add(&block, (const uint8_t *)parts[i].bytes + into, size);
            into += size;
            at += size;
            uint64_t number = (at - 1) / RAY_SPILL_SUM_BYTES;
            bool ends = at % RAY_SPILL_SUM_BYTES == 0 || at == end;
            if (ends && ray__checksum_end(&block) != sums[number]) {
                *altered = number * RAY_SPILL_SUM_BYTES;
                return false;
            }
        }
    }
    return true;
}
