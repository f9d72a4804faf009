// SPDX-License-Identifier: Apache-2.0
// The messages of the bulk protocol, as bytes. docs/PROTOCOL.md has the same tables.
//
// Every message is a header of 24 bytes and a body of a bounded size. The header's check covers the header and the body, except for a
// CHUNK, where it covers the frame's header only: the packed bytes have a checksum of their own.
#ifndef RAY_TRANSFER_WIRE_INTERNAL_H
#define RAY_TRANSFER_WIRE_INTERNAL_H

#include "raystore/transfer.h"

enum {
    RAY__MESSAGE_OPEN = 1,    // receiver: id, token of the pull, perhaps a name     -> CARD
    RAY__MESSAGE_CARD = 2,    // sender: what it has, or why not
    RAY__MESSAGE_REQUEST = 3, // receiver: codec, level, indices       -> a CHUNK, a FAILED or a REFER for each, in any order
    RAY__MESSAGE_CHUNK = 4,   // sender: a chunk frame
    RAY__MESSAGE_FAILED = 5,  // sender: index, status, text
    RAY__MESSAGE_CLOSE = 6,   // receiver: the stream is not needed any more
    RAY__MESSAGE_REFER = 7,   // sender: index, and who else has it or is being sent it now
    RAY__MESSAGE_WAIT = 8,    // sender: alive, but what is asked for is not here yet
    RAY__MESSAGE_NOTE = 9,    // sender: why it packs as it does (note_internal.h)
};

#define RAY__MESSAGE_HEADER_SIZE 24u
#define RAY__INDICES_MAX 256u     // in one REQUEST
#define RAY__REQUEST_FIXED_SIZE 32u
#define RAY__REQUEST_BODY_MAX (RAY__REQUEST_FIXED_SIZE + 4u * RAY__INDICES_MAX)
#define RAY__HOLDERS_MAX 64u
#define RAY__TEXT_MAX 512u
#define RAY__DESCRIPTOR_MAX RAY_METADATA_MAX
#define RAY__CARD_FIXED_SIZE 56u
#define RAY__CARD_DATA_MAX (256u << 10) // of an object in memory, if the OPEN takes it and the link is known to be fast; else RAY_INLINE_MAX
#define RAY__CARD_BODY_MAX                                                                                                   \
    (RAY__CARD_FIXED_SIZE + RAY_METADATA_MAX + RAY__DESCRIPTOR_MAX + RAY__HOLDERS_MAX * (4u + RAY_HOST_MAX) + RAY__TEXT_MAX + \
     RAY__CARD_DATA_MAX)
// What a CHUNK has before its packed bytes.
#define RAY__CHUNK_PREFIX_SIZE (RAY__MESSAGE_HEADER_SIZE + RAY_CHUNK_HEADER_SIZE)

typedef struct ray__message {
    uint16_t type;
    uint32_t body_size;
    uint32_t stream; // chosen by the receiver, names what OPEN opened on this connection
    uint64_t check;
} ray__message;

// Writes the header in front of a body that is complete at bytes + RAY__MESSAGE_HEADER_SIZE (of a CHUNK: the frame's header is).
void ray__message_seal(uint8_t *bytes, uint16_t type, uint32_t stream, uint32_t body_size);

// Reads a header and checks that its type may come in this direction and has a possible size. RAY_PROTOCOL otherwise.
ray_status ray__message_read(const uint8_t *bytes, bool from_receiver, ray__message *message) RAY_NODISCARD;

// Compares the check with the header and the body. RAY_CORRUPT otherwise.
ray_status ray__message_verify(const uint8_t *header, const ray__message *message, const uint8_t *body) RAY_NODISCARD;

typedef struct ray__open {
    ray_object_id id;
    uint64_t token; // the same on every connection of a pull, so that the sender opens the source once
    uint16_t threads; // that unpack at the receiver
    uint32_t chunk_size;
    uint16_t urgency; // RAY_URGENCY_*
    uint16_t port;    // at which the receiver serves what it has of it, 0: it does not
    uint16_t flags;   // RAY__OPEN_*
    char host[RAY_HOST_MAX];     // of that port; "": where the connection comes from
    char name[RAY_NAME_MAX + 1]; // "": the id says all
} ray__open;
enum { RAY__OPEN_LARGE_CARD = 1 }; // all of it is wanted, from nobody else, and in no codec of the receiver's choice
#define RAY__OPEN_BODY_SIZE 52u // without host and name
#define RAY__OPEN_BODY_MAX (RAY__OPEN_BODY_SIZE + RAY_HOST_MAX - 1u + RAY_NAME_MAX)

// Answers the body's size.
uint32_t ray__open_write(const ray__open *open, uint8_t *body);
ray_status ray__open_read(const uint8_t *body, uint32_t size, ray__open *open) RAY_NODISCARD;

// How many waits lie between the asking end and who has the chunk (docs/decisions/0007). Larger ones are not referred to.
#define RAY__DEPTH_MAX 200u

