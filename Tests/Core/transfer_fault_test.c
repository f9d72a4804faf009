// SPDX-License-Identifier: Apache-2.0
// What goes wrong between two transfers: keys, dead and silent peers, damaged and cut streams, changed files, full disks. A proxy
// (Tests/Faults) stands between receiver and sender and does the harm that a test orders; `make test-faults` does harm at random.
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>

#include "fault_proxy.h"
#include "transfer_fixture.h"

static char source_path[128];
static char target_path[128];

// ---- sockets of strangers ---------------------------------------------------------------------------------------------------

static int connect_to(uint16_t port) {
    int made = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons(port), .sin_addr = {htonl(INADDR_LOOPBACK)}};
    if (connect(made, (struct sockaddr *)&to, sizeof to) != 0) {
        close(made);
        return -1;
    }
    return made;
}

static int listen_on_any(uint16_t *port) {
    int made = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr = {htonl(INADDR_LOOPBACK)}};
    socklen_t size = sizeof at;
    CHECK(bind(made, (struct sockaddr *)&at, sizeof at) == 0 && listen(made, 16) == 0);
    CHECK(getsockname(made, (struct sockaddr *)&at, &size) == 0);
    *port = ntohs(at.sin_port);
    return made;
}

static bool send_all(int to, const uint8_t *bytes, size_t size) {
    while (size > 0) {
        ssize_t sent = send(to, bytes, size, MSG_NOSIGNAL);
        if (sent <= 0) {
            return false;
        }
        bytes += sent;
        size -= (size_t)sent;
    }
    return true;
}

// ---- a sender with one file, and a receiver --------------------------------------------------------------------------------

typedef struct scene {
    fixture_table table;
    ray_transfer *sender;
    ray_transfer *receiver;
    fault_proxy *between;
    uint8_t *bytes;
    uint64_t size;
    fixture_pull pull;
} scene;

static scene *scene_make(uint64_t size, bool packable) {
    scene *s = calloc(1, sizeof *s);
    CHECK(s != NULL);
    s->size = size;
    s->bytes = fixture_bytes(size, size, packable);
    fixture_write_file(source_path, s->bytes, size);
    fixture_add_file(&s->table, 1, source_path);
    s->sender = fixture_transfer(&s->table, NULL, true);
    s->receiver = fixture_transfer(NULL, NULL, false);
    fault_proxy_options options = {.to = ray_transfer_port(s->sender)};
    s->between = fault_proxy_start(&options);
    CHECK(s->between != NULL);
    return s;
}

static ray_status scene_pull(scene *s, ray_pull_options *options) {
    return fixture_pull_now(&s->pull, s->receiver, 1, fault_proxy_port(s->between), target_path, options);
}

static void scene_check_arrived(scene *s) {
    CHECK(fixture_file_is(target_path, s->bytes, s->size));
    unlink(target_path);
}

static void scene_check_nothing_left(void) {
    CHECK(access(target_path, F_OK) != 0);
}

static void scene_end(scene *s) {
    ray_transfer_destroy(s->receiver);
    ray_transfer_destroy(s->sender);
    fault_proxy_stop(s->between);
    unlink(source_path);
    free(s->bytes);
    free(s);
}

// ---- damage ----------------------------------------------------------------------------------------------------------------

static void aFlippedByteCostsThatChunkAgain(void) {
    static const uint16_t codecs[] = {RAY_CODEC_NONE, RAY_CODEC_LZ4};
    for (int i = 0; i < 2; i++) {
        scene *s = scene_make(20 * MIB, true);
        CHECK(fault_proxy_order(s->between, FAULT_FLIP, 5 * MIB, 0));
        ray_pull_options options = {.codec = codecs[i]};
        CHECK_OK(scene_pull(s, &options));
        CHECK_EQUAL(fixture_stats(s->receiver).corrupt_count, 1);
        CHECK(s->pull.progress.retried_count >= 1);
        scene_check_arrived(s);
        scene_end(s);
    }
}

// Wherever it strikes: proof, card, header, data. The first proof that was damaged is a refusal, all else is repaired; so are the proofs of
// connections that come later, whichever bytes they are of all.
static void aFlippedByteAnywhereIsNeverBelieved(void) {
    uint64_t seed = check_seed();
    for (int i = 0; i < 24; i++) {
        scene *s = scene_make(9 * MIB, false);
        uint64_t at = check_random(&seed) % (i < 16 ? 1000 : 9 * MIB);
        CHECK(fault_proxy_order(s->between, FAULT_FLIP, at, 0));
        ray_status status = scene_pull(s, NULL);
        if (status == RAY_OK) {
            CHECK(memcmp(s->pull.metadata, FIXTURE_METADATA, sizeof FIXTURE_METADATA) == 0);
            scene_check_arrived(s);
        } else {
            fprintf(stderr, "    byte %llu: %s\n", (unsigned long long)at, ray_status_name(status));
            CHECK(at < 1000);
            scene_check_nothing_left();
        }
        scene_end(s);
    }
}

