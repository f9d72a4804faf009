// SPDX-License-Identifier: Apache-2.0
#include "client/messages_internal.h"

#include "fuzz.h"
#include "seeds.h"

typedef struct script {
    uint8_t bytes[1024];
    size_t size;
} script;

static void add(script *to, struct ray__message header, const void *body, uint32_t body_size) {
    header.magic = RAY__MESSAGE_MAGIC;
    header.body_size = body_size;
    memcpy(to->bytes + to->size, &header, sizeof header);
    to->size += sizeof header;
    if (body_size != 0) {
        memcpy(to->bytes + to->size, body, body_size);
        to->size += body_size;
    }
}

static script attached_as(uint32_t access, uint8_t behaviour, uint8_t piece) {
    script made = {{behaviour, piece}, 2};
    struct {
        struct ray__attach attach;
        char name_space[8];
    } body = {{.version = RAY__SESSION_VERSION,
               .layout = RAY__SESSION_LAYOUT,
               .pid = 42,
               .job = access == RAY_ACCESS_GUARDED_READER ? RAY_JOB_NONE : 0,
               .name_space_size = sizeof body.name_space,
               .access = access},
              "a space"};
    body.name_space[7] = 's';
    add(&made, (struct ray__message){.type = RAY__ATTACH}, &body, sizeof body);
    return made;
}

static script attached(uint8_t behaviour, uint8_t piece) {
    return attached_as(RAY_ACCESS_FULL, behaviour, piece);
}

// A guarded reader that pins, looks, lists, and gives back.
static script reader(void) {
    static const uint8_t ids[4 + RAY_OBJECT_ID_SIZE] = {1, 0, 0, 0, 9}; // the object that the target has sealed
    static const uint8_t list[12] = {[8] = 4};
    static const struct ray__pin_name pin = {.serial = 1, .place = 0};
    script made = attached_as(RAY_ACCESS_GUARDED_READER, 16 | 4, 0);
    for (uint16_t request = RAY_REQUEST_PIN; request <= RAY_REQUEST_HOLD_REF; request++) {
        bool one = request == RAY_REQUEST_STAT || request == RAY_REQUEST_HOLD_REF;
        const uint8_t *body = request == RAY_REQUEST_LIST ? list : one ? ids + 4 : ids;
        uint32_t size = request == RAY_REQUEST_LIST ? sizeof list : one ? RAY_OBJECT_ID_SIZE : sizeof ids;
        add(&made, (struct ray__message){.type = RAY__REQUEST, .request = request, .request_id = request}, body, size);
    }
    add(&made, (struct ray__message){.type = RAY__TELL, .request = RAY__TELL_UNPIN}, &pin, sizeof pin);
    add(&made, (struct ray__message){.type = RAY__TELL, .request = RAY__TELL_DROP_REF}, ids + 4, RAY_OBJECT_ID_SIZE);
    add(&made, (struct ray__message){.type = RAY__REQUEST, .request = RAY_REQUEST_FREE, .request_id = 9}, ids, sizeof ids);
    return made;
}

void client_seeds(write_seed_fn write_seed) {
    static const uint8_t payload[40] = {40, 1, 2, 3};
    script talk = attached(4, 0);
    for (uint16_t request = 1; request <= 3; request++) {
        add(&talk, (struct ray__message){.type = RAY__REQUEST, .request = request, .request_id = request | RAY__WANTS_PROGRESS}, payload,
            sizeof payload);
    }
    add(&talk, (struct ray__message){.type = RAY__CANCEL, .request_id = 2}, NULL, 0);
    add(&talk, (struct ray__message){.type = RAY__GOODBYE}, NULL, 0);
    write_seed("client", "talk", talk.bytes, talk.size);
    talk.bytes[1] = 33;
    write_seed("client", "talk-in-pieces", talk.bytes, talk.size);
    script refused = attached(2, 0);
    write_seed("client", "refused", refused.bytes, refused.size);
    script waiting = attached(3 | 8, 5);
    write_seed("client", "unanswered", waiting.bytes, waiting.size);
    script read = reader();
    write_seed("client", "reader", read.bytes, read.size);
    script hasty = {{12, 0}, 2};
    add(&hasty, (struct ray__message){.type = RAY__REQUEST, .request_id = 1}, payload, sizeof payload);
    write_seed("client", "hasty", hasty.bytes, hasty.size);
}
