// SPDX-License-Identifier: Apache-2.0
// The exchange of auth.h as a state machine: bytes in, bytes out.
#include "raystore/auth.h"

#include <pthread.h>
#include <sodium.h>
#include <stdlib.h>
#include <string.h>

#include "base/auth_internal.h"
#include "base/error_internal.h"

// What this end does next.
enum auth_state {
    STATE_HELLO_SEND,
    STATE_HELLO_WAIT,
    STATE_CHALLENGE_WAIT,
    STATE_PROOF_WAIT,
    STATE_ANSWER_WAIT,
    STATE_PROVED,
    STATE_FAILED,
};

struct ray_auth {
    ray_key key;
    uint32_t purpose;
    enum auth_state state;
    uint8_t own_nonce[RAY__NONCE_SIZE];
    uint8_t peer_nonce[RAY__NONCE_SIZE];
    uint8_t in[RAY_AUTH_MESSAGE_MAX]; // the message that is arriving
    size_t in_size;
    ray_status failure; // in STATE_FAILED
    char failure_text[RAY_MESSAGE_MAX];
};

static pthread_once_t sodium_once = PTHREAD_ONCE_INIT;
static bool sodium_usable;

static void start_sodium(void) {
    sodium_usable = sodium_init() >= 0;
}

static const char *purpose_name(uint32_t purpose) {
    return purpose == RAY_PURPOSE_CONTROL ? "control" : purpose == RAY_PURPOSE_BULK ? "bulk" : "unknown";
}

ray_status ray_auth_create(const ray_key *key, uint32_t role, uint32_t purpose, ray_auth **auth) {
    *auth = NULL;
    if (role != RAY_ROLE_CONNECTING && role != RAY_ROLE_ACCEPTING) {
        return ray__fail(RAY_INVALID_ARGUMENT, "role %u of an authentication is neither connecting nor accepting", role);
    }
    if (purpose != RAY_PURPOSE_CONTROL && purpose != RAY_PURPOSE_BULK) {
        return ray__fail(RAY_INVALID_ARGUMENT, "purpose %u of an authentication is neither control nor bulk", purpose);
    }
    pthread_once(&sodium_once, start_sodium);
    if (!sodium_usable) {
        return ray__fail(RAY_SYSTEM, "libsodium cannot start: it found no source of random numbers on this machine");
    }
    ray_auth *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return ray__fail(RAY_OUT_OF_MEMORY, "no memory for an authentication of %zu bytes", sizeof *made);
    }
    made->key = *key;
    made->purpose = purpose;
    made->state = role == RAY_ROLE_CONNECTING ? STATE_HELLO_SEND : STATE_HELLO_WAIT;
    randombytes_buf(made->own_nonce, sizeof made->own_nonce);
    *auth = made;
    return RAY_OK;
}

void ray_auth_destroy(ray_auth *auth) {
    if (auth != NULL) {
        sodium_memzero(auth, sizeof *auth);
        free(auth);
    }
}

// The mac that one side proves itself with. Both ends compute both, one to send and one to compare.
static void compute_mac(const ray_auth *auth, char side, const uint8_t *own_nonce, const uint8_t *peer_nonce, uint8_t *mac) {
    struct ray__auth_text text = {.side = (uint8_t)side, .purpose = auth->purpose};
    memcpy(text.own_nonce, own_nonce, RAY__NONCE_SIZE);
    memcpy(text.peer_nonce, peer_nonce, RAY__NONCE_SIZE);
    static_assert(crypto_auth_hmacsha256_BYTES == RAY__MAC_SIZE && crypto_auth_hmacsha256_KEYBYTES == RAY_KEY_SIZE, "sizes of the mac");
    crypto_auth_hmacsha256(mac, (const unsigned char *)&text, sizeof text, auth->key.bytes);
}

// Ends the exchange. The text just recorded for the thread is kept, so that a further step answers the same.
static ray_status end(ray_auth *auth, ray_status failure) {
    auth->state = STATE_FAILED;
    auth->failure = failure;
    memcpy(auth->failure_text, ray_last_error_message(), sizeof auth->failure_text);
    sodium_memzero(&auth->key, sizeof auth->key);
    return failure;
}