static void aSourceThatOnlySendsDamageIsGivenUp(void) {
    scene *s = scene_make(40 * MIB, false);
    CHECK(fault_proxy_order(s->between, FAULT_FLIP, MIB, MIB));
    CHECK_STATUS(scene_pull(s, NULL), RAY_CORRUPT);
    CHECK(fixture_stats(s->receiver).corrupt_count >= 5);
    scene_check_nothing_left();
    scene_end(s);
}

static void aDamagedSourceDoesNotKeepAGoodOneFromHelping(void) {
    scene *s = scene_make(40 * MIB, false);
    CHECK(fault_proxy_order(s->between, FAULT_FLIP, MIB, MIB));
    fixture_pull_init(&s->pull, target_path);
    uint16_t ports[2] = {fault_proxy_port(s->between), ray_transfer_port(s->sender)};
    fixture_start(&s->pull, s->receiver, 1, ports, 2, NULL);
    CHECK_OK(fixture_finish(&s->pull));
    scene_check_arrived(s);
    scene_end(s);
}

static void aCutConnectionIsMadeAnew(void) {
    scene *s = scene_make(40 * MIB, false);
    CHECK(fault_proxy_order(s->between, FAULT_CUT, 6 * MIB + 12345, 9 * MIB));
    CHECK_OK(scene_pull(s, NULL));
    CHECK(s->pull.progress.retried_count >= 1);
    fault_counts counts;
    fault_proxy_counts(s->between, &counts);
    CHECK(counts.connections >= 3);
    scene_check_arrived(s);
    scene_end(s);
}

static void aSilentPeerCountsAsBroken(void) {
    scene *s = scene_make(40 * MIB, false);
    fixture_pull_init(&s->pull, target_path);
    uint16_t ports[1] = {fault_proxy_port(s->between)};
    ray_pull_options options = {.rate_max_bytes = 20 * MIB};
    fixture_start(&s->pull, s->receiver, 1, ports, 1, &options);
    fixture_wait_bytes(&s->pull, 1);
    fault_proxy_stall_all(s->between);
    ray_endpoint other = {.host = "127.0.0.1", .port = ray_transfer_port(s->sender)};
    CHECK_OK(ray_pull_add_source(s->pull.handle, &other));
    CHECK_OK(fixture_finish(&s->pull));
    scene_check_arrived(s);
    scene_end(s);
}

// ---- keys, strangers -------------------------------------------------------------------------------------------------------

// The other side may still be about to count when this one has its answer.
static void wait_refused(scene *s, uint64_t count) {
    uint64_t deadline = ray__now_ns() + FIXTURE_DEADLINE_NS;
    while (fixture_stats(s->sender).refused_count < count) {
        CHECK(ray__now_ns() < deadline);
        usleep(1000);
    }
}

static void aWrongKeyIsRefusedOnBothSides(void) {
    scene *s = scene_make(MIB, false);
    ray_transfer_options wrong = {.struct_size = sizeof wrong};
    ray_transfer *stranger = NULL;
    CHECK_OK(ray_transfer_create(&wrong, &stranger));
    fixture_pull p;
    CHECK_STATUS(fixture_pull_now(&p, stranger, 1, ray_transfer_port(s->sender), target_path, NULL), RAY_KEY_REFUSED);
    wait_refused(s, 1);
    CHECK_EQUAL(atomic_load(&s->table.items[0].find_count), 0);
    ray_transfer_destroy(stranger);
    scene_check_nothing_left();
    scene_end(s);
}

static void aStrangerWhoTalksNonsenseIsRefusedAndOthersAreServed(void) {
    scene *s = scene_make(MIB, false);
    int loud = connect_to(ray_transfer_port(s->sender));
    int quiet = connect_to(ray_transfer_port(s->sender));
    CHECK(loud >= 0 && quiet >= 0);
    uint8_t junk[500];
    memset(junk, 0x5a, sizeof junk);
    CHECK(send_all(loud, junk, sizeof junk));
    CHECK_OK(scene_pull(s, NULL));
    scene_check_arrived(s);
    wait_refused(s, 1);
    // The quiet one is dropped in its time: a read of its socket ends.
    struct pollfd fd = {.fd = quiet, .events = POLLIN};
    CHECK(poll(&fd, 1, 20000) == 1);
    close(loud);
    close(quiet);
    scene_end(s);
}

