// SPDX-License-Identifier: Apache-2.0
// Packs and unpacks chunks with lz4 and zstd.
//
// Both ends know a chunk's raw size beforehand, so unpacking is always into a place of exactly that size: zstd then uses the place
// itself as its window and takes no memory for one, whatever the frame asks for.
#include <lz4.h>
#include <stdlib.h>
#include <string.h>
#include <zstd.h>

#include "base/checksum_internal.h"
#include "base/error_internal.h"
#include "codec/filter_internal.h"
#include "codec/frame_internal.h"

struct ray_codec {
    ZSTD_CCtx *zstd_packer;
    ZSTD_DCtx *zstd_unpacker;
    void *lz4_state;
    uint8_t *room[2]; // of a chunk each, for filters; made when first needed
};

ray_status ray_codec_create(ray_codec **codec) {
    ray_codec *made = calloc(1, sizeof *made);
    if (made != NULL) {
        made->zstd_packer = ZSTD_createCCtx();
        made->zstd_unpacker = ZSTD_createDCtx();
        made->lz4_state = malloc((size_t)LZ4_sizeofState());
    }
    if (made == NULL || made->zstd_packer == NULL || made->zstd_unpacker == NULL || made->lz4_state == NULL) {
        ray_codec_destroy(made);
        return ray__fail(RAY_OUT_OF_MEMORY, "the work memory of the compressors");
    }
    *codec = made;
    return RAY_OK;
}

void ray_codec_destroy(ray_codec *codec) {
    if (codec == NULL) {
        return;
    }
    ZSTD_freeCCtx(codec->zstd_packer);
    ZSTD_freeDCtx(codec->zstd_unpacker);
    free(codec->lz4_state);
    free(codec->room[0]);
    free(codec->room[1]);
    free(codec);
}

int32_t ray__zstd_level(int32_t level) {
    if (level < RAY_ZSTD_LEVEL_MIN) {
        return RAY_ZSTD_LEVEL_MIN;
    }
    return level > RAY_ZSTD_LEVEL_MAX ? RAY_ZSTD_LEVEL_MAX : level;
}

static ray_status pack_zstd(ray_codec *codec, int32_t level, const void *raw, uint32_t raw_size, void *out, uint32_t *stored) {
    size_t set = ZSTD_CCtx_setParameter(codec->zstd_packer, ZSTD_c_compressionLevel, ray__zstd_level(level));
    if (ZSTD_isError(set)) {
        return ray__fail(RAY_SYSTEM, "zstd level %d: %s", level, ZSTD_getErrorName(set));
    }
    size_t size = ZSTD_compress2(codec->zstd_packer, out, raw_size - 1, raw, raw_size);
    if (!ZSTD_isError(size)) {
        *stored = (uint32_t)size;
        return RAY_OK;
    }
    // Not smaller is an ordinary answer; the error for it has no public number, so a chunk that fails for want of memory is sent
    // raw as well.
    *stored = 0;
    return RAY_OK;
}

ray_status ray__chunk_pack(ray_codec *codec, uint16_t which, int32_t level, const void *raw, uint32_t raw_size, void *out,
                           uint32_t *stored) {
    *stored = 0;
    if (raw_size <= 1 || which == RAY_CODEC_NONE) {
        return RAY_OK;
    }
    if (which == RAY_CODEC_ZSTD) {
        return pack_zstd(codec, level, raw, raw_size, out, stored);
    }
    if (which != RAY_CODEC_LZ4) {
        return ray__fail(RAY_INVALID_ARGUMENT, "%u is not a codec", which);
    }
    int size = LZ4_compress_fast_extState(codec->lz4_state, raw, out, (int)raw_size, (int)raw_size - 1, 1);
    *stored = size > 0 ? (uint32_t)size : 0;
    return RAY_OK;
}

ray_status ray__chunk_unpack(ray_codec *codec, uint16_t which, const void *stored, uint32_t stored_size, void *raw,
                             uint32_t raw_size) {
    if (which == RAY_CODEC_LZ4) {
        int size = LZ4_decompress_safe(stored, raw, (int)stored_size, (int)raw_size);
        if (size < 0 || (uint32_t)size != raw_size) {
            return ray__fail(RAY_CORRUPT, "a chunk packed by lz4 does not unpack to %u bytes", raw_size);
        }
        return RAY_OK;
    }
    if (which == RAY_CODEC_ZSTD) {
        if (ZSTD_getFrameContentSize(stored, stored_size) != raw_size ||
            ZSTD_findFrameCompressedSize(stored, stored_size) != stored_size) {
            return ray__fail(RAY_CORRUPT, "a chunk packed by zstd is not one frame of %u bytes", raw_size);
        }
        size_t size = ZSTD_decompressDCtx(codec->zstd_unpacker, raw, raw_size, stored, stored_size);
        if (ZSTD_isError(size) || size != raw_size) {
            return ray__fail(RAY_CORRUPT, "a chunk packed by zstd does not unpack to %u bytes: %s", raw_size,
                             ZSTD_isError(size) ? ZSTD_getErrorName(size) : "too short");
        }
        return RAY_OK;
    }
    if (which != RAY_CODEC_NONE || stored_size != raw_size) {
        return ray__fail(RAY_CORRUPT, "a chunk of codec %u with %u bytes for %u", which, stored_size, raw_size);
    }
    memcpy(raw, stored, raw_size);
    return RAY_OK;
}

static uint8_t *room(ray_codec *codec, int which) {
    if (codec->room[which] == NULL) {
        codec->room[which] = aligned_alloc(4096, RAY_CHUNK_SIZE);
    }
    return codec->room[which];
}

