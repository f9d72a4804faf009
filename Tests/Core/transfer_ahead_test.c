// SPDX-License-Identifier: Apache-2.0
// Checksums ahead of transfers: who hashes what, and that nobody is kept from anything meanwhile.
#include "plasma/glimpse_internal.h"
#include "plasma/store_internal.h"
#include "transfer_fixture.h"

static ray_store *first;
static ray_store *second;
static ray_store *third;

static ray_transfer *begin(ray_store *store, bool ahead) {
    ray_transfer_options options = {
        .struct_size = sizeof options, .key = fixture_key, .store = store, .bind_host = "127.0.0.1", .sums_ahead = ahead};
    ray_transfer *transfer = NULL;
    CHECK_OK(ray_transfer_create(&options, &transfer));
    return transfer;
}

static uint8_t *put(ray_store *store, uint32_t number, uint64_t size, uint64_t seed) {
    ray_object_id id = fixture_id(number);
    uint8_t *bytes = fixture_bytes(size, seed, false);
    CHECK_OK(ray_object_put(store, &id, bytes, size, NULL, 0, 0));
    return bytes;
}

// A connection that sent it may let go of it a little later.
static void drop(ray_store *store, uint32_t number) {
    ray_object_id id = fixture_id(number);
    ray_object_info info;
    CHECK_OK(ray_object_delete(store, &id, RAY_OBJECT_FREED));
    uint64_t deadline = ray__now_ns() + FIXTURE_DEADLINE_NS;
    while (ray_object_stat(store, &id, &info) == RAY_OK) {
        CHECK(ray__now_ns() < deadline);
        usleep(1000);
    }
}

static void pull_and_compare(ray_transfer *from, ray_transfer *to, ray_store *into, uint32_t number, const uint8_t *bytes, uint64_t size) {
    fixture_pull p;
    CHECK_OK(fixture_pull_now(&p, to, number, ray_transfer_port(from), NULL, NULL));
    CHECK_EQUAL(p.progress.retried_count, 0);
    fixture_check_object(into, number, bytes, size);
}

static void aFirstPullAfterTheIdleThreadHashesNothing(void) {
    static const uint64_t sizes[] = {RAY_INLINE_MAX + 1, MIB, RAY_CHUNK_SIZE, RAY_CHUNK_SIZE + 1, 20 * MIB + 7};
    ray_transfer *sender = begin(first, true);
    ray_transfer *receiver = begin(second, false);
    uint8_t *bytes[5];
    uint64_t sum = 0;
    for (uint32_t i = 0; i < 5; i++) {
        bytes[i] = put(first, i, sizes[i], i);
        sum += sizes[i];
    }
    // What travels in its card has no checksum of a chunk.
    free(put(first, 5, RAY_INLINE_MAX, 5));
    fixture_await_hashed(sender, sum);
    for (uint32_t i = 0; i < 5; i++) {
        pull_and_compare(sender, receiver, second, i, bytes[i], sizes[i]);
    }
    CHECK_EQUAL(fixture_stats(sender).hashed_bytes, 0);
    CHECK_EQUAL(fixture_stats(sender).ahead_bytes, sum);
    ray_transfer_destroy(receiver);
    ray_transfer_destroy(sender);
    for (uint32_t i = 0; i < 5; i++) {
        drop(first, i);
        drop(second, i);
        free(bytes[i]);
    }
    drop(first, 5);
}

static void whatWasThereBeforeIsHashedToo(void) {
    uint8_t *bytes = put(first, 10, 9 * MIB, 10);
    ray_transfer *sender = begin(first, true);
    fixture_await_hashed(sender, 9 * MIB);
    ray_transfer *receiver = begin(second, false);
    pull_and_compare(sender, receiver, second, 10, bytes, 9 * MIB);
    CHECK_EQUAL(fixture_stats(sender).hashed_bytes, 0);
    ray_transfer_destroy(receiver);
    ray_transfer_destroy(sender);
    drop(first, 10);
    drop(second, 10);
    free(bytes);
}

static void eachChunkIsHashedOnceOnItsWayOverTwoHops(void) {
    ray_transfer *a = begin(first, false);
    ray_transfer *b = begin(second, true);
    ray_transfer *c = begin(third, false);
    uint64_t size = 13 * MIB + 1;
    uint8_t *bytes = put(first, 20, size, 20);
    pull_and_compare(a, b, second, 20, bytes, size);
    CHECK_EQUAL(fixture_stats(a).hashed_bytes, size);
    drop(second, 20);
    pull_and_compare(a, b, second, 20, bytes, size);
    CHECK_EQUAL(fixture_stats(a).hashed_bytes, size);
    CHECK_EQUAL(fixture_stats(a).ahead_bytes, 0); // it is off
    pull_and_compare(b, c, third, 20, bytes, size);
    // Received is verified: nothing is left for either thread of b.
    CHECK_EQUAL(fixture_stats(b).hashed_bytes, 0);
    fixture_await_hashed(b, 0);
    ray_transfer_destroy(c);
    ray_transfer_destroy(b);
    ray_transfer_destroy(a);
    drop(first, 20);
    drop(second, 20);
    drop(third, 20);
    free(bytes);
}

