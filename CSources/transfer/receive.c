// SPDX-License-Identifier: Apache-2.0
// Receiving chunks on one connection: ask, receive, verify, place.
//
// A raw chunk goes straight to its place in memory, or in small pieces through the cache into a file, and is hashed as it arrives. A packed one is
// received into a buffer that a worker unpacks, while this thread receives the next.
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "base/checksum_internal.h"
#include "base/clock_internal.h"
#include "base/cores_internal.h"
#include "base/error_internal.h"
#include "codec/frame_internal.h"
#include "transfer/explain_internal.h"
#include "transfer/transfer_internal.h"

// A packed chunk on its way to a worker. It lies behind the packed bytes in their own buffer.
typedef struct parcel {
    ray__job job;
    ray_pull *pull;
    uint32_t source;
    uint8_t *buffer;
    ray_chunk_header header;
} parcel;
_Static_assert(sizeof(parcel) <= RAY__BUFFER_TAIL, "a parcel fits behind its bytes");

// Chunks of next to nothing (of one byte over and over, mostly) say little of what others take.
#define MEASURED_PART 1000u

// Two workers may overtake each other here, which costs one of two measurements.
static void note_unpacked(ray_pull *pull, const ray_chunk_header *header, uint64_t core_ns) {
    uint64_t ps = core_ns * 1000 / header->raw_size;
    if (header->stored_size < header->raw_size / MEASURED_PART || ps == 0) {
        return;
    }
    _Atomic uint32_t *mean = &pull->unpack_ps[header->codec];
    uint32_t now = ps > RAY__UNPACK_PS_MAX ? RAY__UNPACK_PS_MAX : (uint32_t)ps;
    uint32_t before = atomic_load_explicit(mean, memory_order_relaxed);
    atomic_store_explicit(mean, before == 0 ? now : before - before / 4 + now / 4, memory_order_relaxed);
}

static void place_parcel(parcel *p, ray__worker *worker) {
    ray_pull *pull = p->pull;
    uint8_t *destination = ray__sink_destination(pull, p->header.index);
    uint8_t *raw = destination != NULL ? destination : worker->raw;
    uint64_t begun_ns = ray__thread_core_ns();
    ray_status status = ray__chunk_unpack_filtered(worker->codec, &p->header, p->buffer, raw);
    note_unpacked(pull, &p->header, ray__thread_core_ns() - begun_ns);
    if (status == RAY_OK && ray__checksum_of(raw, p->header.raw_size) != p->header.checksum) {
        status = ray__fail(RAY_CORRUPT, "chunk %u does not match its checksum", p->header.index);
    }
    if (status != RAY_OK) {
        ray__pull_chunk_corrupt(pull, p->source, p->header.index, ray_last_error_message());
        return;
    }
    uint64_t offset = (uint64_t)p->header.index * pull->chunk_size;
    status = destination != NULL ? RAY_OK : ray__sink_write(pull, raw, p->header.raw_size, offset);
    if (status != RAY_OK) {
        ray__pull_end(pull, status, ray_last_error_message());
    } else {
        ray__pull_chunk_arrived(pull, p->source, &p->header);
    }
}

static void unpack_parcel(ray__job *job, ray__worker *worker) {
    parcel *p = (parcel *)(void *)job;
    ray_pull *pull = p->pull;
    if (!atomic_load(&pull->ended)) {
        // A worker waits for nobody: if who is at it does not bring the chunk, it is asked for once more.
        if (ray__claim_take_or_leave(pull, p->header.index) == RAY__CLAIM_MINE) {
            place_parcel(p, worker);
            ray__claim_drop(pull, p->header.index);
        }
    }
    atomic_fetch_sub(&pull->transfer->parcels, 1);
    ray__buffers_give(&pull->transfer->receive_buffers, p->buffer);
    ray__pull_leave(pull);
}

// ---- ask -----------------------------------------------------------------------------------------------------------------

static void describe_ability(ray_pull *pull, ray__ability *ability) {
    ray__free_cores spare;
    ray__headroom_now(&pull->transfer->headroom, ray__now_ns(), &spare);
    uint32_t waiting = atomic_load(&pull->transfer->parcels);
    uint32_t cores = spare.allowed < RAY__CORES_MAX ? spare.allowed : RAY__CORES_MAX;
    uint64_t free = spare.unused == RAY__SPARE_UNKNOWN ? 0 : (uint64_t)spare.unused + spare.own;
    *ability = (ray__ability){
        .cores = cores,
        .free = free < cores ? (uint32_t)free : cores,
        .waiting = (uint16_t)(waiting < UINT16_MAX ? waiting : UINT16_MAX),
        .lz4_ps = atomic_load_explicit(&pull->unpack_ps[RAY_CODEC_LZ4], memory_order_relaxed),
        .zstd_ps = atomic_load_explicit(&pull->unpack_ps[RAY_CODEC_ZSTD], memory_order_relaxed),
    };
}

