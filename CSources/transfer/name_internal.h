// SPDX-License-Identifier: Apache-2.0
// What is served by name.
#ifndef RAY_TRANSFER_NAME_INTERNAL_H
#define RAY_TRANSFER_NAME_INTERNAL_H

#include "raystore/transfer.h"

// The id under which it travels: BLAKE2b-224 of the name, with a key of its own.
ray_object_id ray__name_id(const char *name);
ray_status ray__name_check(const char *name) RAY_NODISCARD;

#endif
