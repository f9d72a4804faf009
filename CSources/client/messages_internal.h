// SPDX-License-Identifier: Apache-2.0
// The messages between a client and its node, byte by byte; both ends include this. Both run on one machine, so the structures are
// the format.
//
//   client                                        node
//   ATTACH   version, layout, job, access, namespace  ->
//                                             <-  WELCOME  session, and by SCM_RIGHTS the store's two descriptors; to a guarded
//                                                 reader one, of the data segment, that cannot be written through
//                                                 or REFUSED  status, text; then it closes
//   REQUEST  id, request, payload             ->
//   CANCEL   id                               ->
//   TELL     what, payload                    ->  a guarded reader drops pins or a ref; no answer
//                                             <-  PROGRESS id, figures            (any number, may be left out)
//                                             <-  ANSWER   id, status, text, payload  (exactly one a request, in any order)
//   GOODBYE                                   ->  the client no longer maps the store: its slot may be reaped at once
//
// A message is a header and body_size bytes. The header, and the first 8 bytes of ATTACH, are the same in every version.
#ifndef RAY_CLIENT_MESSAGES_INTERNAL_H
#define RAY_CLIENT_MESSAGES_INTERNAL_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "base/error_internal.h"
#include "raystore/host.h"

#define RAY__MESSAGE_MAGIC 0x4d594152u // "RAYM" as bytes
#define RAY__SESSION_VERSION 2u

enum {
    RAY__ATTACH = 1,
    RAY__REQUEST = 2,
    RAY__CANCEL = 3,
    RAY__GOODBYE = 4,
    RAY__TELL = 5,
    RAY__WELCOME = 16,
    RAY__REFUSED = 17,
    RAY__ANSWER = 18,
    RAY__PROGRESS = 19,
};

struct ray__message {
    uint32_t magic;
    uint16_t type;
    uint16_t request;    // of REQUEST: RAY_REQUEST_*; of TELL: RAY__TELL_*
    uint32_t body_size;
    int32_t status;      // of ANSWER and REFUSED
    uint64_t request_id; // of REQUEST, CANCEL, ANSWER, PROGRESS
    uint32_t text_size;  // of ANSWER and REFUSED: the body begins with this much of message text, without a NUL
    uint32_t zero;
};

struct ray__attach { // then name_space_size bytes
    uint32_t version;
    uint32_t layout;
    int64_t pid; // as the client sees itself; the node goes by what the kernel says
    uint32_t job;
    uint32_t name_space_size;
    uint32_t access; // RAY_ACCESS_*
    uint32_t zero;
};

struct ray__welcome {
    uint32_t job;
    uint32_t node_number;
    uint32_t slot;
    uint32_t is_driver;
    ray_task_id task;
    uint8_t node_id[RAY_NODE_ID_SIZE];
    uint32_t zero;
};

// What a TELL says.
enum {
    RAY__TELL_UNPIN = 1,    // pins, 16 bytes each
    RAY__TELL_DROP_REF = 2, // ids
};

// A pin that the node holds for a guarded reader: a place in its table, and which of the pins that had the place.
struct ray__pin_name {
    uint64_t serial; // never 0
    uint32_t place;
    uint32_t zero;
};

// What became of one id of a PIN.
struct ray__pinned {
    int32_t status; // not RAY_OK: all else is 0
    uint32_t metadata_size;
    struct ray__pin_name pin;
    uint64_t data_offset; // in the data segment
    uint64_t data_size;
    uint64_t metadata_offset;
};

// A ray_object_info without padding: what lies between its fields must not reach another user.
struct ray__looked {
    ray_object_id id;
    uint32_t state;
    uint32_t creator_slot;
    int32_t failure;
    uint64_t data_size;
    uint32_t metadata_size;
    uint32_t pin_slot_count;
    uint32_t ref_slot_count;
    uint32_t node_has_ref;
    uint64_t access_tick;
};

struct ray__progress {
    ray_object_id id;
    uint32_t zero;
    ray_transfer_progress figures;
};

static_assert(sizeof(struct ray__message) == 32 && offsetof(struct ray__message, request_id) == 16, "layout of the header");
static_assert(sizeof(struct ray__attach) == 32 && offsetof(struct ray__attach, layout) == 4, "layout of ATTACH");
static_assert(sizeof(struct ray__welcome) == 72 && offsetof(struct ray__welcome, node_id) == 40, "layout of WELCOME");
static_assert(sizeof(struct ray__pinned) == 48 && offsetof(struct ray__pinned, data_offset) == 24, "layout of a PIN's answer");
static_assert(sizeof(struct ray__looked) == 72 && offsetof(struct ray__looked, data_size) == 40, "layout of a STAT's answer");
static_assert(sizeof(ray_transfer_progress) == 64, "progress figures have no padding");
static_assert(sizeof(struct ray__progress) == 96 && offsetof(struct ray__progress, figures) == 32, "layout of PROGRESS");

// Changes when a structure does though nobody thought of the version. The store's own layout is checked when it is mapped.
#define RAY__SESSION_LAYOUT                                                                                                        \
    ((uint32_t)(sizeof(struct ray__message) << 24 | sizeof(struct ray__attach) << 16 | sizeof(struct ray__welcome) << 8 |           \
                sizeof(struct ray__progress)))

// A request's id tells the node whether progress is wanted, so that none is sent in vain.
#define RAY__WANTS_PROGRESS (UINT64_C(1) << 63)

// ---- limits ------------------------------------------------------------------------------------------------------------

// The largest ATTACH: its structure and a namespace, with room for what later versions add.
#define RAY__ATTACH_BODY_MAX 4096u
// The largest body: a payload, and the text beside it.
#define RAY__BODY_MAX (RAY_PAYLOAD_MAX + RAY_MESSAGE_MAX)
// Sent but not yet read by the peer. Four of the largest messages: one under way, and some of other threads behind it. A client beyond
// it is disconnected; a node beyond it makes requests fail with RAY_AGAIN.
#define RAY__OUT_MAX (4u * (size_t)RAY__BODY_MAX)
// Requests of one client without an answer. A power of two: ids carry the place in the table.
#define RAY__REQUESTS_MAX 16384u

// Of a guarded reader, who may be another user and hostile, and whose requests are tasks of the node: so many ids, so often. A power of
// two for the pending, whose table doubles.
#define RAY__READER_BODY_MAX RAY_READER_PAYLOAD_MAX
#define RAY__READER_REQUESTS_MAX 256u
#define RAY__READER_OUT_MAX (2u * (size_t)RAY__BODY_MAX)
// Objects that the node pins for one reader at a time: 3 MiB of its memory.
#define RAY__READER_PINS_MAX 65536u

#endif
