// SPDX-License-Identifier: Apache-2.0
// What a caller may fix of a pull: the size of its chunks, its window.
#include "transfer/wire_internal.h"
#include "transfer_fixture.h"

static fixture_table table;
static ray_store *here;
static ray_store *there;
static ray_transfer *sender;
static ray_transfer *receiver;
static char source_path[128];
static char target_path[128];
static char journal_path[160];

static uint32_t chunks_of(const ray_transfer_progress *progress) {
    return progress->none_count + progress->lz4_count + progress->zstd_count;
}

// ---- chunk size ----------------------------------------------------------------------------------------------------------

static const uint32_t chunk_sizes[] = {RAY_CHUNK_SIZE_MIN, 256u << 10, 1u << 20, RAY_CHUNK_SIZE};

static void pull_file_of(uint64_t size, uint32_t chunk_size, uint16_t codec) {
    static uint32_t number = 100;
    table.count = 0;
    uint8_t *bytes = fixture_bytes(size, size + 1, codec != RAY_CODEC_NONE);
    fixture_write_file(source_path, bytes, size);
    fixture_add_file(&table, ++number, source_path);
    fixture_pull p;
    ray_pull_options options = {.chunk_size = chunk_size, .codec = codec};
    CHECK_OK(fixture_pull_now(&p, receiver, number, ray_transfer_port(sender), target_path, &options));
    CHECK_EQUAL(chunks_of(&p.progress), ray__chunk_count(size, chunk_size));
    CHECK(fixture_file_is(target_path, bytes, size));
    unlink(target_path);
    unlink(source_path);
    free(bytes);
}

static void filesArriveInChunksOfEverySize(void) {
    for (size_t c = 0; c < sizeof chunk_sizes / sizeof chunk_sizes[0]; c++) {
        uint32_t chunk = chunk_sizes[c];
        // The last of the inline sizes is more than one of the smallest chunks.
        const uint64_t sizes[] = {0, 1, RAY_CHUNK_SIZE_MIN + 1, RAY_INLINE_MAX, RAY_INLINE_MAX + 1, chunk - 1ull, chunk, chunk + 1ull,
                                  9ull * chunk + 12345};
        for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
            pull_file_of(sizes[s], chunk, RAY_CODEC_AUTO);
        }
        pull_file_of(5ull * chunk + 7, chunk, RAY_CODEC_NONE);
        pull_file_of(5ull * chunk + 7, chunk, RAY_CODEC_ZSTD);
    }
}

static void objectsArriveInChunksOfEverySize(void) {
    uint64_t size = 9 * MIB + 77;
    uint8_t *bytes = fixture_bytes(size, 5, true);
    ray_object_id id = fixture_id(7);
    CHECK_OK(ray_object_put(there, &id, bytes, size, NULL, 0, 0));
    ray_transfer *serving = fixture_transfer(NULL, there, true);
    ray_transfer *pulling = fixture_transfer(NULL, here, false);
    for (size_t c = 0; c < sizeof chunk_sizes / sizeof chunk_sizes[0]; c++) {
        // The second time what is sent is hashed already: in these chunks, not in those of the pull before.
        for (int round = 0; round < 2; round++) {
            uint32_t state;
            CHECK_OK(ray_node_adopt(here, &id, &state));
            fixture_pull p;
            ray_pull_options options = {.chunk_size = chunk_sizes[c], .codec = round == 0 ? RAY_CODEC_LZ4 : RAY_CODEC_NONE};
            CHECK_OK(fixture_pull_now(&p, pulling, 7, ray_transfer_port(serving), NULL, &options));
            CHECK_EQUAL(chunks_of(&p.progress), ray__chunk_count(size, chunk_sizes[c]));
            CHECK_EQUAL(p.progress.retried_count, 0);
            fixture_check_object(here, 7, bytes, size);
            CHECK_OK(ray_node_disown(here, &id));
        }
    }
    CHECK_EQUAL(fixture_stats(pulling).corrupt_count, 0);
    ray_transfer_destroy(pulling);
    ray_transfer_destroy(serving);
    CHECK_OK(ray_object_delete(there, &id, RAY_OBJECT_FREED));
    free(bytes);
}

