// SPDX-License-Identifier: Apache-2.0
// What a receiver with the key may say to a sender: whole conversations, through the state machine that serves a connection (serve.c, asked.c), with
// its workers, its streams and its orders.
#include "script.h"

#include "transfer/serve_internal.h"

static ray_transfer *transfer;
static ray_store *store;

enum { WHOLE = 7, INLINE = 8, ELSEWHERE = 9, FREED = 10 }; // the first byte of an id

static ray_status find(void *context, const ray_object_id *id, ray_answer *answer) {
    (void)context;
    switch (id->bytes[0]) {
    case WHOLE:
    case INLINE:
        ray_answer_object(answer);
        return RAY_OK;
    case ELSEWHERE:
        ray_answer_holder(answer, "10.1.2.3", 7001);
        return RAY_OK;
    case FREED:
        ray_answer_message(answer, "on purpose");
        return RAY_OBJECT_FREED;
    default:
        return RAY_NOT_FOUND;
    }
}

static ray_status find_named(void *context, const char *name, const char *peer, ray_answer *answer) {
    (void)context;
    MUST(name[0] != '\0' && strlen(name) <= RAY_NAME_MAX && peer[0] != '\0');
    ray_answer_message(answer, "nothing has a name here");
    return RAY_FILE_NOT_FOUND;
}

static void put(uint8_t first, size_t size) {
    ray_object_id id = {{first}};
    uint8_t *bytes = calloc(1, size);
    MUST(bytes != NULL && ray_object_put(store, &id, bytes, size, "meta", 4, 0) == RAY_OK);
    free(bytes);
}

static void begin(void) {
    ray_store_options kept = {.struct_size = sizeof kept, .capacity_bytes = 1 << 20, .entry_count_max = 8};
    MUST(ray_store_create(&kept, &store) == RAY_OK);
    put(WHOLE, RAY_INLINE_MAX + 70000); // three chunks of the smallest size
    put(INLINE, 500);
    ray_transfer_options options = {.struct_size = sizeof options, .store = store, .find = find, .find_named = find_named};
    MUST(ray_transfer_create(&options, &transfer) == RAY_OK);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (transfer == NULL) {
        begin();
    }
    script_peer peer = {0};
    ray__connection connection = {.socket = script_start(&peer, data, size, true, false), .stop = transfer->stop, .peer = "a fuzzer"};
    MUST(ray__serve(transfer, &connection) != RAY_OK);
    ray__connection_close(&connection);
    script_join(&peer);
    // Nothing of the conversation stays: no offer, no pin.
    MUST(transfer->offers == NULL);
    ray_store_stats stats = {.struct_size = sizeof stats};
    MUST(ray_store_stats_read(store, &stats) == RAY_OK && stats.pinned_bytes == 0);
    return 0;
}
