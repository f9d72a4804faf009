// SPDX-License-Identifier: Apache-2.0
// Preparing a chunk, in a worker: choose how to pack it, pack it, know its checksum.
//
// Reading twice is cheaper than packing for nothing: a file's chunk that leaves raw is hashed through a piece that stays in the core's
// cache, and then sent by sendfile from the page cache.
#include <stdio.h>
#include <string.h>

#include "base/checksum_internal.h"
#include "base/clock_internal.h"
#include "base/error_internal.h"
#include "codec/frame_internal.h"
#include "transfer/filters_internal.h"
#include "transfer/transfer_internal.h"

static uint64_t offset_of(const ray__order *order) {
    return (uint64_t)order->index * order->offer->chunk_size;
}

// A block out of the middle of the chunk: the filter is chosen with it, and packed with zstd 1 it tells the tuner what to expect; that
// sees what lz4 cannot, such as numbers of a few kinds of bytes. worker->raw is free at this time.
static ray_status sample(ray__order *order, ray__worker *worker, const uint8_t *raw, uint32_t raw_size, bool for_tuner) {
    ray__offer *offer = order->offer;
    uint32_t size = raw_size < RAY_TUNER_SAMPLE ? raw_size : RAY_TUNER_SAMPLE;
    uint32_t from = (raw_size - size) / 2 & ~7u; // elements begin with the chunk
    const uint8_t *block = raw == NULL ? worker->raw : raw + from;
    if (raw == NULL) {
        RAY_TRY(ray__offer_read(offer, worker->raw, offset_of(order) + from, size));
    }
    RAY_TRY(ray__filters_sample(offer, worker, block, size));
    if (for_tuner) {
        uint32_t stored = 0;
        uint16_t filter;
        uint64_t start = ray__thread_core_ns();
        RAY_TRY(ray__chunk_pack_filtered(worker->codec, RAY_CODEC_ZSTD, 1, ray__filters_wish(offer), block, size,
                                         worker->raw + RAY_CHUNK_SIZE / 2, &stored, &filter));
        ray__tuner_sampled(&offer->tuner, size, stored, ray__thread_core_ns() - start);
        ray__gauge_learned(offer);
    }
    return RAY_OK;
}

static bool is_automatic(const ray__order *order) {
    return order->codec == RAY_CODEC_AUTO && order->transfer->codec == RAY_CODEC_AUTO;
}

static ray_status choose(ray__order *order, ray__worker *worker, const uint8_t *raw, uint32_t raw_size, ray__choice *choice) {
    order->is_tuned = is_automatic(order);
    uint16_t wish = order->codec != RAY_CODEC_AUTO ? order->codec : order->transfer->codec;
    int16_t level = order->codec != RAY_CODEC_AUTO ? order->level : order->transfer->level;
    if (!order->is_tuned) {
        choice->codec = wish;
        choice->level = wish == RAY_CODEC_ZSTD ? (int16_t)ray__zstd_level(level) : 0;
        return RAY_OK;
    }
    bool for_tuner = ray__tuner_wants_sample(&order->offer->tuner, order->offer->size_bytes);
    bool for_filter = ray__filters_want_sample(order->offer);
    if (for_tuner || for_filter) {
        RAY_TRY(sample(order, worker, raw, raw_size, for_tuner));
    }
    ray__backlog backlog;
    ray__gauge_backlog(order->offer, &backlog);
    *choice = ray__tuner_choose(&order->offer->tuner, &backlog);
    return RAY_OK;
}

// Packs into a buffer of the transfer. If there is none the chunk goes raw: a slow receiver holds buffers, and others must not wait for
// it.
static ray_status pack(ray__order *order, ray__worker *worker, const uint8_t **raw, uint32_t raw_size, ray__choice choice) {
    uint8_t *buffer = ray__buffers_take(&order->transfer->send_buffers, 0);
    if (buffer == NULL) {
        return RAY_OK;
    }
    ray_status status = RAY_OK;
    if (*raw == NULL) {
        status = ray__offer_read(order->offer, worker->raw, offset_of(order), raw_size);
        *raw = worker->raw;
    }
    if (status == RAY_OK && order->is_tuned) {
        status = ray__filters_try(order->offer, worker, *raw, raw_size, buffer);
    }
    uint32_t stored = 0;
    uint16_t filter = 0;
    uint64_t start = ray__thread_core_ns();
    if (status == RAY_OK) {
        // A codec that somebody fixed is used alone.
        ray__filter_wish wish = order->is_tuned ? ray__filters_wish(order->offer) : (ray__filter_wish){0};
        status = ray__chunk_pack_filtered(worker->codec, choice.codec, choice.level, wish, *raw, raw_size, buffer, &stored, &filter);
    }
    if (status != RAY_OK || stored == 0) {
        ray__buffers_give(&order->transfer->send_buffers, buffer);
        RAY_TRY(status);
    } else {
        order->packed = buffer;
        order->header.codec = choice.codec;
        order->header.level = choice.level;
        order->header.stored_size = stored;
        order->header.filter = filter;
    }
    ray__tuner_packed(&order->offer->tuner, choice, raw_size, stored == 0 ? raw_size : stored, ray__thread_core_ns() - start);
    return RAY_OK;
}

