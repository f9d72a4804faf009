// SPDX-License-Identifier: Apache-2.0
// Goal: both ends of an authentication agree, or both say why not. Method: two state machines in one process, with the bytes
// between them in our hands.
#include <sodium.h>

#include "base/auth_internal.h"
#include "check.h"

typedef struct message {
    uint8_t bytes[RAY_AUTH_MESSAGE_MAX];
    size_t size;
} message;

static const ray_key key_a = {{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32}};
static const ray_key key_b = {{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 33}};

static ray_auth *make(const ray_key *key, uint32_t role, uint32_t purpose) {
    ray_auth *auth = NULL;
    CHECK_OK(ray_auth_create(key, role, purpose, &auth));
    return auth;
}

// Gives a whole message to one end.
static ray_status give(ray_auth *auth, const message *in, message *out) {
    size_t consumed = 0;
    ray_status status = ray_auth_step(auth, in != NULL ? in->bytes : NULL, in != NULL ? in->size : 0, &consumed, out->bytes, &out->size);
    CHECK(consumed <= (in != NULL ? in->size : 0));
    CHECK(out->size <= RAY_AUTH_MESSAGE_MAX);
    return status;
}

static void both_ends_prove_themselves(void) {
    ray_auth *connecting = make(&key_a, RAY_ROLE_CONNECTING, RAY_PURPOSE_BULK);
    ray_auth *accepting = make(&key_a, RAY_ROLE_ACCEPTING, RAY_PURPOSE_BULK);
    message hello, challenge, proof, answer, nothing;
    CHECK_STATUS(give(accepting, NULL, &nothing), RAY_AGAIN);
    CHECK_EQUAL(nothing.size, 0);
    CHECK_STATUS(give(connecting, NULL, &hello), RAY_AGAIN);
    CHECK_EQUAL(hello.size, 48);
    CHECK_STATUS(give(accepting, &hello, &challenge), RAY_AGAIN);
    CHECK_EQUAL(challenge.size, 48);
    CHECK_STATUS(give(connecting, &challenge, &proof), RAY_AGAIN);
    CHECK_EQUAL(proof.size, 32);
    CHECK_OK(give(accepting, &proof, &answer));
    CHECK_EQUAL(answer.size, 40);
    CHECK_OK(give(connecting, &answer, &nothing));
    CHECK_EQUAL(nothing.size, 0);
    CHECK_STATUS(give(connecting, &answer, &nothing), RAY_INVALID_ARGUMENT);
    ray_auth_destroy(connecting);
    ray_auth_destroy(accepting);
    ray_auth_destroy(NULL);
}

// RFC 4231, test case 2, shows that the primitive is HMAC-SHA256; then each proof on the wire is computed again here, from its
// definition in auth.h and not from the library's structure.
static void the_proofs_are_hmac_sha256_of_the_documented_text(void) {
    uint8_t mac[32];
    uint8_t jefe[32] = {'J', 'e', 'f', 'e'}; // HMAC pads a short key with zeros, so 32 bytes give the same
    static const uint8_t known[32] = {0x5b, 0xdc, 0xc1, 0x46, 0xbf, 0x60, 0x75, 0x4e, 0x6a, 0x04, 0x24, 0x26, 0x08, 0x95, 0x75, 0xc7,
                                      0x5a, 0x00, 0x3f, 0x08, 0x9d, 0x27, 0x39, 0x83, 0x9d, 0xec, 0x58, 0xb9, 0x64, 0xec, 0x38, 0x43};
    crypto_auth_hmacsha256(mac, (const uint8_t *)"what do ya want for nothing?", 28, jefe);
    CHECK(memcmp(mac, known, 32) == 0);

    ray_auth *connecting = make(&key_a, RAY_ROLE_CONNECTING, RAY_PURPOSE_CONTROL);
    ray_auth *accepting = make(&key_a, RAY_ROLE_ACCEPTING, RAY_PURPOSE_CONTROL);
    message hello, challenge, proof, answer;
    CHECK_STATUS(give(connecting, NULL, &hello), RAY_AGAIN);
    CHECK_STATUS(give(accepting, &hello, &challenge), RAY_AGAIN);
    CHECK_STATUS(give(connecting, &challenge, &proof), RAY_AGAIN);
    CHECK_OK(give(accepting, &proof, &answer));
    uint8_t text[72] = {'c', 0, 0, 0, RAY_PURPOSE_CONTROL, 0, 0, 0};
    memcpy(text + 8, hello.bytes + 16, 32);
    memcpy(text + 40, challenge.bytes + 16, 32);
    crypto_auth_hmacsha256(mac, text, sizeof text, key_a.bytes);
    CHECK(memcmp(mac, proof.bytes, 32) == 0);
    text[0] = 's';
    memcpy(text + 8, challenge.bytes + 16, 32);
    memcpy(text + 40, hello.bytes + 16, 32);
    crypto_auth_hmacsha256(mac, text, sizeof text, key_a.bytes);
    CHECK(memcmp(mac, answer.bytes + 8, 32) == 0);
    ray_auth_destroy(connecting);
    ray_auth_destroy(accepting);
}

