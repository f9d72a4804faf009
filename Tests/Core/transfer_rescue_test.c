// SPDX-License-Identifier: Apache-2.0
// No source that has all of it is left: two receivers, each with half of the chunks, finish from each other, or end with an error when a chunk is
// nowhere.
//
// Each is begun by a source of its own, made here message by message: it sends every second chunk, says that the other receiver has one of
// the others, and then that it has no more itself.
#include <netinet/in.h>
#include <sys/uio.h>

#include "codec/frame_internal.h"
#include "transfer/connection_internal.h"
#include "transfer/wire_internal.h"
#include "transfer_fixture.h"

enum { CHUNK = RAY_CHUNK_SIZE_MIN, CHUNKS = 16, SIZE = CHUNK * CHUNKS, NONE = CHUNKS };

typedef struct half {
    const uint8_t *bytes;
    uint32_t parity;      // of the chunks that it has
    uint32_t lacks;       // but this one; NONE: it has all of them
    bool is_late;         // is a receiver itself, which has each chunk only when it is asked for it again
    bool refused[CHUNKS]; // was asked for it once
    _Atomic bool is_asked;
    const struct half *other; // that begins the other receiver
    uint16_t other_port;      // of that receiver
    int listener;
    uint16_t port;
    int stop;
    int stop_writer;
    _Atomic bool end;
    pthread_t thread;
} half;

static void say(ray__connection *c, uint8_t *message, uint16_t type, uint32_t stream, uint32_t size) {
    ray__message_seal(message, type, stream, size);
    struct iovec part = {message, RAY__MESSAGE_HEADER_SIZE + size};
    CHECK_OK(ray__connection_write(c, &part, 1, false));
}

static void say_card(const half *h, ray__connection *c, uint32_t stream) {
    ray__card_message card;
    memset(&card, 0, sizeof card);
    card.kind = RAY_KIND_OBJECT;
    card.flags = (uint16_t)(RAY__CARD_HERE | (h->is_late ? RAY__CARD_PARTIAL : 0));
    card.size_bytes = SIZE;
    card.chunk_size = CHUNK;
    uint8_t message[RAY__MESSAGE_HEADER_SIZE + RAY__CARD_FIXED_SIZE];
    ray__card_write(&card, message + RAY__MESSAGE_HEADER_SIZE);
    say(c, message, RAY__MESSAGE_CARD, stream, RAY__CARD_FIXED_SIZE);
}

static void say_chunk(const half *h, ray__connection *c, uint32_t stream, uint32_t index) {
    static _Thread_local uint8_t message[RAY__CHUNK_PREFIX_SIZE + CHUNK];
    const uint8_t *raw = h->bytes + (size_t)index * CHUNK;
    ray_chunk_header header = {.id = fixture_id(1), .index = index, .raw_size = CHUNK, .stored_size = CHUNK, .codec = RAY_CODEC_NONE,
                               .checksum = ray__checksum_of(raw, CHUNK)};
    ray__chunk_header_write(&header, message + RAY__MESSAGE_HEADER_SIZE);
    memcpy(message + RAY__CHUNK_PREFIX_SIZE, raw, CHUNK);
    say(c, message, RAY__MESSAGE_CHUNK, stream, RAY_CHUNK_HEADER_SIZE + CHUNK);
}

// To nobody if the port is 0.
static void say_refer(ray__connection *c, uint32_t stream, uint32_t index, uint16_t port) {
    uint8_t message[RAY__MESSAGE_HEADER_SIZE + RAY__REFER_BODY_MAX];
    ray__refer refer = {.index = index};
    if (port != 0) {
        refer = (ray__refer){.index = index, .depth = 1, .holder = {.host = "127.0.0.1", .port = port}};
    }
    say(c, message, RAY__MESSAGE_REFER, stream, ray__refer_write(&refer, message + RAY__MESSAGE_HEADER_SIZE));
}

static void say_failed(ray__connection *c, uint32_t stream, uint32_t index) {
    uint8_t message[RAY__MESSAGE_HEADER_SIZE + RAY__FAILED_BODY_MAX];
    ray__failed failed = {.index = index, .status = RAY_NOT_LOCAL, .text = "half of it is all there is"};
    say(c, message, RAY__MESSAGE_FAILED, stream, ray__failed_write(&failed, message + RAY__MESSAGE_HEADER_SIZE));
}

