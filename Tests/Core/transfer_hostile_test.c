// SPDX-License-Identifier: Apache-2.0
// Peers that hold the key and lie: about sizes, chunks, messages. A protocol error at worst, never a crash, a hang or a wrong byte.
#include "codec/bytes_internal.h"
#include "codec/frame_internal.h"
#include "transfer/note_internal.h"
#include "transfer_peer.h"

static char source_path[128];
static char target_path[128];

// ---- a liar that serves ------------------------------------------------------------------------------------------------------

enum lie {
    LIE_HUGE_FILE,       // more than any disk
    LIE_NO_SUCH_SIZE,    // beyond what chunks can count
    LIE_INLINE_SIZE,     // inline bytes that are not the size
    LIE_PARTS,           // parts larger than the card
    LIE_HOLDERS,         // more holders than named
    LIE_OTHER_CHUNK,     // a chunk nobody asked for
    LIE_RAW_SIZE,        // a chunk larger than the object's
    LIE_STORED_SIZE,     // a message of another size than its frame
    LIE_PACKED,          // packed bytes that unpack to less
    LIE_TYPE,            // a message only receivers send
    LIE_BODY_SIZE,       // a body of 4 GiB
    LIE_JUNK,            // no message at all
    LIE_STREAM,          // of another stream
    LIE_EARLY_END,       // half a card
    LIE_CHUNK_SIZE,      // chunks of another size than was asked for
    LIE_NO_CHUNK_SIZE,   // of a size that no chunk has
    LIE_NOTE,            // a NOTE of a codec that there is not
    LIE_NOTES,           // NOTEs for ever, instead of a chunk
    LIE_LONG_NOTE,       // one that is larger than any
    LIE_COUNT,
};

typedef struct liar {
    int listener;
    uint16_t port;
    enum lie lie;
    int stop;
    _Atomic bool end;
    pthread_t thread;
} liar;

static void send_raw(ray__connection *c, void *bytes, size_t size) {
    struct iovec part = {bytes, size};
    ray_status status = ray__connection_write(c, &part, 1, false);
    (void)status; // the honest end may have hung up already
}

static void send_card(liar *l, ray__connection *c, uint32_t stream) {
    ray__card_message card;
    memset(&card, 0, sizeof card);
    static const uint8_t some[64];
    card.kind = RAY_KIND_FILE;
    card.flags = RAY__CARD_HERE;
    card.size_bytes = 2 * RAY_CHUNK_SIZE;
    card.chunk_size = l->lie == LIE_CHUNK_SIZE ? RAY_CHUNK_SIZE / 2 : l->lie == LIE_NO_CHUNK_SIZE ? RAY_CHUNK_SIZE - 1 : RAY_CHUNK_SIZE;
    card.size_bytes = l->lie == LIE_HUGE_FILE ? 1ull << 50 : l->lie == LIE_NO_SUCH_SIZE ? 1ull << 61 : card.size_bytes;
    if (l->lie == LIE_INLINE_SIZE) {
        card.flags |= RAY__CARD_INLINE;
        card.size_bytes = 70;
        card.inline_size = 64;
        card.inline_data = some;
    }
    uint8_t message[512];
    uint32_t size = ray__card_size(&card);
    ray__card_write(&card, message + RAY__MESSAGE_HEADER_SIZE);
    if (l->lie == LIE_PARTS) {
        ray__put_u32(message + RAY__MESSAGE_HEADER_SIZE + 20, 0xfffffff0u);
    } else if (l->lie == LIE_HOLDERS) {
        ray__put_u32(message + RAY__MESSAGE_HEADER_SIZE + 40, 9);
    }
    ray__message_seal(message, RAY__MESSAGE_CARD, stream, size);
    send_raw(c, message, l->lie == LIE_EARLY_END ? 40 : RAY__MESSAGE_HEADER_SIZE + size);
}

static void send_lying_chunk(liar *l, ray__connection *c, uint32_t stream, uint32_t index) {
    static uint8_t bytes[RAY__CHUNK_PREFIX_SIZE + 2048];
    memset(bytes, 0, sizeof bytes);
    ray_chunk_header header = {.id = fixture_id(1), .index = index, .raw_size = RAY_CHUNK_SIZE, .stored_size = 1024, .codec = RAY_CODEC_LZ4};
    uint16_t type = RAY__MESSAGE_CHUNK;
    uint32_t body = RAY_CHUNK_HEADER_SIZE + 1024;
    header.index = l->lie == LIE_OTHER_CHUNK ? 7 : index;
    header.raw_size = l->lie == LIE_RAW_SIZE ? RAY_CHUNK_SIZE - 1 : RAY_CHUNK_SIZE;
    body += l->lie == LIE_STORED_SIZE ? 512 : 0;
    ray__chunk_header_write(&header, bytes + RAY__MESSAGE_HEADER_SIZE);
    if (l->lie == LIE_TYPE) {
        type = RAY__MESSAGE_REQUEST;
    }
    ray__message_seal(bytes, type, l->lie == LIE_STREAM ? stream + 1 : stream, l->lie == LIE_TYPE ? 1024 : body);
    if (l->lie == LIE_BODY_SIZE) {
        ray__put_u32(bytes + 8, UINT32_MAX);
    } else if (l->lie == LIE_JUNK) {
        memset(bytes, 0xa5, 64);
    }
    send_raw(c, bytes, RAY__CHUNK_PREFIX_SIZE + 1024);
}

