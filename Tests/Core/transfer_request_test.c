// SPDX-License-Identifier: Apache-2.0
// REQUEST as bytes: what is written is read again, and at each limit one side is taken and the other refused.
#include "check.h"

#include "transfer/wire_internal.h"

static ray__request a_request(void) {
    return (ray__request){
        .codec = RAY_CODEC_ZSTD,
        .level = -5,
        .urgency = RAY_URGENCY_BACKGROUND,
        .depth = 3,
        .flags = RAY__REQUEST_NO_REFER,
        .ability = {.cores = 2500, .free = 1250, .waiting = 7, .lz4_ps = 350, .zstd_ps = 700},
        .count = 2,
        .indices = {9, UINT32_MAX},
    };
}

static void whatIsWrittenIsRead(void) {
    ray__request request = a_request();
    uint8_t body[RAY__REQUEST_BODY_MAX];
    uint8_t again[RAY__REQUEST_BODY_MAX];
    uint32_t size = ray__request_write(&request, body);
    CHECK_EQUAL(size, 32 + 2 * 4);
    ray__request read;
    CHECK_OK(ray__request_read(body, size, &read));
    CHECK_EQUAL(ray__request_write(&read, again), size);
    CHECK(memcmp(body, again, size) == 0);
    CHECK(read.level == -5 && read.depth == 3 && read.indices[0] == 9 && read.indices[1] == UINT32_MAX);
    CHECK(read.ability.cores == 2500 && read.ability.free == 1250 && read.ability.waiting == 7);
    CHECK(read.ability.lz4_ps == 350 && read.ability.zstd_ps == 700);
}

static void whatCannotBeIsRefused(void) {
    static const struct {
        const char *what;
        uint32_t offset;
        uint32_t size; // of the field
        uint32_t value;
        bool is_taken;
    } cases[] = {
        {"codec 3", 0, 2, 3, true},
        {"codec 4", 0, 2, 4, false},
        {"urgency beyond", 4, 2, RAY_URGENCY_COUNT, false},
        {"depth 200", 6, 1, 200, true},
        {"depth 201", 6, 1, 201, false},
        {"flags 2", 7, 1, 2, false},
        {"count 0", 8, 4, 0, false},
        {"count 3", 8, 4, 3, false},
        {"cores as many as free", 12, 4, 1250, true},
        {"cores fewer than free", 12, 4, 1249, false},
        {"cores at most", 12, 4, RAY__CORES_MAX, true},
        {"cores beyond", 12, 4, RAY__CORES_MAX + 1, false},
        {"free as many as cores", 16, 4, 2500, true},
        {"free more than cores", 16, 4, 2501, false},
        {"waiting any", 20, 2, UINT16_MAX, true},
        {"not zero", 22, 2, 1, false},
        {"lz4 not measured", 24, 4, 0, true},
        {"lz4 at most", 24, 4, RAY__UNPACK_PS_MAX, true},
        {"lz4 beyond", 24, 4, RAY__UNPACK_PS_MAX + 1, false},
        {"zstd at most", 28, 4, RAY__UNPACK_PS_MAX, true},
        {"zstd beyond", 28, 4, UINT32_MAX, false},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ray__request request = a_request();
        uint8_t body[RAY__REQUEST_BODY_MAX];
        uint32_t size = ray__request_write(&request, body);
        for (uint32_t b = 0; b < cases[i].size; b++) {
            body[cases[i].offset + b] = (uint8_t)(cases[i].value >> 8 * b);
        }
        ray_status status = ray__request_read(body, size, &request);
        if ((status == RAY_OK) != cases[i].is_taken) {
            fprintf(stderr, "%s: %s\n", cases[i].what, ray_status_name(status));
            exit(1);
        }
    }
}

static void onlyThePossibleSizesAreTaken(void) {
    ray__request request = a_request();
    uint8_t bytes[RAY__MESSAGE_HEADER_SIZE + RAY__REQUEST_BODY_MAX + 4];
    uint8_t *body = bytes + RAY__MESSAGE_HEADER_SIZE;
    memset(bytes, 0, sizeof bytes);
    request.count = RAY__INDICES_MAX;
    CHECK_EQUAL(ray__request_write(&request, body), RAY__REQUEST_BODY_MAX);
    CHECK_OK(ray__request_read(body, RAY__REQUEST_BODY_MAX, &request));
    CHECK_STATUS(ray__request_read(body, RAY__REQUEST_BODY_MAX - 4, &request), RAY_PROTOCOL);
    const uint32_t sizes[] = {RAY__REQUEST_FIXED_SIZE, RAY__REQUEST_FIXED_SIZE + 4, RAY__REQUEST_BODY_MAX, RAY__REQUEST_BODY_MAX + 1};
    for (size_t i = 0; i < 4; i++) {
        ray__message message;
        ray__message_seal(bytes, RAY__MESSAGE_REQUEST, 1, sizes[i]);
        bool is_possible = i == 1 || i == 2;
        CHECK_STATUS(ray__message_read(bytes, true, &message), is_possible ? RAY_OK : RAY_PROTOCOL);
    }
}

int main(void) {
    RUN(whatIsWrittenIsRead);
    RUN(whatCannotBeIsRefused);
    RUN(onlyThePossibleSizesAreTaken);
    return 0;
}
