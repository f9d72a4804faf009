// SPDX-License-Identifier: Apache-2.0
// Auth: the cluster's key, and the challenge that opens every connection.
//
// A cluster has one secret key of 32 random bytes in a file of mode 0600. Before anything else is read from a connection, both
// ends prove that they hold it: the connecting end proves first, so a stranger learns a random number and nothing more.
//
//   connecting                                    accepting
//   hello: "RAYS", version, purpose, nonce c  ->
//                                             <-  challenge: "RAYS", version, verdict, nonce s
//   proof: HMAC-SHA256(key, "c", purpose, c, s)  ->   (compared in constant time; wrong: verdict refused, close)
//                                             <-  answer: verdict, HMAC-SHA256(key, "s", purpose, s, c)
//
// The purpose (control or bulk) is part of the proof, so a proof for one port is void on the other. The exchange is a state machine
// without I/O: the caller moves the bytes, over a blocking socket or an event loop.
//
// Caveats: it proves who is there, it does not encrypt what follows.
// Thread safety: a ray_auth belongs to one thread at a time; keys are plain values.
#ifndef RAYSTORE_AUTH_H
#define RAYSTORE_AUTH_H

#include "status.h"

RAY_BEGIN_DECLS
RAY_ASSUME_NONNULL_BEGIN

#define RAY_KEY_SIZE 32
#define RAY_AUTH_MESSAGE_MAX 128 // no step reads or writes more at once
#define RAY_PROTOCOL_VERSION 7   // of every network protocol of this library; both ends must agree

enum { RAY_PURPOSE_CONTROL = 1, RAY_PURPOSE_BULK = 2 };
enum { RAY_ROLE_CONNECTING = 1, RAY_ROLE_ACCEPTING = 2 };

typedef struct ray_key {
    uint8_t bytes[RAY_KEY_SIZE];
} ray_key;

// Makes a random key and writes it as 64 hex digits into a new file of mode 0600. RAY_EXISTS if the file exists.
RAY_API ray_status ray_key_create(const char *path, ray_key *key) RAY_NODISCARD;

// Reads a key file. RAY_KEY_UNUSABLE when others than the owner can read it, when it is not ours, or when it is not a key; the message
// says which and what to do.
RAY_API ray_status ray_key_load(const char *path, ray_key *key) RAY_NODISCARD;

// A random key that is in no file, for a cluster within one process.
RAY_API void ray_key_random(ray_key *key);

typedef struct ray_auth ray_auth;

RAY_API ray_status ray_auth_create(const ray_key *key, uint32_t role, uint32_t purpose, ray_auth *RAY_NULLABLE *RAY_NULLABLE auth) RAY_NODISCARD;
RAY_API void ray_auth_destroy(ray_auth *RAY_NULLABLE auth);

// Takes what arrived and gives what is to be sent. At most in_size bytes are taken (*consumed says how many; bytes beyond belong to the
// next protocol), at most RAY_AUTH_MESSAGE_MAX bytes are given. Call it once with in_size 0 to begin, then whenever bytes arrive.
// RAY_AGAIN: send *out, then wait for more. RAY_OK: send *out; both ends have proved themselves. RAY_KEY_REFUSED, RAY_VERSION_MISMATCH,
// RAY_PROTOCOL: send *out if any, then close; ray_last_error_message says what happened.
RAY_API ray_status ray_auth_step(ray_auth *auth, const uint8_t *RAY_NULLABLE in, size_t in_size, size_t *consumed,
                                 uint8_t *out, size_t *out_size) RAY_NODISCARD;

RAY_ASSUME_NONNULL_END
RAY_END_DECLS
#endif
