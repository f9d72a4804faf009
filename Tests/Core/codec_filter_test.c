// SPDX-License-Identifier: Apache-2.0
// Filters: exact for any bytes, chosen where they help, refused where they cannot be.
#include "base/checksum_internal.h"
#include "check.h"
#include "codec/bytes_internal.h"
#include "codec/filter_internal.h"
#include "codec/frame_internal.h"

#define SIZE RAY_CHUNK_SIZE

static ray_codec *codec;
static uint8_t *raw;
static uint8_t *out;
static uint8_t *back;
static ray_object_id id;

static const uint32_t sizes[] = {1, 7, 8, 9, 63, 64, 100, 4099, RAY__FILTER_BLOCK - 1, RAY__FILTER_BLOCK, RAY__FILTER_BLOCK + 1,
                                 RAY__FILTER_BLOCK + 15, 1000003, SIZE - 1, SIZE};
static const uint32_t widths[] = {2, 4, 8};

static void prepare(void) {
    CHECK_OK(ray_codec_create(&codec));
    raw = malloc(SIZE);
    out = malloc(SIZE + RAY__FILTER_PLAN_MAX);
    back = malloc(SIZE);
    CHECK(raw && out && back);
    ray_task_id task = ray_task_id_driver(3);
    id = ray_object_id_make(&task, 5);
}

// ---- data ------------------------------------------------------------------------------------------------------------------------

static void fill_noise(uint32_t size, uint64_t seed) {
    for (uint32_t i = 0; i < size; i++) {
        raw[i] = (uint8_t)check_random(&seed);
    }
}

static void fill_text(uint32_t begin, uint32_t end) {
    static const char *const words[] = {"model ", "data ", "learns ", "the ", "token ", "layer ", "and ", "of "};
    uint64_t seed = 3;
    while (begin < end) {
        const char *word = words[check_random(&seed) % 8];
        uint32_t length = (uint32_t)strlen(word);
        length = length < end - begin ? length : end - begin;
        memcpy(raw + begin, word, length);
        begin += length;
    }
}

// A column that moves slowly.
static void fill_column(uint32_t begin, uint32_t end, uint32_t width) {
    uint64_t seed = 4;
    int64_t value = 100000;
    for (; begin + width <= end; begin += width) {
        value += (int64_t)(check_random(&seed) % 21) - 10;
        float real = (float)value / 100;
        double larger = (double)value / 128;
        int16_t whole = (int16_t)value;
        memcpy(raw + begin, width == 4 ? (const void *)&real : width == 8 ? (const void *)&larger : (const void *)&whole, width);
    }
}

// ---- the parts -------------------------------------------------------------------------------------------------------------------

static void shufflingIsUndoneForEveryWidthAndSize(void) {
    fill_noise(SIZE, 1);
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        for (size_t w = 0; w < 3; w++) {
            memset(back, 0x5a, SIZE);
            ray__shuffle_apply(widths[w], raw, sizes[s], out);
            ray__shuffle_undo(widths[w], out, sizes[s], back);
            CHECK(memcmp(raw, back, sizes[s]) == 0);
            CHECK(sizes[s] == SIZE || back[sizes[s]] == 0x5a);
        }
    }
}

static void shufflingPutsEqualBytesOfElementsTogether(void) {
    for (uint32_t i = 0; i < 400; i++) {
        raw[i] = (uint8_t)(i % 4);
    }
    ray__shuffle_apply(4, raw, 400, out);
    for (uint32_t i = 0; i < 400; i++) {
        CHECK_EQUAL(out[i], i / 100);
    }
}

static void deltasAreUndoneForEveryPlan(void) {
    fill_noise(SIZE, 2);
    uint64_t seed = check_seed();
    uint8_t plan[RAY__FILTER_PLAN_MAX];
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        for (int round = 0; round < 20; round++) {
            for (uint32_t b = 0; b < RAY__FILTER_PLAN_MAX; b++) {
                uint32_t code = (uint32_t)(check_random(&seed) % 4);
                plan[b] = code == 0 ? 0 : (uint8_t)(code << 4 | check_random(&seed) % (1u << code));
            }
            CHECK(ray__filter_plan_is_valid(plan, RAY__FILTER_PLAN_MAX));
            ray__deltas_apply(plan, raw, sizes[s], back);
            ray__deltas_undo(plan, back, sizes[s]);
            CHECK(memcmp(raw, back, sizes[s]) == 0);
        }
    }
}

static void plansThatCannotBeAreRefused(void) {
    uint32_t valid = 0;
    for (uint32_t value = 0; value < 256; value++) {
        uint8_t plan = (uint8_t)value;
        bool right = value == 0 || (value >= 0x10 && value < 0x12) || (value >= 0x20 && value < 0x24) || (value >= 0x30 && value < 0x38);
        CHECK_EQUAL(ray__filter_plan_is_valid(&plan, 1), right);
        valid += right;
    }
    CHECK_EQUAL(valid, 1 + 2 + 4 + 8);
}

