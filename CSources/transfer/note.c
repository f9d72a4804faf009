// SPDX-License-Identifier: Apache-2.0
// NOTE: its bytes, what is in it, and when it leaves.
//
// It leaves in front of a chunk, now and then, and in front of the last one that a connection owes, since that may be the last of all. Chunks
// cost a look at the clock, no more: who counts is the tuner, and what it counted is gathered only for a NOTE.
#include <assert.h>
#include <stdatomic.h>

#include "base/clock_internal.h"
#include "base/error_internal.h"
#include "codec/bytes_internal.h"
#include "codec/frame_internal.h"
#include "transfer/session_internal.h"

static_assert(RAY_TUNER_RUNGS <= RAY__SLOTS_MAX, "each rung has a place");
static_assert(2 + RAY_ZSTD_LEVEL_MAX - RAY_ZSTD_LEVEL_MIN < RAY__SLOTS_MAX, "each choice has a place");

// ---- bytes: begun u64, serial u32, codec u16, level i16, reason u16, threads u16, idle u16, rung count u16, zero u64, link rate u64; then
// for each rung: codec u16, level i16, reason u16, ratio u16, measured u32, chosen u32, rate of a core u64

uint32_t ray__note_write(const ray__note_message *note, uint8_t *body) {
    ray__put_u64(body, note->begun);
    ray__put_u32(body + 8, note->serial);
    ray__put_u16(body + 12, note->codec);
    ray__put_u16(body + 14, (uint16_t)note->level);
    ray__put_u16(body + 16, note->reason);
    ray__put_u16(body + 18, note->threads);
    ray__put_u16(body + 20, note->idle);
    ray__put_u16(body + 22, note->rung_count);
    ray__put_u64(body + 24, 0);
    ray__put_u64(body + 32, note->link_rate);
    uint8_t *at = body + RAY__NOTE_FIXED_SIZE;
    for (uint32_t i = 0; i < note->rung_count; i++, at += RAY__NOTE_RUNG_SIZE) {
        const ray__note_rung *rung = &note->rungs[i];
        ray__put_u16(at, rung->codec);
        ray__put_u16(at + 2, (uint16_t)rung->level);
        ray__put_u16(at + 4, rung->reason);
        ray__put_u16(at + 6, rung->ratio);
        ray__put_u32(at + 8, rung->is_measured);
        ray__put_u32(at + 12, rung->chosen_count);
        ray__put_u64(at + 16, rung->core_rate);
    }
    return RAY__NOTE_FIXED_SIZE + note->rung_count * RAY__NOTE_RUNG_SIZE;
}

static bool read_rung(const uint8_t *at, ray__note_rung *rung) {
    uint32_t is_measured = ray__get_u32(at + 8);
    *rung = (ray__note_rung){
        .codec = ray__get_u16(at),
        .level = (int16_t)ray__get_u16(at + 2),
        .reason = ray__get_u16(at + 4),
        .ratio = ray__get_u16(at + 6),
        .is_measured = is_measured != 0,
        .chosen_count = ray__get_u32(at + 12),
        .core_rate = ray__get_u64(at + 16),
    };
    return rung->reason < RAY_REASON_COUNT && rung->ratio <= 1000 && is_measured <= 1 && rung->core_rate <= RAY__NOTE_RATE_MAX;
}

ray_status ray__note_read(const uint8_t *body, uint32_t size, ray__note_message *note) {
    *note = (ray__note_message){
        .begun = ray__get_u64(body),
        .serial = ray__get_u32(body + 8),
        .codec = ray__get_u16(body + 12),
        .level = (int16_t)ray__get_u16(body + 14),
        .reason = ray__get_u16(body + 16),
        .threads = ray__get_u16(body + 18),
        .idle = ray__get_u16(body + 20),
        .rung_count = ray__get_u16(body + 22),
        .link_rate = ray__get_u64(body + 32),
    };
    bool is_possible = note->rung_count <= RAY__SLOTS_MAX &&
                       size == RAY__NOTE_FIXED_SIZE + note->rung_count * RAY__NOTE_RUNG_SIZE &&
                       ray__choice_slot(note->codec, note->level) < RAY__SLOTS_MAX && note->reason < RAY_REASON_COUNT &&
                       (note->idle <= 1000 || note->idle == RAY__NOTE_IDLE_UNKNOWN) && ray__get_u64(body + 24) == 0 &&
                       note->link_rate <= RAY__NOTE_RATE_MAX;
    // In order, so that none is there twice.
    uint32_t next_slot = 0;
    for (uint32_t i = 0; i < note->rung_count && is_possible; i++) {
        is_possible = read_rung(body + RAY__NOTE_FIXED_SIZE + i * RAY__NOTE_RUNG_SIZE, &note->rungs[i]);
        uint32_t slot = ray__choice_slot(note->rungs[i].codec, note->rungs[i].level);
        is_possible = is_possible && slot >= next_slot && slot < RAY__SLOTS_MAX;
        next_slot = slot + 1;
    }
    return is_possible ? RAY_OK : ray__fail(RAY_PROTOCOL, "a NOTE of %u bytes that says what cannot be", size);
}

