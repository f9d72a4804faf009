// SPDX-License-Identifier: Apache-2.0
// Sources that hold the key and are of no use: silent, slow, fickle, never satisfied. Alone they end a pull in its time with an error that
// says so; beside an honest source they change nothing. And strangers without the key, many of them.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/uio.h>

#include "base/error_internal.h"
#include "codec/frame_internal.h"
#include "transfer/connection_internal.h"
#include "transfer/wire_internal.h"
#include "transfer_fixture.h"

#define SIZE (3 * (uint64_t)RAY_CHUNK_SIZE)
#define ALONE_NS 700000000ull
#define LATE_MS 1500 // more than a chunk may take beside an idle source (RAY__TAIL_NS)

static char source_path[128];
static char target_path[128];
static uint8_t *bytes;

enum manner {
    SILENT_AT_ONCE,     // proves itself and says nothing
    SILENT_AFTER_CARD,  // says what it has, and nothing more
    WAITS,              // says over and over that it is well, and sends no chunk
    CLOSES_AT_ONCE,     // proves itself and hangs up
    CLOSES_AFTER_CARD,
    FICKLE,             // another size on each connection
    TWICE,              // each chunk a second time
    OVERRUN,            // chunks that unpack to more than they say
    WRONG_SUM,          // chunks that are not what their checksum says
    REFUSES,            // has it, and refuses each chunk
    MANNERS,
    LATE_AND_WRONG,     // takes longer than a chunk may, brings one, and damages the rest
    FALTERS,            // its first connection brings what it is asked for first, and then nothing
};
static const char *const manner_names[MANNERS] = {"silent at once", "silent after its card", "is well for ever", "closes at once", "closes after its card", "fickle",
                                                  "says everything twice", "unpacks to more", "wrong checksums", "refuses each chunk"};

typedef struct source {
    enum manner manner;
    int listener;
    int stops[2];
    uint16_t port;
    uint32_t card_count;
    _Atomic uint32_t connection_count;
    uint32_t chunk_count;
    _Atomic uint32_t request_count;
    uint8_t *packed; // of OVERRUN: a chunk and a byte more
    uint32_t packed_size;
    pthread_t thread;
} source;

static ray_status send_message(ray__connection *c, uint8_t *message, uint16_t type, uint32_t stream, uint32_t body_size) {
    ray__message_seal(message, type, stream, body_size);
    struct iovec part = {message, RAY__MESSAGE_HEADER_SIZE + body_size};
    return ray__connection_write(c, &part, 1, false);
}

static ray_status send_card(source *s, ray__connection *c, uint32_t stream, const ray__open *open) {
    uint8_t message[1024];
    ray__card_message card = {.kind = RAY_KIND_FILE, .flags = RAY__CARD_HERE, .chunk_size = open->chunk_size, .size_bytes = SIZE};
    if (s->manner == FICKLE) {
        card.size_bytes += s->card_count++ * RAY_CHUNK_SIZE;
    }
    uint32_t size = ray__card_size(&card);
    ray__card_write(&card, message + RAY__MESSAGE_HEADER_SIZE);
    return send_message(c, message, RAY__MESSAGE_CARD, stream, size);
}

static ray_status send_chunk(source *s, ray__connection *c, uint32_t stream, uint32_t index) {
    uint8_t *message = malloc(RAY__CHUNK_PREFIX_SIZE + RAY_CHUNK_SIZE);
    CHECK(message != NULL);
    ray_chunk_header header = {.id = fixture_id(1), .index = index, .raw_size = RAY_CHUNK_SIZE, .stored_size = RAY_CHUNK_SIZE,
                               .codec = RAY_CODEC_NONE};
    const uint8_t *raw = bytes + (uint64_t)index * RAY_CHUNK_SIZE;
    header.checksum = ray__checksum_of(raw, RAY_CHUNK_SIZE) ^ (s->manner == WRONG_SUM || (s->manner == LATE_AND_WRONG && s->chunk_count > 0));
    s->chunk_count++;
    if (s->manner == OVERRUN) {
        header.codec = RAY_CODEC_ZSTD;
        header.stored_size = s->packed_size;
        raw = s->packed;
    }
    ray__chunk_header_write(&header, message + RAY__MESSAGE_HEADER_SIZE);
    memcpy(message + RAY__CHUNK_PREFIX_SIZE, raw, header.stored_size);
    ray_status status = RAY_OK;
    for (int times = s->manner == TWICE ? 2 : 1; times > 0 && status == RAY_OK; times--) {
        status = send_message(c, message, RAY__MESSAGE_CHUNK, stream, RAY_CHUNK_HEADER_SIZE + header.stored_size);
    }
    free(message);
    return status;
}

