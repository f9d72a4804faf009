// SPDX-License-Identifier: Apache-2.0
// The checksum: every variant gives XXH3-64, whole and in pieces.
#include "base/checksum_internal.h"
#include "base/clock_internal.h"
#include "check.h"

static const size_t sizes[] = {0, 1, 3, 16, 17, 128, 129, 240, 241, 255, 256, 257, 1024, 4095, 65536, 262144, 262145, 4u << 20, (4u << 20) + 1};

static uint8_t *make_bytes(size_t size) {
    uint8_t *bytes = malloc(size);
    CHECK(bytes != NULL);
    uint64_t state = 42;
    for (size_t i = 0; i < size; i++) {
        bytes[i] = (uint8_t)check_random(&state);
    }
    return bytes;
}

static void theEmptyChecksumIsTheOneOfTheSpecification(void) {
    CHECK(ray__checksum_of("", 0) == 0x2d06800538d394c2u);
}

static void everyVariantGivesTheSameValueWholeAndInPieces(void) {
    size_t size_max = (4u << 20) + 1;
    uint8_t *bytes = make_bytes(size_max);
    const ray__checksum_variant *variants[4];
    size_t count = ray__checksum_variants(variants, 4);
    uint64_t seed = check_seed();
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        uint64_t expected = ray__checksum_baseline.of(bytes, sizes[i]);
        CHECK(ray__checksum_of(bytes, sizes[i]) == expected);
        for (size_t v = 0; v < count; v++) {
            CHECK(variants[v]->of(bytes, sizes[i]) == expected);
            ray__checksum sum;
            variants[v]->begin(&sum);
            size_t at = 0;
            while (at < sizes[i]) {
                size_t piece = 1 + (size_t)(check_random(&seed) % (sizes[i] < 5000 ? 300 : RAY_CHECKSUM_PIECE));
                piece = piece > sizes[i] - at ? sizes[i] - at : piece;
                variants[v]->add(&sum, bytes + at, piece);
                at += piece;
            }
            CHECK(variants[v]->end(&sum) == expected);
        }
    }
    free(bytes);
}

// What the kernel says of the processor, which is not where the choice is made from.
static bool processor_has(const char *flag) {
    FILE *file = fopen("/proc/cpuinfo", "re");
    CHECK(file != NULL);
    static char line[16384];
    bool has = false;
    while (!has && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, "flags", 5) == 0) {
            for (const char *word = strtok(line, " \t\n"); word != NULL; word = strtok(NULL, " \t\n")) {
                has = has || strcmp(word, flag) == 0;
            }
            break;
        }
    }
    fclose(file);
    return has;
}

static void theBuildForTheProcessorsBestInstructionsIsTheOneThatIsUsed(void) {
    const char *best = processor_has("avx512f") ? "avx512" : processor_has("avx2") ? "avx2" : ray__checksum_baseline.name;
    fprintf(stderr, "    %s\n", ray__checksum_name());
    CHECK(strcmp(ray__checksum_name(), best) == 0);
}

static void aFlippedBitChangesTheValue(void) {
    uint8_t *bytes = make_bytes(100000);
    uint64_t before = ray__checksum_of(bytes, 100000);
    bytes[77777] ^= 4;
    CHECK(ray__checksum_of(bytes, 100000) != before);
    free(bytes);
}

// Prints, asserts nothing: times are not for unit tests.
static void showSpeeds(void) {
    size_t size = 4u << 20;
    uint8_t *bytes = make_bytes(size);
    const ray__checksum_variant *variants[4];
    size_t count = ray__checksum_variants(variants, 4);
    for (size_t v = 0; v < count; v++) {
        ray__checksum sum;
        uint64_t whole = UINT64_MAX;
        uint64_t pieces = UINT64_MAX;
        for (int round = 0; round < 10; round++) {
            uint64_t start = ray__now_ns();
            volatile uint64_t value = variants[v]->of(bytes, size);
            uint64_t middle = ray__now_ns();
            variants[v]->begin(&sum);
            for (size_t at = 0; at < size; at += RAY_CHECKSUM_PIECE) {
                variants[v]->add(&sum, bytes + at, RAY_CHECKSUM_PIECE);
            }
            CHECK(variants[v]->end(&sum) == value);
            uint64_t end = ray__now_ns();
            whole = middle - start < whole ? middle - start : whole;
            pieces = end - middle < pieces ? end - middle : pieces;
        }
        fprintf(stderr, "    %s: %.1f GB/s whole, %.1f GB/s in pieces\n", variants[v]->name, (double)size / (double)whole,
                (double)size / (double)pieces);
    }
    free(bytes);
}

int main(void) {
    RUN(theEmptyChecksumIsTheOneOfTheSpecification);
    RUN(everyVariantGivesTheSameValueWholeAndInPieces);
    RUN(theBuildForTheProcessorsBestInstructionsIsTheOneThatIsUsed);
    RUN(aFlippedBitChangesTheValue);
    RUN(showSpeeds);
    return 0;
}
