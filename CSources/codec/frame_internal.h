// SPDX-License-Identifier: Apache-2.0
// The parts of a frame, for who moves header and packed bytes on their own.
#ifndef RAY_CODEC_FRAME_INTERNAL_H
#define RAY_CODEC_FRAME_INTERNAL_H

#include "raystore/codec.h"

// Writes RAY_CHUNK_HEADER_SIZE bytes.
void ray__chunk_header_write(const ray_chunk_header *header, uint8_t *bytes);

// Packs raw into out, which needs room for raw_size - 1 bytes. *stored is 0 when the result would not be smaller; the chunk is then to
// be sent raw.
ray_status ray__chunk_pack(ray_codec *codec, uint16_t which, int32_t level, const void *raw, uint32_t raw_size, void *out,
                           uint32_t *stored) RAY_NODISCARD;

// Unpacks exactly raw_size bytes. RAY_CORRUPT when the packed bytes are not that. Does not look at the checksum.
ray_status ray__chunk_unpack(ray_codec *codec, uint16_t which, const void *stored, uint32_t stored_size, void *raw,
                             uint32_t raw_size) RAY_NODISCARD;

// What may be done to a chunk before it is packed.
typedef struct ray__filter_wish {
    uint32_t width;  // of its elements; 0: not known
    bool may_delta;  // where it helps
    bool shuffles;   // needs the width
} ray__filter_wish;

// The same with filters; *filter says which were used. out needs room for raw_size and RAY__FILTER_PLAN_MAX bytes.
ray_status ray__chunk_pack_filtered(ray_codec *codec, uint16_t which, int32_t level, ray__filter_wish wish, const void *raw,
                                    uint32_t raw_size, void *out, uint32_t *stored, uint16_t *filter) RAY_NODISCARD;

// Unpacks what a header that was read describes.
ray_status ray__chunk_unpack_filtered(ray_codec *codec, const ray_chunk_header *header, const uint8_t *stored, void *raw) RAY_NODISCARD;

// The level that is used for a wish.
int32_t ray__zstd_level(int32_t level);

#endif
