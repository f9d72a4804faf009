// SPDX-License-Identifier: Apache-2.0
// Codec: chunk frames, the unit of the wire and of spilling.
//
// A chunk of an object or file is framed by a header of 64 bytes that says whose chunk it is, how it is packed, its size before and
// after, and the XXH3-64 of its raw bytes; the packed bytes follow. docs/PROTOCOL.md gives the layout byte by byte. A frame is never
// larger than header and raw bytes: what a codec cannot make smaller is kept as it is.
//
// A ray_codec holds the work memory of the compressors, so that nothing is allocated per chunk.
//
// Caveats: decoding trusts nothing in a frame. What it was told to expect (the object, the index, the raw size) is compared before
// anything is written.
// Thread safety: a ray_codec belongs to one thread at a time.
#ifndef RAYSTORE_CODEC_H
#define RAYSTORE_CODEC_H

#include "id.h"

RAY_BEGIN_DECLS
RAY_ASSUME_NONNULL_BEGIN

#define RAY_CHUNK_SIZE (4u << 20)     // of a chunk unless a pull asks for less; the largest
#define RAY_CHUNK_SIZE_MIN (64u << 10)
#define RAY_CHUNK_HEADER_SIZE 64u
#define RAY_ZSTD_LEVEL_MIN (-5)
#define RAY_ZSTD_LEVEL_MAX 9

enum { RAY_CODEC_AUTO = 0, RAY_CODEC_NONE = 1, RAY_CODEC_LZ4 = 2, RAY_CODEC_ZSTD = 3 };

// What a frame's header says.
typedef struct ray_chunk_header {
    ray_object_id id;
    uint32_t index;       // of the chunk; the raw bytes lie at index * chunk size
    uint32_t raw_size;    // 1 ... RAY_CHUNK_SIZE
    uint32_t stored_size; // of what follows the header; at most raw_size, equal for RAY_CODEC_NONE
    uint16_t codec;       // RAY_CODEC_NONE, _LZ4, _ZSTD
    int16_t level;        // of zstd, else 0
    uint64_t checksum;    // XXH3-64 of the raw bytes
    uint16_t filter;      // what was done before packing (docs/PROTOCOL.md), mostly 0
} ray_chunk_header;

typedef struct ray_codec ray_codec;

RAY_API ray_status ray_codec_create(ray_codec *RAY_NULLABLE *RAY_NULLABLE codec) RAY_NODISCARD;
RAY_API void ray_codec_destroy(ray_codec *RAY_NULLABLE codec);

// Packs a chunk of 1 ... RAY_CHUNK_SIZE bytes and writes the whole frame. which is RAY_CODEC_NONE, _LZ4, or _ZSTD with a level of
// RAY_ZSTD_LEVEL_MIN ... _MAX (beyond is taken as the limit); RAY_CODEC_AUTO means lz4. frame needs room for RAY_CHUNK_HEADER_SIZE +
// raw_size bytes (RAY_INVALID_ARGUMENT otherwise). The codec in *header is RAY_CODEC_NONE when packing gained nothing.
RAY_API ray_status ray_chunk_encode(ray_codec *codec, const ray_object_id *id, uint32_t index, const void *raw, uint32_t raw_size,
                                    uint16_t which, int32_t level, uint8_t *frame, size_t frame_capacity, size_t *frame_size,
                                    ray_chunk_header *RAY_NULLABLE header) RAY_NODISCARD;

// Reads the header at the start of a frame. RAY_CORRUPT when it is not one, was damaged, or says what cannot be;
// RAY_VERSION_MISMATCH when it is of another version.
RAY_API ray_status ray_chunk_header_read(const uint8_t *frame, size_t frame_size, ray_chunk_header *header) RAY_NODISCARD;

// Unpacks a frame of exactly frame_size bytes into raw, which takes raw_size bytes. The frame must be of this object and index, of
// this raw size, and match its checksum: RAY_CORRUPT otherwise, and raw holds nothing of use.
RAY_API ray_status ray_chunk_decode(ray_codec *codec, const uint8_t *frame, size_t frame_size, const ray_object_id *id, uint32_t index,
                                    void *raw, uint32_t raw_size) RAY_NODISCARD;

RAY_ASSUME_NONNULL_END
RAY_END_DECLS
#endif
