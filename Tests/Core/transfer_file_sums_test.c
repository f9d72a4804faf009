// SPDX-License-Identifier: Apache-2.0
// Checksums of files: each chunk is hashed once, ahead if there is time, and again only when the file was changed.
#include <dirent.h>
#include <fcntl.h>

#include "transfer_fixture.h"

static fixture_table table;
static char source_path[128];
static char target_path[128];
static _Atomic uint32_t told_count;

static void note_summed(void *context, const ray_object_id *id) {
    CHECK(context == &table && id != NULL);
    atomic_fetch_add(&told_count, 1);
}

static ray_transfer *begin(bool ahead) {
    ray_transfer_options options = {.struct_size = sizeof options,
                                    .key = fixture_key,
                                    .bind_host = "127.0.0.1",
                                    .find = fixture_find,
                                    .context = &table,
                                    .sums_ahead = ahead,
                                    .summed = note_summed};
    ray_transfer *transfer = NULL;
    CHECK_OK(ray_transfer_create(&options, &transfer));
    atomic_store(&told_count, 0);
    return transfer;
}

static uint64_t hashed(ray_transfer *transfer) {
    return fixture_stats(transfer).hashed_bytes;
}

// Until its times tell it from what it may be next.
static void wait_settled(const char *path) {
    uint64_t deadline = ray__now_ns() + FIXTURE_DEADLINE_NS;
    uint64_t identity;
    while (ray_file_identity(path, &identity) == RAY_AGAIN) {
        CHECK(ray__now_ns() < deadline);
        usleep(1000);
    }
}

static void wait_told(uint32_t count) {
    uint64_t deadline = ray__now_ns() + FIXTURE_DEADLINE_NS;
    while (atomic_load(&told_count) < count) {
        CHECK(ray__now_ns() < deadline);
        usleep(1000);
    }
    CHECK_EQUAL(atomic_load(&told_count), count);
}

static void serve(uint32_t number, const uint8_t *bytes, uint64_t size) {
    fixture_write_file(source_path, bytes, size);
    table.count = 0;
    fixture_add_file(&table, number, source_path);
}

static void pull_and_compare(ray_transfer *from, ray_transfer *to, uint32_t number, const uint8_t *bytes, uint64_t size) {
    fixture_pull p;
    CHECK_OK(fixture_pull_now(&p, to, number, ray_transfer_port(from), target_path, NULL));
    CHECK_EQUAL(p.progress.retried_count, 0);
    CHECK(fixture_file_is(target_path, bytes, size));
    unlink(target_path);
}

#define SIZE (9 * MIB + 5)

static void aFileIsHashedAheadAndNotWhenItIsSent(void) {
    ray_transfer *sender = begin(true);
    ray_transfer *receiver = begin(false);
    uint8_t *bytes = fixture_bytes(SIZE, 1, false);
    serve(1, bytes, SIZE);
    ray_object_id id = fixture_id(1);
    CHECK_OK(ray_transfer_sum_ahead(sender, &id, source_path));
    fixture_await_hashed(sender, SIZE);
    wait_told(1);
    for (int i = 0; i < 2; i++) {
        pull_and_compare(sender, receiver, 1, bytes, SIZE);
    }
    CHECK_EQUAL(hashed(sender), 0);
    CHECK_EQUAL(atomic_load(&told_count), 1);
    // What is gone, or too small to have sums, is passed over.
    unlink(source_path);
    CHECK_OK(ray_transfer_sum_ahead(sender, &id, source_path));
    fixture_write_file(source_path, bytes, RAY_INLINE_MAX);
    CHECK_OK(ray_transfer_sum_ahead(sender, &id, source_path));
    fixture_await_hashed(sender, SIZE);
    unlink(source_path);
    ray_transfer_destroy(receiver);
    ray_transfer_destroy(sender);
    free(bytes);
}

static void aSecondPullHashesNothing(void) {
    ray_transfer *sender = begin(false);
    ray_transfer *receiver = begin(false);
    uint8_t *bytes = fixture_bytes(SIZE, 2, false);
    serve(2, bytes, SIZE);
    wait_settled(source_path);
    pull_and_compare(sender, receiver, 2, bytes, SIZE);
    CHECK_EQUAL(hashed(sender), SIZE);
    pull_and_compare(sender, receiver, 2, bytes, SIZE);
    CHECK_EQUAL(hashed(sender), SIZE);
    wait_told(1);
    unlink(source_path);
    ray_transfer_destroy(receiver);
    ray_transfer_destroy(sender);
    free(bytes);
}