// ---- what is in it -----------------------------------------------------------------------------------------------------------

static uint16_t reason_of(ray__reason reason) {
    switch (reason) {
    case RAY__REASON_START:
        return RAY_REASON_START;
    case RAY__REASON_HOPELESS:
        return RAY_REASON_HOPELESS;
    case RAY__REASON_FAST:
        return RAY_REASON_FAST;
    case RAY__REASON_STRONGEST:
        return RAY_REASON_STRONGEST;
    case RAY__REASON_BALANCE:
        return RAY_REASON_BALANCE;
    case RAY__REASON_RECEIVER:
        return RAY_REASON_RECEIVER;
    case RAY__REASON_NO_GAIN:
        return RAY_REASON_NO_GAIN;
    case RAY__REASON_TRIAL:
        return RAY_REASON_TRIAL;
    case RAY__REASON_UNIFORM:
        return RAY_REASON_UNIFORM;
    }
    return RAY_REASON_UNKNOWN;
}

static uint64_t clipped(double value, uint64_t limit) {
    return !(value > 0) ? 0 : value >= (double)limit ? limit : (uint64_t)value;
}

static void describe(const ray__order *order, ray__note_message *note) {
    ray__offer *offer = order->offer;
    ray__tuner_description d;
    ray__tuner_describe(&offer->tuner, &d);
    *note = (ray__note_message){
        .begun = offer->since_ns,
        .serial = atomic_fetch_add(&offer->notes.count, 1) + 1,
        .codec = d.choice.codec,
        .level = d.choice.level,
        .reason = reason_of(d.reason),
        .threads = d.threads,
        .idle = (uint16_t)clipped(1000 * d.idle + 0.5, 1000),
        .link_rate = clipped(d.link_rate, RAY__NOTE_RATE_MAX),
    };
    if (!order->is_tuned) {
        bool is_asked = order->codec != RAY_CODEC_AUTO;
        note->codec = is_asked ? order->codec : order->transfer->codec;
        note->level = (int16_t)(note->codec == RAY_CODEC_ZSTD ? ray__zstd_level(is_asked ? order->level : order->transfer->level) : 0);
        note->reason = is_asked ? RAY_REASON_ASKED : RAY_REASON_FIXED;
    }
    for (uint32_t i = 0; i < RAY_TUNER_RUNGS; i++) {
        const ray__rung_description *rung = &d.rungs[i];
        if (rung->count == 0 && !rung->is_measured) {
            continue;
        }
        note->rungs[note->rung_count++] = (ray__note_rung){
            .codec = rung->choice.codec,
            .level = rung->choice.level,
            .reason = rung->count == 0 ? RAY_REASON_UNKNOWN : reason_of(rung->reason),
            .ratio = (uint16_t)clipped(1000 * rung->ratio + 0.5, 1000),
            .is_measured = rung->is_measured,
            .chosen_count = rung->count,
            .core_rate = rung->seconds > 0 ? clipped(1 / rung->seconds, RAY__NOTE_RATE_MAX) : 0,
        };
    }
}

// ---- when it leaves --------------------------------------------------------------------------------------------------------

// Each NOTE moves the time of the next one on, whose connection it may leave on: a transfer of any length sends one each RAY__NOTE_NS and
// RAY__NOTE_BURST more.
static bool is_due(ray__notes *notes, bool may_be_last) {
    uint64_t now = ray__now_ns();
    uint64_t due = atomic_load(&notes->due_ns);
    if (due > now + (may_be_last ? (RAY__NOTE_BURST - 1) * RAY__NOTE_NS : 0)) {
        return false;
    }
    // Another connection may have been quicker: then it has told what there is.
    return atomic_compare_exchange_strong(&notes->due_ns, &due, (due > now ? due : now) + RAY__NOTE_NS);
}

ray_status ray__session_note(ray__session *s, const ray__order *order) {
    bool may_be_last = s->waiting_count == 0 && s->free_count + 1 == s->order_count;
    if (!is_due(&order->offer->notes, may_be_last)) {
        return RAY_OK;
    }
    ray__note_message note;
    describe(order, &note);
    uint8_t message[RAY__MESSAGE_HEADER_SIZE + RAY__NOTE_BODY_MAX];
    uint32_t size = ray__note_write(&note, message + RAY__MESSAGE_HEADER_SIZE);
    ray__message_seal(message, RAY__MESSAGE_NOTE, order->stream, size);
    return ray__session_send(s, message, RAY__MESSAGE_HEADER_SIZE + size, true);
}
