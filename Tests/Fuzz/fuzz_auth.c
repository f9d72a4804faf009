// SPDX-License-Identifier: Apache-2.0
// The challenge, from a peer that does not hold the key: whatever it sends, in pieces of any size, it must not be let in.
//
// The first byte says the role and the purpose, the second how large the pieces are.
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 2) {
        return 0;
    }
    uint32_t role = (data[0] & 1) != 0 ? RAY_ROLE_CONNECTING : RAY_ROLE_ACCEPTING;
    uint32_t purpose = (data[0] & 2) != 0 ? RAY_PURPOSE_CONTROL : RAY_PURPOSE_BULK;
    size_t piece = data[1];
    uint8_t *bytes = copy_exactly(data + 2, size - 2);
    size -= 2;
    static ray_key key;
    static bool has_key;
    if (!has_key) {
        ray_key_random(&key);
        has_key = true;
    }
    ray_auth *auth;
    MUST(ray_auth_create(&key, role, purpose, &auth) == RAY_OK);
    uint8_t *out = malloc(RAY_AUTH_MESSAGE_MAX);
    MUST(out != NULL);
    size_t out_size;
    size_t consumed;
    ray_status status = ray_auth_step(auth, NULL, 0, &consumed, out, &out_size);
    size_t at = 0;
    while (status == RAY_AGAIN && at < size) {
        size_t given = piece != 0 && piece < size - at ? piece : size - at;
        status = ray_auth_step(auth, bytes + at, given, &consumed, out, &out_size);
        MUST(consumed <= given && out_size <= RAY_AUTH_MESSAGE_MAX);
        MUST(consumed > 0 || status != RAY_AGAIN); // else its caller would go round for ever
        read_all(out, out_size);
        at += consumed;
    }
    MUST(status != RAY_OK);
    if (status != RAY_AGAIN) {
        MUST(status == RAY_PROTOCOL || status == RAY_VERSION_MISMATCH || status == RAY_KEY_REFUSED);
        // A refusal stays one.
        MUST(ray_auth_step(auth, bytes, size, &consumed, out, &out_size) == status && consumed == 0);
    }
    ray_auth_destroy(auth);
    free(out);
    free(bytes);
    return 0;
}