static void anotherValueOfAnIdHasSumsOfItsOwn(void) {
    ray_transfer *sender = begin(first, true);
    ray_transfer *receiver = begin(second, false);
    for (uint64_t round = 1; round <= 3; round++) {
        uint8_t *bytes = put(first, 30, 6 * MIB, 30 + round);
        fixture_await_hashed(sender, round * 6 * MIB);
        pull_and_compare(sender, receiver, second, 30, bytes, 6 * MIB);
        CHECK_EQUAL(fixture_stats(sender).hashed_bytes, 0);
        drop(first, 30);
        drop(second, 30);
        free(bytes);
    }
    CHECK_EQUAL(fixture_stats(receiver).corrupt_count, 0);
    ray_transfer_destroy(receiver);
    ray_transfer_destroy(sender);
}

static void aPullTakesOverWhatIsBeingHashed(void) {
    ray_transfer *sender = begin(first, true);
    ray_transfer *receiver = begin(second, false);
    uint64_t size = 96 * MIB;
    for (uint32_t n = 40; n < 46; n++) {
        uint8_t *bytes = put(first, n, size, n);
        pull_and_compare(sender, receiver, second, n, bytes, size);
        drop(first, n);
        drop(second, n);
        free(bytes);
    }
    ray_transfer_stats stats = fixture_stats(sender);
    // Both may have been at the same chunk when the pull came, and no others.
    CHECK(stats.hashed_bytes + stats.ahead_bytes >= 6 * size);
    CHECK(stats.hashed_bytes + stats.ahead_bytes <= 6 * (size + RAY_CHUNK_SIZE));
    ray_transfer_destroy(receiver);
    ray_transfer_destroy(sender);
}

static void whatIsBeingHashedCanBeDeletedAndEvictedAtOnce(void) {
    ray_transfer *sender = begin(first, true);
    uint64_t before = fixture_used_bytes(first);
    for (uint32_t n = 0; n < 100; n++) {
        ray_object_id id = fixture_id(1000 + n);
        ray_object_writer writer;
        CHECK_OK(ray_object_create(first, &id, 48 * MIB, 0, 0, &writer));
        memset(writer.data, (int)n, 4096);
        CHECK_OK(ray_object_seal(first, &writer));
        if (n % 4 == 0) {
            usleep(3000 * (n % 16)); // so that it goes at another point of the hashing each time: nothing is waited for
        }
        if (n % 2 == 0) {
            uint32_t state;
            CHECK_OK(ray_node_adopt(first, &id, &state));
            CHECK_OK(ray_node_evict(first, &id, NULL));
            CHECK_EQUAL(fixture_used_bytes(first), before);
            CHECK_OK(ray_node_disown(first, &id));
        } else {
            CHECK_OK(ray_object_delete(first, &id, RAY_OBJECT_FREED));
        }
        CHECK_EQUAL(fixture_used_bytes(first), before);
    }
    ray_transfer_destroy(sender);
}

static void aTransferEndsInTheMiddleOfIt(void) {
    for (uint32_t round = 0; round < 20; round++) {
        ray_transfer *sender = begin(first, true);
        for (uint32_t n = 0; n < 3; n++) {
            ray_object_id id = fixture_id(2000 + n);
            ray_object_writer writer;
            CHECK_OK(ray_object_create(first, &id, 40 * MIB, 0, 0, &writer));
            CHECK_OK(ray_object_seal(first, &writer));
        }
        usleep(1500 * round); // the end comes at another point of it each time: nothing is waited for
        ray_transfer_destroy(sender);
        for (uint32_t n = 0; n < 3; n++) {
            drop(first, 2000 + n);
        }
    }
}

// ---- by who puts them ------------------------------------------------------------------------------------------------------

// Answers what tells the value from others of the id.
static uint64_t put_summed(ray_store *store, uint32_t number, const uint8_t *bytes, uint64_t size, uint64_t *sums) {
    ray_object_id id = fixture_id(number);
    ray_object_writer writer;
    CHECK_OK(ray_object_create(store, &id, size, 0, 0, &writer));
    ray__copy_summed(writer.data, bytes, size, RAY_CHUNK_SIZE, sums);
    uint64_t value = ray__object_stamp(writer.entry, writer.generation);
    CHECK_OK(ray_object_seal(store, &writer));
    return value;
}

#define GIVEN_SIZE (9 * MIB + 5)

