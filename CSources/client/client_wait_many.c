// SPDX-License-Identifier: Apache-2.0
// Waiting for several objects, here or brought here by the node.
#include <stdlib.h>
#include <string.h>

#include "client/client_internal.h"

// The node keeps the time of a wait itself; it gets this much longer to say how it ended.
#define ANSWER_GRACE_NS UINT64_C(2000000000)

static uint32_t count_ready(const uint8_t *ready, uint32_t count) {
    uint32_t found = 0;
    for (uint32_t i = 0; i < count; i++) {
        found += ready[i] == 1;
    }
    return found;
}

static ray_status look(ray_client *client, const ray_object_id *ids, uint32_t count, uint8_t *ready) {
    if (client->store == NULL) {
        return ray__guarded_look(client, ids, count, ready);
    }
    uint32_t found;
    ray_status status = ray_object_wait(client->store, ids, count, count, 0, ready, &found);
    return status == RAY_TIMED_OUT ? RAY_OK : status;
}

static ray_status ask(ray_client *client, const ray_object_id *ids, uint32_t count, uint32_t wanted, uint64_t timeout_ns, uint8_t *ready) {
    size_t size = 8 + 4 + 4 + 4 + (size_t)count * RAY_OBJECT_ID_SIZE; // WAIT: u64 timeout_ns, u32 wanted, u32 flags, ids
    uint8_t *payload = calloc(1, size);
    if (payload == NULL) {
        return ray__fail(RAY_OUT_OF_MEMORY, "no memory for a request of %zu bytes", size);
    }
    uint32_t flags = RAY_WAIT_FETCH;
    memcpy(payload, &timeout_ns, 8);
    memcpy(payload + 8, &wanted, 4);
    memcpy(payload + 12, &flags, 4);
    memcpy(payload + 16, &count, 4);
    memcpy(payload + 20, ids, (size_t)count * RAY_OBJECT_ID_SIZE);
    uint64_t patience_ns = timeout_ns > RAY_FOREVER - ANSWER_GRACE_NS ? 0 : timeout_ns + ANSWER_GRACE_NS;
    void *answer = NULL;
    size_t answer_size = 0;
    ray_status status = ray_client_call(client, RAY_REQUEST_WAIT, payload, size, patience_ns, &answer, &answer_size);
    free(payload);
    if (status == RAY_OK && answer_size != count) {
        status = ray__fail(RAY_PROTOCOL, "the node answered a wait for %u objects with %zu bytes", count, answer_size);
    }
    if (status == RAY_OK) {
        memcpy(ready, answer, count);
    }
    free(answer);
    return status;
}

ray_status ray_client_wait_many(ray_client *client, const ray_object_id *ids, uint32_t count, uint32_t ready_count_wanted, uint64_t timeout_ns,
                                uint8_t *ready, uint32_t *ready_count) {
    *ready_count = 0;
    if (ready_count_wanted > count) {
        return ray__fail(RAY_INVALID_ARGUMENT, "a wait for %u of %u objects never ends", ready_count_wanted, count);
    }
    if (ready_count_wanted == 0) {
        memset(ready, 0, count);
        return RAY_OK;
    }
    RAY_TRY(look(client, ids, count, ready));
    *ready_count = count_ready(ready, count);
    if (*ready_count < ready_count_wanted && timeout_ns != 0) {
        RAY_TRY(ask(client, ids, count, ready_count_wanted, timeout_ns, ready));
        *ready_count = count_ready(ready, count);
    }
    return *ready_count >= ready_count_wanted
               ? RAY_OK
               : ray__fail(RAY_TIMED_OUT, "%u of %u objects came in time, %u were wanted", *ready_count, count, ready_count_wanted);
}
