// SPDX-License-Identifier: Apache-2.0
#include "transfer/wire_internal.h"

#include <assert.h>
#include <string.h>

#include "base/checksum_internal.h"
#include "base/error_internal.h"
#include "codec/bytes_internal.h"
#include "transfer/note_internal.h"

#define MAGIC 0x314d5952u // "RYM1"

enum {
    AT_MAGIC = 0,
    AT_TYPE = 4,
    AT_ZERO = 6,
    AT_BODY_SIZE = 8,
    AT_STREAM = 12,
    AT_CHECK = 16,
    HEADER_END = 24,
};
static_assert(HEADER_END == RAY__MESSAGE_HEADER_SIZE, "the header ends with its check");

// A message is small, so the check of its parts is the hash of one's value and the other's bytes.
static uint64_t check_of_hash(const uint8_t *header, uint64_t body_hash) {
    uint8_t both[16];
    ray__put_u64(both, ray__checksum_of(header, AT_CHECK));
    ray__put_u64(both + 8, body_hash);
    return ray__checksum_of(both, sizeof both);
}

static uint64_t check_of(const uint8_t *header, const uint8_t *body, size_t body_size) {
    return check_of_hash(header, ray__checksum_of(body, body_size));
}

// Of a body whose tail lies elsewhere.
static uint64_t check_of_two(const uint8_t *header, const uint8_t *body, size_t body_size, const uint8_t *tail, size_t tail_size) {
    ray__checksum sum;
    ray__checksum_begin(&sum);
    ray__checksum_add(&sum, body, body_size);
    ray__checksum_add(&sum, tail, tail_size);
    return check_of_hash(header, ray__checksum_end(&sum));
}

static size_t checked_size(uint16_t type, uint32_t body_size) {
    return type == RAY__MESSAGE_CHUNK ? RAY_CHUNK_HEADER_SIZE : body_size;
}

static void write_header(uint8_t *bytes, uint16_t type, uint32_t stream, uint32_t body_size) {
    ray__put_u32(bytes + AT_MAGIC, MAGIC);
    ray__put_u16(bytes + AT_TYPE, type);
    ray__put_u16(bytes + AT_ZERO, 0);
    ray__put_u32(bytes + AT_BODY_SIZE, body_size);
    ray__put_u32(bytes + AT_STREAM, stream);
}

void ray__message_seal_card(uint8_t *bytes, uint32_t stream, const ray__card_message *card) {
    uint32_t size = ray__card_size(card);
    write_header(bytes, RAY__MESSAGE_CARD, stream, size);
    size_t here = size - card->inline_size;
    ray__put_u64(bytes + AT_CHECK, check_of_two(bytes, bytes + HEADER_END, here, card->inline_data, card->inline_size));
}

void ray__message_seal(uint8_t *bytes, uint16_t type, uint32_t stream, uint32_t body_size) {
    write_header(bytes, type, stream, body_size);
    ray__put_u64(bytes + AT_CHECK, check_of(bytes, bytes + HEADER_END, checked_size(type, body_size)));
}

static bool size_is_possible(uint16_t type, uint32_t size, bool from_receiver) {
    switch (type) {
    case RAY__MESSAGE_OPEN:
        return from_receiver && size >= RAY__OPEN_BODY_SIZE && size <= RAY__OPEN_BODY_MAX;
    case RAY__MESSAGE_REQUEST:
        return from_receiver && size > RAY__REQUEST_FIXED_SIZE && size <= RAY__REQUEST_BODY_MAX;
    case RAY__MESSAGE_CLOSE:
        return from_receiver && size == 0;
    case RAY__MESSAGE_CARD:
        return !from_receiver && size >= RAY__CARD_FIXED_SIZE && size <= RAY__CARD_BODY_MAX;
    case RAY__MESSAGE_CHUNK:
        return !from_receiver && size > RAY_CHUNK_HEADER_SIZE && size <= RAY_CHUNK_HEADER_SIZE + RAY_CHUNK_SIZE;
    case RAY__MESSAGE_FAILED:
        return !from_receiver && size >= 10 && size <= RAY__FAILED_BODY_MAX;
    case RAY__MESSAGE_REFER:
        return !from_receiver && size >= RAY__REFER_FIXED_SIZE && size <= RAY__REFER_BODY_MAX;
    case RAY__MESSAGE_WAIT:
        return !from_receiver && size == 0;
    case RAY__MESSAGE_NOTE:
        return !from_receiver && size >= RAY__NOTE_FIXED_SIZE && size <= RAY__NOTE_BODY_MAX;
    default:
        return false;
    }
}

