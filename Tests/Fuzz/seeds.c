// SPDX-License-Identifier: Apache-2.0
// Makes the inputs that fuzzing begins with: one good message of each kind, so that the mutations start behind the first checks.
// Usage: seeds DIRECTORY. What fuzzing found beyond them is kept in Tests/Fuzz/corpus.
#include <errno.h>
#include <sys/stat.h>

#include "fuzz.h"

#include "base/auth_internal.h"
#include "base/checksum_internal.h"
#include "codec/bytes_internal.h"
#include "codec/filter_internal.h"
#include "codec/frame_internal.h"
#include "seeds.h"
#include "spill/announce_internal.h"
#include "transfer/note_internal.h"
#include "transfer/wire_internal.h"


static const char *root;

static void write_seed(const char *target, const char *name, const void *bytes, size_t size) {
    char path[1024];
    snprintf(path, sizeof path, "%s/%s", root, target);
    MUST(mkdir(path, 0755) == 0 || errno == EEXIST);
    snprintf(path, sizeof path, "%s/%s/seed-%s", root, target, name);
    FILE *file = fopen(path, "wb");
    MUST(file != NULL);
    MUST(fwrite(bytes, 1, size, file) == size);
    MUST(fclose(file) == 0);
}

static void refs(void) {
    ray_task_id task = ray_task_id_driver(1);
    ray_object_id id = ray_object_id_make(&task, RAY_FIRST_PUT_INDEX + 1);
    char text[RAY_OBJECT_ID_HEX_SIZE];
    ray_object_id_format(&id, text);
    write_seed("ref", "driver", text, strlen(text));
    write_seed("ref", "short", text, strlen(text) - 1);
    text[9] = 'G';
    write_seed("ref", "letter", text, strlen(text));
}

static void descriptors(void) {
    ray_file_descriptor file = {.size_bytes = 5, .mtime_ns = 17, .mode = 0644, .name = "data.bin", .name_length = 8,
                                .path = "/tmp/a/data.bin", .path_length = 15};
    uint8_t bytes[RAY_FILE_DESCRIPTOR_MAX];
    size_t size;
    MUST(ray_file_descriptor_encode(&file, bytes, sizeof bytes, &size) == RAY_OK);
    write_seed("descriptor", "file", bytes, size);
    write_seed("descriptor", "cut", bytes, 40);
    bytes[4] = 9;
    write_seed("descriptor", "version", bytes, size);
}

// A column of numbers as deltas, and shuffled.
static void filtered_chunk(ray_codec *codec, const ray_object_id *id) {
    static uint8_t raw[60000];
    static uint8_t input[4 + RAY_CHUNK_HEADER_SIZE + sizeof raw + RAY__FILTER_PLAN_MAX] = {1, 3};
    for (uint32_t i = 0; i < sizeof raw; i += 4) {
        ray__put_u32(raw + i, 100000 + i / 4 * 37 + i / 4 % 5);
    }
    ray_chunk_header header = {
        .id = *id, .index = 3, .raw_size = sizeof raw, .codec = RAY_CODEC_ZSTD, .level = 1, .checksum = ray__checksum_of(raw, sizeof raw)};
    ray__filter_wish wish = {.width = 4, .may_delta = true, .shuffles = true};
    MUST(ray__chunk_pack_filtered(codec, RAY_CODEC_ZSTD, 1, wish, raw, sizeof raw, input + 4 + RAY_CHUNK_HEADER_SIZE, &header.stored_size,
                                  &header.filter) == RAY_OK);
    MUST(header.filter == (RAY__FILTER_DELTAS | 4));
    ray__chunk_header_write(&header, input + 4);
    write_seed("chunk", "filtered", input, 4 + RAY_CHUNK_HEADER_SIZE + header.stored_size);
}

static void chunks(void) {
    static const uint16_t codecs[] = {RAY_CODEC_NONE, RAY_CODEC_LZ4, RAY_CODEC_ZSTD};
    static const char *const names[] = {"none", "lz4", "zstd"};
    ray_codec *codec;
    MUST(ray_codec_create(&codec) == RAY_OK);
    ray_object_id id = {{7}};
    uint8_t raw[600];
    for (size_t i = 0; i < sizeof raw; i++) {
        raw[i] = (uint8_t)(i * i >> 5);
    }
    for (size_t i = 0; i < 3; i++) {
        uint8_t input[4 + RAY_CHUNK_HEADER_SIZE + sizeof raw] = {1, 3, (uint8_t)((sizeof raw - 1) & 255), (sizeof raw - 1) >> 8};
        size_t size;
        MUST(ray_chunk_encode(codec, &id, 3, raw, sizeof raw, codecs[i], 3, input + 4, sizeof input - 4, &size, NULL) == RAY_OK);
        write_seed("chunk", names[i], input, 4 + size);
        // The packed bytes alone, for the decompressor.
        char name[32];
        snprintf(name, sizeof name, "%s-alone", names[i]);
        input[0] = (uint8_t)(2 << i | 2);
        memmove(input + 4, input + 4 + RAY_CHUNK_HEADER_SIZE, size - RAY_CHUNK_HEADER_SIZE);
        write_seed("chunk", name, input, 4 + size - RAY_CHUNK_HEADER_SIZE);
    }
    filtered_chunk(codec, &id);
    ray_codec_destroy(codec);
}

