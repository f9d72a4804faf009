// SPDX-License-Identifier: Apache-2.0
// A guarded reader's end: the data segment mapped for reading, and the pins that the node holds for this process.
//
// A view's private fields are the pin's place and serial. Copies of a view share the node's pin and are counted here, so that a copy costs
// no request.
#include <stdlib.h>
#include <string.h>

#include "base/clock_internal.h"
#include "base/shm_internal.h"
#include "client/client_internal.h"

#define ASK_NS UINT64_C(10000000000) // for what the host's thread answers by itself, and at once

ray_status ray__guarded_begin(ray_client *client, int data_fd) {
    uint64_t size;
    void *mapped;
    ray_status status = ray__segment_size(data_fd, &size);
    if (status == RAY_OK) {
        status = ray__segment_map(data_fd, size, false, &mapped);
    }
    ray__fd_close(data_fd); // the mapping keeps what it needs
    if (status == RAY_OK) {
        client->guarded.data = mapped;
        client->guarded.size = size;
        client->info.is_guarded_reader = true;
    }
    return status;
}

void ray__guarded_end(ray_client *client) {
    ray__segment_unmap((void *)(uintptr_t)client->guarded.data, client->guarded.size);
    free(client->guarded.pins);
}

ray_status ray__guarded_refuse(const ray_client *client, const char *what) {
    return client->info.is_guarded_reader
               ? ray__fail(RAY_UNSUPPORTED, "%s: a guarded reader cannot write; connect with full access, as the node's user", what)
               : RAY_OK;
}

// ---- pins ----------------------------------------------------------------------------------------------------------------

// Whether so many bytes lie in the mapping.
static bool lies_inside(const ray_client *client, uint64_t offset, uint64_t size) {
    return size <= client->guarded.size && offset <= client->guarded.size - size;
}

// Counts a pin that the node has just made. The lock is held.
static ray_status count_pin(ray_client *client, const struct ray__pin_name *pin) {
    struct ray__guarded *guarded = &client->guarded;
    if (pin->place >= guarded->pin_capacity) {
        uint32_t capacity = guarded->pin_capacity == 0 ? 64 : guarded->pin_capacity;
        while (capacity <= pin->place) {
            capacity *= 2;
        }
        struct ray__pin_count *moved = realloc(guarded->pins, capacity * sizeof *moved);
        if (moved == NULL) {
            return ray__fail(RAY_OUT_OF_MEMORY, "no memory for %u pins", capacity);
        }
        memset(moved + guarded->pin_capacity, 0, (capacity - guarded->pin_capacity) * sizeof *moved);
        guarded->pins = moved;
        guarded->pin_capacity = capacity;
    }
    guarded->pins[pin->place] = (struct ray__pin_count){.serial = pin->serial, .count = 1};
    return RAY_OK;
}

static void tell_unpin(ray_client *client, const struct ray__pin_name *pin) {
    ray__client_tell(client, RAY__TELL_UNPIN, pin, sizeof *pin);
}

static ray_status take(ray_client *client, const struct ray__pinned *pinned, ray_object_view *view) {
    if (pinned->status != RAY_OK) {
        return ray__fail(pinned->status, "the object cannot be pinned: %s", ray_status_text(pinned->status));
    }
    if (pinned->pin.serial == 0 || pinned->pin.place >= RAY__READER_PINS_MAX ||
        !lies_inside(client, pinned->data_offset, pinned->data_size) ||
        !lies_inside(client, pinned->metadata_offset, pinned->metadata_size)) {
        return ray__fail(RAY_PROTOCOL, "the node at %s names a place outside of the store", client->socket_path);
    }
    pthread_mutex_lock(&client->lock);
    ray_status status = count_pin(client, &pinned->pin);
    pthread_mutex_unlock(&client->lock);
    if (status != RAY_OK) {
        tell_unpin(client, &pinned->pin);
        return status;
    }
    const uint8_t *base = client->guarded.data;
    *view = (ray_object_view){
        .data = pinned->data_size > 0 ? base + pinned->data_offset : NULL,
        .data_size = pinned->data_size,
        .metadata = pinned->metadata_size > 0 ? base + pinned->metadata_offset : NULL,
        .metadata_size = pinned->metadata_size,
        .entry = pinned->pin.place,
        .generation = pinned->pin.serial,
    };
    return RAY_OK;
}

