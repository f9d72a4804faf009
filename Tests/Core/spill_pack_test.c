// SPDX-License-Identifier: Apache-2.0
// Packed records: read back by somebody who knows no more than where they lie, whichever way they were packed.
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "raystore.h"

#define BLOCK ((uint64_t)RAY_SPILL_SUM_BYTES)
#define OBJECTS 8u

enum kind { NUMBERS, RANDOM, HALF };

typedef struct scene {
    ray_spill_object objects[OBJECTS];
    uint32_t count;
    uint8_t headers[OBJECTS * RAY_SPILL_HEADER_SIZE];
    ray_spill_part parts[OBJECTS * RAY_SPILL_PARTS];
    ray_spill_packed *packed;
    uint8_t *file;
    uint64_t file_size;
} scene;

static uint8_t *some_bytes(uint64_t size, enum kind kind, uint64_t seed) {
    uint8_t *bytes = malloc(size + 8);
    CHECK(bytes != NULL);
    for (uint64_t at = 0; at < size; at += 8) {
        bool is_random = kind == RANDOM || (kind == HALF && at / BLOCK % 2 == 1);
        uint64_t word = is_random ? check_random(&seed) : at / 3;
        memcpy(bytes + at, &word, 8);
    }
    return bytes;
}

static void add(scene *s, uint64_t size, enum kind kind, const void *metadata, uint64_t metadata_size) {
    ray_spill_object *object = &s->objects[s->count];
    object->owner = "the owner's address";
    object->owner_size = 19;
    object->metadata = metadata;
    object->metadata_size = metadata_size;
    object->data = some_bytes(size, kind, 77 + s->count);
    object->data_size = size;
    object->sums = calloc(ray_spill_sum_count(size) + 1, sizeof(uint64_t));
    memset(object->id.bytes, (int)s->count + 1, RAY_OBJECT_ID_SIZE);
    s->count++;
}

static ray_spill_packing how(uint16_t codec, uint64_t keep_bytes, bool by_range) {
    return (ray_spill_packing){.struct_size = sizeof(ray_spill_packing), .codec = codec, .keep_bytes = keep_bytes, .by_range = by_range};
}

static void lay(scene *s, ray_spill_packing packing) {
    ray_spill_lay(s->objects, s->count, s->headers, s->parts);
    CHECK_OK(ray_spill_pack(s->objects, s->count, &packing, s->headers, s->parts, &s->packed));
}

// What a storage would write.
static void write_file(scene *s) {
    s->file_size = 0;
    for (uint32_t i = 0; i < s->count * RAY_SPILL_PARTS; i++) {
        s->file_size += s->parts[i].size;
    }
    s->file = malloc(s->file_size + 1);
    uint8_t *at = s->file;
    for (uint32_t i = 0; i < s->count * RAY_SPILL_PARTS; i++) {
        if (s->parts[i].size > 0 && s->parts[i].bytes == NULL) {
            CHECK_OK(ray_spill_packed_read(s->packed, i, 0, at, s->parts[i].size));
        } else if (s->parts[i].size > 0) {
            memcpy(at, s->parts[i].bytes, s->parts[i].size);
        }
        at += s->parts[i].size;
    }
}

static void end(scene *s) {
    ray_spill_packed_destroy(s->packed);
    for (uint32_t i = 0; i < s->count; i++) {
        free((void *)(uintptr_t)s->objects[i].data);
        free(s->objects[i].sums);
    }
    free(s->file);
    memset(s, 0, sizeof *s);
}