ray_status ray__message_read(const uint8_t *bytes, bool from_receiver, ray__message *message) {
    if (ray__get_u32(bytes + AT_MAGIC) != MAGIC) {
        return ray__fail(RAY_PROTOCOL, "a message begins with %02x %02x %02x %02x, which none does", bytes[0], bytes[1], bytes[2],
                         bytes[3]);
    }
    message->type = ray__get_u16(bytes + AT_TYPE);
    message->body_size = ray__get_u32(bytes + AT_BODY_SIZE);
    message->stream = ray__get_u32(bytes + AT_STREAM);
    message->check = ray__get_u64(bytes + AT_CHECK);
    if (!size_is_possible(message->type, message->body_size, from_receiver) || ray__get_u16(bytes + AT_ZERO) != 0) {
        return ray__fail(RAY_PROTOCOL, "a message of type %u with %u bytes, which the protocol does not allow", message->type,
                         message->body_size);
    }
    return RAY_OK;
}

ray_status ray__message_verify(const uint8_t *header, const ray__message *message, const uint8_t *body) {
    if (check_of(header, body, checked_size(message->type, message->body_size)) != message->check) {
        return ray__fail(RAY_CORRUPT, "a message of type %u was damaged on its way", message->type);
    }
    return RAY_OK;
}

// ---- OPEN: id 28, token u64, threads u16, name size u16, chunk size u32, urgency u16, port u16, host size u16, flags u16, host, name

uint32_t ray__open_write(const ray__open *open, uint8_t *body) {
    size_t name_size = strnlen(open->name, RAY_NAME_MAX);
    size_t host_size = strnlen(open->host, RAY_HOST_MAX - 1);
    memcpy(body, open->id.bytes, RAY_OBJECT_ID_SIZE);
    ray__put_u64(body + 28, open->token);
    ray__put_u16(body + 36, open->threads);
    ray__put_u16(body + 38, (uint16_t)name_size);
    ray__put_u32(body + 40, open->chunk_size);
    ray__put_u16(body + 44, open->urgency);
    ray__put_u16(body + 46, open->port);
    ray__put_u16(body + 48, (uint16_t)host_size);
    ray__put_u16(body + 50, open->flags);
    memcpy(body + RAY__OPEN_BODY_SIZE, open->host, host_size);
    memcpy(body + RAY__OPEN_BODY_SIZE + host_size, open->name, name_size);
    return RAY__OPEN_BODY_SIZE + (uint32_t)host_size + (uint32_t)name_size;
}

ray_status ray__open_read(const uint8_t *body, uint32_t size, ray__open *open) {
    uint32_t name_size = ray__get_u16(body + 38);
    uint32_t host_size = ray__get_u16(body + 48);
    if (name_size > RAY_NAME_MAX || host_size >= RAY_HOST_MAX || size != RAY__OPEN_BODY_SIZE + host_size + name_size ||
        memchr(body + RAY__OPEN_BODY_SIZE, 0, host_size + name_size) != NULL) {
        return ray__fail(RAY_PROTOCOL, "an OPEN of %u bytes with a name of %u and a host of %u", size, name_size, host_size);
    }
    memcpy(open->host, body + RAY__OPEN_BODY_SIZE, host_size);
    open->host[host_size] = '\0';
    memcpy(open->name, body + RAY__OPEN_BODY_SIZE + host_size, name_size);
    open->name[name_size] = '\0';
    memcpy(open->id.bytes, body, RAY_OBJECT_ID_SIZE);
    open->token = ray__get_u64(body + 28);
    open->threads = ray__get_u16(body + 36);
    open->chunk_size = ray__get_u32(body + 40);
    open->urgency = ray__get_u16(body + 44);
    open->port = ray__get_u16(body + 46);
    open->flags = ray__get_u16(body + 50);
    if (!ray__chunk_size_is_possible(open->chunk_size) || open->urgency >= RAY_URGENCY_COUNT || open->flags > RAY__OPEN_LARGE_CARD) {
        return ray__fail(RAY_PROTOCOL, "an OPEN that asks for chunks of %u bytes, with urgency %u", open->chunk_size, open->urgency);
    }
    return RAY_OK;
}

// ---- REQUEST: codec u16, level i16, urgency u16, depth u8, flags u8, count u32, cores u32, free u32, waiting u16, zero u16, lz4 u32,
// zstd u32, indices u32[count]