ray_status ray_client_pin_take(ray_client *client, const void *answer, size_t answer_size, uint32_t index, ray_object_view *view) {
    *view = (ray_object_view){NULL, 0, NULL, 0, 0, 0};
    struct ray__pinned pinned;
    if (!client->info.is_guarded_reader || answer == NULL || answer_size / sizeof pinned <= index) {
        return ray__fail(RAY_INVALID_ARGUMENT, "there is no pin %u in an answer of %zu bytes", index, answer_size);
    }
    memcpy(&pinned, (const uint8_t *)answer + index * sizeof pinned, sizeof pinned);
    return take(client, &pinned, view);
}

void ray__guarded_give_back(ray_client *client, const void *answer, size_t answer_size) {
    struct ray__pinned pinned;
    for (size_t at = 0; at + sizeof pinned <= answer_size; at += sizeof pinned) {
        memcpy(&pinned, (const uint8_t *)answer + at, sizeof pinned);
        if (pinned.status == RAY_OK) {
            tell_unpin(client, &pinned.pin);
        }
    }
}

ray_status ray__guarded_get(ray_client *client, const ray_object_id *id, uint64_t patience_ns, ray_object_view *view) {
    *view = (ray_object_view){NULL, 0, NULL, 0, 0, 0};
    uint8_t payload[4 + RAY_OBJECT_ID_SIZE];
    uint32_t count = 1;
    memcpy(payload, &count, 4);
    memcpy(payload + 4, id->bytes, RAY_OBJECT_ID_SIZE);
    void *answer = NULL;
    size_t size = 0;
    RAY_TRY(ray__client_call(client, RAY_REQUEST_PIN, payload, sizeof payload, patience_ns, ray__guarded_give_back, &answer, &size));
    ray_status status = RAY_PROTOCOL;
    if (size == sizeof(struct ray__pinned)) {
        status = ray_client_pin_take(client, answer, size, 0, view);
    }
    free(answer);
    if (status == RAY_OK || status == RAY_PROTOCOL || status == RAY_OUT_OF_MEMORY) {
        return status;
    }
    char text[RAY_OBJECT_ID_HEX_SIZE];
    ray_object_id_format(id, text);
    return ray__fail(status, "get object %s: %s", text, ray_status_text(status));
}

void ray_client_release(ray_client *client, ray_object_view *view) {
    if (client->store != NULL) {
        ray_object_release(client->store, view);
        return;
    }
    struct ray__pin_name pin = {.serial = view->generation, .place = view->entry};
    *view = (ray_object_view){NULL, 0, NULL, 0, 0, 0};
    if (client->fork_generation != ray__fork_generation() || pin.serial == 0) {
        return;
    }
    struct ray__guarded *guarded = &client->guarded;
    pthread_mutex_lock(&client->lock);
    bool ours = pin.place < guarded->pin_capacity && guarded->pins[pin.place].serial == pin.serial;
    bool last = ours && --guarded->pins[pin.place].count == 0;
    if (last) {
        guarded->pins[pin.place].serial = 0;
    }
    pthread_mutex_unlock(&client->lock);
    if (last) {
        tell_unpin(client, &pin);
    }
}

void ray_client_view_copy(ray_client *client, const ray_object_view *from, ray_object_view *to) {
    if (client->store != NULL) {
        ray_object_view_copy(client->store, from, to);
        return;
    }
    *to = (ray_object_view){NULL, 0, NULL, 0, 0, 0};
    if (client->fork_generation != ray__fork_generation() || from->generation == 0) {
        return;
    }
    struct ray__guarded *guarded = &client->guarded;
    pthread_mutex_lock(&client->lock);
    if (from->entry < guarded->pin_capacity && guarded->pins[from->entry].serial == from->generation) {
        guarded->pins[from->entry].count++;
        *to = *from;
    }
    pthread_mutex_unlock(&client->lock);
}

// ---- refs, looking -------------------------------------------------------------------------------------------------------

