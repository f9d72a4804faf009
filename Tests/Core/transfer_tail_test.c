// SPDX-License-Identifier: Apache-2.0
// The end of a pull from two sources of which one stands still: what is due from it comes from the other.
#include "fault_proxy.h"
#include "transfer/transfer_internal.h"
#include "transfer_fixture.h"

#define SIZE (3 * (uint64_t)RAY_CHUNK_SIZE)

static char source_path[128];
static char target_path[128];
static uint8_t *bytes;

static ray_transfer *sender_with(fixture_table *table, uint16_t codec) {
    ray_transfer_options options = {
        .struct_size = sizeof options,
        .key = fixture_key,
        .bind_host = "127.0.0.1",
        .find = fixture_find,
        .context = table,
        .codec = codec,
    };
    ray_transfer *made = NULL;
    CHECK_OK(ray_transfer_create(&options, &made));
    return made;
}

// The first sends with one codec and stands still in the middle of its first chunk; the second has another.
static void pull_past_a_stall(uint16_t stalled_codec, uint16_t other_codec) {
    fixture_table table = {0};
    fixture_add_file(&table, 1, source_path);
    ray_transfer *stalled = sender_with(&table, stalled_codec);
    ray_transfer *other = sender_with(&table, other_codec);
    fault_proxy_options wire = {.to = ray_transfer_port(stalled)};
    fault_proxy *between = fault_proxy_start(&wire);
    CHECK(between != NULL);
    CHECK(fault_proxy_order(between, FAULT_STALL, stalled_codec == RAY_CODEC_NONE ? 2 * MIB : 100000, 0));
    ray_transfer *receiver = fixture_transfer(NULL, NULL, false);
    fixture_pull p;
    fixture_pull_init(&p, target_path);
    uint16_t ports[2] = {fault_proxy_port(between), ray_transfer_port(other)};
    ray_pull_options options = {.connection_count = 1, .timeout_ns = FIXTURE_DEADLINE_NS / 2};
    fixture_start(&p, receiver, 1, ports, 2, &options);
    CHECK_STATUS(fixture_finish(&p), RAY_OK);
    fault_counts counts;
    fault_proxy_counts(between, &counts);
    CHECK_EQUAL(counts.faults[FAULT_STALL], 1);
    CHECK(p.progress.retried_count > 0);
    CHECK(fixture_file_is(target_path, bytes, SIZE));
    unlink(target_path);
    ray_transfer_destroy(receiver);
    fault_proxy_stop(between);
    ray_transfer_destroy(other);
    ray_transfer_destroy(stalled);
}

static void anUnpackedChunkThatStallsComesPackedFromTheOther(void) {
    pull_past_a_stall(RAY_CODEC_NONE, RAY_CODEC_ZSTD);
    pull_past_a_stall(RAY_CODEC_NONE, RAY_CODEC_LZ4);
}

static void anUnpackedChunkThatStallsComesUnpackedFromTheOther(void) {
    pull_past_a_stall(RAY_CODEC_NONE, RAY_CODEC_NONE);
}

static void aPackedChunkThatStallsComesFromTheOther(void) {
    pull_past_a_stall(RAY_CODEC_ZSTD, RAY_CODEC_NONE);
    pull_past_a_stall(RAY_CODEC_ZSTD, RAY_CODEC_ZSTD);
}

// Two workers have the same chunk; the second throws its own away, and the first's turns out to be damaged, or not to be.
static void whatAWorkerThrewAwayIsAskedForAgain(void) {
    static ray_transfer transfer;
    static ray_pull pull;
    uint8_t state;
    uint8_t depth = 0;
    uint64_t away = 0;
    pull = (ray_pull){.transfer = &transfer, .opened = true, .active = 1, .chunk_count = 1, .chunks = &state, .depths = &depth, .away = &away};
    pthread_mutex_init(&pull.lock, NULL);
    pthread_cond_init(&pull.claims_changed, NULL);
    for (int brings = 0; brings < 2; brings++) {
        state = RAY__CHUNK_ASKED;
        CHECK_EQUAL(ray__claim_take_or_leave(&pull, 0), RAY__CLAIM_MINE);
        CHECK_EQUAL(ray__claim_take_or_leave(&pull, 0), RAY__CLAIM_BUSY);
        CHECK_EQUAL(pull.missing_count, 0);
        state = brings ? RAY__CHUNK_HERE : RAY__CHUNK_ASKED;
        ray__claim_drop(&pull, 0);
        CHECK_EQUAL(state, brings ? RAY__CHUNK_HERE : RAY__CHUNK_MISSING);
        CHECK_EQUAL(pull.missing_count, !brings);
        pull.missing_count = 0;
    }
    // Nothing was thrown away: what is due from others is not asked for twice.
    state = RAY__CHUNK_ASKED;
    CHECK_EQUAL(ray__claim_take_or_leave(&pull, 0), RAY__CLAIM_MINE);
    ray__claim_drop(&pull, 0);
    CHECK_EQUAL(state, RAY__CHUNK_ASKED);
    pthread_cond_destroy(&pull.claims_changed);
    pthread_mutex_destroy(&pull.lock);
}

int main(void) {
    fixture_make_directory();
    fixture_path(source_path, "source");
    fixture_path(target_path, "target");
    bytes = fixture_bytes(SIZE, 1, true);
    fixture_write_file(source_path, bytes, SIZE);
    RUN(anUnpackedChunkThatStallsComesPackedFromTheOther);
    RUN(anUnpackedChunkThatStallsComesUnpackedFromTheOther);
    RUN(aPackedChunkThatStallsComesFromTheOther);
    RUN(whatAWorkerThrewAwayIsAskedForAgain);
    unlink(source_path);
    free(bytes);
    fixture_remove_directory();
    return 0;
}
