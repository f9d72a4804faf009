// SPDX-License-Identifier: Apache-2.0
// Packing the data of records, block by block, in bounded memory.
//
// A record's lengths stand before its data, and a service wants to know a file's size before it takes it, so all sizes must be known before anything is
// written. Packed blocks are kept for that, up to a bound. What is beyond it is packed a second time when it is read: that takes a core's time, and no memory.
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/checksum_internal.h"
#include "base/cores_internal.h"
#include "base/error_internal.h"
#include "codec/bytes_internal.h"
#include "codec/filter_internal.h"
#include "codec/frame_internal.h"
#include "spill/announce_internal.h"
#include "spill/pace_internal.h"
#include "spill/sums_internal.h"

#define FRAME_ROOM (RAY_CHUNK_HEADER_SIZE + RAY_CHUNK_SIZE + RAY__FILTER_PLAN_MAX)
#define NOTHING UINT32_MAX
#define ROOMS_MAX 5u // that are made before one is used for another block: as many as read at once
// A block is looked at in so many places, of so many bytes, before it is packed; smaller ones are packed at once.
#define LOOKS 4u
#define LOOK_BYTES (16u << 10)
#define LOOKED_MIN (2 * LOOKS * LOOK_BYTES)

_Static_assert(RAY_SPILL_SUM_BYTES == RAY_CHUNK_SIZE, "a block is a chunk");

typedef struct packed_object {
    ray_object_id id;
    const uint8_t *data;
    uint64_t data_size;
    const uint64_t *sums;
    uint8_t *metadata;  // with the announcement; NULL: the object's own
    uint32_t *frames;   // sizes; NULL: not packed
    uint64_t *begins;   // of each frame in the part
    ray__choice *choices; // what each block is packed with; RAY_CODEC_NONE: it stays as it is
} packed_object;

// What packing one block needs. Idle ones are kept for the next.
typedef struct room {
    struct room *next;
    ray_codec *codec;
    uint32_t object; // whose frame is in it, or NOTHING
    uint32_t block;
    uint8_t frame[FRAME_ROOM];
} room;

struct ray_spill_packed {
    ray_spill_packing packing;
    uint32_t count;
    packed_object *objects;
    uint8_t *kept;
    uint64_t kept_size;
    uint64_t kept_capacity;
    pthread_mutex_t lock; // of the rooms
    room *idle;           // the latest first
    uint32_t room_count;
    _Atomic uint64_t again_ns;
};

static uint32_t size_of_block(const packed_object *object, uint32_t block) {
    uint64_t left = object->data_size - (uint64_t)block * RAY_SPILL_SUM_BYTES;
    return left < RAY_SPILL_SUM_BYTES ? (uint32_t)left : RAY_SPILL_SUM_BYTES;
}

// One that has this frame, if there is one; else a new one, or that which was used longest ago.
static ray_status take_room(ray_spill_packed *packed, uint32_t object, uint32_t block, room **taken) {
    pthread_mutex_lock(&packed->lock);
    room **place = &packed->idle;
    while (*place != NULL && (*place)->next != NULL && ((*place)->object != object || (*place)->block != block)) {
        place = &(*place)->next;
    }
    room *found = *place;
    bool fits = found != NULL && found->object == object && found->block == block;
    if (found != NULL && !fits && packed->room_count < ROOMS_MAX) {
        found = NULL;
    }
    if (found != NULL) {
        *place = found->next;
    } else {
        packed->room_count++;
    }
    pthread_mutex_unlock(&packed->lock);
    if (found == NULL) {
        found = malloc(sizeof *found);
        ray_status made = found == NULL ? ray__fail(RAY_OUT_OF_MEMORY, "room to pack a block") : ray_codec_create(&found->codec);
        if (made != RAY_OK) {
            free(found);
            pthread_mutex_lock(&packed->lock);
            packed->room_count--;
            pthread_mutex_unlock(&packed->lock);
            return made;
        }
        found->object = NOTHING;
    }
    *taken = found;
    return RAY_OK;
}

static void give_room(ray_spill_packed *packed, room *given) {
    pthread_mutex_lock(&packed->lock);
    given->next = packed->idle;
    packed->idle = given;
    pthread_mutex_unlock(&packed->lock);
}

