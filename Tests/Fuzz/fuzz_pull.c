// SPDX-License-Identifier: Apache-2.0
// What a source with the key may say to a receiver: whole conversations, through a pull's link (link.c, receive.c, chunks.c, arrivals.c), into memory or
// into a file. The connection is given to the pull as one that an earlier pull left, so no port and no proof is needed.
//
// First byte: bit 0 into a file, bits 1-2 the codec that is asked for, bit 3 one chunk at a time.
#include "script.h"

#include <fcntl.h>

#include "transfer/transfer_internal.h"

enum { INTO_FILE = 1, DATA_MAX = 1 << 20 };

static ray_transfer *transfer;
static char path[64];
static uint8_t memory[DATA_MAX];
static bool into_file;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static int done_count;
static bool peer_ended;
static ray_status ended_with;

static ray_status opened(void *context, ray_pull *pull, const ray_card *card) {
    (void)context;
    read_all(card->metadata, card->metadata_size);
    read_all(card->descriptor, card->descriptor_size);
    if (card->size_bytes > DATA_MAX) {
        return RAY_TOO_LARGE;
    }
    return into_file ? ray_pull_into_file(pull, path) : ray_pull_into_memory(pull, memory, sizeof memory);
}

static void done(void *context, ray_status status, const char *message, const ray_transfer_progress *progress) {
    (void)context;
    MUST(progress->done_bytes <= progress->total_bytes && strlen(message) < RAY__TEXT_MAX);
    pthread_mutex_lock(&lock);
    ended_with = status;
    done_count++;
    pthread_cond_signal(&changed);
    pthread_mutex_unlock(&lock);
}

static void end_of_peer(void) {
    pthread_mutex_lock(&lock);
    peer_ended = true;
    pthread_cond_signal(&changed);
    pthread_mutex_unlock(&lock);
}

static void begin(void) {
    ray_transfer_options options = {.struct_size = sizeof options};
    MUST(ray_transfer_create(&options, &transfer) == RAY_OK);
    snprintf(path, sizeof path, "/dev/shm/raystore-fuzz-%d", getpid());
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (transfer == NULL) {
        begin();
    }
    if (size < 1) {
        return 0;
    }
    into_file = (data[0] & INTO_FILE) != 0;
    done_count = 0;
    peer_ended = false;
    ray_endpoint nowhere = {.host = "127.0.0.1", .port = 1}; // nobody listens there
    script_peer peer = {.ended = end_of_peer};
    ray__connection connection = {.socket = script_start(&peer, data + 1, size - 1, false, true), .peer = "a fuzzer"};
    ray__idle_give(transfer, &nowhere, &connection);
    ray_object_id id = {{7}};
    ray_pull_options options = {.struct_size = sizeof options, .connection_count = 1, .chunk_size = RAY_CHUNK_SIZE_MIN,
                                .codec = (uint16_t)(data[0] >> 1 & 3), .window_bytes = (data[0] & 8) != 0 ? RAY_CHUNK_SIZE_MIN : 0};
    ray_pull_callbacks callbacks = {opened, NULL, done};
    ray_pull *pull = NULL;
    MUST(ray_pull_start(transfer, &id, &nowhere, 1, &options, &callbacks, NULL, &pull) == RAY_OK);
    // Until the pull is done, or has let go of the peer and would look for it where nobody listens.
    pthread_mutex_lock(&lock);
    while (done_count == 0 && !peer_ended) {
        pthread_cond_wait(&changed, &lock);
    }
    pthread_mutex_unlock(&lock);
    ray_pull_cancel(pull);
    pthread_mutex_lock(&lock);
    while (done_count == 0) {
        pthread_cond_wait(&changed, &lock);
    }
    pthread_mutex_unlock(&lock);
    char text[512];
    size_t text_size = ray_pull_explain(pull, text, sizeof text);
    MUST(text_size > 0 && strlen(text) == (text_size < sizeof text ? text_size : sizeof text - 1));
    ray_pull_release(pull);
    ray__idle_expire(transfer, UINT64_MAX); // the next pull shall have its own peer
    script_join(&peer);
    MUST(done_count == 1);
    if (into_file) {
        MUST((ended_with == RAY_OK) == (access(path, F_OK) == 0));
        unlink(path);
    }
    return 0;
}