// As a node does with its own copies.
static void ofAFileThatNobodyWritesToTheFirstChecksumsCount(void) {
    ray_transfer *sender = begin(false);
    ray_transfer *receiver = begin(false);
    uint8_t *bytes = fixture_bytes(SIZE, 11, false);
    ray_object_id id = fixture_id(11);
    for (int i = 0; i < 10; i++) {
        bytes[0] = (uint8_t)i;
        unlink(source_path);
        serve(11, bytes, SIZE);
        CHECK_OK(ray_transfer_file_placed(sender, &id, source_path));
        pull_and_compare(sender, receiver, 11, bytes, SIZE);
        pull_and_compare(sender, receiver, 11, bytes, SIZE);
        CHECK_EQUAL(hashed(sender), ((uint64_t)i + 1) * SIZE);
        wait_told((uint32_t)i + 1);
    }
    unlink(source_path);
    ray_transfer_destroy(receiver);
    ray_transfer_destroy(sender);
    free(bytes);
}

static void set_times(const char *path, const struct stat *info) {
    struct timespec times[2] = {info->st_atim, info->st_mtim};
    CHECK(utimensat(AT_FDCWD, path, times, 0) == 0);
}

// Same size, same inode, and the time set back: what find answers still holds.
static void aChangedFileIsHashedAnewThoughItsTimeWasSetBack(void) {
    ray_transfer *sender = begin(false);
    ray_transfer *receiver = begin(false);
    uint8_t *bytes = fixture_bytes(SIZE, 3, false);
    serve(3, bytes, SIZE);
    wait_settled(source_path);
    pull_and_compare(sender, receiver, 3, bytes, SIZE);
    struct stat info;
    CHECK(stat(source_path, &info) == 0);
    bytes[5 * MIB] ^= 1;
    fixture_write_file(source_path, bytes, SIZE);
    set_times(source_path, &info);
    wait_settled(source_path);
    pull_and_compare(sender, receiver, 3, bytes, SIZE);
    CHECK_EQUAL(hashed(sender), 2 * SIZE);
    CHECK_EQUAL(fixture_stats(receiver).corrupt_count, 0);
    unlink(source_path);
    ray_transfer_destroy(receiver);
    ray_transfer_destroy(sender);
    free(bytes);
}

// The clock of a file's times stands still for some milliseconds: changes within them leave no trace.
static void whatWasHashedInTheMomentOfAChangeIsNotBelieved(void) {
    ray_transfer *sender = begin(false);
    ray_transfer *receiver = begin(false);
    uint64_t size = RAY_INLINE_MAX + 1;
    uint8_t *bytes = fixture_bytes(size, 4, false);
    for (int i = 0; i < 50; i++) {
        bytes[i] ^= 1;
        serve(4, bytes, size);
        struct stat info;
        CHECK(stat(source_path, &info) == 0);
        pull_and_compare(sender, receiver, 4, bytes, size);
        bytes[i] ^= 2;
        int file = open(source_path, O_WRONLY | O_CLOEXEC);
        CHECK(file >= 0 && pwrite(file, bytes, size, 0) == (ssize_t)size);
        close(file);
        set_times(source_path, &info);
        pull_and_compare(sender, receiver, 4, bytes, size);
    }
    CHECK_EQUAL(fixture_stats(receiver).corrupt_count, 0);
    unlink(source_path);
    ray_transfer_destroy(receiver);
    ray_transfer_destroy(sender);
    free(bytes);
}

