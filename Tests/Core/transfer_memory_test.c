// SPDX-License-Identifier: Apache-2.0
// The bound on memory in flight: a thousand pulls at once, of data that packs and of cards that are large, between two ends that may take as
// little as they can do with. Nothing fails, and neither end ever takes more.
#include "transfer/memory_internal.h"
#include "transfer/transfer_internal.h"
#include "transfer_fixture.h"

enum { PULLS = 1000, METADATA = 600 << 10, SIZE = 700 << 10, WAITERS = 32 };

static uint8_t *bytes;
static uint8_t *metadata;
static char source_path[128];
static int64_t source_time;

static ray_status find(void *context, const ray_object_id *id, ray_answer *answer) {
    (void)context;
    (void)id;
    ray_answer_file(answer, source_path, SIZE, source_time, metadata, METADATA, metadata, METADATA);
    return RAY_OK;
}

// ---- a thousand pulls ------------------------------------------------------------------------------------------------------

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    uint32_t done;
    uint32_t failed;
    uint64_t done_bytes;
} all = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static uint8_t *places[PULLS];

static ray_status opened(void *context, ray_pull *pull, const ray_card *card) {
    uint8_t **place = context;
    CHECK(card->metadata_size == METADATA && memcmp(card->metadata, metadata, METADATA) == 0);
    CHECK(card->descriptor_size == METADATA);
    *place = malloc(SIZE);
    CHECK(*place != NULL);
    return ray_pull_into_memory(pull, *place, SIZE);
}

static void done(void *context, ray_status status, const char *message, const ray_transfer_progress *progress) {
    uint8_t **place = context;
    bool right = status == RAY_OK && memcmp(*place, bytes, SIZE) == 0;
    if (!right) {
        fprintf(stderr, "    %s: %s\n", ray_status_name(status), message);
    }
    free(*place);
    *place = NULL;
    pthread_mutex_lock(&all.lock);
    all.done++;
    all.failed += !right;
    all.done_bytes += progress->done_bytes;
    pthread_cond_broadcast(&all.changed);
    pthread_mutex_unlock(&all.lock);
}

static uint64_t least(void) {
    ray_transfer_options options = {.struct_size = sizeof options, .key = fixture_key, .memory_max_bytes = 1};
    ray_transfer *transfer = NULL;
    CHECK_STATUS(ray_transfer_create(&options, &transfer), RAY_INVALID_ARGUMENT);
    const char *number = strstr(ray_last_error_message(), "at least ");
    CHECK(number != NULL && strstr(ray_last_error_message(), "memory_max_bytes") != NULL);
    return strtoull(number + strlen("at least "), NULL, 10);
}

static ray_transfer *make_transfer(uint64_t memory_max_bytes, bool listen) {
    ray_transfer_options options = {.struct_size = sizeof options, .key = fixture_key, .memory_max_bytes = memory_max_bytes,
                                    .find = find, .bind_host = listen ? "127.0.0.1" : NULL};
    ray_transfer *transfer = NULL;
    CHECK_OK(ray_transfer_create(&options, &transfer));
    return transfer;
}

static void check_bound(ray_transfer *transfer, const char *name, uint64_t bound) {
    ray_transfer_stats stats = fixture_stats(transfer);
    fprintf(stderr, "    %s: %.1f of %.1f MiB at most\n", name, (double)stats.buffer_peak_bytes / (double)MIB, (double)bound / (double)MIB);
    CHECK(stats.buffer_peak_bytes <= bound && stats.buffer_bytes <= stats.buffer_peak_bytes);
    // More than what is there from the start: something was counted.
    CHECK(stats.buffer_peak_bytes > 8 * MIB);
}

static void aThousandPullsStayWithinTheBound(void) {
    uint64_t bound = least();
    ray_transfer *sender = make_transfer(bound, true);
    ray_transfer *receiver = make_transfer(bound, false);
    uint64_t idle = fixture_stats(receiver).buffer_bytes;
    ray_endpoint from = {.host = "127.0.0.1", .port = ray_transfer_port(sender)};
    ray_pull_callbacks callbacks = {opened, NULL, done};
    for (uint32_t i = 0; i < PULLS; i++) {
        ray_object_id id = fixture_id(i);
        ray_pull_options options = {.struct_size = sizeof options, .codec = i % 4 == 0 ? RAY_CODEC_NONE : RAY_CODEC_LZ4};
        ray_pull *pull = NULL;
        CHECK_OK(ray_pull_start(receiver, &id, &from, 1, &options, &callbacks, &places[i], &pull));
        ray_pull_release(pull);
    }
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 60;
    pthread_mutex_lock(&all.lock);
    while (all.done < PULLS) {
        CHECK(pthread_cond_timedwait(&all.changed, &all.lock, &until) == 0);
    }
    pthread_mutex_unlock(&all.lock);
    CHECK_EQUAL(all.failed, 0);
    CHECK_EQUAL(all.done_bytes, (uint64_t)PULLS * SIZE);
    check_bound(sender, "sender", bound);
    check_bound(receiver, "receiver", bound);
    ray_transfer_destroy(sender);
    // What was taken is given back, but for spare buffers.
    CHECK(fixture_stats(receiver).buffer_bytes <= idle + 8 * RAY__BUFFER_SIZE);
    ray_transfer_destroy(receiver);
}

