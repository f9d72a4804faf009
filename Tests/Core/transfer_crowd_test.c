// SPDX-License-Identifier: Apache-2.0
// Many pulls at once: a thousand of objects and files, what they share, and what they do not let each other feel.
#include <dirent.h>
#include <poll.h>
#include <sys/resource.h>
#include <sys/uio.h>

#include "transfer/connection_internal.h"
#include "transfer/wire_internal.h"
#include "transfer_fixture.h"

enum { CROWD = 1000, KINDS = 12, LINKS = 32, DESCRIPTORS_MAX = 1024 };

static uint32_t open_descriptors(void) {
    DIR *directory = opendir("/proc/self/fd");
    CHECK(directory != NULL);
    uint32_t count = 0;
    while (readdir(directory) != NULL) {
        count++;
    }
    closedir(directory);
    return count;
}

// ---- a thousand --------------------------------------------------------------------------------------------------------------

// A few hundred small objects and files, some of a few chunks, a few of many.
static uint64_t size_of(uint32_t number) {
    static const uint64_t sizes[KINDS] = {1024, 100, 1024, 0, 5000, 1024, RAY_INLINE_MAX, 1024, RAY_INLINE_MAX + 1, 1024, 300000, 1024};
    return number % 250 == 7 ? 9 * MIB : sizes[number % KINDS];
}

static bool is_file(uint32_t number) {
    return number % 3 == 1;
}

static ray_status find_in_crowd(void *context, const ray_object_id *id, ray_answer *answer) {
    (void)context;
    uint32_t number = ray_object_id_index(id) - RAY_FIRST_PUT_INDEX;
    CHECK(number < CROWD);
    if (!is_file(number)) {
        ray_answer_object(answer);
        return RAY_OK;
    }
    char name[32];
    char path[128];
    struct stat info;
    snprintf(name, sizeof name, "from-%u", number);
    fixture_path(path, name);
    CHECK(stat(path, &info) == 0);
    ray_answer_file(answer, path, (uint64_t)info.st_size, (int64_t)info.st_mtim.tv_sec * 1000000000 + info.st_mtim.tv_nsec, FIXTURE_METADATA,
                    sizeof FIXTURE_METADATA, FIXTURE_DESCRIPTOR, sizeof FIXTURE_DESCRIPTOR);
    return RAY_OK;
}

static void paths_of(uint32_t number, char *from, char *to) {
    char name[32];
    snprintf(name, sizeof name, "from-%u", number);
    fixture_path(from, name);
    snprintf(name, sizeof name, "to-%u", number);
    fixture_path(to, name);
}

static void aThousandTransfersAtOnceAllArrive(void) {
    // The usual limit of a process. What waits for its turn must not need any of it.
    struct rlimit limit;
    CHECK(getrlimit(RLIMIT_NOFILE, &limit) == 0);
    limit.rlim_cur = DESCRIPTORS_MAX;
    CHECK(setrlimit(RLIMIT_NOFILE, &limit) == 0);
    uint32_t descriptors = open_descriptors();
    ray_store *there = fixture_store(192 * MIB);
    ray_store *here = fixture_store(192 * MIB);
    char from[128];
    char to[128];
    for (uint32_t i = 0; i < CROWD; i++) {
        uint8_t *bytes = fixture_bytes(size_of(i), i, i % 2 == 0);
        ray_object_id id = fixture_id(i);
        uint32_t state;
        if (is_file(i)) {
            paths_of(i, from, to);
            fixture_write_file(from, bytes, size_of(i));
        } else {
            CHECK_OK(ray_object_put(there, &id, bytes, size_of(i), FIXTURE_METADATA, sizeof FIXTURE_METADATA, 0));
            CHECK_OK(ray_node_adopt(here, &id, &state));
        }
        free(bytes);
    }
    ray_transfer_options options = {.struct_size = sizeof options, .key = fixture_key, .store = there, .bind_host = "127.0.0.1", .find = find_in_crowd};
    ray_transfer *sender = NULL;
    CHECK_OK(ray_transfer_create(&options, &sender));
    ray_transfer *receiver = fixture_transfer(NULL, here, false);
    fixture_pull *pulls = calloc(CROWD, sizeof *pulls);
    CHECK(pulls != NULL);
    uint16_t port = ray_transfer_port(sender);
    for (uint32_t i = 0; i < CROWD; i++) {
        paths_of(i, from, to);
        ray_pull_options ways = {.resume = i % 2 == 0 ? RAY_RESUME_KEEP : RAY_RESUME_OFF};
        fixture_pull_init(&pulls[i], is_file(i) ? to : NULL);
        fixture_start(&pulls[i], receiver, i, &port, 1, &ways);
    }
    for (uint32_t i = 0; i < CROWD; i++) {
        CHECK_STATUS(fixture_finish(&pulls[i]), RAY_OK);
        paths_of(i, from, to);
        uint8_t *bytes = fixture_bytes(size_of(i), i, i % 2 == 0);
        if (is_file(i)) {
            CHECK(fixture_file_is(to, bytes, size_of(i)));
            unlink(from);
            unlink(to);
        } else {
            fixture_check_object(here, i, bytes, size_of(i));
        }
        free(bytes);
    }
    free(pulls);
    ray_transfer_destroy(receiver);
    ray_transfer_destroy(sender);
    ray_store_close(here);
    ray_store_close(there);
    CHECK_EQUAL(open_descriptors(), descriptors);
}