static void filtersThatCannotBeAreRefused(void) {
    for (uint32_t value = 0; value < 256; value++) {
        uint32_t width = value & 15;
        bool right = (value & 0xe0) == 0 && (width == 0 || width == 2 || width == 4 || width == 8);
        CHECK_EQUAL(ray__filter_is_valid((uint8_t)value), right);
    }
}

// ---- the choice ------------------------------------------------------------------------------------------------------------------

// Blocks with words of this width, at any offset: where half of a word stands still, two offsets are as good.
static uint32_t planned_count(const uint8_t *plan, uint8_t width_code, uint32_t begin, uint32_t end) {
    uint32_t count = 0;
    for (uint32_t b = begin; b < end; b++) {
        count += plan[b] >> 4 == width_code;
    }
    return count;
}

static void columnsAmongTextAreFoundWhereverTheyBegin(void) {
    uint8_t plan[RAY__FILTER_PLAN_MAX];
    for (uint32_t offset = 0; offset < 4; offset++) {
        fill_text(0, SIZE);
        fill_column(64 * RAY__FILTER_BLOCK + offset, SIZE - 64, 4);
        CHECK(ray__filter_plan(raw, SIZE, 0, plan));
        CHECK_EQUAL(planned_count(plan, 0, 0, 64), 64);
        CHECK(planned_count(plan, 2, 64, 128) >= 62);
    }
}

static void wideAndNarrowColumnsAreFound(void) {
    uint8_t plan[RAY__FILTER_PLAN_MAX];
    fill_column(0, SIZE, 8);
    CHECK(ray__filter_plan(raw, SIZE, 8, plan));
    CHECK(planned_count(plan, 3, 0, 128) >= 120);
    fill_column(0, SIZE, 2);
    CHECK(ray__filter_plan(raw, SIZE, 2, plan));
    CHECK(planned_count(plan, 1, 0, 128) >= 120);
}

static void textNoiseAndZerosAreLeftAlone(void) {
    uint8_t plan[RAY__FILTER_PLAN_MAX];
    fill_text(0, SIZE);
    CHECK(!ray__filter_plan(raw, SIZE, 0, plan));
    fill_noise(SIZE, 5);
    CHECK(!ray__filter_plan(raw, SIZE, 0, plan));
    memset(raw, 0, SIZE);
    CHECK(!ray__filter_plan(raw, SIZE, 0, plan));
    CHECK(!ray__filter_plan(raw, 3, 0, plan));
}

// ---- chunks ----------------------------------------------------------------------------------------------------------------------

static void roundTrip(uint16_t which, int32_t level, ray__filter_wish wish, uint32_t size) {
    uint32_t stored = 0;
    uint16_t filter = 0;
    CHECK_OK(ray__chunk_pack_filtered(codec, which, level, wish, raw, size, out, &stored, &filter));
    if (stored == 0) {
        return;
    }
    CHECK(stored < size);
    ray_chunk_header header = {.id = id, .raw_size = size, .stored_size = stored, .codec = which, .level = (int16_t)level, .filter = filter};
    uint8_t frame[RAY_CHUNK_HEADER_SIZE];
    ray_chunk_header said;
    ray__chunk_header_write(&header, frame);
    CHECK_OK(ray_chunk_header_read(frame, sizeof frame, &said));
    CHECK_EQUAL(said.filter, filter);
    memset(back, 0, size);
    CHECK_OK(ray__chunk_unpack_filtered(codec, &said, out, back));
    CHECK(memcmp(raw, back, size) == 0);
}

static void filteredChunksGiveBackWhatTheyTook(void) {
    for (int data = 0; data < 3; data++) {
        for (size_t w = 0; w < 3; w++) {
            if (data == 0) {
                fill_noise(SIZE, 6);
            } else {
                fill_text(0, SIZE);
                fill_column(data == 1 ? 0 : 300003, SIZE, widths[w]);
            }
            for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
                for (uint32_t ways = 0; ways < 4; ways++) {
                    ray__filter_wish wish = {.width = widths[w], .may_delta = (ways & 1) != 0, .shuffles = (ways & 2) != 0};
                    roundTrip(RAY_CODEC_LZ4, 0, wish, sizes[s]);
                    roundTrip(RAY_CODEC_ZSTD, 1, wish, sizes[s]);
                }
                roundTrip(RAY_CODEC_ZSTD, 1, (ray__filter_wish){.may_delta = true}, sizes[s]);
            }
        }
    }
}

static uint32_t packed_size(ray__filter_wish wish) {
    uint32_t stored = 0;
    uint16_t filter;
    CHECK_OK(ray__chunk_pack_filtered(codec, RAY_CODEC_ZSTD, 1, wish, raw, SIZE, out, &stored, &filter));
    return stored;
}

