// SPDX-License-Identifier: Apache-2.0
// Chunks of one byte over and over: holes of sparse files, memory that was never used, masks, padding.
//
// To see that a chunk is one costs less than to send it over any link, since it need only be read; and all that are as long and of the same
// byte are packed to the same bytes and have the same checksum, so that is done once.
#ifndef RAY_CODEC_UNIFORM_INTERNAL_H
#define RAY_CODEC_UNIFORM_INTERNAL_H

#include "raystore/codec.h"

// The codec and level in the frames of such chunks.
#define RAY__UNIFORM_LEVEL 1
// Below this a chunk is not worth the look.
#define RAY__UNIFORM_MIN 4096u
#define RAY__UNIFORM_PACKED_MAX 1024u

// The latest one that was packed. Zeroed at first.
typedef struct ray__uniform {
    uint8_t byte;
    uint32_t raw_size; // 0: none
    uint32_t stored_size;
    uint64_t checksum; // of the raw bytes
    uint8_t packed[RAY__UNIFORM_PACKED_MAX];
} ray__uniform;

// Whether all of these bytes are this one.
bool ray__is_uniform(const uint8_t *bytes, size_t size, uint8_t byte);

// Packs such a chunk into out, which has room for raw_size bytes; so does `room`, which is written to. Then `kept` says its stored size and checksum.
// False when it cannot be: it is then packed like any other.
bool ray__uniform_pack(ray__uniform *kept, ray_codec *codec, uint8_t byte, uint32_t raw_size, uint8_t *room, uint8_t *out);

#endif