static void send_lying_notes(liar *l, ray__connection *c, uint32_t stream) {
    uint8_t message[RAY__MESSAGE_HEADER_SIZE + RAY__NOTE_BODY_MAX + 1] = {0};
    ray__note_message note = {.begun = 1, .serial = 1, .codec = l->lie == LIE_NOTE ? 4 : RAY_CODEC_LZ4, .reason = RAY_REASON_BALANCE};
    uint32_t size = ray__note_write(&note, message + RAY__MESSAGE_HEADER_SIZE);
    size = l->lie == LIE_LONG_NOTE ? RAY__NOTE_BODY_MAX + 1 : size;
    ray__message_seal(message, RAY__MESSAGE_NOTE, stream, size);
    struct iovec part = {message, RAY__MESSAGE_HEADER_SIZE + size};
    uint8_t wait[RAY__MESSAGE_HEADER_SIZE];
    ray__message_seal(wait, RAY__MESSAGE_WAIT, stream, 0);
    // A receiver that believes it would be kept for ever.
    uint64_t deadline = ray__now_ns() + 30000000000ull;
    do {
        CHECK(ray__now_ns() < deadline);
        send_raw(c, wait, sizeof wait);
    } while (ray__connection_write(c, &part, 1, false) == RAY_OK);
}

static void serve_lies(liar *l, ray__connection *c) {
    uint8_t header[RAY__MESSAGE_HEADER_SIZE];
    uint8_t body[RAY__REQUEST_BODY_MAX];
    ray__message message;
    c->silent_ns = 10000000000ull;
    while (ray__connection_read(c, header, sizeof header) == RAY_OK) {
        CHECK_OK(ray__message_read(header, true, &message));
        if (ray__connection_read(c, body, message.body_size) != RAY_OK) {
            return;
        }
        CHECK_OK(ray__message_verify(header, &message, body));
        if (message.type == RAY__MESSAGE_OPEN) {
            send_card(l, c, message.stream);
            if (l->lie == LIE_EARLY_END) {
                return;
            }
        } else if (message.type == RAY__MESSAGE_REQUEST) {
            ray__request request;
            CHECK_OK(ray__request_read(body, message.body_size, &request));
            if (l->lie == LIE_NOTE || l->lie == LIE_NOTES || l->lie == LIE_LONG_NOTE) {
                send_lying_notes(l, c, message.stream);
                return;
            }
            for (uint32_t i = 0; i < request.count; i++) {
                send_lying_chunk(l, c, message.stream, request.indices[i]);
            }
        }
    }
}

static void *run_liar(void *context) {
    liar *l = context;
    while (!atomic_load(&l->end)) {
        ray__connection c;
        if (ray__listener_accept(l->listener, l->stop, &c) != RAY_OK) {
            usleep(1000);
            continue;
        }
        if (ray__connection_prove(&c, &fixture_key, RAY_ROLE_ACCEPTING, 5000000000ull) == RAY_OK) {
            serve_lies(l, &c);
        }
        ray__connection_close(&c);
    }
    return NULL;
}

static void everyLieEndsInAnError(void) {
    for (int lie = 0; lie < LIE_COUNT; lie++) {
        liar l = {.lie = (enum lie)lie};
        int pipes[2];
        CHECK(pipe(pipes) == 0);
        l.stop = pipes[0];
        CHECK_OK(ray__listener_open("127.0.0.1", 0, &l.listener, &l.port));
        CHECK_EQUAL(pthread_create(&l.thread, NULL, run_liar, &l), 0);
        ray_transfer *receiver = fixture_transfer(NULL, NULL, false);
        fixture_pull p;
        ray_pull_options options = {.timeout_ns = 20000000000ull, .connection_count = 1};
        ray_status status = fixture_pull_now(&p, receiver, 1, l.port, target_path, &options);
        CHECK(status != RAY_OK && status != RAY_TIMED_OUT);
        if (lie == LIE_HUGE_FILE) {
            CHECK_EQUAL(status, RAY_OUT_OF_DISK);
        } else if (lie == LIE_PACKED) {
            CHECK_EQUAL(status, RAY_CORRUPT);
        } else if (lie != LIE_EARLY_END) {
            CHECK_EQUAL(status, RAY_PROTOCOL);
        }
        CHECK(access(target_path, F_OK) != 0);
        ray_transfer_destroy(receiver);
        atomic_store(&l.end, true);
        close(pipes[1]);
        pthread_join(l.thread, NULL);
        close(pipes[0]);
        close(l.listener);
    }
}

// ---- a liar that asks --------------------------------------------------------------------------------------------------------