// Reads a record as somebody does who knows where it lies and which object it is. Answers why not.
static ray_status read_record(const scene *s, const ray_spill_object *object, uint64_t *packed_size) {
    const uint8_t *record = s->file + object->offset;
    ray_spill_lengths lengths;
    ray_status status = ray_spill_lengths_read(record, object->size, &lengths);
    if (status != RAY_OK) {
        return status;
    }
    const uint8_t *metadata = record + RAY_SPILL_HEADER_SIZE + lengths.owner_size;
    const uint8_t *data = metadata + lengths.metadata_size;
    ray_spill_announcement said = {.data_size = lengths.data_size};
    uint32_t frames[64];
    if (ray_spill_is_announced(metadata, lengths.metadata_size)) {
        status = ray_spill_announcement_read(metadata, lengths.metadata_size, lengths.data_size, frames, 64, &said);
        if (status != RAY_OK) {
            return status;
        }
    }
    *packed_size = lengths.data_size;
    bool same = lengths.metadata_size - said.size == object->metadata_size &&
                ray_spill_matches(metadata + said.size, object->metadata_size, object->metadata_checksum) && said.data_size == object->data_size;
    if (same && said.frame_count == 0) {
        same = ray_spill_matches(data, lengths.data_size, object->checksum);
    }
    if (!same) {
        return RAY_CORRUPT;
    }
    CHECK(said.frame_count <= 64);
    ray_codec *codec = NULL;
    CHECK_OK(ray_codec_create(&codec));
    uint8_t *raw = malloc(object->data_size + 1);
    for (uint32_t i = 0; i < said.frame_count && status == RAY_OK; i++) {
        uint64_t from = i * BLOCK;
        uint32_t size = (uint32_t)(object->data_size - from < BLOCK ? object->data_size - from : BLOCK);
        status = ray_spill_unpack(codec, data, frames[i], &object->id, i, object->sums[i], raw + from, size);
        data += frames[i];
    }
    if (status == RAY_OK && said.frame_count > 0) {
        CHECK(memcmp(raw, object->data, object->data_size) == 0);
    }
    free(raw);
    ray_codec_destroy(codec);
    return status;
}

static void fill(scene *s) {
    static const char mimic[] = "RAYPACK\1and no announcement at all, though it begins like one";
    add(s, 0, NUMBERS, "m", 1);
    add(s, 1, NUMBERS, NULL, 0);
    add(s, 70000, NUMBERS, "numbers", 7);
    add(s, 3 * BLOCK + 12345, NUMBERS, "large", 5);
    add(s, 2 * BLOCK, RANDOM, "random", 6);
    add(s, 4 * BLOCK + 1, HALF, "half", 4);
    add(s, 5000, RANDOM, mimic, sizeof mimic);
    add(s, BLOCK, NUMBERS, mimic, sizeof mimic);
}

static void everyWayOfPackingIsReadBack(void) {
    static const struct {
        uint16_t codec;
        uint64_t keep_bytes;
        bool by_range;
    } ways[] = {
        {RAY_CODEC_AUTO, 64u << 20, false}, {RAY_CODEC_AUTO, 64u << 20, true}, {RAY_CODEC_AUTO, 0, true}, {RAY_CODEC_AUTO, 3u << 20, true},
        {RAY_CODEC_AUTO, 3u << 20, false},  {RAY_CODEC_LZ4, 64u << 20, false}, {RAY_CODEC_LZ4, 0, true},  {RAY_CODEC_NONE, 64u << 20, true},
    };
    for (size_t i = 0; i < sizeof ways / sizeof ways[0]; i++) {
        scene s = {.count = 0};
        fill(&s);
        lay(&s, how(ways[i].codec, ways[i].keep_bytes, ways[i].by_range));
        write_file(&s);
        uint64_t offset = 0;
        for (uint32_t k = 0; k < s.count; k++) {
            uint64_t packed_size = 0;
            CHECK_EQUAL(s.objects[k].offset, offset);
            offset += s.objects[k].size;
            CHECK_OK(read_record(&s, &s.objects[k], &packed_size));
            bool all_fit = ways[i].codec != RAY_CODEC_NONE && (ways[i].keep_bytes > 32u << 20 || ways[i].by_range);
            if (all_fit && (k == 3 || k == 7)) {
                CHECK(packed_size < s.objects[k].data_size * 3 / 4);
            }
            if (k == 4 || ways[i].codec == RAY_CODEC_NONE) {
                CHECK_EQUAL(packed_size, s.objects[k].data_size);
                CHECK(s.objects[k].frames == NULL);
            }
        }
        CHECK_EQUAL(s.file_size, offset);
        end(&s);
    }
}