static void checksumsOutliveTheTransferThatMadeThem(void) {
    ray_transfer *sender = begin(false);
    ray_transfer *receiver = begin(false);
    uint8_t *bytes = fixture_bytes(SIZE, 5, false);
    serve(5, bytes, SIZE);
    wait_settled(source_path);
    ray_object_id id = fixture_id(5);
    uint64_t sums[4];
    uint64_t identity;
    uint32_t count;
    CHECK_STATUS(ray_transfer_file_sums_read(sender, &id, source_path, &identity, sums, 4, &count), RAY_NOT_FOUND);
    pull_and_compare(sender, receiver, 5, bytes, SIZE);
    wait_told(1);
    CHECK_STATUS(ray_transfer_file_sums_read(sender, &id, source_path, &identity, sums, 2, &count), RAY_INVALID_ARGUMENT);
    CHECK_EQUAL(count, 3);
    CHECK_OK(ray_transfer_file_sums_read(sender, &id, source_path, &identity, sums, 4, &count));
    CHECK_EQUAL(count, 3);
    CHECK(sums[0] == ray__checksum_of(bytes, RAY_CHUNK_SIZE) && sums[2] == ray__checksum_of(bytes + 8 * MIB, MIB + 5));
    ray_transfer_destroy(sender);
    uint64_t now;
    CHECK_OK(ray_file_identity(source_path, &now));
    CHECK(now == identity);
    // Another object of the same file.
    sender = begin(true);
    table.count = 0;
    fixture_add_file(&table, 6, source_path);
    id = fixture_id(6);
    CHECK_STATUS(ray_transfer_file_sums_give(sender, &id, source_path, sums, 2), RAY_INVALID_ARGUMENT);
    CHECK_OK(ray_transfer_file_sums_give(sender, &id, source_path, sums, count));
    CHECK_OK(ray_transfer_sum_ahead(sender, &id, source_path)); // finds nothing to do
    fixture_await_hashed(sender, 0);
    pull_and_compare(sender, receiver, 6, bytes, SIZE);
    CHECK_EQUAL(hashed(sender), 0);
    CHECK_EQUAL(atomic_load(&told_count), 0);
    // With a change they are void.
    struct stat info;
    CHECK(stat(source_path, &info) == 0);
    bytes[0] ^= 1;
    fixture_write_file(source_path, bytes, SIZE);
    set_times(source_path, &info);
    wait_settled(source_path);
    CHECK_OK(ray_file_identity(source_path, &now));
    CHECK(now != identity);
    pull_and_compare(sender, receiver, 6, bytes, SIZE);
    CHECK_EQUAL(hashed(sender), SIZE);
    unlink(source_path);
    ray_transfer_destroy(receiver);
    ray_transfer_destroy(sender);
    free(bytes);
}

// A receiver gives what it has pulled another name, time and mode before it serves it, as a node does.
static void whatWasVerifiedOnItsWayInIsNotHashedOnItsWayOut(void) {
    ray_transfer *a = begin(false);
    ray_transfer *b = begin(true);
    ray_transfer *c = begin(false);
    uint8_t *bytes = fixture_bytes(SIZE, 7, false);
    char placed_path[128];
    fixture_path(placed_path, "placed");
    for (int moved = 0; moved < 2; moved++) {
        serve(7, bytes, SIZE);
        uint64_t before = hashed(b);
        fixture_pull p;
        CHECK_OK(fixture_pull_now(&p, b, 7, ray_transfer_port(a), target_path, NULL));
        CHECK(rename(target_path, placed_path) == 0 && chmod(placed_path, 0400) == 0);
        struct timespec times[2] = {{.tv_sec = 1000}, {.tv_sec = 1000}};
        CHECK(utimensat(AT_FDCWD, placed_path, times, 0) == 0);
        ray_object_id id = fixture_id(7);
        if (moved) {
            CHECK_OK(ray_transfer_file_placed(b, &id, placed_path));
        }
        table.count = 0;
        fixture_add_file(&table, 7, placed_path);
        pull_and_compare(b, c, 7, bytes, SIZE);
        CHECK_EQUAL(hashed(b) - before, moved ? 0 : SIZE);
        unlink(placed_path);
        unlink(source_path);
        ray_transfer_forget(b, &id);
    }
    ray_transfer_destroy(c);
    ray_transfer_destroy(b);
    ray_transfer_destroy(a);
    free(bytes);
}

static ray_status find_named(void *context, const char *name, const char *peer, ray_answer *answer) {
    CHECK(peer != NULL);
    return ray_answer_beneath(answer, *(int *)context, name);
}

