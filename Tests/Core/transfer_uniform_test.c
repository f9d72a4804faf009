// SPDX-License-Identifier: Apache-2.0
// Chunks of one byte over and over, among others that nearly are: all arrive as they were, and only those that are take nearly no wire.
#include "transfer_fixture.h"

#include "codec/frame_internal.h"
#include "codec/uniform_internal.h"

#define CHUNK 65536u
#define TAIL 5000u

static char source_path[128];
static char target_path[128];

// What a chunk of each kind is. The last kind's stand for what has nothing to do with all this.
enum { ZEROS, ONES, LAST_DIFFERS, LATER_DIFFERS, FIRST_DIFFERS, SECOND_DIFFERS, TWO_HALVES, TEXT, NOISE, KINDS };

static bool is_uniform(uint32_t kind) {
    return kind == ZEROS || kind == ONES;
}

static void fill(uint8_t *chunk, uint32_t size, uint32_t kind, uint64_t seed) {
    uint8_t *other = fixture_bytes(size, seed, kind == TEXT);
    memset(chunk, kind == ONES ? 0xff : 0, size);
    if (kind == LAST_DIFFERS) {
        chunk[size - 1] = 1;
    } else if (kind == LATER_DIFFERS) {
        chunk[RAY__UNIFORM_MIN] = 0x80;
    } else if (kind == FIRST_DIFFERS) {
        chunk[0] = 2;
    } else if (kind == SECOND_DIFFERS) {
        chunk[1] = 1;
    } else if (kind == TWO_HALVES) {
        memset(chunk + size / 2, 7, size / 2);
    } else if (kind >= TEXT) {
        memcpy(chunk, other, size);
    }
    free(other);
}

// Each kind three times, in an order in which every kind follows several others, and a short one at the end.
static uint8_t *make(uint64_t *size, uint32_t *uniform_count) {
    enum { COUNT = 3 * KINDS };
    *size = (uint64_t)COUNT * CHUNK + TAIL;
    *uniform_count = 1;
    uint8_t *bytes = malloc(*size);
    CHECK(bytes != NULL);
    for (uint32_t i = 0; i < COUNT; i++) {
        uint32_t kind = i * (1 + i / KINDS) % KINDS;
        fill(bytes + (uint64_t)i * CHUNK, CHUNK, kind, i + 1);
        *uniform_count += is_uniform(kind);
    }
    memset(bytes + (uint64_t)COUNT * CHUNK, 0x20, TAIL);
    return bytes;
}

static const ray_choice_explanation *find_choice(const ray_source_explanation *source, uint16_t codec, int level) {
    for (uint32_t i = 0; i < source->choice_count; i++) {
        if (source->choices[i].codec == codec && source->choices[i].level == level) {
            return &source->choices[i];
        }
    }
    return NULL;
}

static void whatIsAndWhatNearlyIsArrivesAsItWas(void) {
    fixture_table table = {0};
    ray_transfer *sender;
    ray_transfer *receiver;
    fixture_begin(&table, source_path, target_path, &sender, &receiver);
    uint64_t size;
    uint32_t uniform_count;
    uint8_t *bytes = make(&size, &uniform_count);
    fixture_write_file(source_path, bytes, size);
    fixture_add_file(&table, 1, source_path);
    for (uint32_t round = 0; round < 3; round++) { // the second time the sums are known
        ray_pull_options options = {.chunk_size = CHUNK};
        fixture_pull p;
        CHECK_STATUS(fixture_pull_now(&p, receiver, 1, ray_transfer_port(sender), target_path, &options), RAY_OK);
        CHECK(fixture_file_is(target_path, bytes, size));
        CHECK(p.progress.zstd_count >= uniform_count);
        CHECK_EQUAL(fixture_stats(receiver).corrupt_count, 0);
        unlink(target_path);
    }
    free(bytes);
    unlink(source_path);
    fixture_end(sender, receiver);
}

static void thoseOfAnObjectDoAsWell(void) {
    ray_store *stores[2] = {fixture_store(16 * MIB), fixture_store(16 * MIB)};
    fixture_table table = {0};
    fixture_add(&table, 1, RAY_KIND_OBJECT);
    ray_transfer *sender = fixture_transfer(&table, stores[0], true);
    ray_transfer *receiver = fixture_transfer(NULL, stores[1], false);
    uint64_t size;
    uint32_t uniform_count;
    uint8_t *bytes = make(&size, &uniform_count);
    ray_object_id id = fixture_id(1);
    ray_object_writer writer;
    CHECK_OK(ray_object_create(stores[0], &id, size, 0, 0, &writer));
    memcpy(writer.data, bytes, size);
    CHECK_OK(ray_object_seal(stores[0], &writer));
    ray_pull_options options = {.chunk_size = CHUNK};
    fixture_pull p;
    CHECK_STATUS(fixture_pull_now(&p, receiver, 1, ray_transfer_port(sender), NULL, &options), RAY_OK);
    CHECK(p.progress.zstd_count >= uniform_count);
    fixture_check_object(stores[1], 1, bytes, size);
    free(bytes);
    ray_transfer_destroy(receiver);
    ray_transfer_destroy(sender);
    ray_store_close(stores[1]);
    ray_store_close(stores[0]);
}