static void blocksThatDoNotShrinkStayAsTheyAre(void) {
    scene s = {.count = 0};
    add(&s, 4 * BLOCK, HALF, "half", 4);
    lay(&s, how(RAY_CODEC_AUTO, 64u << 20, false));
    CHECK(s.objects[0].frames != NULL);
    for (uint32_t i = 0; i < 4; i++) {
        if (i % 2 == 1) {
            CHECK_EQUAL(s.objects[0].frames[i], RAY_CHUNK_HEADER_SIZE + BLOCK);
        } else {
            CHECK(s.objects[0].frames[i] < BLOCK / 2);
        }
    }
    end(&s);
}

static void anyFlippedByteIsFound(void) {
    scene s = {.count = 0};
    add(&s, 9000, NUMBERS, "some metadata", 13);
    lay(&s, how(RAY_CODEC_AUTO, 1u << 20, false));
    CHECK(s.objects[0].frames != NULL);
    write_file(&s);
    uint64_t packed_size;
    uint32_t harmless = 0;
    for (uint64_t at = 0; at < s.file_size; at++) {
        bool is_owner = at >= RAY_SPILL_HEADER_SIZE && at < RAY_SPILL_HEADER_SIZE + s.objects[0].owner_size;
        // A codec may not look at every bit of what it made: the bytes come out right then, as read_record has compared.
        bool is_stored = at >= s.file_size - s.parts[3].size + RAY_CHUNK_HEADER_SIZE;
        for (uint32_t bit = 0; bit < 8; bit++) {
            s.file[at] ^= (uint8_t)(1u << bit);
            ray_status status = read_record(&s, &s.objects[0], &packed_size);
            CHECK(is_owner ? status == RAY_OK : status == RAY_CORRUPT || status == RAY_VERSION_MISMATCH || (status == RAY_OK && is_stored));
            harmless += !is_owner && status == RAY_OK;
            s.file[at] ^= (uint8_t)(1u << bit);
        }
    }
    CHECK_OK(read_record(&s, &s.objects[0], &packed_size));
    CHECK(harmless < 8 * s.parts[3].size / 50);
    end(&s);
}

static void anAnnouncementIsOfJustItsFrames(void) {
    scene s = {.count = 0};
    add(&s, 2 * BLOCK + 5, NUMBERS, "m", 1);
    lay(&s, how(RAY_CODEC_AUTO, 64u << 20, false));
    const ray_spill_object *object = &s.objects[0];
    uint32_t frames[3];
    memcpy(frames, object->frames, sizeof frames);
    const void *metadata = s.parts[2].bytes;
    uint64_t size = s.parts[2].size;
    CHECK_EQUAL(object->announced_size, RAY_SPILL_ANNOUNCED_SIZE + 12);
    CHECK(ray_spill_announces(metadata, size, object->data_size, frames, 3));
    CHECK(!ray_spill_announces(metadata, size, object->data_size + 1, frames, 3));
    CHECK(!ray_spill_announces(metadata, size, object->data_size, frames, 2));
    CHECK(!ray_spill_announces(metadata, RAY_SPILL_ANNOUNCED_SIZE + 11, object->data_size, frames, 3));
    ray_spill_announcement said;
    for (uint64_t cut = 0; cut < object->announced_size; cut++) {
        CHECK_STATUS(ray_spill_announcement_read(metadata, cut, s.parts[3].size, NULL, 0, &said), RAY_CORRUPT);
    }
    CHECK_STATUS(ray_spill_announcement_read(metadata, size, s.parts[3].size + 1, NULL, 0, &said), RAY_CORRUPT);
    CHECK_OK(ray_spill_announcement_read(metadata, size, s.parts[3].size, NULL, 0, &said));
    CHECK_EQUAL(said.frame_count, 3);
    frames[1]++;
    CHECK(!ray_spill_announces(metadata, size, object->data_size, frames, 3));
    end(&s);
}