static ray_status ask(ray__link *link, uint64_t *wait_until_ns) {
    ray__request request = {.codec = link->pull->codec, .level = link->pull->level, .urgency = (uint16_t)atomic_load(&link->pull->urgency)};
    ray__pull_take_chunks(link, &request, wait_until_ns);
    if (request.count == 0) {
        return RAY_OK;
    }
    ray__link_asked(link, request.indices, request.count);
    describe_ability(link->pull, &request.ability);
    uint8_t message[RAY__MESSAGE_HEADER_SIZE + RAY__REQUEST_BODY_MAX];
    uint32_t size = ray__request_write(&request, message + RAY__MESSAGE_HEADER_SIZE);
    ray__message_seal(message, RAY__MESSAGE_REQUEST, link->stream, size);
    struct iovec part = {message, RAY__MESSAGE_HEADER_SIZE + size};
    return ray__connection_write(&link->connection, &part, 1, false);
}

// ---- receive -------------------------------------------------------------------------------------------------------------

// Writes what the link holds of a chunk that ends at `end` so far. While another link writes, this one receives on, until it must.
static ray_status write_held(ray__link *link, uint32_t *held, uint64_t end, bool must) {
    ray_pull *pull = link->pull;
    bool written = true;
    ray_status status = must ? ray__sink_write(pull, link->held, *held, end - *held)
                             : ray__sink_try_write(pull, link->held, *held, end - *held, &written);
    if (status != RAY_OK) {
        ray__pull_end(pull, status, ray_last_error_message());
        return status;
    }
    *held = written ? 0 : *held;
    return RAY_OK;
}

static ray_status receive_raw(ray__link *link, const ray_chunk_header *header, bool *matches) {
    ray_pull *pull = link->pull;
    uint64_t offset = (uint64_t)header->index * pull->chunk_size;
    uint8_t *destination = ray__sink_destination(pull, header->index);
    if (destination == NULL && link->held == NULL) {
        link->held = ray__memory_allocate(&pull->transfer->memory, RAY__HELD_MAX);
        if (link->held == NULL) {
            return ray__fail(RAY_OUT_OF_MEMORY, "a buffer of %u bytes", RAY__HELD_MAX);
        }
    }
    ray__checksum sum;
    ray__checksum_begin(&sum);
    uint32_t held = 0;
    for (uint32_t at = 0; at < header->raw_size;) {
        uint32_t size = header->raw_size - at < RAY_CHECKSUM_PIECE ? header->raw_size - at : RAY_CHECKSUM_PIECE;
        uint8_t *piece = destination != NULL ? destination + at : link->held + held;
        RAY_TRY(ray__connection_read(&link->connection, piece, size));
        ray__checksum_add(&sum, piece, size);
        at += size;
        if (destination == NULL) {
            held += size;
            bool must = at == header->raw_size || held + RAY_CHECKSUM_PIECE > RAY__HELD_MAX;
            RAY_TRY(write_held(link, &held, offset + at, must));
        }
        if (atomic_load(&pull->ended)) {
            return ray__fail(RAY_CANCELLED, "the pull has ended");
        }
    }
    *matches = ray__checksum_end(&sum) == header->checksum;
    return RAY_OK;
}

static ray_status take_buffer(ray_pull *pull, uint8_t **buffer) {
    *buffer = NULL;
    while (*buffer == NULL) {
        *buffer = ray__buffers_take(&pull->transfer->receive_buffers, 100 * RAY__MS);
        if (*buffer == NULL && atomic_load(&pull->ended)) {
            return ray__fail(RAY_CANCELLED, "the pull has ended");
        }
    }
    return RAY_OK;
}

