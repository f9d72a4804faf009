// SPDX-License-Identifier: Apache-2.0
// Objects that are sent from where they were spilled: whole, in part, and from files that somebody cut, altered or took away.
#include <sys/stat.h>

#include "raystore/spill.h"
#include "transfer_fixture.h"

enum { LARGE, SMALL, EMPTY, OTHER, COUNT };
#define LARGE_SIZE (10 * MIB + 12345)
#define OTHER_SIZE (6 * MIB)

// A file of four records, and how it is told.
static struct {
    char path[128];
    uint8_t *data[COUNT];
    char metadata[COUNT][64];
    ray_spill_object objects[COUNT];
    uint64_t sums[COUNT][8];
} file;

static bool is_without_sums;
// What the sender was told of damage, the latest.
static struct {
    pthread_mutex_t lock;
    uint32_t count;
    ray_object_id id;
    uint64_t data_offset;
    ray_status status;
    char message[512];
} told = {.lock = PTHREAD_MUTEX_INITIALIZER};
static ray_transfer *sender;
static ray_transfer *receiver;
static ray_store *store;

static uint64_t data_offset(int which) {
    const ray_spill_object *object = &file.objects[which];
    return object->offset + RAY_SPILL_HEADER_SIZE + object->owner_size + object->metadata_size;
}

static ray_status find(void *context, const ray_object_id *id, ray_answer *answer) {
    (void)context;
    for (int i = 0; i < COUNT; i++) {
        ray_object_id known = fixture_id((uint32_t)i);
        if (ray_object_id_equal(&known, id)) {
            const ray_spill_object *object = &file.objects[i];
            ray_spilled spilled = {.struct_size = sizeof spilled, .path = file.path, .offset = object->offset,
                                   .owner_size = object->owner_size, .metadata_size = object->metadata_size,
                                   .data_size = object->data_size, .metadata_checksum = object->metadata_checksum,
                                   .sums = is_without_sums ? NULL : file.sums[i]};
            ray_answer_spilled(answer, &spilled);
            return RAY_OK;
        }
    }
    return RAY_NOT_FOUND;
}

static void note_damage(void *context, const ray_object_id *id, const char *path, uint64_t offset, ray_status status, const char *message) {
    CHECK(context == &told);
    CHECK(strcmp(path, file.path) == 0);
    pthread_mutex_lock(&told.lock);
    told.count++;
    told.id = *id;
    told.data_offset = offset;
    told.status = status;
    snprintf(told.message, sizeof told.message, "%s", message);
    pthread_mutex_unlock(&told.lock);
}

// Since the last look, of this object and no other.
static void check_told(int which, ray_status status, const char *receivers_message) {
    pthread_mutex_lock(&told.lock);
    ray_object_id id = fixture_id((uint32_t)which);
    CHECK(told.count > 0);
    CHECK(ray_object_id_equal(&told.id, &id));
    CHECK_EQUAL(told.data_offset, data_offset(which));
    CHECK_EQUAL(told.status, status);
    CHECK(strstr(receivers_message, told.message) != NULL);
    told.count = 0;
    pthread_mutex_unlock(&told.lock);
}

static void spill(void) {
    static const uint64_t sizes[COUNT] = {LARGE_SIZE, 50000, 0, OTHER_SIZE};
    uint8_t headers[COUNT * RAY_SPILL_HEADER_SIZE];
    ray_spill_part parts[COUNT * RAY_SPILL_PARTS];
    for (int i = 0; i < COUNT; i++) {
        free(file.data[i]);
        file.data[i] = fixture_bytes(sizes[i], (uint64_t)i + 1, i != OTHER);
        snprintf(file.metadata[i], sizeof file.metadata[i], "what object %d is", i);
        file.objects[i] = (ray_spill_object){.owner = "an owner", .owner_size = 8, .metadata = file.metadata[i],
                                             .metadata_size = strlen(file.metadata[i]), .data = file.data[i], .data_size = sizes[i],
                                             .sums = file.sums[i]};
        CHECK(ray_spill_sum_count(sizes[i]) <= 8);
    }
    ray_spill_lay(file.objects, COUNT, headers, parts);
    fixture_path(file.path, "spilled");
    unlink(file.path);
    CHECK_OK(ray_spill_write(file.path, parts, COUNT * RAY_SPILL_PARTS, 0, 0));
}

static void begin(uint64_t send_rate) {
    spill();
    ray_transfer_options options = {.struct_size = sizeof options, .key = fixture_key, .bind_host = "127.0.0.1", .find = find,
                                    .send_rate_max_bytes = send_rate, .damaged = note_damage, .context = &told};
    CHECK_OK(ray_transfer_create(&options, &sender));
    store = fixture_store(64 * MIB);
    receiver = fixture_transfer(NULL, store, false);
}

