// SPDX-License-Identifier: Apache-2.0
// Parts of objects and files, pulled into memory: the right bytes, nothing beside them touched, and no chunk sent that the part does not touch.
#include <sys/mman.h>

#include "transfer_fixture.h"

#define CHUNK ((uint64_t)RAY_CHUNK_SIZE)
#define SIZE (5 * CHUNK + 4321)
#define GUARD 64

static ray_store *there;
static ray_transfer *sender;
static ray_transfer *receiver;
static fixture_table table;
static char source_path[128];
static uint8_t *bytes; // of the file and of the object
static int directory = -1;

enum { OF_OBJECT = 1, OF_FILE = 2, OF_SMALL = 3 };
#define SMALL_SIZE 1000

typedef struct range {
    uint64_t offset;
    uint64_t size;
} range;

static uint64_t clipped(range r, uint64_t whole) {
    uint64_t rest = r.offset < whole ? whole - r.offset : 0;
    return r.size != 0 && r.size < rest ? r.size : rest;
}

// Raw bytes of the chunks that so many bytes from there touch.
static uint64_t touched(uint64_t offset, uint64_t size, uint64_t whole) {
    uint64_t first = offset / CHUNK * CHUNK;
    uint64_t end = (offset + size + CHUNK - 1) / CHUNK * CHUNK;
    return size == 0 ? 0 : (end < whole ? end : whole) - first;
}

// Memory of exactly this size, so that AddressSanitizer sees a byte too many, with bytes before and behind for those who build without it.
static uint8_t *guarded(uint64_t size) {
    uint8_t *memory = malloc(size + 2 * GUARD);
    CHECK(memory != NULL);
    memset(memory, 0xa5, size + 2 * GUARD);
    return memory;
}

static bool is_untouched(const uint8_t *at, uint64_t size) {
    for (uint64_t i = 0; i < size; i++) {
        if (at[i] != 0xa5) {
            return false;
        }
    }
    return true;
}

static ray_status start_and_finish(fixture_pull *p, uint32_t number, const char *name, ray_pull_options options) {
    options.struct_size = sizeof options;
    options.name = name;
    ray_endpoint from = {.host = "127.0.0.1", .port = ray_transfer_port(sender)};
    ray_object_id id = fixture_id(number);
    CHECK_OK(ray_pull_start(receiver, name != NULL ? NULL : &id, &from, 1, &options, &fixture_callbacks, p, &p->handle));
    ray_status status = fixture_finish(p);
    if (status != RAY_OK) {
        fprintf(stderr, "    (%s: %s)\n", ray_status_name(status), p->message);
    }
    return status;
}

static void check_sent(uint64_t expected) {
    fixture_await_sent(sender, expected);
    CHECK_EQUAL(fixture_stats(sender).sent_bytes, expected);
}

static void pull_range(uint32_t number, const char *name, range r, uint16_t codec) {
    uint64_t whole = number == OF_SMALL ? SMALL_SIZE : SIZE;
    uint64_t size = clipped(r, whole);
    uint8_t *memory = guarded(size);
    uint64_t sent_before = fixture_stats(sender).sent_bytes;
    fixture_pull p;
    fixture_pull_init(&p, NULL);
    p.memory = memory + GUARD;
    p.memory_size = size;
    CHECK_OK(start_and_finish(&p, number, name, (ray_pull_options){.codec = codec, .range_offset = r.offset, .range_size = r.size}));
    CHECK_EQUAL(p.size, whole);
    CHECK_EQUAL(p.progress.total_bytes, size);
    CHECK_EQUAL(p.progress.done_bytes, size);
    CHECK(size == 0 || memcmp(memory + GUARD, bytes + r.offset, size) == 0);
    CHECK(is_untouched(memory, GUARD) && is_untouched(memory + GUARD + size, GUARD));
    // What travels in the card does so as a whole.
    check_sent(sent_before + (number == OF_SMALL ? whole : touched(r.offset, size, whole)));
    free(memory);
}

static const range ranges[] = {
    {0, 0},                        // all of it
    {0, 1},                        // the first byte
    {0, CHUNK},                    // a chunk, exactly
    {0, CHUNK + 1},                //
    {1, CHUNK - 1},                // its end is a chunk's
    {CHUNK - 1, 2},                // over an edge
    {CHUNK, CHUNK},                // the second chunk
    {CHUNK + 7, 3 * CHUNK},        // edges on both sides, two chunks between
    {2 * CHUNK - 3, CHUNK + 6},    // a whole chunk and three bytes on each side
    {5 * CHUNK, 4321},             // the short last chunk
    {5 * CHUNK + 4320, 1},         // the last byte
    {4 * CHUNK + 1, 0},            // from there to the end
};
static const range beyond[] = {{SIZE, 1}, {SIZE, 0}, {SIZE + CHUNK, 5}, {UINT64_MAX, UINT64_MAX}, {SIZE - 10, 100}, {3, UINT64_MAX}};