uint32_t ray__request_write(const ray__request *request, uint8_t *body) {
    ray__put_u16(body, request->codec);
    ray__put_u16(body + 2, (uint16_t)request->level);
    ray__put_u16(body + 4, request->urgency);
    body[6] = request->depth;
    body[7] = request->flags;
    ray__put_u32(body + 8, request->count);
    ray__put_u32(body + 12, request->ability.cores);
    ray__put_u32(body + 16, request->ability.free);
    ray__put_u16(body + 20, request->ability.waiting);
    ray__put_u16(body + 22, 0);
    ray__put_u32(body + 24, request->ability.lz4_ps);
    ray__put_u32(body + 28, request->ability.zstd_ps);
    for (uint32_t i = 0; i < request->count; i++) {
        ray__put_u32(body + RAY__REQUEST_FIXED_SIZE + 4 * i, request->indices[i]);
    }
    return RAY__REQUEST_FIXED_SIZE + 4 * request->count;
}

static bool ability_read(const uint8_t *body, ray__ability *ability) {
    *ability = (ray__ability){
        .cores = ray__get_u32(body + 12),
        .free = ray__get_u32(body + 16),
        .waiting = ray__get_u16(body + 20),
        .lz4_ps = ray__get_u32(body + 24),
        .zstd_ps = ray__get_u32(body + 28),
    };
    return ability->cores <= RAY__CORES_MAX && ability->free <= ability->cores && ray__get_u16(body + 22) == 0 &&
           ability->lz4_ps <= RAY__UNPACK_PS_MAX && ability->zstd_ps <= RAY__UNPACK_PS_MAX;
}

ray_status ray__request_read(const uint8_t *body, uint32_t size, ray__request *request) {
    request->codec = ray__get_u16(body);
    request->level = (int16_t)ray__get_u16(body + 2);
    request->urgency = ray__get_u16(body + 4);
    request->depth = body[6];
    request->flags = body[7];
    request->count = ray__get_u32(body + 8);
    if (request->count == 0 || request->count > RAY__INDICES_MAX || size != RAY__REQUEST_FIXED_SIZE + 4 * request->count ||
        request->codec > RAY_CODEC_ZSTD || request->urgency >= RAY_URGENCY_COUNT || request->depth > RAY__DEPTH_MAX ||
        request->flags > RAY__REQUEST_NO_REFER || !ability_read(body, &request->ability)) {
        return ray__fail(RAY_PROTOCOL, "a REQUEST of %u bytes for %u chunks in codec %u, of urgency %u", size, request->count, request->codec,
                         request->urgency);
    }
    for (uint32_t i = 0; i < request->count; i++) {
        request->indices[i] = ray__get_u32(body + RAY__REQUEST_FIXED_SIZE + 4 * i);
    }
    return RAY_OK;
}

// ---- FAILED: index u32, status i32, text size u16, text ----------------------------------------------------------------

static uint32_t text_size(const char *text) {
    return (uint32_t)strnlen(text, RAY__TEXT_MAX - 1);
}

static void text_read(const uint8_t *bytes, uint32_t size, char *text) {
    memcpy(text, bytes, size);
    text[size] = '\0';
    // It goes into messages that people read on terminals.
    for (uint32_t i = 0; i < size; i++) {
        if ((uint8_t)text[i] < 0x20 || text[i] == 0x7f) {
            text[i] = '?';
        }
    }
}

uint32_t ray__failed_write(const ray__failed *failed, uint8_t *body) {
    uint32_t size = text_size(failed->text);
    ray__put_u32(body, failed->index);
    ray__put_u32(body + 4, (uint32_t)failed->status);
    ray__put_u16(body + 8, (uint16_t)size);
    memcpy(body + 10, failed->text, size);
    return 10 + size;
}

ray_status ray__failed_read(const uint8_t *body, uint32_t size, ray__failed *failed) {
    uint32_t length = ray__get_u16(body + 8);
    failed->index = ray__get_u32(body);
    failed->status = (ray_status)ray__get_u32(body + 4);
    if (size != 10 + length || length >= RAY__TEXT_MAX || failed->status == RAY_OK) {
        return ray__fail(RAY_PROTOCOL, "a FAILED of %u bytes with a text of %u", size, length);
    }
    text_read(body + 10, length, failed->text);
    return RAY_OK;
}

// ---- REFER: index u32, depth u8, zero u8, port u16, host size u16, zero u16, host --------------------------------------

