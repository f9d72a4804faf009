// SPDX-License-Identifier: Apache-2.0
// Filters: what is done to a chunk of numbers before the codec, so that it finds more.
//
// *Deltas*: in a block of 32 KiB each word is replaced by its difference from the one before. Columns that move slowly become small
// numbers of few kinds. A *plan*, one byte a block, says for which blocks, and where their words begin: a file of text and columns in turn
// is served as well.
// *Shuffle*: the first bytes of all elements of the chunk, then all second ones, and so on. Exponents come to stand beside exponents.
//
// Shuffling is for arrays, whose metadata says the width of an element. Both undo exactly, for any bytes.
#ifndef RAY_CODEC_FILTER_INTERNAL_H
#define RAY_CODEC_FILTER_INTERNAL_H

#include "raystore/codec.h"

// The byte of a frame's header: the width of the shuffle in the low half (0, 2, 4 or 8), and whether there is a plan.
#define RAY__FILTER_WIDTH 0x0fu
#define RAY__FILTER_DELTAS 0x10u

#define RAY__FILTER_BLOCK (32u << 10)
#define RAY__FILTER_PLAN_MAX (RAY_CHUNK_SIZE / RAY__FILTER_BLOCK)

bool ray__filter_is_valid(uint8_t filter);

// Bytes of the plan that lies before the packed bytes.
uint32_t ray__filter_plan_size(uint8_t filter, uint32_t raw_size);
// A plan's byte: 0, or bits 4 and 5 the width (1: 2, 2: 4, 3: 8) and bits 0 to 2 the offset of the first word, less than the width.
bool ray__filter_plan_is_valid(const uint8_t *plan, uint32_t plan_size);

// Finds the blocks for which deltas are of fewer kinds. width: of the elements, which begin with the chunk; 0: not known. False when there
// are none.
bool ray__filter_plan(const uint8_t *raw, uint32_t raw_size, uint32_t width, uint8_t *plan);

// out has raw_size bytes and is not raw.
void ray__deltas_apply(const uint8_t *plan, const uint8_t *raw, uint32_t raw_size, uint8_t *out);
// In place.
void ray__deltas_undo(const uint8_t *plan, uint8_t *raw, uint32_t raw_size);

// Bytes behind the last whole element stay at the end.
void ray__shuffle_apply(uint32_t width, const uint8_t *raw, uint32_t raw_size, uint8_t *out);
void ray__shuffle_undo(uint32_t width, const uint8_t *shuffled, uint32_t raw_size, uint8_t *out);

#endif