static void rangesOfEveryShapeBringTheirChunksOnly(void) {
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        pull_range(OF_OBJECT, NULL, ranges[i], RAY_CODEC_AUTO);
        pull_range(OF_FILE, NULL, ranges[i], RAY_CODEC_NONE);
        pull_range(OF_FILE, NULL, ranges[i], RAY_CODEC_LZ4);
        pull_range(OF_OBJECT, NULL, ranges[i], RAY_CODEC_ZSTD);
    }
}

static void rangesAtRandomPlacesArrive(void) {
    uint64_t seed = check_seed();
    for (uint32_t i = 0; i < 60; i++) {
        range r = {check_random(&seed) % SIZE, 1 + check_random(&seed) % (2 * CHUNK)};
        pull_range(i % 2 == 0 ? OF_OBJECT : OF_FILE, NULL, r, (uint16_t)(i % 4));
    }
}

static void aRangeBeyondTheEndIsShorter(void) {
    for (size_t i = 0; i < sizeof beyond / sizeof beyond[0]; i++) {
        pull_range(OF_OBJECT, NULL, beyond[i], RAY_CODEC_AUTO);
        pull_range(OF_FILE, NULL, beyond[i], RAY_CODEC_AUTO);
    }
}

static void aRangeOfWhatTravelsInTheCardArrives(void) {
    static const range small[] = {{0, 0}, {0, 1}, {10, 90}, {SMALL_SIZE - 1, 1}, {SMALL_SIZE, 1}, {999, 77}};
    for (size_t i = 0; i < sizeof small / sizeof small[0]; i++) {
        pull_range(OF_SMALL, NULL, small[i], RAY_CODEC_AUTO);
    }
}

static void aRangeArrivesByName(void) {
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        pull_range(OF_FILE, "source", ranges[i], RAY_CODEC_AUTO);
    }
}

static void aRangeNeedsMemoryOfItsSize(void) {
    uint8_t *memory = guarded(CHUNK);
    fixture_pull p;
    fixture_pull_init(&p, NULL);
    p.memory = memory;
    p.memory_size = CHUNK - 1;
    CHECK_STATUS(start_and_finish(&p, OF_OBJECT, NULL, (ray_pull_options){.range_offset = 5, .range_size = CHUNK}), RAY_TOO_LARGE);
    CHECK(is_untouched(memory, CHUNK));
    free(memory);
}

static void aRangeGoesIntoMemoryOnly(void) {
    char path[128];
    fixture_path(path, "target");
    fixture_pull p;
    fixture_pull_init(&p, path);
    CHECK_STATUS(start_and_finish(&p, OF_FILE, NULL, (ray_pull_options){.range_offset = 1}), RAY_INVALID_ARGUMENT);
    CHECK(access(path, F_OK) != 0);
    fixture_pull_init(&p, NULL);
    CHECK_STATUS(start_and_finish(&p, OF_OBJECT, NULL, (ray_pull_options){.range_size = 1}), RAY_INVALID_ARGUMENT);
}

// Options of a caller that was built before there were ranges.
static void shorterOptionsAskForAllOfIt(void) {
    uint8_t *memory = guarded(SIZE);
    ray_pull_options options = {.struct_size = offsetof(ray_pull_options, range_offset), .range_offset = 7, .range_size = 9};
    ray_endpoint from = {.host = "127.0.0.1", .port = ray_transfer_port(sender)};
    ray_object_id id = fixture_id(OF_FILE);
    fixture_pull p;
    fixture_pull_init(&p, NULL);
    p.memory = memory + GUARD;
    p.memory_size = SIZE;
    CHECK_OK(ray_pull_start(receiver, &id, &from, 1, &options, &fixture_callbacks, &p, &p.handle));
    CHECK_OK(fixture_finish(&p));
    CHECK(memcmp(memory + GUARD, bytes, SIZE) == 0);
    free(memory);
}