ray_status ray__chunk_pack_filtered(ray_codec *codec, uint16_t which, int32_t level, ray__filter_wish wish, const void *raw,
                                    uint32_t raw_size, void *out, uint32_t *stored, uint16_t *filter) {
    uint8_t *plan = out;
    bool has_deltas = wish.may_delta && ray__filter_plan(raw, raw_size, wish.width, plan);
    *filter = (uint16_t)((has_deltas ? RAY__FILTER_DELTAS : 0) | (wish.shuffles ? wish.width : 0));
    const uint8_t *from = raw;
    // Without memory for it the chunk goes unfiltered.
    if (has_deltas && room(codec, 0) != NULL) {
        ray__deltas_apply(plan, from, raw_size, room(codec, 0));
        from = room(codec, 0);
    } else {
        *filter &= RAY__FILTER_WIDTH;
    }
    if (wish.shuffles && room(codec, 1) != NULL) {
        ray__shuffle_apply(wish.width, from, raw_size, room(codec, 1));
        from = room(codec, 1);
    } else {
        *filter &= RAY__FILTER_DELTAS;
    }
    uint32_t plan_size = ray__filter_plan_size((uint8_t)*filter, raw_size);
    RAY_TRY(ray__chunk_pack(codec, which, level, from, raw_size, plan + plan_size, stored));
    *stored = *stored == 0 || *stored + plan_size >= raw_size ? 0 : *stored + plan_size;
    return RAY_OK;
}

ray_status ray__chunk_unpack_filtered(ray_codec *codec, const ray_chunk_header *header, const uint8_t *stored, void *raw) {
    uint32_t width = header->filter & RAY__FILTER_WIDTH;
    uint32_t plan_size = ray__filter_plan_size((uint8_t)header->filter, header->raw_size);
    if (!ray__filter_plan_is_valid(stored, plan_size)) {
        return ray__fail(RAY_CORRUPT, "chunk %u has a plan of deltas that cannot be", header->index);
    }
    uint8_t *to = width == 0 ? raw : room(codec, 1);
    if (to == NULL) {
        return ray__fail(RAY_OUT_OF_MEMORY, "room for a chunk whose bytes are to be put in order");
    }
    RAY_TRY(ray__chunk_unpack(codec, header->codec, stored + plan_size, header->stored_size - plan_size, to, header->raw_size));
    if (width != 0) {
        ray__shuffle_undo(width, to, header->raw_size, raw);
    }
    if (plan_size != 0) {
        ray__deltas_undo(stored, raw, header->raw_size);
    }
    return RAY_OK;
}

ray_status ray_chunk_encode(ray_codec *codec, const ray_object_id *id, uint32_t index, const void *raw, uint32_t raw_size,
                            uint16_t which, int32_t level, uint8_t *frame, size_t frame_capacity, size_t *frame_size,
                            ray_chunk_header *header) {
    if (raw_size < 1 || raw_size > RAY_CHUNK_SIZE || frame_capacity < (size_t)RAY_CHUNK_HEADER_SIZE + raw_size) {
        return ray__fail(RAY_INVALID_ARGUMENT, "a chunk of %u bytes into a frame of %zu: a chunk has 1 to %u bytes, a frame %u more",
                         raw_size, frame_capacity, RAY_CHUNK_SIZE, RAY_CHUNK_HEADER_SIZE);
    }
    uint16_t chosen = which == RAY_CODEC_AUTO ? RAY_CODEC_LZ4 : which;
    uint32_t stored = 0;
    RAY_TRY(ray__chunk_pack(codec, chosen, level, raw, raw_size, frame + RAY_CHUNK_HEADER_SIZE, &stored));
    if (stored == 0) {
        chosen = RAY_CODEC_NONE;
        stored = raw_size;
        memcpy(frame + RAY_CHUNK_HEADER_SIZE, raw, raw_size);
    }
    ray_chunk_header made = {
        .id = *id,
        .index = index,
        .raw_size = raw_size,
        .stored_size = stored,
        .codec = chosen,
        .level = chosen == RAY_CODEC_ZSTD ? (int16_t)ray__zstd_level(level) : 0,
        .checksum = ray__checksum_of(raw, raw_size),
    };
    ray__chunk_header_write(&made, frame);
    *frame_size = RAY_CHUNK_HEADER_SIZE + stored;
    if (header != NULL) {
        *header = made;
    }
    return RAY_OK;
}

ray_status ray_chunk_decode(ray_codec *codec, const uint8_t *frame, size_t frame_size, const ray_object_id *id, uint32_t index,
                            void *raw, uint32_t raw_size) {
    ray_chunk_header said;
    RAY_TRY(ray_chunk_header_read(frame, frame_size, &said));
    if (!ray_object_id_equal(&said.id, id) || said.index != index || said.raw_size != raw_size) {
        return ray__fail(RAY_CORRUPT, "a frame of chunk %u with %u bytes where chunk %u with %u bytes was expected", said.index,
                         said.raw_size, index, raw_size);
    }
    if (frame_size != (size_t)RAY_CHUNK_HEADER_SIZE + said.stored_size) {
        return ray__fail(RAY_CORRUPT, "a chunk frame of %zu bytes, but its header says %u", frame_size,
                         RAY_CHUNK_HEADER_SIZE + said.stored_size);
    }
    RAY_TRY(ray__chunk_unpack_filtered(codec, &said, frame + RAY_CHUNK_HEADER_SIZE, raw));
    if (ray__checksum_of(raw, raw_size) != said.checksum) {
        return ray__fail(RAY_CORRUPT, "chunk %u does not match its checksum", index);
    }
    return RAY_OK;
}
