// SPDX-License-Identifier: Apache-2.0
// Conversations for fuzz_serve.c and fuzz_pull.c, as records (script.h).
#include "fuzz.h"

#include "seeds.h"
#include "transfer/note_internal.h"
#include "transfer/wire_internal.h"

typedef struct conversation {
    uint8_t bytes[8192];
    size_t size;
} conversation;

static void say(conversation *c, uint16_t type, uint8_t flags, const uint8_t *body, uint32_t size) {
    MUST(c->size + 4 + size <= sizeof c->bytes);
    uint8_t *at = c->bytes + c->size;
    at[0] = (uint8_t)type;
    at[1] = flags;
    at[2] = (uint8_t)size;
    at[3] = (uint8_t)(size >> 8);
    if (size != 0) {
        memcpy(at + 4, body, size);
    }
    c->size += 4 + size;
}

static void say_open(conversation *c, uint8_t first, const char *name) {
    uint8_t body[RAY__OPEN_BODY_MAX];
    ray__open open = {.id = {{first}}, .token = 5, .threads = 1, .chunk_size = RAY_CHUNK_SIZE_MIN};
    snprintf(open.name, sizeof open.name, "%s", name);
    say(c, RAY__MESSAGE_OPEN, 0, body, ray__open_write(&open, body));
}

static void say_request(conversation *c, uint16_t codec) {
    uint8_t body[RAY__REQUEST_BODY_MAX];
    ray__request request = {.codec = codec, .level = 1, .count = 3, .indices = {0, 1, 2}};
    say(c, RAY__MESSAGE_REQUEST, 0, body, ray__request_write(&request, body));
}

static void serve_seeds(write_seed_fn write_seed) {
    for (uint16_t codec = 0; codec <= RAY_CODEC_ZSTD; codec++) {
        conversation c = {.size = 0};
        char name[32];
        say_open(&c, 7, "");
        say_request(&c, codec);
        say(&c, RAY__MESSAGE_CLOSE, 0, NULL, 0);
        say_open(&c, 8, "");
        snprintf(name, sizeof name, "codec-%u", codec);
        write_seed("serve", name, c.bytes, c.size);
    }
    conversation all = {.size = 0};
    for (uint8_t first = 7; first <= 11; first++) {
        say_open(&all, first, "");
    }
    say(&all, RAY__MESSAGE_CLOSE, 0, NULL, 0);
    say_open(&all, 7, "");
    say_request(&all, RAY_CODEC_NONE);
    say(&all, RAY__MESSAGE_CLOSE, 0, NULL, 0);
    say_request(&all, RAY_CODEC_NONE);
    write_seed("serve", "all", all.bytes, all.size);
    conversation named = {.size = 0};
    say_open(&named, 7, "folder/file");
    write_seed("serve", "name", named.bytes, named.size);
    conversation many = {.size = 0};
    for (int i = 0; i < 20; i++) {
        say_open(&many, 7, "");
    }
    write_seed("serve", "streams", many.bytes, many.size);
}

static void say_card(conversation *c, uint64_t size_bytes, bool is_inline, const uint8_t *data) {
    uint8_t body[2048];
    ray_endpoint holder = {.host = "127.0.0.1", .port = 2};
    ray__card_message card = {.kind = RAY_KIND_FILE, .flags = (uint16_t)(RAY__CARD_HERE | (is_inline ? RAY__CARD_INLINE : 0)),
                              .chunk_size = RAY_CHUNK_SIZE_MIN, .size_bytes = size_bytes, .metadata_size = 4, .metadata = data,
                              .inline_size = is_inline ? (uint32_t)size_bytes : 0, .inline_data = data, .holder_count = is_inline,
                              .holders = &holder};
    say(c, RAY__MESSAGE_CARD, 0, body, (ray__card_write(&card, body), ray__card_size(&card)));
}

static void say_note(conversation *c, uint32_t serial) {
    uint8_t body[RAY__NOTE_BODY_MAX];
    ray__note_message note = {.begun = 9, .serial = serial, .codec = RAY_CODEC_LZ4, .reason = RAY_REASON_BALANCE, .rung_count = 1,
                      .rungs = {{RAY_CODEC_LZ4, 0, RAY_REASON_BALANCE, 500, true, 2, 540000000}}};
    say(c, RAY__MESSAGE_NOTE, 0, body, ray__note_write(&note, body));
}

static void pull_seeds(write_seed_fn write_seed) {
    static const char *const names[] = {"none", "none", "lz4", "zstd"};
    static uint8_t raw[700];
    for (size_t i = 0; i < sizeof raw; i++) {
        raw[i] = (uint8_t)(i * i >> 6);
    }
    ray_object_id id = {{7}};
    ray_codec *codec;
    MUST(ray_codec_create(&codec) == RAY_OK);
    for (uint16_t which = RAY_CODEC_NONE; which <= RAY_CODEC_ZSTD; which++) {
        for (uint8_t into = 0; into < 2; into++) {
            conversation c = {.bytes = {(uint8_t)(into | which << 1)}, .size = 1};
            uint8_t frame[RAY_CHUNK_HEADER_SIZE + sizeof raw];
            size_t size;
            char name[32];
            say_card(&c, sizeof raw, false, raw);
            say_note(&c, which);
            MUST(ray_chunk_encode(codec, &id, 0, raw, sizeof raw, which, 1, frame, sizeof frame, &size, NULL) == RAY_OK);
            say(&c, RAY__MESSAGE_CHUNK, 0, frame, (uint32_t)size);
            snprintf(name, sizeof name, "%s-%u", names[which], into);
            write_seed("pull", name, c.bytes, c.size);
        }
    }
    ray_codec_destroy(codec);
    conversation whole = {.size = 1};
    say_card(&whole, sizeof raw, true, raw);
    write_seed("pull", "inline", whole.bytes, whole.size);
    conversation refused = {.bytes = {1}, .size = 1};
    uint8_t body[RAY__FAILED_BODY_MAX];
    ray__failed failed = {.index = 1, .status = RAY_SOURCE_CHANGED, .text = "another"};
    say_card(&refused, 200000, false, raw);
    say(&refused, RAY__MESSAGE_FAILED, 0, body, ray__failed_write(&failed, body));
    write_seed("pull", "failed", refused.bytes, refused.size);
    conversation referred = {.size = 1};
    static const uint8_t refer[12] = {0};
    say_card(&referred, 200000, false, raw);
    say(&referred, RAY__MESSAGE_WAIT, 0, NULL, 0);
    say(&referred, RAY__MESSAGE_REFER, 0, refer, sizeof refer);
    write_seed("pull", "referred", referred.bytes, referred.size);
    conversation noted = {.size = 1};
    say_card(&noted, 200000, false, raw);
    say_note(&noted, 1);
    say(&noted, RAY__MESSAGE_REFER, 0, refer, sizeof refer);
    say_note(&noted, 2);
    say_note(&noted, 3);
    write_seed("pull", "noted", noted.bytes, noted.size);
}

void script_seeds(write_seed_fn write_seed) {
    serve_seeds(write_seed);
    pull_seeds(write_seed);
}