static void nobodyListeningIsUnreachable(void) {
    uint16_t port;
    int listener = listen_on_any(&port);
    close(listener);
    ray_transfer *receiver = fixture_transfer(NULL, NULL, false);
    fixture_pull p;
    CHECK_STATUS(fixture_pull_now(&p, receiver, 1, port, target_path, NULL), RAY_UNREACHABLE);
    char peer[64];
    snprintf(peer, sizeof peer, "127.0.0.1:%u", port);
    CHECK(strstr(p.message, peer) != NULL);
    ray_transfer_destroy(receiver);
}

static void aPortInUseIsSaid(void) {
    uint16_t port;
    int listener = listen_on_any(&port);
    ray_transfer_options options = {.struct_size = sizeof options, .bind_host = "127.0.0.1", .bind_port = port};
    ray_transfer *transfer = NULL;
    CHECK_STATUS(ray_transfer_create(&options, &transfer), RAY_ADDRESS_IN_USE);
    CHECK(transfer == NULL);
    close(listener);
}

// ---- holders, death --------------------------------------------------------------------------------------------------------

static void aCardThatOnlyNamesHoldersLeadsToThem(void) {
    scene *s = scene_make(12 * MIB, false);
    fixture_table directory = {0};
    fixture_add_holder(fixture_add(&directory, 1, -1), ray_transfer_port(s->sender));
    ray_transfer *guide = fixture_transfer(&directory, NULL, true);
    // It also names itself, and the receiver: both are of no use.
    fixture_add_holder(&directory.items[0], ray_transfer_port(guide));
    fixture_pull p;
    CHECK_OK(fixture_pull_now(&p, s->receiver, 1, ray_transfer_port(guide), target_path, NULL));
    scene_check_arrived(s);
    // A holder that has nothing: lost, not merely not found.
    fixture_table lost = {0};
    fixture_add_holder(fixture_add(&lost, 2, -1), ray_transfer_port(s->sender));
    ray_transfer *wrong_guide = fixture_transfer(&lost, NULL, true);
    CHECK_STATUS(fixture_pull_now(&p, s->receiver, 2, ray_transfer_port(wrong_guide), target_path, NULL), RAY_OBJECT_LOST);
    fixture_table nobody = {0};
    fixture_add(&nobody, 3, -1);
    ray_transfer *clueless = fixture_transfer(&nobody, NULL, true);
    CHECK_STATUS(fixture_pull_now(&p, s->receiver, 3, ray_transfer_port(clueless), target_path, NULL), RAY_OBJECT_LOST);
    ray_transfer_destroy(clueless);
    ray_transfer_destroy(wrong_guide);
    ray_transfer_destroy(guide);
    scene_end(s);
}

static void bothHoldersServe(void) {
    scene *s = scene_make(100 * MIB, false);
    fixture_table second_table = {0};
    fixture_add_file(&second_table, 1, source_path);
    ray_transfer *second = fixture_transfer(&second_table, NULL, true);
    fixture_add_holder(&s->table.items[0], ray_transfer_port(second));
    fixture_pull p;
    ray_pull_options options = {.connection_count = 1};
    CHECK_OK(fixture_pull_now(&p, s->receiver, 1, ray_transfer_port(s->sender), target_path, &options));
    scene_check_arrived(s);
    CHECK(fixture_stats(s->sender).sent_bytes > 0 && fixture_stats(second).sent_bytes > 0);
    CHECK_EQUAL(fixture_stats(s->sender).sent_bytes + fixture_stats(second).sent_bytes, 100 * MIB);
    ray_transfer_destroy(second);
    scene_end(s);
}

static pid_t fork_sender(uint16_t *port) {
    int ready[2];
    CHECK(pipe(ready) == 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        fixture_table *table = calloc(1, sizeof *table);
        CHECK(table != NULL);
        fixture_add_file(table, 1, source_path);
        ray_transfer *sender = fixture_transfer(table, NULL, true);
        uint16_t own = ray_transfer_port(sender);
        CHECK(write(ready[1], &own, sizeof own) == (ssize_t)sizeof own);
        for (;;) {
            pause();
        }
    }
    CHECK(read(ready[0], port, sizeof *port) == (ssize_t)sizeof *port);
    close(ready[0]);
    close(ready[1]);
    return child;
}

