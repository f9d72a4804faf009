// SPDX-License-Identifier: Apache-2.0
// What is read for each chunk, from places that are slow, or fail, or say that what is there is wrong.
#include "transfer_fixture.h"

enum { LARGE, SMALL, EMPTY, FILE_OBJECT, COUNT };
#define LARGE_SIZE (10 * MIB + 12345)
#define ORDINARY 77u // an object in the sender's store

static const uint64_t sizes[COUNT] = {LARGE_SIZE, 50000, 0, 5 * MIB + 1};
static uint8_t *data[COUNT];

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool is_stuck;
    uint32_t reading;    // now
    uint32_t read_count;
    uint64_t read_bytes;
    uint32_t open_count; // answers that are not released
    uint64_t bad_from;   // bytes that cannot be read from here on
} place = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER, .bad_from = UINT64_MAX};

static ray_transfer *sender;
static ray_transfer *receiver;
static ray_store *store;
static ray_store *senders_store;

static ray_status read_some(void *context, uint64_t offset, void *bytes, size_t size, char *message, size_t message_capacity) {
    int which = (int)(uintptr_t)context;
    pthread_mutex_lock(&place.lock);
    place.reading++;
    place.read_count++;
    place.read_bytes += size;
    pthread_cond_broadcast(&place.changed);
    while (place.is_stuck) {
        pthread_cond_wait(&place.changed, &place.lock);
    }
    place.reading--;
    bool is_bad = offset + size > place.bad_from;
    pthread_mutex_unlock(&place.lock);
    CHECK(offset + size <= sizes[which]);
    if (is_bad) {
        snprintf(message, message_capacity, "the place of object %d is damaged at byte %llu", which, (unsigned long long)offset);
        return RAY_CORRUPT;
    }
    memcpy(bytes, data[which] + offset, size);
    return RAY_OK;
}

static void release(void *context) {
    CHECK((uintptr_t)context < COUNT);
    pthread_mutex_lock(&place.lock);
    place.open_count--;
    pthread_mutex_unlock(&place.lock);
}

static ray_status find(void *context, const ray_object_id *id, ray_answer *answer) {
    (void)context;
    for (int i = 0; i < COUNT; i++) {
        ray_object_id known = fixture_id((uint32_t)i);
        if (ray_object_id_equal(&known, id)) {
            bool is_file = i == FILE_OBJECT;
            ray_source source = {.struct_size = sizeof source, .kind = is_file ? RAY_KIND_FILE : RAY_KIND_OBJECT, .size_bytes = sizes[i],
                                 .metadata = "about it", .metadata_size = 8, .descriptor = is_file ? "a file" : NULL,
                                 .descriptor_size = is_file ? 6 : 0, .context = (void *)(uintptr_t)i, .read = read_some, .release = release};
            pthread_mutex_lock(&place.lock);
            place.open_count++;
            pthread_mutex_unlock(&place.lock);
            ray_answer_source(answer, &source);
            return RAY_OK;
        }
    }
    ray_answer_object(answer);
    return RAY_OK;
}

static void begin(void) {
    store = fixture_store(64 * MIB);
    senders_store = fixture_store(64 * MIB);
    ray_transfer_options options = {.struct_size = sizeof options, .key = fixture_key, .bind_host = "127.0.0.1", .find = find, .store = senders_store};
    CHECK_OK(ray_transfer_create(&options, &sender));
    receiver = fixture_transfer(NULL, store, false);
}

static void end(void) {
    ray_transfer_destroy(receiver);
    ray_transfer_destroy(sender);
    ray_store_close(store);
    ray_store_close(senders_store);
    CHECK_EQUAL(place.open_count, 0);
    CHECK_EQUAL(place.reading, 0);
}

static void check_object(uint32_t number, const uint8_t *bytes, uint64_t size) {
    ray_object_id id = fixture_id(number);
    fixture_check_object(store, number, bytes, size);
    CHECK_OK(ray_object_delete(store, &id, RAY_OBJECT_FREED));
}

static ray_status pull(fixture_pull *p, int which, ray_pull_options *options) {
    return fixture_pull_now(p, receiver, (uint32_t)which, ray_transfer_port(sender), NULL, options);
}

