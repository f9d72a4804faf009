// SPDX-License-Identifier: Apache-2.0
// kill -9 of either end of a transfer, at random moments, again and again, until the file is whole. What a kill may cost: a window sent
// again. What it may never do: show a partial file under the final name, leave something behind, or keep the next try from going on.
//
// Usage: transfer_kills KILLS. Three processes: a sender of one file by name, a receiver that goes on with what it finds, and a proxy
// between them that counts. The driver has no threads; it forks each anew.
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

#include "fault_proxy.h"
#include "transfer_fixture.h"

enum { NAME_SIZE = 32, EXIT_FAILED = 9 };
#define WINDOW (8 * MIB)
#define CHUNK (1u << 20)

// Shared by all of the processes; each word has one writer.
typedef struct board {
    _Atomic uint32_t sender_port;
    _Atomic uint32_t proxy_port;
    _Atomic uint64_t passed_bytes; // to the receivers
    _Atomic uint32_t proxy_target;
    _Atomic uint64_t count_asked;
    _Atomic uint64_t count_told;
} board;

static board *shared;
static char source_path[160];
static char partial_path[160];
static char journal_path[176];
static char final_path[160];

static void wait_for(const _Atomic uint32_t *word, const char *what) {
    uint64_t deadline = ray__now_ns() + FIXTURE_DEADLINE_NS;
    while (atomic_load(word) == 0) {
        if (ray__now_ns() > deadline) {
            fprintf(stderr, "no %s came up\n", what);
            exit(1);
        }
        sched_yield();
    }
}

// ---- the processes -----------------------------------------------------------------------------------------------------------

static int served_directory;

static ray_status find_named(void *context, const char *name, const char *peer, ray_answer *answer) {
    (void)context;
    (void)peer;
    return ray_answer_beneath(answer, served_directory, name);
}

_Noreturn static void run_sender(uint16_t port) {
    served_directory = open(fixture_directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    ray_transfer_options options = {.struct_size = sizeof options, .key = fixture_key, .bind_host = "127.0.0.1", .bind_port = port,
                                    .find_named = find_named};
    ray_transfer *transfer = NULL;
    CHECK_OK(ray_transfer_create(&options, &transfer));
    atomic_store(&shared->sender_port, ray_transfer_port(transfer));
    for (;;) {
        pause();
    }
}

_Noreturn static void run_proxy(void) {
    fault_proxy_options options = {.to = (uint16_t)atomic_load(&shared->proxy_target)};
    fault_proxy *proxy = fault_proxy_start(&options);
    CHECK(proxy != NULL);
    atomic_store(&shared->proxy_port, fault_proxy_port(proxy));
    for (;;) {
        fault_counts counts;
        uint64_t asked = atomic_load(&shared->count_asked);
        fault_proxy_counts(proxy, &counts);
        atomic_store(&shared->passed_bytes, counts.passed_bytes);
        atomic_store(&shared->count_told, asked);
        usleep(500);
    }
}

static void done(void *context, ray_status status, const char *message, const ray_transfer_progress *progress) {
    if (status == RAY_OK) {
        CHECK(rename(partial_path, final_path) == 0);
    }
    fixture_done(context, status, message, progress);
}

static ray_status pull_once(ray_transfer *transfer, fixture_pull *p) {
    static const ray_pull_callbacks callbacks = {fixture_opened, fixture_progressed, done};
    ray_endpoint from = {.host = "127.0.0.1", .port = (uint16_t)atomic_load(&shared->proxy_port)};
    // Slow enough to be killed on the way.
    ray_pull_options options = {.struct_size = sizeof options, .name = "source", .resume = RAY_RESUME_KEEP, .chunk_size = CHUNK,
                                .window_bytes = WINDOW, .rate_max_bytes = 400 * MIB, .codec = RAY_CODEC_NONE};
    fixture_pull_init(p, partial_path);
    CHECK_OK(ray_pull_start(transfer, NULL, &from, 1, &options, &callbacks, p, &p->handle));
    return fixture_finish(p);
}

_Noreturn static void run_receiver(void) {
    ray_transfer *transfer = fixture_transfer(NULL, NULL, false);
    fixture_pull *p = malloc(sizeof *p);
    CHECK(p != NULL);
    ray_status status = RAY_OK;
    uint64_t deadline = ray__now_ns() + FIXTURE_DEADLINE_NS;
    // Its sender may be dead at the moment; another try may mend that. What lies under the final name is whole, whoever put it there.
    while (access(final_path, F_OK) != 0) {
        status = pull_once(transfer, p);
        if (status != RAY_OK && (status != RAY_UNREACHABLE || ray__now_ns() > deadline)) {
            fprintf(stderr, "the receiver: %s (%s)\n", ray_status_name(status), p->message);
            exit(EXIT_FAILED);
        }
    }
    ray_transfer_destroy(transfer); // gives the journal up
    CHECK_OK(ray_pull_discard(partial_path)); // of one that was killed between the rename and the end of its journal
    exit(0);
}

// ---- the driver --------------------------------------------------------------------------------------------------------------

enum process { SENDER, RECEIVER, PROXY, PROCESSES };
static pid_t processes[PROCESSES];

static void start(enum process which) {
    uint16_t port = (uint16_t)atomic_load(&shared->sender_port);
    if (which == SENDER) {
        atomic_store(&shared->sender_port, 0);
    }
    fflush(NULL);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        memset(processes, 0, sizeof processes); // they are not its own to end
        switch (which) {
        case SENDER: run_sender(port);
        case RECEIVER: run_receiver();
        default: run_proxy();
        }
    }
    processes[which] = child;
    if (which == SENDER) {
        wait_for(&shared->sender_port, "sender");
    } else if (which == PROXY) {
        wait_for(&shared->proxy_port, "proxy");
    }
}