static void wait_for(const _Atomic bool *flag) {
    uint64_t deadline = ray__now_ns() + FIXTURE_DEADLINE_NS;
    while (!atomic_load(flag)) {
        CHECK(ray__now_ns() < deadline);
        sched_yield();
    }
}

// The receiver asks for all chunks at once: they fit into its window.
static void answer(half *h, ray__connection *c, uint32_t stream, const ray__request *request) {
    atomic_store(&h->is_asked, true);
    for (uint32_t i = 0; i < request->count && h->is_late; i++) {
        uint32_t index = request->indices[i];
        if (h->refused[index]) {
            say_chunk(h, c, stream, index);
        } else {
            say_refer(c, stream, index, 0);
        }
        h->refused[index] = true;
    }
    if (h->is_late) {
        return;
    }
    CHECK_EQUAL(request->count, CHUNKS);
    // As with a real source: nobody is referred to one who has not asked for chunks himself.
    wait_for(&h->other->is_asked);
    for (uint32_t i = h->parity; i < CHUNKS; i += 2) {
        if (i != h->lacks) {
            say_chunk(h, c, stream, i);
        }
    }
    say_refer(c, stream, 1 - h->parity, h->other_port);
    say_failed(c, stream, 3 - h->parity);
}

static void serve(half *h, ray__connection *c) {
    uint8_t header[RAY__MESSAGE_HEADER_SIZE];
    static _Thread_local uint8_t body[RAY__OPEN_BODY_MAX];
    ray__message message;
    c->silent_ns = FIXTURE_DEADLINE_NS;
    // Until the receiver hangs up: then it has read all of it.
    while (ray__connection_read(c, header, sizeof header) == RAY_OK) {
        CHECK_OK(ray__message_read(header, true, &message));
        CHECK_OK(ray__connection_read(c, body, message.body_size));
        CHECK_OK(ray__message_verify(header, &message, body));
        if (message.type == RAY__MESSAGE_OPEN) {
            say_card(h, c, message.stream);
        } else if (message.type == RAY__MESSAGE_REQUEST) {
            ray__request request;
            CHECK_OK(ray__request_read(body, message.body_size, &request));
            answer(h, c, message.stream, &request);
        }
    }
}

static void *run_half(void *context) {
    half *h = context;
    while (!atomic_load(&h->end)) {
        ray__connection c;
        if (ray__listener_accept(h->listener, h->stop, &c) != RAY_OK) {
            continue; // told to end, or somebody who went away
        }
        CHECK_OK(ray__connection_prove(&c, &fixture_key, RAY_ROLE_ACCEPTING, 5000000000ull));
        serve(h, &c);
        ray__connection_close(&c);
    }
    return NULL;
}

static void half_start(half *h) {
    int pipes[2];
    CHECK(pipe(pipes) == 0);
    h->stop = pipes[0];
    h->stop_writer = pipes[1];
    CHECK_OK(ray__listener_open("127.0.0.1", 0, &h->listener, &h->port));
    CHECK_EQUAL(pthread_create(&h->thread, NULL, run_half, h), 0);
}

static void half_stop(half *h) {
    atomic_store(&h->end, true);
    close(h->stop_writer);
    pthread_join(h->thread, NULL);
    close(h->stop);
    close(h->listener);
}

// ---- two receivers -----------------------------------------------------------------------------------------------------------

typedef struct receiver {
    ray_store *store;
    ray_transfer *transfer;
    fixture_pull pull;
    half source;
} receiver;

static void receiver_start(receiver *r, const uint8_t *bytes, uint32_t parity, uint32_t lacks) {
    memset(r, 0, sizeof *r);
    r->store = fixture_store(16 * MIB);
    r->transfer = fixture_transfer(NULL, r->store, true);
    r->source.bytes = bytes;
    r->source.parity = parity;
    r->source.lacks = lacks;
}