static void whatIsReadArrivesInEveryCodecAndChunkSize(void) {
    begin();
    static const uint32_t chunk_sizes[] = {RAY_CHUNK_SIZE_MIN, 1u << 20, RAY_CHUNK_SIZE};
    for (uint16_t codec = RAY_CODEC_AUTO; codec <= RAY_CODEC_ZSTD; codec++) {
        for (size_t c = 0; c < sizeof chunk_sizes / sizeof chunk_sizes[0]; c++) {
            for (int which = 0; which < FILE_OBJECT; which++) {
                ray_pull_options options = {.codec = codec, .chunk_size = chunk_sizes[c]};
                fixture_pull p;
                CHECK_STATUS(pull(&p, which, &options), RAY_OK);
                CHECK_EQUAL(p.kind, RAY_KIND_OBJECT);
                CHECK(p.metadata_size == 8 && memcmp(p.metadata, "about it", 8) == 0);
                check_object((uint32_t)which, data[which], sizes[which]);
            }
        }
    }
    CHECK_EQUAL(fixture_stats(receiver).corrupt_count, 0);
    end();
}

static void aFileArrivesWithItsDescriptor(void) {
    begin();
    char path[256];
    fixture_path(path, "arrived");
    fixture_pull p;
    CHECK_STATUS(fixture_pull_now(&p, receiver, FILE_OBJECT, ray_transfer_port(sender), path, NULL), RAY_OK);
    CHECK_EQUAL(p.kind, RAY_KIND_FILE);
    CHECK(p.descriptor_size == 6 && memcmp(p.descriptor, "a file", 6) == 0);
    CHECK(fixture_file_is(path, data[FILE_OBJECT], sizes[FILE_OBJECT]));
    unlink(path);
    end();
}

static void ofARangeOnlyItsChunksAreRead(void) {
    begin();
    uint8_t *bytes = malloc(100000);
    fixture_pull p;
    fixture_pull_init(&p, NULL);
    p.memory = bytes;
    p.memory_size = 100000;
    uint16_t port = ray_transfer_port(sender);
    ray_pull_options options = {.range_offset = 5 * MIB + 7, .range_size = 100000};
    place.read_bytes = 0;
    fixture_start(&p, receiver, LARGE, &port, 1, &options);
    CHECK_STATUS(fixture_finish(&p), RAY_OK);
    CHECK(memcmp(bytes, data[LARGE] + 5 * MIB + 7, 100000) == 0);
    CHECK_EQUAL(place.read_bytes, RAY_CHUNK_SIZE);
    free(bytes);
    end();
}

static void whatCannotBeReadIsAnErrorInItsOwnWords(void) {
    begin();
    place.bad_from = 9 * MIB;
    fixture_pull p;
    CHECK_STATUS(pull(&p, LARGE, NULL), RAY_CORRUPT);
    CHECK(strstr(p.message, "the place of object 0 is damaged at byte 8388608") != NULL);
    CHECK_STATUS(pull(&p, SMALL, NULL), RAY_OK);
    check_object(SMALL, data[SMALL], sizes[SMALL]);
    place.bad_from = UINT64_MAX;
    CHECK_STATUS(pull(&p, LARGE, NULL), RAY_OK);
    check_object(LARGE, data[LARGE], LARGE_SIZE);
    end();
}

enum { IMPOSSIBLE = 90, WAYS = 5 };

static uint32_t released_count;

static void count_release(void *context) {
    (void)context;
    released_count++;
}

static ray_status find_impossible(void *context, const ray_object_id *id, ray_answer *answer) {
    (void)context;
    ray_source source = {.struct_size = sizeof source, .kind = RAY_KIND_OBJECT, .size_bytes = 50000, .context = (void *)SMALL, .read = read_some,
                         .release = count_release};
    for (uint32_t way = 0; way < WAYS; way++) {
        ray_object_id asked = fixture_id(IMPOSSIBLE + way);
        if (ray_object_id_equal(&asked, id)) {
            source.read = way == 0 ? NULL : read_some;
            source.struct_size = way == 1 ? 0 : way == 2 ? (uint32_t)offsetof(ray_source, read) : (uint32_t)sizeof source;
            source.kind = way == 3 ? 7 : RAY_KIND_OBJECT;
            // Without release it is whole.
            source.struct_size = way == 4 ? (uint32_t)offsetof(ray_source, release) : source.struct_size;
            break;
        }
    }
    ray_answer_source(answer, &source);
    return RAY_OK;
}