uint32_t ray__refer_write(const ray__refer *refer, uint8_t *body) {
    size_t host_size = strnlen(refer->holder.host, RAY_HOST_MAX - 1);
    ray__put_u32(body, refer->index);
    body[4] = refer->depth;
    body[5] = 0;
    ray__put_u16(body + 6, refer->holder.port);
    ray__put_u16(body + 8, (uint16_t)host_size);
    ray__put_u16(body + 10, 0);
    memcpy(body + RAY__REFER_FIXED_SIZE, refer->holder.host, host_size);
    return RAY__REFER_FIXED_SIZE + (uint32_t)host_size;
}

ray_status ray__refer_read(const uint8_t *body, uint32_t size, ray__refer *refer) {
    uint32_t host_size = ray__get_u16(body + 8);
    refer->index = ray__get_u32(body);
    refer->depth = body[4];
    refer->holder.port = ray__get_u16(body + 6);
    if (size != RAY__REFER_FIXED_SIZE + host_size || host_size >= RAY_HOST_MAX || (host_size == 0) != (refer->holder.port == 0) ||
        body[5] != 0 || ray__get_u16(body + 10) != 0 || refer->depth > RAY__DEPTH_MAX ||
        memchr(body + RAY__REFER_FIXED_SIZE, 0, host_size) != NULL) {
        return ray__fail(RAY_PROTOCOL, "a REFER of %u bytes with a host of %u and depth %u", size, host_size, refer->depth);
    }
    memcpy(refer->holder.host, body + RAY__REFER_FIXED_SIZE, host_size);
    refer->holder.host[host_size] = '\0';
    return RAY_OK;
}

// ---- CARD --------------------------------------------------------------------------------------------------------------
// status i32, kind u16, flags u16, size u64, chunk size u32, then the sizes of the parts as u32: metadata, descriptor, holders,
// text, inline data; holder count u32; zero u32; edition u64; then the parts in that order. A holder: port u16, host size u16, host.

enum {
    CARD_STATUS = 0,
    CARD_KIND = 4,
    CARD_FLAGS = 6,
    CARD_SIZE = 8,
    CARD_CHUNK_SIZE = 16,
    CARD_METADATA_SIZE = 20,
    CARD_DESCRIPTOR_SIZE = 24,
    CARD_HOLDERS_SIZE = 28,
    CARD_TEXT_SIZE = 32,
    CARD_INLINE_SIZE = 36,
    CARD_HOLDER_COUNT = 40,
    CARD_ZERO = 44,
    CARD_EDITION = 48,
    CARD_PARTS = 56,
};
static_assert(CARD_PARTS == RAY__CARD_FIXED_SIZE, "the parts follow the fixed fields");

static uint32_t holders_size(const ray__card_message *card) {
    uint32_t size = 0;
    for (uint32_t i = 0; i < card->holder_count; i++) {
        size += 4 + (uint32_t)strlen(card->holders[i].host);
    }
    return size;
}

uint32_t ray__card_size(const ray__card_message *card) {
    return CARD_PARTS + card->metadata_size + card->descriptor_size + holders_size(card) + text_size(card->text) + card->inline_size;
}

static uint8_t *put_part(uint8_t *at, const uint8_t *part, uint32_t size) {
    if (size != 0) {
        memcpy(at, part, size);
    }
    return at + size;
}

void ray__card_write_but_data(const ray__card_message *card, uint8_t *body) {
    ray__put_u32(body + CARD_STATUS, (uint32_t)card->status);
    ray__put_u16(body + CARD_KIND, card->kind);
    ray__put_u16(body + CARD_FLAGS, card->flags);
    ray__put_u64(body + CARD_SIZE, card->size_bytes);
    ray__put_u32(body + CARD_CHUNK_SIZE, card->chunk_size);
    ray__put_u32(body + CARD_METADATA_SIZE, card->metadata_size);
    ray__put_u32(body + CARD_DESCRIPTOR_SIZE, card->descriptor_size);
    ray__put_u32(body + CARD_HOLDERS_SIZE, holders_size(card));
    ray__put_u32(body + CARD_TEXT_SIZE, text_size(card->text));
    ray__put_u32(body + CARD_INLINE_SIZE, card->inline_size);
    ray__put_u32(body + CARD_HOLDER_COUNT, card->holder_count);
    ray__put_u32(body + CARD_ZERO, 0);
    ray__put_u64(body + CARD_EDITION, card->edition);
    uint8_t *at = put_part(body + CARD_PARTS, card->metadata, card->metadata_size);
    at = put_part(at, card->descriptor, card->descriptor_size);
    for (uint32_t i = 0; i < card->holder_count; i++) {
        uint32_t length = (uint32_t)strlen(card->holders[i].host);
        ray__put_u16(at, card->holders[i].port);
        ray__put_u16(at + 2, (uint16_t)length);
        at = put_part(at + 4, (const uint8_t *)card->holders[i].host, length);
    }
    put_part(at, (const uint8_t *)card->text, text_size(card->text));
}

