// SPDX-License-Identifier: Apache-2.0
// Copying around the caches, for what is too much to be found in them later.
#ifndef RAY_BASE_AROUND_INTERNAL_H
#define RAY_BASE_AROUND_INTERNAL_H

#include <stddef.h>

// Copies to memory that is not read again soon. It is not fetched before it is overwritten, and what the caches have stays there. Others see
// the bytes as they would after memcpy. The two do not overlap.
void ray__copy_around(void *to, const void *from, size_t size);

#endif