// Runs an exchange in which one bit of one message is wrong (which: 0 hello, 1 challenge, 2 proof, 3 answer). Answers whether either
// end took the other for proved after the flip; *bits says how many bits that message has.
static bool anyone_fooled(int which, size_t bit, size_t *bits) {
    ray_auth *ends[2] = {make(&key_a, RAY_ROLE_CONNECTING, RAY_PURPOSE_BULK), make(&key_a, RAY_ROLE_ACCEPTING, RAY_PURPOSE_BULK)};
    message carried;
    CHECK_STATUS(give(ends[0], NULL, &carried), RAY_AGAIN);
    ray_status told[2] = {RAY_AGAIN, RAY_AGAIN};
    for (int step = 0; step < 4; step++) {
        int to = (step + 1) % 2;
        if (step == which) {
            *bits = 8 * carried.size;
            carried.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        }
        message out;
        told[to] = give(ends[to], &carried, &out);
        carried = out;
        if (told[to] != RAY_AGAIN && told[to] != RAY_OK) {
            CHECK(ray_last_error_message()[0] != '\0');
            break;
        }
    }
    // A flip in the answer comes after the connecting end has proved itself truthfully; the accepting end is right to say so.
    bool fooled = told[0] == RAY_OK || (which < 3 && told[1] == RAY_OK);
    ray_auth_destroy(ends[0]);
    ray_auth_destroy(ends[1]);
    return fooled;
}

static void every_flipped_bit_is_refused(void) {
    for (int which = 0; which < 4; which++) {
        size_t bits = 1;
        for (size_t bit = 0; bit < bits; bit++) {
            if (anyone_fooled(which, bit, &bits)) {
                fprintf(stderr, "bit %zu of message %d is not covered\n", bit, which);
                exit(1);
            }
        }
        CHECK(bits >= 256);
    }
}

static void a_wrong_key_is_refused_at_both_ends(void) {
    ray_auth *connecting = make(&key_b, RAY_ROLE_CONNECTING, RAY_PURPOSE_CONTROL);
    ray_auth *accepting = make(&key_a, RAY_ROLE_ACCEPTING, RAY_PURPOSE_CONTROL);
    message a, b;
    CHECK_STATUS(give(connecting, NULL, &a), RAY_AGAIN);
    CHECK_STATUS(give(accepting, &a, &b), RAY_AGAIN);
    CHECK_STATUS(give(connecting, &b, &a), RAY_AGAIN);
    CHECK_STATUS(give(accepting, &a, &b), RAY_KEY_REFUSED);
    CHECK(strstr(ray_last_error_message(), "does not hold this cluster's key") != NULL);
    CHECK_EQUAL(b.size, 40);
    for (size_t i = 8; i < b.size; i++) {
        CHECK_EQUAL(b.bytes[i], 0); // a refused stranger learns no mac
    }
    CHECK_STATUS(give(connecting, &b, &a), RAY_KEY_REFUSED);
    CHECK_EQUAL(a.size, 0);
    CHECK_STATUS(give(connecting, &b, &a), RAY_KEY_REFUSED);
    CHECK(strstr(ray_last_error_message(), "does not hold this cluster's key") != NULL);
    ray_auth_destroy(connecting);
    ray_auth_destroy(accepting);
}

// A peer without the key that plays the accepting end must not be taken for a node, whatever it sends back.
static void a_false_node_cannot_reflect_the_proof(void) {
    ray_auth *connecting = make(&key_a, RAY_ROLE_CONNECTING, RAY_PURPOSE_CONTROL);
    message hello, proof, nothing;
    CHECK_STATUS(give(connecting, NULL, &hello), RAY_AGAIN);
    message challenge = hello; // the same nonce back
    memset(challenge.bytes + 8, 0, 8);
    CHECK_STATUS(give(connecting, &challenge, &proof), RAY_AGAIN);
    message answer = {.size = 40};
    memcpy(answer.bytes + 8, proof.bytes, 32);
    CHECK_STATUS(give(connecting, &answer, &nothing), RAY_KEY_REFUSED);
    ray_auth_destroy(connecting);
}

