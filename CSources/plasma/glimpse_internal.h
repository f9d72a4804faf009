// SPDX-License-Identifier: Apache-2.0
// Glimpse: a sealed object read without a pin.
//
// A pin keeps a value where it is for as long as its holder takes, and one that gets no core takes for ever. A glimpse keeps nothing: the
// value may go while its bytes are read, and its memory be another's. So whoever has read asks whether the value was there all the time, and
// throws away what was read if it was not.
//
// Caveats: nothing of what was read may be used before that. A value that others get while new ones are made may be said to be gone
// though it is not; then look again.
#ifndef RAY_PLASMA_GLIMPSE_INTERNAL_H
#define RAY_PLASMA_GLIMPSE_INTERNAL_H

#include "raystore/store.h"

typedef struct ray__glimpse {
    ray_object_id id;
    const uint8_t *data;
    uint64_t data_size;
    uint64_t used;       // when it was last used, by the store's clock
    uint64_t stamp;      // ray__object_stamp
    uint64_t place;      // private, as the rest
    uint64_t generation;
    uint64_t tick;
    uint32_t entry;
} ray__glimpse;

// Tells a value from another that the id had before, in this store.
static inline uint64_t ray__object_stamp(uint32_t entry, uint64_t generation) {
    return generation << 32 | entry;
}

// False when the object is not sealed here, or has no data.
bool ray__glimpse_begin(ray_store *store, const ray_object_id *id, ray__glimpse *glimpse);

// Whether all that was read of the data since the begin was this object's.
bool ray__glimpse_holds(ray_store *store, const ray__glimpse *glimpse);

// ---- large objects sealed lately -------------------------------------------------------------------------------------------
// A seal says nothing to the node. One of a large object leaves its entry's number in a ring in shared memory, where the node may look.

enum ray__sealed {
    RAY__SEALED_NONE,    // all were seen
    RAY__SEALED_FOUND,
    RAY__SEALED_PENDING, // the next one is about to be written; if that takes long its writer is dead: go on behind it
};

// The next one that is still sealed here, from *position on: 0 at first, then as it was left. What was overtaken in the ring is passed over.
// One may be told twice: when it has the entry of another that has gone.
enum ray__sealed ray__sealed_next(ray_store *store, uint32_t *position, ray__glimpse *glimpse);

#endif
