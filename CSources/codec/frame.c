// SPDX-License-Identifier: Apache-2.0
// The header of a frame, byte by byte. docs/PROTOCOL.md has the same table.
#include "codec/frame_internal.h"

#include <assert.h>
#include <string.h>

#include "base/checksum_internal.h"
#include "base/error_internal.h"
#include "codec/bytes_internal.h"
#include "codec/filter_internal.h"

#define MAGIC 0x4b435952u // "RYCK"
#define VERSION 1

// A flipped bit anywhere in the header must not be believed, hence a check of its own behind all else.
enum {
    AT_MAGIC = 0,
    AT_VERSION = 4,
    AT_CODEC = 5,
    AT_LEVEL = 6,
    AT_FILTER = 7,
    AT_ID = 8,
    AT_INDEX = 36,
    AT_RAW_SIZE = 40,
    AT_STORED_SIZE = 44,
    AT_CHECKSUM = 48,
    AT_CHECK = 56,
    HEADER_END = 64,
};
static_assert(AT_ID + RAY_OBJECT_ID_SIZE == AT_INDEX, "the id fills its place");
static_assert(AT_CHECK + sizeof(uint64_t) == HEADER_END, "nothing follows the check");
static_assert(HEADER_END == RAY_CHUNK_HEADER_SIZE, "the header is as large as the public header says");

void ray__chunk_header_write(const ray_chunk_header *header, uint8_t *bytes) {
    ray__put_u32(bytes + AT_MAGIC, MAGIC);
    bytes[AT_VERSION] = VERSION;
    bytes[AT_CODEC] = (uint8_t)header->codec;
    bytes[AT_LEVEL] = (uint8_t)(int8_t)header->level;
    bytes[AT_FILTER] = (uint8_t)header->filter;
    memcpy(bytes + AT_ID, header->id.bytes, RAY_OBJECT_ID_SIZE);
    ray__put_u32(bytes + AT_INDEX, header->index);
    ray__put_u32(bytes + AT_RAW_SIZE, header->raw_size);
    ray__put_u32(bytes + AT_STORED_SIZE, header->stored_size);
    ray__put_u64(bytes + AT_CHECKSUM, header->checksum);
    ray__put_u64(bytes + AT_CHECK, ray__checksum_of(bytes, AT_CHECK));
}

ray_status ray_chunk_header_read(const uint8_t *frame, size_t frame_size, ray_chunk_header *header) {
    if (frame_size < RAY_CHUNK_HEADER_SIZE) {
        return ray__fail(RAY_CORRUPT, "a chunk frame of %zu bytes has no whole header", frame_size);
    }
    if (ray__get_u32(frame + AT_MAGIC) != MAGIC) {
        return ray__fail(RAY_CORRUPT, "this is not a chunk frame: it begins with %02x %02x %02x %02x", frame[0], frame[1], frame[2],
                         frame[3]);
    }
    if (ray__get_u64(frame + AT_CHECK) != ray__checksum_of(frame, AT_CHECK)) {
        return ray__fail(RAY_CORRUPT, "the header of a chunk frame was damaged on its way");
    }
    if (frame[AT_VERSION] != VERSION) {
        return ray__fail(RAY_VERSION_MISMATCH, "a chunk frame of version %d; this library knows version %d", frame[AT_VERSION], VERSION);
    }
    ray_chunk_header said;
    memcpy(said.id.bytes, frame + AT_ID, RAY_OBJECT_ID_SIZE);
    said.codec = frame[AT_CODEC];
    said.level = (int8_t)frame[AT_LEVEL];
    said.filter = frame[AT_FILTER];
    said.index = ray__get_u32(frame + AT_INDEX);
    said.raw_size = ray__get_u32(frame + AT_RAW_SIZE);
    said.stored_size = ray__get_u32(frame + AT_STORED_SIZE);
    said.checksum = ray__get_u64(frame + AT_CHECKSUM);
    bool packed = said.codec == RAY_CODEC_LZ4 || said.codec == RAY_CODEC_ZSTD;
    bool sizes_fit = said.raw_size >= 1 && said.raw_size <= RAY_CHUNK_SIZE && said.stored_size >= 1 &&
                     (packed ? said.stored_size < said.raw_size : said.stored_size == said.raw_size);
    bool filter_fits = said.filter == 0 || (packed && ray__filter_is_valid(frame[AT_FILTER]) &&
                                            said.stored_size > ray__filter_plan_size(frame[AT_FILTER], said.raw_size));
    if ((!packed && said.codec != RAY_CODEC_NONE) || !sizes_fit || !filter_fits) {
        return ray__fail(RAY_CORRUPT, "a chunk frame says codec %u, filter %u, %u bytes raw and %u stored, which cannot be", said.codec,
                         said.filter, said.raw_size, said.stored_size);
    }
    *header = said;
    return RAY_OK;
}