static void aFileIsWrittenAsItIsPacked(void) {
    static const uint64_t keeps[] = {0, 3u << 20, 64u << 20};
    char path[4096];
    snprintf(path, sizeof path, "%s/packed", check_folder());
    for (size_t i = 0; i < sizeof keeps / sizeof keeps[0]; i++) {
        scene s = {.count = 0};
        fill(&s);
        lay(&s, how(RAY_CODEC_AUTO, keeps[i], true));
        write_file(&s);
        CHECK_OK(ray_spill_write_packed(path, s.parts, s.count * RAY_SPILL_PARTS, s.packed, 0, 0));
        uint8_t *bytes = malloc(s.file_size);
        ray_spill_part whole = {bytes, s.file_size};
        CHECK_OK(ray_spill_read(path, 0, &whole, 1));
        CHECK(memcmp(bytes, s.file, s.file_size) == 0);
        whole.size = 1;
        CHECK_STATUS(ray_spill_read(path, s.file_size, &whole, 1), RAY_CORRUPT);
        CHECK_EQUAL(unlink(path), 0);
        free(bytes);
        end(&s);
    }
}

typedef struct reader {
    const scene *s;
    uint64_t seed;
} reader;

static void *read_ranges(void *context) {
    reader *r = context;
    const ray_spill_part *part = &r->s->parts[3];
    const uint8_t *expected = r->s->file + r->s->parts[0].size + r->s->parts[1].size + r->s->parts[2].size;
    uint8_t *bytes = malloc(300000);
    for (int i = 0; i < 40; i++) {
        uint64_t from = check_random(&r->seed) % part->size;
        size_t size = (size_t)(check_random(&r->seed) % 300000);
        size = size < part->size - from ? size : (size_t)(part->size - from);
        CHECK_OK(ray_spill_packed_read(r->s->packed, 3, from, bytes, size));
        CHECK(memcmp(bytes, expected + from, size) == 0);
    }
    free(bytes);
    return NULL;
}

static void manyMayReadRangesAtOnce(void) {
    scene s = {.count = 0};
    add(&s, 6 * BLOCK + 999, HALF, "m", 1);
    lay(&s, how(RAY_CODEC_AUTO, 0, true));
    CHECK(s.parts[3].bytes == NULL && s.parts[3].size > 0);
    write_file(&s);
    uint64_t seed = check_seed();
    reader readers[4];
    pthread_t threads[4];
    for (int i = 0; i < 4; i++) {
        readers[i] = (reader){&s, seed + (uint64_t)i};
        CHECK_EQUAL(pthread_create(&threads[i], NULL, read_ranges, &readers[i]), 0);
    }
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }
    end(&s);
}

static void dataThatChangesMeanwhileIsFound(void) {
    scene s = {.count = 0};
    add(&s, 2 * BLOCK, NUMBERS, "m", 1);
    lay(&s, how(RAY_CODEC_AUTO, 0, true));
    uint64_t seed = 5;
    uint8_t *data = (uint8_t *)(uintptr_t)s.objects[0].data;
    for (uint64_t at = BLOCK; at < 2 * BLOCK; at++) {
        data[at] = (uint8_t)check_random(&seed);
    }
    uint8_t *bytes = malloc(s.parts[3].size);
    CHECK_STATUS(ray_spill_packed_read(s.packed, 3, 0, bytes, s.parts[3].size), RAY_SOURCE_CHANGED);
    CHECK_OK(ray_spill_packed_read(s.packed, 3, 0, bytes, s.objects[0].frames[0]));
    free(bytes);
    end(&s);
}

// Of a block that did not shrink the frame has the same size whatever is in it.
static void anyBlockThatIsPackedAgainIsLookedAt(void) {
    for (uint32_t i = 0; i < 2; i++) {
        scene s = {.count = 0};
        add(&s, 2 * BLOCK, HALF, "m", 1);
        lay(&s, how(RAY_CODEC_AUTO, 0, true));
        CHECK_EQUAL(s.objects[0].frames[1], RAY_CHUNK_HEADER_SIZE + BLOCK);
        ((uint8_t *)(uintptr_t)s.objects[0].data)[i * BLOCK + 12345] ^= 1;
        uint8_t *bytes = malloc(s.parts[3].size);
        CHECK_STATUS(ray_spill_packed_read(s.packed, 3, 0, bytes, s.parts[3].size), RAY_SOURCE_CHANGED);
        free(bytes);
        end(&s);
    }
}