static void open_stream(ray__connection *c, uint32_t stream) {
    uint8_t message[RAY__MESSAGE_HEADER_SIZE + RAY__OPEN_BODY_MAX];
    send_raw(c, message, peer_write_open(message, 1, stream));
}

// Reads until the sender closes the connection.
static void expect_end(ray__connection *c) {
    static uint8_t bytes[65536];
    size_t got;
    ray_status status;
    do {
        status = ray__connection_read_some(c, bytes, sizeof bytes, &got);
    } while (status == RAY_OK);
    CHECK_EQUAL(status, RAY_PEER_CLOSED);
    ray__connection_close(c);
}

static void theSenderHangsUpOnReceiversThatLie(void) {
    fixture_table table = {0};
    uint8_t *bytes = fixture_bytes(9 * MIB, 1, false);
    fixture_write_file(source_path, bytes, 9 * MIB);
    fixture_add_file(&table, 1, source_path);
    ray_transfer *sender = fixture_transfer(&table, NULL, true);
    int pipes[2];
    CHECK(pipe(pipes) == 0);
    for (int lie = 0; lie < 8; lie++) {
        ray__connection c = peer_connect_proved(sender, pipes[0]);
        uint8_t message[2048];
        memset(message, 0, sizeof message);
        ray__request request = {.codec = RAY_CODEC_NONE, .count = 1, .indices = {lie == 0 ? 3u : 0u}};
        open_stream(&c, 1);
        uint32_t size = ray__request_write(&request, message + RAY__MESSAGE_HEADER_SIZE);
        if (lie == 1) {
            ray__put_u32(message + RAY__MESSAGE_HEADER_SIZE + 8, 1000);
        } else if (lie == 2) {
            ray__put_u16(message + RAY__MESSAGE_HEADER_SIZE, 99);
        }
        ray__message_seal(message, lie == 3 ? RAY__MESSAGE_CHUNK : RAY__MESSAGE_REQUEST, lie == 4 ? 2 : 1, size);
        if (lie == 5) {
            ray__put_u32(message + 8, UINT32_MAX);
        } else if (lie == 6) {
            message[RAY__MESSAGE_HEADER_SIZE + 8] ^= 1; // damaged
        }
        if (lie == 7) {
            for (uint32_t stream = 2; stream < 40; stream++) {
                open_stream(&c, stream);
            }
        } else {
            send_raw(&c, message, RAY__MESSAGE_HEADER_SIZE + size);
        }
        expect_end(&c);
    }
    // It still serves who behaves.
    ray_transfer *receiver = fixture_transfer(NULL, NULL, false);
    fixture_pull p;
    CHECK_OK(fixture_pull_now(&p, receiver, 1, ray_transfer_port(sender), target_path, NULL));
    CHECK(fixture_file_is(target_path, bytes, 9 * MIB));
    unlink(target_path);
    unlink(source_path);
    ray_transfer_destroy(receiver);
    ray_transfer_destroy(sender);
    close(pipes[0]);
    close(pipes[1]);
    free(bytes);
}

// ---- random bytes at the parsers ---------------------------------------------------------------------------------------------

static void randomBytesNeverCrashTheParsers(void) {
    uint64_t seed = check_seed();
    for (int i = 0; i < 200000; i++) {
        uint32_t size = RAY__CARD_FIXED_SIZE + (uint32_t)(check_random(&seed) % 200);
        uint8_t *bytes = malloc(size);
        CHECK(bytes != NULL);
        for (uint32_t b = 0; b < size; b++) {
            bytes[b] = (uint8_t)check_random(&seed);
        }
        // Small sizes, so that some get past the first comparison.
        for (uint32_t field = 20; field <= 40 && i % 2 == 0; field += 4) {
            ray__put_u32(bytes + field, (uint32_t)(check_random(&seed) % (size - RAY__CARD_FIXED_SIZE + 1) / 4));
        }
        ray__put_u32(bytes + 16, RAY_CHUNK_SIZE);
        ray__put_u16(bytes + 4, (uint16_t)(i % 2));
        ray__put_u16(bytes + 6, 0);
        if (i % 4 == 0) {
            uint32_t rest = size - RAY__CARD_FIXED_SIZE;
            ray__put_u32(bytes + 20, 0);
            ray__put_u32(bytes + 24, 0);
            ray__put_u32(bytes + 28, rest);
            ray__put_u32(bytes + 32, 0);
            ray__put_u32(bytes + 36, 0);
            ray__put_u64(bytes + 8, 5);
        }
        ray__card_message card;
        ray__failed failed;
        ray__request request;
        ray_status read = ray__card_read(bytes, size, &card);
        read = ray__failed_read(bytes, size, &failed);
        read = ray__request_read(bytes, size, &request);
        (void)read;
        free(bytes);
    }
}

int main(void) {
    fixture_make_directory();
    fixture_path(source_path, "source");
    fixture_path(target_path, "target");
    RUN(everyLieEndsInAnError);
    RUN(theSenderHangsUpOnReceiversThatLie);
    RUN(randomBytesNeverCrashTheParsers);
    fixture_remove_directory();
    return 0;
}