// What a block is packed with when nothing is known of the storage, or of the block.
static ray__choice usual_choice(const ray_spill_packing *packing) {
    return packing->codec == RAY_CODEC_AUTO ? (ray__choice){RAY_CODEC_ZSTD, 1} : (ray__choice){packing->codec, packing->level};
}

// Packs a few places of the block, for its data may be of two kinds, and chooses.
static ray_status look(const ray_spill_packing *packing, room *in, const uint8_t *raw, uint32_t size, ray__choice *choice) {
    *choice = usual_choice(packing);
    if (size < LOOKED_MIN) {
        return RAY_OK;
    }
    uint64_t begin_ns = ray__thread_core_ns();
    uint8_t *some = in->frame;
    for (uint32_t i = 0; i < LOOKS; i++) {
        memcpy(some + i * LOOK_BYTES, raw + (size_t)(size / LOOKS) * i, LOOK_BYTES);
    }
    uint32_t stored = 0;
    uint16_t filter = 0;
    ray__filter_wish wish = {.may_delta = true};
    RAY_TRY(ray__chunk_pack_filtered(in->codec, RAY_CODEC_ZSTD, 1, wish, some, LOOKS * LOOK_BYTES, some + LOOKS * LOOK_BYTES, &stored, &filter));
    if (stored == 0 || stored >= LOOKS * LOOK_BYTES / 16 * 15) {
        choice->codec = RAY_CODEC_NONE;
    } else if (packing->codec == RAY_CODEC_AUTO && packing->pace != NULL) {
        *choice = ray__pace_choose(packing->pace, LOOKS * LOOK_BYTES, stored, ray__thread_core_ns() - begin_ns);
    }
    return RAY_OK;
}

static const uint8_t *begin_of_block(const packed_object *object, uint32_t block) {
    return object->data + (size_t)block * RAY_SPILL_SUM_BYTES;
}

// Writes the frame of a block, packed as it was chosen, and as it is if that gains nothing.
static ray_status make_frame(room *in, const packed_object *object, uint32_t block, uint8_t *frame, uint32_t *frame_size) {
    ray__choice choice = object->choices[block];
    const uint8_t *raw = begin_of_block(object, block);
    uint32_t size = size_of_block(object, block);
    ray_chunk_header header = {.id = object->id, .index = block, .raw_size = size, .checksum = object->sums[block]};
    in->object = NOTHING; // what is in it goes
    if (choice.codec != RAY_CODEC_NONE) {
        ray__filter_wish wish = {.may_delta = choice.codec == RAY_CODEC_ZSTD};
        RAY_TRY(ray__chunk_pack_filtered(in->codec, choice.codec, choice.level, wish, raw, size, frame + RAY_CHUNK_HEADER_SIZE,
                                         &header.stored_size, &header.filter));
    }
    if (header.stored_size != 0) {
        header.codec = choice.codec;
        header.level = header.codec == RAY_CODEC_ZSTD ? (int16_t)ray__zstd_level(choice.level) : 0;
    } else {
        header.codec = RAY_CODEC_NONE;
        header.filter = 0;
        header.stored_size = size;
        memcpy(frame + RAY_CHUNK_HEADER_SIZE, raw, size);
    }
    ray__chunk_header_write(&header, frame);
    *frame_size = RAY_CHUNK_HEADER_SIZE + header.stored_size;
    return RAY_OK;
}

static void end_object(packed_object *object) {
    free(object->metadata);
    free(object->frames);
    free(object->begins);
    free(object->choices);
    object->metadata = NULL;
    object->frames = NULL;
    object->begins = NULL;
    object->choices = NULL;
}

// Chooses for each block; what is left over for a small last one is taken for more of the same. Bytes that do not shrink are not touched again.
static ray_status look_at_blocks(const ray_spill_packed *packed, room *in, packed_object *object, uint32_t count, bool *any) {
    *any = false;
    for (uint32_t block = 0; block < count; block++) {
        ray__choice *choice = &object->choices[block];
        uint32_t size = size_of_block(object, block);
        if (block > 0 && size < LOOKED_MIN) {
            *choice = object->choices[block - 1];
        } else {
            RAY_TRY(look(&packed->packing, in, begin_of_block(object, block), size, choice));
        }
        *any = *any || choice->codec != RAY_CODEC_NONE;
    }
    return RAY_OK;
}

