// SPDX-License-Identifier: Apache-2.0
// No allocation a chunk: a pull of six times as many chunks allocates no more often. The C library's allocation functions are replaced by
// ones that count and call the library's own.
#include <stddef.h>

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

static fixture_table table;
static ray_transfer *sender;
static ray_transfer *receiver;
static char target_path[128];

static uint64_t allocations_of(uint32_t number, uint16_t codec) {
    ray_pull_options options = {.codec = codec, .chunk_size = CHUNK, .connection_count = 2};
    fixture_pull p;
    uint64_t before = atomic_load(&allocations);
    CHECK_OK(fixture_pull_now(&p, receiver, number, ray_transfer_port(sender), target_path, &options));
    uint64_t after = atomic_load(&allocations);
    CHECK(unlink(target_path) == 0);
    return after - before;
}

// Of several tries the fewest: what a pull may allocate beside its chunks depends on which of its links comes first.
static uint64_t fewest_allocations_of(uint32_t number, uint16_t codec) {
    uint64_t fewest = UINT64_MAX;
    for (int i = 0; i < 10; i++) {
        uint64_t now = allocations_of(number, codec);
        fewest = now < fewest ? now : fewest;
    }
    return fewest;
}

static void sixTimesAsManyChunksNeedNoMoreAllocations(void) {
    static const uint16_t codecs[] = {RAY_CODEC_NONE, RAY_CODEC_LZ4, RAY_CODEC_ZSTD};
    for (uint32_t i = 0; i < sizeof codecs / sizeof codecs[0]; i++) {
        uint64_t few = fewest_allocations_of(1, codecs[i]);
        uint64_t many = fewest_allocations_of(2, codecs[i]);
        fprintf(stderr, "        codec %u: %llu for 40 chunks, %llu for 240\n", codecs[i], (unsigned long long)few, (unsigned long long)many);
        CHECK(few > 0);
        CHECK(many < few + 20);
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
    free(bytes);
    fixture_add_file(&table, 1, few_path);
    fixture_add_file(&table, 2, many_path);
    sender = fixture_transfer(&table, NULL, true);
    receiver = fixture_transfer(NULL, NULL, false);
    RUN(sixTimesAsManyChunksNeedNoMoreAllocations);
    ray_transfer_destroy(receiver);
    ray_transfer_destroy(sender);
    unlink(few_path);
    unlink(many_path);
    fixture_remove_directory();
    return 0;
}
#endif
