// SPDX-License-Identifier: Apache-2.0
// Filters, by trial.
//
// Of an array, whose width of an element is known, a block is packed in all ways. Of all else a plan finds the blocks whose bytes are of
// fewer kinds as deltas. It does not see what repeats, and zstd does: numbers of which many are alike are packed worse as deltas, for more
// time. So part of a chunk is packed both ways, one large enough that what repeats does so within it.
#include "transfer/filters_internal.h"

#include "base/error_internal.h"
#include "codec/filter_internal.h"

// Chunks for which the ways that were tried last hold.
#define HOLDS 64u
// Of what is not an array the trial takes time, so it is for large things, and not of the first chunks, which the link waits for.
#define TRIAL_CHUNKS_MIN 16u
#define TRIAL_AFTER 2u
#define TRIAL_SIZE (1u << 20)
// What saves less than these parts of the size is not worth the time of either end. Deltas take a tenth of packing to be found.
#define WORTH_OF_ARRAY 50u
#define WORTH_OF_DELTAS 20u

enum { WAY_DELTAS = 1, WAY_SHUFFLE = 2, WAY_COUNT = 4 };

void ray__filters_begin(ray__offer *offer, uint32_t element_width) {
    offer->element_width = element_width;
    atomic_store(&offer->filter_ways, WAY_DELTAS);
}

static ray__filter_wish wish_of(const ray__offer *offer, uint32_t ways) {
    return (ray__filter_wish){
        .width = offer->element_width, .may_delta = (ways & WAY_DELTAS) != 0, .shuffles = (ways & WAY_SHUFFLE) != 0};
}

ray__filter_wish ray__filters_wish(const ray__offer *offer) {
    return wish_of(offer, atomic_load(&offer->filter_ways));
}

// ---- arrays ------------------------------------------------------------------------------------------------------------------------

bool ray__filters_want_sample(ray__offer *offer) {
    return offer->element_width != 0 && atomic_fetch_add(&offer->filter_age, 1) % HOLDS == HOLDS - 1;
}

ray_status ray__filters_sample(ray__offer *offer, ray__worker *worker, const uint8_t *block, uint32_t size) {
    if (offer->element_width == 0) {
        return RAY_OK;
    }
    uint32_t best = WAY_DELTAS;
    uint32_t least = UINT32_MAX;
    for (uint32_t ways = 0; ways < WAY_COUNT; ways++) {
        uint32_t stored = 0;
        uint16_t filter;
        RAY_TRY(ray__chunk_pack_filtered(worker->codec, RAY_CODEC_ZSTD, 1, wish_of(offer, ways), block, size,
                                         worker->raw + RAY_CHUNK_SIZE / 2, &stored, &filter));
        if (stored != 0 && stored < least - least / WORTH_OF_ARRAY) {
            least = stored;
            best = ways;
        }
    }
    atomic_store(&offer->filter_ways, best);
    return RAY_OK;
}

// ---- all else ----------------------------------------------------------------------------------------------------------------------

ray_status ray__filters_try(ray__offer *offer, ray__worker *worker, const uint8_t *raw, uint32_t raw_size, uint8_t *out) {
    if (offer->element_width != 0 || offer->size_bytes / offer->chunk_size < TRIAL_CHUNKS_MIN ||
        atomic_fetch_add(&offer->filter_age, 1) % HOLDS != TRIAL_AFTER) {
        return RAY_OK;
    }
    uint32_t size = raw_size < TRIAL_SIZE ? raw_size : TRIAL_SIZE;
    const uint8_t *part = raw + (raw_size - size) / 2;
    uint32_t with = 0;
    uint32_t without = 0;
    uint16_t filter;
    RAY_TRY(ray__chunk_pack_filtered(worker->codec, RAY_CODEC_ZSTD, 1, wish_of(offer, WAY_DELTAS), part, size, out, &with, &filter));
    if ((filter & RAY__FILTER_DELTAS) == 0) {
        return RAY_OK; // nothing in it looks like numbers, which is known soon of each chunk
    }
    RAY_TRY(ray__chunk_pack_filtered(worker->codec, RAY_CODEC_ZSTD, 1, wish_of(offer, 0), part, size, out, &without, &filter));
    with = with == 0 ? size : with;
    without = without == 0 ? size : without;
    atomic_store(&offer->filter_ways, with < without - without / WORTH_OF_DELTAS ? WAY_DELTAS : 0);
    return RAY_OK;
}