// ---- a source that answers when it is told to --------------------------------------------------------------------------------

typedef struct puppet {
    int listener;
    int stops[2];
    uint16_t port;
    pthread_t acceptor;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    uint32_t answers_each; // so many OPENs of each connection are answered, the next ones are held
    uint32_t opened;       // OPENs that came
    uint32_t answered;
    bool ends;
    uint32_t served_count;
    pthread_t served[256];
} puppet;

typedef struct visit {
    puppet *p;
    ray__connection connection;
} visit;

static ray_status answer_open(ray__connection *c, uint32_t stream, const ray__open *open) {
    uint8_t bytes[1024];
    static const uint8_t data[100] = {42};
    ray__card_message card = {.kind = RAY_KIND_FILE, .flags = RAY__CARD_HERE | RAY__CARD_INLINE, .size_bytes = sizeof data,
                              .chunk_size = open->chunk_size, .inline_size = sizeof data, .inline_data = data};
    uint32_t size = ray__card_size(&card);
    ray__card_write(&card, bytes + RAY__MESSAGE_HEADER_SIZE);
    ray__message_seal(bytes, RAY__MESSAGE_CARD, stream, size);
    struct iovec part = {bytes, RAY__MESSAGE_HEADER_SIZE + size};
    return ray__connection_write(c, &part, 1, false);
}

// Reads whatever comes, and answers the OPENs in their order, as many as are allowed. Another connection's may overtake.
static void serve_visit(puppet *p, ray__connection *c) {
    static _Thread_local struct {
        uint32_t stream;
        ray__open open;
    } held[64];
    uint32_t held_count = 0;
    uint32_t answered_here = 0;
    uint8_t header[RAY__MESSAGE_HEADER_SIZE];
    uint8_t body[RAY__OPEN_BODY_MAX];
    ray__message message;
    size_t got;
    c->silent_ns = 60000000000ull;
    for (;;) {
        pthread_mutex_lock(&p->lock);
        while (held_count > 0 && answered_here < p->answers_each) {
            answered_here++;
            p->answered++;
            pthread_mutex_unlock(&p->lock);
            if (answer_open(c, held[0].stream, &held[0].open) != RAY_OK) {
                return;
            }
            memmove(&held[0], &held[1], --held_count * sizeof held[0]);
            pthread_mutex_lock(&p->lock);
        }
        bool ends = p->ends;
        pthread_mutex_unlock(&p->lock);
        // Looks now and then at what is allowed.
        struct pollfd fd = {.fd = c->socket, .events = POLLIN};
        poll(&fd, 1, 5);
        if (ends || ray__connection_read_now(c, header, 1, &got) != RAY_OK) {
            return;
        }
        if (got == 0) {
            continue;
        }
        if (ray__connection_read(c, header + 1, sizeof header - 1) != RAY_OK) {
            return;
        }
        CHECK_OK(ray__message_read(header, true, &message));
        if (ray__connection_read(c, body, message.body_size) != RAY_OK) {
            return;
        }
        if (message.type == RAY__MESSAGE_OPEN) {
            CHECK(held_count < 64);
            held[held_count].stream = message.stream;
            CHECK_OK(ray__open_read(body, message.body_size, &held[held_count++].open));
            pthread_mutex_lock(&p->lock);
            p->opened++;
            pthread_cond_broadcast(&p->changed);
            pthread_mutex_unlock(&p->lock);
        }
    }
}

