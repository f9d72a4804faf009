// SPDX-License-Identifier: Apache-2.0
// Objects laid down as records in a file, and read back; and files that somebody cut, took away, or that have no room.
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include "check.h"
#include "raystore.h"

enum { OBJECT_COUNT = 300 };

static char directory[256];

// In the place of the C library's, to see how often write-back is begun.
static struct {
    uint32_t count;
    int64_t from;
    int64_t to;
} begun;

int sync_file_range(int file, off64_t from, off64_t size, unsigned int flags);
int sync_file_range(int file, off64_t from, off64_t size, unsigned int flags) {
    (void)file;
    CHECK_EQUAL(flags, SYNC_FILE_RANGE_WRITE);
    begun.from = begun.count == 0 ? from : begun.from;
    CHECK(begun.count == 0 || from == begun.to || (from == 0 && size == 0)); // the last is all of the file
    begun.to = from + size;
    begun.count++;
    return 0;
}

static const char *path_of(const char *name) {
    static char path[300];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    return path;
}

static uint64_t u64_at(const uint8_t *bytes) {
    uint64_t value = 0;
    for (int i = 7; i >= 0; i--) {
        value = value << 8 | bytes[i];
    }
    return value;
}

// Sizes from nothing to some hundred KiB; what lies in each is known from its number.
static void fill(ray_spill_object *object, uint32_t number) {
    static uint8_t bytes[1 << 20];
    if (bytes[1] == 0) {
        for (uint32_t i = 0; i < sizeof bytes; i++) {
            bytes[i] = (uint8_t)(i * 2654435761u >> 13 | 1);
        }
    }
    *object = (ray_spill_object){.owner = bytes + number,
                                 .owner_size = number % 7,
                                 .metadata = bytes + 2 * number,
                                 .metadata_size = number % 5 * 9,
                                 .data = bytes + 3 * number,
                                 .data_size = number % 11 == 0 ? 0 : (uint64_t)number * 977 % 300000};
}

static void read_one(const char *path, const ray_spill_object *object, uint8_t *into) {
    ray_spill_part part = {into, (size_t)object->size};
    CHECK_OK(ray_spill_read(path, object->offset, &part, 1));
}

static void what_is_laid_down_is_found_again_by_offset_and_size_alone(void) {
    static ray_spill_object objects[OBJECT_COUNT];
    static uint8_t headers[OBJECT_COUNT * RAY_SPILL_HEADER_SIZE];
    static ray_spill_part parts[OBJECT_COUNT * RAY_SPILL_PARTS];
    for (uint32_t i = 0; i < OBJECT_COUNT; i++) {
        fill(&objects[i], i);
    }
    ray_spill_lay(objects, OBJECT_COUNT, headers, parts);
    const char *path = path_of("records");
    CHECK_OK(ray_spill_write(path, parts, OBJECT_COUNT * RAY_SPILL_PARTS, 0, RAY_SPILL_SYNC));
    uint64_t end = 0;
    for (uint32_t i = 0; i < OBJECT_COUNT; i++) {
        const ray_spill_object *object = &objects[i];
        CHECK_EQUAL(object->offset, end);
        end += object->size;
        uint8_t *record = malloc((size_t)object->size);
        CHECK(record != NULL);
        read_one(path, object, record);
        CHECK_EQUAL(u64_at(record), object->owner_size);
        CHECK_EQUAL(u64_at(record + 8), object->metadata_size);
        CHECK_EQUAL(u64_at(record + 16), object->data_size);
        ray_spill_lengths lengths;
        CHECK_OK(ray_spill_lengths_read(record, object->size, &lengths));
        const uint8_t *owner = record + RAY_SPILL_HEADER_SIZE;
        CHECK(memcmp(owner, object->owner, lengths.owner_size) == 0);
        CHECK(memcmp(owner + lengths.owner_size, object->metadata, lengths.metadata_size) == 0);
        const uint8_t *data = owner + lengths.owner_size + lengths.metadata_size;
        CHECK(memcmp(data, object->data, lengths.data_size) == 0);
        CHECK(ray_spill_matches(data, lengths.data_size, object->checksum));
        CHECK(ray_spill_matches(owner + lengths.owner_size, lengths.metadata_size, object->metadata_checksum));
        if (lengths.data_size > 0) {
            record[object->size - 1] ^= 1;
            CHECK(!ray_spill_matches(data, lengths.data_size, object->checksum));
        }
        free(record);
    }
    struct stat info;
    CHECK_EQUAL(stat(path, &info), 0);
    CHECK_EQUAL((uint64_t)info.st_size, end);
    CHECK_EQUAL(info.st_mode & 0777, 0600);
    CHECK_EQUAL(unlink(path), 0);
}

