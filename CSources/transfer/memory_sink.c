// SPDX-License-Identifier: Apache-2.0
// A pull of all or of a part of the data into memory of the caller. Chunks that lie in the range as a whole are received and unpacked where
// they belong; of the two at its edges only a part is wanted, so they go through a buffer.
#include <string.h>

#include "base/error_internal.h"
#include "transfer/transfer_internal.h"

ray_status ray_pull_into_memory(ray_pull *pull, void *bytes, size_t capacity) {
    const ray_card *card = pull->card;
    if (card == NULL || pull->sink.kind >= 0) {
        return ray__fail(RAY_INVALID_ARGUMENT, "a pull's sink is chosen once, in its opened callback");
    }
    uint64_t begin = pull->range_offset < card->size_bytes ? pull->range_offset : card->size_bytes;
    uint64_t size = card->size_bytes - begin;
    size = pull->range_size != 0 && pull->range_size < size ? pull->range_size : size;
    if (size > capacity) {
        return ray__fail(RAY_TOO_LARGE, "the range has %llu bytes, the memory for it %zu", (unsigned long long)size, capacity);
    }
    // Without a byte to place there is nothing to list, wherever it is.
    begin = size == 0 ? 0 : begin;
    if ((begin + size) / pull->chunk_size >= RAY__RANGE_CHUNKS_MAX) {
        return ray__fail(RAY_TOO_LARGE, "a range that ends at byte %llu: pull the whole of what has more than %llu bytes",
                         (unsigned long long)(begin + size), (unsigned long long)RAY__RANGE_CHUNKS_MAX * pull->chunk_size);
    }
    pull->sink.memory = bytes;
    pull->sink.range_begin = begin;
    pull->sink.range_end = begin + size;
    pull->sink.kind = RAY__SINK_MEMORY;
    return RAY_OK;
}

void ray__memory_write(ray_pull *pull, const void *bytes, size_t size, uint64_t offset) {
    uint64_t begin = offset > pull->sink.range_begin ? offset : pull->sink.range_begin;
    uint64_t end = offset + size < pull->sink.range_end ? offset + size : pull->sink.range_end;
    if (begin < end) {
        memcpy(pull->sink.memory + (begin - pull->sink.range_begin), (const uint8_t *)bytes + (begin - offset), (size_t)(end - begin));
    }
}

uint8_t *ray__memory_destination(const ray_pull *pull, uint64_t offset, uint32_t raw_size) {
    bool inside = offset >= pull->sink.range_begin && offset + raw_size <= pull->sink.range_end;
    return inside ? pull->sink.memory + (offset - pull->sink.range_begin) : NULL;
}