// Pulls a part of the file in chunks of one size, and goes on in chunks of another.
static void resume_with(uint32_t first, uint32_t second) {
    uint64_t size = 24 * MIB + 99;
    uint8_t *bytes = fixture_bytes(size, first, false);
    table.count = 0;
    fixture_write_file(source_path, bytes, size);
    fixture_add_file(&table, 900, source_path);
    uint16_t port = ray_transfer_port(sender);
    fixture_pull p;
    fixture_pull_init(&p, target_path);
    ray_pull_options slow = {.chunk_size = first, .resume = RAY_RESUME_KEEP, .rate_max_bytes = 8 * MIB, .window_bytes = 1};
    fixture_start(&p, receiver, 900, &port, 1, &slow);
    fixture_wait_bytes(&p, first);
    ray_pull_cancel(p.handle);
    CHECK_STATUS(fixture_finish(&p), RAY_CANCELLED);
    uint64_t had = p.progress.done_bytes;
    CHECK(had >= first && had < size);
    fixture_pull again;
    ray_pull_options options = {.chunk_size = second, .resume = RAY_RESUME_KEEP};
    CHECK_OK(fixture_pull_now(&again, receiver, 900, port, target_path, &options));
    CHECK_EQUAL(again.progress.resumed_bytes, first == second ? had : 0);
    CHECK(fixture_file_is(target_path, bytes, size));
    fixture_wait_gone(journal_path);
    unlink(target_path);
    unlink(source_path);
    free(bytes);
}

static void aPullGoesOnInItsOwnChunkSizeAndBeginsAnewInAnother(void) {
    resume_with(RAY_CHUNK_SIZE_MIN, RAY_CHUNK_SIZE_MIN);
    resume_with(1u << 20, 1u << 20);
    resume_with(1u << 20, RAY_CHUNK_SIZE);
    resume_with(RAY_CHUNK_SIZE, RAY_CHUNK_SIZE_MIN);
}

static void chunkSizesThatCannotBeAreRefused(void) {
    static const uint32_t wrong[] = {1, RAY_CHUNK_SIZE_MIN / 2, RAY_CHUNK_SIZE_MIN + 1, 3u << 20, 2 * RAY_CHUNK_SIZE, 1u << 31};
    ray_endpoint source = {.host = "127.0.0.1", .port = ray_transfer_port(sender)};
    ray_object_id id = fixture_id(1);
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        ray_pull_options options = {.struct_size = sizeof options, .chunk_size = wrong[i]};
        ray_pull *pull = NULL;
        CHECK_STATUS(ray_pull_start(receiver, &id, &source, 1, &options, &fixture_callbacks, NULL, &pull), RAY_INVALID_ARGUMENT);
        CHECK(strstr(ray_last_error_message(), "chunk_size") != NULL);
    }
}

// A caller built with an older header says so by its size; what lies behind that is not read.
static void anOlderOptionsStructHasTheDefaults(void) {
    uint64_t size = 9 * MIB;
    uint8_t *bytes = fixture_bytes(size, 3, false);
    table.count = 0;
    fixture_write_file(source_path, bytes, size);
    fixture_add_file(&table, 901, source_path);
    ray_pull_options options;
    memset(&options, 0xff, sizeof options);
    memset(&options, 0, offsetof(ray_pull_options, window_bytes));
    options.struct_size = offsetof(ray_pull_options, window_bytes);
    fixture_pull p;
    fixture_pull_init(&p, target_path);
    ray_endpoint source = {.host = "127.0.0.1", .port = ray_transfer_port(sender)};
    ray_object_id id = fixture_id(901);
    CHECK_OK(ray_pull_start(receiver, &id, &source, 1, &options, &fixture_callbacks, &p, &p.handle));
    CHECK_OK(fixture_finish(&p));
    CHECK_EQUAL(chunks_of(&p.progress), ray__chunk_count(size, RAY_CHUNK_SIZE));
    unlink(target_path);
    unlink(source_path);
    free(bytes);
}

int main(void) {
    fixture_make_directory();
    fixture_path(source_path, "source");
    fixture_path(target_path, "target");
    snprintf(journal_path, sizeof journal_path, "%s%s", target_path, RAY_JOURNAL_SUFFIX);
    here = fixture_store(64 * MIB);
    there = fixture_store(64 * MIB);
    sender = fixture_transfer(&table, NULL, true);
    receiver = fixture_transfer(NULL, NULL, false);
    RUN(filesArriveInChunksOfEverySize);
    RUN(objectsArriveInChunksOfEverySize);
    RUN(aPullGoesOnInItsOwnChunkSizeAndBeginsAnewInAnother);
    RUN(chunkSizesThatCannotBeAreRefused);
    RUN(anOlderOptionsStructHasTheDefaults);
    ray_transfer_destroy(receiver);
    ray_transfer_destroy(sender);
    ray_store_close(here);
    ray_store_close(there);
    fixture_remove_directory();
    return 0;
}