// The first time: what it costs and gains is noted.
static ray_status make_first(const ray_spill_packed *packed, room *in, packed_object *object, uint32_t block, uint8_t *frame) {
    uint64_t begin_ns = ray__thread_core_ns();
    RAY_TRY(make_frame(in, object, block, frame, &object->frames[block]));
    if (packed->packing.pace != NULL && object->choices[block].codec != RAY_CODEC_NONE) {
        ray__pace_packed(packed->packing.pace, object->choices[block], size_of_block(object, block),
                         object->frames[block] - RAY_CHUNK_HEADER_SIZE, ray__thread_core_ns() - begin_ns);
    }
    // What gained nothing is not packed again in vain.
    if (object->frames[block] == RAY_CHUNK_HEADER_SIZE + size_of_block(object, block)) {
        object->choices[block].codec = RAY_CODEC_NONE;
    }
    return RAY_OK;
}

// Packs all blocks. The object stays unpacked when too little is gained, or when there is no place for it.
static ray_status pack_blocks(ray_spill_packed *packed, room *in, packed_object *object, ray_spill_object *laid, bool *is_kept, uint64_t *total) {
    uint32_t count = (uint32_t)ray_spill_sum_count(object->data_size);
    uint64_t kept_before = packed->kept_size;
    bool any = false;
    in->object = NOTHING;
    ray_status status = look_at_blocks(packed, in, object, count, &any);
    if (any && !laid->is_summed) {
        ray__spill_sum(laid); // frames have the sums of their blocks
    }
    *is_kept = true;
    *total = 0;
    for (uint32_t block = 0; block < count && any && status == RAY_OK; block++) {
        *is_kept = *is_kept && packed->kept_capacity - packed->kept_size >= FRAME_ROOM;
        if (!*is_kept && !packed->packing.by_range) {
            break;
        }
        // Beyond the bound the frame is made for its size alone.
        uint8_t *frame = *is_kept ? packed->kept + packed->kept_size : in->frame;
        status = make_first(packed, in, object, block, frame);
        packed->kept_size += *is_kept && status == RAY_OK ? object->frames[block] : 0;
        object->begins[block] = *total;
        *total += object->frames[block];
    }
    bool has_place = *is_kept || packed->packing.by_range;
    bool gains = any && *total + RAY_SPILL_ANNOUNCED_SIZE + (uint64_t)count * 4 < object->data_size - object->data_size / 50;
    if (status != RAY_OK || !has_place || !gains || !*is_kept) {
        packed->kept_size = kept_before;
    }
    if (status != RAY_OK || !has_place || !gains) {
        end_object(object);
    }
    return status;
}

static ray_status announce(packed_object *object, const ray_spill_object *laid) {
    uint32_t count = object->frames == NULL ? 0 : (uint32_t)ray_spill_sum_count(object->data_size);
    size_t announced = RAY_SPILL_ANNOUNCED_SIZE + (size_t)count * 4;
    object->metadata = malloc(announced + (size_t)laid->metadata_size);
    if (object->metadata == NULL) {
        return ray__fail(RAY_OUT_OF_MEMORY, "the announcement of a packed record");
    }
    ray__announcement_write(object->metadata, object->data_size, object->frames, count);
    if (laid->metadata_size > 0) {
        memcpy(object->metadata + announced, laid->metadata, (size_t)laid->metadata_size);
    }
    return RAY_OK;
}