ray_status ray__guarded_hold(ray_client *client, const ray_object_id *id) {
    return ray_client_call(client, RAY_REQUEST_HOLD_REF, id->bytes, RAY_OBJECT_ID_SIZE, ASK_NS, NULL, NULL);
}

// A request whose answer has at least so many bytes.
static ray_status ask(ray_client *client, uint16_t request, const void *payload, size_t payload_size, size_t least, uint8_t **answer,
                      size_t *size) {
    void *got = NULL;
    RAY_TRY(ray_client_call(client, request, payload, payload_size, ASK_NS, &got, size));
    if (*size < least) {
        free(got);
        return ray__fail(RAY_PROTOCOL, "the node at %s answered request %u with %zu bytes", client->socket_path, request, *size);
    }
    *answer = got;
    return RAY_OK;
}

ray_status ray__guarded_look(ray_client *client, const ray_object_id *ids, uint32_t count, uint8_t *here) {
    size_t size = 4 + (size_t)count * RAY_OBJECT_ID_SIZE;
    uint8_t *payload = calloc(1, size);
    if (payload == NULL) {
        return ray__fail(RAY_OUT_OF_MEMORY, "no memory for a request of %zu bytes", size);
    }
    memcpy(payload, &count, 4);
    if (count > 0) {
        memcpy(payload + 4, ids, (size_t)count * RAY_OBJECT_ID_SIZE);
    }
    uint8_t *answer = NULL;
    size_t got;
    ray_status status = ask(client, RAY_REQUEST_LOOK, payload, size, count, &answer, &got);
    free(payload);
    RAY_TRY(status);
    if (count > 0) {
        memcpy(here, answer, count);
    }
    free(answer);
    return RAY_OK;
}

ray_status ray_client_contains(ray_client *client, const ray_object_id *id, bool *is_here) {
    *is_here = false;
    if (client->store != NULL) {
        *is_here = ray_object_contains(client->store, id);
        return RAY_OK;
    }
    uint8_t here = 0;
    RAY_TRY(ray__guarded_look(client, id, 1, &here));
    *is_here = here == 1;
    return RAY_OK;
}

static void read_info(const uint8_t *from, ray_object_info *info) {
    struct ray__looked looked;
    memcpy(&looked, from, sizeof looked);
    *info = (ray_object_info){
        .id = looked.id,
        .state = looked.state,
        .creator_slot = looked.creator_slot,
        .failure = looked.failure,
        .data_size = looked.data_size,
        .metadata_size = looked.metadata_size,
        .pin_slot_count = looked.pin_slot_count,
        .ref_slot_count = looked.ref_slot_count,
        .node_has_ref = looked.node_has_ref != 0,
        .access_tick = looked.access_tick,
    };
}

ray_status ray_client_stat(ray_client *client, const ray_object_id *id, ray_object_info *info) {
    if (client->store != NULL) {
        return ray_object_stat(client->store, id, info);
    }
    uint8_t *answer = NULL;
    size_t size;
    RAY_TRY(ask(client, RAY_REQUEST_STAT, id->bytes, RAY_OBJECT_ID_SIZE, sizeof(struct ray__looked), &answer, &size));
    read_info(answer, info);
    free(answer);
    return RAY_OK;
}

ray_status ray_client_list(ray_client *client, uint64_t *cursor, ray_object_info *infos, uint32_t capacity, uint32_t *count) {
    *count = 0;
    if (client->store != NULL) {
        return ray_store_list(client->store, cursor, infos, capacity, count);
    }
    uint8_t payload[12];
    memcpy(payload, cursor, 8);
    memcpy(payload + 8, &capacity, 4);
    uint8_t *answer = NULL;
    size_t size;
    RAY_TRY(ask(client, RAY_REQUEST_LIST, payload, sizeof payload, sizeof *cursor, &answer, &size));
    size_t found = (size - sizeof *cursor) / sizeof(struct ray__looked);
    found = found < capacity ? found : capacity;
    memcpy(cursor, answer, sizeof *cursor);
    for (size_t i = 0; i < found; i++) {
        read_info(answer + sizeof *cursor + i * sizeof(struct ray__looked), &infos[i]);
    }
    *count = (uint32_t)found;
    free(answer);
    return RAY_OK;
}
