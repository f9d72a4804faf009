// SPDX-License-Identifier: Apache-2.0
// Room for a file that arrives, and several connections that write to it. A file in memory (tmpfs) is not reserved before it arrives:
// its room is looked at, and can go to somebody else meanwhile.
#include <sys/mount.h>

#include "transfer_fixture.h"

static fixture_table table;
static ray_transfer *sender;
static ray_transfer *receiver;
static char source_path[128];
static char target_path[128];
static char disk_path[128];

static void make_source(uint32_t number, const uint8_t *bytes, uint64_t size) {
    fixture_write_file(source_path, bytes, size);
    table.count = 0;
    fixture_add_file(&table, number, source_path);
}

static uint64_t free_bytes(void) {
    char probe[160];
    snprintf(probe, sizeof probe, "%s/probe", disk_path);
    int file = open(probe, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    CHECK(file >= 0);
    static uint8_t block[64 << 10];
    uint64_t total = 0;
    ssize_t written;
    while ((written = write(file, block, sizeof block)) > 0) {
        total += (uint64_t)written;
    }
    close(file);
    unlink(probe);
    return total;
}

// Chooses the file, and takes the room that it was told to be there.
static ray_status open_and_fill_the_disk(void *context, ray_pull *pull, const ray_card *card) {
    ray_status status = fixture_opened(context, pull, card);
    char path[160];
    snprintf(path, sizeof path, "%s/filler", disk_path);
    uint8_t *bytes = fixture_bytes(20 * MIB, 5, false);
    fixture_write_file(path, bytes, 20 * MIB);
    free(bytes);
    return status;
}

static void fill_up_during(uint16_t codec, uint16_t resume) {
    uint64_t before = free_bytes();
    char path[160];
    char filler[160];
    char journal[176];
    snprintf(path, sizeof path, "%s/target", disk_path);
    snprintf(filler, sizeof filler, "%s/filler", disk_path);
    snprintf(journal, sizeof journal, "%s.chunks", path);
    fixture_pull p;
    fixture_pull_init(&p, path);
    ray_pull_callbacks callbacks = {open_and_fill_the_disk, fixture_progressed, fixture_done};
    ray_pull_options options = {.struct_size = sizeof options, .codec = codec, .resume = resume};
    ray_endpoint from = {.port = ray_transfer_port(sender)};
    snprintf(from.host, sizeof from.host, "127.0.0.1");
    ray_object_id id = fixture_id(1);
    CHECK_OK(ray_pull_start(receiver, &id, &from, 1, &options, &callbacks, &p, &p.handle));
    CHECK_STATUS(fixture_finish(&p), RAY_OUT_OF_DISK);
    CHECK(strstr(p.message, path) != NULL);
    if (resume == RAY_RESUME_OFF) {
        CHECK(access(path, F_OK) != 0);
    } else {
        // What has come is kept for when there is room again.
        fixture_wait_bytes(&p, 0);
        CHECK(unlink(filler) == 0);
        ray_pull_options again = {.codec = codec, .resume = resume};
        CHECK_OK(fixture_pull_now(&p, receiver, 1, ray_transfer_port(sender), path, &again));
        fixture_wait_gone(journal);
        CHECK(unlink(path) == 0);
    }
    unlink(filler);
    CHECK_EQUAL(free_bytes(), before);
}

// 32 MiB.
static bool mount_small_disk(void) {
    fixture_path(disk_path, "disk");
    CHECK(mkdir(disk_path, 0700) == 0);
    if (mount("none", disk_path, "tmpfs", 0, "size=32m") == 0) {
        return true;
    }
    fprintf(stderr, "    (not checked: this user may not mount a small disk)\n");
    rmdir(disk_path);
    return false;
}

static void aDiskThatFillsUpWhileAFileArrivesIsOutOfDisk(void) {
    if (!mount_small_disk()) {
        return;
    }
    uint8_t *bytes = fixture_bytes(24 * MIB, 3, true);
    make_source(1, bytes, 24 * MIB);
    fill_up_during(RAY_CODEC_NONE, RAY_RESUME_OFF);
    fill_up_during(RAY_CODEC_LZ4, RAY_RESUME_OFF);
    fill_up_during(RAY_CODEC_NONE, RAY_RESUME_KEEP);
    free(bytes);
    unlink(source_path);
    CHECK(umount(disk_path) == 0);
    rmdir(disk_path);
}

static ray_transfer *keeping(uint64_t reserve_bytes, uint32_t watermark_permille) {
    ray_transfer_options options = {.struct_size = sizeof options, .key = fixture_key, .disk_reserve_bytes = reserve_bytes,
                                    .disk_watermark_permille = watermark_permille};
    ray_transfer *transfer = NULL;
    CHECK_OK(ray_transfer_create(&options, &transfer));
    return transfer;
}

// A disk of 32 MiB, and the numbers that a refusal tells.
static void pull_with(uint64_t reserve_bytes, uint32_t watermark_permille, ray_status wanted, uint64_t kept) {
    char path[160];
    char text[64];
    snprintf(path, sizeof path, "%s/target", disk_path);
    ray_transfer *transfer = keeping(reserve_bytes, watermark_permille);
    fixture_pull p;
    CHECK_STATUS(fixture_pull_now(&p, transfer, 3, ray_transfer_port(sender), path, NULL), wanted);
    if (wanted == RAY_OK) {
        CHECK(unlink(path) == 0);
    } else {
        ray_disk_info disk;
        CHECK_OK(ray_disk_look(disk_path, &disk));
        snprintf(text, sizeof text, "%llu free, of which %llu are kept", (unsigned long long)disk.free_bytes, (unsigned long long)kept);
        CHECK(strstr(p.message, path) != NULL && strstr(p.message, "25165824 bytes needed") != NULL);
        CHECK(strstr(p.message, text) != NULL);
        CHECK(access(path, F_OK) != 0);
    }
    ray_transfer_destroy(transfer);
}

static void whatIsToStayFreeStaysFree(void) {
    if (!mount_small_disk()) {
        return;
    }
    uint8_t *bytes = fixture_bytes(24 * MIB, 3, true);
    make_source(3, bytes, 24 * MIB);
    ray_disk_info disk;
    CHECK_OK(ray_disk_look(disk_path, &disk));
    CHECK_EQUAL(disk.total_bytes, 32 * MIB);
    pull_with(8 * MIB, 0, RAY_OK, 0);
    pull_with(8 * MIB + 1, 0, RAY_OUT_OF_DISK, 8 * MIB + 1);
    pull_with(0, 751, RAY_OK, 0);
    pull_with(0, 749, RAY_OUT_OF_DISK, ray_disk_kept(&disk, 0, 749));
    // The larger of the two counts.
    pull_with(8 * MIB + 1, 751, RAY_OUT_OF_DISK, 8 * MIB + 1);
    ray_transfer_options options = {.struct_size = sizeof options, .key = fixture_key, .disk_watermark_permille = 1001};
    ray_transfer *none = NULL;
    CHECK_STATUS(ray_transfer_create(&options, &none), RAY_INVALID_ARGUMENT);
    free(bytes);
    unlink(source_path);
    CHECK(umount(disk_path) == 0);
    rmdir(disk_path);
}

// Chunks smaller than a piece, as large, and of several, written by many at once: every byte has its place.
static void whatManyConnectionsWriteIsWhole(void) {
    static const uint64_t chunk_sizes[] = {0, 64 << 10, 256 << 10, 512 << 10, 2 << 20};
    uint64_t size = 40 * MIB + 4321;
    uint8_t *bytes = fixture_bytes(size, 9, true);
    make_source(2, bytes, size);
    for (uint32_t i = 0; i < sizeof chunk_sizes / sizeof chunk_sizes[0]; i++) {
        for (uint16_t codec = RAY_CODEC_NONE; codec <= RAY_CODEC_LZ4; codec++) {
            ray_pull_options options = {.codec = codec, .connection_count = 8, .chunk_size = (uint32_t)chunk_sizes[i]};
            fixture_pull p;
            CHECK_OK(fixture_pull_now(&p, receiver, 2, ray_transfer_port(sender), target_path, &options));
            CHECK(fixture_file_is(target_path, bytes, size));
            CHECK(unlink(target_path) == 0);
        }
    }
    free(bytes);
    unlink(source_path);
}

int main(void) {
    fixture_begin(&table, source_path, target_path, &sender, &receiver);
    RUN(whatManyConnectionsWriteIsWhole);
    RUN(aDiskThatFillsUpWhileAFileArrivesIsOutOfDisk);
    RUN(whatIsToStayFreeStaysFree);
    fixture_end(sender, receiver);
    return 0;
}