static ray_status pack_object(ray_spill_packed *packed, room *in, packed_object *object, ray_spill_object *laid, ray_spill_part *parts) {
    object->id = laid->id;
    object->data = laid->data;
    object->data_size = laid->data_size;
    object->sums = laid->sums;
    uint64_t count = ray_spill_sum_count(object->data_size);
    uint64_t kept_at = packed->kept_size;
    uint64_t total = 0;
    bool is_kept = false;
    if (packed->packing.codec != RAY_CODEC_NONE && count > 0 && count < UINT32_MAX / 4) {
        object->frames = malloc((size_t)count * sizeof object->frames[0]);
        object->begins = malloc((size_t)count * sizeof object->begins[0]);
        object->choices = malloc((size_t)count * sizeof object->choices[0]);
        if (object->frames == NULL || object->begins == NULL || object->choices == NULL) {
            return ray__fail(RAY_OUT_OF_MEMORY, "the sizes of %llu packed blocks", (unsigned long long)count);
        }
        RAY_TRY(pack_blocks(packed, in, object, laid, &is_kept, &total));
    }
    if (object->frames == NULL && !ray_spill_is_announced(laid->metadata, laid->metadata_size)) {
        return RAY_OK;
    }
    RAY_TRY(announce(object, laid));
    if (object->frames != NULL) {
        parts[3] = (ray_spill_part){is_kept ? packed->kept + kept_at : NULL, (size_t)total};
    }
    return RAY_OK;
}

// Nothing fails any more: what was packed goes into the layout.
static void lay_again(ray_spill_packed *packed, ray_spill_object *objects, uint8_t *headers, ray_spill_part *parts, const ray_spill_part *data) {
    uint64_t offset = 0;
    for (uint32_t i = 0; i < packed->count; i++) {
        packed_object *object = &packed->objects[i];
        ray_spill_part *of = parts + (size_t)i * RAY_SPILL_PARTS;
        uint8_t *header = headers + (size_t)i * RAY_SPILL_HEADER_SIZE;
        if (object->metadata != NULL) {
            uint32_t frames = object->frames == NULL ? 0 : (uint32_t)ray_spill_sum_count(object->data_size);
            objects[i].announced_size = RAY_SPILL_ANNOUNCED_SIZE + frames * 4;
            of[2] = (ray_spill_part){object->metadata, objects[i].announced_size + (size_t)objects[i].metadata_size};
            ray__put_u64(header + 8, of[2].size);
        }
        if (object->frames != NULL) {
            objects[i].frames = object->frames;
            of[3] = data[i];
            ray__put_u64(header + 16, of[3].size);
        }
        objects[i].offset = offset;
        objects[i].size = of[0].size + of[1].size + of[2].size + of[3].size;
        offset += objects[i].size;
    }
}

static uint64_t room_wanted(const ray_spill_object *objects, uint32_t count, uint64_t keep_bytes) {
    uint64_t most = 0;
    for (uint32_t i = 0; i < count && most < keep_bytes; i++) {
        most += objects[i].data_size + ray_spill_sum_count(objects[i].data_size) * RAY_CHUNK_HEADER_SIZE;
    }
    return (most < keep_bytes ? most : keep_bytes) + FRAME_ROOM;
}

ray_status ray_spill_pack(ray_spill_object *objects, uint32_t count, const ray_spill_packing *packing, uint8_t *headers, ray_spill_part *parts,
                          ray_spill_packed **packed) {
    if (packing->struct_size != sizeof *packing || packing->codec > RAY_CODEC_ZSTD) {
        return ray__fail(RAY_INVALID_ARGUMENT, "a packing of %u bytes with codec %u", packing->struct_size, packing->codec);
    }
    ray_spill_packed *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return ray__fail(RAY_OUT_OF_MEMORY, "packing %u objects", count);
    }
    pthread_mutex_init(&made->lock, NULL);
    ray_spill_part *data = calloc(count, sizeof *data);
    ray_status status = data == NULL ? ray__fail(RAY_OUT_OF_MEMORY, "packing %u objects", count) : RAY_OK;
    room *in = NULL;
    if (status == RAY_OK) {
        made->packing = *packing;
        made->count = count;
        made->objects = calloc(count, sizeof *made->objects);
        made->kept_capacity = packing->codec == RAY_CODEC_NONE ? 0 : room_wanted(objects, count, packing->keep_bytes);
        made->kept = malloc(made->kept_capacity + 1);
        status = made->objects == NULL || made->kept == NULL ? ray__fail(RAY_OUT_OF_MEMORY, "packing %u objects", count)
                                                             : take_room(made, NOTHING, 0, &in);
    }
    for (uint32_t i = 0; i < count && status == RAY_OK; i++) {
        ray_spill_part of[RAY_SPILL_PARTS] = {{NULL, 0}};
        status = pack_object(made, in, &made->objects[i], &objects[i], of);
        data[i] = of[3];
    }
    if (in != NULL) {
        give_room(made, in);
    }
    if (status == RAY_OK) {
        lay_again(made, objects, headers, parts, data);
        *packed = made;
    } else {
        ray_spill_packed_destroy(made);
    }
    free(data);
    return status;
}