// Of each id there is an object in the store, too, which must not be sent in the place of what was meant.
static void aSourceThatCannotBeReadIsRefused(void) {
    begin();
    ray_transfer_destroy(sender);
    ray_transfer_options options = {.struct_size = sizeof options, .key = fixture_key, .bind_host = "127.0.0.1", .find = find_impossible,
                                    .store = senders_store};
    CHECK_OK(ray_transfer_create(&options, &sender));
    for (uint32_t way = 0; way < WAYS; way++) {
        ray_object_id id = fixture_id(IMPOSSIBLE + way);
        CHECK_OK(ray_object_put(senders_store, &id, "something else", 14, NULL, 0, 0));
        fixture_pull p;
        CHECK_STATUS(pull(&p, (int)(IMPOSSIBLE + way), NULL), way < 4 ? RAY_INVALID_ARGUMENT : RAY_OK);
        CHECK(way >= 4 || strstr(p.message, "a source ") != NULL);
    }
    check_object(IMPOSSIBLE + 4, data[SMALL], 50000);
    end();
    CHECK_EQUAL(released_count, 2); // of those that said that there is a release
}

static void set_stuck(bool is_stuck) {
    pthread_mutex_lock(&place.lock);
    place.is_stuck = is_stuck;
    pthread_cond_broadcast(&place.changed);
    pthread_mutex_unlock(&place.lock);
}

static void await_reading(uint32_t count) {
    pthread_mutex_lock(&place.lock);
    while (place.reading < count) {
        pthread_cond_wait(&place.changed, &place.lock);
    }
    pthread_mutex_unlock(&place.lock);
}

// Longer than a receiver bears the silence of a sender that owes chunks.
static void aSlowReadIsWaitedForAndKeepsNobodyElse(void) {
    begin();
    ray_object_id id = fixture_id(ORDINARY);
    CHECK_OK(ray_object_put(senders_store, &id, data[LARGE], LARGE_SIZE, NULL, 0, 0));
    set_stuck(true);
    fixture_pull slow;
    fixture_pull_init(&slow, NULL);
    uint16_t port = ray_transfer_port(sender);
    ray_pull_options options = {.chunk_size = 1u << 20};
    fixture_start(&slow, receiver, LARGE, &port, 1, &options);
    await_reading(1);
    uint64_t until = ray__now_ns() + 6 * 1000000000ull;
    uint32_t count = 0;
    do {
        fixture_pull p;
        CHECK_STATUS(fixture_pull_now(&p, receiver, ORDINARY, port, NULL, NULL), RAY_OK);
        check_object(ORDINARY, data[LARGE], LARGE_SIZE);
        count++;
    } while (ray__now_ns() < until);
    CHECK(count > 1);
    CHECK_EQUAL(slow.done_count, 0);
    set_stuck(false);
    CHECK_STATUS(fixture_finish(&slow), RAY_OK);
    check_object(LARGE, data[LARGE], LARGE_SIZE);
    CHECK_EQUAL(slow.progress.retried_count, 0);
    end();
}

static void *let_go(void *context) {
    (void)context;
    set_stuck(false);
    return NULL;
}

static void eitherEndMayStopWhileSomethingIsRead(void) {
    for (int i = 0; i < 2; i++) {
        begin();
        set_stuck(true);
        fixture_pull p;
        fixture_pull_init(&p, NULL);
        uint16_t port = ray_transfer_port(sender);
        fixture_start(&p, receiver, LARGE, &port, 1, NULL);
        await_reading(1);
        ray_transfer_destroy(receiver);
        receiver = NULL;
        CHECK_STATUS(fixture_finish(&p), RAY_CANCELLED);
        pthread_t thread;
        CHECK_EQUAL(pthread_create(&thread, NULL, let_go, NULL), 0);
        end();
        pthread_join(thread, NULL);
    }
}

int main(void) {
    fixture_make_directory();
    for (int i = 0; i < COUNT; i++) {
        data[i] = fixture_bytes(sizes[i], (uint64_t)i + 1, i != LARGE);
    }
    RUN(whatIsReadArrivesInEveryCodecAndChunkSize);
    RUN(aFileArrivesWithItsDescriptor);
    RUN(ofARangeOnlyItsChunksAreRead);
    RUN(whatCannotBeReadIsAnErrorInItsOwnWords);
    RUN(aSourceThatCannotBeReadIsRefused);
    RUN(aSlowReadIsWaitedForAndKeepsNobodyElse);
    RUN(eitherEndMayStopWhileSomethingIsRead);
    for (int i = 0; i < COUNT; i++) {
        free(data[i]);
    }
    fixture_remove_directory();
    return 0;
}
