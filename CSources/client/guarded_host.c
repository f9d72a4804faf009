// SPDX-License-Identifier: Apache-2.0
// What the node does for a guarded reader: it pins and refers with the reader's slot, through a handle of the store in its own process.
//
// So the table looks as if the reader were an ordinary client: its pins and refs are bits of its slot, and its end is the end of any
// client. Here is only the count of what it was given, so that it cannot give back what it does not have. All on the host's thread.
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>

#include "base/shm_internal.h"
#include "client/host_internal.h"
#include "plasma/store_internal.h"

#define LIST_AT_ONCE 512u // objects in an answer to LIST

struct pin {
    ray_object_view view; // void: a free place
    uint64_t serial;
    uint32_t next_free;
};

struct ray__reader {
    ray_store *store;
    struct pin *pins;
    uint32_t pin_capacity;
    uint32_t pin_free; // the first free place, or pin_capacity
    uint64_t pin_serial;
};

ray_status ray__reader_begin(ray_host *host, struct ray__connection *connection) {
    struct ray__reader *made = calloc(1, sizeof *made);
    int meta_fd = fcntl(ray_store_meta_fd(host->store), F_DUPFD_CLOEXEC, 0);
    int data_fd = fcntl(ray_store_data_fd(host->store), F_DUPFD_CLOEXEC, 0);
    if (made == NULL || meta_fd < 0 || data_fd < 0) {
        ray_status status = made == NULL ? ray__fail(RAY_OUT_OF_MEMORY, "the node has no memory for one more reader")
                                         : ray__fail_errno(RAY_SYSTEM, "the node has no descriptors for one more reader");
        ray__fd_close(meta_fd);
        ray__fd_close(data_fd);
        free(made);
        return status;
    }
    ray_status status = ray_store_attach(meta_fd, data_fd, connection->slot, &made->store);
    if (status != RAY_OK) {
        free(made);
        return status;
    }
    connection->reader = made;
    return RAY_OK;
}

void ray__reader_end(struct ray__reader *reader) {
    if (reader != NULL) {
        ray_store_close(reader->store); // drops its pins and refs
        free(reader->pins);
        free(reader);
    }
}

bool ray__reader_may_ask(uint16_t request) {
    return request == RAY_REQUEST_GET || request == RAY_REQUEST_WAIT || request == RAY_REQUEST_OPEN_REF ||
           request == RAY_REQUEST_FIND_NAME || request == RAY_REQUEST_REPORT;
}

bool ray__reader_is_own(uint16_t request) {
    return request >= RAY_REQUEST_PIN && request <= RAY_REQUEST_HOLD_REF;
}

// ---- pins ----------------------------------------------------------------------------------------------------------------

static ray_status grow(struct ray__reader *reader) {
    uint32_t before = reader->pin_capacity;
    if (before >= RAY__READER_PINS_MAX) {
        return ray__fail(RAY_TOO_LARGE, "this reader has %u objects pinned, which is the most; release some", before);
    }
    uint32_t after = before == 0 ? 64 : 2 * before;
    struct pin *moved = realloc(reader->pins, after * sizeof *moved);
    if (moved == NULL) {
        return ray__fail(RAY_OUT_OF_MEMORY, "the node has no memory for %u pins of a reader", after);
    }
    for (uint32_t place = before; place < after; place++) {
        moved[place] = (struct pin){.next_free = place + 1};
    }
    reader->pins = moved;
    reader->pin_capacity = after;
    return RAY_OK;
}

static ray_status pin(struct ray__reader *reader, const ray_object_id *id, struct ray__pinned *answer) {
    if (reader->pin_free == reader->pin_capacity) {
        RAY_TRY(grow(reader));
    }
    uint32_t place = reader->pin_free;
    struct pin *taken = &reader->pins[place];
    RAY_TRY(ray_object_get(reader->store, id, 0, &taken->view));
    reader->pin_free = taken->next_free;
    taken->serial = ++reader->pin_serial;
    const ray_object_view *view = &taken->view;
    const uint8_t *base = reader->store->readable;
    answer->pin = (struct ray__pin_name){.serial = taken->serial, .place = place};
    answer->data_size = view->data_size;
    answer->metadata_size = view->metadata_size;
    answer->data_offset = view->data != NULL ? (uint64_t)(view->data - base) : 0;
    answer->metadata_offset = view->metadata != NULL ? (uint64_t)(view->metadata - base) : 0;
    return RAY_OK;
}