// More than the kernel is given at once, in pieces that end anywhere; both ways of coming to the disk.
static void large_parts_arrive_whole_and_are_written_back(void) {
    enum { SIZE = 21000003 };
    uint8_t *bytes = malloc(SIZE);
    uint8_t *back = malloc(SIZE);
    CHECK(bytes != NULL && back != NULL);
    for (uint32_t i = 0; i < SIZE; i++) {
        bytes[i] = (uint8_t)(i * 2654435761u >> 11);
    }
    ray_spill_part parts[] = {{bytes, 5}, {NULL, 0}, {bytes + 5, 12000000}, {bytes + 12000005, 1}, {bytes + 12000006, SIZE - 12000006}};
    for (uint32_t flags = 0; flags <= RAY_SPILL_SYNC; flags += RAY_SPILL_SYNC) {
        const char *path = path_of("large");
        CHECK_OK(ray_spill_write(path, parts, sizeof parts / sizeof *parts, 0, flags));
        ray_spill_write_back(path);
        memset(back, 0, SIZE);
        ray_spill_part whole = {back, SIZE};
        CHECK_OK(ray_spill_read(path, 0, &whole, 1));
        CHECK(memcmp(bytes, back, SIZE) == 0);
        struct stat info;
        CHECK_EQUAL(stat(path, &info), 0);
        CHECK_EQUAL(info.st_size, SIZE);
        CHECK_EQUAL(unlink(path), 0);
        // Nothing comes of it when the file has gone meanwhile.
        ray_spill_write_back(path);
        CHECK_EQUAL(access(path, F_OK), -1);
    }
    free(bytes);
    free(back);
}

// A call takes 256 parts, which may be much less than the disk should be given at once.
static void small_parts_are_written_back_in_large_pieces(void) {
    enum { PART = 512, PARTS = 40000 };
    uint8_t *bytes = calloc(1, PART);
    ray_spill_part *parts = calloc(PARTS, sizeof *parts);
    CHECK(bytes != NULL && parts != NULL);
    for (uint32_t i = 0; i < PARTS; i++) {
        parts[i] = (ray_spill_part){bytes, PART};
    }
    const char *path = path_of("small");
    memset(&begun, 0, sizeof begun);
    CHECK_OK(ray_spill_write(path, parts, PARTS, 0, RAY_SPILL_SYNC));
    CHECK_EQUAL(unlink(path), 0);
    CHECK_EQUAL(begun.count, 2); // of 19.5 MiB
    CHECK_EQUAL(begun.from, 0);
    CHECK(begun.to >= 16 << 20);
    memset(&begun, 0, sizeof begun);
    CHECK_OK(ray_spill_write(path, parts, PARTS, 0, 0));
    CHECK_EQUAL(unlink(path), 0);
    CHECK_EQUAL(begun.count, 0);
    free(parts);
    free(bytes);
}

static void parts_without_memory_are_refused(void) {
    char some[10] = "some bytes";
    ray_spill_part parts[] = {{NULL, 0}, {some, 4}, {NULL, 6}, {some, 1}};
    const char *path = path_of("none");
    CHECK_STATUS(ray_spill_write(path, parts, 4, 0, 0), RAY_INVALID_ARGUMENT);
    CHECK_EQUAL(access(path, F_OK), -1);
    ray_spill_part whole = {some, sizeof some};
    CHECK_OK(ray_spill_write(path, &whole, 1, 0, 0));
    CHECK_STATUS(ray_spill_read(path, 0, parts, 4), RAY_INVALID_ARGUMENT);
    CHECK_STATUS(ray_spill_read(path, 0, parts + 2, 1), RAY_INVALID_ARGUMENT);
    ray_spill_part rest[] = {{NULL, 0}, {some, 4}, {NULL, 0}, {NULL, 0}};
    CHECK_OK(ray_spill_read(path, 6, rest, 4));
    CHECK_OK(ray_spill_read(path, 0, rest, 1));
    CHECK_EQUAL(unlink(path), 0);
}