static ray_status refuse_chunk(ray__connection *c, uint32_t stream, uint32_t index) {
    uint8_t message[RAY__MESSAGE_HEADER_SIZE + RAY__FAILED_BODY_MAX];
    ray__failed failed = {.index = index, .status = RAY_NOT_SEALED, .text = "not today"};
    return send_message(c, message, RAY__MESSAGE_FAILED, stream, ray__failed_write(&failed, message + RAY__MESSAGE_HEADER_SIZE));
}

static ray_status wait_for_ever(source *s, ray__connection *c, uint32_t stream) {
    uint8_t message[RAY__MESSAGE_HEADER_SIZE];
    struct pollfd stop = {.fd = s->stops[0], .events = POLLIN};
    ray_status status = RAY_OK;
    while (status == RAY_OK && poll(&stop, 1, 20) == 0) {
        status = send_message(c, message, RAY__MESSAGE_WAIT, stream, 0);
    }
    return status == RAY_OK ? RAY_CANCELLED : status;
}

static ray_status answer(source *s, ray__connection *c, const ray__message *message, const uint8_t *body) {
    ray__open open;
    ray__request request;
    if (message->type == RAY__MESSAGE_OPEN && s->manner != SILENT_AT_ONCE) {
        CHECK_OK(ray__open_read(body, message->body_size, &open));
        RAY_TRY(send_card(s, c, message->stream, &open));
        return s->manner == CLOSES_AFTER_CARD ? RAY_CLOSED : RAY_OK;
    }
    if (message->type != RAY__MESSAGE_REQUEST || s->manner == SILENT_AFTER_CARD) {
        return RAY_OK;
    }
    CHECK_OK(ray__request_read(body, message->body_size, &request));
    atomic_fetch_add(&s->request_count, 1);
    if (s->manner == WAITS) {
        return wait_for_ever(s, c, message->stream);
    }
    struct pollfd stop = {.fd = s->stops[0], .events = POLLIN};
    if (s->manner == LATE_AND_WRONG && poll(&stop, 1, LATE_MS) != 0) {
        return RAY_CANCELLED;
    }
    if (s->manner == FALTERS && atomic_load(&s->connection_count) == 1 && atomic_load(&s->request_count) > 1) {
        return RAY_OK;
    }
    for (uint32_t i = 0; i < request.count; i++) {
        RAY_TRY(s->manner == REFUSES ? refuse_chunk(c, message->stream, request.indices[i]) : send_chunk(s, c, message->stream, request.indices[i]));
    }
    return RAY_OK;
}

static void converse(source *s, ray__connection *c) {
    uint8_t header[RAY__MESSAGE_HEADER_SIZE];
    uint8_t body[RAY__OPEN_BODY_MAX];
    ray__message message;
    c->silent_ns = FIXTURE_DEADLINE_NS;
    c->stop = s->stops[0];
    ray_status status = s->manner == CLOSES_AT_ONCE ? RAY_CLOSED : RAY_OK;
    while (status == RAY_OK && ray__connection_read(c, header, sizeof header) == RAY_OK) {
        CHECK_OK(ray__message_read(header, true, &message));
        if (ray__connection_read(c, body, message.body_size) != RAY_OK) {
            return;
        }
        status = answer(s, c, &message, body);
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
            if (ray__connection_prove(&c, &fixture_key, RAY_ROLE_ACCEPTING, 5000000000ull) == RAY_OK) {
                converse(s, &c);
            }
            ray__connection_close(&c);
        }
    }
}