static void end(void) {
    ray_transfer_destroy(receiver);
    ray_transfer_destroy(sender);
    ray_store_close(store);
    unlink(file.path);
}

// What was pulled is in the store, and goes.
static void check_object(int which) {
    ray_object_id id = fixture_id((uint32_t)which);
    const ray_spill_object *object = &file.objects[which];
    ray_object_view view;
    CHECK_OK(ray_object_get(store, &id, 0, &view));
    CHECK_EQUAL(view.data_size, object->data_size);
    CHECK_EQUAL(view.metadata_size, object->metadata_size);
    CHECK(memcmp(view.metadata, object->metadata, object->metadata_size) == 0);
    CHECK(object->data_size == 0 || memcmp(view.data, object->data, object->data_size) == 0);
    ray_object_release(store, &view);
    CHECK_OK(ray_object_delete(store, &id, RAY_OBJECT_FREED));
}

static ray_status pull(fixture_pull *p, int which, ray_pull_options *options) {
    return fixture_pull_now(p, receiver, (uint32_t)which, ray_transfer_port(sender), NULL, options);
}

static ray_status pull_range(fixture_pull *p, int which, uint64_t offset, uint8_t *bytes, uint64_t size, uint32_t chunk_size) {
    uint16_t port = ray_transfer_port(sender);
    ray_pull_options options = {.range_offset = offset, .range_size = size, .chunk_size = chunk_size};
    fixture_pull_init(p, NULL);
    p->memory = bytes;
    p->memory_size = size;
    fixture_start(p, receiver, (uint32_t)which, &port, 1, &options);
    return fixture_finish(p);
}

static void flip(uint64_t offset) {
    int opened = open(file.path, O_RDWR | O_CLOEXEC);
    uint8_t byte;
    CHECK(opened >= 0 && pread(opened, &byte, 1, (off_t)offset) == 1);
    byte ^= 0x10;
    CHECK(pwrite(opened, &byte, 1, (off_t)offset) == 1);
    close(opened);
}

// The path, and a number of a byte.
static void check_names(const fixture_pull *p, uint64_t byte) {
    char text[64];
    snprintf(text, sizeof text, "byte %llu", (unsigned long long)byte);
    if (strstr(p->message, file.path) == NULL || strstr(p->message, text) == NULL) {
        fprintf(stderr, "'%s' does not name %s and %s\n", p->message, file.path, text);
        exit(1);
    }
}

static void whatWasSpilledArrivesAsAnObjectInEveryCodecAndChunkSize(void) {
    begin(0);
    static const uint32_t chunk_sizes[] = {RAY_CHUNK_SIZE_MIN, 1u << 20, RAY_CHUNK_SIZE};
    for (uint16_t codec = RAY_CODEC_AUTO; codec <= RAY_CODEC_ZSTD; codec++) {
        for (size_t c = 0; c < sizeof chunk_sizes / sizeof chunk_sizes[0]; c++) {
            for (int which = 0; which < COUNT; which++) {
                ray_pull_options options = {.codec = codec, .chunk_size = chunk_sizes[c]};
                fixture_pull p;
                CHECK_STATUS(pull(&p, which, &options), RAY_OK);
                CHECK_EQUAL(p.kind, RAY_KIND_OBJECT);
                check_object(which);
            }
        }
    }
    CHECK_EQUAL(fixture_stats(receiver).corrupt_count, 0);
    end();
}

static void ofARangeOnlyItsChunksAreSent(void) {
    begin(0);
    static const uint32_t chunk_sizes[] = {RAY_CHUNK_SIZE_MIN, RAY_CHUNK_SIZE};
    uint8_t *bytes = malloc(LARGE_SIZE);
    CHECK(bytes != NULL);
    // Damage in another block is not noticed, since that is not read.
    flip(data_offset(LARGE) + 3);
    for (size_t c = 0; c < 2; c++) {
        uint64_t before = fixture_stats(receiver).received_bytes;
        fixture_pull p;
        CHECK_STATUS(pull_range(&p, LARGE, 5 * MIB + 7, bytes, 100000, chunk_sizes[c]), RAY_OK);
        CHECK(memcmp(bytes, file.data[LARGE] + 5 * MIB + 7, 100000) == 0);
        CHECK(fixture_stats(receiver).received_bytes - before <= 100000 + 2 * (uint64_t)chunk_sizes[c]);
        // To the very end, in the last block, which is shorter.
        CHECK_STATUS(pull_range(&p, LARGE, LARGE_SIZE - 5000, bytes, 5000, chunk_sizes[c]), RAY_OK);
        CHECK(memcmp(bytes, file.data[LARGE] + LARGE_SIZE - 5000, 5000) == 0);
        // In the damaged block, but not where the damage is: that cannot be told.
        CHECK_STATUS(pull_range(&p, LARGE, 2 * MIB, bytes, 1000, chunk_sizes[c]), RAY_CORRUPT);
        check_names(&p, data_offset(LARGE));
    }
    free(bytes);
    end();
}