// In front of the bytes: what to do with them, and two numbers; see fuzz_spill.c.
#define SPILL_PREFIX 11u

static void spill(void) {
    uint8_t input[SPILL_PREFIX + RAY_SPILL_ANNOUNCED_SIZE + 12 + 7] = {3, 8};
    static const uint32_t frames[3] = {RAY_CHUNK_HEADER_SIZE + 20, RAY_CHUNK_HEADER_SIZE + RAY_SPILL_SUM_BYTES, RAY_CHUNK_HEADER_SIZE + 1};
    ray__announcement_write(input + SPILL_PREFIX, 2ull * RAY_SPILL_SUM_BYTES + 5000, frames, 3);
    write_seed("spill", "frames", input, sizeof input);
    write_seed("spill", "frames-cut", input, sizeof input - 12);
    ray__announcement_write(input + SPILL_PREFIX, 5000, NULL, 0);
    write_seed("spill", "unpacked", input, SPILL_PREFIX + RAY_SPILL_ANNOUNCED_SIZE);
    memset(input, 0, sizeof input);
    input[3] = RAY_SPILL_HEADER_SIZE + 1 + 2 + 3; // the record's size
    ray__put_u64(input + SPILL_PREFIX, 1);
    ray__put_u64(input + SPILL_PREFIX + 8, 2);
    ray__put_u64(input + SPILL_PREFIX + 16, 3);
    write_seed("spill", "lengths", input, SPILL_PREFIX + RAY_SPILL_HEADER_SIZE + 6);
    ray_codec *codec;
    MUST(ray_codec_create(&codec) == RAY_OK);
    ray_object_id id = {{7}};
    for (uint16_t which = RAY_CODEC_NONE; which <= RAY_CODEC_ZSTD; which++) {
        uint8_t raw[600];
        uint8_t frame[SPILL_PREFIX + RAY_CHUNK_HEADER_SIZE + sizeof raw] = {15};
        size_t size;
        char name[16];
        for (size_t i = 0; i < sizeof raw; i++) {
            raw[i] = (uint8_t)(i / 7);
        }
        MUST(ray_chunk_encode(codec, &id, 3, raw, sizeof raw, which, 3, frame + SPILL_PREFIX, sizeof frame - SPILL_PREFIX, &size, NULL) == RAY_OK);
        snprintf(name, sizeof name, "block-%u", which);
        write_seed("spill", name, frame, SPILL_PREFIX + size);
    }
    ray_codec_destroy(codec);
}

static void auth(void) {
    struct ray__auth_hello hello = {.magic = RAY__AUTH_MAGIC, .version = RAY_PROTOCOL_VERSION, .purpose = RAY_PURPOSE_BULK};
    struct ray__auth_challenge challenge = {.magic = RAY__AUTH_MAGIC, .version = RAY_PROTOCOL_VERSION, .verdict = RAY_OK};
    struct ray__auth_proof proof = {{1, 2, 3}};
    struct ray__auth_answer answer = {.verdict = RAY_OK};
    uint8_t input[2 + 128] = {0, 7};
    memcpy(input + 2, &hello, sizeof hello);
    memcpy(input + 2 + sizeof hello, &proof, sizeof proof);
    write_seed("auth", "accepting", input, 2 + sizeof hello + sizeof proof);
    hello.purpose = RAY_PURPOSE_CONTROL;
    memcpy(input + 2, &hello, sizeof hello);
    write_seed("auth", "other-purpose", input, 2 + sizeof hello);
    input[0] = 1;
    input[1] = 0;
    memcpy(input + 2, &challenge, sizeof challenge);
    memcpy(input + 2 + sizeof challenge, &answer, sizeof answer);
    write_seed("auth", "connecting", input, 2 + sizeof challenge + sizeof answer);
}

static void wire_seed(const char *name, uint8_t what, uint16_t type, uint8_t *message, uint32_t body_size) {
    ray__message_seal(message + 1, type, 1, body_size);
    message[0] = what;
    write_seed("wire", name, message, 1 + RAY__MESSAGE_HEADER_SIZE + body_size);
}

