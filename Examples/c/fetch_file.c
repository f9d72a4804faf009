// SPDX-License-Identifier: Apache-2.0
// Fetches a file from serve_file.c, or `raystore serve`, without a node. Killed and started again it goes on where it was: the file is
// filled at TARGET.part, its journal lies beside it, and it is renamed when it is complete and verified.
//
//   cc fetch_file.c -o fetch_file $(pkg-config --cflags --libs raystore)
//   ./fetch_file KEY-FILE HOST:PORT/NAME [TARGET]
#include <pthread.h>
#include <raystore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct fetch {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    const char *target;
    char partial[4096];
    bool done;
    int result;
} fetch;

// Runs once, when the server has said what there is: here the sink is chosen.
static ray_status opened(void *context, ray_pull *pull, const ray_card *card) {
    const fetch *f = context;
    printf("%llu bytes\n", (unsigned long long)card->size_bytes);
    return ray_pull_into_file(pull, f->partial);
}

// Runs last. The path is locked until this returns, so the rename is safe.
static void done(void *context, ray_status status, const char *message, const ray_transfer_progress *progress) {
    fetch *f = context;
    int result = 1;
    if (status != RAY_OK) {
        fprintf(stderr, "fetch_file: %s\n", message);
    } else if (rename(f->partial, f->target) != 0) {
        perror(f->target);
    } else {
        printf("%llu fetched, %llu were here\n", (unsigned long long)(progress->done_bytes - progress->resumed_bytes),
               (unsigned long long)progress->resumed_bytes);
        result = 0;
    }
    pthread_mutex_lock(&f->lock);
    f->done = true;
    f->result = result;
    pthread_cond_signal(&f->changed);
    pthread_mutex_unlock(&f->lock);
}

static int run(ray_transfer *transfer, fetch *f, const char *source) {
    ray_endpoint from = {.port = 0};
    const char *name = strchr(source, '/');
    const char *port = name;
    while (port != NULL && port > source && *port != ':') {
        port--;
    }
    if (port == NULL || port == source || port - source >= RAY_HOST_MAX) {
        fprintf(stderr, "fetch_file: %s is not HOST:PORT/NAME\n", source);
        return 1;
    }
    memcpy(from.host, source, (size_t)(port - source));
    from.port = (uint16_t)atoi(port + 1);
    name++;
    ray_pull_options options = {.struct_size = sizeof options, .resume = RAY_RESUME_KEEP, .name = name};
    ray_pull_callbacks callbacks = {opened, NULL, done};
    ray_pull *pull = NULL;
    if (ray_pull_start(transfer, NULL, &from, 1, &options, &callbacks, f, &pull) != RAY_OK) {
        fprintf(stderr, "fetch_file: %s\n", ray_last_error_message());
        return 1;
    }
    pthread_mutex_lock(&f->lock);
    while (!f->done) {
        pthread_cond_wait(&f->changed, &f->lock);
    }
    pthread_mutex_unlock(&f->lock);
    ray_pull_release(pull);
    return f->result;
}

int main(int argc, char **argv) {
    if (argc != 3 && argc != 4) {
        fprintf(stderr, "usage: fetch_file KEY-FILE HOST:PORT/NAME [TARGET]\n");
        return 2;
    }
    ray_transfer_options options = {.struct_size = sizeof options}; // no bind_host: it only pulls
    ray_transfer *transfer = NULL;
    if (ray_key_load(argv[1], &options.key) != RAY_OK || ray_transfer_create(&options, &transfer) != RAY_OK) {
        fprintf(stderr, "fetch_file: %s\n", ray_last_error_message());
        return 1;
    }
    const char *slash = strrchr(argv[2], '/');
    fetch f = {.target = argc == 4 ? argv[3] : slash != NULL ? slash + 1 : argv[2]};
    pthread_mutex_init(&f.lock, NULL);
    pthread_cond_init(&f.changed, NULL);
    snprintf(f.partial, sizeof f.partial, "%.4000s.part", f.target);
    int result = run(transfer, &f, argv[2]);
    ray_transfer_destroy(transfer);
    return result;
}
