// SPDX-License-Identifier: Apache-2.0
// Checksums ahead of transfers: computed in idle time, so that the first pull of an object need not wait for them.
//
// Two threads. The *clerk* finds what has no sums yet: it looks at the ring of what was sealed lately in the store, and
// is told of files. The *hasher* does the work and runs only while nobody else wants its core; so it holds no lock, no pin and no place
// that anybody could wait for: objects are read by glimpses (plasma/glimpse_internal.h), files are read for it by the clerk (ahead_file_internal.h), and sums
// are stored one by one, where a transfer that begins meanwhile finds them. It leaves an object as soon as somebody opens that.
#ifndef RAY_TRANSFER_AHEAD_INTERNAL_H
#define RAY_TRANSFER_AHEAD_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "raystore/transfer.h"

typedef struct ray__ahead ray__ahead;

typedef struct ray__ahead_figures {
    uint64_t hashed_bytes;
    uint64_t pending_count; // objects and files that have no sums, as of the last look
    uint64_t pending_bytes;
} ray__ahead_figures;

ray_status ray__ahead_start(ray_transfer *transfer, ray__ahead **ahead) RAY_NODISCARD;
// Returns when both threads have ended, within the time of a piece. Accepts NULL.
void ray__ahead_stop(ray__ahead *ahead);
// A file that is to be hashed once it has not been changed for a moment.
ray_status ray__ahead_ask(ray__ahead *ahead, const ray_object_id *id, const char *path) RAY_NODISCARD;
// On return the object's file is not open to be hashed.
void ray__ahead_let_go(ray__ahead *ahead, const ray_object_id *id);
void ray__ahead_read(ray__ahead *ahead, ray__ahead_figures *figures);

#endif
