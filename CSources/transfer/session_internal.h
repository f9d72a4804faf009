// SPDX-License-Identifier: Apache-2.0
// A served connection: the streams that its receiver opened, what it asked of them, and the chunks that are under way to it.
#ifndef RAY_TRANSFER_SESSION_INTERNAL_H
#define RAY_TRANSFER_SESSION_INTERNAL_H

#include "transfer/transfer_internal.h"

// An OPEN with a name is the largest message of a receiver; room for two.
#define RAY__IN_MAX (2 * (RAY__MESSAGE_HEADER_SIZE + RAY__OPEN_BODY_MAX))
// Chunks asked for and not begun. A receiver with a larger window than this waits in the socket.
#define RAY__WAITING_MAX 1024u
// Chunks that a connection has under way: for each thread one, and some more that wait for a thread or for the link.
#define RAY__ORDERS_MIN 4u
#define RAY__ORDERS_MAX 8u
#define RAY__STREAMS_MAX 16u

typedef struct ray__waiting {
    uint32_t stream;
    uint32_t index;
    uint16_t codec;
    int16_t level;
    uint16_t urgency;
    uint32_t raw_size;
    uint8_t depth;
    uint8_t flags;
} ray__waiting;

typedef struct ray__stream {
    uint32_t name;
    ray__offer *offer; // NULL: free
    uint32_t orders;   // under way; the offer stays for them after CLOSE
    bool closed;
    bool held;                 // something of it waits for a slot of the swarm
    bool cannot_read;          // at this look
    ray__watcher coming;       // for chunks that are on their way here
    ray__watcher turn;         // for a slot
    ray__read_turn reading;    // for room to read a chunk into
} ray__stream;

typedef struct ray__session {
    ray_transfer *transfer;
    ray__connection *connection;
    ray__stream streams[RAY__STREAMS_MAX];
    int wake; // eventfd of the watchers
    uint32_t in_size;
    uint64_t in_since_ns; // when the request began that has come in part, or 0
    uint64_t useful_ns;   // when something of an object was sent for the last time
    uint8_t in[RAY__IN_MAX];
    uint32_t waiting_count;
    ray__waiting waiting[RAY__WAITING_MAX];
    ray__ring *prepared;
    _Atomic uint32_t at_workers;
    uint32_t order_count;
    uint32_t free_count;
    uint32_t read_count; // orders under way that were read
    ray__order *free_orders[RAY__ORDERS_MAX];
    ray__order orders[RAY__ORDERS_MAX];
    ray__drain drain;
    ray__drain judged; // the drain when the link was judged for the last time
    bool is_fast;      // as it was judged then
    ray__drain bounded;  // the drain when it was last judged how much the kernel may hold unsent
    uint32_t unsent_max; // as it was judged then; 0: what it likes
    bool may_be_paced;   // the link was judged slow once
    uint64_t due_bytes[RAY_URGENCY_COUNT]; // raw, asked for and not yet sent
} ray__session;
_Static_assert(sizeof(ray__session) <= RAY__SESSION_MAX, "what memory_internal.h reserves is enough");

// asked.c: what the receiver asks
// Reads what has come, and takes every whole message that has room. One that owes nothing is idle, and waits for something to come.
ray_status ray__session_read(ray__session *s, bool is_idle) RAY_NODISCARD;
// The open stream of this name, or NULL.
ray__stream *ray__session_find(ray__session *s, uint32_t name);
void ray__session_end(ray__session *s, ray__stream *ended);
// After CLOSE, when nothing of it is under way any more.
void ray__session_end_unused(ray__session *s, ray__stream *ended);
// A chunk is owed from now on, or is not any more.
void ray__session_owe(ray__session *s, uint32_t raw_size, uint32_t urgency);
void ray__session_owe_no_more(ray__session *s, uint64_t raw_size, uint32_t urgency);

// sent.c: what leaves
ray_status ray__session_send(ray__session *s, void *bytes, size_t size, bool more) RAY_NODISCARD;
ray_status ray__session_send_failed(ray__session *s, uint32_t name, uint32_t index, ray_status why, const char *text) RAY_NODISCARD;
ray_status ray__session_send_refer(ray__session *s, uint32_t name, const ray__refer *refer) RAY_NODISCARD;
// note.c: sends a NOTE, if one is due in front of this chunk.
ray_status ray__session_note(ray__session *s, const ray__order *order) RAY_NODISCARD;
// Sends a prepared chunk, or why there is none.
ray_status ray__session_send_prepared(ray__session *s, ray__order *order) RAY_NODISCARD;
// The order is free again, and what it held is given back.
void ray__session_put_back(ray__session *s, ray__order *order);

#endif
