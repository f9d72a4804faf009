// SPDX-License-Identifier: Apache-2.0
// Why a pull goes as it goes: what came, by the way it was packed, as counted here, beside what its sources say of their choices.
#include "transfer/explain_internal.h"

#include <assert.h>
#include <stdlib.h>
#include <string.h>

#include "base/error_internal.h"
#include "transfer/transfer_internal.h"

static_assert(RAY__SLOTS_MAX + 1 == RAY_EXPLAIN_CHOICES_MAX, "each way of packing has a place, and what comes with a card");

void ray__account_open_locked(ray__account **account) {
    if (*account == NULL) {
        *account = calloc(1, sizeof **account);
    }
}

void ray__account_arrived_locked(ray__account *account, const ray_chunk_header *header) {
    uint32_t slot = ray__choice_slot(header->codec, header->level);
    if (account == NULL || slot == RAY__SLOTS_MAX) {
        return;
    }
    ray__way *way = &account->ways[slot];
    way->chunk_count++;
    way->filter = header->filter;
    way->raw_bytes += header->raw_size;
    way->wire_bytes += header->stored_size;
}

void ray__account_note(ray_pull *pull, uint32_t source, const ray__note_message *note) {
    pthread_mutex_lock(&pull->lock);
    ray__account *account = pull->sources[source].account;
    // Those of several connections overtake each other.
    if (account != NULL && (!account->is_told || account->note.begun != note->begun || account->note.serial < note->serial)) {
        account->note = *note;
        account->is_told = true;
    }
    pthread_mutex_unlock(&pull->lock);
}

// ---- what is answered --------------------------------------------------------------------------------------------------------

static uint16_t reason_of(const ray_pull *pull, const ray__account *account, uint16_t codec, const ray__note_rung *rung) {
    if (pull->codec != RAY_CODEC_AUTO) {
        return codec == pull->codec ? RAY_REASON_ASKED : RAY_REASON_NOT_SMALLER;
    }
    if (!account->is_told) {
        return RAY_REASON_UNKNOWN;
    }
    if (account->note.reason == RAY_REASON_FIXED) {
        return codec == account->note.codec ? RAY_REASON_FIXED : RAY_REASON_NOT_SMALLER;
    }
    if (rung != NULL && rung->chosen_count > 0) {
        return rung->reason;
    }
    return codec == RAY_CODEC_NONE ? RAY_REASON_NOT_SMALLER : RAY_REASON_UNKNOWN;
}

static const ray__note_rung *find_rung(const ray__note_message *note, uint32_t slot) {
    for (uint32_t i = 0; i < note->rung_count; i++) {
        if (ray__choice_slot(note->rungs[i].codec, note->rungs[i].level) == slot) {
            return &note->rungs[i];
        }
    }
    return NULL;
}

static void explain_choices(const ray_pull *pull, const ray__account *account, ray_source_explanation *source) {
    for (uint32_t slot = 0; slot < RAY__SLOTS_MAX; slot++) {
        const ray__way *way = &account->ways[slot];
        const ray__note_rung *rung = find_rung(&account->note, slot);
        if (way->chunk_count == 0 && rung == NULL) {
            continue;
        }
        ray_choice_explanation *choice = &source->choices[source->choice_count++];
        choice->codec = (uint16_t)(slot < 2 ? slot + 1 : RAY_CODEC_ZSTD);
        choice->level = (int16_t)(slot < 2 ? 0 : (int)slot - 2 + RAY_ZSTD_LEVEL_MIN);
        choice->reason = reason_of(pull, account, choice->codec, rung);
        choice->filter = way->filter;
        choice->chunk_count = way->chunk_count;
        choice->raw_bytes = way->raw_bytes;
        choice->wire_bytes = way->wire_bytes;
        source->chunk_count += way->chunk_count;
        source->raw_bytes += way->raw_bytes;
        source->wire_bytes += way->wire_bytes;
        if (rung != NULL) {
            choice->chosen_count = rung->chosen_count;
            choice->ratio_permille = rung->is_measured ? rung->ratio : 0;
            choice->core_rate = rung->is_measured ? rung->core_rate : 0;
        }
    }
    if (account->is_told) {
        const ray__note_message *note = &account->note;
        source->is_told = 1;
        source->link_rate = note->link_rate;
        source->thread_count = note->threads;
        source->idle_permille = note->idle;
        source->codec = note->codec;
        source->level = note->level;
        source->reason = note->reason;
    }
}

static void explain_locked(const ray_pull *pull, const ray__pull_source *of, ray_source_explanation *source) {
    memset(source, 0, sizeof *source);
    source->endpoint = of->endpoint;
    source->idle_permille = RAY__NOTE_IDLE_UNKNOWN;
    if (of->account != NULL) {
        explain_choices(pull, of->account, source);
    }
    if (of->card_bytes > 0) {
        uint32_t count = ray__chunk_count(of->card_bytes, pull->chunk_size);
        ray_choice_explanation small = {.codec = RAY_CODEC_NONE, .reason = RAY_REASON_SMALL, .chunk_count = count,
                                        .raw_bytes = of->card_bytes, .wire_bytes = of->card_bytes};
        source->choices[source->choice_count++] = small;
        source->chunk_count += count;
        source->raw_bytes += of->card_bytes;
        source->wire_bytes += of->card_bytes;
    }
}

static bool has_something(const ray__pull_source *source) {
    if (source->card_bytes > 0 || (source->account != NULL && source->account->is_told)) {
        return true;
    }
    for (uint32_t slot = 0; source->account != NULL && slot < RAY__SLOTS_MAX; slot++) {
        if (source->account->ways[slot].chunk_count > 0) {
            return true;
        }
    }
    return false;
}

ray_status ray_pull_explain_source(ray_pull *pull, uint32_t index, ray_source_explanation *source) {
    ray_source_explanation all;
    uint32_t size = source->struct_size < sizeof all ? source->struct_size : (uint32_t)sizeof all;
    uint32_t left = index;
    bool is_found = false;
    pthread_mutex_lock(&pull->lock);
    for (uint32_t i = 0; i < pull->source_count && !is_found; i++) {
        if (has_something(&pull->sources[i]) && left-- == 0) {
            explain_locked(pull, &pull->sources[i], &all);
            is_found = true;
        }
    }
    pthread_mutex_unlock(&pull->lock);
    if (!is_found) {
        return ray__fail(RAY_NOT_FOUND, "the pull has no source %u that brought something", index);
    }
    all.struct_size = size;
    memcpy(source, &all, size);
    return RAY_OK;
}