// The sender has kept the checksums of what the object was. So a byte that is changed behind its back does not match them.
static void onlyTheChunksOfTheRangeAreVerifiedAndAllOfEach(void) {
    pull_range(OF_OBJECT, NULL, (range){0, 0}, RAY_CODEC_NONE);
    ray_object_id id = fixture_id(OF_OBJECT);
    ray_object_view view;
    CHECK_OK(ray_object_get(there, &id, 0, &view));
    uint8_t *wrong = (uint8_t *)(uintptr_t)view.data + 2 * CHUNK + 100;
    // Readers may only read.
    void *page = (void *)((uintptr_t)wrong & ~(uintptr_t)4095);
    CHECK(mprotect(page, 4096, PROT_READ | PROT_WRITE) == 0);
    *wrong = (uint8_t)~*wrong;
    pull_range(OF_OBJECT, NULL, (range){CHUNK, CHUNK}, RAY_CODEC_NONE);
    uint8_t *memory = guarded(10);
    fixture_pull p;
    fixture_pull_init(&p, NULL);
    p.memory = memory;
    p.memory_size = 10;
    // Of its bytes none is wrong, of its chunk one is.
    CHECK_STATUS(start_and_finish(&p, OF_OBJECT, NULL, (ray_pull_options){.range_offset = 2 * CHUNK + 200, .range_size = 10}), RAY_CORRUPT);
    *wrong = (uint8_t)~*wrong;
    CHECK(mprotect(page, 4096, PROT_READ) == 0);
    ray_object_release(there, &view);
    free(memory);
}

// After done the memory is the caller's again, however the pull ended: AddressSanitizer sees who writes to it then.
static void aCancelledPullLeavesTheMemoryAlone(void) {
    uint64_t seed = check_seed();
    for (uint32_t i = 0; i < 40; i++) {
        uint8_t *memory = guarded(SIZE);
        fixture_pull p;
        fixture_pull_init(&p, NULL);
        p.memory = memory;
        p.memory_size = SIZE;
        ray_pull_options options = {.codec = i % 2 == 0 ? RAY_CODEC_LZ4 : RAY_CODEC_NONE, .range_offset = 1};
        uint16_t port = ray_transfer_port(sender);
        fixture_start(&p, receiver, OF_OBJECT, &port, 1, &options);
        for (uint64_t spins = check_random(&seed) % 3000; spins > 0; spins--) {
            sched_yield();
        }
        ray_pull_cancel(p.handle);
        ray_status status = fixture_finish(&p);
        CHECK(status == RAY_CANCELLED || status == RAY_OK);
        free(memory);
    }
}

static ray_status find_named(void *context, const char *name, const char *peer, ray_answer *answer) {
    (void)context;
    (void)peer;
    return ray_answer_beneath(answer, directory, name);
}

int main(void) {
    fixture_make_directory();
    fixture_path(source_path, "source");
    directory = open(fixture_directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    bytes = fixture_bytes(SIZE, 3, true);
    fixture_write_file(source_path, bytes, SIZE);
    there = fixture_store(64 * MIB);
    ray_object_id object = fixture_id(OF_OBJECT);
    ray_object_id small = fixture_id(OF_SMALL);
    CHECK_OK(ray_object_put(there, &object, bytes, SIZE, NULL, 0, 0));
    CHECK_OK(ray_object_put(there, &small, bytes, SMALL_SIZE, NULL, 0, 0));
    fixture_add(&table, OF_OBJECT, RAY_KIND_OBJECT);
    fixture_add(&table, OF_SMALL, RAY_KIND_OBJECT);
    fixture_add_file(&table, OF_FILE, source_path);
    ray_transfer_options options = {
        .struct_size = sizeof options, .key = fixture_key, .store = there, .bind_host = "127.0.0.1", .find = fixture_find,
        .context = &table, .find_named = find_named,
    };
    CHECK_OK(ray_transfer_create(&options, &sender));
    receiver = fixture_transfer(NULL, NULL, false);

    RUN(rangesOfEveryShapeBringTheirChunksOnly);
    RUN(rangesAtRandomPlacesArrive);
    RUN(aRangeBeyondTheEndIsShorter);
    RUN(aRangeOfWhatTravelsInTheCardArrives);
    RUN(aRangeArrivesByName);
    RUN(aRangeNeedsMemoryOfItsSize);
    RUN(aRangeGoesIntoMemoryOnly);
    RUN(shorterOptionsAskForAllOfIt);
    RUN(onlyTheChunksOfTheRangeAreVerifiedAndAllOfEach);
    RUN(aCancelledPullLeavesTheMemoryAlone);

    ray_transfer_destroy(receiver);
    ray_transfer_destroy(sender);
    ray_store_close(there);
    close(directory);
    unlink(source_path);
    fixture_remove_directory();
    free(bytes);
    return 0;
}
