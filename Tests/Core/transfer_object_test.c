// SPDX-License-Identifier: Apache-2.0
// Objects from one store to another over loopback, and files between two processes.
#include <sys/wait.h>

#include "transfer_fixture.h"

static ray_store *here;
static ray_store *there;
static ray_transfer *sender;
static ray_transfer *receiver;

static void pull_object_of(uint64_t size, uint32_t metadata_size, bool packable, uint16_t codec) {
    static uint32_t number = 1000;
    number++;
    ray_object_id id = fixture_id(number);
    uint8_t *bytes = fixture_bytes(size, number, packable);
    char metadata[256];
    memset(metadata, 'm', sizeof metadata);
    CHECK_OK(ray_object_put(there, &id, bytes, size, metadata, metadata_size, 0));
    uint32_t state;
    CHECK_OK(ray_node_adopt(here, &id, &state));
    fixture_pull p;
    ray_pull_options options = {.codec = codec};
    CHECK_OK(fixture_pull_now(&p, receiver, number, ray_transfer_port(sender), NULL, &options));
    CHECK_EQUAL(p.kind, RAY_KIND_OBJECT);
    CHECK_EQUAL(p.metadata_size, metadata_size);
    ray_object_view view;
    CHECK_OK(ray_object_get(here, &id, 0, &view));
    CHECK_EQUAL(view.data_size, size);
    CHECK_EQUAL(view.metadata_size, metadata_size);
    CHECK(size == 0 || memcmp(view.data, bytes, size) == 0);
    CHECK(metadata_size == 0 || memcmp(view.metadata, metadata, metadata_size) == 0);
    if (packable && codec == RAY_CODEC_LZ4 && size > RAY_INLINE_MAX) {
        CHECK(p.progress.lz4_count > 0);
    }
    ray_object_release(here, &view);
    CHECK_OK(ray_node_disown(here, &id));
    CHECK_OK(ray_object_delete(there, &id, RAY_OBJECT_FREED));
    free(bytes);
}

static void objectsOfEverySizeArrive(void) {
    static const uint64_t sizes[] = {0, 1, RAY_INLINE_MAX, RAY_INLINE_MAX + 1, RAY_CHUNK_SIZE - 1, RAY_CHUNK_SIZE, RAY_CHUNK_SIZE + 1, 20 * MIB + 7};
    for (size_t s = 0; s < sizeof sizes / sizeof sizes[0]; s++) {
        pull_object_of(sizes[s], 0, false, RAY_CODEC_AUTO);
        pull_object_of(sizes[s], 1, true, RAY_CODEC_AUTO);
        pull_object_of(sizes[s], 200, true, RAY_CODEC_LZ4);
        pull_object_of(sizes[s], 200, false, RAY_CODEC_ZSTD);
    }
    CHECK_EQUAL(fixture_used_bytes(here), 0);
}

static void twoHundredMebibytesArrive(void) {
    pull_object_of(200 * MIB, 10, false, RAY_CODEC_AUTO);
    pull_object_of(200 * MIB, 10, true, RAY_CODEC_LZ4);
}

static void anObjectTooLargeForTheStoreSaysSo(void) {
    ray_store *small = fixture_store(8 * MIB);
    ray_transfer *small_receiver = fixture_transfer(NULL, small, false);
    ray_object_id id = fixture_id(1);
    uint8_t *bytes = fixture_bytes(20 * MIB, 1, false);
    CHECK_OK(ray_object_put(there, &id, bytes, 20 * MIB, NULL, 0, 0));
    fixture_pull p;
    CHECK_STATUS(fixture_pull_now(&p, small_receiver, 1, ray_transfer_port(sender), NULL, NULL), RAY_STORE_FULL);
    CHECK_EQUAL(fixture_used_bytes(small), 0);
    CHECK(!ray_object_contains(small, &id));
    ray_transfer_destroy(small_receiver);
    ray_store_close(small);
    CHECK_OK(ray_object_delete(there, &id, RAY_OBJECT_FREED));
    free(bytes);
}

static void aCancelledPullLeavesNothingInTheStore(void) {
    ray_object_id id = fixture_id(2);
    uint8_t *bytes = fixture_bytes(40 * MIB, 2, false);
    CHECK_OK(ray_object_put(there, &id, bytes, 40 * MIB, "x", 1, 0));
    fixture_pull p;
    fixture_pull_init(&p, NULL);
    uint16_t port = ray_transfer_port(sender);
    ray_pull_options options = {.rate_max_bytes = 10 * MIB};
    fixture_start(&p, receiver, 2, &port, 1, &options);
    fixture_wait_bytes(&p, 1);
    ray_pull_cancel(p.handle);
    CHECK_STATUS(fixture_finish(&p), RAY_CANCELLED);
    CHECK(p.progress.done_bytes > 0 && p.progress.done_bytes < 40 * MIB);
    CHECK_EQUAL(fixture_used_bytes(here), 0);
    CHECK(!ray_object_contains(here, &id));
    CHECK_OK(ray_object_delete(there, &id, RAY_OBJECT_FREED));
    free(bytes);
}

static void anObjectThatIsNotThereIsNotFound(void) {
    fixture_pull p;
    CHECK_STATUS(fixture_pull_now(&p, receiver, 77, ray_transfer_port(sender), NULL, NULL), RAY_NOT_FOUND);
}