void ray_spill_packed_destroy(ray_spill_packed *packed) {
    if (packed == NULL) {
        return;
    }
    for (uint32_t i = 0; packed->objects != NULL && i < packed->count; i++) {
        end_object(&packed->objects[i]);
    }
    while (packed->idle != NULL) {
        room *next = packed->idle->next;
        ray_codec_destroy(packed->idle->codec);
        free(packed->idle);
        packed->idle = next;
    }
    pthread_mutex_destroy(&packed->lock);
    free(packed->objects);
    free(packed->kept);
    free(packed);
}

static uint32_t find_frame(const packed_object *object, uint64_t from) {
    uint32_t low = 0;
    uint32_t high = (uint32_t)ray_spill_sum_count(object->data_size);
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        if (object->begins[middle] <= from) {
            low = middle;
        } else {
            high = middle;
        }
    }
    return low;
}

static uint64_t size_of_frames(const packed_object *object) {
    uint64_t last = ray_spill_sum_count(object->data_size) - 1;
    return object->begins[last] + object->frames[last];
}

// Packs a block again. What changes while it is packed may be in the frame, so it is looked at afterwards.
static ray_status make_again(ray_spill_packed *packed, room *in, const packed_object *object, uint32_t block) {
    uint32_t expected = object->frames[block];
    uint32_t size = size_of_block(object, block);
    bool was_packed = object->choices[block].codec != RAY_CODEC_NONE;
    uint32_t frame_size = 0;
    uint64_t begin_ns = ray__thread_core_ns();
    ray_status made = make_frame(in, object, block, in->frame, &frame_size);
    packed->again_ns += ray__thread_core_ns() - begin_ns;
    RAY_TRY(made);
    if (frame_size != expected) {
        return ray__fail(RAY_SOURCE_CHANGED, "block %u was changed while it was spilled: it packs to %u bytes, not to %u", block, frame_size,
                         expected);
    }
    if (ray__checksum_of(was_packed ? begin_of_block(object, block) : in->frame + RAY_CHUNK_HEADER_SIZE, size) != object->sums[block]) {
        return ray__fail(RAY_SOURCE_CHANGED, "block %u was changed while it was spilled: its bytes have another checksum", block);
    }
    return RAY_OK;
}

ray_status ray_spill_packed_read(ray_spill_packed *packed, uint32_t part, uint64_t from, void *bytes, size_t size) {
    uint32_t number = part / RAY_SPILL_PARTS;
    bool is_packed = number < packed->count && part % RAY_SPILL_PARTS == RAY_SPILL_PARTS - 1 && packed->objects[number].frames != NULL;
    uint64_t total = is_packed ? size_of_frames(&packed->objects[number]) : 0;
    if (!is_packed || from > total || size > total - from) {
        return ray__fail(RAY_INVALID_ARGUMENT, "%zu bytes from byte %llu of part %u: packed data has %llu there", size, (unsigned long long)from,
                         part, (unsigned long long)total);
    }
    const packed_object *object = &packed->objects[number];
    uint8_t *at = bytes;
    for (uint32_t block = find_frame(object, from); size > 0; block++) {
        room *in = NULL;
        RAY_TRY(take_room(packed, number, block, &in));
        uint32_t frame_size = object->frames[block];
        bool is_there = in->object == number && in->block == block;
        ray_status status = is_there ? RAY_OK : make_again(packed, in, object, block);
        in->object = status == RAY_OK ? number : NOTHING;
        in->block = block;
        size_t skip = (size_t)(from - object->begins[block]);
        size_t some = frame_size - skip < size ? frame_size - skip : size;
        if (status == RAY_OK) {
            memcpy(at, in->frame + skip, some);
            at += some;
            from += some;
            size -= some;
        }
        give_room(packed, in);
        RAY_TRY(status);
    }
    return RAY_OK;
}

uint64_t ray_spill_packed_again_ns(ray_spill_packed *packed) {
    return packed->again_ns;
}