enum { RAY__REQUEST_NO_REFER = 1 }; // send it yourself, or say that you cannot

#define RAY__CORES_MAX 4096000u      // thousandths of a core that a REQUEST can tell of
#define RAY__UNPACK_PS_MAX 1000000u  // a microsecond for a byte

// What the receiver can do now; the sender's tuner uses it, and nothing else depends on it.
typedef struct ray__ability {
    uint32_t cores;   // that it may use, in thousandths; 0: not known
    uint32_t free;    // of which nobody uses, or it itself
    uint16_t waiting; // packed chunks that have arrived and are not unpacked yet
    uint32_t lz4_ps;  // picoseconds of a core to unpack a raw byte, as measured of this pull; 0: not yet
    uint32_t zstd_ps;
} ray__ability;

typedef struct ray__request {
    uint16_t codec; // RAY_CODEC_*; AUTO: the sender's tuner
    int16_t level;
    uint16_t urgency; // RAY_URGENCY_*
    uint8_t depth;  // 0: not referred here, 1 and more: referred here by one who said so
    uint8_t flags;
    ray__ability ability;
    uint32_t count;
    uint32_t indices[RAY__INDICES_MAX];
} ray__request;

// Answers the body's size.
uint32_t ray__request_write(const ray__request *request, uint8_t *body);
ray_status ray__request_read(const uint8_t *body, uint32_t size, ray__request *request) RAY_NODISCARD;

typedef struct ray__failed {
    uint32_t index;
    ray_status status;
    char text[RAY__TEXT_MAX];
} ray__failed;
#define RAY__FAILED_BODY_MAX (10u + RAY__TEXT_MAX)

uint32_t ray__failed_write(const ray__failed *failed, uint8_t *body);
ray_status ray__failed_read(const uint8_t *body, uint32_t size, ray__failed *failed) RAY_NODISCARD;

typedef struct ray__refer {
    uint32_t index;
    uint8_t depth;        // to ask with
    ray_endpoint holder;  // port 0: nobody that is known here; ask elsewhere
} ray__refer;
#define RAY__REFER_FIXED_SIZE 12u
#define RAY__REFER_BODY_MAX (RAY__REFER_FIXED_SIZE + RAY_HOST_MAX - 1u)

uint32_t ray__refer_write(const ray__refer *refer, uint8_t *body);
ray_status ray__refer_read(const uint8_t *body, uint32_t size, ray__refer *refer) RAY_NODISCARD;

enum { RAY__CARD_HERE = 1, RAY__CARD_INLINE = 2, RAY__CARD_PARTIAL = 4 };

// A card with pointers into its message, or, when written, to wherever the parts lie.
typedef struct ray__card_message {
    ray_status status;
    uint16_t kind;
    uint16_t flags;
    uint64_t size_bytes;
    uint32_t chunk_size; // as OPEN asked
    uint64_t edition; // of what is asked for by name: another when the content may be another; else 0
    uint32_t metadata_size;
    uint32_t descriptor_size;
    uint32_t holder_count;
    uint32_t inline_size;
    const uint8_t *metadata;
    const uint8_t *descriptor;
    const ray_endpoint *holders; // written from; ray__card_holder reads
    const uint8_t *holder_bytes;
    uint32_t holder_bytes_size;
    const uint8_t *inline_data;
    char text[RAY__TEXT_MAX];
} ray__card_message;

uint32_t ray__card_size(const ray__card_message *card);
void ray__card_write(const ray__card_message *card, uint8_t *body);
// The same without the data, which follows from where it lies; and the header in front of that body, of all of it.
void ray__card_write_but_data(const ray__card_message *card, uint8_t *body);
void ray__message_seal_card(uint8_t *bytes, uint32_t stream, const ray__card_message *card);
// The parts of *card point into body.
ray_status ray__card_read(const uint8_t *body, uint32_t size, ray__card_message *card) RAY_NODISCARD;
// The holder at *cursor (0 at first) of a card that was read; false at the end.
bool ray__card_holder(const ray__card_message *card, uint32_t *cursor, ray_endpoint *holder);

static inline bool ray__chunk_size_is_possible(uint32_t chunk_size) {
    return chunk_size >= RAY_CHUNK_SIZE_MIN && chunk_size <= RAY_CHUNK_SIZE && (chunk_size & (chunk_size - 1)) == 0;
}

static inline uint32_t ray__chunk_count(uint64_t size_bytes, uint32_t chunk_size) {
    return (uint32_t)((size_bytes + chunk_size - 1) / chunk_size);
}

static inline uint32_t ray__chunk_raw_size(uint64_t size_bytes, uint32_t chunk_size, uint32_t index) {
    uint64_t rest = size_bytes - (uint64_t)index * chunk_size;
    return rest < chunk_size ? (uint32_t)rest : chunk_size;
}

#endif
