// SPDX-License-Identifier: Apache-2.0
// ray_store_protect: puts the gate before the metadata. See gate_internal.h.
#include <stdlib.h>
#include <string.h>

#include "plasma/store_internal.h"

ray_status ray_store_protect(ray_store *store) {
    RAY__GATE(store);
    RAY_TRY(ray__store_enter(store));
    if (store->gate_bits != 0) {
        return RAY_OK;
    }
    uint32_t bits;
    RAY_TRY(ray__pkey_protect(store->header, store->layout.meta_size, &bits));
    store->gate_bits = bits;
    return RAY_OK;
}

ray_status ray__store_protect_if_wanted(ray_store *store) {
    const char *wanted = getenv("RAYSTORE_PROTECT");
    return wanted != NULL && strcmp(wanted, "1") == 0 ? ray_store_protect(store) : RAY_OK;
}
