// SPDX-License-Identifier: Apache-2.0
// What may be all of an object is asked for right behind the OPEN: it comes behind its card, and nothing comes that the card rules out.
#include "base/checksum_internal.h"
#include "codec/frame_internal.h"
#include "transfer_peer.h"

#define SIZE ((uint64_t)200 << 10)
#define LARGE_SIZE ((uint64_t)RAY_CHUNK_SIZE + 1)

static char source_path[128];
static char small_path[128];
static char large_path[128];
static char target_path[128];
static uint8_t *bytes;

enum { WHOLE = 1, SMALL, LARGE, NOWHERE };

static void make_table(fixture_table *table) {
    memset(table, 0, sizeof *table);
    fixture_add_file(table, WHOLE, source_path);
    fixture_add_file(table, SMALL, small_path);
    fixture_add_file(table, LARGE, large_path);
}

// ---- who is asked ------------------------------------------------------------------------------------------------------------

static uint32_t write_request(uint8_t *message, uint32_t stream, uint8_t flags) {
    ray__request request = {.codec = RAY_CODEC_NONE, .flags = flags, .count = 1};
    uint32_t size = ray__request_write(&request, message + RAY__MESSAGE_HEADER_SIZE);
    ray__message_seal(message, RAY__MESSAGE_REQUEST, stream, size);
    return RAY__MESSAGE_HEADER_SIZE + size;
}

static void open_and_ask(ray__connection *c, uint32_t number, uint32_t stream) {
    uint8_t message[2 * RAY__MESSAGE_HEADER_SIZE + RAY__OPEN_BODY_MAX + RAY__REQUEST_BODY_MAX];
    uint32_t size = peer_write_open(message, number, stream);
    size += write_request(message + size, stream, RAY__REQUEST_AHEAD);
    CHECK(peer_send(c, message, size));
}

static uint8_t body[RAY_CHUNK_HEADER_SIZE + RAY_CHUNK_SIZE];
_Static_assert(sizeof body >= RAY__CARD_BODY_MAX, "a card fits, too");

static ray__message next_message(ray__connection *c) {
    uint8_t header[RAY__MESSAGE_HEADER_SIZE];
    ray__message message;
    do {
        CHECK_OK(ray__connection_read(c, header, sizeof header));
        CHECK_OK(ray__message_read(header, false, &message));
        CHECK(message.body_size <= sizeof body);
        CHECK_OK(ray__connection_read(c, body, message.body_size));
    } while (message.type == RAY__MESSAGE_NOTE || message.type == RAY__MESSAGE_WAIT);
    return message;
}

static ray__card_message expect_card(ray__connection *c, uint32_t stream) {
    ray__message message = next_message(c);
    ray__card_message card;
    CHECK_EQUAL(message.type, RAY__MESSAGE_CARD);
    CHECK_EQUAL(message.stream, stream);
    CHECK_OK(ray__card_read(body, message.body_size, &card));
    return card;
}

static void expect_chunk(ray__connection *c, uint32_t stream, uint64_t size) {
    ray__message message = next_message(c);
    ray_chunk_header header;
    CHECK_EQUAL(message.type, RAY__MESSAGE_CHUNK);
    CHECK_EQUAL(message.stream, stream);
    CHECK_EQUAL(message.body_size, RAY_CHUNK_HEADER_SIZE + size);
    CHECK_OK(ray_chunk_header_read(body, RAY_CHUNK_HEADER_SIZE, &header));
    CHECK_EQUAL(header.index, 0);
    CHECK(memcmp(body + RAY_CHUNK_HEADER_SIZE, bytes, size) == 0);
    CHECK_EQUAL(header.checksum, ray__checksum_of(bytes, size));
}

static void whatIsOneChunkComesBehindItsCard(void) {
    fixture_table table;
    make_table(&table);
    ray_transfer *sender = fixture_transfer(&table, NULL, true);
    ray__connection c = peer_connect_proved(sender, -1);
    open_and_ask(&c, WHOLE, 1);
    ray__card_message card = expect_card(&c, 1);
    CHECK(card.status == RAY_OK && card.size_bytes == SIZE && ray__card_keeps_ahead(&card));
    expect_chunk(&c, 1, SIZE);
    ray__connection_close(&c);
    ray_transfer_destroy(sender);
}