static void *run_visit(void *context) {
    visit *v = context;
    if (ray__connection_prove(&v->connection, &fixture_key, RAY_ROLE_ACCEPTING, 20000000000ull) == RAY_OK) {
        serve_visit(v->p, &v->connection);
    }
    ray__connection_close(&v->connection);
    free(v);
    return NULL;
}

static void *run_puppet(void *context) {
    puppet *p = context;
    for (;;) {
        struct pollfd fds[2] = {{.fd = p->listener, .events = POLLIN}, {.fd = p->stops[0], .events = POLLIN}};
        poll(fds, 2, -1);
        if (fds[1].revents != 0) {
            return NULL;
        }
        visit *v = calloc(1, sizeof *v);
        CHECK(v != NULL);
        v->p = p;
        if (ray__listener_accept(p->listener, p->stops[0], &v->connection) != RAY_OK) {
            free(v);
            continue;
        }
        CHECK(p->served_count < 256);
        pthread_mutex_lock(&p->lock);
        CHECK_EQUAL(pthread_create(&p->served[p->served_count++], NULL, run_visit, v), 0);
        pthread_mutex_unlock(&p->lock);
    }
}

static puppet *puppet_start(void) {
    puppet *p = calloc(1, sizeof *p);
    CHECK(p != NULL && pipe(p->stops) == 0);
    pthread_mutex_init(&p->lock, NULL);
    ray__cond_init(&p->changed);
    CHECK_OK(ray__listener_open("127.0.0.1", 0, &p->listener, &p->port));
    CHECK_EQUAL(pthread_create(&p->acceptor, NULL, run_puppet, p), 0);
    return p;
}

static void puppet_stop(puppet *p) {
    pthread_mutex_lock(&p->lock);
    p->ends = true;
    pthread_mutex_unlock(&p->lock);
    close(p->stops[1]);
    pthread_join(p->acceptor, NULL);
    for (uint32_t i = 0; i < p->served_count; i++) {
        pthread_join(p->served[i], NULL);
    }
    close(p->stops[0]);
    close(p->listener);
    pthread_mutex_destroy(&p->lock);
    pthread_cond_destroy(&p->changed);
    free(p);
}

static void puppet_allow(puppet *p, uint32_t each) {
    pthread_mutex_lock(&p->lock);
    p->answers_each = each;
    pthread_mutex_unlock(&p->lock);
}

static void puppet_wait_opened(puppet *p, uint32_t count) {
    uint64_t deadline = ray__now_ns() + FIXTURE_DEADLINE_NS;
    struct timespec until = {(time_t)(deadline / 1000000000u), (long)(deadline % 1000000000u)};
    pthread_mutex_lock(&p->lock);
    while (p->opened < count) {
        if (pthread_cond_timedwait(&p->changed, &p->lock, &until) != 0) {
            fprintf(stderr, "%u questions came, %u were expected\n", p->opened, count);
            exit(1);
        }
    }
    pthread_mutex_unlock(&p->lock);
}

// Until more questions are under way than there are connections for them. The first ones make the connections and are answered, so
// that whoever waits behind them finds one.
static void puppet_wait_shared(puppet *p) {
    puppet_wait_opened(p, LINKS);
    puppet_allow(p, 1);
    uint64_t deadline = ray__now_ns() + FIXTURE_DEADLINE_NS;
    for (bool shared = false; !shared;) {
        CHECK(ray__now_ns() < deadline);
        pthread_mutex_lock(&p->lock);
        shared = p->opened - p->answered > p->served_count;
        pthread_mutex_unlock(&p->lock);
        poll(NULL, 0, 1);
    }
}

