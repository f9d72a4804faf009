// SPDX-License-Identifier: Apache-2.0
// Files from one transfer to another over loopback, in one process.
#include "transfer_fixture.h"

static fixture_table table;
static ray_transfer *sender;
static ray_transfer *receiver;
static char source_path[128];
static char target_path[128];

static void pull_file_of(uint64_t size, bool packable, uint16_t codec, int32_t level) {
    static uint32_t number = 100;
    number++;
    uint8_t *bytes = fixture_bytes(size, size + number, packable);
    fixture_write_file(source_path, bytes, size);
    table.count = 0;
    fixture_add_file(&table, number, source_path);
    fixture_pull p;
    ray_pull_options options = {.codec = codec, .level = level};
    CHECK_OK(fixture_pull_now(&p, receiver, number, ray_transfer_port(sender), target_path, &options));
    CHECK_EQUAL(p.opened_count, 1);
    CHECK_EQUAL(p.kind, RAY_KIND_FILE);
    CHECK_EQUAL(p.size, size);
    CHECK_EQUAL(p.metadata_size, sizeof FIXTURE_METADATA);
    CHECK(memcmp(p.metadata, FIXTURE_METADATA, sizeof FIXTURE_METADATA) == 0);
    CHECK_EQUAL(p.descriptor_size, sizeof FIXTURE_DESCRIPTOR);
    CHECK(memcmp(p.descriptor, FIXTURE_DESCRIPTOR, sizeof FIXTURE_DESCRIPTOR) == 0);
    CHECK_EQUAL(p.progress.done_bytes, size);
    CHECK_EQUAL(p.progress.total_bytes, size);
    CHECK_EQUAL(p.progress.retried_count, 0);
    CHECK_EQUAL(p.progress.none_count + p.progress.lz4_count + p.progress.zstd_count, (size + RAY_CHUNK_SIZE - 1) / RAY_CHUNK_SIZE);
    if (packable && level > 0 && size > RAY_INLINE_MAX) {
        CHECK(p.progress.zstd_count > 0 && p.progress.wire_bytes < size * 3 / 4);
        CHECK_EQUAL(p.progress.zstd_level, level);
    }
    if (packable && codec == RAY_CODEC_LZ4 && size > RAY_INLINE_MAX) {
        CHECK(p.progress.lz4_count > 0 && p.progress.wire_bytes < size);
    }
    CHECK(p.progressed_count >= 1);
    CHECK(fixture_file_is(target_path, bytes, size));
    struct stat info;
    CHECK(stat(target_path, &info) == 0 && (info.st_mode & 0777) == 0600);
    unlink(target_path);
    unlink(source_path);
    free(bytes);
}

static const uint64_t sizes[] = {0, 1, 4096, RAY_INLINE_MAX, RAY_INLINE_MAX + 1, RAY_CHUNK_SIZE - 1, RAY_CHUNK_SIZE, RAY_CHUNK_SIZE + 1,
                                 3 * RAY_CHUNK_SIZE + 12345};

static void filesOfEverySizeArriveInEveryCodec(void) {
    static const struct {
        uint16_t codec;
        int32_t level;
    } ways[] = {{RAY_CODEC_AUTO, 0}, {RAY_CODEC_NONE, 0}, {RAY_CODEC_LZ4, 0}, {RAY_CODEC_ZSTD, 1}, {RAY_CODEC_ZSTD, -5}};
    for (size_t w = 0; w < sizeof ways / sizeof ways[0]; w++) {
        for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
            pull_file_of(sizes[s], true, ways[w].codec, ways[w].level);
            pull_file_of(sizes[s], false, ways[w].codec, ways[w].level);
        }
    }
}

static void twoHundredMebibytesArrive(void) {
    pull_file_of(200 * MIB, false, RAY_CODEC_AUTO, 0);
    pull_file_of(200 * MIB, true, RAY_CODEC_AUTO, 0);
    pull_file_of(200 * MIB, true, RAY_CODEC_LZ4, 0);
}

static void anUnknownObjectIsNotFoundAtOnce(void) {
    fixture_pull p;
    table.count = 0;
    CHECK_STATUS(fixture_pull_now(&p, receiver, 5, ray_transfer_port(sender), target_path, NULL), RAY_NOT_FOUND);
    CHECK_EQUAL(p.opened_count, 0);
    char peer[64];
    snprintf(peer, sizeof peer, "127.0.0.1:%u", ray_transfer_port(sender));
    CHECK(strstr(p.message, peer) != NULL);
}

static void aFailureOfFindReachesTheReceiver(void) {
    table.count = 0;
    fixture_add(&table, 6, -2)->failure = RAY_OBJECT_FREED;
    fixture_pull p;
    CHECK_STATUS(fixture_pull_now(&p, receiver, 6, ray_transfer_port(sender), target_path, NULL), RAY_OBJECT_FREED);
    CHECK(strstr(p.message, "on purpose") != NULL);
}

static void aFailureOfOpenedEndsThePull(void) {
    fixture_write_file(source_path, (const uint8_t *)"abc", 3);
    table.count = 0;
    fixture_add_file(&table, 7, source_path);
    fixture_pull p;
    fixture_pull_init(&p, target_path);
    p.open_status = RAY_WRONG_KIND;
    uint16_t port = ray_transfer_port(sender);
    fixture_start(&p, receiver, 7, &port, 1, NULL);
    CHECK_STATUS(fixture_finish(&p), RAY_WRONG_KIND);
    unlink(source_path);
}

static void anExistingTargetIsNotOverwritten(void) {
    fixture_write_file(source_path, (const uint8_t *)"abc", 3);
    fixture_write_file(target_path, (const uint8_t *)"mine", 4);
    table.count = 0;
    fixture_add_file(&table, 8, source_path);
    fixture_pull p;
    CHECK_STATUS(fixture_pull_now(&p, receiver, 8, ray_transfer_port(sender), target_path, NULL), RAY_EXISTS);
    CHECK(strstr(p.message, target_path) != NULL);
    CHECK(fixture_file_is(target_path, (const uint8_t *)"mine", 4));
    unlink(source_path);
    unlink(target_path);
}

static void anotherPullUsesTheSameConnection(void) {
    fixture_write_file(source_path, (const uint8_t *)"abc", 3);
    table.count = 0;
    fixture_add_file(&table, 9, source_path);
    for (int i = 0; i < 50; i++) {
        fixture_pull p;
        CHECK_OK(fixture_pull_now(&p, receiver, 9, ray_transfer_port(sender), target_path, NULL));
        unlink(target_path);
    }
    CHECK(fixture_stats(sender).connection_count <= 4);
    unlink(source_path);
}

int main(void) {
    fixture_begin(&table, source_path, target_path, &sender, &receiver);
    RUN(filesOfEverySizeArriveInEveryCodec);
    RUN(twoHundredMebibytesArrive);
    RUN(anUnknownObjectIsNotFoundAtOnce);
    RUN(aFailureOfFindReachesTheReceiver);
    RUN(aFailureOfOpenedEndsThePull);
    RUN(anExistingTargetIsNotOverwritten);
    RUN(anotherPullUsesTheSameConnection);
    fixture_end(sender, receiver);
    return 0;
}
