// SPDX-License-Identifier: Apache-2.0
// Chunk frames: round trips of every codec, and the refusal of whatever was changed on the way.
#include "check.h"
#include "codec/bytes_internal.h"
#include "codec/frame_internal.h"
#include "base/checksum_internal.h"

static const uint32_t sizes[] = {1, 2, 100, 65536, RAY_CHUNK_SIZE - 1, RAY_CHUNK_SIZE};
typedef struct way {
    uint16_t codec;
    int32_t level;
} way;
static const way ways[] = {{RAY_CODEC_NONE, 0}, {RAY_CODEC_LZ4, 0}, {RAY_CODEC_ZSTD, -5}, {RAY_CODEC_ZSTD, 1},
                           {RAY_CODEC_ZSTD, 3}, {RAY_CODEC_ZSTD, 9}, {RAY_CODEC_AUTO, 0}};
static ray_codec *codec;
static uint8_t *text;
static uint8_t *noise;
static uint8_t *frame;
static uint8_t *back;
static ray_object_id id;

static void prepare(void) {
    CHECK_OK(ray_codec_create(&codec));
    text = malloc(RAY_CHUNK_SIZE);
    noise = malloc(RAY_CHUNK_SIZE);
    frame = malloc(RAY_CHUNK_SIZE + RAY_CHUNK_HEADER_SIZE);
    back = malloc(RAY_CHUNK_SIZE);
    CHECK(text && noise && frame && back);
    uint64_t seed = 7;
    for (size_t i = 0; i < RAY_CHUNK_SIZE; i++) {
        noise[i] = (uint8_t)check_random(&seed);
        text[i] = (uint8_t)("the quick brown fox "[check_random(&seed) % 20]);
    }
    ray_task_id task = ray_task_id_driver(3);
    id = ray_object_id_make(&task, 5);
}

static void everyCodecGivesBackWhatItTook(void) {
    for (size_t w = 0; w < sizeof ways / sizeof ways[0]; w++) {
        for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
            for (int noisy = 0; noisy < 2; noisy++) {
                const uint8_t *raw = noisy ? noise : text;
                size_t size = 0;
                ray_chunk_header header;
                CHECK_OK(ray_chunk_encode(codec, &id, 9, raw, sizes[s], ways[w].codec, ways[w].level, frame,
                                          sizes[s] + RAY_CHUNK_HEADER_SIZE, &size, &header));
                CHECK(header.stored_size <= sizes[s]);
                if (noisy && sizes[s] > 60000) {
                    CHECK_EQUAL(header.codec, RAY_CODEC_NONE);
                }
                if (!noisy && sizes[s] > 60000 && ways[w].codec == RAY_CODEC_ZSTD && ways[w].level > 0) {
                    CHECK_EQUAL(header.codec, RAY_CODEC_ZSTD);
                    CHECK_EQUAL(header.level, ways[w].level);
                    CHECK(header.stored_size < sizes[s] * 3 / 4);
                }
                memset(back, 0, sizes[s]);
                CHECK_OK(ray_chunk_decode(codec, frame, size, &id, 9, back, sizes[s]));
                CHECK(memcmp(raw, back, sizes[s]) == 0);
            }
        }
    }
}

static void sizesBeyondTheLimitsAreRefused(void) {
    size_t size;
    CHECK_STATUS(ray_chunk_encode(codec, &id, 0, text, 0, RAY_CODEC_LZ4, 0, frame, 64, &size, NULL), RAY_INVALID_ARGUMENT);
    CHECK_STATUS(ray_chunk_encode(codec, &id, 0, text, RAY_CHUNK_SIZE + 1, RAY_CODEC_LZ4, 0, frame, SIZE_MAX, &size, NULL),
                 RAY_INVALID_ARGUMENT);
    CHECK_STATUS(ray_chunk_encode(codec, &id, 0, text, 100, RAY_CODEC_LZ4, 0, frame, 163, &size, NULL), RAY_INVALID_ARGUMENT);
    CHECK_STATUS(ray_chunk_encode(codec, &id, 0, text, 100, 17, 0, frame, 164, &size, NULL), RAY_INVALID_ARGUMENT);
}

static void anyFlippedBitIsNoticed(void) {
    uint64_t seed = check_seed();
    for (size_t w = 0; w < sizeof ways / sizeof ways[0]; w++) {
        size_t size;
        CHECK_OK(ray_chunk_encode(codec, &id, 9, text, 3000, ways[w].codec, ways[w].level, frame, 4000, &size, NULL));
        for (int i = 0; i < 3000; i++) {
            size_t at = i < 64 ? (size_t)i : (size_t)(check_random(&seed) % size);
            uint8_t bit = (uint8_t)(1u << (check_random(&seed) % 8));
            frame[at] ^= bit;
            ray_status status = ray_chunk_decode(codec, frame, size, &id, 9, back, 3000);
            // A packed form may have bits that do not matter; then the bytes must be right.
            CHECK(status != RAY_OK || (at >= 64 && memcmp(text, back, 3000) == 0));
            frame[at] ^= bit;
        }
    }
}