static ray_status receive_packed(ray__link *link, const ray_chunk_header *header) {
    ray_pull *pull = link->pull;
    ray_transfer *transfer = pull->transfer;
    uint8_t *buffer = NULL;
    RAY_TRY(take_buffer(pull, &buffer));
    ray_status status = ray__connection_read(&link->connection, buffer, header->stored_size);
    if (status != RAY_OK) {
        ray__buffers_give(&transfer->receive_buffers, buffer);
        return status;
    }
    parcel *p = (parcel *)(void *)(buffer + RAY_CHUNK_SIZE);
    *p = (parcel){.job = {unpack_parcel}, .pull = pull, .source = link->source, .buffer = buffer, .header = *header};
    pthread_mutex_lock(&pull->lock);
    pull->active++;
    pthread_mutex_unlock(&pull->lock);
    atomic_fetch_add(&transfer->parcels, 1);
    ray__workers_submit(&transfer->workers, &p->job);
    return RAY_OK;
}

static void settle_chunk(ray__link *link, const ray_chunk_header *header, bool matches) {
    if (matches) {
        ray__pull_chunk_arrived(link->pull, link->source, header);
    } else {
        char text[RAY__TEXT_MAX];
        snprintf(text, sizeof text, "chunk %u does not match its checksum", header->index);
        ray__pull_chunk_corrupt(link->pull, link->source, header->index, text);
    }
}

// A chunk that is here, or that another link is receiving: it comes into a buffer, and is placed if it is whole before the other.
static ray_status receive_again(ray__link *link, const ray_chunk_header *header) {
    ray_pull *pull = link->pull;
    uint8_t *buffer = NULL;
    RAY_TRY(take_buffer(pull, &buffer));
    ray_status status = ray__connection_read(&link->connection, buffer, header->stored_size);
    if (status == RAY_OK) {
        ray__link_answered(link, header->index);
        ray__link_arrived(link, header);
        bool matches = ray__checksum_of(buffer, header->raw_size) == header->checksum;
        enum ray__claimed claimed = matches ? ray__claim_wait(link, header->index) : RAY__CLAIM_BUSY;
        if (claimed == RAY__CLAIM_MINE) {
            status = ray__sink_write(pull, buffer, header->raw_size, (uint64_t)header->index * pull->chunk_size);
            if (status != RAY_OK) {
                ray__pull_end(pull, status, ray_last_error_message());
            } else {
                settle_chunk(link, header, true);
            }
            ray__claim_drop(pull, header->index);
        } else if (!matches) {
            settle_chunk(link, header, false);
        }
    }
    ray__buffers_give(&pull->transfer->receive_buffers, buffer);
    return status;
}

static ray_status receive_chunk(ray__link *link, const uint8_t *message_header, const ray__message *message) {
    ray_pull *pull = link->pull;
    uint8_t frame[RAY_CHUNK_HEADER_SIZE];
    ray_chunk_header header;
    RAY_TRY(ray__connection_read(&link->connection, frame, sizeof frame));
    RAY_TRY(ray__message_verify(message_header, message, frame));
    RAY_TRY(ray_chunk_header_read(frame, sizeof frame, &header));
    if (!ray_object_id_equal(&header.id, &pull->id) || !ray__link_is_due(link, header.index) ||
        header.raw_size != ray__chunk_raw_size(pull->size_bytes, pull->chunk_size, header.index) ||
        message->body_size != RAY_CHUNK_HEADER_SIZE + header.stored_size) {
        return ray__fail(RAY_PROTOCOL, "%s sent chunk %u with %u bytes, which was not asked for", link->connection.peer, header.index,
                         header.raw_size);
    }
    atomic_fetch_add(&pull->transfer->received_wire_bytes, header.stored_size);
    if (header.codec != RAY_CODEC_NONE) {
        RAY_TRY(receive_packed(link, &header));
        ray__link_answered(link, header.index);
        ray__link_arrived(link, &header);
        return RAY_OK;
    }
    enum ray__claimed claimed = ray__claim_take(pull, header.index, link);
    if (claimed != RAY__CLAIM_MINE) {
        return receive_again(link, &header);
    }
    bool matches = false;
    ray_status status = receive_raw(link, &header, &matches);
    if (status == RAY_OK) {
        ray__link_answered(link, header.index);
        ray__link_arrived(link, &header);
        settle_chunk(link, &header, matches);
    }
    ray__claim_drop(pull, header.index);
    return status;
}

