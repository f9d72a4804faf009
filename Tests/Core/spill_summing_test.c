// SPDX-License-Identifier: Apache-2.0
// Checksums made of bytes as they go by: the same as those of the objects where they lie, however the bytes came.
#include <stdlib.h>
#include <string.h>

#include "check.h"
#include "raystore.h"

#define BLOCK ((uint64_t)RAY_SPILL_SUM_BYTES)
#define OBJECTS 5u

static const uint64_t sizes[OBJECTS] = {3 * BLOCK + 100001, 0, 5000, 2 * BLOCK, BLOCK + 1};

typedef struct scene {
    ray_spill_object objects[OBJECTS];
    ray_spill_object expected[OBJECTS];
    uint8_t headers[OBJECTS * RAY_SPILL_HEADER_SIZE];
    ray_spill_part parts[OBJECTS * RAY_SPILL_PARTS];
    ray_spill_summing *summing;
} scene;

static scene *begin(void) {
    scene *s = calloc(1, sizeof *s);
    CHECK(s != NULL);
    uint64_t seed = 41;
    for (uint32_t i = 0; i < OBJECTS; i++) {
        uint8_t *bytes = malloc(sizes[i] + 8);
        CHECK(bytes != NULL);
        for (uint64_t at = 0; at < sizes[i]; at += 8) {
            uint64_t word = check_random(&seed);
            memcpy(bytes + at, &word, 8);
        }
        uint64_t count = ray_spill_sum_count(sizes[i]) + 1;
        s->objects[i] = (ray_spill_object){.owner = "me", .owner_size = 2, .metadata = "{}", .metadata_size = 2, .data = bytes, .data_size = sizes[i]};
        memset(s->objects[i].id.bytes, (int)i + 1, RAY_OBJECT_ID_SIZE);
        s->expected[i] = s->objects[i];
        s->objects[i].sums = calloc(count, sizeof(uint64_t));
        s->expected[i].sums = calloc(count, sizeof(uint64_t));
    }
    ray_spill_lay(s->expected, OBJECTS, s->headers, s->parts);
    ray_spill_lay_unsummed(s->objects, OBJECTS, s->headers, s->parts);
    for (uint32_t i = 0; i < OBJECTS; i++) {
        CHECK(s->expected[i].is_summed);
        CHECK(!s->objects[i].is_summed);
        CHECK_EQUAL(s->objects[i].size, s->expected[i].size);
        CHECK_EQUAL(s->objects[i].offset, s->expected[i].offset);
        CHECK_EQUAL(s->objects[i].metadata_checksum, s->expected[i].metadata_checksum);
    }
    CHECK_OK(ray_spill_summing_create(s->objects, OBJECTS, &s->summing));
    return s;
}

static void check_object(const scene *s, uint32_t i) {
    CHECK(s->objects[i].is_summed);
    CHECK_EQUAL(s->objects[i].checksum, s->expected[i].checksum);
    for (uint64_t block = 0; block <= ray_spill_sum_count(sizes[i]); block++) {
        CHECK_EQUAL(s->objects[i].sums[block], s->expected[i].sums[block]); // and nothing beyond them
    }
}

static void end(scene *s) {
    ray_spill_summing_end(s->summing);
    for (uint32_t i = 0; i < OBJECTS; i++) {
        check_object(s, i);
        free(s->objects[i].sums);
        free(s->expected[i].sums);
        free((void *)(uintptr_t)s->objects[i].data);
    }
    ray_spill_summing_destroy(s->summing);
    free(s);
}

static void give(scene *s, uint32_t part, uint64_t from, uint64_t size) {
    ray_spill_summing_take(s->summing, part, from, (const uint8_t *)s->parts[part].bytes + from, (size_t)size);
}

// What was there when its turn came is forgotten: sums that are right now were made of what was given.
static void forget(scene *s, uint32_t i) {
    memset((void *)(uintptr_t)s->objects[i].data, 0, sizes[i]);
}

static void give_part(scene *s, uint32_t part, uint64_t piece) {
    for (uint64_t from = 0; from < s->parts[part].size; from += piece) {
        uint64_t left = s->parts[part].size - from;
        give(s, part, from, left < piece ? left : piece);
    }
}