// Small ones, empty ones and one that is read in many pieces, each into its own places; what was altered has another sum.
static void records_are_read_into_their_places_and_summed_up_on_the_way(void) {
    enum { LARGE = 12345677 };
    static ray_spill_object objects[OBJECT_COUNT];
    static uint8_t headers[OBJECT_COUNT * RAY_SPILL_HEADER_SIZE];
    static ray_spill_part parts[OBJECT_COUNT * RAY_SPILL_PARTS];
    static ray_spill_part places[OBJECT_COUNT * RAY_SPILL_READ_PARTS];
    static uint64_t checksums[OBJECT_COUNT];
    uint8_t *large = malloc(LARGE);
    CHECK(large != NULL);
    for (uint32_t i = 0; i < LARGE; i++) {
        large[i] = (uint8_t)(i * 2654435761u >> 15);
    }
    for (uint32_t i = 0; i < OBJECT_COUNT; i++) {
        fill(&objects[i], i);
    }
    objects[7].data = large;
    objects[7].data_size = LARGE;
    objects[OBJECT_COUNT - 1].data_size = 0;
    ray_spill_lay(objects, OBJECT_COUNT, headers, parts);
    const char *path = path_of("places");
    CHECK_OK(ray_spill_write(path, parts, OBJECT_COUNT * RAY_SPILL_PARTS, 0, 0));
    for (uint32_t i = 0; i < OBJECT_COUNT; i++) {
        size_t sizes[RAY_SPILL_READ_PARTS] = {(size_t)(RAY_SPILL_HEADER_SIZE + objects[i].owner_size), (size_t)objects[i].metadata_size,
                                              (size_t)objects[i].data_size};
        for (uint32_t j = 0; j < RAY_SPILL_READ_PARTS; j++) {
            places[i * RAY_SPILL_READ_PARTS + j] = (ray_spill_part){sizes[j] == 0 ? NULL : malloc(sizes[j]), sizes[j]};
        }
    }
    CHECK_OK(ray_spill_read_records(path, 0, places, OBJECT_COUNT, checksums));
    for (uint32_t i = 0; i < OBJECT_COUNT; i++) {
        const ray_spill_part *place = &places[i * RAY_SPILL_READ_PARTS];
        CHECK_EQUAL(checksums[i], objects[i].checksum);
        CHECK(place[1].size == 0 || memcmp(place[1].bytes, objects[i].metadata, place[1].size) == 0);
        CHECK(place[2].size == 0 || memcmp(place[2].bytes, objects[i].data, place[2].size) == 0);
    }
    int file = open(path, O_WRONLY | O_CLOEXEC);
    CHECK_EQUAL(pwrite(file, "altered", 7, (off_t)(objects[7].offset + objects[7].size - 5000007)), 7);
    CHECK_OK(ray_spill_read_records(path, objects[6].offset, &places[6 * RAY_SPILL_READ_PARTS], 3, checksums));
    CHECK_EQUAL(checksums[0], objects[6].checksum);
    CHECK(checksums[1] != objects[7].checksum);
    CHECK_EQUAL(checksums[2], objects[8].checksum);
    CHECK_EQUAL(ftruncate(file, (off_t)(objects[8].offset + objects[8].size - 1)), 0);
    CHECK_STATUS(ray_spill_read_records(path, objects[6].offset, &places[6 * RAY_SPILL_READ_PARTS], 3, checksums), RAY_CORRUPT);
    close(file);
    CHECK_EQUAL(unlink(path), 0);
    for (uint32_t i = 0; i < OBJECT_COUNT * RAY_SPILL_READ_PARTS; i++) {
        free(places[i].bytes);
    }
    free(large);
}

static void lengths_that_do_not_add_up_are_refused(void) {
    uint8_t header[RAY_SPILL_HEADER_SIZE] = {0};
    ray_spill_lengths lengths;
    CHECK_OK(ray_spill_lengths_read(header, RAY_SPILL_HEADER_SIZE, &lengths));
    CHECK_EQUAL(ray_spill_lengths_read(header, RAY_SPILL_HEADER_SIZE - 1, &lengths), RAY_CORRUPT);
    CHECK_EQUAL(ray_spill_lengths_read(header, RAY_SPILL_HEADER_SIZE + 1, &lengths), RAY_CORRUPT);
    memset(header, 0xff, sizeof header); // their sum, taken carelessly, is a small number
    CHECK_EQUAL(ray_spill_lengths_read(header, RAY_SPILL_HEADER_SIZE + 100, &lengths), RAY_CORRUPT);
    CHECK_EQUAL(ray_spill_lengths_read(header, UINT64_MAX, &lengths), RAY_CORRUPT);
}