static bool unpin(struct ray__reader *reader, const struct ray__pin_name *name) {
    if (name->place >= reader->pin_capacity || name->serial == 0 || reader->pins[name->place].serial != name->serial) {
        return false;
    }
    struct pin *taken = &reader->pins[name->place];
    ray_object_release(reader->store, &taken->view);
    taken->serial = 0;
    taken->next_free = reader->pin_free;
    reader->pin_free = name->place;
    return true;
}

// ---- requests ------------------------------------------------------------------------------------------------------------

// What an answer is made of; the bytes are allocated.
struct answer {
    uint8_t *bytes;
    size_t size;
};

static ray_status make_room(struct answer *answer, size_t size) {
    answer->bytes = calloc(1, size > 0 ? size : 1); // zeroed: what is not filled in must not tell what was there before
    answer->size = size;
    return answer->bytes != NULL ? RAY_OK : ray__fail(RAY_OUT_OF_MEMORY, "the node has no memory for an answer of %zu bytes", size);
}

// A payload of u32 count and so many ids.
static ray_status read_ids(const uint8_t *body, size_t size, const uint8_t **ids, uint32_t *count) {
    if (size < sizeof *count) {
        return ray__fail(RAY_PROTOCOL, "a list of ids has %zu bytes", size);
    }
    memcpy(count, body, sizeof *count);
    *ids = body + sizeof *count;
    if ((size - sizeof *count) / RAY_OBJECT_ID_SIZE < *count || size - sizeof *count != (size_t)*count * RAY_OBJECT_ID_SIZE) {
        return ray__fail(RAY_PROTOCOL, "a list of %u ids has %zu bytes", *count, size);
    }
    return RAY_OK;
}

static ray_status read_id(const uint8_t *body, size_t size, ray_object_id *id) {
    if (size != sizeof *id) {
        return ray__fail(RAY_PROTOCOL, "an id has %d bytes, not %zu", RAY_OBJECT_ID_SIZE, size);
    }
    memcpy(id, body, sizeof *id);
    return RAY_OK;
}

static ray_status pin_all(struct ray__reader *reader, const uint8_t *body, size_t size, struct answer *answer) {
    const uint8_t *ids;
    uint32_t count;
    RAY_TRY(read_ids(body, size, &ids, &count));
    RAY_TRY(make_room(answer, count * sizeof(struct ray__pinned)));
    for (uint32_t i = 0; i < count; i++) {
        ray_object_id id;
        struct ray__pinned pinned = {0};
        memcpy(&id, ids + (size_t)i * sizeof id, sizeof id);
        pinned.status = pin(reader, &id, &pinned);
        memcpy(answer->bytes + i * sizeof pinned, &pinned, sizeof pinned);
    }
    return RAY_OK;
}

static ray_status look_at_all(struct ray__reader *reader, const uint8_t *body, size_t size, struct answer *answer) {
    const uint8_t *ids;
    uint32_t count;
    RAY_TRY(read_ids(body, size, &ids, &count));
    RAY_TRY(make_room(answer, count));
    for (uint32_t i = 0; i < count; i++) {
        ray_object_id id;
        memcpy(&id, ids + (size_t)i * sizeof id, sizeof id);
        answer->bytes[i] = ray_object_contains(reader->store, &id);
    }
    return RAY_OK;
}

static void write_info(uint8_t *to, const ray_object_info *info) {
    struct ray__looked looked = {
        .id = info->id,
        .state = info->state,
        .creator_slot = info->creator_slot,
        .failure = info->failure,
        .data_size = info->data_size,
        .metadata_size = info->metadata_size,
        .pin_slot_count = info->pin_slot_count,
        .ref_slot_count = info->ref_slot_count,
        .node_has_ref = info->node_has_ref,
        .access_tick = info->access_tick,
    };
    memcpy(to, &looked, sizeof looked);
}