static void a_wrong_purpose_is_refused_at_both_ends(void) {
    ray_auth *connecting = make(&key_a, RAY_ROLE_CONNECTING, RAY_PURPOSE_BULK);
    ray_auth *accepting = make(&key_a, RAY_ROLE_ACCEPTING, RAY_PURPOSE_CONTROL);
    message a, b;
    CHECK_STATUS(give(connecting, NULL, &a), RAY_AGAIN);
    CHECK_STATUS(give(accepting, &a, &b), RAY_PROTOCOL);
    CHECK(strstr(ray_last_error_message(), "bulk") != NULL && strstr(ray_last_error_message(), "control") != NULL);
    CHECK_STATUS(give(connecting, &b, &a), RAY_PROTOCOL);
    CHECK(strstr(ray_last_error_message(), "bulk") != NULL);
    ray_auth_destroy(connecting);
    ray_auth_destroy(accepting);
}

static void another_version_is_named_at_both_ends(void) {
    ray_auth *accepting = make(&key_a, RAY_ROLE_ACCEPTING, RAY_PURPOSE_BULK);
    message hello = {.size = 8, .bytes = {'R', 'A', 'Y', 'S', 77}}; // a later version's hello may go on in any way
    message challenge, nothing;
    CHECK_STATUS(give(accepting, &hello, &challenge), RAY_VERSION_MISMATCH);
    char ours[32];
    snprintf(ours, sizeof ours, "version %u;", (unsigned)RAY_PROTOCOL_VERSION);
    CHECK(strstr(ray_last_error_message(), "version 77") != NULL && strstr(ray_last_error_message(), ours) != NULL);
    CHECK_EQUAL(challenge.size, 48);

    ray_auth *connecting = make(&key_a, RAY_ROLE_CONNECTING, RAY_PURPOSE_BULK);
    CHECK_STATUS(give(connecting, NULL, &hello), RAY_AGAIN);
    challenge.bytes[4] = 77; // as the other version would say it
    challenge.size = 12;
    CHECK_STATUS(give(connecting, &challenge, &nothing), RAY_VERSION_MISMATCH);
    CHECK(strstr(ray_last_error_message(), "version 77") != NULL && strstr(ray_last_error_message(), ours) != NULL);
    ray_auth_destroy(connecting);
    ray_auth_destroy(accepting);
}

static void bytes_may_come_one_at_a_time(void) {
    ray_auth *ends[2] = {make(&key_a, RAY_ROLE_CONNECTING, RAY_PURPOSE_BULK), make(&key_a, RAY_ROLE_ACCEPTING, RAY_PURPOSE_BULK)};
    message carried;
    CHECK_STATUS(give(ends[0], NULL, &carried), RAY_AGAIN);
    for (int step = 0; step < 4; step++) {
        int to = (step + 1) % 2;
        message out = {.size = 0};
        for (size_t i = 0; i < carried.size; i++) {
            size_t consumed = 0;
            ray_status status = ray_auth_step(ends[to], carried.bytes + i, 1, &consumed, out.bytes, &out.size);
            CHECK_EQUAL(consumed, 1);
            bool last = i + 1 == carried.size;
            CHECK_STATUS(status, last && step >= 2 ? RAY_OK : RAY_AGAIN);
            CHECK_EQUAL(out.size > 0, last && step < 3);
        }
        carried = out;
    }
    ray_auth_destroy(ends[0]);
    ray_auth_destroy(ends[1]);
}

static void a_truncated_message_proves_nothing(void) {
    ray_auth *connecting = make(&key_a, RAY_ROLE_CONNECTING, RAY_PURPOSE_BULK);
    ray_auth *accepting = make(&key_a, RAY_ROLE_ACCEPTING, RAY_PURPOSE_BULK);
    message a, b;
    CHECK_STATUS(give(connecting, NULL, &a), RAY_AGAIN);
    CHECK_STATUS(give(accepting, &a, &b), RAY_AGAIN);
    CHECK_STATUS(give(connecting, &b, &a), RAY_AGAIN);
    a.size--;
    CHECK_STATUS(give(accepting, &a, &b), RAY_AGAIN);
    CHECK_EQUAL(b.size, 0);
    CHECK_STATUS(give(accepting, NULL, &b), RAY_AGAIN);
    ray_auth_destroy(connecting);
    ray_auth_destroy(accepting);
}

