// SPDX-License-Identifier: Apache-2.0
// What came from a source of a pull, by the way it was packed, and the latest of what the source said of why.
#ifndef RAY_TRANSFER_EXPLAIN_INTERNAL_H
#define RAY_TRANSFER_EXPLAIN_INTERNAL_H

#include "transfer/note_internal.h"
#include "transfer/pull_internal.h"

typedef struct ray__way {
    uint32_t chunk_count;
    uint16_t filter; // of the latest
    uint64_t raw_bytes;
    uint64_t wire_bytes;
} ray__way;

typedef struct ray__account {
    ray__way ways[RAY__SLOTS_MAX]; // by ray__choice_slot
    bool is_told;
    ray__note_message note;
} ray__account;

// What a source gets when it is to send chunks. Without memory there is none, and only the explanation lacks it. Under the pull's lock.
void ray__account_open_locked(ray__account **account);
void ray__account_arrived_locked(ray__account *account, const ray_chunk_header *header);
// Keeps the latest.
void ray__account_note(ray_pull *pull, uint32_t source, const ray__note_message *note);

#endif
