// SPDX-License-Identifier: Apache-2.0
// Creating when memory is short: what does not fit is asked of the node, which makes room and creates it in this process's name. And putting:
// what is large is hashed while it is copied, and the node is told.
#include <stdlib.h>
#include <string.h>

#include "client/client_internal.h"
#include "plasma/glimpse_internal.h"
#include "plasma/store_internal.h"
#include "raystore/codec.h"

// The node ends the wait itself and says more than "timed out"; it gets this much longer to do so.
#define ANSWER_GRACE_NS UINT64_C(2000000000)

// What the node has created for a create that nobody waits for any more; its answer names it.
static void give_back(ray_client *client, const void *answer, size_t answer_size) {
    ray_object_id id;
    if (answer_size == sizeof id.bytes) {
        memcpy(id.bytes, answer, sizeof id.bytes);
        ray_object_decline(client->store, &id);
    }
}

static ray_status ask_for_room(ray_client *client, const ray_object_id *id, const ray_object_writer *wanted, uint64_t timeout_ns) {
    uint8_t payload[8 + 8 + 4 + 4 + RAY_OBJECT_ID_SIZE]; // CREATE: u64 timeout_ns, u64 data_size, u32 metadata_size, u32 flags, id
    uint32_t flags = RAY_CREATE_WITH_REF;
    memcpy(payload, &timeout_ns, 8);
    memcpy(payload + 8, &wanted->data_size, 8);
    memcpy(payload + 16, &wanted->metadata_size, 4);
    memcpy(payload + 20, &flags, 4);
    memcpy(payload + 24, id->bytes, RAY_OBJECT_ID_SIZE);
    uint64_t patience_ns = timeout_ns > RAY_FOREVER - ANSWER_GRACE_NS ? 0 : timeout_ns + ANSWER_GRACE_NS;
    return ray__client_call(client, RAY_REQUEST_CREATE, payload, sizeof payload, patience_ns, give_back, NULL, NULL);
}

ray_status ray_client_create(ray_client *client, uint64_t data_size, uint32_t metadata_size, uint64_t timeout_ns, ray_object_id *id,
                             ray_object_writer *writer) {
    *writer = (ray_object_writer){.data_size = data_size, .metadata_size = metadata_size};
    ray_object_id made;
    RAY_TRY(ray_client_next_id(client, &made));
    ray_status status = ray_object_create(client->store, &made, data_size, metadata_size, RAY_CREATE_WITH_REF, writer);
    if (status == RAY_STORE_FULL && timeout_ns != 0) {
        RAY_TRY(ask_for_room(client, &made, writer, timeout_ns));
        status = ray_object_accept(client->store, &made, RAY_CREATE_WITH_REF, writer);
    }
    if (status == RAY_OK) {
        *id = made;
    }
    return status;
}

// ---- checksums of what is put ----------------------------------------------------------------------------------------------

// What is smaller than RAY__CLIENT_SUMMED_MIN, or has more chunks (above 256 GiB), is hashed by the node: when it is sent, or before, while nobody
// else wants a core.
#define SUMS_MAX 65536u
#define SUMS_HEAD (RAY_OBJECT_ID_SIZE + 8u + 8u + 4u) // id, u64 value, u64 size, u32 count; the sums behind it are aligned
_Static_assert(SUMS_HEAD % 8 == 0 && SUMS_HEAD + 8ull * SUMS_MAX <= RAY_PAYLOAD_MAX, "a request takes the sums");

typedef struct put_sums {
    uint8_t *payload; // NULL: none are computed
    uint64_t *sums;   // in it
    uint32_t count;
} put_sums;

static put_sums sums_for(uint64_t data_size) {
    uint64_t count = (data_size + RAY_CHUNK_SIZE - 1) / RAY_CHUNK_SIZE;
    uint8_t *payload = data_size < RAY__CLIENT_SUMMED_MIN || count > SUMS_MAX ? NULL : malloc(SUMS_HEAD + count * sizeof(uint64_t));
    return (put_sums){payload, payload == NULL ? NULL : (uint64_t *)(void *)(payload + SUMS_HEAD), (uint32_t)count};
}

static void forget_answer(void *context, ray_status status, const char *message, const void *payload, size_t payload_size) {
    (void)context;
    (void)status;
    (void)message;
    (void)payload;
    (void)payload_size;
}

// The object is there, whether the node hears this or not: what it has not heard it computes when it sends the object.
static void tell_sums(ray_client *client, const ray_object_id *id, uint64_t value, uint64_t data_size, const put_sums *of) {
    memcpy(of->payload, id->bytes, RAY_OBJECT_ID_SIZE);
    memcpy(of->payload + RAY_OBJECT_ID_SIZE, &value, 8);
    memcpy(of->payload + RAY_OBJECT_ID_SIZE + 8, &data_size, 8);
    memcpy(of->payload + RAY_OBJECT_ID_SIZE + 16, &of->count, 4);
    (void)!ray_client_send(client, RAY_REQUEST_SUMS, of->payload, SUMS_HEAD + of->count * sizeof(uint64_t), forget_answer, NULL, NULL, NULL);
}

ray_status ray_client_put_within(ray_client *client, const void *data, uint64_t data_size, const void *metadata, uint32_t metadata_size,
                                 uint64_t timeout_ns, ray_object_id *id) {
    if ((data == NULL && data_size != 0) || (metadata == NULL && metadata_size != 0)) {
        return ray__fail(RAY_INVALID_ARGUMENT, "put: no bytes are given for a size that is not 0");
    }
    ray_object_id made;
    ray_object_writer writer;
    RAY_TRY(ray_client_create(client, data_size, metadata_size, timeout_ns, &made, &writer));
    put_sums sums = sums_for(data_size);
    if (sums.payload != NULL) {
        ray__copy_summed(writer.data, data, data_size, RAY_CHUNK_SIZE, sums.sums);
    } else if (data_size != 0) {
        ray__copy(writer.data, data, data_size);
    }
    if (metadata_size != 0) {
        memcpy(writer.metadata, metadata, metadata_size);
    }
    uint64_t value = ray__object_stamp(writer.entry, writer.generation);
    ray_status status = ray_object_seal(client->store, &writer);
    if (status == RAY_OK) {
        *id = made;
        if (sums.payload != NULL) {
            tell_sums(client, &made, value, data_size, &sums);
        }
    }
    free(sums.payload);
    return status;
}