static void a_name_says_the_first_object_and_how_many(void) {
    ray_object_id id;
    memset(&id, 0xab, sizeof id);
    char name[RAY_SPILL_NAME_SIZE];
    ray_spill_name(&id, 2000, name);
    CHECK_EQUAL(strlen(name), 56 + strlen("-multi-2000"));
    CHECK(strncmp(name, "abababab", 8) == 0);
    CHECK(strcmp(name + 56, "-multi-2000") == 0);
}

static void a_file_that_was_cut_or_taken_away_is_told_at_once(void) {
    const char *path = path_of("cut");
    uint8_t bytes[1000] = {1, 2, 3};
    ray_spill_part part = {bytes, sizeof bytes};
    CHECK_OK(ray_spill_write(path, &part, 1, 0, 0));
    CHECK_EQUAL(ray_spill_write(path, &part, 1, 0, 0), RAY_EXISTS);
    CHECK_EQUAL(truncate(path, 600), 0);
    ray_spill_part late = {bytes, 100};
    CHECK_OK(ray_spill_read(path, 500, &late, 1));
    CHECK_EQUAL(ray_spill_read(path, 501, &late, 1), RAY_CORRUPT);
    CHECK(strstr(ray_last_error_message(), path) != NULL);
    CHECK(strstr(ray_last_error_message(), "byte 600") != NULL);
    CHECK_EQUAL(unlink(path), 0);
    CHECK_EQUAL(ray_spill_read(path, 0, &late, 1), RAY_FILE_NOT_FOUND);
    CHECK_EQUAL(symlink("/etc/passwd", path), 0); // what somebody else put there is not followed
    CHECK_EQUAL(ray_spill_read(path, 0, &late, 1), RAY_SYSTEM);
    CHECK_EQUAL(unlink(path), 0);
}

static void a_full_disk_is_an_error_that_leaves_no_file(void) {
    if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
        mount("none", directory, "tmpfs", 0, "size=1m") != 0) {
        SKIP("a small file system cannot be mounted here");
    }
    size_t size = 4 << 20;
    uint8_t *bytes = calloc(1, size);
    CHECK(bytes != NULL);
    ray_spill_part part = {bytes, size};
    const char *path = path_of("large");
    CHECK_EQUAL(ray_spill_write(path, &part, 1, 0, 0), RAY_OUT_OF_DISK);
    CHECK(strstr(ray_last_error_message(), "4194304") != NULL);
    CHECK_EQUAL(access(path, F_OK), -1);
    part.size = 512 << 10;
    CHECK_EQUAL(ray_spill_write(path, &part, 1, 1 << 20, 0), RAY_OUT_OF_DISK); // a reserve of 1 MiB would not stay
    CHECK_EQUAL(access(path, F_OK), -1);
    CHECK_OK(ray_spill_write(path, &part, 1, 256 << 10, 0));
    CHECK_EQUAL(unlink(path), 0);
    free(bytes);
    CHECK_EQUAL(umount(directory), 0);
}

int main(void) {
    snprintf(directory, sizeof directory, "%s/raystore-spill-test-XXXXXX", check_folder());
    CHECK(mkdtemp(directory) != NULL);
    RUN(what_is_laid_down_is_found_again_by_offset_and_size_alone);
    RUN(large_parts_arrive_whole_and_are_written_back);
    RUN(small_parts_are_written_back_in_large_pieces);
    RUN(parts_without_memory_are_refused);
    RUN(records_are_read_into_their_places_and_summed_up_on_the_way);
    RUN(lengths_that_do_not_add_up_are_refused);
    RUN(a_name_says_the_first_object_and_how_many);
    RUN(a_file_that_was_cut_or_taken_away_is_told_at_once);
    RUN(a_full_disk_is_an_error_that_leaves_no_file);
    CHECK_EQUAL(rmdir(directory), 0);
    return 0;
}