static ray_status hash_file(ray__order *order, ray__worker *worker, uint32_t raw_size, uint64_t *checksum) {
    ray__checksum sum;
    ray__checksum_begin(&sum);
    for (uint32_t at = 0; at < raw_size; at += RAY_CHECKSUM_PIECE) {
        uint32_t size = raw_size - at < RAY_CHECKSUM_PIECE ? raw_size - at : RAY_CHECKSUM_PIECE;
        RAY_TRY(ray__offer_read(order->offer, worker->raw, offset_of(order) + at, size));
        ray__checksum_add(&sum, worker->raw, size);
    }
    *checksum = ray__checksum_end(&sum);
    return RAY_OK;
}

// The checksum that is known, or that of what is there; `read` is that of what was read just now, or 0. worker->raw is not needed any more.
static ray_status sum_of(ray__order *order, ray__worker *worker, const uint8_t *raw, uint32_t raw_size, uint64_t read, uint64_t *checksum) {
    ray__offer *offer = order->offer;
    bool is_fresh = !atomic_load(&offer->touched);
    *checksum = order->checksum != 0 ? order->checksum : is_fresh ? ray__sums_get(offer->sums, order->index) : 0;
    if (*checksum != 0) {
        return RAY_OK;
    }
    if (offer->answer.is_spilled) {
        atomic_fetch_add(&order->transfer->hashed_bytes, raw_size);
        return ray__spilled_sum(offer, worker->raw, order->index, checksum);
    }
    if (read != 0) {
        *checksum = read;
    } else if (raw != NULL) {
        *checksum = ray__checksum_of(raw, raw_size);
        atomic_fetch_add(&order->transfer->hashed_bytes, raw_size);
    } else {
        RAY_TRY(hash_file(order, worker, raw_size, checksum));
        atomic_fetch_add(&order->transfer->hashed_bytes, raw_size);
    }
    ray__sums_set(offer->sums, order->index, *checksum);
    return RAY_OK;
}

// ---- chunks of one byte over and over --------------------------------------------------------------------------------------------------

// Looks at the begin first, so that others cost one short read.
static ray_status look_for_uniform(ray__order *order, ray__worker *worker, const uint8_t *raw, uint32_t raw_size, bool *is_uniform, uint8_t *byte) {
    *is_uniform = raw_size >= RAY__UNIFORM_MIN;
    for (uint32_t at = 0; at < raw_size && *is_uniform;) {
        uint32_t size = at == 0 ? RAY__UNIFORM_MIN : raw_size - at < RAY_CHECKSUM_PIECE ? raw_size - at : RAY_CHECKSUM_PIECE;
        const uint8_t *piece = raw == NULL ? worker->raw : raw + at;
        if (raw == NULL) {
            RAY_TRY(ray__offer_read(order->offer, worker->raw, offset_of(order) + at, size));
        }
        *byte = at == 0 ? piece[0] : *byte;
        *is_uniform = ray__is_uniform(piece, size, *byte);
        at += size;
    }
    return RAY_OK;
}