static void anAlteredByteIsNoticedAndHarmsNoOtherRecord(void) {
    static const uint32_t chunk_sizes[] = {RAY_CHUNK_SIZE_MIN, RAY_CHUNK_SIZE};
    for (uint16_t codec = RAY_CODEC_AUTO; codec <= RAY_CODEC_ZSTD; codec++) {
        for (size_t c = 0; c < 2; c++) {
            begin(0);
            ray_pull_options options = {.codec = codec, .chunk_size = chunk_sizes[c]};
            fixture_pull p;
            flip(data_offset(LARGE) + 9 * MIB);
            CHECK_STATUS(pull(&p, LARGE, &options), RAY_CORRUPT);
            check_names(&p, data_offset(LARGE) + 8 * MIB);
            CHECK_STATUS(pull(&p, SMALL, &options), RAY_OK);
            check_object(SMALL);
            flip(data_offset(SMALL) + 49999);
            CHECK_STATUS(pull(&p, SMALL, &options), RAY_CORRUPT);
            check_names(&p, data_offset(SMALL));
            CHECK_STATUS(pull(&p, OTHER, &options), RAY_OK);
            check_object(OTHER);
            // What says what the bytes are.
            flip(data_offset(EMPTY) - 1);
            CHECK_STATUS(pull(&p, EMPTY, &options), RAY_CORRUPT);
            check_names(&p, data_offset(EMPTY) - file.objects[EMPTY].metadata_size);
            // Sent rightly once, then altered.
            flip(data_offset(OTHER) + 5 * MIB);
            CHECK_STATUS(pull(&p, OTHER, &options), RAY_CORRUPT);
            check_names(&p, data_offset(OTHER) + 4 * MIB);
            end();
        }
    }
}

// As a disk does that loses a bit: nothing of the file says so. Whoever receives it finds out.
static void aByteThatChangedWithoutATraceIsNotBelieved(void) {
    begin(0);
    fixture_pull p;
    CHECK_STATUS(pull(&p, LARGE, NULL), RAY_OK);
    check_object(LARGE);
    struct stat info;
    CHECK(stat(file.path, &info) == 0);
    flip(data_offset(LARGE) + 100);
    struct timespec times[2] = {info.st_atim, info.st_mtim};
    CHECK(utimensat(AT_FDCWD, file.path, times, 0) == 0);
    CHECK_STATUS(pull(&p, LARGE, NULL), RAY_CORRUPT);
    fixture_await_sent(sender, LARGE_SIZE + 1);
    end();
}

// Nor are blocks that a disk gives back empty.
static void zerosInsteadOfDataAreNotBelieved(void) {
    begin(0);
    uint8_t *zeros = calloc(4, MIB);
    int opened = open(file.path, O_RDWR | O_CLOEXEC);
    CHECK(zeros != NULL && opened >= 0 && pwrite(opened, zeros, 4 * MIB, (off_t)(data_offset(LARGE) + 4 * MIB)) == (ssize_t)(4 * MIB));
    close(opened);
    free(zeros);
    static const uint32_t chunk_sizes[] = {RAY_CHUNK_SIZE_MIN, RAY_CHUNK_SIZE};
    for (size_t c = 0; c < 2; c++) {
        ray_pull_options options = {.chunk_size = chunk_sizes[c]};
        fixture_pull p;
        CHECK_STATUS(pull(&p, LARGE, &options), RAY_CORRUPT);
        check_names(&p, data_offset(LARGE) + 4 * MIB);
    }
    end();
}

static void aFileThatWasCutOrTakenAwayIsToldAtOnce(void) {
    begin(0);
    fixture_pull p;
    uint64_t cut = data_offset(OTHER) + OTHER_SIZE - 1;
    CHECK(truncate(file.path, (off_t)cut) == 0);
    CHECK_STATUS(pull(&p, OTHER, NULL), RAY_CORRUPT);
    check_names(&p, cut);
    check_names(&p, data_offset(OTHER));
    CHECK_STATUS(pull(&p, LARGE, NULL), RAY_OK);
    check_object(LARGE);
    CHECK(unlink(file.path) == 0);
    CHECK_STATUS(pull(&p, LARGE, NULL), RAY_OBJECT_LOST);
    check_names(&p, data_offset(LARGE));
    CHECK(symlink("/etc/passwd", file.path) == 0);
    CHECK_STATUS(pull(&p, LARGE, NULL), RAY_SYSTEM);
    end();
}