static void aKilledSenderLeavesTheRestToTheOther(void) {
    uint64_t size = 64 * MIB;
    uint8_t *bytes = fixture_bytes(size, 3, false);
    fixture_write_file(source_path, bytes, size);
    uint16_t ports[2];
    pid_t first = fork_sender(&ports[0]);
    pid_t second = fork_sender(&ports[1]);
    ray_transfer *receiver = fixture_transfer(NULL, NULL, false);
    fixture_pull p;
    fixture_pull_init(&p, target_path);
    ray_pull_options options = {.rate_max_bytes = 60 * MIB};
    fixture_start(&p, receiver, 1, ports, 2, &options);
    fixture_wait_bytes(&p, 1);
    kill(first, SIGKILL);
    CHECK_OK(fixture_finish(&p));
    CHECK(fixture_file_is(target_path, bytes, size));
    unlink(target_path);
    // And with both dead: an error that names one of them, soon, and no file.
    fixture_pull_init(&p, target_path);
    fixture_start(&p, receiver, 1, &ports[1], 1, &options);
    fixture_wait_bytes(&p, 1);
    kill(second, SIGKILL);
    CHECK_STATUS(fixture_finish(&p), RAY_UNREACHABLE);
    fprintf(stderr, "    (%s)\n", p.message);
    CHECK(strstr(p.message, "127.0.0.1:") != NULL);
    scene_check_nothing_left();
    ray_transfer_destroy(receiver);
    waitpid(first, NULL, 0);
    waitpid(second, NULL, 0);
    unlink(source_path);
    free(bytes);
}

// ---- time, cancel, destroy -------------------------------------------------------------------------------------------------

static void theTimeoutEndsThePull(void) {
    scene *s = scene_make(40 * MIB, false);
    ray_pull_options options = {.timeout_ns = 300000000, .rate_max_bytes = 10 * MIB};
    CHECK_STATUS(scene_pull(s, &options), RAY_TIMED_OUT);
    scene_check_nothing_left();
    scene_end(s);
}

static void destroyingWithPullsUnderWayEndsThem(void) {
    scene *s = scene_make(40 * MIB, false);
    fixture_pull pulls[3];
    char paths[3][128];
    uint16_t port = fault_proxy_port(s->between);
    ray_pull_options options = {.rate_max_bytes = 5 * MIB};
    for (int i = 0; i < 3; i++) {
        char name[32];
        snprintf(name, sizeof name, "target%d", i);
        fixture_path(paths[i], name);
        fixture_pull_init(&pulls[i], paths[i]);
        fixture_start(&pulls[i], s->receiver, 1, &port, 1, &options);
    }
    fixture_wait_bytes(&pulls[0], 1);
    ray_transfer_destroy(s->receiver);
    s->receiver = NULL;
    for (int i = 0; i < 3; i++) {
        CHECK_EQUAL(pulls[i].done_count, 1);
        ray_pull_cancel(pulls[i].handle); // after its end: nothing happens
        CHECK_STATUS(fixture_finish(&pulls[i]), RAY_CANCELLED);
        CHECK(access(paths[i], F_OK) != 0);
    }
    scene_end(s);
}

static void aSenderDestroyedUnderWayBreaksOff(void) {
    scene *s = scene_make(40 * MIB, false);
    fixture_pull_init(&s->pull, target_path);
    uint16_t port = ray_transfer_port(s->sender);
    ray_pull_options options = {.rate_max_bytes = 10 * MIB};
    fixture_start(&s->pull, s->receiver, 1, &port, 1, &options);
    fixture_wait_bytes(&s->pull, 1);
    ray_transfer_destroy(s->sender);
    s->sender = NULL;
    CHECK_STATUS(fixture_finish(&s->pull), RAY_UNREACHABLE);
    scene_check_nothing_left();
    scene_end(s);
}

// ---- files and disks -------------------------------------------------------------------------------------------------------

static void aFileChangedBeforeIsRefused(void) {
    scene *s = scene_make(MIB, false);
    s->table.items[0].mtime_ns--;
    CHECK_STATUS(scene_pull(s, NULL), RAY_SOURCE_CHANGED);
    CHECK(strstr(s->pull.message, source_path) != NULL);
    s->table.items[0].mtime_ns++;
    unlink(source_path);
    CHECK_STATUS(scene_pull(s, NULL), RAY_SOURCE_CHANGED);
    scene_check_nothing_left();
    scene_end(s);
}