static void whatItsMakerHashedIsNotHashedAgain(void) {
    ray_transfer *sender = begin(first, false);
    ray_transfer *receiver = begin(second, false);
    uint8_t *bytes = fixture_bytes(GIVEN_SIZE, 50, false);
    ray_object_id id = fixture_id(50);
    uint64_t sums[3];
    uint64_t value = put_summed(first, 50, bytes, GIVEN_SIZE, sums);
    CHECK_OK(ray_transfer_object_sums_give(sender, &id, value, GIVEN_SIZE, sums, 3));
    pull_and_compare(sender, receiver, second, 50, bytes, GIVEN_SIZE);
    CHECK_EQUAL(fixture_stats(sender).hashed_bytes, 0);
    CHECK_EQUAL(fixture_stats(sender).given_bytes, GIVEN_SIZE);
    ray_transfer_destroy(receiver);
    ray_transfer_destroy(sender);
    drop(first, 50);
    drop(second, 50);
    free(bytes);
}

static void sumsOfWhatIsNotHereAreRefused(void) {
    ray_transfer *sender = begin(first, false);
    ray_transfer *receiver = begin(second, false);
    ray_transfer *without = begin(NULL, false);
    uint8_t *bytes = fixture_bytes(GIVEN_SIZE, 51, false);
    ray_object_id id = fixture_id(51);
    uint64_t sums[3];
    uint64_t before = put_summed(first, 51, bytes, GIVEN_SIZE, sums);
    CHECK_STATUS(ray_transfer_object_sums_give(sender, &id, before, GIVEN_SIZE, sums, 2), RAY_INVALID_ARGUMENT);
    CHECK_STATUS(ray_transfer_object_sums_give(sender, &id, before, 0, sums, 0), RAY_INVALID_ARGUMENT);
    CHECK_STATUS(ray_transfer_object_sums_give(sender, &id, before, GIVEN_SIZE - 1, sums, 3), RAY_NOT_FOUND);
    CHECK_STATUS(ray_transfer_object_sums_give(without, &id, before, GIVEN_SIZE, sums, 3), RAY_NOT_FOUND);
    drop(first, 51);
    CHECK_STATUS(ray_transfer_object_sums_give(sender, &id, before, GIVEN_SIZE, sums, 3), RAY_NOT_FOUND);
    // They come late: another value has the id meanwhile.
    free(put(first, 51, GIVEN_SIZE, 52));
    CHECK_STATUS(ray_transfer_object_sums_give(sender, &id, before, GIVEN_SIZE, sums, 3), RAY_NOT_FOUND);
    uint8_t *others = fixture_bytes(GIVEN_SIZE, 52, false);
    pull_and_compare(sender, receiver, second, 51, others, GIVEN_SIZE);
    CHECK_EQUAL(fixture_stats(sender).hashed_bytes, GIVEN_SIZE);
    CHECK_EQUAL(fixture_stats(sender).given_bytes, 0);
    ray_transfer_destroy(without);
    ray_transfer_destroy(receiver);
    ray_transfer_destroy(sender);
    drop(first, 51);
    drop(second, 51);
    free(others);
    free(bytes);
}

static void wrongSumsEndAPullAndNothingElse(void) {
    ray_transfer *sender = begin(first, false);
    ray_transfer *receiver = begin(second, false);
    uint8_t *bytes = fixture_bytes(GIVEN_SIZE, 53, false);
    ray_object_id id = fixture_id(53);
    uint64_t sums[3];
    uint64_t value = put_summed(first, 53, bytes, GIVEN_SIZE, sums);
    sums[1] ^= 1;
    CHECK_OK(ray_transfer_object_sums_give(sender, &id, value, GIVEN_SIZE, sums, 3));
    fixture_pull p;
    CHECK_STATUS(fixture_pull_now(&p, receiver, 53, ray_transfer_port(sender), NULL, NULL), RAY_CORRUPT);
    uint8_t *others = put(first, 54, GIVEN_SIZE, 54);
    pull_and_compare(sender, receiver, second, 54, others, GIVEN_SIZE);
    ray_transfer_destroy(receiver);
    ray_transfer_destroy(sender);
    drop(first, 53);
    drop(first, 54);
    drop(second, 54);
    free(others);
    free(bytes);
}

int main(void) {
    first = fixture_store(256 * MIB);
    second = fixture_store(256 * MIB);
    third = fixture_store(64 * MIB);
    RUN(aFirstPullAfterTheIdleThreadHashesNothing);
    RUN(whatWasThereBeforeIsHashedToo);
    RUN(eachChunkIsHashedOnceOnItsWayOverTwoHops);
    RUN(anotherValueOfAnIdHasSumsOfItsOwn);
    RUN(aPullTakesOverWhatIsBeingHashed);
    RUN(whatIsBeingHashedCanBeDeletedAndEvictedAtOnce);
    RUN(aTransferEndsInTheMiddleOfIt);
    RUN(whatItsMakerHashedIsNotHashedAgain);
    RUN(sumsOfWhatIsNotHereAreRefused);
    RUN(wrongSumsEndAPullAndNothingElse);
    ray_store_close(first);
    ray_store_close(second);
    ray_store_close(third);
    return 0;
}
