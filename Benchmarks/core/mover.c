// SPDX-License-Identifier: Apache-2.0
// The transfer engine alone, without nodes: one process serves a folder's files by their names, another fetches them when told to, with the
// codec that it is told. For what nodes do not let one choose: the matrix of codecs, and an address that is a proxy's.
//
//   mover serve HOST DIRECTORY    prints {"port":N}, ends when standard input does
//   mover pull                    for each line HOST PORT NAME TARGET CODEC LEVEL (docs/PROTOCOL.md's numbers, 0 0: automatic) one JSON object;
//                                 the target is removed before the answer
//
// The seconds run from the question to the file being complete and verified; first_second_bytes is what had arrived after 1 s.
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "pulling.h"

static const ray_key key = {{42}};

// ---- serving ---------------------------------------------------------------------------------------------------------------

static ray_status find_named(void *context, const char *name, const char *peer, ray_answer *answer) {
    (void)peer;
    return ray_answer_beneath(answer, *(const int *)context, name);
}

static void serve(const char *host, const char *path) {
    int directory = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (directory < 0) {
        fail(path, strerror(errno));
    }
    ray_transfer_options options = {
        .struct_size = sizeof options, .key = key, .bind_host = host, .find_named = find_named, .context = &directory};
    ray_transfer *transfer = NULL;
    must(ray_transfer_create(&options, &transfer));
    printf("{\"port\":%u}\n", ray_transfer_port(transfer));
    fflush(stdout);
    while (getchar() != EOF) {
    }
    ray_transfer_destroy(transfer);
    close(directory);
}

// ---- fetching --------------------------------------------------------------------------------------------------------------

typedef struct fetched {
    waiter w;
    const char *target;
} fetched;

static ray_status opened(void *context, ray_pull *pull, const ray_card *card) {
    (void)card;
    const fetched *f = context;
    return ray_pull_into_file(pull, f->target);
}

static void fetch(ray_transfer *transfer, const ray_endpoint *from, const char *name, const char *target, uint16_t codec, int32_t level) {
    fetched f = {.target = target};
    waiter_begin(&f.w);
    ray_pull_options options = {.struct_size = sizeof options, .codec = codec, .level = level, .name = name};
    ray_pull_callbacks callbacks = {opened, NULL, waiter_done};
    ray_pull *pull = NULL;
    double start = now();
    must(ray_pull_start(transfer, NULL, from, 1, &options, &callbacks, &f, &pull));
    waiter_wait_until(&f.w, start + 1);
    ray_transfer_progress early;
    ray_pull_progress(pull, &early);
    double seconds = waiter_finish(&f.w, pull) - start;
    unlink(target);
    printf("{\"seconds\":%.6f,\"bytes\":%llu,\"wire_bytes\":%llu,\"first_second_bytes\":%llu,\"none\":%u,\"lz4\":%u,\"zstd\":%u,\"level\":%d}\n",
           seconds, (unsigned long long)f.w.progress.done_bytes, (unsigned long long)f.w.progress.wire_bytes,
           (unsigned long long)early.done_bytes, f.w.progress.none_count, f.w.progress.lz4_count, f.w.progress.zstd_count, f.w.progress.zstd_level);
    fflush(stdout);
}

static void pull_what_is_asked(void) {
    ray_transfer_options options = {.struct_size = sizeof options, .key = key};
    ray_transfer *transfer = NULL;
    must(ray_transfer_create(&options, &transfer));
    char line[4600];
    while (fgets(line, sizeof line, stdin) != NULL) {
        ray_endpoint from = {.port = 0};
        char name[2048];
        char target[2048];
        unsigned codec;
        int level;
        if (sscanf(line, "%255s %hu %2047s %2047s %u %d", from.host, &from.port, name, target, &codec, &level) != 6) {
            fail("not a request", line);
        }
        fetch(transfer, &from, name, target, (uint16_t)codec, level);
    }
    ray_transfer_destroy(transfer);
}

int main(int argc, char **argv) {
    if (argc == 4 && strcmp(argv[1], "serve") == 0) {
        serve(argv[2], argv[3]);
    } else if (argc == 2 && strcmp(argv[1], "pull") == 0) {
        pull_what_is_asked();
    } else {
        fprintf(stderr, "usage: mover serve HOST DIRECTORY | mover pull\n");
        return 64;
    }
    return 0;
}