static void aWrongPackingIsRefused(void) {
    scene s = {.count = 0};
    add(&s, 100, NUMBERS, "m", 1);
    ray_spill_lay(s.objects, s.count, s.headers, s.parts);
    ray_spill_packing packing = how(RAY_CODEC_ZSTD + 1, 0, true);
    CHECK_STATUS(ray_spill_pack(s.objects, 1, &packing, s.headers, s.parts, &s.packed), RAY_INVALID_ARGUMENT);
    packing = how(RAY_CODEC_ZSTD, 0, true);
    packing.struct_size--;
    CHECK_STATUS(ray_spill_pack(s.objects, 1, &packing, s.headers, s.parts, &s.packed), RAY_INVALID_ARGUMENT);
    end(&s);
}

static void whatIsNoPackedDataIsNotRead(void) {
    scene s = {.count = 0};
    add(&s, BLOCK + 5, NUMBERS, "m", 1);
    add(&s, 100, RANDOM, "m", 1);
    lay(&s, how(RAY_CODEC_AUTO, 0, true));
    uint64_t size = s.parts[3].size;
    uint8_t *bytes = malloc(size + 1);
    CHECK_OK(ray_spill_packed_read(s.packed, 3, size, bytes, 0));
    CHECK_OK(ray_spill_packed_read(s.packed, 3, size - 1, bytes, 1));
    CHECK_STATUS(ray_spill_packed_read(s.packed, 3, 0, bytes, size + 1), RAY_INVALID_ARGUMENT);
    CHECK_STATUS(ray_spill_packed_read(s.packed, 3, size + 1, bytes, 0), RAY_INVALID_ARGUMENT);
    CHECK_STATUS(ray_spill_packed_read(s.packed, 3, UINT64_MAX, bytes, 2), RAY_INVALID_ARGUMENT);
    CHECK_STATUS(ray_spill_packed_read(s.packed, 2, 0, bytes, 1), RAY_INVALID_ARGUMENT); // metadata
    CHECK_STATUS(ray_spill_packed_read(s.packed, 7, 0, bytes, 1), RAY_INVALID_ARGUMENT); // as it is
    CHECK_STATUS(ray_spill_packed_read(s.packed, 11, 0, bytes, 1), RAY_INVALID_ARGUMENT); // of no object
    free(bytes);
    end(&s);
}

// ---- chosen by the storage's pace ----------------------------------------------------------------------------------------------

// Words, some of them often: each codec makes less of them, the slower the less.
static void add_words(scene *s, uint64_t size) {
    enum { WORDS = 2048, LONGEST = 12 };
    static char words[WORDS][LONGEST];
    uint64_t seed = 5;
    for (int i = 0; i < WORDS; i++) {
        uint64_t length = 4 + check_random(&seed) % (LONGEST - 4);
        for (uint64_t k = 0; k < length; k++) {
            words[i][k] = (char)(k + 1 < length ? 'a' + (char)(check_random(&seed) % 26) : ' ');
        }
    }
    add(s, size, RANDOM, NULL, 0);
    char *text = (char *)(uintptr_t)s->objects[s->count - 1].data;
    for (uint64_t at = 0; at < size;) {
        uint64_t random = check_random(&seed) >> 20;
        uint64_t number = random % WORDS * (random >> 14 & (WORDS - 1)) / WORDS * (random >> 28 & (WORDS - 1)) / WORDS;
        for (int k = 0; k < LONGEST && words[number][k] != '\0' && at < size; k++) {
            text[at++] = words[number][k];
        }
    }
}

typedef struct use {
    uint32_t blocks;
    uint32_t zstd;
    int level_max;
    uint64_t size;
} use;