static void source_start(source *s, enum manner manner) {
    memset(s, 0, sizeof *s);
    s->manner = manner;
    CHECK(pipe(s->stops) == 0);
    if (manner == OVERRUN) {
        ray_codec *codec;
        ray_object_id id = fixture_id(1);
        uint8_t *zeros = calloc(1, RAY_CHUNK_SIZE);
        uint8_t *frame = malloc(RAY_CHUNK_HEADER_SIZE + RAY_CHUNK_SIZE);
        size_t size;
        CHECK(zeros != NULL && frame != NULL);
        CHECK_OK(ray_codec_create(&codec));
        // A whole chunk's worth of zeros, said to be of another size by who packs it: a zstd frame of it, twice, one behind the other.
        CHECK_OK(ray_chunk_encode(codec, &id, 0, zeros, RAY_CHUNK_SIZE, RAY_CODEC_ZSTD, 3, frame, RAY_CHUNK_HEADER_SIZE + RAY_CHUNK_SIZE, &size, NULL));
        uint32_t one = (uint32_t)(size - RAY_CHUNK_HEADER_SIZE);
        s->packed_size = 2 * one;
        s->packed = malloc(s->packed_size);
        CHECK(s->packed != NULL);
        memcpy(s->packed, frame + RAY_CHUNK_HEADER_SIZE, one);
        memcpy(s->packed + one, frame + RAY_CHUNK_HEADER_SIZE, one);
        ray_codec_destroy(codec);
        free(frame);
        free(zeros);
    }
    CHECK_OK(ray__listener_open("127.0.0.1", 0, &s->listener, &s->port));
    CHECK_EQUAL(pthread_create(&s->thread, NULL, run_source, s), 0);
}

static void source_stop(source *s) {
    close(s->stops[1]);
    pthread_join(s->thread, NULL);
    close(s->stops[0]);
    close(s->listener);
    free(s->packed);
}

static void aloneEachEndsThePullInItsTime(void) {
    for (int manner = 0; manner < MANNERS; manner++) {
        fprintf(stderr, "    %s\n", manner_names[manner]);
        source s;
        source_start(&s, (enum manner)manner);
        ray_transfer *receiver = fixture_transfer(NULL, NULL, false);
        fixture_pull p;
        bool is_silent = manner <= WAITS;
        ray_pull_options options = {.timeout_ns = is_silent ? ALONE_NS : FIXTURE_DEADLINE_NS, .connection_count = manner == FICKLE ? 2 : 1};
        ray_status status = fixture_pull_now(&p, receiver, 1, s.port, target_path, &options);
        static const ray_status expected[MANNERS] = {RAY_TIMED_OUT, RAY_TIMED_OUT, RAY_TIMED_OUT, RAY_UNREACHABLE, RAY_UNREACHABLE,
                                                     RAY_OK,        RAY_PROTOCOL,  RAY_CORRUPT,   RAY_CORRUPT,     RAY_NOT_SEALED};
        if (manner == FICKLE || (manner == TWICE && status == RAY_OK)) {
            // Its first word counts: what it says later of another size is not used. Of chunks that came twice the first may be all that
            // was needed.
            CHECK(status == RAY_OK || status == RAY_PROTOCOL);
            if (status == RAY_OK) {
                CHECK(fixture_file_is(target_path, bytes, SIZE));
                unlink(target_path);
            }
        } else {
            CHECK_STATUS(status, expected[manner]);
        }
        CHECK(access(target_path, F_OK) != 0);
        ray_transfer_destroy(receiver);
        source_stop(&s);
    }
}

static void besideAnHonestSourceNoneChangesAnything(void) {
    fixture_table table = {0};
    fixture_add_file(&table, 1, source_path);
    // As its card says nothing else.
    ray_transfer *honest = fixture_transfer(&table, NULL, true);
    for (int manner = 0; manner < MANNERS; manner++) {
        fprintf(stderr, "    %s\n", manner_names[manner]);
        source s;
        source_start(&s, (enum manner)manner);
        ray_transfer *receiver = fixture_transfer(NULL, NULL, false);
        fixture_pull p;
        fixture_pull_init(&p, target_path);
        uint16_t ports[2] = {s.port, ray_transfer_port(honest)};
        ray_pull_options options = {.connection_count = 1};
        fixture_start(&p, receiver, 1, ports, 2, &options);
        CHECK_STATUS(fixture_finish(&p), RAY_OK);
        CHECK(fixture_file_is(target_path, bytes, SIZE));
        unlink(target_path);
        ray_transfer_destroy(receiver);
        source_stop(&s);
    }
    ray_transfer_destroy(honest);
}

