// SPDX-License-Identifier: Apache-2.0
// What the receiver of a served connection asks: streams that it opens, with the card that answers, and chunks of them.
//
// Requests are small and bounded by the receiver's window, so they wait in the socket while a chunk is being sent.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>

#include "base/clock_internal.h"
#include "base/error_internal.h"
#include "codec/frame_internal.h"
#include "transfer/name_internal.h"
#include "transfer/session_internal.h"

void ray__session_owe(ray__session *s, uint32_t raw_size, uint32_t urgency) {
    s->due_bytes[urgency] += raw_size;
    ray__flow_due(&s->transfer->sending, urgency, raw_size, ray__now_ns());
}

void ray__session_owe_no_more(ray__session *s, uint64_t raw_size, uint32_t urgency) {
    s->due_bytes[urgency] -= raw_size;
    ray__flow_not_due(&s->transfer->sending, urgency, raw_size);
}

ray__stream *ray__session_find(ray__session *s, uint32_t name) {
    for (uint32_t i = 0; i < RAY__STREAMS_MAX; i++) {
        if (s->streams[i].offer != NULL && s->streams[i].name == name && !s->streams[i].closed) {
            return &s->streams[i];
        }
    }
    return NULL;
}

void ray__session_end(ray__session *s, ray__stream *ended) {
    ray__partial_unwatch(ended->offer, &ended->coming);
    ray__swarm_unwatch(ended->offer, &ended->turn);
    ray__read_withdraw(&s->transfer->reads, &ended->reading);
    ray__offer_release(s->transfer, ended->offer);
    memset(ended, 0, sizeof *ended);
}

void ray__session_end_unused(ray__session *s, ray__stream *ended) {
    if (ended->closed && ended->orders == 0) {
        ray__session_end(s, ended);
    }
}

// A link over which packing so little would cost more than it saves: what the stream drained lately at such a rate.
#define FAST_RATE 400000000ull
#define JUDGED_BYTES (8u << 20)

static void judge_link(ray__session *s) {
    uint64_t bytes = s->drain.acked_bytes - s->judged.acked_bytes;
    if (bytes >= JUDGED_BYTES) {
        s->is_fast = bytes >= (s->drain.limited_ns - s->judged.limited_ns) / RAY__MS * (FAST_RATE / 1000);
        s->judged = s->drain;
    }
}

// How much data may travel with the card: none where the caps allow nothing now. It is asked for then, and waits its turn.
static uint64_t card_data_max(ray__session *s, const ray__open *open) {
    uint64_t again_ns = 0;
    if (!ray__flow_is_open(&s->transfer->sending, open->urgency, ray__now_ns(), &again_ns)) {
        return 0;
    }
    judge_link(s);
    return s->is_fast && (open->flags & RAY__OPEN_LARGE_CARD) != 0 ? RAY__CARD_DATA_MAX : RAY_INLINE_MAX;
}

static ray_status send_card(ray__session *s, uint32_t name, ray__offer *offer, uint64_t data_max, uint32_t urgency) {
    ray__card_message card;
    ray__offer_card(offer, data_max, &card);
    // The message without its data, and a file's data.
    uint64_t taken = RAY__MESSAGE_HEADER_SIZE + ray__card_size(&card) - (offer->file >= 0 ? 0 : card.inline_size);
    RAY_TRY(ray__share_wait(&s->transfer->cards_sent, taken, s->connection->stop));
    uint8_t *file_data = NULL;
    if ((card.flags & RAY__CARD_INLINE) != 0 && offer->file >= 0) {
        file_data = malloc(card.inline_size + 1);
        ray_status status = file_data == NULL ? ray__fail(RAY_OUT_OF_MEMORY, "a card")
                                              : ray__offer_read(offer, file_data, 0, card.inline_size);
        if (status == RAY_OK && offer->answer.is_spilled) {
            status = ray__spilled_matches(offer, file_data, card.inline_size);
        }
        card.inline_data = file_data;
        if (status != RAY_OK) {
            memset(&card, 0, sizeof card);
            card.status = status;
            snprintf(card.text, sizeof card.text, "%s", ray_last_error_message());
            ray__spilled_note(s->transfer, offer, status);
        }
    }
    // The data leaves from where it lies.
    uint32_t size = ray__card_size(&card) - card.inline_size;
    uint8_t *message = malloc(RAY__MESSAGE_HEADER_SIZE + size);
    ray_status status;
    if (message == NULL) {
        status = ray__fail(RAY_OUT_OF_MEMORY, "a card of %u bytes", size);
    } else {
        ray__card_write_but_data(&card, message + RAY__MESSAGE_HEADER_SIZE);
        ray__message_seal_card(message, name, &card);
        struct iovec parts[] = {{message, RAY__MESSAGE_HEADER_SIZE + size}, {(void *)(uintptr_t)card.inline_data, card.inline_size}};
        status = ray__connection_write(s->connection, parts, 2, false);
    }
    if (status == RAY_OK && card.inline_size > 0) {
        s->useful_ns = ray__now_ns();
        ray__flow_came(&s->transfer->sending, urgency, card.inline_size, ray__now_ns());
        ray__offer_sent(s->transfer, offer, card.inline_size, card.inline_size);
    }
    free(message);
    free(file_data);
    ray__share_give(&s->transfer->cards_sent, taken);
    return status;
}