// The sender pins what it sends: once the pull is over nothing is pinned any more.
static void theSenderUnpinsWhatItSent(void) {
    pull_object_of(9 * MIB, 3, false, RAY_CODEC_AUTO);
    uint64_t deadline = ray__now_ns() + FIXTURE_DEADLINE_NS;
    while (fixture_used_bytes(there) != 0) {
        CHECK(ray__now_ns() < deadline);
        usleep(1000);
    }
}

static uint64_t corrupt_chunks(void) {
    ray_transfer_stats stats = {.struct_size = sizeof stats};
    ray_transfer_stats_read(receiver, &stats);
    return stats.corrupt_count;
}

// Raw bytes leave from where they lie in the store, while the network has them still to send. Goal: what is freed meanwhile keeps its memory
// until they have arrived. Method: free it at the first bytes, and keep filling all that is free with other bytes until the pull is done.
static void anObjectFreedWhileItIsSentArrivesWhole(void) {
    uint64_t size = 16 * MIB + 4097;
    uint8_t *bytes = fixture_bytes(size, 3, false);
    uint8_t *other = calloc(1, 8 * MIB);
    CHECK(other != NULL);
    uint64_t corrupt = corrupt_chunks();
    uint16_t port = ray_transfer_port(sender);
    for (uint32_t round = 0; round < 8; round++) {
        ray_object_id id = fixture_id(3000 + round);
        CHECK_OK(ray_object_put(there, &id, bytes, size, NULL, 0, 0));
        fixture_pull p;
        fixture_pull_init(&p, NULL);
        ray_pull_options options = {.rate_max_bytes = 200 * MIB};
        fixture_start(&p, receiver, 3000 + round, &port, 1, &options);
        fixture_wait_bytes(&p, 1);
        CHECK_OK(ray_object_delete(there, &id, RAY_OBJECT_FREED));
        ray_transfer_progress progress;
        do {
            uint32_t filled = 0;
            ray_object_id filler = fixture_id(4000);
            while (ray_object_put(there, &filler, other, 8 * MIB, NULL, 0, 0) == RAY_OK) {
                filler = fixture_id(4000 + ++filled);
            }
            CHECK(filled > 0);
            while (filled > 0) {
                filler = fixture_id(4000 + --filled);
                CHECK_OK(ray_object_delete(there, &filler, RAY_OBJECT_FREED));
            }
            ray_pull_progress(p.handle, &progress);
        } while (progress.done_bytes < size);
        CHECK_OK(fixture_finish(&p));
        fixture_check_object(here, 3000 + round, bytes, size);
        CHECK_OK(ray_object_delete(here, &id, RAY_OBJECT_FREED));
    }
    CHECK_EQUAL(corrupt_chunks(), corrupt);
    free(other);
    free(bytes);
}

static void twoProcessesOnTwoStores(void) {
    int ready[2];
    int stop[2];
    CHECK(pipe(ready) == 0 && pipe(stop) == 0);
    uint64_t size = 30 * MIB + 5;
    uint8_t *bytes = fixture_bytes(size, 99, true);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        // The parent's stores and transfers are not the child's; it makes its own.
        ray_store *store = fixture_store(64 * MIB);
        ray_object_id id = fixture_id(99);
        CHECK_OK(ray_object_put(store, &id, bytes, size, "meta", 4, 0));
        ray_transfer *own = fixture_transfer(NULL, store, true);
        uint16_t port = ray_transfer_port(own);
        CHECK(write(ready[1], &port, sizeof port) == (ssize_t)sizeof port);
        char byte;
        close(stop[1]);
        CHECK(read(stop[0], &byte, 1) == 0);
        ray_transfer_destroy(own);
        ray_store_close(store);
        free(bytes);
        _exit(0);
    }
    close(stop[0]);
    uint16_t port;
    CHECK(read(ready[0], &port, sizeof port) == (ssize_t)sizeof port);
    ray_store *own = fixture_store(64 * MIB);
    ray_transfer *own_receiver = fixture_transfer(NULL, own, false);
    fixture_pull p;
    CHECK_OK(fixture_pull_now(&p, own_receiver, 99, port, NULL, NULL));
    fixture_check_object(own, 99, bytes, size);
    ray_transfer_destroy(own_receiver);
    ray_store_close(own);
    close(stop[1]);
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK_EQUAL(status, 0);
    close(ready[0]);
    close(ready[1]);
    free(bytes);
}

int main(void) {
    // First, while this process has no thread that a fork would lose.
    RUN(twoProcessesOnTwoStores);
    there = fixture_store(300 * MIB);
    here = fixture_store(300 * MIB);
    sender = fixture_transfer(NULL, there, true);
    receiver = fixture_transfer(NULL, here, false);
    RUN(objectsOfEverySizeArrive);
    RUN(twoHundredMebibytesArrive);
    RUN(anObjectTooLargeForTheStoreSaysSo);
    RUN(aCancelledPullLeavesNothingInTheStore);
    RUN(anObjectThatIsNotThereIsNotFound);
    RUN(theSenderUnpinsWhatItSent);
    RUN(anObjectFreedWhileItIsSentArrivesWhole);
    CHECK_OK(ray_plasma_check(here, 2));
    CHECK_OK(ray_plasma_check(there, 2));
    ray_transfer_destroy(receiver);
    ray_transfer_destroy(sender);
    ray_store_close(here);
    ray_store_close(there);
    return 0;
}
