// SPDX-License-Identifier: Apache-2.0
// Which filter the chunks of an offer get before the codec (codec/filter_internal.h): what trials now and then have shown to help.
#ifndef RAY_TRANSFER_FILTERS_INTERNAL_H
#define RAY_TRANSFER_FILTERS_INTERNAL_H

#include "codec/frame_internal.h"
#include "transfer/transfer_internal.h"

// Before the first chunk.
void ray__filters_begin(ray__offer *offer, uint32_t element_width);

// What the next chunk gets.
ray__filter_wish ray__filters_wish(const ray__offer *offer);

// Whether ray__filters_sample would help with the next chunk; and that, with a block of it. It uses the second half of worker->raw.
bool ray__filters_want_sample(ray__offer *offer);
ray_status ray__filters_sample(ray__offer *offer, ray__worker *worker, const uint8_t *block, uint32_t size) RAY_NODISCARD;

// Of a chunk that is to be packed, before that: tries a part of it, if it is time. `out` is where it will be packed to.
ray_status ray__filters_try(ray__offer *offer, ray__worker *worker, const uint8_t *raw, uint32_t raw_size, uint8_t *out) RAY_NODISCARD;

#endif