void ray__card_write(const ray__card_message *card, uint8_t *body) {
    ray__card_write_but_data(card, body);
    put_part(body + ray__card_size(card) - card->inline_size, card->inline_data, card->inline_size);
}

ray_status ray__card_read(const uint8_t *body, uint32_t size, ray__card_message *card) {
    memset(card, 0, sizeof *card);
    card->status = (ray_status)ray__get_u32(body + CARD_STATUS);
    card->kind = ray__get_u16(body + CARD_KIND);
    card->flags = ray__get_u16(body + CARD_FLAGS);
    card->size_bytes = ray__get_u64(body + CARD_SIZE);
    card->chunk_size = ray__get_u32(body + CARD_CHUNK_SIZE);
    card->edition = ray__get_u64(body + CARD_EDITION);
    card->metadata_size = ray__get_u32(body + CARD_METADATA_SIZE);
    card->descriptor_size = ray__get_u32(body + CARD_DESCRIPTOR_SIZE);
    card->holder_bytes_size = ray__get_u32(body + CARD_HOLDERS_SIZE);
    card->inline_size = ray__get_u32(body + CARD_INLINE_SIZE);
    card->holder_count = ray__get_u32(body + CARD_HOLDER_COUNT);
    uint32_t text = ray__get_u32(body + CARD_TEXT_SIZE);
    uint64_t whole = (uint64_t)CARD_PARTS + card->metadata_size + card->descriptor_size + card->holder_bytes_size + text + card->inline_size;
    bool is_inline = (card->flags & RAY__CARD_INLINE) != 0;
    if (whole != size || card->metadata_size > RAY_METADATA_MAX || card->descriptor_size > RAY__DESCRIPTOR_MAX ||
        card->holder_count > RAY__HOLDERS_MAX || text >= RAY__TEXT_MAX || card->kind > RAY_KIND_FILE ||
        (is_inline ? card->inline_size != card->size_bytes || card->size_bytes > RAY__CARD_DATA_MAX : card->inline_size != 0) ||
        (card->size_bytes >> 62) != 0) {
        return ray__fail(RAY_PROTOCOL, "a card of %u bytes whose parts do not fit together", size);
    }
    bool is_here = (card->flags & RAY__CARD_HERE) != 0;
    if (is_here && (!ray__chunk_size_is_possible(card->chunk_size) || card->size_bytes / card->chunk_size >= UINT32_MAX)) {
        return ray__fail(RAY_PROTOCOL, "a card of %llu bytes in chunks of %u", (unsigned long long)card->size_bytes, card->chunk_size);
    }
    card->metadata = body + CARD_PARTS;
    card->descriptor = card->metadata + card->metadata_size;
    card->holder_bytes = card->descriptor + card->descriptor_size;
    text_read(card->holder_bytes + card->holder_bytes_size, text, card->text);
    card->inline_data = card->holder_bytes + card->holder_bytes_size + text;
    uint32_t cursor = 0;
    ray_endpoint holder;
    uint32_t found = 0;
    while (ray__card_holder(card, &cursor, &holder)) {
        found++;
    }
    if (found != card->holder_count || cursor != card->holder_bytes_size) {
        return ray__fail(RAY_PROTOCOL, "a card says %u holders but names %u", card->holder_count, found);
    }
    return RAY_OK;
}

bool ray__card_holder(const ray__card_message *card, uint32_t *cursor, ray_endpoint *holder) {
    uint32_t rest = card->holder_bytes_size - *cursor;
    if (rest < 4) {
        return false;
    }
    const uint8_t *at = card->holder_bytes + *cursor;
    uint32_t length = ray__get_u16(at + 2);
    if (length == 0 || length >= RAY_HOST_MAX || length > rest - 4 || memchr(at + 4, 0, length) != NULL) {
        return false;
    }
    holder->port = ray__get_u16(at);
    memcpy(holder->host, at + 4, length);
    holder->host[length] = '\0';
    *cursor += 4 + length;
    return true;
}