static use codecs_of(const scene *s, uint32_t number) {
    use found = {0, 0, RAY_ZSTD_LEVEL_MIN, 0};
    const ray_spill_object *object = &s->objects[number];
    uint64_t at = object->offset + RAY_SPILL_HEADER_SIZE + object->owner_size + object->announced_size + object->metadata_size;
    uint64_t blocks = object->frames == NULL ? 0 : ray_spill_sum_count(object->data_size);
    for (uint64_t i = 0; i < blocks; i++) {
        ray_chunk_header header;
        CHECK_OK(ray_chunk_header_read(s->file + at, object->frames[i], &header));
        found.blocks++;
        found.zstd += header.codec == RAY_CODEC_ZSTD;
        found.level_max = header.codec == RAY_CODEC_ZSTD && header.level > found.level_max ? header.level : found.level_max;
        found.size += header.stored_size;
        at += object->frames[i];
    }
    return found;
}

// Two files, for the first also tells what the codecs cost here; answers how the second was packed.
static use packed_at(ray_spill_pace *pace, uint64_t keep_bytes) {
    use found = {0};
    for (int file = 0; file < 2; file++) {
        scene s = {0};
        add_words(&s, 2 * BLOCK);
        add(&s, 200000, RANDOM, "random", 6);
        ray_spill_packing packing = how(RAY_CODEC_AUTO, keep_bytes, true);
        packing.pace = pace;
        lay(&s, packing);
        write_file(&s);
        for (uint32_t i = 0; i < s.count; i++) {
            uint64_t size = 0;
            CHECK_OK(read_record(&s, &s.objects[i], &size));
        }
        CHECK(s.objects[1].frames == NULL);
        CHECK_EQUAL(ray_spill_packed_again_ns(s.packed) > 0, keep_bytes == 0 && s.objects[0].frames != NULL);
        found = codecs_of(&s, 0);
        end(&s);
    }
    return found;
}

static void aSlowStorageGetsWhatIsSmallAndAFastOneWhatIsQuick(void) {
    for (uint64_t keep_bytes = 0; keep_bytes <= 64 << 20; keep_bytes += 64 << 20) {
        ray_spill_pace *pace;
        CHECK_OK(ray_spill_pace_create(&pace));
        CHECK(ray_spill_pace_rate(pace) <= 0);
        use unknown = packed_at(pace, keep_bytes);
        CHECK(unknown.zstd == 2 && unknown.level_max == 1);
        CHECK(unknown.size < BLOCK);
        ray_spill_pace_note(pace, 1 << 20, 1000000000); // a MiB a second
        use slow = packed_at(pace, keep_bytes);
        CHECK_EQUAL(slow.zstd, 2);
        CHECK(slow.level_max > 1 && slow.size < unknown.size / 100 * 96);
        for (int i = 0; i < 40; i++) {
            ray_spill_pace_note(pace, 100ull << 30, 1000000000);
        }
        CHECK(ray_spill_pace_rate(pace) > 50e9);
        use fast = packed_at(pace, keep_bytes);
        CHECK_EQUAL(fast.zstd, 0);
        // And back, when it has become slow.
        for (int i = 0; i < 80; i++) {
            ray_spill_pace_note(pace, 1 << 20, 1000000000);
        }
        ray_spill_pace_note(pace, 0, 1);
        ray_spill_pace_note(pace, 1, 0);
        CHECK(ray_spill_pace_rate(pace) < 2e6);
        ray_spill_pace_destroy(pace);
    }
    ray_spill_pace_destroy(NULL);
}

int main(void) {
    RUN(everyWayOfPackingIsReadBack);
    RUN(blocksThatDoNotShrinkStayAsTheyAre);
    RUN(anyFlippedByteIsFound);
    RUN(anAnnouncementIsOfJustItsFrames);
    RUN(aFileIsWrittenAsItIsPacked);
    RUN(manyMayReadRangesAtOnce);
    RUN(dataThatChangesMeanwhileIsFound);
    RUN(anyBlockThatIsPackedAgainIsLookedAt);
    RUN(aWrongPackingIsRefused);
    RUN(whatIsNoPackedDataIsNotRead);
    RUN(aSlowStorageGetsWhatIsSmallAndAFastOneWhatIsQuick);
    return 0;
}
