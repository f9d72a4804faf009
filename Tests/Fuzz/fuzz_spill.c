// SPDX-License-Identifier: Apache-2.0
// What lies in a storage that others can write to: a record's lengths, an announcement, a packed block.
//
// The first byte says what to do with the rest. Sizes and checksums that mutations do not guess are made right by its bits.
#include "fuzz.h"

#include "base/checksum_internal.h"
#include "codec/bytes_internal.h"

enum { MAKE_CHECK_RIGHT = 1, MAKE_SIZE_RIGHT = 2, UNPACK = 4, MAKE_SUM_RIGHT = 8 };
enum { AT_COUNT = 8, AT_DATA_SIZE = 16, AT_CHECK = 24 }; // of an announcement

static ray_codec *codec;

static void lengths(const uint8_t *header, uint64_t record_size) {
    ray_spill_lengths said;
    ray_status status = ray_spill_lengths_read(header, record_size, &said);
    MUST(status == RAY_OK || status == RAY_CORRUPT);
    if (status == RAY_OK) {
        // Subtracted, since a sum could overflow.
        uint64_t left = record_size - RAY_SPILL_HEADER_SIZE;
        MUST(said.owner_size <= left && said.metadata_size <= left - said.owner_size);
        MUST(said.data_size == left - said.owner_size - said.metadata_size);
    }
}

static uint64_t make_right(uint8_t *bytes, size_t size, uint8_t what, uint64_t part_size) {
    uint32_t count = size < RAY_SPILL_ANNOUNCED_SIZE ? 0 : ray__get_u32(bytes + AT_COUNT);
    if (size < RAY_SPILL_ANNOUNCED_SIZE || count > (size - RAY_SPILL_ANNOUNCED_SIZE) / 4) {
        return part_size;
    }
    uint64_t sum = count == 0 ? ray__get_u64(bytes + AT_DATA_SIZE) : 0;
    for (uint32_t i = 0; i < count; i++) {
        sum += ray__get_u32(bytes + RAY_SPILL_ANNOUNCED_SIZE + i * 4);
    }
    if ((what & MAKE_CHECK_RIGHT) != 0) {
        ray__checksum check;
        ray__checksum_begin(&check);
        ray__checksum_add(&check, bytes, AT_CHECK);
        ray__checksum_add(&check, bytes + RAY_SPILL_ANNOUNCED_SIZE, (size_t)count * 4);
        ray__put_u64(bytes + AT_CHECK, ray__checksum_end(&check));
    }
    return (what & MAKE_SIZE_RIGHT) != 0 ? sum : part_size;
}

static void announcement(const uint8_t *bytes, size_t size, uint64_t part_size, uint32_t capacity) {
    uint32_t *frames = malloc(capacity * sizeof *frames + 1);
    MUST(frames != NULL);
    ray_spill_announcement said;
    ray_status status = ray_spill_announcement_read(bytes, size, part_size, frames, capacity, &said);
    MUST(status == RAY_OK || status == RAY_CORRUPT || status == RAY_VERSION_MISMATCH);
    MUST(status == RAY_CORRUPT || ray_spill_is_announced(bytes, size));
    ray_spill_announcement without;
    MUST(ray_spill_announcement_read(bytes, size, part_size, NULL, 0, &without) == status);
    if (status == RAY_OK) {
        MUST(said.size == without.size && said.frame_count == without.frame_count && said.data_size == without.data_size);
        MUST(said.size <= size && said.size == RAY_SPILL_ANNOUNCED_SIZE + said.frame_count * 4);
        MUST(said.frame_count == 0 ? said.data_size == part_size : said.frame_count == ray_spill_sum_count(said.data_size));
    }
    if (status == RAY_OK && said.frame_count <= capacity) {
        uint64_t sum = said.frame_count == 0 ? part_size : 0;
        for (uint32_t i = 0; i < said.frame_count; i++) {
            MUST(frames[i] > RAY_CHUNK_HEADER_SIZE && frames[i] <= RAY_CHUNK_HEADER_SIZE + RAY_SPILL_SUM_BYTES);
            sum += frames[i];
        }
        MUST(sum == part_size);
        MUST(ray_spill_announces(bytes, size, said.data_size, frames, said.frame_count));
        MUST(!ray_spill_announces(bytes, size, said.data_size + 1, frames, said.frame_count));
    }
    free(frames);
}

static void unpack(uint8_t *frame, size_t size, uint8_t what, uint32_t raw_size) {
    if ((what & MAKE_CHECK_RIGHT) != 0 && size >= RAY_CHUNK_HEADER_SIZE) {
        ray__put_u64(frame + RAY_CHUNK_HEADER_SIZE - 8, ray__checksum_of(frame, RAY_CHUNK_HEADER_SIZE - 8));
    }
    ray_chunk_header said = {.index = 3};
    bool is_read = ray_chunk_header_read(frame, size, &said) == RAY_OK;
    raw_size = is_read && (what & MAKE_SIZE_RIGHT) != 0 && said.raw_size <= 1u << 16 ? said.raw_size : raw_size;
    uint64_t sum = (what & MAKE_SUM_RIGHT) != 0 ? said.checksum : 7;
    uint8_t *raw = malloc(raw_size);
    MUST(raw != NULL);
    ray_status status = ray_spill_unpack(codec, frame, size, &said.id, said.index, sum, raw, raw_size);
    MUST(status == RAY_OK || status == RAY_CORRUPT || status == RAY_VERSION_MISMATCH);
    if (status == RAY_OK) {
        MUST(is_read && said.raw_size == raw_size && ray__checksum_of(raw, raw_size) == sum);
        MUST(ray_spill_unpack(codec, frame, size, &said.id, said.index + 1, sum, raw, raw_size) == RAY_CORRUPT);
        MUST(ray_spill_unpack(codec, frame, size, &said.id, said.index, sum + 1, raw, raw_size) == RAY_CORRUPT);
    }
    free(raw);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (codec == NULL) {
        MUST(ray_codec_create(&codec) == RAY_OK);
    }
    fuzz_input input = {data, size};
    uint8_t what = (uint8_t)take(&input, 1);
    uint32_t number = (uint32_t)take(&input, 2);
    uint64_t part_size = take(&input, 8);
    uint8_t *bytes = copy_exactly(input.data, input.size);
    if ((what & UNPACK) != 0) {
        unpack(bytes, input.size, what, number + 1);
    } else {
        part_size = make_right(bytes, input.size, what, part_size);
        announcement(bytes, input.size, part_size, number % 64);
        if (input.size >= RAY_SPILL_HEADER_SIZE) {
            lengths(bytes, part_size);
            lengths(bytes, input.size);
        }
    }
    free(bytes);
    return 0;
}
