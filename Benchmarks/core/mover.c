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

#include "raystore.h"

static const ray_key key = {{42}};

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec * 1e-9;
}

static void fail(const char *what, const char *why) {
    fprintf(stderr, "mover: %s: %s\n", what, why);
    exit(1);
}

static void must(ray_status status) {
    if (status != RAY_OK) {
        fail(ray_status_name(status), ray_last_error_message());
    }
}

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

typedef struct waiter {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    const char *target;
    bool done;
    ray_status status;
    char message[512];
    ray_transfer_progress progress;
} waiter;

static ray_status opened(void *context, ray_pull *pull, const ray_card *card) {
    (void)card;
    const waiter *w = context;
    return ray_pull_into_file(pull, w->target);
}

static void done(void *context, ray_status status, const char *message, const ray_transfer_progress *progress) {
    waiter *w = context;
    pthread_mutex_lock(&w->lock);
    w->status = status;
    snprintf(w->message, sizeof w->message, "%s", message);
    w->progress = *progress;
    w->done = true;
    pthread_cond_signal(&w->changed);
    pthread_mutex_unlock(&w->lock);
}

// Waits until the pull is done, or until the time.
static void wait_until(waiter *w, double until) {
    struct timespec at = {(time_t)until, (long)((until - (double)(time_t)until) * 1e9)};
    pthread_mutex_lock(&w->lock);
    while (!w->done && pthread_cond_timedwait(&w->changed, &w->lock, &at) != ETIMEDOUT) {
    }
    pthread_mutex_unlock(&w->lock);
}

static void fetch(ray_transfer *transfer, const ray_endpoint *from, const char *name, const char *target, uint16_t codec, int32_t level) {
    waiter w = {.target = target};
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_mutex_init(&w.lock, NULL);
    pthread_cond_init(&w.changed, &monotonic);
    ray_pull_options options = {.struct_size = sizeof options, .codec = codec, .level = level, .name = name};
    ray_pull_callbacks callbacks = {opened, NULL, done};
    ray_pull *pull = NULL;
    double start = now();
    must(ray_pull_start(transfer, NULL, from, 1, &options, &callbacks, &w, &pull));
    wait_until(&w, start + 1);
    ray_transfer_progress early;
    ray_pull_progress(pull, &early);
    while (!w.done) {
        wait_until(&w, now() + 3600);
    }
    double seconds = now() - start;
    ray_pull_release(pull);
    if (w.status != RAY_OK) {
        fail(ray_status_name(w.status), w.message);
    }
    unlink(target);
    pthread_cond_destroy(&w.changed);
    pthread_mutex_destroy(&w.lock);
    printf("{\"seconds\":%.6f,\"bytes\":%llu,\"wire_bytes\":%llu,\"first_second_bytes\":%llu,\"none\":%u,\"lz4\":%u,\"zstd\":%u,\"level\":%d}\n",
           seconds, (unsigned long long)w.progress.done_bytes, (unsigned long long)w.progress.wire_bytes,
           (unsigned long long)early.done_bytes, w.progress.none_count, w.progress.lz4_count, w.progress.zstd_count, w.progress.zstd_level);
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
