// SPDX-License-Identifier: Apache-2.0
// NOTE as bytes: what is written is read again, and at each limit one side is taken and the other refused.
#include "check.h"

#include "codec/bytes_internal.h"
#include "transfer/note_internal.h"
#include "transfer/wire_internal.h"

static ray__note_message a_note(void) {
    return (ray__note_message){
        .begun = UINT64_MAX,
        .serial = 7,
        .codec = RAY_CODEC_ZSTD,
        .level = -5,
        .reason = RAY_REASON_BALANCE,
        .threads = 16,
        .idle = 1000,
        .link_rate = RAY__NOTE_RATE_MAX,
        .rung_count = 3,
        .rungs = {{RAY_CODEC_NONE, 0, RAY_REASON_START, 1000, false, 1, 0},
                  {RAY_CODEC_LZ4, 0, RAY_REASON_TRIAL, 497, true, UINT32_MAX, RAY__NOTE_RATE_MAX},
                  {RAY_CODEC_ZSTD, 9, RAY_REASON_STRONGEST, 0, true, 3, 400000000}},
    };
}

static void whatIsWrittenIsRead(void) {
    ray__note_message note = a_note();
    uint8_t body[RAY__NOTE_BODY_MAX];
    uint8_t again[RAY__NOTE_BODY_MAX];
    uint32_t size = ray__note_write(&note, body);
    CHECK_EQUAL(size, 40 + 3 * 24);
    ray__note_message read;
    CHECK_OK(ray__note_read(body, size, &read));
    CHECK_EQUAL(ray__note_write(&read, again), size);
    CHECK(memcmp(body, again, size) == 0);
    CHECK(read.begun == note.begun && read.serial == 7 && read.level == -5 && read.threads == 16 && read.link_rate == note.link_rate);
    CHECK(read.rungs[1].is_measured && read.rungs[1].chosen_count == UINT32_MAX && read.rungs[2].level == 9);
}

// Every choice there is has a place of its own, in the order in which a NOTE has them.
static void eachChoiceHasItsPlace(void) {
    uint32_t next = 0;
    for (uint16_t codec = RAY_CODEC_NONE; codec <= RAY_CODEC_ZSTD; codec++) {
        int first = codec == RAY_CODEC_ZSTD ? RAY_ZSTD_LEVEL_MIN : 0;
        int last = codec == RAY_CODEC_ZSTD ? RAY_ZSTD_LEVEL_MAX : 0;
        for (int level = first; level <= last; level++) {
            CHECK_EQUAL(ray__choice_slot(codec, (int16_t)level), next++);
        }
        CHECK_EQUAL(ray__choice_slot(codec, (int16_t)(first - 1)), RAY__SLOTS_MAX);
        CHECK_EQUAL(ray__choice_slot(codec, (int16_t)(last + 1)), RAY__SLOTS_MAX);
    }
    CHECK_EQUAL(next, RAY__SLOTS_MAX);
    CHECK_EQUAL(ray__choice_slot(RAY_CODEC_AUTO, 0), RAY__SLOTS_MAX);
    CHECK_EQUAL(ray__choice_slot(4, 0), RAY__SLOTS_MAX);
}

static void everyPlaceFits(void) {
    ray__note_message note = a_note();
    note.rung_count = RAY__SLOTS_MAX;
    for (uint32_t i = 0; i < RAY__SLOTS_MAX; i++) {
        note.rungs[i] = (ray__note_rung){.codec = (uint16_t)(i < 2 ? i + 1 : RAY_CODEC_ZSTD), .level = (int16_t)(i < 2 ? 0 : (int)i - 7)};
    }
    uint8_t body[RAY__NOTE_BODY_MAX];
    uint32_t size = ray__note_write(&note, body);
    CHECK_EQUAL(size, RAY__NOTE_BODY_MAX);
    CHECK_OK(ray__note_read(body, size, &note));
}