// A file of nothing else takes nearly no wire and is explained; who asks for raw gets raw.
static void zerosTakeNearlyNoWireUnlessRawIsAskedFor(void) {
    enum { COUNT = 40 };
    fixture_table table = {0};
    ray_transfer *sender;
    ray_transfer *receiver;
    fixture_begin(&table, source_path, target_path, &sender, &receiver);
    uint8_t *zeros = calloc(COUNT, CHUNK);
    CHECK(zeros != NULL);
    fixture_write_file(source_path, zeros, (uint64_t)COUNT * CHUNK);
    fixture_add_file(&table, 1, source_path);
    for (uint16_t codec = RAY_CODEC_AUTO; codec <= RAY_CODEC_NONE; codec++) {
        ray_pull_options options = {.codec = codec, .chunk_size = CHUNK, .connection_count = 1};
        uint16_t port = ray_transfer_port(sender);
        fixture_pull p;
        fixture_pull_init(&p, target_path);
        fixture_start(&p, receiver, 1, &port, 1, &options);
        fixture_wait_bytes(&p, UINT64_MAX);
        CHECK_STATUS(p.status, RAY_OK);
        CHECK(fixture_file_is(target_path, zeros, (uint64_t)COUNT * CHUNK));
        ray_source_explanation source = {.struct_size = sizeof source};
        CHECK_OK(ray_pull_explain_source(p.handle, 0, &source));
        if (codec == RAY_CODEC_AUTO) {
            const ray_choice_explanation *choice = find_choice(&source, RAY_CODEC_ZSTD, RAY__UNIFORM_LEVEL);
            CHECK(choice != NULL && choice->chunk_count == COUNT);
            CHECK_EQUAL(choice->reason, RAY_REASON_UNIFORM);
            CHECK(p.progress.wire_bytes < COUNT * 100);
        } else {
            CHECK_EQUAL(p.progress.none_count, COUNT);
        }
        fixture_finish(&p);
        unlink(target_path);
    }
    free(zeros);
    unlink(source_path);
    fixture_end(sender, receiver);
}

static void theSameIsPackedOnceAndAnythingElseAnew(void) {
    static const struct {
        uint8_t byte;
        uint32_t size;
    } of[] = {{0, RAY_CHUNK_SIZE}, {0, RAY_CHUNK_SIZE}, {9, RAY_CHUNK_SIZE}, {9, RAY__UNIFORM_MIN}, {9, 300001}, {0, 300001}, {0, RAY_CHUNK_SIZE}};
    ray_codec *codec = NULL;
    CHECK_OK(ray_codec_create(&codec));
    uint8_t *room = malloc(RAY_CHUNK_SIZE);
    uint8_t *out = malloc(RAY_CHUNK_SIZE);
    uint8_t *back = malloc(RAY_CHUNK_SIZE);
    CHECK(room != NULL && out != NULL && back != NULL);
    ray__uniform kept = {0};
    for (size_t i = 0; i < sizeof of / sizeof of[0]; i++) {
        memset(out, 0xaa, RAY_CHUNK_SIZE);
        memset(back, 0xaa, RAY_CHUNK_SIZE);
        CHECK(ray__uniform_pack(&kept, codec, of[i].byte, of[i].size, room, out));
        CHECK_OK(ray__chunk_unpack(codec, RAY_CODEC_ZSTD, out, kept.stored_size, back, of[i].size));
        CHECK(ray__is_uniform(back, of[i].size, of[i].byte));
        CHECK(kept.checksum == ray__checksum_of(back, of[i].size));
        CHECK(kept.stored_size < 600);
    }
    memset(back, 3, 100);
    back[100] = 4;
    CHECK(ray__is_uniform(back, 100, 3));
    CHECK(!ray__is_uniform(back, 101, 3));
    CHECK(!ray__is_uniform(back, 100, 4));
    CHECK(ray__is_uniform(back + 100, 1, 4));
    CHECK(!ray__is_uniform(back + 99, 2, 3));
    free(back);
    free(out);
    free(room);
    ray_codec_destroy(codec);
}

int main(void) {
    RUN(whatIsAndWhatNearlyIsArrivesAsItWas);
    RUN(thoseOfAnObjectDoAsWell);
    RUN(zerosTakeNearlyNoWireUnlessRawIsAskedFor);
    RUN(theSameIsPackedOnceAndAnythingElseAnew);
    return 0;
}