static void end(enum process which) {
    if (processes[which] > 0) {
        kill(processes[which], SIGKILL);
        CHECK(waitpid(processes[which], NULL, 0) == processes[which]);
        processes[which] = 0;
    }
}

static void end_all(void) {
    for (int which = 0; which < PROCESSES; which++) {
        end((enum process)which);
    }
}

static uint64_t passed_bytes(void) {
    uint64_t asked = atomic_fetch_add(&shared->count_asked, 1) + 1;
    uint64_t deadline = ray__now_ns() + FIXTURE_DEADLINE_NS;
    while (atomic_load(&shared->count_told) < asked) {
        CHECK(ray__now_ns() < deadline);
        sched_yield();
    }
    return atomic_load(&shared->passed_bytes);
}

// Lets a random time pass. True: the receiver has ended, with this code.
static bool receiver_ends_within(uint64_t time_ns, int *code) {
    uint64_t deadline = ray__now_ns() + time_ns;
    int state = 0;
    do {
        pid_t ended = waitpid(processes[RECEIVER], &state, WNOHANG);
        if (ended == processes[RECEIVER]) {
            processes[RECEIVER] = 0;
            *code = WIFEXITED(state) ? WEXITSTATUS(state) : 128 + WTERMSIG(state);
            return true;
        }
        usleep(200);
    } while (ray__now_ns() < deadline);
    return false;
}

typedef struct tally {
    uint64_t files;
    uint64_t sender_kills;
    uint64_t receiver_kills;
    uint64_t bytes;
    uint64_t passed;
} tally;

// One file, with up to this many kills. Whoever was killed comes back at once; at the end nobody is killed any more.
static void bring_one(uint64_t *random, uint64_t kills, tally *t) {
    uint64_t size = 24 * MIB + check_random(random) % (40 * MIB);
    uint8_t *bytes = fixture_bytes(size, *random, false);
    fixture_write_file(source_path, bytes, size);
    uint64_t before = passed_bytes();
    uint64_t killed = 0;
    int code = -1;
    start(RECEIVER);
    while (killed < kills && !receiver_ends_within(check_random(random) % 120000000, &code)) {
        enum process victim = check_random(random) % 2 == 0 ? SENDER : RECEIVER;
        end(victim);
        CHECK(access(final_path, F_OK) != 0 || fixture_file_is(final_path, bytes, size));
        *(victim == SENDER ? &t->sender_kills : &t->receiver_kills) += 1;
        killed++;
        start(victim);
    }
    if (code < 0 && !receiver_ends_within(FIXTURE_DEADLINE_NS, &code)) {
        fprintf(stderr, "the receiver hangs\n");
        exit(1);
    }
    CHECK_EQUAL(code, 0);
    CHECK(fixture_file_is(final_path, bytes, size));
    CHECK(access(partial_path, F_OK) != 0 && access(journal_path, F_OK) != 0);
    uint64_t passed = passed_bytes() - before;
    uint64_t allowed = size + killed * (WINDOW + CHUNK) + size / 100 + MIB;
    if (passed > allowed) {
        fprintf(stderr, "%" PRIu64 " bytes were sent for %" PRIu64 " and %" PRIu64 " kills, at most %" PRIu64 " should be\n", passed, size, killed, allowed);
        exit(1);
    }
    t->files++;
    t->bytes += size;
    t->passed += passed;
    unlink(final_path);
    unlink(source_path);
    free(bytes);
}

int main(int count, char **words) {
    uint64_t kills = count == 2 ? strtoull(words[1], NULL, 10) : 0;
    if (kills == 0) {
        fprintf(stderr, "usage: transfer_kills KILLS\n");
        return 2;
    }
    uint64_t random = check_seed();
    fixture_make_directory();
    shared = mmap(NULL, sizeof *shared, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    CHECK(shared != MAP_FAILED);
    snprintf(source_path, sizeof source_path, "%s/source", fixture_directory);
    snprintf(partial_path, sizeof partial_path, "%s/partial", fixture_directory);
    snprintf(journal_path, sizeof journal_path, "%s%s", partial_path, RAY_JOURNAL_SUFFIX);
    snprintf(final_path, sizeof final_path, "%s/final", fixture_directory);
    CHECK(atexit(end_all) == 0);
    start(SENDER);
    atomic_store(&shared->proxy_target, atomic_load(&shared->sender_port));
    start(PROXY);
    tally t = {0};
    while (t.sender_kills + t.receiver_kills < kills) {
        uint64_t left = kills - t.sender_kills - t.receiver_kills;
        uint64_t some = 1 + check_random(&random) % 6;
        bring_one(&random, some < left ? some : left, &t);
    }
    bring_one(&random, 0, &t);
    end_all();
    fixture_remove_directory();
    printf("%" PRIu64 " files whole after %" PRIu64 " kills of the sender and %" PRIu64 " of the receiver; %.2f of their bytes were sent\n", t.files,
           t.sender_kills, t.receiver_kills, (double)t.passed / (double)t.bytes);
    return 0;
}