static void anyTruncationIsNoticed(void) {
    for (size_t w = 0; w < sizeof ways / sizeof ways[0]; w++) {
        size_t size;
        CHECK_OK(ray_chunk_encode(codec, &id, 9, text, 3000, ways[w].codec, ways[w].level, frame, 4000, &size, NULL));
        for (size_t cut = 0; cut < size; cut++) {
            CHECK_STATUS(ray_chunk_decode(codec, frame, cut, &id, 9, back, 3000), RAY_CORRUPT);
        }
    }
}

static void aFrameOfAnotherChunkOrObjectIsRefused(void) {
    size_t size;
    CHECK_OK(ray_chunk_encode(codec, &id, 9, text, 3000, RAY_CODEC_LZ4, 0, frame, 4000, &size, NULL));
    ray_object_id other = id;
    other.bytes[0] ^= 1;
    CHECK_STATUS(ray_chunk_decode(codec, frame, size, &other, 9, back, 3000), RAY_CORRUPT);
    CHECK_STATUS(ray_chunk_decode(codec, frame, size, &id, 8, back, 3000), RAY_CORRUPT);
    CHECK_STATUS(ray_chunk_decode(codec, frame, size, &id, 9, back, 2999), RAY_CORRUPT);
    CHECK_STATUS(ray_chunk_decode(codec, frame, size, &id, 9, back, 3001), RAY_CORRUPT);
}

// A peer that knows how to make a valid header check can still lie in it.
static void aLyingHeaderWithAValidCheckIsRefused(void) {
    size_t size;
    CHECK_OK(ray_chunk_encode(codec, &id, 9, text, 3000, RAY_CODEC_ZSTD, 3, frame, 4000, &size, NULL));
    static const struct {
        int at;
        uint32_t value;
    } lies[] = {{40, 0}, {40, RAY_CHUNK_SIZE + 1}, {40, UINT32_MAX}, {44, 0}, {44, 3000}, {44, UINT32_MAX}, {40, 4000}};
    for (size_t i = 0; i < sizeof lies / sizeof lies[0]; i++) {
        uint8_t kept[64];
        memcpy(kept, frame, 64);
        ray__put_u32(frame + lies[i].at, lies[i].value);
        ray__put_u64(frame + 56, ray__checksum_of(frame, 56));
        CHECK_STATUS(ray_chunk_decode(codec, frame, size, &id, 9, back, 3000), RAY_CORRUPT);
        memcpy(frame, kept, 64);
    }
    frame[5] = 4;
    ray__put_u64(frame + 56, ray__checksum_of(frame, 56));
    CHECK_STATUS(ray_chunk_decode(codec, frame, size, &id, 9, back, 3000), RAY_CORRUPT);
    frame[5] = RAY_CODEC_ZSTD;
    frame[4] = 2;
    ray__put_u64(frame + 56, ray__checksum_of(frame, 56));
    CHECK_STATUS(ray_chunk_decode(codec, frame, size, &id, 9, back, 3000), RAY_VERSION_MISMATCH);
}

static void randomBytesAsPackedDataNeverCrash(void) {
    uint64_t seed = check_seed();
    for (int i = 0; i < 3000; i++) {
        uint32_t stored = 1 + (uint32_t)(check_random(&seed) % 500);
        uint16_t which = i % 2 == 0 ? RAY_CODEC_LZ4 : RAY_CODEC_ZSTD;
        uint8_t *bytes = malloc(stored);
        CHECK(bytes != NULL);
        for (uint32_t b = 0; b < stored; b++) {
            bytes[b] = (uint8_t)check_random(&seed);
        }
        if (which == RAY_CODEC_ZSTD && stored > 4) {
            ray__put_u32(bytes, 0xfd2fb528u);
        }
        uint8_t *out = malloc(700);
        CHECK(out != NULL);
        ray_status status = ray__chunk_unpack(codec, which, bytes, stored, out, 700);
        CHECK(status == RAY_CORRUPT || status == RAY_OK);
        free(bytes);
        free(out);
    }
}

int main(void) {
    prepare();
    RUN(everyCodecGivesBackWhatItTook);
    RUN(sizesBeyondTheLimitsAreRefused);
    RUN(anyFlippedBitIsNoticed);
    RUN(anyTruncationIsNoticed);
    RUN(aFrameOfAnotherChunkOrObjectIsRefused);
    RUN(aLyingHeaderWithAValidCheckIsRefused);
    RUN(randomBytesAsPackedDataNeverCrash);
    ray_codec_destroy(codec);
    free(text);
    free(noise);
    free(frame);
    free(back);
    return 0;
}