// All is asked of a late one, and for its lateness of another, which owes the last chunk when the late one brings the first and damages that.
// Then the late one is late no more, and idle, and yet not to be asked for that chunk.
static void whatIsNotToComeFromOneIsAskedOfTheOther(void) {
    source late;
    source falters;
    source_start(&late, LATE_AND_WRONG);
    source_start(&falters, FALTERS);
    ray_transfer *receiver = fixture_transfer(NULL, NULL, false);
    fixture_pull p;
    fixture_pull_init(&p, target_path);
    ray_pull_options options = {.connection_count = 1, .timeout_ns = FIXTURE_DEADLINE_NS / 2};
    fixture_start(&p, receiver, 1, &late.port, 1, &options);
    for (uint64_t deadline = ray__now_ns() + FIXTURE_DEADLINE_NS; atomic_load(&late.request_count) == 0; sched_yield()) {
        CHECK(ray__now_ns() < deadline);
    }
    ray_endpoint other = {.host = "127.0.0.1", .port = falters.port};
    CHECK_OK(ray_pull_add_source(p.handle, &other));
    CHECK_STATUS(fixture_finish(&p), RAY_OK);
    CHECK(fixture_file_is(target_path, bytes, SIZE));
    unlink(target_path);
    ray_transfer_destroy(receiver);
    CHECK(atomic_load(&falters.connection_count) > 1);
    source_stop(&falters);
    source_stop(&late);
}

// ---- strangers -----------------------------------------------------------------------------------------------------------------

static int connect_to(uint16_t port) {
    int made = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    CHECK(made >= 0 && (connect(made, (struct sockaddr *)&to, sizeof to) == 0 || errno == EINPROGRESS));
    return made;
}

// They connect and say nothing. Who has the key is served all the same, and the strangers are counted.
static void aThousandStrangersKeepNobodyOut(void) {
    enum { STRANGERS = 1000 };
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    if (limit.rlim_max < 3000) {
        fprintf(stderr, "    (not checked: this process may open only %llu files)\n", (unsigned long long)limit.rlim_max);
        return;
    }
    limit.rlim_cur = limit.rlim_max;
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    fixture_table table = {0};
    fixture_add_file(&table, 1, source_path);
    ray_transfer *sender = fixture_transfer(&table, NULL, true);
    static int strangers[STRANGERS];
    for (int i = 0; i < STRANGERS; i++) {
        strangers[i] = connect_to(ray_transfer_port(sender));
    }
    ray_transfer *receiver = fixture_transfer(NULL, NULL, false);
    fixture_pull p;
    CHECK_OK(fixture_pull_now(&p, receiver, 1, ray_transfer_port(sender), target_path, NULL));
    CHECK(fixture_file_is(target_path, bytes, SIZE));
    unlink(target_path);
    CHECK(fixture_stats(sender).refused_count > 0);
    ray_transfer_destroy(receiver);
    ray_transfer_destroy(sender);
    for (int i = 0; i < STRANGERS; i++) {
        close(strangers[i]);
    }
}

int main(void) {
    fixture_make_directory();
    fixture_path(source_path, "source");
    fixture_path(target_path, "target");
    bytes = fixture_bytes(SIZE, 1, false);
    fixture_write_file(source_path, bytes, SIZE);
    RUN(aloneEachEndsThePullInItsTime);
    RUN(besideAnHonestSourceNoneChangesAnything);
    RUN(whatIsNotToComeFromOneIsAskedOfTheOther);
    RUN(aThousandStrangersKeepNobodyOut);
    unlink(source_path);
    free(bytes);
    fixture_remove_directory();
    return 0;
}
