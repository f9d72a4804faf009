// SPDX-License-Identifier: Apache-2.0
#include "codec/uniform_internal.h"

#include <string.h>

#include "base/checksum_internal.h"
#include "codec/frame_internal.h"

bool ray__is_uniform(const uint8_t *bytes, size_t size, uint8_t byte) {
    // Each byte is the one before it.
    return size == 0 || (bytes[0] == byte && memcmp(bytes, bytes + 1, size - 1) == 0);
}

bool ray__uniform_pack(ray__uniform *kept, ray_codec *codec, uint8_t byte, uint32_t raw_size, uint8_t *room, uint8_t *out) {
    if (raw_size != 0 && kept->raw_size == raw_size && kept->byte == byte) {
        memcpy(out, kept->packed, kept->stored_size);
        return true;
    }
    kept->raw_size = 0;
    memset(room, byte, raw_size);
    uint32_t stored = 0;
    ray_status status = ray__chunk_pack(codec, RAY_CODEC_ZSTD, RAY__UNIFORM_LEVEL, room, raw_size, out, &stored);
    if (status != RAY_OK || stored == 0 || stored > RAY__UNIFORM_PACKED_MAX) {
        return false;
    }
    memcpy(kept->packed, out, stored);
    kept->byte = byte;
    kept->stored_size = stored;
    kept->checksum = ray__checksum_of(room, raw_size);
    kept->raw_size = raw_size;
    return true;
}