static void aFileThatIsCutWhileItIsSentIsAnErrorThatNamesIt(void) {
    static const uint16_t codecs[] = {RAY_CODEC_NONE, RAY_CODEC_LZ4};
    for (size_t c = 0; c < 2; c++) {
        begin(8 * MIB);
        fixture_pull p;
        fixture_pull_init(&p, NULL);
        uint16_t port = ray_transfer_port(sender);
        ray_pull_options options = {.codec = codecs[c], .chunk_size = RAY_CHUNK_SIZE_MIN};
        fixture_start(&p, receiver, OTHER, &port, 1, &options);
        fixture_wait_bytes(&p, MIB);
        CHECK(truncate(file.path, (off_t)(data_offset(OTHER) + OTHER_SIZE - 100)) == 0);
        CHECK_STATUS(fixture_finish(&p), RAY_CORRUPT);
        check_names(&p, data_offset(OTHER));
        end();
    }
}

static void whatIsDamagedHereIsFetchedFromAnother(void) {
    begin(0);
    ray_store *other_store = fixture_store(64 * MIB);
    ray_transfer *other = fixture_transfer(NULL, other_store, true);
    ray_object_id id = fixture_id(LARGE);
    CHECK_OK(ray_object_put(other_store, &id, file.data[LARGE], LARGE_SIZE, file.metadata[LARGE], (uint32_t)file.objects[LARGE].metadata_size, 0));
    flip(data_offset(LARGE) + 100);
    for (int i = 0; i < 10; i++) {
        fixture_pull p;
        uint16_t ports[2] = {ray_transfer_port(sender), ray_transfer_port(other)};
        fixture_pull_init(&p, NULL);
        fixture_start(&p, receiver, LARGE, ports, 2, NULL);
        CHECK_STATUS(fixture_finish(&p), RAY_OK);
        check_object(LARGE);
    }
    ray_transfer_destroy(other);
    ray_store_close(other_store);
    end();
}

// With a chunk, with the card, and before either.
static void theNodeIsToldWhatIsDamaged(void) {
    begin(0);
    told.count = 0;
    fixture_pull p;
    CHECK_STATUS(pull(&p, LARGE, NULL), RAY_OK);
    check_object(LARGE);
    CHECK_EQUAL(told.count, 0);
    flip(data_offset(LARGE) + 9 * MIB);
    CHECK_STATUS(pull(&p, LARGE, NULL), RAY_CORRUPT);
    check_told(LARGE, RAY_CORRUPT, p.message);
    flip(data_offset(SMALL) + 1);
    CHECK_STATUS(pull(&p, SMALL, NULL), RAY_CORRUPT);
    check_told(SMALL, RAY_CORRUPT, p.message);
    flip(data_offset(EMPTY) - 1);
    CHECK_STATUS(pull(&p, EMPTY, NULL), RAY_CORRUPT);
    check_told(EMPTY, RAY_CORRUPT, p.message);
    CHECK_STATUS(pull(&p, OTHER, NULL), RAY_OK);
    check_object(OTHER);
    CHECK_EQUAL(told.count, 0);
    CHECK(unlink(file.path) == 0);
    CHECK_STATUS(pull(&p, OTHER, NULL), RAY_OBJECT_LOST);
    check_told(OTHER, RAY_OBJECT_LOST, p.message);
    end();
}

static void whatHasNoSumsIsNotSent(void) {
    begin(0);
    is_without_sums = true;
    fixture_pull p;
    CHECK_STATUS(pull(&p, SMALL, NULL), RAY_INVALID_ARGUMENT);
    CHECK(strstr(p.message, "restored before") != NULL);
    CHECK_STATUS(pull(&p, EMPTY, NULL), RAY_OK);
    check_object(EMPTY);
    is_without_sums = false;
    end();
}

int main(void) {
    fixture_make_directory();
    RUN(whatWasSpilledArrivesAsAnObjectInEveryCodecAndChunkSize);
    RUN(ofARangeOnlyItsChunksAreSent);
    RUN(anAlteredByteIsNoticedAndHarmsNoOtherRecord);
    RUN(aByteThatChangedWithoutATraceIsNotBelieved);
    RUN(zerosInsteadOfDataAreNotBelieved);
    RUN(aFileThatWasCutOrTakenAwayIsToldAtOnce);
    RUN(aFileThatIsCutWhileItIsSentIsAnErrorThatNamesIt);
    RUN(whatIsDamagedHereIsFetchedFromAnother);
    RUN(theNodeIsToldWhatIsDamaged);
    RUN(whatHasNoSumsIsNotSent);
    for (int i = 0; i < COUNT; i++) {
        free(file.data[i]);
    }
    fixture_remove_directory();
    return 0;
}
