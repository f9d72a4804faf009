// SPDX-License-Identifier: Apache-2.0
// A pull whose only holder goes in the middle: it asks who knew of that one for another, and goes on from there with what it has.
#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fault_proxy.h"
#include "transfer/connection_internal.h"
#include "transfer_fixture.h"

#define SIZE (40 * MIB)
#define RATE (40u << 20) // a second and connection, so that the cut comes in the middle
#define WINDOW (4ull * RAY_CHUNK_SIZE)

// Who knows where the object is, and does not have it.
typedef struct directory {
    pthread_mutex_t lock;
    uint16_t holder; // 0: nobody has it now
    uint32_t asked;
} directory;

static ray_status find(void *context, const ray_object_id *id, ray_answer *answer) {
    directory *d = context;
    (void)id;
    pthread_mutex_lock(&d->lock);
    uint16_t holder = d->holder;
    d->asked++;
    pthread_mutex_unlock(&d->lock);
    if (holder == 0) {
        ray_answer_message(answer, "the last one is gone");
        return RAY_NO_HOLDER;
    }
    ray_answer_holder(answer, "127.0.0.1", holder);
    return RAY_OK;
}

static ray_transfer *guide_start(directory *known) {
    ray_transfer_options options = {
        .struct_size = sizeof options, .key = fixture_key, .bind_host = "127.0.0.1", .find = find, .context = known};
    ray_transfer *guide = NULL;
    CHECK_OK(ray_transfer_create(&options, &guide));
    return guide;
}

typedef struct holder {
    fixture_table table;
    ray_store *store;
    ray_transfer *transfer;
} holder;

typedef struct scene {
    directory known;
    ray_transfer *guide;
    holder first;
    holder second;
    fault_proxy *before_first;
    ray_store *here;
    ray_transfer *receiver;
    fixture_pull pull;
} scene;

static uint8_t *bytes;

static void holder_start(holder *h) {
    ray_object_id id = fixture_id(1);
    h->store = fixture_store(64 * MIB);
    CHECK_OK(ray_object_put(h->store, &id, bytes, SIZE, NULL, 0, 0));
    fixture_add(&h->table, 1, RAY_KIND_OBJECT);
    h->transfer = fixture_transfer(&h->table, h->store, true);
}

static void holder_stop(holder *h) {
    ray_transfer_destroy(h->transfer);
    ray_store_close(h->store);
}

static void say(scene *s, uint16_t port) {
    pthread_mutex_lock(&s->known.lock);
    s->known.holder = port;
    s->known.asked = 0;
    pthread_mutex_unlock(&s->known.lock);
}

// The pull has 10 MiB when its only holder is gone, and nobody knows of another.
static scene *begin(ray_pull_options options) {
    scene *s = calloc(1, sizeof *s);
    CHECK(s != NULL);
    pthread_mutex_init(&s->known.lock, NULL);
    holder_start(&s->first);
    holder_start(&s->second);
    s->here = fixture_store(64 * MIB);
    s->receiver = fixture_transfer(NULL, s->here, false);
    s->guide = guide_start(&s->known);
    fault_proxy_options before = {.to = ray_transfer_port(s->first.transfer), .bytes_per_second = RATE};
    s->before_first = fault_proxy_start(&before);
    CHECK(s->before_first != NULL);
    say(s, fault_proxy_port(s->before_first));
    options.window_bytes = WINDOW;
    options.codec = RAY_CODEC_NONE;
    uint16_t port = ray_transfer_port(s->guide);
    fixture_pull_init(&s->pull, NULL);
    fixture_start(&s->pull, s->receiver, 1, &port, 1, &options);
    fixture_wait_bytes(&s->pull, 10 * MIB);
    say(s, 0);
    fault_proxy_refuse(s->before_first, true);
    return s;
}

static void wait_asked(scene *s, uint32_t count) {
    uint64_t deadline = ray__now_ns() + FIXTURE_DEADLINE_NS;
    for (uint32_t asked = 0; asked < count;) {
        CHECK(ray__now_ns() < deadline && s->pull.done_count == 0);
        pthread_mutex_lock(&s->known.lock);
        asked = s->known.asked;
        pthread_mutex_unlock(&s->known.lock);
        sched_yield();
    }
}

static void end(scene *s) {
    ray_transfer_destroy(s->receiver);
    ray_transfer_destroy(s->guide);
    fault_proxy_stop(s->before_first);
    holder_stop(&s->first);
    holder_stop(&s->second);
    CHECK_OK(ray_plasma_check(s->here, 2));
    ray_store_close(s->here);
    pthread_mutex_destroy(&s->known.lock);
    free(s);
}

static void aNewHolderIsAskedForWhatIsMissing(void) {
    scene *s = begin((ray_pull_options){.patience_ns = FIXTURE_DEADLINE_NS});
    wait_asked(s, 4); // in vain
    char text[512];
    CHECK(ray_pull_standstill(s->pull.handle, text, sizeof text) > 0);
    CHECK(strstr(text, "the last one is gone") != NULL);
    say(s, ray_transfer_port(s->second.transfer));
    CHECK_OK(fixture_finish(&s->pull));
    fixture_check_object(s->here, 1, bytes, SIZE);
    fault_counts counts;
    fault_proxy_counts(s->before_first, &counts);
    uint64_t sent = counts.passed_bytes + fixture_stats(s->second.transfer).sent_bytes;
    CHECK(sent >= SIZE && sent <= SIZE + WINDOW + MIB);
    end(s);
}