static void numbersBecomeMuchSmaller(void) {
    fill_column(0, SIZE, 4);
    CHECK(packed_size((ray__filter_wish){.may_delta = true}) < packed_size((ray__filter_wish){0}) * 3 / 4);
    // Floats of any value below one: only their first bytes are of few kinds.
    uint64_t seed = 8;
    for (uint32_t i = 0; i < SIZE; i += 4) {
        float value = (float)(check_random(&seed) % 16777216) / 16777216;
        memcpy(raw + i, &value, 4);
    }
    CHECK(packed_size((ray__filter_wish){.width = 4, .shuffles = true}) < packed_size((ray__filter_wish){0}) * 97 / 100);
}

static void aHeaderWithAFilterThatCannotBeIsRefused(void) {
    for (uint32_t value = 0; value < 256; value++) {
        for (uint16_t which = RAY_CODEC_NONE; which <= RAY_CODEC_ZSTD; which++) {
            uint32_t stored = which == RAY_CODEC_NONE ? 100000 : 5;
            ray_chunk_header header = {.id = id, .raw_size = 100000, .stored_size = stored, .codec = which, .filter = (uint16_t)value};
            uint8_t frame[RAY_CHUNK_HEADER_SIZE];
            ray_chunk_header said;
            ray__chunk_header_write(&header, frame);
            // 100,000 bytes have a plan of 4, so one byte is left for the codec.
            bool right = value == 0 || (which != RAY_CODEC_NONE && ray__filter_is_valid((uint8_t)value));
            CHECK_EQUAL(ray_chunk_header_read(frame, sizeof frame, &said), right ? RAY_OK : RAY_CORRUPT);
        }
    }
    ray_chunk_header header = {
        .id = id, .raw_size = 100000, .stored_size = 4, .codec = RAY_CODEC_LZ4, .filter = RAY__FILTER_DELTAS};
    uint8_t frame[RAY_CHUNK_HEADER_SIZE];
    ray__chunk_header_write(&header, frame);
    CHECK_EQUAL(ray_chunk_header_read(frame, sizeof frame, &header), RAY_CORRUPT);
}

static void damagedFilteredChunksAreNoticed(void) {
    fill_column(0, SIZE, 4);
    uint32_t size = 200000;
    uint32_t stored = 0;
    uint16_t filter = 0;
    uint8_t *frame = malloc(RAY_CHUNK_HEADER_SIZE + size + RAY__FILTER_PLAN_MAX);
    CHECK(frame != NULL);
    CHECK_OK(ray__chunk_pack_filtered(codec, RAY_CODEC_ZSTD, 1, (ray__filter_wish){.width = 4, .may_delta = true, .shuffles = true}, raw, size,
                                      frame + RAY_CHUNK_HEADER_SIZE, &stored, &filter));
    CHECK_EQUAL(filter, RAY__FILTER_DELTAS | 4);
    ray_chunk_header header = {.id = id, .raw_size = size, .stored_size = stored, .codec = RAY_CODEC_ZSTD, .level = 1, .filter = filter,
                               .checksum = ray__checksum_of(raw, size)};
    ray__chunk_header_write(&header, frame);
    CHECK_OK(ray_chunk_decode(codec, frame, RAY_CHUNK_HEADER_SIZE + stored, &id, 0, back, size));
    CHECK(memcmp(raw, back, size) == 0);
    uint64_t seed = check_seed();
    int refused = 0;
    for (int i = 0; i < 500; i++) {
        // Mostly in the plan and what follows it at once.
        uint32_t at = RAY_CHUNK_HEADER_SIZE + (uint32_t)(check_random(&seed) % (i % 2 == 0 ? 40 : stored));
        uint8_t flip = (uint8_t)(1u << check_random(&seed) % 8);
        frame[at] ^= flip;
        // A bit that says nothing may change; wrong bytes may not come out.
        ray_status status = ray_chunk_decode(codec, frame, RAY_CHUNK_HEADER_SIZE + stored, &id, 0, back, size);
        CHECK(status == RAY_CORRUPT || (status == RAY_OK && memcmp(raw, back, size) == 0));
        refused += status == RAY_CORRUPT;
        frame[at] ^= flip;
    }
    CHECK(refused > 450);
    free(frame);
}

int main(void) {
    prepare();
    RUN(shufflingIsUndoneForEveryWidthAndSize);
    RUN(shufflingPutsEqualBytesOfElementsTogether);
    RUN(deltasAreUndoneForEveryPlan);
    RUN(plansThatCannotBeAreRefused);
    RUN(filtersThatCannotBeAreRefused);
    RUN(columnsAmongTextAreFoundWhereverTheyBegin);
    RUN(wideAndNarrowColumnsAreFound);
    RUN(textNoiseAndZerosAreLeftAlone);
    RUN(filteredChunksGiveBackWhatTheyTook);
    RUN(numbersBecomeMuchSmaller);
    RUN(aHeaderWithAFilterThatCannotBeIsRefused);
    RUN(damagedFilteredChunksAreNoticed);
    free(raw);
    free(out);
    free(back);
    ray_codec_destroy(codec);
    return 0;
}
