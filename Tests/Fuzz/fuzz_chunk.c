// SPDX-License-Identifier: Apache-2.0
// A chunk frame off the wire or a disk: its header, lz4 and zstd behind it, and what we pack ourselves.
//
// The first byte says what to do with the rest. A header is under a checksum that mutations do not guess, so bit 0 makes it right.
#include "fuzz.h"

#include "base/checksum_internal.h"
#include "codec/bytes_internal.h"
#include "codec/frame_internal.h"

#define RAW_MAX (1u << 16) // of chunks that are unpacked: larger ones only take longer

enum { MAKE_CHECK_RIGHT = 1, ENCODE = 2, UNPACK_LZ4 = 4, UNPACK_ZSTD = 8 };

static ray_codec *codec;

static void encode(const uint8_t *raw, uint32_t raw_size, uint16_t which, int8_t level) {
    ray_object_id id = {{7}};
    size_t capacity = RAY_CHUNK_HEADER_SIZE + raw_size;
    uint8_t *frame = malloc(capacity);
    uint8_t *back = malloc(raw_size);
    MUST(frame != NULL && back != NULL);
    size_t frame_size;
    ray_chunk_header header;
    MUST(ray_chunk_encode(codec, &id, 3, raw, raw_size, which, level, frame, capacity, &frame_size, &header) == RAY_OK);
    MUST(frame_size <= capacity && header.stored_size <= raw_size);
    MUST(ray_chunk_decode(codec, frame, frame_size, &id, 3, back, raw_size) == RAY_OK);
    MUST(memcmp(raw, back, raw_size) == 0);
    free(frame);
    free(back);
}

static void decode(const uint8_t *frame, size_t size) {
    ray_chunk_header said;
    ray_status status = ray_chunk_header_read(frame, size, &said);
    MUST(status == RAY_OK || status == RAY_CORRUPT || status == RAY_VERSION_MISMATCH);
    if (status != RAY_OK) {
        return;
    }
    MUST(said.raw_size >= 1 && said.raw_size <= RAY_CHUNK_SIZE && said.stored_size <= said.raw_size);
    if (said.raw_size <= RAW_MAX) {
        uint8_t *raw = malloc(said.raw_size);
        MUST(raw != NULL);
        status = ray_chunk_decode(codec, frame, size, &said.id, said.index, raw, said.raw_size);
        MUST(status == RAY_OK || status == RAY_CORRUPT);
        ray_status other = ray_chunk_decode(codec, frame, size, &said.id, said.index + 1, raw, said.raw_size);
        MUST(other == RAY_CORRUPT);
        free(raw);
    }
}

// The decompressors behind the checks, without a header in front.
static void unpack(uint16_t which, const uint8_t *stored, uint32_t size, uint32_t raw_size) {
    uint8_t *raw = malloc(raw_size);
    MUST(raw != NULL);
    ray_status status = ray__chunk_unpack(codec, which, stored, size, raw, raw_size);
    MUST(status == RAY_OK || status == RAY_CORRUPT);
    free(raw);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (codec == NULL) {
        MUST(ray_codec_create(&codec) == RAY_OK);
    }
    if (size < 4) {
        return 0;
    }
    uint8_t what = data[0];
    int8_t level = (int8_t)data[1];
    uint32_t raw_size = 1u + ((uint32_t)data[2] | (uint32_t)data[3] << 8);
    uint8_t *bytes = copy_exactly(data + 4, size - 4);
    size -= 4;
    if ((what & MAKE_CHECK_RIGHT) != 0 && size >= RAY_CHUNK_HEADER_SIZE) {
        ray__put_u64(bytes + RAY_CHUNK_HEADER_SIZE - 8, ray__checksum_of(bytes, RAY_CHUNK_HEADER_SIZE - 8));
    }
    decode(bytes, size);
    if (size != 0 && (what & ENCODE) != 0) {
        encode(bytes, (uint32_t)size, (uint16_t)(what >> 4) % 4, level);
    }
    if (size != 0 && (what & UNPACK_LZ4) != 0) {
        unpack(RAY_CODEC_LZ4, bytes, (uint32_t)size, raw_size);
    }
    if (size != 0 && (what & UNPACK_ZSTD) != 0) {
        unpack(RAY_CODEC_ZSTD, bytes, (uint32_t)size, raw_size);
    }
    free(bytes);
    return 0;
}