// Named, but gone, until it is back.
static void theSameHolderIsAskedWhenItIsBack(void) {
    scene *s = begin((ray_pull_options){.patience_ns = FIXTURE_DEADLINE_NS});
    say(s, fault_proxy_port(s->before_first));
    wait_asked(s, 4);
    fault_proxy_refuse(s->before_first, false);
    CHECK_OK(fixture_finish(&s->pull));
    fixture_check_object(s->here, 1, bytes, SIZE);
    CHECK_EQUAL(fixture_stats(s->second.transfer).sent_bytes, 0);
    end(s);
}

static void waitingForAHolderEndsWithPatience(void) {
    scene *s = begin((ray_pull_options){.patience_ns = 2 * 1000000000ull});
    CHECK_STATUS(fixture_finish(&s->pull), RAY_NO_HOLDER);
    CHECK(strstr(s->pull.message, "the last one is gone") != NULL);
    CHECK_EQUAL(fixture_used_bytes(s->here), 0);
    end(s);
}

static void waitingForAHolderEndsWithTheTimeOfThePull(void) {
    scene *s = begin((ray_pull_options){.patience_ns = FIXTURE_DEADLINE_NS, .timeout_ns = 4 * 1000000000ull});
    CHECK_STATUS(fixture_finish(&s->pull), RAY_TIMED_OUT);
    CHECK(strstr(s->pull.message, "the last one is gone") != NULL);
    end(s);
}

// Before anything has come there is nothing to keep: who pulls hears at once that nobody has it.
static void withoutABeginningNobodyWaits(void) {
    directory known = {.holder = 0};
    pthread_mutex_init(&known.lock, NULL);
    ray_transfer *guide = guide_start(&known);
    ray_store *here = fixture_store(64 * MIB);
    ray_transfer *receiver = fixture_transfer(NULL, here, false);
    fixture_pull p;
    ray_pull_options options = {.patience_ns = FIXTURE_DEADLINE_NS};
    CHECK_STATUS(fixture_pull_now(&p, receiver, 1, ray_transfer_port(guide), NULL, &options), RAY_NO_HOLDER);
    ray_transfer_destroy(receiver);
    ray_transfer_destroy(guide);
    ray_store_close(here);
    pthread_mutex_destroy(&known.lock);
}

static void *answer_as_a_web_server(void *listener) {
    static const char answer[] = "HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 0\r\n\r\n";
    for (;;) {
        struct pollfd waiting = {.fd = *(int *)listener, .events = POLLIN};
        CHECK(poll(&waiting, 1, -1) == 1);
        int one = accept(*(int *)listener, NULL, NULL);
        if (one < 0 && errno == EINVAL) { // shut down
            return NULL;
        }
        if (one >= 0) {
            char asked[64];
            // A connection that the other end has given up meanwhile says nothing, or takes nothing.
            if (read(one, asked, sizeof asked) > 0 && send(one, answer, sizeof answer - 1, MSG_NOSIGNAL) > 0) {
                // Not closed before the other end has seen it.
                while (read(one, asked, sizeof asked) > 0) {
                }
            }
            close(one);
        }
    }
}

// The port of a holder that ended is another's now: that says nothing of the object.
static void aStrangerAtTheHoldersPortCountsAsUnreachable(void) {
    ray_transfer_options strange = {.struct_size = sizeof strange, .bind_host = "127.0.0.1"};
    ray_key_random(&strange.key);
    ray_transfer *stranger = NULL;
    CHECK_OK(ray_transfer_create(&strange, &stranger));
    uint16_t other_port = 0;
    int listener = -1;
    CHECK_OK(ray__listener_open("127.0.0.1", 0, &listener, &other_port));
    pthread_t web;
    CHECK_EQUAL(pthread_create(&web, NULL, answer_as_a_web_server, &listener), 0);
    uint16_t ports[] = {ray_transfer_port(stranger), other_port};
    for (int i = 0; i < 2; i++) {
        directory known = {.holder = ports[i]};
        pthread_mutex_init(&known.lock, NULL);
        ray_transfer *guide = guide_start(&known);
        ray_store *here = fixture_store(64 * MIB);
        ray_transfer *receiver = fixture_transfer(NULL, here, false);
        fixture_pull p;
        CHECK_STATUS(fixture_pull_now(&p, receiver, 1, ray_transfer_port(guide), NULL, NULL), RAY_UNREACHABLE);
        char named[32];
        snprintf(named, sizeof named, "127.0.0.1:%u", ports[i]);
        CHECK(strstr(p.message, named) != NULL);
        // Asked by its caller's own choice it refuses.
        CHECK_STATUS(fixture_pull_now(&p, receiver, 1, ports[i], NULL, NULL), i == 0 ? RAY_KEY_REFUSED : RAY_PROTOCOL);
        ray_transfer_destroy(receiver);
        ray_transfer_destroy(guide);
        ray_store_close(here);
        pthread_mutex_destroy(&known.lock);
    }
    CHECK_EQUAL(shutdown(listener, SHUT_RDWR), 0);
    CHECK_EQUAL(pthread_join(web, NULL), 0);
    close(listener);
    ray_transfer_destroy(stranger);
}

int main(void) {
    bytes = fixture_bytes(SIZE, 5, false);
    RUN(aNewHolderIsAskedForWhatIsMissing);
    RUN(theSameHolderIsAskedWhenItIsBack);
    RUN(waitingForAHolderEndsWithPatience);
    RUN(waitingForAHolderEndsWithTheTimeOfThePull);
    RUN(withoutABeginningNobodyWaits);
    RUN(aStrangerAtTheHoldersPortCountsAsUnreachable);
    free(bytes);
    return 0;
}