// There is no memory for one more while this connection holds what others are waiting for.
static ray_status send_try_again(ray__session *s, uint32_t name) {
    ray__card_message card;
    memset(&card, 0, sizeof card);
    card.status = RAY_AGAIN;
    uint8_t message[RAY__MESSAGE_HEADER_SIZE + RAY__CARD_FIXED_SIZE];
    ray__card_write(&card, message + RAY__MESSAGE_HEADER_SIZE);
    ray__message_seal(message, RAY__MESSAGE_CARD, name, RAY__CARD_FIXED_SIZE);
    return ray__session_send(s, message, sizeof message, false);
}

static ray_status take_open(ray__session *s, uint32_t name, const uint8_t *body, uint32_t size) {
    ray__open open;
    RAY_TRY(ray__open_read(body, size, &open));
    if (open.name[0] != '\0') {
        // Else a peer could have the checksums of one file kept as those of another.
        ray_object_id id = ray__name_id(open.name);
        if (!ray_object_id_equal(&id, &open.id)) {
            return ray__fail(RAY_PROTOCOL, "%s asked by name under an id that is not the name's", s->connection->peer);
        }
    }
    if (ray__session_find(s, name) != NULL) {
        return ray__fail(RAY_PROTOCOL, "%s opened stream %u twice", s->connection->peer, name);
    }
    ray__stream *slot = NULL;
    bool has_others = false;
    for (uint32_t i = 0; i < RAY__STREAMS_MAX; i++) {
        has_others = has_others || s->streams[i].offer != NULL;
        slot = slot == NULL && s->streams[i].offer == NULL ? &s->streams[i] : slot;
    }
    if (slot == NULL) {
        return ray__fail(RAY_PROTOCOL, "%s opened more than %u streams", s->connection->peer, RAY__STREAMS_MAX);
    }
    ray__offer *offer = NULL;
    ray_status opened = ray__offer_open(s->transfer, &open, s->connection->peer, !has_others, &offer);
    if (opened == RAY_AGAIN) {
        return send_try_again(s, name);
    }
    RAY_TRY(opened);
    ray__connection_drain(s->connection, &s->drain);
    ray__gauge_drained(offer, &s->drain, s->connection, NULL);
    ray_status status = send_card(s, name, offer, card_data_max(s, &open), open.urgency);
    if (status != RAY_OK || offer->status != RAY_OK || offer->answer.kind == RAY__ANSWER_NOTHING) {
        ray__offer_release(s->transfer, offer);
        return status;
    }
    slot->name = name;
    slot->offer = offer;
    slot->coming.event = s->wake;
    slot->turn.event = s->wake;
    slot->reading.event = s->wake;
    slot->reading.offer = offer;
    ray__partial_watch(offer, &slot->coming);
    ray__swarm_watch(offer, &slot->turn);
    return RAY_OK;
}

static ray_status take_request(ray__session *s, uint32_t name, const uint8_t *body, uint32_t size) {
    ray__request request;
    RAY_TRY(ray__request_read(body, size, &request));
    ray__stream *of = ray__session_find(s, name);
    if (of == NULL) {
        return ray__fail(RAY_PROTOCOL, "%s asked for chunks of stream %u, which is not open", s->connection->peer, name);
    }
    ray__receiver receiver = {
        .cores = request.ability.cores / 1e3,
        .free = request.ability.free / 1e3,
        .waiting = request.ability.waiting,
        .lz4_seconds = request.ability.lz4_ps * 1e-12,
        .zstd_seconds = request.ability.zstd_ps * 1e-12,
    };
    ray__tuner_receiver(&of->offer->tuner, &receiver);
    uint32_t count = ray__chunk_count(of->offer->size_bytes, of->offer->chunk_size);
    for (uint32_t i = 0; i < request.count; i++) {
        if (request.indices[i] >= count) {
            return ray__fail(RAY_PROTOCOL, "%s asked for chunk %u of %u", s->connection->peer, request.indices[i], count);
        }
        // take_requests has seen that there is room.
        uint32_t raw_size = ray__chunk_raw_size(of->offer->size_bytes, of->offer->chunk_size, request.indices[i]);
        s->waiting[s->waiting_count++] = (ray__waiting){
            name, request.indices[i], request.codec, request.level, request.urgency, raw_size, request.depth, request.flags,
        };
        ray__session_owe(s, raw_size, request.urgency);
    }
    return RAY_OK;
}