static void wire(void) {
    uint8_t message[1 + RAY__MESSAGE_HEADER_SIZE + 1200] = {0};
    uint8_t *body = message + 1 + RAY__MESSAGE_HEADER_SIZE;
    ray__open open = {.id = {{7}}, .token = 99, .threads = 2, .chunk_size = RAY_CHUNK_SIZE};
    wire_seed("open", 3, RAY__MESSAGE_OPEN, message, ray__open_write(&open, body));
    open.chunk_size = RAY_CHUNK_SIZE_MIN;
    open.urgency = RAY_URGENCY_PREFETCH;
    strcpy(open.name, "folder/a file.bin");
    wire_seed("open_name", 3, RAY__MESSAGE_OPEN, message, ray__open_write(&open, body));
    open.port = 7003;
    strcpy(open.host, "10.0.0.3");
    open.flags = RAY__OPEN_LARGE_CARD;
    wire_seed("open_serves", 3, RAY__MESSAGE_OPEN, message, ray__open_write(&open, body));
    ray__refer refer = {.index = 4, .depth = 1, .holder = {"10.0.0.2", 7002}};
    wire_seed("refer", 2, RAY__MESSAGE_REFER, message, ray__refer_write(&refer, body));
    wire_seed("wait", 2, RAY__MESSAGE_WAIT, message, 0);
    ray__note_message note = {.begun = 9, .serial = 2, .codec = RAY_CODEC_ZSTD, .level = 1, .reason = RAY_REASON_UNIFORM, .threads = 2, .idle = 250,
                      .link_rate = 119000000, .rung_count = 3,
                      .rungs = {{.codec = RAY_CODEC_NONE, .reason = RAY_REASON_START, .ratio = 1000, .chosen_count = 1},
                                {RAY_CODEC_LZ4, 0, RAY_REASON_TRIAL, 497, true, 2, 540000000},
                                {RAY_CODEC_ZSTD, -1, RAY_REASON_BALANCE, 368, true, 30, 400000000}}};
    wire_seed("note", 2, RAY__MESSAGE_NOTE, message, ray__note_write(&note, body));
    ray__request request = {.codec = RAY_CODEC_ZSTD, .level = 3, .urgency = RAY_URGENCY_BACKGROUND, .depth = 1,
                            .flags = RAY__REQUEST_NO_REFER, .ability = {2000, 1500, 3, 350, 700}, .count = 3, .indices = {0, 1, 4}};
    wire_seed("request", 3, RAY__MESSAGE_REQUEST, message, ray__request_write(&request, body));
    wire_seed("close", 3, RAY__MESSAGE_CLOSE, message, 0);
    ray__failed failed = {.index = 2, .status = RAY_NOT_FOUND, .text = "not here"};
    wire_seed("failed", 2, RAY__MESSAGE_FAILED, message, ray__failed_write(&failed, body));
    ray_endpoint holders[2] = {{"10.0.0.1", 7001}, {"node-two", 7002}};
    ray__card_message card = {
        .status = RAY_OK, .kind = RAY_KIND_FILE, .flags = RAY__CARD_HERE, .size_bytes = 5000000000u,
        .chunk_size = RAY_CHUNK_SIZE, .metadata_size = 1,
        .metadata = (const uint8_t *)"F", .descriptor_size = 4, .descriptor = (const uint8_t *)"desc", .holder_count = 2,
        .holders = holders, .text = "hello",
    };
    ray__card_write(&card, body);
    wire_seed("card-file", 2, RAY__MESSAGE_CARD, message, ray__card_size(&card));
    card.flags |= RAY__CARD_INLINE;
    card.kind = RAY_KIND_OBJECT;
    card.size_bytes = 6;
    card.inline_size = 6;
    card.inline_data = (const uint8_t *)"inline";
    ray__card_write(&card, body);
    wire_seed("card-inline", 2, RAY__MESSAGE_CARD, message, ray__card_size(&card));
    wire_seed("card-unsealed", 0, RAY__MESSAGE_CARD, message, ray__card_size(&card));
    ray_codec *codec;
    size_t size;
    uint8_t raw[100] = {1, 2, 3};
    MUST(ray_codec_create(&codec) == RAY_OK);
    MUST(ray_chunk_encode(codec, &open.id, 0, raw, sizeof raw, RAY_CODEC_LZ4, 0, body, 1200, &size, NULL) == RAY_OK);
    wire_seed("chunk", 2, RAY__MESSAGE_CHUNK, message, (uint32_t)size);
    ray_codec_destroy(codec);
}


// See fuzz_segment.c: how the store is opened, then calls by number with an object's, and writes into the segment.
static void segment(void) {
    uint8_t calls[1 + 2 * 32] = {0};
    for (uint8_t i = 0; i < 32; i++) {
        calls[1 + 2 * i] = i;
        calls[2 + 2 * i] = (uint8_t)(i * 5 % 8);
    }
    write_seed("segment", "calls", calls, sizeof calls);
    for (uint8_t call = 0; call < 32; call++) {
        // Each call for each object, behind one write into the table.
        uint8_t input[1 + 11 + 16] = {0, 0x80 | 6, call, 32, (uint8_t)(call % 8)};
        for (uint8_t i = 0; i < 8; i++) {
            input[12 + 2 * i] = call;
            input[13 + 2 * i] = i;
        }
        char name[32];
        snprintf(name, sizeof name, "call-%u", call);
        write_seed("segment", name, input, sizeof input);
    }
    uint8_t raw[400] = "\1RAYSTORE";
    write_seed("segment", "raw", raw, sizeof raw);
}

int main(int count, char **words) {
    if (count != 2) {
        fprintf(stderr, "usage: seeds DIRECTORY\n");
        return 2;
    }
    root = words[1];
    refs();
    descriptors();
    chunks();
    spill();
    auth();
    wire();
    client_seeds(write_seed);
    script_seeds(write_seed);
    segment();
    return 0;
}
