// SPDX-License-Identifier: Apache-2.0
// Who may read when readers and buffers are few: receivers that ask and take nothing, and a place that stands still, keep nobody else.
#include <sys/eventfd.h>
#include <sys/uio.h>

#include "transfer/limits_internal.h"
#include "transfer/transfer_internal.h"
#include "transfer_fixture.h"

enum { STUCK, SOUND, COUNT };
#define SIZE (24 * MIB)

static struct {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool is_stuck;          // reads of STUCK do not end
    uint32_t reading[COUNT]; // now
    uint32_t read[COUNT];    // in all
} place = {.lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static ray_transfer *sender;
static uint64_t bound;
static int stop;

static uint8_t byte_at(uint64_t offset) {
    return (uint8_t)((offset >> 3) * 2654435761u >> 7);
}

static ray_status read_some(void *context, uint64_t offset, void *bytes, size_t size, char *message, size_t message_capacity) {
    uintptr_t which = (uintptr_t)context;
    (void)message;
    (void)message_capacity;
    pthread_mutex_lock(&place.lock);
    place.reading[which]++;
    place.read[which]++;
    pthread_cond_broadcast(&place.changed);
    while (which == STUCK && place.is_stuck) {
        pthread_cond_wait(&place.changed, &place.lock);
    }
    place.reading[which]--;
    pthread_mutex_unlock(&place.lock);
    uint8_t *at = bytes;
    for (size_t i = 0; i < size; i++) {
        at[i] = byte_at(offset + i);
    }
    return RAY_OK;
}

static void await(const uint32_t *count, uint32_t at_least) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 60;
    pthread_mutex_lock(&place.lock);
    while (*count < at_least) {
        CHECK_EQUAL(pthread_cond_timedwait(&place.changed, &place.lock, &until), 0);
    }
    pthread_mutex_unlock(&place.lock);
}

static void set_stuck(bool is_stuck) {
    pthread_mutex_lock(&place.lock);
    place.is_stuck = is_stuck;
    pthread_cond_broadcast(&place.changed);
    pthread_mutex_unlock(&place.lock);
}

static ray_status find(void *context, const ray_object_id *id, ray_answer *answer) {
    (void)context;
    for (uint32_t i = 0; i < COUNT; i++) {
        ray_object_id known = fixture_id(i);
        if (ray_object_id_equal(&known, id)) {
            ray_source source = {.struct_size = sizeof source, .kind = RAY_KIND_OBJECT, .size_bytes = SIZE,
                                 .context = (void *)(uintptr_t)i, .read = read_some};
            ray_answer_source(answer, &source);
            return RAY_OK;
        }
    }
    return RAY_NOT_FOUND;
}

// With the least memory that it takes: three buffers.
static void begin(void) {
    ray_transfer_options options = {.struct_size = sizeof options, .key = fixture_key, .bind_host = "127.0.0.1", .find = find,
                                    .memory_max_bytes = 1};
    CHECK_STATUS(ray_transfer_create(&options, &sender), RAY_INVALID_ARGUMENT);
    const char *number = strstr(ray_last_error_message(), "at least ");
    CHECK(number != NULL);
    bound = strtoull(number + strlen("at least "), NULL, 10);
    options.memory_max_bytes = bound;
    CHECK_OK(ray_transfer_create(&options, &sender));
    memset(place.read, 0, sizeof place.read);
    stop = eventfd(0, EFD_CLOEXEC);
    CHECK(stop >= 0);
}

static void end(void) {
    CHECK(fixture_stats(sender).buffer_peak_bytes <= bound);
    ray_transfer_destroy(sender);
    close(stop);
    CHECK_EQUAL(place.reading[STUCK] + place.reading[SOUND], 0);
}