static ray_status take_message(ray__session *s, const ray__message *message, const uint8_t *body) {
    if (message->type == RAY__MESSAGE_OPEN) {
        return take_open(s, message->stream, body, message->body_size);
    }
    if (message->type == RAY__MESSAGE_REQUEST) {
        return take_request(s, message->stream, body, message->body_size);
    }
    ray__stream *ended = ray__session_find(s, message->stream);
    if (ended != NULL) {
        ended->closed = true;
        ray__session_end_unused(s, ended);
    }
    return RAY_OK;
}

// Takes every whole message that is in the buffer and has room.
static ray_status take_messages(ray__session *s) {
    uint32_t at = 0;
    ray_status status = RAY_OK;
    while (status == RAY_OK && s->in_size - at >= RAY__MESSAGE_HEADER_SIZE && s->waiting_count + RAY__INDICES_MAX <= RAY__WAITING_MAX) {
        ray__message message;
        status = ray__message_read(s->in + at, true, &message);
        if (status != RAY_OK || s->in_size - at < RAY__MESSAGE_HEADER_SIZE + message.body_size) {
            break;
        }
        const uint8_t *body = s->in + at + RAY__MESSAGE_HEADER_SIZE;
        status = ray__message_verify(s->in + at, &message, body);
        if (status == RAY_OK) {
            status = take_message(s, &message, body);
        }
        at += RAY__MESSAGE_HEADER_SIZE + message.body_size;
    }
    memmove(s->in, s->in + at, s->in_size - at);
    s->in_size -= at;
    if (at > 0) {
        s->in_since_ns = 0; // what is left is of another
    }
    return status;
}

// A request of which a byte comes now and then holds a slot that others want. A whole one may wait here for room.
static ray_status check_pace(ray__session *s) {
    if (s->in_size == 0 || s->waiting_count + RAY__INDICES_MAX > RAY__WAITING_MAX) {
        s->in_since_ns = 0;
        return RAY_OK;
    }
    uint64_t now = ray__now_ns();
    s->in_since_ns = s->in_since_ns == 0 ? now : s->in_since_ns;
    if (now - s->in_since_ns < RAY__MESSAGE_NS) {
        return RAY_OK;
    }
    return ray__fail(RAY_TIMED_OUT, "%s began a request and did not end it within %llu s", s->connection->peer,
                     (unsigned long long)(RAY__MESSAGE_NS / RAY__SECOND));
}

// Who holds the key and says something now and then keeps a slot, too, that others want. What he asks for may take its time.
static ray_status check_use(const ray__session *s) {
    if (s->waiting_count > 0 || ray__now_ns() - s->useful_ns < s->transfer->useless_ns) {
        return RAY_OK;
    }
    return ray__fail(RAY_TIMED_OUT, "%s has taken nothing of an object for %llu s", s->connection->peer,
                     (unsigned long long)(s->transfer->useless_ns / RAY__SECOND));
}

ray_status ray__session_read(ray__session *s, bool is_idle) {
    if (s->waiting_count + RAY__INDICES_MAX > RAY__WAITING_MAX) {
        return RAY_OK;
    }
    size_t got = 0;
    if (is_idle) {
        s->connection->silent_ns = s->in_size > 0 ? RAY__MESSAGE_NS : RAY__SERVED_SILENT_NS;
        ray_status status = ray__connection_read_some(s->connection, s->in + s->in_size, RAY__IN_MAX - s->in_size, &got);
        s->connection->silent_ns = RAY__SERVED_SILENT_NS;
        RAY_TRY(status);
    } else if (s->in_size < RAY__IN_MAX) {
        RAY_TRY(ray__connection_read_now(s->connection, s->in + s->in_size, RAY__IN_MAX - s->in_size, &got));
    }
    s->in_size += (uint32_t)got;
    RAY_TRY(take_messages(s));
    RAY_TRY(check_pace(s));
    return is_idle ? check_use(s) : RAY_OK;
}
