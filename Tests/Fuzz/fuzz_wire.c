// SPDX-License-Identifier: Apache-2.0
// A message of the bulk protocol, from a peer that has the key and a fault, or from a line that flips bits.
//
// The first byte: bit 0 the direction, bit 1 writes magic, size and check anew, which mutations do not guess.
#include "fuzz.h"

#include "transfer/note_internal.h"
#include "transfer/wire_internal.h"

enum { FROM_RECEIVER = 1, SEAL = 2 };

static void read_card(const uint8_t *body, uint32_t size) {
    ray__card_message card;
    ray_status status = ray__card_read(body, size, &card);
    MUST(status == RAY_OK || status == RAY_PROTOCOL || status == RAY_VERSION_MISMATCH);
    if (status != RAY_OK) {
        return;
    }
    read_all(card.metadata, card.metadata_size);
    read_all(card.descriptor, card.descriptor_size);
    read_all(card.inline_data, card.inline_size);
    MUST(strlen(card.text) < RAY__TEXT_MAX);
    ray_endpoint holders[RAY__HOLDERS_MAX];
    uint32_t cursor = 0;
    uint32_t count = 0;
    while (count < RAY__HOLDERS_MAX && ray__card_holder(&card, &cursor, &holders[count])) {
        MUST(holders[count].host[0] != 0 && strlen(holders[count].host) < RAY_HOST_MAX);
        count++;
    }
    MUST(count == card.holder_count);
    // Written again it is as long, and says the same.
    card.holders = holders;
    uint32_t again_size = ray__card_size(&card);
    MUST(again_size <= size && size <= RAY__CARD_BODY_MAX); // a NUL in its text ends the text
    uint8_t *again = malloc(again_size);
    MUST(again != NULL);
    ray__card_write(&card, again);
    ray__card_message same;
    MUST(ray__card_read(again, again_size, &same) == RAY_OK && same.size_bytes == card.size_bytes);
    free(again);
    // What the receiver computes from the size.
    if ((card.flags & RAY__CARD_HERE) != 0) {
        uint32_t chunks = ray__chunk_count(card.size_bytes, card.chunk_size);
        MUST(chunks == 0 || ray__chunk_raw_size(card.size_bytes, card.chunk_size, chunks - 1) - 1 < card.chunk_size);
    }
}

static void read_body(uint16_t type, const uint8_t *body, uint32_t size) {
    ray__open opened;
    ray__request request;
    ray__failed failed;
    ray__refer refer;
    ray__note_message note;
    ray_chunk_header frame;
    switch (type) {
    case RAY__MESSAGE_OPEN:
        if (ray__open_read(body, size, &opened) == RAY_OK) {
            static uint8_t again[RAY__OPEN_BODY_MAX];
            MUST(strlen(opened.name) <= RAY_NAME_MAX && strlen(opened.host) < RAY_HOST_MAX);
            MUST(ray__open_write(&opened, again) == size && memcmp(again, body, size) == 0);
        }
        break;
    case RAY__MESSAGE_REQUEST:
        if (ray__request_read(body, size, &request) == RAY_OK) {
            uint8_t again[RAY__REQUEST_BODY_MAX];
            MUST(request.count >= 1 && request.count <= RAY__INDICES_MAX);
            MUST(ray__request_write(&request, again) == size && memcmp(again, body, size) == 0);
        }
        break;
    case RAY__MESSAGE_FAILED:
        if (ray__failed_read(body, size, &failed) == RAY_OK) {
            MUST(failed.status != RAY_OK && strlen(failed.text) < RAY__TEXT_MAX);
        }
        break;
    case RAY__MESSAGE_REFER:
        if (ray__refer_read(body, size, &refer) == RAY_OK) {
            uint8_t again[RAY__REFER_BODY_MAX];
            MUST(refer.depth <= RAY__DEPTH_MAX && strlen(refer.holder.host) < RAY_HOST_MAX);
            MUST(ray__refer_write(&refer, again) == size && memcmp(again, body, size) == 0);
        }
        break;
    case RAY__MESSAGE_NOTE:
        if (ray__note_read(body, size, &note) == RAY_OK) {
            uint8_t again[RAY__NOTE_BODY_MAX];
            MUST(note.rung_count <= RAY__SLOTS_MAX && note.reason < RAY_REASON_COUNT);
            MUST(ray__note_write(&note, again) == size && memcmp(again, body, size) == 0);
        }
        break;
    case RAY__MESSAGE_CARD:
        read_card(body, size);
        break;
    case RAY__MESSAGE_CHUNK:
        (void)!ray_chunk_header_read(body, size, &frame);
        break;
    default:
        MUST(size == 0);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1 + RAY__MESSAGE_HEADER_SIZE) {
        return 0;
    }
    uint8_t what = data[0];
    uint8_t *bytes = copy_exactly(data + 1, size - 1);
    uint32_t body_size = (uint32_t)(size - 1) - RAY__MESSAGE_HEADER_SIZE;
    const uint8_t *body = bytes + RAY__MESSAGE_HEADER_SIZE;
    uint16_t type = (uint16_t)(bytes[4] | bytes[5] << 8);
    if ((what & SEAL) != 0 && (type != RAY__MESSAGE_CHUNK || body_size >= RAY_CHUNK_HEADER_SIZE)) {
        ray__message_seal(bytes, type, 1, body_size);
    }
    ray__message message;
    ray_status status = ray__message_read(bytes, (what & FROM_RECEIVER) != 0, &message);
    MUST(status == RAY_OK || status == RAY_PROTOCOL);
    // A receiver waits for the whole body before it looks at any of it.
    if (status == RAY_OK && message.body_size <= body_size) {
        uint8_t *exact = copy_exactly(body, message.body_size);
        status = ray__message_verify(bytes, &message, exact);
        MUST(status == RAY_OK || status == RAY_CORRUPT);
        if (status == RAY_OK) {
            read_body(message.type, exact, message.body_size);
        }
        free(exact);
    }
    free(bytes);
    return 0;
}