static void start_small(fixture_pull *pulls, uint32_t count, uint32_t first, ray_transfer *receiver, uint16_t port, uint64_t timeout_ns) {
    for (uint32_t i = 0; i < count; i++) {
        char from[128];
        char to[128];
        paths_of(first + i, from, to);
        ray_pull_options options = {.connection_count = 1, .timeout_ns = timeout_ns};
        fixture_pull_init(&pulls[i], to);
        fixture_start(&pulls[i], receiver, first + i, &port, 1, &options);
    }
}

static void finish_small(fixture_pull *p) {
    CHECK_STATUS(fixture_finish(p), RAY_OK);
    unlink(p->path);
}

// More questions are under way than there are connections: they travel together.
static void smallPullsShareConnections(void) {
    enum { COUNT = 200 };
    puppet *p = puppet_start();
    ray_transfer *receiver = fixture_transfer(NULL, NULL, false);
    fixture_pull *pulls = calloc(COUNT, sizeof *pulls);
    CHECK(pulls != NULL);
    start_small(pulls, COUNT, 0, receiver, p->port, 0);
    puppet_wait_shared(p);
    puppet_allow(p, UINT32_MAX);
    for (uint32_t i = 0; i < COUNT; i++) {
        finish_small(&pulls[i]);
    }
    CHECK_EQUAL(p->opened, COUNT);
    CHECK(p->served_count <= LINKS);
    free(pulls);
    ray_transfer_destroy(receiver);
    puppet_stop(p);
}

// Some are answered, one is cancelled while it waits among others: it ends alone, at once.
static void oneThatIsCancelledAmongOthersDisturbsNobody(void) {
    enum { COUNT = 4 * LINKS };
    puppet *p = puppet_start();
    ray_transfer *receiver = fixture_transfer(NULL, NULL, false);
    fixture_pull *pulls = calloc(COUNT, sizeof *pulls);
    CHECK(pulls != NULL);
    start_small(pulls, COUNT, 0, receiver, p->port, 0);
    puppet_wait_shared(p);
    // Nothing is answered any more. Whoever is cancelled now and was not answered waits for an answer among others, or for his turn.
    uint32_t cancelled = 0;
    for (uint32_t i = 0; i < COUNT; i += 5) {
        ray_pull_cancel(pulls[i].handle);
        ray_status status = fixture_finish(&pulls[i]);
        CHECK(status == RAY_OK || status == RAY_CANCELLED);
        CHECK(status == RAY_OK || access(pulls[i].path, F_OK) != 0);
        cancelled += status == RAY_CANCELLED;
        unlink(pulls[i].path);
    }
    CHECK(cancelled > 0);
    puppet_allow(p, UINT32_MAX);
    for (uint32_t i = 0; i < COUNT; i++) {
        if (i % 5 != 0) {
            finish_small(&pulls[i]);
        }
    }
    free(pulls);
    ray_transfer_destroy(receiver);
    puppet_stop(p);
}

// All links are held by pulls from a source that is alive and does nothing. What waits behind them, from whomever, ends at its time.
static void aPullThatWaitsForAConnectionEndsInTime(void) {
    puppet *p = puppet_start();
    ray_transfer *receiver = fixture_transfer(NULL, NULL, false);
    fixture_pull pulls[LINKS];
    start_small(pulls, LINKS, 0, receiver, p->port, 0);
    puppet_wait_opened(p, LINKS);
    fixture_pull late[2];
    start_small(late, 1, LINKS, receiver, p->port, 50000000);
    start_small(&late[1], 1, LINKS + 1, receiver, p->port, 0);
    ray_pull_cancel(late[1].handle);
    CHECK_STATUS(fixture_finish(&late[1]), RAY_CANCELLED);
    CHECK_STATUS(fixture_finish(&late[0]), RAY_TIMED_OUT);
    CHECK_EQUAL(p->opened, LINKS); // nobody has let go meanwhile
    puppet_allow(p, UINT32_MAX);
    for (uint32_t i = 0; i < LINKS; i++) {
        finish_small(&pulls[i]);
    }
    ray_transfer_destroy(receiver);
    puppet_stop(p);
}

int main(void) {
    fixture_make_directory();
    RUN(aThousandTransfersAtOnceAllArrive);
    RUN(smallPullsShareConnections);
    RUN(oneThatIsCancelledAmongOthersDisturbsNobody);
    RUN(aPullThatWaitsForAConnectionEndsInTime);
    fixture_remove_directory();
    return 0;
}
