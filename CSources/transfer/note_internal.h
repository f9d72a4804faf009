// SPDX-License-Identifier: Apache-2.0
// NOTE: what a sender tells a receiver of why it packs as it does. Numbers only; docs/PROTOCOL.md has the same table.
#ifndef RAY_TRANSFER_NOTE_INTERNAL_H
#define RAY_TRANSFER_NOTE_INTERNAL_H

#include "raystore/transfer.h"

#define RAY__SLOTS_MAX 17u              // what a chunk can be packed with: none, lz4, the levels of zstd
#define RAY__NOTE_FIXED_SIZE 40u
#define RAY__NOTE_RUNG_SIZE 24u
#define RAY__NOTE_BODY_MAX (RAY__NOTE_FIXED_SIZE + RAY__SLOTS_MAX * RAY__NOTE_RUNG_SIZE)
#define RAY__NOTE_NS 250000000ull      // between two NOTEs of an offer, on average
#define RAY__NOTE_BURST 4u             // that may come sooner, since a transfer's end cannot be foreseen
#define RAY__NOTE_RATE_MAX (1ull << 50) // bytes a second that a NOTE can tell of
#define RAY__NOTE_IDLE_UNKNOWN UINT16_MAX

// A codec and level that was used, or whose cost was measured.
typedef struct ray__note_rung {
    uint16_t codec;
    int16_t level;
    uint16_t reason;       // RAY_REASON_*: why most of its chunks got it
    uint16_t ratio;        // stored / raw, in thousandths
    bool is_measured;      // else rate and ratio are guesses
    uint32_t chosen_count; // chunks
    uint64_t core_rate;    // raw bytes a second of a core
} ray__note_rung;

typedef struct ray__note_message {
    uint64_t begun;     // of what is sent here: another number, other counts
    uint32_t serial;    // counts up from 1
    uint16_t codec;     // of the latest chunk, as chosen
    int16_t level;
    uint16_t reason;    // RAY_REASON_*: why that
    uint16_t threads;   // that may pack at once
    uint16_t idle;      // part of the sender's cores that nobody uses, in thousandths
    uint16_t rung_count;
    uint64_t link_rate; // bytes a second; 0: not known yet
    ray__note_rung rungs[RAY__SLOTS_MAX];
} ray__note_message;

// Answers the body's size.
uint32_t ray__note_write(const ray__note_message *note, uint8_t *body);
ray_status ray__note_read(const uint8_t *body, uint32_t size, ray__note_message *note) RAY_NODISCARD;

// Numbers what a chunk can be packed with, from 0; RAY__SLOTS_MAX for what it cannot.
static inline uint32_t ray__choice_slot(uint16_t codec, int16_t level) {
    if (codec == RAY_CODEC_NONE || codec == RAY_CODEC_LZ4) {
        return level == 0 ? codec - 1u : RAY__SLOTS_MAX;
    }
    bool is_zstd = codec == RAY_CODEC_ZSTD && level >= RAY_ZSTD_LEVEL_MIN && level <= RAY_ZSTD_LEVEL_MAX;
    return is_zstd ? (uint32_t)(2 + level - RAY_ZSTD_LEVEL_MIN) : RAY__SLOTS_MAX;
}

// Of an offer: when the next one may leave.
typedef struct ray__notes {
    _Atomic uint64_t due_ns;
    _Atomic uint32_t count;
} ray__notes;

#endif
