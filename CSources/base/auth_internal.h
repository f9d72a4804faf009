// SPDX-License-Identifier: Apache-2.0
// The messages of the exchange in auth.h, byte by byte. Integers are little endian.
//
//   hello      0 "RAYS"   4 version   8 purpose   12 zero   16 nonce c (32)        48 bytes
//   challenge  0 "RAYS"   4 version   8 verdict   12 zero   16 nonce s (32)        48 bytes
//   proof      0 mac (32)                                                          32 bytes
//   answer     0 verdict  4 zero      8 mac (32)                                   40 bytes
//
// The first 8 bytes of a hello and the first 12 of a challenge are the same in every version, so that two versions can always tell
// each other which they are. A verdict is a ray_status; where it is not RAY_OK, what follows it is zero.
//
// What a mac covers is the text below: its side is 'c' for the connecting end and 's' for the accepting one, and each puts its own
// nonce first, so that neither proof can be sent back as the other.
#ifndef RAY_BASE_AUTH_INTERNAL_H
#define RAY_BASE_AUTH_INTERNAL_H

#include <assert.h>
#include <stddef.h>
#include <stdint.h>

#include "raystore/auth.h"

#define RAY__AUTH_MAGIC 0x53594152u // "RAYS" as bytes
#define RAY__NONCE_SIZE 32
#define RAY__MAC_SIZE 32

struct ray__auth_hello {
    uint32_t magic;
    uint32_t version;
    uint32_t purpose;
    uint32_t zero;
    uint8_t nonce[RAY__NONCE_SIZE];
};

struct ray__auth_challenge {
    uint32_t magic;
    uint32_t version;
    int32_t verdict;
    uint32_t zero;
    uint8_t nonce[RAY__NONCE_SIZE];
};

struct ray__auth_proof {
    uint8_t mac[RAY__MAC_SIZE];
};

struct ray__auth_answer {
    int32_t verdict;
    uint32_t zero;
    uint8_t mac[RAY__MAC_SIZE];
};

struct ray__auth_text {
    uint8_t side; // 'c' or 's'
    uint8_t zero[3];
    uint32_t purpose;
    uint8_t own_nonce[RAY__NONCE_SIZE];
    uint8_t peer_nonce[RAY__NONCE_SIZE];
};

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the structures are the wire format on little-endian machines only");
static_assert(sizeof(struct ray__auth_hello) == 48 && offsetof(struct ray__auth_hello, nonce) == 16, "layout of hello");
static_assert(sizeof(struct ray__auth_challenge) == 48 && offsetof(struct ray__auth_challenge, nonce) == 16, "layout of challenge");
static_assert(sizeof(struct ray__auth_proof) == 32, "layout of proof");
static_assert(sizeof(struct ray__auth_answer) == 40 && offsetof(struct ray__auth_answer, mac) == 8, "layout of answer");
static_assert(sizeof(struct ray__auth_text) == 72 && offsetof(struct ray__auth_text, own_nonce) == 8, "layout of the text of a mac");
static_assert(sizeof(struct ray__auth_hello) <= RAY_AUTH_MESSAGE_MAX, "a message fits the caller's buffer");

#endif