static void aFileServedByNameIsHashedOnce(void) {
    int directory = open(fixture_directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    CHECK(directory >= 0);
    ray_transfer_options options = {
        .struct_size = sizeof options, .key = fixture_key, .bind_host = "127.0.0.1", .find_named = find_named, .context = &directory};
    ray_transfer *sender = NULL;
    CHECK_OK(ray_transfer_create(&options, &sender));
    ray_transfer *receiver = begin(false);
    uint8_t *bytes = fixture_bytes(SIZE, 8, false);
    fixture_write_file(source_path, bytes, SIZE);
    wait_settled(source_path);
    ray_endpoint endpoint = {.host = "127.0.0.1", .port = ray_transfer_port(sender)};
    for (int i = 0; i < 3; i++) {
        fixture_pull p;
        fixture_pull_init(&p, target_path);
        ray_pull_options named = {.struct_size = sizeof named, .name = "source"};
        CHECK_OK(ray_pull_start(receiver, NULL, &endpoint, 1, &named, &fixture_callbacks, &p, &p.handle));
        CHECK_OK(fixture_finish(&p));
        CHECK(fixture_file_is(target_path, bytes, SIZE));
        unlink(target_path);
    }
    CHECK_EQUAL(hashed(sender), SIZE);
    unlink(source_path);
    ray_transfer_destroy(receiver);
    ray_transfer_destroy(sender);
    close(directory);
    free(bytes);
}

// ---- the way of the bytes ------------------------------------------------------------------------------------------------------

static void rawChunksOfAFileLeaveWithoutACopyAndPackedOnesCannot(void) {
    ray_transfer *sender = begin(false);
    ray_transfer *receiver = begin(false);
    uint8_t *bytes = fixture_bytes(SIZE, 9, false);
    serve(9, bytes, SIZE);
    pull_and_compare(sender, receiver, 9, bytes, SIZE);
    fixture_await_sent(sender, SIZE);
    CHECK_EQUAL(fixture_stats(sender).sendfile_bytes, SIZE);
    free(bytes);
    bytes = fixture_bytes(SIZE, 10, true);
    serve(10, bytes, SIZE);
    fixture_pull p;
    ray_pull_options packed = {.codec = RAY_CODEC_LZ4};
    CHECK_OK(fixture_pull_now(&p, receiver, 10, ray_transfer_port(sender), target_path, &packed));
    CHECK(fixture_file_is(target_path, bytes, SIZE));
    unlink(target_path);
    fixture_await_sent(sender, 2 * SIZE);
    CHECK_EQUAL(fixture_stats(sender).sendfile_bytes, SIZE);
    unlink(source_path);
    ray_transfer_destroy(receiver);
    ray_transfer_destroy(sender);
    free(bytes);
}

// How many descriptors of this process lead to files without a name.
static uint32_t nameless_count(void) {
    DIR *directory = opendir("/proc/self/fd");
    CHECK(directory != NULL);
    uint32_t count = 0;
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        char target[256];
        ssize_t size = readlinkat(dirfd(directory), entry->d_name, target, sizeof target - 1);
        target[size > 0 ? size : 0] = 0;
        count += strncmp(target, fixture_directory, strlen(fixture_directory)) == 0 && strstr(target, " (deleted)") != NULL;
    }
    closedir(directory);
    return count;
}

// A file without a name keeps its blocks for as long as it is open.
static void aFileThatIsRemovedWhileItIsHashedGivesItsRoomBackAtOnce(void) {
    ray_transfer *sender = begin(true);
    uint64_t size = 256 * MIB;
    ray_object_id id = fixture_id(9);
    for (int i = 0; i < 5; i++) {
        int file = open(source_path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        CHECK(file >= 0 && posix_fallocate(file, 0, (off_t)size) == 0 && close(file) == 0);
        uint64_t before = fixture_stats(sender).ahead_bytes;
        CHECK_OK(ray_transfer_sum_ahead(sender, &id, source_path));
        uint64_t deadline = ray__now_ns() + FIXTURE_DEADLINE_NS;
        while (fixture_stats(sender).ahead_bytes == before) {
            CHECK(ray__now_ns() < deadline);
            usleep(100);
        }
        unlink(source_path);
        ray_transfer_forget(sender, &id);
        CHECK_EQUAL(nameless_count(), 0);
        CHECK(fixture_stats(sender).ahead_bytes < before + size); // else it was closed before
    }
    ray_transfer_destroy(sender);
}

int main(void) {
    fixture_make_directory();
    fixture_path(source_path, "source");
    fixture_path(target_path, "target");
    RUN(aFileIsHashedAheadAndNotWhenItIsSent);
    RUN(aSecondPullHashesNothing);
    RUN(ofAFileThatNobodyWritesToTheFirstChecksumsCount);
    RUN(aChangedFileIsHashedAnewThoughItsTimeWasSetBack);
    RUN(whatWasHashedInTheMomentOfAChangeIsNotBelieved);
    RUN(checksumsOutliveTheTransferThatMadeThem);
    RUN(whatWasVerifiedOnItsWayInIsNotHashedOnItsWayOut);
    RUN(aFileServedByNameIsHashedOnce);
    RUN(rawChunksOfAFileLeaveWithoutACopyAndPackedOnesCannot);
    RUN(aFileThatIsRemovedWhileItIsHashedGivesItsRoomBackAtOnce);
    fixture_remove_directory();
    return 0;
}