static void whatCannotBeIsRefused(void) {
    enum { FIRST = RAY__NOTE_FIXED_SIZE, SECOND = FIRST + RAY__NOTE_RUNG_SIZE };
    static const struct {
        const char *what;
        uint32_t offset;
        uint32_t size; // of the field
        uint64_t value;
        bool is_taken;
    } cases[] = {
        {"codec 0", 12, 2, 0, false},          {"codec 4", 12, 2, 4, false},
        {"level -6", 14, 2, 0xfffa, false},    {"level 9", 14, 2, 9, true},
        {"level 10", 14, 2, 10, false},        {"reason 13", 16, 2, 13, true},
        {"reason 14", 16, 2, 14, false},       {"idle 1001", 20, 2, 1001, false},
        {"idle unknown", 20, 2, 65535, true},  {"a rung less", 22, 2, 2, false},
        {"a rung more", 22, 2, 4, false},      {"many rungs", 22, 2, 65535, false},
        {"not zero", 24, 8, 1, false},         {"rate", 32, 8, RAY__NOTE_RATE_MAX + 1, false},
        {"a rung's codec", FIRST, 2, 0, false}, {"lz4 with a level", SECOND + 2, 2, 1, false},
        {"a rung's reason", FIRST + 4, 2, 14, false}, {"ratio", FIRST + 6, 2, 1001, false},
        {"measured", FIRST + 8, 4, 2, false},  {"a core's rate", FIRST + 16, 8, RAY__NOTE_RATE_MAX + 1, false},
        {"a rung twice", FIRST, 2, 2, false},  {"serial", 8, 4, 0, true},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ray__note_message note = a_note();
        uint8_t body[RAY__NOTE_BODY_MAX];
        uint32_t size = ray__note_write(&note, body);
        for (uint32_t b = 0; b < cases[i].size; b++) {
            body[cases[i].offset + b] = (uint8_t)(cases[i].value >> (8 * b));
        }
        ray_status status = ray__note_read(body, size, &note);
        if (status != (cases[i].is_taken ? RAY_OK : RAY_PROTOCOL)) {
            fprintf(stderr, "%s: %s\n", cases[i].what, ray_status_name(status));
            exit(1);
        }
    }
}

static void onlySendersMaySendIt(void) {
    ray__note_message note = a_note();
    uint8_t message[RAY__MESSAGE_HEADER_SIZE + RAY__NOTE_BODY_MAX + 1] = {0};
    uint32_t size = ray__note_write(&note, message + RAY__MESSAGE_HEADER_SIZE);
    ray__message read;
    ray__message_seal(message, RAY__MESSAGE_NOTE, 1, size);
    CHECK_OK(ray__message_read(message, false, &read));
    CHECK_OK(ray__message_verify(message, &read, message + RAY__MESSAGE_HEADER_SIZE));
    CHECK_STATUS(ray__message_read(message, true, &read), RAY_PROTOCOL);
    ray__message_seal(message, RAY__MESSAGE_NOTE, 1, RAY__NOTE_FIXED_SIZE - 1);
    CHECK_STATUS(ray__message_read(message, false, &read), RAY_PROTOCOL);
    ray__message_seal(message, RAY__MESSAGE_NOTE, 1, RAY__NOTE_BODY_MAX + 1);
    CHECK_STATUS(ray__message_read(message, false, &read), RAY_PROTOCOL);
}

static void randomBytesAreReadOrRefused(void) {
    uint64_t seed = check_seed();
    uint32_t taken = 0;
    for (int i = 0; i < 200000; i++) {
        ray__note_message note = a_note();
        uint8_t body[RAY__NOTE_BODY_MAX];
        uint8_t again[RAY__NOTE_BODY_MAX];
        uint32_t size = ray__note_write(&note, body);
        for (uint64_t changes = check_random(&seed) % 4; changes > 0; changes--) {
            body[check_random(&seed) % size] = (uint8_t)check_random(&seed);
        }
        if (ray__note_read(body, size, &note) == RAY_OK) {
            CHECK(ray__note_write(&note, again) == size && memcmp(body, again, size) == 0);
            taken++;
        }
    }
    CHECK(taken > 50000 && taken < 190000);
}

int main(void) {
    RUN(whatIsWrittenIsRead);
    RUN(eachChoiceHasItsPlace);
    RUN(everyPlaceFits);
    RUN(whatCannotBeIsRefused);
    RUN(onlySendersMaySendIt);
    RUN(randomBytesAreReadOrRefused);
    return 0;
}