// Asks for all of SOUND and takes nothing of it.
static ray__connection taker_of_nothing(uint64_t token) {
    ray_endpoint to = {.host = "127.0.0.1", .port = ray_transfer_port(sender)};
    ray__connection c;
    CHECK_OK(ray__connection_open(&to, 5 * RAY__SECOND, stop, 0, &c));
    CHECK_OK(ray__connection_prove(&c, &fixture_key, RAY_ROLE_CONNECTING, 5 * RAY__SECOND));
    uint8_t message[2 * RAY__MESSAGE_HEADER_SIZE + RAY__OPEN_BODY_MAX + RAY__REQUEST_BODY_MAX];
    ray__open open = {.id = fixture_id(SOUND), .token = token, .threads = 1, .chunk_size = RAY_CHUNK_SIZE};
    uint32_t size = ray__open_write(&open, message + RAY__MESSAGE_HEADER_SIZE);
    ray__message_seal(message, RAY__MESSAGE_OPEN, 1, size);
    uint8_t *second = message + RAY__MESSAGE_HEADER_SIZE + size;
    ray__request request = {.codec = RAY_CODEC_NONE, .flags = RAY__REQUEST_NO_REFER, .count = SIZE / RAY_CHUNK_SIZE};
    for (uint32_t i = 0; i < request.count; i++) {
        request.indices[i] = i;
    }
    uint32_t second_size = ray__request_write(&request, second + RAY__MESSAGE_HEADER_SIZE);
    ray__message_seal(second, RAY__MESSAGE_REQUEST, 1, second_size);
    struct iovec part = {message, 2 * RAY__MESSAGE_HEADER_SIZE + size + second_size};
    CHECK_OK(ray__connection_write(&c, &part, 1, false));
    return c;
}

typedef struct taker {
    fixture_pull pull;
    ray_transfer *transfer;
    uint8_t *bytes;
} taker;

// Without patience: whatever fails is the end of it.
static void start(taker *t, uint32_t which, uint32_t chunk_size) {
    t->transfer = fixture_transfer(NULL, NULL, false);
    t->bytes = malloc(SIZE);
    CHECK(t->bytes != NULL);
    fixture_pull_init(&t->pull, NULL);
    t->pull.memory = t->bytes;
    t->pull.memory_size = SIZE;
    uint16_t port = ray_transfer_port(sender);
    ray_pull_options options = {.codec = RAY_CODEC_NONE, .chunk_size = chunk_size};
    fixture_start(&t->pull, t->transfer, which, &port, 1, &options);
}

static void finish(taker *t) {
    ray_status status = fixture_finish(&t->pull);
    if (status != RAY_OK) {
        fprintf(stderr, "    %s\n", t->pull.message);
    }
    CHECK_STATUS(status, RAY_OK);
    CHECK_EQUAL(t->pull.progress.retried_count, 0);
    for (uint64_t i = 0; i < SIZE; i++) {
        if (t->bytes[i] != byte_at(i)) {
            CHECK_EQUAL(t->bytes[i], byte_at(i));
        }
    }
    ray_transfer_destroy(t->transfer);
    free(t->bytes);
}

static void whoTakesNothingLeavesBuffersToOthers(void) {
    begin();
    ray__connection idle = taker_of_nothing(1);
    await(&place.read[SOUND], 2);
    taker t;
    start(&t, SOUND, 0);
    finish(&t);
    ray__connection_close(&idle);
    end();
}

static void whoFindsNoBufferWaitsForOne(void) {
    for (int is_freed = 1; is_freed >= 0; is_freed--) {
        begin();
        ray__connection idle[2];
        for (uint32_t i = 0; i < 2; i++) {
            idle[i] = taker_of_nothing(i + 1);
            await(&place.read[SOUND], 2 + i);
        }
        taker t;
        start(&t, SOUND, 0);
        uint64_t deadline = ray__now_ns() + FIXTURE_DEADLINE_NS;
        bool waits = false;
        while (!waits) {
            CHECK(ray__now_ns() < deadline);
            pthread_mutex_lock(&sender->reads.lock);
            waits = sender->reads.first != NULL;
            pthread_mutex_unlock(&sender->reads.lock);
            sched_yield();
        }
        CHECK_EQUAL(t.pull.done_count, 0);
        if (is_freed) {
            ray__connection_close(&idle[0]);
            finish(&t);
            ray__connection_close(&idle[1]);
        } else {
            // The end of who waits is noticed, and what it would have been given goes to the next.
            ray_pull_cancel(t.pull.handle);
            CHECK_STATUS(fixture_finish(&t.pull), RAY_CANCELLED);
            ray_transfer_destroy(t.transfer);
            free(t.bytes);
            taker next;
            start(&next, SOUND, 0);
            ray__connection_close(&idle[0]);
            ray__connection_close(&idle[1]);
            finish(&next);
        }
        end();
    }
}