// Packs the chunk if it is one. Nobody is asked whether that pays: it costs less than to send it raw over any link.
static ray_status pack_uniform(ray__order *order, ray__worker *worker, const uint8_t *raw, uint32_t raw_size, bool *is_packed) {
    bool is_uniform = false;
    uint8_t byte = 0;
    *is_packed = false;
    RAY_TRY(look_for_uniform(order, worker, raw, raw_size, &is_uniform, &byte));
    uint8_t *buffer = is_uniform ? ray__buffers_take(&order->transfer->send_buffers, 0) : NULL;
    if (buffer == NULL) {
        return RAY_OK;
    }
    if (!ray__uniform_pack(&worker->uniform, worker->codec, byte, raw_size, worker->raw, buffer)) {
        ray__buffers_give(&order->transfer->send_buffers, buffer);
        return RAY_OK;
    }
    order->packed = buffer;
    order->header.codec = RAY_CODEC_ZSTD;
    order->header.level = RAY__UNIFORM_LEVEL;
    order->header.stored_size = worker->uniform.stored_size;
    order->is_tuned = true;
    ray__tuner_vanishes(&order->offer->tuner, (ray__choice){RAY_CODEC_ZSTD, RAY__UNIFORM_LEVEL});
    ray__gauge_learned(order->offer);
    *is_packed = true;
    return sum_of(order, worker, raw, raw_size, worker->uniform.checksum, &order->header.checksum);
}

// raw is NULL: in the offer's file.
static ray_status prepare_raw(ray__order *order, ray__worker *worker, const uint8_t *raw, uint32_t raw_size) {
    bool is_uniform = false;
    if (is_automatic(order)) {
        RAY_TRY(pack_uniform(order, worker, raw, raw_size, &is_uniform));
    }
    if (is_uniform) {
        return RAY_OK;
    }
    ray__choice choice;
    RAY_TRY(choose(order, worker, raw, raw_size, &choice));
    if (choice.codec != RAY_CODEC_NONE) {
        RAY_TRY(pack(order, worker, &raw, raw_size, choice));
    }
    return sum_of(order, worker, raw, raw_size, 0, &order->header.checksum);
}

// From a source, into the order's room, in which the chunk stays if it leaves raw.
static ray_status prepare_read(ray__order *order, ray__worker *worker, uint32_t raw_size) {
    const ray_source *source = &order->offer->answer.source;
    char message[RAY__TEXT_MAX] = "";
    ray_status status = source->read(source->context, offset_of(order), order->room, raw_size, message, sizeof message);
    if (status != RAY_OK) {
        status = ray__fail(status, "%s", message[0] != '\0' ? message : ray_status_text(status));
    } else {
        status = prepare_raw(order, worker, order->room, raw_size);
    }
    if (status == RAY_OK && order->packed == NULL) {
        order->packed = order->room;
        order->room = NULL;
    }
    return status;
}

static ray_status prepare(ray__order *order, ray__worker *worker) {
    ray__offer *offer = order->offer;
    uint32_t raw_size = ray__chunk_raw_size(offer->size_bytes, offer->chunk_size, order->index);
    order->header = (ray_chunk_header){
        .id = offer->id,
        .index = order->index,
        .raw_size = raw_size,
        .stored_size = raw_size,
        .codec = RAY_CODEC_NONE,
    };
    if (order->is_read) {
        return prepare_read(order, worker, raw_size);
    }
    RAY_TRY(ray__offer_check(offer));
    return prepare_raw(order, worker, offer->file >= 0 ? NULL : offer->view.data + offset_of(order), raw_size);
}

void ray__order_prepare(ray__job *job, ray__worker *worker) {
    ray__order *order = (ray__order *)(void *)job;
    order->packed = NULL;
    ray__reader reader;
    if (ray__partial_enter(order->offer, &reader, -1)) {
        order->status = prepare(order, worker);
        ray__partial_leave(order->offer, &reader);
    } else {
        order->status = ray__fail(RAY_NOT_LOCAL, "the pull that was to bring it here has failed");
    }
    if (order->status != RAY_OK) {
        snprintf(order->text, sizeof order->text, "%s", ray_last_error_message());
        ray__spilled_note(order->transfer, order->offer, order->status);
        ray__buffers_give(&order->transfer->send_buffers, order->packed);
        order->packed = NULL;
    }
    if (order->is_read) {
        ray__read_done(&order->transfer->reads, order->offer, order->room);
        order->room = NULL;
    }
    ray__gauge_prepared(order);
    // Once it is pushed the order is the connection's again, but the push itself may still look at the ring; hence the count.
    _Atomic uint32_t *at_workers = order->at_workers;
    // It has a place for every order of its connection, so this does not wait.
    ray_status pushed = ray__ring_push(order->prepared, order, UINT64_MAX);
    (void)pushed;
    atomic_fetch_sub(at_workers, 1);
}
