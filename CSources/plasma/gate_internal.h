// SPDX-License-Identifier: Apache-2.0
// The gate before the metadata: in a handle that is protected (ray_store_protect), no thread can touch the meta segment but inside a call.
//
// Every public function that touches it begins with RAY__GATE, which opens it for this thread and shuts it again when the function returns,
// by whatever way; inside another call it is open already and stays so. A thread of the library's own has a gate around all it does, and
// shuts it with ray__gate_pause while it calls somebody's code.
#ifndef RAY_PLASMA_GATE_INTERNAL_H
#define RAY_PLASMA_GATE_INTERNAL_H

#include <stdint.h>

#include "base/pkey_internal.h"

// The bits to set again at the end; 0: there is nothing to shut.
typedef struct ray__gate {
    uint32_t shut;
} ray__gate;

static inline ray__gate ray__gate_open(uint32_t bits) {
    ray__gate gate = {0};
    if (__builtin_expect(bits != 0, 0)) {
        uint32_t rights = ray__pkey_rights();
        gate.shut = rights & bits;
        if (gate.shut != 0) {
            ray__pkey_set_rights(rights & ~bits);
        }
    }
    return gate;
}

static inline void ray__gate_shut(const ray__gate *gate) {
    if (__builtin_expect(gate->shut != 0, 0)) {
        ray__pkey_set_rights(ray__pkey_rights() | gate->shut);
    }
}

#define RAY__GATE(store) __attribute__((cleanup(ray__gate_shut), unused)) const ray__gate ray__gate_here = ray__gate_open((store)->gate_bits)

// Around a call of somebody's code. Answers what ray__gate_resume wants.
static inline uint32_t ray__gate_pause(uint32_t bits) {
    uint32_t opened = 0;
    if (bits != 0) {
        uint32_t rights = ray__pkey_rights();
        opened = ~rights & bits;
        ray__pkey_set_rights(rights | bits);
    }
    return opened;
}

static inline void ray__gate_resume(uint32_t opened) {
    if (opened != 0) {
        ray__pkey_set_rights(ray__pkey_rights() & ~opened);
    }
}

#endif