// other: the source that begins who is referred to, at this port.
static void receiver_pull(receiver *r, const half *other, uint16_t other_port) {
    r->source.other = other;
    r->source.other_port = other_port;
    ray_object_id id = fixture_id(1);
    uint32_t state;
    CHECK_OK(ray_node_adopt(r->store, &id, &state));
    ray_pull_options options = {.connection_count = 1, .chunk_size = CHUNK, .codec = RAY_CODEC_NONE, .timeout_ns = 50000000000ull};
    fixture_pull_init(&r->pull, NULL);
    half_start(&r->source);
    fixture_start(&r->pull, r->transfer, 1, &r->source.port, 1, &options);
}

static void receiver_end(receiver *r) {
    ray_transfer_destroy(r->transfer);
    half_stop(&r->source);
    CHECK_OK(ray_plasma_check(r->store, 2));
    ray_store_close(r->store);
}

static void check_whole(receiver *r, const uint8_t *bytes) {
    fixture_check_object(r->store, 1, bytes, SIZE);
}

// What the other has read may be counted a moment later.
static void check_sent_half(const receiver *r) {
    uint64_t deadline = ray__now_ns() + FIXTURE_DEADLINE_NS;
    while (fixture_stats(r->transfer).sent_bytes < SIZE / 2) {
        CHECK(ray__now_ns() < deadline);
        sched_yield();
    }
    CHECK_EQUAL(fixture_stats(r->transfer).sent_bytes, SIZE / 2);
}

static void receiversWithAHalfEachFinishFromEachOther(void) {
    uint8_t *bytes = fixture_bytes(SIZE, 3, false);
    static receiver a;
    static receiver b;
    receiver_start(&a, bytes, 0, NONE);
    receiver_start(&b, bytes, 1, NONE);
    receiver_pull(&a, &b.source, ray_transfer_port(b.transfer));
    receiver_pull(&b, &a.source, ray_transfer_port(a.transfer));
    CHECK_STATUS(fixture_finish(&a.pull), RAY_OK);
    CHECK_STATUS(fixture_finish(&b.pull), RAY_OK);
    check_whole(&a, bytes);
    check_whole(&b, bytes);
    // Each half came over the network twice: from its source, and from the receiver that had it.
    check_sent_half(&a);
    check_sent_half(&b);
    receiver_end(&a);
    receiver_end(&b);
    free(bytes);
}

// One that did not have a chunk when it was asked may have got it since.
static void whoDidNotHaveAChunkIsAskedAgain(void) {
    uint8_t *bytes = fixture_bytes(SIZE, 4, false);
    static receiver a;
    static half late;
    receiver_start(&a, bytes, 0, NONE);
    late = (half){.bytes = bytes, .is_late = true, .lacks = NONE};
    atomic_store(&late.is_asked, true); // by the one that begins it, if there were one
    half_start(&late);
    receiver_pull(&a, &late, late.port);
    CHECK_STATUS(fixture_finish(&a.pull), RAY_OK);
    check_whole(&a, bytes);
    for (uint32_t i = 0; i < CHUNKS; i++) {
        CHECK_EQUAL(late.refused[i], i % 2 == 1);
    }
    receiver_end(&a);
    half_stop(&late);
    free(bytes);
}

// Both wait for a chunk that neither will get: they are told so long before the time of the pull is over.
static void aChunkThatIsNowhereEndsThePulls(void) {
    uint8_t *bytes = fixture_bytes(SIZE, 5, false);
    static receiver a;
    static receiver b;
    receiver_start(&a, bytes, 0, NONE);
    receiver_start(&b, bytes, 1, 7);
    receiver_pull(&a, &b.source, ray_transfer_port(b.transfer));
    receiver_pull(&b, &a.source, ray_transfer_port(a.transfer));
    CHECK_STATUS(fixture_finish(&a.pull), RAY_NOT_LOCAL);
    CHECK_STATUS(fixture_finish(&b.pull), RAY_NOT_LOCAL);
    CHECK(strstr(a.pull.message, "half of it is all there is") != NULL);
    CHECK_EQUAL(a.pull.progress.done_bytes, SIZE - CHUNK);
    CHECK_EQUAL(b.pull.progress.done_bytes, SIZE - CHUNK);
    receiver_end(&a);
    receiver_end(&b);
    free(bytes);
}

int main(void) {
    RUN(receiversWithAHalfEachFinishFromEachOther);
    RUN(whoDidNotHaveAChunkIsAskedAgain);
    RUN(aChunkThatIsNowhereEndsThePulls);
    return 0;
}