static void bytes_of_the_next_protocol_are_not_consumed(void) {
    ray_auth *connecting = make(&key_a, RAY_ROLE_CONNECTING, RAY_PURPOSE_BULK);
    ray_auth *accepting = make(&key_a, RAY_ROLE_ACCEPTING, RAY_PURPOSE_BULK);
    message a, b;
    CHECK_STATUS(give(connecting, NULL, &a), RAY_AGAIN);
    CHECK_STATUS(give(accepting, &a, &b), RAY_AGAIN);
    CHECK_STATUS(give(connecting, &b, &a), RAY_AGAIN);
    uint8_t with_more[64];
    memset(with_more, 'x', sizeof with_more);
    memcpy(with_more, a.bytes, a.size);
    size_t consumed = 0;
    CHECK_OK(ray_auth_step(accepting, with_more, sizeof with_more, &consumed, b.bytes, &b.size));
    CHECK_EQUAL(consumed, 32);
    memset(with_more, 'x', sizeof with_more);
    memcpy(with_more, b.bytes, b.size);
    CHECK_OK(ray_auth_step(connecting, with_more, sizeof with_more, &consumed, a.bytes, &a.size));
    CHECK_EQUAL(consumed, 40);
    ray_auth_destroy(connecting);
    ray_auth_destroy(accepting);
}

static void a_stranger_is_turned_away_at_its_first_wrong_byte(void) {
    ray_auth *accepting = make(&key_a, RAY_ROLE_ACCEPTING, RAY_PURPOSE_CONTROL);
    message request = {.size = 4, .bytes = "GET "}, out;
    CHECK_STATUS(give(accepting, &request, &out), RAY_PROTOCOL);
    CHECK_EQUAL(out.size, 0);
    ray_auth_destroy(accepting);
    accepting = make(&key_a, RAY_ROLE_ACCEPTING, RAY_PURPOSE_CONTROL);
    message first = {.size = 1, .bytes = "G"};
    CHECK_STATUS(give(accepting, &first, &out), RAY_PROTOCOL);
    ray_auth_destroy(accepting);
}

static void random_bytes_never_prove_anything(void) {
    uint64_t seed = check_seed();
    for (int round = 0; round < 20000; round++) {
        bool accepts = round % 2 != 0;
        ray_auth *auth = make(&key_a, accepts ? RAY_ROLE_ACCEPTING : RAY_ROLE_CONNECTING, RAY_PURPOSE_CONTROL);
        message out;
        CHECK_STATUS(give(auth, NULL, &out), RAY_AGAIN);
        ray_status status = RAY_AGAIN;
        for (int part = 0; part < 6 && status == RAY_AGAIN; part++) {
            message in = {.size = check_random(&seed) % 60};
            for (size_t i = 0; i < in.size; i++) {
                in.bytes[i] = (uint8_t)check_random(&seed);
            }
            if (part == 0 && in.size >= 16) { // beyond the first bytes, or nothing else would be reached
                struct ray__auth_hello start = {.magic = RAY__AUTH_MAGIC, .version = 1, .purpose = accepts ? RAY_PURPOSE_CONTROL : 0};
                memcpy(in.bytes, &start, 16);
            }
            status = give(auth, &in, &out);
        }
        CHECK(status != RAY_OK);
        ray_auth_destroy(auth);
    }
}

static void a_role_or_purpose_that_is_none_is_refused(void) {
    ray_auth *auth = NULL;
    CHECK_STATUS(ray_auth_create(&key_a, 0, RAY_PURPOSE_BULK, &auth), RAY_INVALID_ARGUMENT);
    CHECK_STATUS(ray_auth_create(&key_a, 3, RAY_PURPOSE_BULK, &auth), RAY_INVALID_ARGUMENT);
    CHECK_STATUS(ray_auth_create(&key_a, RAY_ROLE_CONNECTING, 0, &auth), RAY_INVALID_ARGUMENT);
    CHECK_STATUS(ray_auth_create(&key_a, RAY_ROLE_CONNECTING, 3, &auth), RAY_INVALID_ARGUMENT);
    CHECK(auth == NULL);
}

int main(void) {
    RUN(both_ends_prove_themselves);
    RUN(the_proofs_are_hmac_sha256_of_the_documented_text);
    RUN(every_flipped_bit_is_refused);
    RUN(a_wrong_key_is_refused_at_both_ends);
    RUN(a_false_node_cannot_reflect_the_proof);
    RUN(a_wrong_purpose_is_refused_at_both_ends);
    RUN(another_version_is_named_at_both_ends);
    RUN(bytes_may_come_one_at_a_time);
    RUN(a_truncated_message_proves_nothing);
    RUN(bytes_of_the_next_protocol_are_not_consumed);
    RUN(a_stranger_is_turned_away_at_its_first_wrong_byte);
    RUN(random_bytes_never_prove_anything);
    RUN(a_role_or_purpose_that_is_none_is_refused);
    return 0;
}