static void whatTheCardRulesOutDoesNotCome(void) {
    fixture_table table;
    make_table(&table);
    ray_transfer *sender = fixture_transfer(&table, NULL, true);
    ray__connection c = peer_connect_proved(sender, -1);
    static const uint32_t numbers[] = {SMALL, LARGE, NOWHERE};
    static const ray_status expected[] = {RAY_OK, RAY_OK, RAY_NOT_FOUND};
    uint32_t stream = 0;
    for (int i = 0; i < 3; i++) {
        open_and_ask(&c, numbers[i], ++stream);
        ray__card_message card = expect_card(&c, stream);
        CHECK_STATUS(card.status, expected[i]);
        CHECK(!ray__card_keeps_ahead(&card));
        CHECK_EQUAL((card.flags & RAY__CARD_INLINE) != 0, numbers[i] == SMALL);
    }
    // Whatever came for them would come before this; and what the card has ruled out can still be asked for.
    uint8_t message[RAY__MESSAGE_HEADER_SIZE + RAY__REQUEST_BODY_MAX];
    CHECK(peer_send(&c, message, write_request(message, 2, 0)));
    expect_chunk(&c, 2, RAY_CHUNK_SIZE);
    ray__connection_close(&c);
    ray_transfer_destroy(sender);
}

// ---- who asks ----------------------------------------------------------------------------------------------------------------

typedef struct source {
    int listener;
    uint16_t port;
    uint64_t size;
    bool waits_for_request; // before it says what it has
    _Atomic uint32_t connection_count;
    _Atomic uint32_t ahead_count;
    _Atomic uint32_t request_count; // in all
    int stops[2];
    pthread_t thread;
} source;

static void send_card(source *s, ray__connection *c, uint32_t stream) {
    uint8_t message[RAY__MESSAGE_HEADER_SIZE + 1024];
    ray__card_message card = {.kind = RAY_KIND_FILE, .flags = RAY__CARD_HERE, .chunk_size = RAY_CHUNK_SIZE, .size_bytes = s->size};
    uint32_t size = ray__card_size(&card);
    ray__card_write(&card, message + RAY__MESSAGE_HEADER_SIZE);
    ray__message_seal(message, RAY__MESSAGE_CARD, stream, size);
    (void)peer_send(c, message, RAY__MESSAGE_HEADER_SIZE + size);
}

static void send_chunk(source *s, ray__connection *c, uint32_t stream, uint32_t index) {
    static uint8_t message[RAY__CHUNK_PREFIX_SIZE + RAY_CHUNK_SIZE];
    uint32_t size = ray__chunk_raw_size(s->size, RAY_CHUNK_SIZE, index);
    const uint8_t *raw = bytes + (uint64_t)index * RAY_CHUNK_SIZE;
    ray_chunk_header header = {.id = fixture_id(WHOLE), .index = index, .raw_size = size, .stored_size = size, .codec = RAY_CODEC_NONE,
                               .checksum = ray__checksum_of(raw, size)};
    ray__chunk_header_write(&header, message + RAY__MESSAGE_HEADER_SIZE);
    memcpy(message + RAY__CHUNK_PREFIX_SIZE, raw, size);
    ray__message_seal(message, RAY__MESSAGE_CHUNK, stream, RAY_CHUNK_HEADER_SIZE + size);
    struct iovec part = {message, RAY__CHUNK_PREFIX_SIZE + size};
    ray_status sent = ray__connection_write(c, &part, 1, false);
    (void)sent; // who asked may have gone
}

static void converse(source *s, ray__connection *c) {
    uint8_t header[RAY__MESSAGE_HEADER_SIZE];
    uint8_t said[RAY__OPEN_BODY_MAX];
    ray__message message;
    ray__request request;
    while (ray__connection_read(c, header, sizeof header) == RAY_OK) {
        CHECK_OK(ray__message_read(header, true, &message));
        if (ray__connection_read(c, said, message.body_size) != RAY_OK) {
            return;
        }
        if (message.type == RAY__MESSAGE_OPEN && !s->waits_for_request) {
            send_card(s, c, message.stream);
        } else if (message.type == RAY__MESSAGE_REQUEST) {
            CHECK_OK(ray__request_read(said, message.body_size, &request));
            bool is_ahead = (request.flags & RAY__REQUEST_AHEAD) != 0;
            atomic_fetch_add(&s->request_count, 1);
            atomic_fetch_add(&s->ahead_count, is_ahead);
            if (s->waits_for_request) {
                send_card(s, c, message.stream);
            }
            for (uint32_t i = 0; i < request.count && (!is_ahead || s->size <= RAY_CHUNK_SIZE); i++) {
                send_chunk(s, c, message.stream, request.indices[i]);
            }
        }
    }
}

static void *run_source(void *context) {
    source *s = context;
    for (;;) {
        struct pollfd fds[2] = {{.fd = s->listener, .events = POLLIN}, {.fd = s->stops[0], .events = POLLIN}};
        poll(fds, 2, -1);
        if (fds[1].revents != 0) {
            return NULL;
        }
        ray__connection c;
        if (ray__listener_accept(s->listener, s->stops[0], &c) == RAY_OK) {
            atomic_fetch_add(&s->connection_count, 1);
            CHECK_OK(ray__connection_prove(&c, &fixture_key, RAY_ROLE_ACCEPTING, 5 * RAY__SECOND));
            c.silent_ns = FIXTURE_DEADLINE_NS;
            converse(s, &c);
            ray__connection_close(&c);
        }
    }
}