// ---- the shares by themselves ----------------------------------------------------------------------------------------------

static ray__memory memory;
static ray__share share;
static _Atomic uint64_t held;

static void *take_and_give(void *context) {
    uint64_t seed = (uint64_t)(uintptr_t)context;
    for (int i = 0; i < 2000; i++) {
        uint64_t size = check_random(&seed) % 100 + 1;
        CHECK(ray__share_take(&share, size, FIXTURE_DEADLINE_NS));
        CHECK(atomic_fetch_add(&held, size) + size <= 250);
        if (i % 16 == 0) {
            sched_yield();
        }
        atomic_fetch_sub(&held, size);
        ray__share_give(&share, size);
    }
    return NULL;
}

static void whoWaitsForAShareGetsIt(void) {
    ray__share_init(&share, &memory, 250);
    pthread_t threads[WAITERS];
    for (uintptr_t i = 0; i < WAITERS; i++) {
        CHECK_EQUAL(pthread_create(&threads[i], NULL, take_and_give, (void *)(i + 1)), 0);
    }
    for (int i = 0; i < WAITERS; i++) {
        pthread_join(threads[i], NULL);
    }
    CHECK_EQUAL(atomic_load(&memory.used), 0);
    CHECK(atomic_load(&memory.peak) <= 250 && atomic_load(&memory.peak) > 100);
    CHECK(!ray__share_take(&share, 251, 0));
    CHECK(ray__share_take(&share, 250, 0) && !ray__share_take(&share, 1, 1000));
    ray__share_give(&share, 250);
    ray__share_end(&share);
}

static void aWaitForMemoryEndsWhenItIsStopped(void) {
    ray__share_init(&share, &memory, 10);
    int pipes[2];
    CHECK(pipe(pipes) == 0);
    CHECK_OK(ray__share_wait(&share, 10, pipes[0]));
    CHECK(write(pipes[1], "x", 1) == 1);
    CHECK_STATUS(ray__share_wait(&share, 1, pipes[0]), RAY_CANCELLED);
    ray__share_give(&share, 10);
    ray__share_end(&share);
    close(pipes[0]);
    close(pipes[1]);
}

static void theLeastBoundIsTaken(void) {
    uint64_t bound = least();
    // As transfer.h says; what the readers of sources have is in it.
    cpu_set_t allowed;
    CHECK_EQUAL(sched_getaffinity(0, sizeof allowed, &allowed), 0);
    uint64_t cores = CPU_COUNT(&allowed) > 16 ? 16 : (uint64_t)CPU_COUNT(&allowed);
    CHECK_EQUAL(bound, (108 + 4 * cores) * MIB);
    ray_transfer_options options = {.struct_size = sizeof options, .key = fixture_key, .memory_max_bytes = bound - 1};
    ray_transfer *transfer = NULL;
    CHECK_STATUS(ray_transfer_create(&options, &transfer), RAY_INVALID_ARGUMENT);
    options.memory_max_bytes = bound;
    CHECK_OK(ray_transfer_create(&options, &transfer));
    ray_transfer_destroy(transfer);
}

int main(void) {
    fixture_make_directory();
    fixture_path(source_path, "source");
    bytes = fixture_bytes(SIZE, 1, true);
    metadata = fixture_bytes(METADATA, 2, false);
    fixture_write_file(source_path, bytes, SIZE);
    struct stat info;
    CHECK(stat(source_path, &info) == 0);
    source_time = (int64_t)info.st_mtim.tv_sec * 1000000000 + info.st_mtim.tv_nsec;
    RUN(whoWaitsForAShareGetsIt);
    RUN(aWaitForMemoryEndsWhenItIsStopped);
    RUN(theLeastBoundIsTaken);
    RUN(aThousandPullsStayWithinTheBound);
    unlink(source_path);
    fixture_remove_directory();
    free(metadata);
    free(bytes);
    return 0;
}
