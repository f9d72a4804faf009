// SPDX-License-Identifier: Apache-2.0
// Goal: the bytes of a file object are read back as they were written, and no other bytes are taken for some.
#include "check.h"

static const ray_file_descriptor sample = {
    .size_bytes = UINT64_C(0x1122334455667788),
    .mtime_ns = -5,
    .mode = 0644,
    .flags = 7,
    .name = "übung 1.bin",
    .name_length = 12,
    .path = "/data/übung 1.bin",
    .path_length = 18,
};

static void a_descriptor_is_read_back(void) {
    uint8_t bytes[RAY_FILE_DESCRIPTOR_MAX];
    size_t size;
    CHECK_OK(ray_file_descriptor_encode(&sample, bytes, sizeof bytes, &size));
    CHECK_EQUAL(size, 40 + 12 + 18);
    static const uint8_t head[] = {'R', 'A', 'Y', 'F', 1, 0, 0, 0, 0x88, 0x77, 0x66, 0x55, 0x44, 0x33, 0x22, 0x11, 0xfb, 0xff, 0xff, 0xff};
    CHECK_EQUAL(memcmp(bytes, head, sizeof head), 0);
    ray_file_descriptor read;
    CHECK_OK(ray_file_descriptor_decode(bytes, size, &read));
    CHECK(read.size_bytes == sample.size_bytes && read.mtime_ns == -5 && read.mode == 0644 && read.flags == 7);
    CHECK_EQUAL(read.name_length, 12);
    CHECK_EQUAL(memcmp(read.name, sample.name, 12), 0);
    CHECK_EQUAL(read.path_length, 18);
    CHECK_EQUAL(memcmp(read.path, sample.path, 18), 0);
}

static void too_small_a_buffer_is_told_the_size(void) {
    uint8_t bytes[70];
    size_t size = 0;
    CHECK_STATUS(ray_file_descriptor_encode(&sample, bytes, 69, &size), RAY_TOO_LARGE);
    CHECK_EQUAL(size, 70);
    CHECK_OK(ray_file_descriptor_encode(&sample, bytes, 70, &size));
}

static void names_and_paths_have_limits(void) {
    char name[300];
    char path[5000];
    memset(name, 'n', sizeof name);
    memset(path, 'p', sizeof path);
    path[0] = '/';
    static const struct {
        const char *name;
        uint32_t name_length;
        uint32_t path_length;
        ray_status status;
    } cases[] = {
        {NULL, 255, 4095, RAY_OK},          {NULL, 256, 100, RAY_INVALID_ARGUMENT}, {NULL, 0, 100, RAY_INVALID_ARGUMENT},
        {NULL, 5, 4096, RAY_INVALID_ARGUMENT}, {NULL, 1, 2, RAY_OK},                {NULL, 1, 1, RAY_INVALID_ARGUMENT},
        {NULL, 1, 0, RAY_INVALID_ARGUMENT}, {".", 1, 9, RAY_INVALID_ARGUMENT},      {"..", 2, 9, RAY_INVALID_ARGUMENT},
        {"...", 3, 9, RAY_OK},              {"a/b", 3, 9, RAY_INVALID_ARGUMENT},    {"a\0b", 3, 9, RAY_INVALID_ARGUMENT},
        {".a", 2, 9, RAY_OK},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ray_file_descriptor file = {.name = cases[i].name != NULL ? cases[i].name : name, .path = path};
        file.name_length = cases[i].name_length;
        file.path_length = cases[i].path_length;
        uint8_t bytes[RAY_FILE_DESCRIPTOR_MAX];
        size_t size;
        fprintf(stderr, "    case %zu\n", i);
        CHECK_STATUS(ray_file_descriptor_encode(&file, bytes, sizeof bytes, &size), cases[i].status);
    }
    uint8_t bytes[100];
    size_t size;
    ray_file_descriptor relative = sample;
    relative.path = "data/bbbbbbbbbbbbbbbbb";
    CHECK_STATUS(ray_file_descriptor_encode(&relative, bytes, sizeof bytes, &size), RAY_INVALID_ARGUMENT);
    ray_file_descriptor missing = {.name_length = 3, .path_length = 3};
    CHECK_STATUS(ray_file_descriptor_encode(&missing, bytes, sizeof bytes, &size), RAY_INVALID_ARGUMENT);
}

static void other_bytes_are_refused(void) {
    uint8_t bytes[80];
    size_t size;
    ray_file_descriptor read;
    CHECK_OK(ray_file_descriptor_encode(&sample, bytes, sizeof bytes, &size));
    for (size_t shorter = 0; shorter < size; shorter++) {
        // A block of exactly that size, so that the sanitizer sees a read beyond it.
        uint8_t *cut = malloc(shorter + (shorter == 0));
        memcpy(cut, bytes, shorter);
        CHECK_STATUS(ray_file_descriptor_decode(cut, shorter, &read), RAY_CORRUPT);
        free(cut);
    }
    CHECK_STATUS(ray_file_descriptor_decode(bytes, size + 1, &read), RAY_CORRUPT);
    bytes[4] = 2;
    CHECK_STATUS(ray_file_descriptor_decode(bytes, size, &read), RAY_VERSION_MISMATCH);
    bytes[4] = 1;
    memset(bytes + 32, 0xff, 8); // lengths whose sum overflows
    CHECK_STATUS(ray_file_descriptor_decode(bytes, size, &read), RAY_CORRUPT);
}

static void random_bytes_never_point_outside(void) {
    uint64_t seed = check_seed();
    uint8_t bytes[80];
    size_t size;
    CHECK_OK(ray_file_descriptor_encode(&sample, bytes, sizeof bytes, &size));
    for (int round = 0; round < 100000; round++) {
        uint8_t *changed = malloc(size);
        memcpy(changed, bytes, size);
        for (uint64_t n = check_random(&seed) % 4; n < 4; n++) {
            changed[check_random(&seed) % size] = (uint8_t)check_random(&seed);
        }
        ray_file_descriptor read;
        if (ray_file_descriptor_decode(changed, size, &read) == RAY_OK) {
            CHECK((const uint8_t *)read.name >= changed && (const uint8_t *)read.path + read.path_length == changed + size);
            CHECK(read.path[0] == '/' && memchr(read.name, '/', read.name_length) == NULL);
        }
        free(changed);
    }
}

int main(void) {
    RUN(a_descriptor_is_read_back);
    RUN(too_small_a_buffer_is_told_the_size);
    RUN(names_and_paths_have_limits);
    RUN(other_bytes_are_refused);
    RUN(random_bytes_never_point_outside);
    return 0;
}