static void aSourceThatStandsStillLeavesAReaderToOthers(void) {
    begin();
    set_stuck(true);
    taker slow;
    start(&slow, STUCK, 1u << 20);
    // As many as its buffers allow.
    await(&place.reading[STUCK], 2);
    taker t;
    start(&t, SOUND, 1u << 20);
    finish(&t);
    CHECK_EQUAL(slow.pull.done_count, 0);
    set_stuck(false);
    finish(&slow);
    end();
}

// The same with all the buffers that there may be.
static void aSourceThatStandsStillHasNotAllReaders(void) {
    ray_transfer_options options = {.struct_size = sizeof options, .key = fixture_key, .bind_host = "127.0.0.1", .find = find};
    CHECK_OK(ray_transfer_create(&options, &sender));
    bound = RAY__MEMORY_DEFAULT;
    stop = eventfd(0, EFD_CLOEXEC);
    set_stuck(true);
    taker slow;
    start(&slow, STUCK, 1u << 20);
    await(&place.reading[STUCK], 4);
    taker t;
    start(&t, SOUND, 1u << 20);
    finish(&t);
    CHECK_EQUAL(slow.pull.done_count, 0);
    set_stuck(false);
    finish(&slow);
    end();
}

// ---- by themselves -------------------------------------------------------------------------------------------------------------

static ray__buffers buffers;
static ray__reads reads;
static ray__offer offers[4];
static ray__read_turn turns[4];

static bool begins(uint32_t which, bool has_others, uint8_t **buffer) {
    return ray__read_begin(&reads, &turns[which], has_others, !has_others, buffer);
}

static bool was_woken(uint32_t which) {
    uint64_t count;
    return read(turns[which].event, &count, sizeof count) == sizeof count;
}

static void whoWaitsIsGivenWhatComesBackInTurn(void) {
    ray__memory memory = {0};
    ray__buffers_init(&buffers, &memory, 3);
    ray__reads_init(&reads, &buffers);
    memset(offers, 0, sizeof offers);
    for (uint32_t i = 0; i < 4; i++) {
        turns[i] = (ray__read_turn){.offer = &offers[i], .event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK)};
    }
    uint8_t *had[4];
    CHECK(begins(0, false, &had[0]) && begins(0, true, &had[1]));
    // The last one is for who has none.
    CHECK(!begins(1, true, &had[2]) && !turns[1].waits);
    CHECK(begins(1, false, &had[2]));
    CHECK(!begins(2, false, &had[3]) && !begins(3, false, &had[3]));
    CHECK(!was_woken(2) && !was_woken(3));
    ray__buffers_give(&buffers, had[0]);
    CHECK(was_woken(2) && !was_woken(3));
    CHECK_EQUAL(offers[2].reading, 1);
    CHECK(begins(2, false, &had[0]));
    CHECK_EQUAL(offers[2].reading, 1);
    // One that is given up goes to the next.
    ray__read_done(&reads, &offers[1], had[2]);
    CHECK(was_woken(3));
    CHECK(!begins(1, false, &had[2]));
    ray__read_withdraw(&reads, &turns[3]);
    CHECK_EQUAL(offers[3].reading, 0);
    CHECK(was_woken(1) && begins(1, false, &had[2]));
    // A place is waited for as a buffer is: this offer has both of its own.
    ray__read_done(&reads, &offers[2], had[0]);
    CHECK_EQUAL(offers[0].reading, 2);
    CHECK(!begins(0, false, &had[3]));
    ray__read_done(&reads, &offers[0], NULL);
    CHECK(was_woken(0) && begins(0, false, &had[3]));
    // Who waits no more is not in the way of others.
    CHECK(!begins(2, false, &had[0]) && turns[2].waits);
    ray__read_withdraw(&reads, &turns[2]);
    CHECK(reads.first == NULL);
    for (uint32_t i = 1; i < 4; i++) {
        ray__buffers_give(&buffers, had[i]);
    }
    for (uint32_t i = 0; i < 4; i++) {
        close(turns[i].event);
    }
    ray__reads_end(&reads);
    ray__buffers_end(&buffers);
    CHECK_EQUAL(atomic_load(&memory.used), 0);
}

int main(void) {
    RUN(whoWaitsIsGivenWhatComesBackInTurn);
    RUN(whoTakesNothingLeavesBuffersToOthers);
    RUN(whoFindsNoBufferWaitsForOne);
    RUN(aSourceThatStandsStillLeavesAReaderToOthers);
    RUN(aSourceThatStandsStillHasNotAllReaders);
    return 0;
}
