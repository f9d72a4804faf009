// SPDX-License-Identifier: Apache-2.0
// A receiver with next to no time of a core gets what it can take: over the same link and of the same data, more of its chunks come raw than
// of one with time.
//
// The link is paced, so that packing pays, and so slow that a fiftieth of a core takes what comes raw, also when sanitizers make our code
// several times slower: at three times this rate it did not, and packing was right for the starved one too. That one is a process in a
// control group with such a quota, which it finds and says in each REQUEST. Skipped where no group can be made.
#include <signal.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#include "control_group.h"
#include "paced_listener.h"
#include "transfer_fixture.h"

#define CHUNK (256u << 10)
#define CHUNKS 96u
#define LINK_RATE 10000000u
#define ROUNDS 5

static char source_path[128];
static char target_path[128];

typedef struct told {
    uint32_t raw;
    uint32_t packed;
} told;

// In a process of its own: waits for the port, pulls, and tells what came.
static void receive(bool is_starved, int port_from, int told_to) {
    uint16_t port;
    CHECK(read(port_from, &port, sizeof port) == sizeof port);
    CHECK(!is_starved || control_group_enter());
    ray_transfer *receiver = fixture_transfer(NULL, NULL, false);
    ray_pull_options options = {.chunk_size = CHUNK};
    fixture_pull p;
    CHECK_OK(fixture_pull_now(&p, receiver, 1, port, target_path, &options));
    ray_transfer_destroy(receiver);
    unlink(target_path);
    told what = {p.progress.none_count, p.progress.lz4_count + p.progress.zstd_count};
    CHECK(write(told_to, &what, sizeof what) == sizeof what);
}

// A process is made before this one has threads; answers what it tells.
static told serve_one(bool is_starved) {
    int ports[2];
    int tellings[2];
    CHECK(pipe(ports) == 0 && pipe(tellings) == 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        close(ports[1]);
        close(tellings[0]);
        receive(is_starved, ports[0], tellings[1]);
        _exit(0);
    }
    close(ports[0]);
    close(tellings[1]);
    fixture_table table = {0};
    fixture_add_file(&table, 1, source_path);
    ray_transfer *sender = fixture_transfer(&table, NULL, true);
    uint16_t port = ray_transfer_port(sender);
    pace_listener(port, LINK_RATE);
    told what;
    CHECK(write(ports[1], &port, sizeof port) == sizeof port);
    CHECK(read(tellings[0], &what, sizeof what) == sizeof what);
    int status;
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == 0);
    ray_transfer_destroy(sender);
    close(ports[1]);
    close(tellings[0]);
    CHECK_EQUAL(what.raw + what.packed, CHUNKS);
    return what;
}

// Others on the machine may leave the sender, or the one that is to have time, none for a while; then raw is right for both.
static void aStarvedReceiverGetsMoreRawChunks(void) {
    for (int round = 1;; round++) {
        told with_time = serve_one(false);
        told starved = serve_one(true);
        fprintf(stderr, "        raw: %u of %u with time, %u starved\n", with_time.raw, CHUNKS, starved.raw);
        if (starved.raw > with_time.raw + CHUNKS / 4) {
            return;
        }
        CHECK(round < ROUNDS);
    }
}

int main(void) {
    if (!control_group_make(2000)) {
        SKIP("no right to make a control group with a quota");
    }
    fixture_make_directory();
    fixture_path(source_path, "source");
    fixture_path(target_path, "target");
    uint8_t *bytes = fixture_bytes(CHUNKS * CHUNK, 3, true);
    fixture_write_file(source_path, bytes, CHUNKS * CHUNK);
    free(bytes);
    RUN(aStarvedReceiverGetsMoreRawChunks);
    unlink(source_path);
    fixture_remove_directory();
    CHECK(control_group_remove());
    return 0;
}