static void source_start(source *s, uint64_t size, bool waits_for_request) {
    memset(s, 0, sizeof *s);
    s->size = size;
    s->waits_for_request = waits_for_request;
    CHECK(pipe(s->stops) == 0);
    CHECK_OK(ray__listener_open("127.0.0.1", 0, &s->listener, &s->port));
    CHECK_EQUAL(pthread_create(&s->thread, NULL, run_source, s), 0);
}

static void source_stop(source *s) {
    close(s->stops[1]);
    pthread_join(s->thread, NULL);
    close(s->stops[0]);
    close(s->listener);
}

static void pull(ray_transfer *receiver, source *s, ray_pull_options *options) {
    fixture_pull p;
    CHECK_OK(fixture_pull_now(&p, receiver, WHOLE, s->port, target_path, options));
    CHECK(fixture_file_is(target_path, bytes, s->size));
    unlink(target_path);
}

static void aPullOfOneChunkIsOneRoundTrip(void) {
    source s;
    source_start(&s, SIZE, true);
    ray_transfer *receiver = fixture_transfer(NULL, NULL, false);
    for (uint32_t i = 1; i <= 3; i++) {
        pull(receiver, &s, NULL);
        CHECK_EQUAL(atomic_load(&s.request_count), i);
        CHECK_EQUAL(atomic_load(&s.ahead_count), i);
    }
    CHECK_EQUAL(atomic_load(&s.connection_count), 1);
    ray_transfer_destroy(receiver);
    source_stop(&s);
}

static void ofMoreThanOneChunkTheFirstIsAskedForAgain(void) {
    source s;
    source_start(&s, LARGE_SIZE, false);
    ray_transfer *receiver = fixture_transfer(NULL, NULL, false);
    ray_pull_options options = {.connection_count = 1};
    pull(receiver, &s, &options);
    CHECK_EQUAL(atomic_load(&s.ahead_count), 1);
    CHECK(atomic_load(&s.request_count) > 1);
    ray_transfer_destroy(receiver);
    source_stop(&s);
}

// Under a cap the size must be known first; so it must for a part, and for what nobody waits for.
static void whereTheSizeHasASayNothingIsAskedAhead(void) {
    source s;
    source_start(&s, SIZE, false);
    ray_transfer *receiver = fixture_transfer(NULL, NULL, false);
    ray_pull_options capped = {.rate_max_bytes = 1 << 30};
    pull(receiver, &s, &capped);
    ray_pull_options unhurried = {.urgency = RAY_URGENCY_BACKGROUND};
    pull(receiver, &s, &unhurried);
    CHECK_EQUAL(atomic_load(&s.ahead_count), 0);
    CHECK_EQUAL(atomic_load(&s.request_count), 2);
    ray_transfer_destroy(receiver);
    source_stop(&s);
}

// What it asked for comes all the same, so the next pull must not find it on its connection.
static void aPullThatEndsWithItsCardLeavesItsConnectionToNobody(void) {
    source s;
    source_start(&s, SIZE, true);
    ray_transfer *receiver = fixture_transfer(NULL, NULL, false);
    fixture_pull p;
    fixture_pull_init(&p, target_path);
    p.open_status = RAY_STORE_FULL;
    fixture_start(&p, receiver, WHOLE, &s.port, 1, NULL);
    CHECK_STATUS(fixture_finish(&p), RAY_STORE_FULL);
    pull(receiver, &s, NULL);
    CHECK_EQUAL(atomic_load(&s.connection_count), 2);
    ray_transfer_destroy(receiver);
    source_stop(&s);
}

int main(void) {
    fixture_make_directory();
    fixture_path(source_path, "source");
    fixture_path(small_path, "small");
    fixture_path(large_path, "large");
    fixture_path(target_path, "target");
    bytes = fixture_bytes(LARGE_SIZE, 5, false);
    fixture_write_file(source_path, bytes, SIZE);
    fixture_write_file(small_path, bytes, RAY_INLINE_MAX);
    fixture_write_file(large_path, bytes, LARGE_SIZE);
    RUN(whatIsOneChunkComesBehindItsCard);
    RUN(whatTheCardRulesOutDoesNotCome);
    RUN(aPullOfOneChunkIsOneRoundTrip);
    RUN(ofMoreThanOneChunkTheFirstIsAskedForAgain);
    RUN(whereTheSizeHasASayNothingIsAskedAhead);
    RUN(aPullThatEndsWithItsCardLeavesItsConnectionToNobody);
    unlink(source_path);
    unlink(small_path);
    unlink(large_path);
    free(bytes);
    fixture_remove_directory();
    return 0;
}