static void whatGoesByInItsOrderIsNotReadAgain(void) {
    static const uint64_t pieces[] = {1000003, 65536, 131072, 4 * BLOCK, BLOCK};
    for (size_t k = 0; k < sizeof pieces / sizeof pieces[0]; k++) {
        scene *s = begin();
        for (uint32_t part = 0; part < OBJECTS * RAY_SPILL_PARTS; part++) {
            give_part(s, part, pieces[k]);
        }
        for (uint32_t i = 0; i < OBJECTS; i++) {
            CHECK(s->objects[i].is_summed == (sizes[i] > 0));
            forget(s, i);
        }
        end(s);
    }
}

static void whatIsSentAgainCountsOnce(void) {
    scene *s = begin();
    uint32_t part = RAY_SPILL_PARTS - 1;
    give(s, part, 0, BLOCK + 77);
    give(s, part, 0, BLOCK); // the request was begun anew
    give(s, part, BLOCK, 300); // and goes on over what is known
    give_part(s, part, 999983);
    check_object(s, 0);
    give_part(s, part, 999983);
    end(s);
}

static void whatDidNotGoByIsRead(void) {
    scene *s = begin();
    give(s, 3, 0, 100);
    give(s, 3, 200, 1000);   // a hole before it
    give(s, 15, BLOCK, BLOCK); // not its beginning
    give(s, 15, 0, 50);       // another begins: the first is left where it is
    give(s, 3, 100, 100);
    give(s, 19, 0, BLOCK + 1);
    CHECK(!s->objects[0].is_summed && !s->objects[3].is_summed);
    check_object(s, 4);
    end(s);
}

// Several requests with a slice each, as a large upload has.
static void slicesInAnyOrderGiveTheSameSums(void) {
    for (uint64_t seed = 1; seed < 40; seed++) {
        scene *s = begin();
        uint64_t random = seed;
        for (uint32_t step = 0; step < 60; step++) {
            uint32_t part = (uint32_t)(check_random(&random) % (OBJECTS * RAY_SPILL_PARTS + 4));
            if (part >= OBJECTS * RAY_SPILL_PARTS) {
                uint8_t byte = 0;
                ray_spill_summing_take(s->summing, part, 0, &byte, 1); // no such part
                continue;
            }
            uint64_t size = s->parts[part].size;
            uint64_t from = size == 0 || check_random(&random) % 3 == 0 ? 0 : check_random(&random) % size;
            give(s, part, from, check_random(&random) % (size - from + 1));
        }
        end(s);
    }
}

// Frames have the sums of their blocks, so packing makes them first; what stays as it is is summed up as it goes by.
static void packingMakesTheSumsThatItNeeds(void) {
    scene *s = begin();
    uint8_t *plain = (uint8_t *)(uintptr_t)s->objects[3].data;
    memset(plain, 7, sizes[3]);
    ray_spill_lay(s->expected, OBJECTS, s->headers, s->parts);
    ray_spill_lay_unsummed(s->objects, OBJECTS, s->headers, s->parts);
    ray_spill_packing packing = {.struct_size = sizeof packing, .codec = RAY_CODEC_ZSTD, .level = 1, .keep_bytes = 64 << 20, .by_range = true};
    ray_spill_packed *packed = NULL;
    CHECK_OK(ray_spill_pack(s->objects, OBJECTS, &packing, s->headers, s->parts, &packed));
    CHECK(s->objects[3].frames != NULL && s->objects[0].frames == NULL);
    check_object(s, 3);
    CHECK(!s->objects[0].is_summed && !s->objects[4].is_summed);
    for (uint32_t part = 0; part < OBJECTS * RAY_SPILL_PARTS; part++) {
        if (s->parts[part].bytes != NULL) {
            give_part(s, part, 131072); // of packed data these are frames
        }
    }
    check_object(s, 0);
    check_object(s, 4);
    end(s);
    ray_spill_packed_destroy(packed);
}

int main(void) {
    RUN(whatGoesByInItsOrderIsNotReadAgain);
    RUN(whatIsSentAgainCountsOnce);
    RUN(whatDidNotGoByIsRead);
    RUN(slicesInAnyOrderGiveTheSameSums);
    RUN(packingMakesTheSumsThatItNeeds);
    return 0;
}
