// SPDX-License-Identifier: Apache-2.0
// Checksums of the data of records, made before it is written or while it is.
//
// A sum of all of the data and one of each block come from one pass: a piece is still in the core's cache when it is added to the second. Who
// copies the data on its way sums up the copy, which is in the cache as well, and so reads memory once instead of twice.
#include <stdlib.h>

#include "base/checksum_internal.h"
#include "base/error_internal.h"
#include "spill/sums_internal.h"

struct ray_spill_summing {
    ray_spill_object *objects;
    uint32_t count;
    uint32_t reached; // the object that is being summed up
    uint64_t at;      // so far
    ray__checksum all;
    ray__checksum block;
};

static void begin(ray_spill_summing *summing) {
    summing->at = 0;
    ray__checksum_begin(&summing->all);
}

// Adds bytes that lie in one block and are no more than a piece.
static void add_piece(ray_spill_summing *summing, const ray_spill_object *object, const uint8_t *bytes, size_t size) {
    bool has_blocks = object->sums != NULL;
    if (has_blocks && summing->at % RAY_SPILL_SUM_BYTES == 0) {
        ray__checksum_begin(&summing->block);
    }
    ray__checksum_add(&summing->all, bytes, size);
    if (has_blocks) {
        ray__checksum_add(&summing->block, bytes, size);
    }
    summing->at += size;
    if (has_blocks && (summing->at % RAY_SPILL_SUM_BYTES == 0 || summing->at == object->data_size)) {
        object->sums[(summing->at - 1) / RAY_SPILL_SUM_BYTES] = ray__checksum_end(&summing->block);
    }
}

static void add(ray_spill_summing *summing, ray_spill_object *object, const uint8_t *bytes, size_t size) {
    while (size > 0) {
        uint64_t block_left = RAY_SPILL_SUM_BYTES - summing->at % RAY_SPILL_SUM_BYTES;
        size_t some = size < RAY_CHECKSUM_PIECE ? size : RAY_CHECKSUM_PIECE;
        some = some < block_left ? some : (size_t)block_left;
        add_piece(summing, object, bytes, some);
        bytes += some;
        size -= some;
    }
    if (summing->at == object->data_size) {
        object->checksum = ray__checksum_end(&summing->all);
        object->is_summed = true;
    }
}

void ray__spill_sum(ray_spill_object *object) {
    if (object->sums == NULL || object->data_size <= RAY_SPILL_SUM_BYTES) {
        object->checksum = ray__checksum_of(object->data, (size_t)object->data_size);
        if (object->sums != NULL && object->data_size > 0) {
            object->sums[0] = object->checksum;
        }
        object->is_summed = true;
        return;
    }
    ray_spill_summing summing;
    begin(&summing);
    add(&summing, object, object->data, (size_t)object->data_size);
}

ray_status ray_spill_summing_create(ray_spill_object *objects, uint32_t count, ray_spill_summing **summing) {
    *summing = aligned_alloc(_Alignof(ray_spill_summing), sizeof **summing);
    if (*summing == NULL) {
        return ray__fail(RAY_OUT_OF_MEMORY, "sums of %u objects", count);
    }
    (*summing)->objects = objects;
    (*summing)->count = count;
    (*summing)->reached = 0;
    begin(*summing);
    return RAY_OK;
}

void ray_spill_summing_take(ray_spill_summing *summing, uint32_t part, uint64_t from, const void *bytes, size_t size) {
    uint32_t number = part / RAY_SPILL_PARTS;
    if (part % RAY_SPILL_PARTS != RAY_SPILL_PARTS - 1 || number >= summing->count || summing->objects[number].is_summed) {
        return;
    }
    ray_spill_object *object = &summing->objects[number];
    if (number != summing->reached && from == 0) {
        summing->reached = number;
        begin(summing);
    }
    bool goes_on = number == summing->reached && from <= summing->at && summing->at - from < size;
    if (goes_on) {
        size_t known = (size_t)(summing->at - from);
        add(summing, object, (const uint8_t *)bytes + known, size - known);
    }
}

void ray_spill_summing_end(ray_spill_summing *summing) {
    for (uint32_t i = 0; summing != NULL && i < summing->count; i++) {
        ray_spill_object *object = &summing->objects[i];
        if (object->is_summed) {
            continue;
        }
        if (i == summing->reached && summing->at > 0) {
            add(summing, object, (const uint8_t *)object->data + summing->at, (size_t)(object->data_size - summing->at));
        } else {
            ray__spill_sum(object);
        }
    }
}

void ray_spill_summing_destroy(ray_spill_summing *summing) {
    free(summing);
}