static ray_status end_not_raystore(ray_auth *auth) {
    return end(auth, ray__fail(RAY_PROTOCOL, "the peer at the other end does not speak RayStore's protocol; check the address and port"));
}

static ray_status end_versions(ray_auth *auth, uint32_t theirs) {
    return end(auth, ray__fail(RAY_VERSION_MISMATCH,
                               "the peer at the other end speaks protocol version %u, this process version %u; run the same release of "
                               "RayStore on both machines",
                               theirs, (uint32_t)RAY_PROTOCOL_VERSION));
}

static ray_status end_key(ray_auth *auth) {
    return end(auth, ray__fail(RAY_KEY_REFUSED,
                               "the peer at the other end does not hold this cluster's key; start it with a copy of this cluster's key file"));
}

static void say_challenge(const ray_auth *auth, ray_status verdict, uint8_t *out, size_t *out_size) {
    struct ray__auth_challenge challenge = {.magic = RAY__AUTH_MAGIC, .version = RAY_PROTOCOL_VERSION, .verdict = verdict};
    if (verdict == RAY_OK) {
        memcpy(challenge.nonce, auth->own_nonce, sizeof challenge.nonce);
    }
    memcpy(out, &challenge, sizeof challenge);
    *out_size = sizeof challenge;
}

static ray_status take_hello(ray_auth *auth, uint8_t *out, size_t *out_size) {
    struct ray__auth_hello hello;
    memcpy(&hello, auth->in, sizeof hello);
    if (hello.zero != 0) {
        return end_not_raystore(auth);
    }
    if (hello.purpose != auth->purpose) {
        say_challenge(auth, RAY_PROTOCOL, out, out_size);
        return end(auth, ray__fail(RAY_PROTOCOL, "the peer at the other end wants %s on a port that serves %s; it must use the other port",
                                   purpose_name(hello.purpose), purpose_name(auth->purpose)));
    }
    memcpy(auth->peer_nonce, hello.nonce, sizeof auth->peer_nonce);
    say_challenge(auth, RAY_OK, out, out_size);
    auth->state = STATE_PROOF_WAIT;
    return RAY_AGAIN;
}

static ray_status take_challenge(ray_auth *auth, uint8_t *out, size_t *out_size) {
    struct ray__auth_challenge challenge;
    memcpy(&challenge, auth->in, sizeof challenge);
    if (challenge.verdict == RAY_PROTOCOL) {
        return end(auth, ray__fail(RAY_PROTOCOL, "the peer at the other end does not serve %s on this port; check the port",
                                   purpose_name(auth->purpose)));
    }
    if (challenge.verdict != RAY_OK || challenge.zero != 0) {
        return end_not_raystore(auth);
    }
    memcpy(auth->peer_nonce, challenge.nonce, sizeof auth->peer_nonce);
    struct ray__auth_proof proof;
    compute_mac(auth, 'c', auth->own_nonce, auth->peer_nonce, proof.mac);
    memcpy(out, &proof, sizeof proof);
    *out_size = sizeof proof;
    auth->state = STATE_ANSWER_WAIT;
    return RAY_AGAIN;
}

static ray_status take_proof(ray_auth *auth, uint8_t *out, size_t *out_size) {
    struct ray__auth_proof proof;
    memcpy(&proof, auth->in, sizeof proof);
    uint8_t expected[RAY__MAC_SIZE];
    compute_mac(auth, 'c', auth->peer_nonce, auth->own_nonce, expected);
    struct ray__auth_answer answer = {.verdict = RAY_KEY_REFUSED};
    bool proved = sodium_memcmp(expected, proof.mac, sizeof expected) == 0;
    if (proved) {
        answer.verdict = RAY_OK;
        compute_mac(auth, 's', auth->own_nonce, auth->peer_nonce, answer.mac);
    }
    memcpy(out, &answer, sizeof answer);
    *out_size = sizeof answer;
    if (!proved) {
        return end_key(auth);
    }
    auth->state = STATE_PROVED;
    return RAY_OK;
}

