// SPDX-License-Identifier: Apache-2.0
// Reading: into how many requests a read is divided, and how many of them are under way at once, by what the service was found to do with others.
//
// Services differ by what a request costs them. A large one far away begins to answer at once, whatever is asked for, and sends over one connection
// what its distance lets it: it wants several requests at once. A small one nearby sends as fast as it can over one connection. Some of these hash
// or copy the whole object before they answer, once for each request, and those want one request for all; others read ahead of who reads, and
// do the more in vain the longer an answer is. So two things are measured of the first request of each read: how long the service takes until it begins
// to answer, and how fast the answer comes. Their product is what the connection could have brought meanwhile: the waste of a request.
#include <stdlib.h>

#include "s3_internal.h"

#define PIECE_MIN (16u << 20)
// A request is for so many times its waste.
#define PIECE_WASTES 4u
// What one connection brings in so many parts of a second is not divided among several.
#define RANGES_A_SECOND 4u
// Who sends a piece in a sixteenth of a second is nearby.
#define NEAR_RATE (16ull * PIECE_MIN)

typedef struct plan {
    uint64_t piece; // of each request
    uint32_t at_once;
} plan;

static uint64_t waste_of(const ray__s3_pace *pace) {
    return (uint64_t)((double)pace->rate * (double)pace->answer_ns * 1e-9);
}

static plan plan_for(const ray__s3_pace *pace, uint64_t size, uint64_t least, uint32_t connections) {
    uint64_t waste = waste_of(pace);
    uint64_t piece = waste < least / PIECE_WASTES ? least : waste * PIECE_WASTES;
    if (waste > least) {
        return (plan){piece, 1};
    }
    uint64_t share = pace->rate / RANGES_A_SECOND > least ? pace->rate / RANGES_A_SECOND : least;
    uint64_t at_once = (size + share - 1) / share;
    return (plan){piece, at_once < connections ? (uint32_t)at_once : connections};
}

static ray__s3_pace known_pace(ray_s3 *s3) {
    pthread_mutex_lock(&s3->lock);
    ray__s3_pace pace = s3->pace;
    pthread_mutex_unlock(&s3->lock);
    return pace;
}

static uint64_t mixed(uint64_t before, uint64_t now) {
    return before - before / 4 + now / 4;
}

// What a request has shown is part of what is known from now on.
static void note_pace(ray_s3 *s3, const ray__s3_pace *pace) {
    pthread_mutex_lock(&s3->lock);
    bool is_first = s3->pace.rate == 0;
    s3->pace.rate = is_first ? pace->rate : mixed(s3->pace.rate, pace->rate);
    s3->pace.answer_ns = is_first ? pace->answer_ns : mixed(s3->pace.answer_ns, pace->answer_ns);
    pthread_mutex_unlock(&s3->lock);
}

typedef struct reading {
    ray_s3 *s3;
    const char *bucket;
    const char *key;
    uint64_t offset;
    ray__s3_span into;
} reading;

// Reads bytes [from, from + size) of what is read. `pace`, if given, becomes what the first request has shown, unless that says nothing.
static ray_status read_in_pieces(const reading *r, uint64_t from, uint64_t size, plan how, ray__s3_pace *pace) {
    uint32_t count = (uint32_t)((size + how.piece - 1) / how.piece);
    ray__s3_request *requests = calloc(count, sizeof *requests);
    if (requests == NULL) {
        return ray__fail(RAY_OUT_OF_MEMORY, "a read of %u ranges", count);
    }
    for (uint32_t i = 0; i < count; i++) {
        uint64_t done = i * how.piece;
        requests[i] = (ray__s3_request){.method = "GET", .bucket = r->bucket, .key = r->key, .into = r->into};
        requests[i].into.from = from + done;
        requests[i].into.size = size - done < how.piece ? size - done : how.piece;
        requests[i].range_from = r->offset + from + done;
    }
    ray_status status = ray__s3_run(r->s3, requests, count, how.at_once);
    if (status == RAY_OK && requests[0].pace.rate != 0) {
        note_pace(r->s3, &requests[0].pace);
        *pace = requests[0].pace;
    }
    for (uint32_t i = 0; i < count; i++) {
        if (requests[i].code == 416) {
            status = ray__fail(RAY_CORRUPT, "s3://%s/%s at %s ends before byte %llu", r->bucket, r->key, r->s3->endpoint,
                               (unsigned long long)requests[i].range_from);
            break;
        }
    }
    for (uint32_t i = 0; i < count; i++) {
        ray__s3_request_end(&requests[i]);
    }
    free(requests);
    return status;
}

static ray_status read_object(const reading *r, uint64_t size) {
    ray_s3 *s3 = r->s3;
    uint64_t least = s3->part_bytes < PIECE_MIN ? s3->part_bytes : PIECE_MIN;
    ray__s3_pace pace = known_pace(s3);
    // Objects differ too: what is hashed once is not hashed again. So a piece of it goes first, unless that would cost a service far away its
    // other connections, or another one a hash or a copy.
    bool is_tried = size > least && (pace.rate == 0 || (pace.rate >= NEAR_RATE && waste_of(&pace) <= least));
    uint64_t tried = is_tried ? least : 0;
    if (is_tried) {
        RAY_TRY(read_in_pieces(r, 0, tried, (plan){tried, 1}, &pace));
    }
    return read_in_pieces(r, tried, size - tried, plan_for(&pace, size - tried, least, s3->connection_count_max), &pace);
}

ray_status ray_s3_get(ray_s3 *s3, const char *bucket, const char *key, uint64_t offset, const ray_spill_part *parts,
                      uint32_t part_count) {
    uint64_t size = ray__s3_size_of(parts, part_count);
    if (size == 0) {
        uint64_t whole = 0;
        RAY_TRY(ray_s3_size(s3, bucket, key, &whole));
        return offset <= whole ? RAY_OK : ray__fail(RAY_CORRUPT, "s3://%s/%s has %llu bytes, none at %llu", bucket, key,
                                                    (unsigned long long)whole, (unsigned long long)offset);
    }
    reading r = {s3, bucket, key, offset, {.pieces = parts, .piece_count = part_count}};
    return read_object(&r, size);
}
