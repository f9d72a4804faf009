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

static script attached(uint8_t behaviour, uint8_t piece) {
    script made = {{behaviour, piece}, 2};
    struct {
        struct ray__attach attach;
        char name_space[8];
    } body = {{RAY__SESSION_VERSION, RAY__SESSION_LAYOUT, 42, 0, sizeof body.name_space}, "a space"};
    body.name_space[7] = 's';
    add(&made, (struct ray__message){.type = RAY__ATTACH}, &body, sizeof body);
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
    script hasty = {{12, 0}, 2};
    add(&hasty, (struct ray__message){.type = RAY__REQUEST, .request_id = 1}, payload, sizeof payload);
    write_seed("client", "hasty", hasty.bytes, hasty.size);
}
