// SPDX-License-Identifier: Apache-2.0
// What is served by name travels under an id made from the name, so that frames, offers and cached checksums of two names never meet.
#include "transfer/name_internal.h"

#include <sodium.h>
#include <string.h>

#include "base/error_internal.h"

ray_object_id ray__name_id(const char *name) {
    static const uint8_t purpose[16] = {'r', 'a', 'y', 's', 't', 'o', 'r', 'e', ' ', 'b', 'y', ' ', 'n', 'a', 'm', 'e'};
    ray_object_id id;
    crypto_generichash(id.bytes, sizeof id.bytes, (const uint8_t *)name, strlen(name), purpose, sizeof purpose);
    return id;
}

ray_status ray__name_check(const char *name) {
    size_t length = strnlen(name, RAY_NAME_MAX + 1);
    if (length == 0 || length > RAY_NAME_MAX) {
        return ray__fail(RAY_INVALID_ARGUMENT, "a name has 1 to %d bytes, not %zu", RAY_NAME_MAX, length);
    }
    return RAY_OK;
}