static void aFileChangedWhileItIsSentIsRefused(void) {
    for (int shrink = 0; shrink < 2; shrink++) {
        scene *s = scene_make(40 * MIB, false);
        fixture_pull_init(&s->pull, target_path);
        uint16_t port = fault_proxy_port(s->between);
        ray_pull_options options = {.rate_max_bytes = 20 * MIB};
        fixture_start(&s->pull, s->receiver, 1, &port, 1, &options);
        fixture_wait_bytes(&s->pull, 1);
        if (shrink) {
            CHECK(truncate(source_path, 3) == 0);
        } else {
            fixture_write_file(source_path, (const uint8_t *)"other", 5);
        }
        CHECK_STATUS(fixture_finish(&s->pull), RAY_SOURCE_CHANGED);
        scene_check_nothing_left();
        scene_end(s);
    }
}

static void aFullDiskSaysNeededAndFree(void) {
    char mount_path[128];
    fixture_path(mount_path, "disk");
    CHECK(mkdir(mount_path, 0700) == 0);
    if (mount("none", mount_path, "tmpfs", 0, "size=8m") != 0) {
        fprintf(stderr, "    (not checked: this user may not mount a small disk)\n");
        rmdir(mount_path);
        return;
    }
    scene *s = scene_make(20 * MIB, false);
    char path[160];
    snprintf(path, sizeof path, "%s/target", mount_path);
    fixture_pull p;
    CHECK_STATUS(fixture_pull_now(&p, s->receiver, 1, ray_transfer_port(s->sender), path, NULL), RAY_OUT_OF_DISK);
    CHECK(strstr(p.message, path) != NULL && strstr(p.message, "20971520") != NULL && strstr(p.message, "8388608") != NULL);
    CHECK(access(path, F_OK) != 0);
    scene_end(s);
    CHECK(umount(mount_path) == 0);
    rmdir(mount_path);
}

// Not only a disk ends: a process may be forbidden to write larger files.
static void aFileBeyondTheProcessesLimitIsRefusedAtOnce(void) {
    struct rlimit before;
    CHECK(getrlimit(RLIMIT_FSIZE, &before) == 0);
    scene *s = scene_make(20 * MIB, false);
    struct rlimit small = {.rlim_cur = 8 * MIB, .rlim_max = before.rlim_max};
    void (*handler)(int) = signal(SIGXFSZ, SIG_IGN);
    CHECK(setrlimit(RLIMIT_FSIZE, &small) == 0);
    CHECK_STATUS(scene_pull(s, NULL), RAY_OUT_OF_DISK);
    CHECK(strstr(s->pull.message, target_path) != NULL);
    scene_check_nothing_left();
    CHECK(setrlimit(RLIMIT_FSIZE, &before) == 0);
    signal(SIGXFSZ, handler);
    CHECK_OK(scene_pull(s, NULL));
    scene_check_arrived(s);
    scene_end(s);
}

int main(void) {
    fixture_make_directory();
    fixture_path(source_path, "source");
    fixture_path(target_path, "target");
    // It forks, so it comes before there are threads.
    RUN(aKilledSenderLeavesTheRestToTheOther);
    RUN(aFlippedByteCostsThatChunkAgain);
    RUN(aFlippedByteAnywhereIsNeverBelieved);
    RUN(aSourceThatOnlySendsDamageIsGivenUp);
    RUN(aDamagedSourceDoesNotKeepAGoodOneFromHelping);
    RUN(aCutConnectionIsMadeAnew);
    RUN(aSilentPeerCountsAsBroken);
    RUN(aWrongKeyIsRefusedOnBothSides);
    RUN(aStrangerWhoTalksNonsenseIsRefusedAndOthersAreServed);
    RUN(nobodyListeningIsUnreachable);
    RUN(aPortInUseIsSaid);
    RUN(aCardThatOnlyNamesHoldersLeadsToThem);
    RUN(bothHoldersServe);
    RUN(theTimeoutEndsThePull);
    RUN(destroyingWithPullsUnderWayEndsThem);
    RUN(aSenderDestroyedUnderWayBreaksOff);
    RUN(aFileChangedBeforeIsRefused);
    RUN(aFileChangedWhileItIsSentIsRefused);
    RUN(aFullDiskSaysNeededAndFree);
    RUN(aFileBeyondTheProcessesLimitIsRefusedAtOnce);
    fixture_remove_directory();
    return 0;
}
