// SPDX-License-Identifier: Apache-2.0
// No allocation a chunk: a pull of six times as many chunks allocates no more often. The C library's allocation functions are replaced by
// ones that count and call the library's own.
//
// With fixed codecs, and with what the sender's tuner chooses: over a link that takes all, and over a paced one, where it packs.
#include <stddef.h>

#include "paced_listener.h"
#include "transfer_fixture.h"

#if defined(__SANITIZE_ADDRESS__)
int main(void) {
    SKIP("the sanitizer has its own allocator");
}
#else

static _Atomic uint64_t allocations;

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *old, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);

void *malloc(size_t size) {
    atomic_fetch_add(&allocations, 1);
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size) {
    atomic_fetch_add(&allocations, 1);
    return __libc_calloc(count, size);
}

void *realloc(void *old, size_t size) {
    atomic_fetch_add(&allocations, 1);
    return __libc_realloc(old, size);
}

void *aligned_alloc(size_t alignment, size_t size) {
    atomic_fetch_add(&allocations, 1);
    return __libc_memalign(alignment, size);
}

#define CHUNK (64u << 10)
#define FEW (40ull * CHUNK)
#define MANY (240ull * CHUNK)
#define PACED_RATE 100000000u

enum { FILE_FEW = 1, FILE_MANY = 2, OBJECT_FEW = 3, OBJECT_MANY = 4 };

// Where the bytes go, of a file or of an object.
typedef enum way { FILE_TO_FILE, FILE_TO_MEMORY, OBJECT_TO_STORE, OBJECT_TO_MEMORY } way;
static const char *const way_names[] = {"a file", "a range of a file", "an object", "a range of an object"};

static fixture_table table;
static ray_store *here;
static ray_store *there;
static ray_transfer *sender;
static ray_transfer *paced;
static ray_transfer *receiver;
static char target_path[128];
static uint8_t memory[MANY];

// Of one pull. packed: its packed chunks are added.
static uint64_t allocations_of(way how, bool is_many, uint16_t codec, uint16_t port, uint32_t *packed) {
    ray_pull_options options = {.codec = codec, .chunk_size = CHUNK, .connection_count = 2};
    uint32_t number = (how == FILE_TO_FILE || how == FILE_TO_MEMORY ? FILE_FEW : OBJECT_FEW) + is_many;
    bool is_range = how == FILE_TO_MEMORY || how == OBJECT_TO_MEMORY;
    ray_object_id id = fixture_id(number);
    if (is_range) {
        options.range_offset = 1;
        options.range_size = (is_many ? MANY : FEW) - 2;
    } else if (how == OBJECT_TO_STORE) {
        uint32_t state;
        CHECK_OK(ray_node_adopt(here, &id, &state));
    }
    fixture_pull p;
    fixture_pull_init(&p, how == FILE_TO_FILE ? target_path : NULL);
    p.memory = is_range ? memory : NULL;
    p.memory_size = sizeof memory;
    uint64_t before = atomic_load(&allocations);
    fixture_start(&p, receiver, number, &port, 1, &options);
    CHECK_OK(fixture_finish(&p));
    uint64_t after = atomic_load(&allocations);
    *packed += p.progress.lz4_count + p.progress.zstd_count;
    if (how == FILE_TO_FILE) {
        CHECK(unlink(target_path) == 0);
    } else if (how == OBJECT_TO_STORE) {
        CHECK_OK(ray_node_disown(here, &id));
    }
    return after - before;
}

// Of several tries the fewest: what a pull may allocate beside its chunks depends on which of its links comes first.
static uint64_t fewest_allocations_of(way how, bool is_many, uint16_t codec, uint16_t port, int tries, uint32_t *packed) {
    uint64_t fewest = UINT64_MAX;
    for (int i = 0; i < tries; i++) {
        uint64_t now = allocations_of(how, is_many, codec, port, packed);
        fewest = now < fewest ? now : fewest;
    }
    return fewest;
}

static void compare(way how, uint16_t codec, ray_transfer *from, int tries) {
    uint16_t port = ray_transfer_port(from);
    uint32_t packed = 0;
    uint64_t few = fewest_allocations_of(how, false, codec, port, tries, &packed);
    uint64_t many = fewest_allocations_of(how, true, codec, port, tries, &packed);
    fprintf(stderr, "        %s, codec %u%s: %llu for 40 chunks, %llu for 240; %u packed\n", way_names[how], codec,
            from == paced ? ", paced" : "", (unsigned long long)few, (unsigned long long)many, packed);
    CHECK(few > 0);
    CHECK(many < few + 20);
    CHECK(from != paced || packed > 100);
}

static void sixTimesAsManyChunksNeedNoMoreAllocations(void) {
    static const uint16_t codecs[] = {RAY_CODEC_NONE, RAY_CODEC_LZ4, RAY_CODEC_ZSTD, RAY_CODEC_AUTO};
    for (uint32_t i = 0; i < sizeof codecs / sizeof codecs[0]; i++) {
        for (way how = FILE_TO_FILE; how <= OBJECT_TO_MEMORY; how++) {
            compare(how, codecs[i], sender, 10);
        }
    }
}

static void norDoTheyWhereTheTunerPacks(void) {
    for (way how = FILE_TO_FILE; how <= OBJECT_TO_MEMORY; how++) {
        compare(how, RAY_CODEC_AUTO, paced, 5);
    }
}

int main(void) {
    char few_path[128];
    char many_path[128];
    fixture_make_directory();
    fixture_path(few_path, "few");
    fixture_path(many_path, "many");
    fixture_path(target_path, "target");
    uint8_t *bytes = fixture_bytes(MANY, 1, true);
    fixture_write_file(few_path, bytes, FEW);
    fixture_write_file(many_path, bytes, MANY);
    here = fixture_store(64 * MIB);
    there = fixture_store(64 * MIB);
    for (uint32_t number = OBJECT_FEW; number <= OBJECT_MANY; number++) {
        ray_object_id id = fixture_id(number);
        CHECK_OK(ray_object_put(there, &id, bytes, number == OBJECT_FEW ? FEW : MANY, NULL, 0, 0));
        fixture_add(&table, number, RAY_KIND_OBJECT);
    }
    free(bytes);
    fixture_add_file(&table, FILE_FEW, few_path);
    fixture_add_file(&table, FILE_MANY, many_path);
    sender = fixture_transfer(&table, there, true);
    paced = fixture_transfer(&table, there, true);
    pace_listener(ray_transfer_port(paced), PACED_RATE);
    receiver = fixture_transfer(NULL, here, false);
    RUN(sixTimesAsManyChunksNeedNoMoreAllocations);
    RUN(norDoTheyWhereTheTunerPacks);
    ray_transfer_destroy(receiver);
    ray_transfer_destroy(paced);
    ray_transfer_destroy(sender);
    ray_store_close(here);
    ray_store_close(there);
    unlink(few_path);
    unlink(many_path);
    fixture_remove_directory();
    return 0;
}
#endif