static ray_status take_answer(ray_auth *auth) {
    struct ray__auth_answer answer;
    memcpy(&answer, auth->in, sizeof answer);
    uint8_t expected[RAY__MAC_SIZE];
    compute_mac(auth, 's', auth->peer_nonce, auth->own_nonce, expected);
    bool proved = sodium_memcmp(expected, answer.mac, sizeof expected) == 0;
    if (!proved || answer.verdict != RAY_OK || answer.zero != 0) {
        return end_key(auth);
    }
    auth->state = STATE_PROVED;
    return RAY_OK;
}

// Looks at as much of the message as has arrived, so that a stranger is turned away at its first wrong byte, and a peer of
// another version, whose message may have another length, as soon as the common part is there.
static ray_status check_beginning(ray_auth *auth, uint8_t *out, size_t *out_size) {
    static_assert(offsetof(struct ray__auth_hello, version) == offsetof(struct ray__auth_challenge, version), "the common part");
    bool hello = auth->state == STATE_HELLO_WAIT;
    if (!hello && auth->state != STATE_CHALLENGE_WAIT) {
        return RAY_OK;
    }
    uint32_t magic = RAY__AUTH_MAGIC;
    if (memcmp(auth->in, &magic, auth->in_size < sizeof magic ? auth->in_size : sizeof magic) != 0) {
        return end_not_raystore(auth);
    }
    struct ray__auth_challenge common = {0};
    memcpy(&common, auth->in, auth->in_size < sizeof common ? auth->in_size : sizeof common);
    size_t versioned = hello ? offsetof(struct ray__auth_hello, purpose) : offsetof(struct ray__auth_challenge, zero);
    if (auth->in_size < versioned) {
        return RAY_OK;
    }
    if (common.version != RAY_PROTOCOL_VERSION) {
        if (hello) {
            say_challenge(auth, RAY_VERSION_MISMATCH, out, out_size);
        }
        return end_versions(auth, common.version);
    }
    return RAY_OK;
}

static size_t message_size(const ray_auth *auth) {
    switch (auth->state) {
    case STATE_HELLO_WAIT:
        return sizeof(struct ray__auth_hello);
    case STATE_CHALLENGE_WAIT:
        return sizeof(struct ray__auth_challenge);
    case STATE_PROOF_WAIT:
        return sizeof(struct ray__auth_proof);
    default:
        return sizeof(struct ray__auth_answer);
    }
}

static ray_status begin(ray_auth *auth, uint8_t *out, size_t *out_size) {
    struct ray__auth_hello hello = {.magic = RAY__AUTH_MAGIC, .version = RAY_PROTOCOL_VERSION, .purpose = auth->purpose};
    memcpy(hello.nonce, auth->own_nonce, sizeof hello.nonce);
    memcpy(out, &hello, sizeof hello);
    *out_size = sizeof hello;
    auth->state = STATE_CHALLENGE_WAIT;
    return RAY_AGAIN;
}

static ray_status take_message(ray_auth *auth, uint8_t *out, size_t *out_size) {
    auth->in_size = 0;
    switch (auth->state) {
    case STATE_HELLO_WAIT:
        return take_hello(auth, out, out_size);
    case STATE_CHALLENGE_WAIT:
        return take_challenge(auth, out, out_size);
    case STATE_PROOF_WAIT:
        return take_proof(auth, out, out_size);
    default:
        return take_answer(auth);
    }
}

ray_status ray_auth_step(ray_auth *auth, const uint8_t *in, size_t in_size, size_t *consumed, uint8_t *out, size_t *out_size) {
    *consumed = 0;
    *out_size = 0;
    if (auth->state == STATE_FAILED) {
        return ray__fail(auth->failure, "%s", auth->failure_text);
    }
    if (auth->state == STATE_PROVED) {
        return ray__fail(RAY_INVALID_ARGUMENT, "the authentication is over; further bytes belong to the next protocol");
    }
    if (auth->state == STATE_HELLO_SEND) {
        return begin(auth, out, out_size);
    }
    if (in == NULL || in_size == 0) {
        return RAY_AGAIN;
    }
    size_t wanted = message_size(auth) - auth->in_size;
    size_t taken = in_size < wanted ? in_size : wanted;
    memcpy(auth->in + auth->in_size, in, taken);
    auth->in_size += taken;
    *consumed = taken;
    RAY_TRY(check_beginning(auth, out, out_size));
    return taken < wanted ? RAY_AGAIN : take_message(auth, out, out_size);
}