static ray_status stat_one(struct ray__reader *reader, const uint8_t *body, size_t size, struct answer *answer) {
    ray_object_id id;
    ray_object_info info;
    RAY_TRY(read_id(body, size, &id));
    RAY_TRY(ray_object_stat(reader->store, &id, &info));
    RAY_TRY(make_room(answer, sizeof(struct ray__looked)));
    write_info(answer->bytes, &info);
    return RAY_OK;
}

static ray_status list(struct ray__reader *reader, const uint8_t *body, size_t size, struct answer *answer) {
    uint64_t cursor;
    uint32_t wanted;
    if (size != sizeof cursor + sizeof wanted) {
        return ray__fail(RAY_PROTOCOL, "a request for a list has 12 bytes, not %zu", size);
    }
    memcpy(&cursor, body, sizeof cursor);
    memcpy(&wanted, body + sizeof cursor, sizeof wanted);
    wanted = wanted < LIST_AT_ONCE ? wanted : LIST_AT_ONCE;
    ray_object_info *infos = calloc(LIST_AT_ONCE, sizeof *infos);
    if (infos == NULL) {
        return ray__fail(RAY_OUT_OF_MEMORY, "the node has no memory for a list");
    }
    uint32_t count = 0;
    ray_status status = ray_store_list(reader->store, &cursor, infos, wanted, &count);
    if (status == RAY_OK) {
        status = make_room(answer, sizeof cursor + count * sizeof(struct ray__looked));
    }
    if (status == RAY_OK) {
        memcpy(answer->bytes, &cursor, sizeof cursor);
        for (uint32_t i = 0; i < count; i++) {
            write_info(answer->bytes + sizeof cursor + i * sizeof(struct ray__looked), &infos[i]);
        }
    }
    free(infos);
    return status;
}

static ray_status hold(struct ray__reader *reader, const uint8_t *body, size_t size) {
    ray_object_id id;
    RAY_TRY(read_id(body, size, &id));
    return ray_ref_acquire(reader->store, &id);
}

static ray_status serve(struct ray__reader *reader, uint16_t request, const uint8_t *body, size_t size, struct answer *answer) {
    switch (request) {
    case RAY_REQUEST_PIN:
        return pin_all(reader, body, size, answer);
    case RAY_REQUEST_LOOK:
        return look_at_all(reader, body, size, answer);
    case RAY_REQUEST_STAT:
        return stat_one(reader, body, size, answer);
    case RAY_REQUEST_LIST:
        return list(reader, body, size, answer);
    default:
        return hold(reader, body, size);
    }
}

void ray__reader_serve(ray_host *host, struct ray__connection *connection, const struct ray__message *header, const uint8_t *body) {
    struct answer answer = {0};
    ray_status status = serve(connection->reader, header->request, body, header->body_size, &answer);
    const char *text = status == RAY_OK ? "" : ray_last_error_message();
    struct ray__parts parts = {
        .header = {.type = RAY__ANSWER, .status = status, .request_id = header->request_id},
        .text = text,
        .text_size = strlen(text),
        .payload = answer.bytes,
        .payload_size = status == RAY_OK ? answer.size : 0,
    };
    pthread_mutex_lock(&host->lock);
    ray__connection_post(host, connection, &parts);
    pthread_mutex_unlock(&host->lock);
    free(answer.bytes);
}

bool ray__reader_told(struct ray__connection *connection, uint16_t what, const uint8_t *body, size_t size) {
    struct ray__reader *reader = connection->reader;
    if (what == RAY__TELL_UNPIN && size % sizeof(struct ray__pin_name) == 0) {
        bool all = true;
        for (size_t at = 0; at < size && all; at += sizeof(struct ray__pin_name)) {
            struct ray__pin_name name;
            memcpy(&name, body + at, sizeof name);
            all = unpin(reader, &name);
        }
        return all;
    }
    ray_object_id id;
    if (what != RAY__TELL_DROP_REF || size % sizeof id != 0) {
        return false;
    }
    for (size_t at = 0; at < size; at += sizeof id) {
        memcpy(&id, body + at, sizeof id);
        // It may have gone meanwhile, by a free: then there is nothing to drop.
        (void)!ray_ref_release(reader->store, &id);
    }
    return true;
}