static ray_status receive_failed(ray__link *link, const uint8_t *message_header, const ray__message *message) {
    uint8_t body[RAY__FAILED_BODY_MAX];
    ray__failed failed;
    RAY_TRY(ray__connection_read(&link->connection, body, message->body_size));
    RAY_TRY(ray__message_verify(message_header, message, body));
    RAY_TRY(ray__failed_read(body, message->body_size, &failed));
    if (!ray__link_is_due(link, failed.index)) {
        return ray__fail(RAY_PROTOCOL, "%s refused chunk %u, which was not asked for", link->connection.peer, failed.index);
    }
    char text[RAY__TEXT_MAX];
    snprintf(text, sizeof text, "%s: %.220s", link->connection.peer, failed.text[0] != '\0' ? failed.text : ray_status_text(failed.status));
    ray__pull_source_failed(link->pull, link->source, failed.status, text, true);
    return RAY_OK;
}

static ray_status receive_refer(ray__link *link, const uint8_t *message_header, const ray__message *message) {
    uint8_t body[RAY__REFER_BODY_MAX];
    ray__refer refer;
    RAY_TRY(ray__connection_read(&link->connection, body, message->body_size));
    RAY_TRY(ray__message_verify(message_header, message, body));
    RAY_TRY(ray__refer_read(body, message->body_size, &refer));
    if (!ray__link_is_due(link, refer.index)) {
        return ray__fail(RAY_PROTOCOL, "%s referred chunk %u, which was not asked for", link->connection.peer, refer.index);
    }
    ray__link_not_due(link, refer.index);
    ray__link_refused(link, refer.index);
    ray__pull_chunk_referred(link, &refer);
    return RAY_OK;
}

static ray_status receive_note(ray__link *link, const uint8_t *message_header, const ray__message *message) {
    uint8_t body[RAY__NOTE_BODY_MAX];
    ray__note_message note;
    RAY_TRY(ray__connection_read(&link->connection, body, message->body_size));
    RAY_TRY(ray__message_verify(message_header, message, body));
    RAY_TRY(ray__note_read(body, message->body_size, &note));
    if (link->noted) {
        return ray__fail(RAY_PROTOCOL, "%s sent one NOTE after the other", link->connection.peer);
    }
    link->noted = true;
    ray__account_note(link->pull, link->source, &note);
    return RAY_OK;
}

static ray_status receive_message(ray__link *link) {
    uint8_t header[RAY__MESSAGE_HEADER_SIZE];
    ray__message message;
    RAY_TRY(ray__connection_read(&link->connection, header, sizeof header));
    RAY_TRY(ray__message_read(header, false, &message));
    if (message.stream != link->stream || message.type == RAY__MESSAGE_CARD) {
        return ray__fail(RAY_PROTOCOL, "%s sent a message of type %u that nobody asked for", link->connection.peer, message.type);
    }
    link->noted = link->noted && (message.type == RAY__MESSAGE_NOTE || message.type == RAY__MESSAGE_WAIT);
    switch (message.type) {
    case RAY__MESSAGE_NOTE:
        return receive_note(link, header, &message);
    case RAY__MESSAGE_CHUNK:
        return receive_chunk(link, header, &message);
    case RAY__MESSAGE_REFER:
        return receive_refer(link, header, &message);
    case RAY__MESSAGE_WAIT:
        return ray__message_verify(header, &message, header); // it is alive: that is all it says
    default:
        return receive_failed(link, header, &message);
    }
}

static bool source_ended(ray__link *link) {
    pthread_mutex_lock(&link->pull->lock);
    bool ended = link->pull->sources[link->source].ended;
    pthread_mutex_unlock(&link->pull->lock);
    return ended;
}

ray_status ray__link_receive(ray__link *link) {
    bool asked = false;
    for (;;) {
        if (source_ended(link)) {
            // What is still due from it comes from elsewhere. Its reason is recorded; the connection is of no more use.
            return ray__fail(RAY_CANCELLED, "%s is not used any more", link->connection.peer);
        }
        uint64_t wait_until_ns = 0;
        // What begins gets at least a window's worth, so that it gets on however often its thread is wanted.
        link->yields = link->yields || (asked && ray__link_queue_must_yield(link->pull->transfer, atomic_load(&link->pull->urgency)));
        if (!link->yields) {
            RAY_TRY(ask(link, &wait_until_ns));
            asked = true;
        }
        if (link->due_count > 0) {
            RAY_TRY(receive_message(link));
        } else if (wait_until_ns != 0 && !atomic_load(&link->pull->ended)) {
            ray__pull_wait(link->pull, wait_until_ns);
        } else {
            return RAY_OK;
        }
    }
}
