// SPDX-License-Identifier: Apache-2.0
// Announcements: what a packed record's metadata begins with, and the frames that it announces.
//
//    0   8   "RAYPACK" and the version, 1
//    8   4   frames; 0: the data is not packed
//   12   4   bytes of the object's own data in each but the last: RAY_SPILL_SUM_BYTES
//   16   8   bytes of the object's own data
//   24   8   XXH3-64 of the 24 bytes before and the sizes behind
//   32   4   the size of a frame, for each of them
#include "spill/announce_internal.h"

#include <string.h>

#include "base/checksum_internal.h"
#include "base/error_internal.h"
#include "codec/bytes_internal.h"

static const uint8_t magic[8] = {'R', 'A', 'Y', 'P', 'A', 'C', 'K', 1};

enum { AT_COUNT = 8, AT_BLOCK = 12, AT_DATA_SIZE = 16, AT_CHECK = 24, AT_FRAMES = RAY_SPILL_ANNOUNCED_SIZE };

static uint64_t check_of(const uint8_t *bytes, uint32_t frame_count) {
    ray__checksum sum;
    ray__checksum_begin(&sum);
    ray__checksum_add(&sum, bytes, AT_CHECK);
    ray__checksum_add(&sum, bytes + AT_FRAMES, (size_t)frame_count * 4);
    return ray__checksum_end(&sum);
}

void ray__announcement_write(uint8_t *bytes, uint64_t data_size, const uint32_t *frames, uint32_t frame_count) {
    memcpy(bytes, magic, sizeof magic);
    ray__put_u32(bytes + AT_COUNT, frame_count);
    ray__put_u32(bytes + AT_BLOCK, RAY_SPILL_SUM_BYTES);
    ray__put_u64(bytes + AT_DATA_SIZE, data_size);
    for (uint32_t i = 0; i < frame_count; i++) {
        ray__put_u32(bytes + AT_FRAMES + (size_t)i * 4, frames[i]);
    }
    ray__put_u64(bytes + AT_CHECK, check_of(bytes, frame_count));
}

bool ray_spill_is_announced(const void *metadata, uint64_t size) {
    // Of any version, so that a later one may have more to say.
    return size >= sizeof magic && memcmp(metadata, magic, sizeof magic - 1) == 0;
}

ray_status ray_spill_announcement_read(const void *metadata, uint64_t size, uint64_t data_part_size, uint32_t *frames,
                                       uint32_t frames_capacity, ray_spill_announcement *announcement) {
    const uint8_t *bytes = metadata;
    if (size < RAY_SPILL_ANNOUNCED_SIZE || !ray_spill_is_announced(metadata, size)) {
        return ray__fail(RAY_CORRUPT, "%llu bytes of metadata do not begin with an announcement", (unsigned long long)size);
    }
    if (memcmp(bytes, magic, sizeof magic) != 0) {
        return ray__fail(RAY_VERSION_MISMATCH, "a record is packed in version %d; this library knows version %d", bytes[7], magic[7]);
    }
    uint32_t count = ray__get_u32(bytes + AT_COUNT);
    if (count > (size - AT_FRAMES) / 4 || ray__get_u64(bytes + AT_CHECK) != check_of(bytes, count)) {
        return ray__fail(RAY_CORRUPT, "the announcement of a packed record was altered");
    }
    uint64_t data_size = ray__get_u64(bytes + AT_DATA_SIZE);
    uint64_t sum = count == 0 ? data_size : 0;
    bool adds_up = ray__get_u32(bytes + AT_BLOCK) == RAY_SPILL_SUM_BYTES && (count == 0 || count == ray_spill_sum_count(data_size));
    for (uint32_t i = 0; i < count; i++) {
        uint32_t frame = ray__get_u32(bytes + AT_FRAMES + (size_t)i * 4);
        adds_up = adds_up && frame > RAY_CHUNK_HEADER_SIZE && frame <= RAY_CHUNK_HEADER_SIZE + RAY_SPILL_SUM_BYTES;
        sum += frame;
        if (frames != NULL && i < frames_capacity) {
            frames[i] = frame;
        }
    }
    if (!adds_up || sum != data_part_size) {
        return ray__fail(RAY_CORRUPT, "a packed record announces %u frames of %llu bytes for %llu, and has %llu", count,
                         (unsigned long long)sum, (unsigned long long)data_size, (unsigned long long)data_part_size);
    }
    *announcement = (ray_spill_announcement){.size = AT_FRAMES + count * 4, .frame_count = count, .data_size = data_size};
    return RAY_OK;
}

bool ray_spill_announces(const void *metadata, uint64_t size, uint64_t data_size, const uint32_t *frames, uint32_t frame_count) {
    const uint8_t *bytes = metadata;
    bool same = size >= (uint64_t)AT_FRAMES + (uint64_t)frame_count * 4 && memcmp(bytes, magic, sizeof magic) == 0 &&
                ray__get_u32(bytes + AT_COUNT) == frame_count && ray__get_u32(bytes + AT_BLOCK) == RAY_SPILL_SUM_BYTES &&
                ray__get_u64(bytes + AT_DATA_SIZE) == data_size;
    for (uint32_t i = 0; same && i < frame_count; i++) {
        same = ray__get_u32(bytes + AT_FRAMES + (size_t)i * 4) == frames[i];
    }
    return same && ray__get_u64(bytes + AT_CHECK) == check_of(bytes, frame_count);
}

ray_status ray_spill_unpack(ray_codec *codec, const uint8_t *frame, size_t frame_size, const ray_object_id *id, uint32_t block,
                            uint64_t sum, void *raw, uint32_t raw_size) {
    ray_chunk_header said;
    RAY_TRY(ray_chunk_header_read(frame, frame_size, &said));
    if (said.checksum != sum) {
        return ray__fail(RAY_CORRUPT, "block %u is another than the one that was spilled", block);
    }
    return ray_chunk_decode(codec, frame, frame_size, id, block, raw, raw_size);
}
