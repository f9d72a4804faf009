// SPDX-License-Identifier: Apache-2.0
// Checksum: XXH3-64 of bytes in memory, whole or piece by piece.
//
// The same code is compiled several times for different instruction sets and one build is chosen when first used; all give the same
// value. Pieces of about 256 KiB stay in a core's cache between being received and being hashed.
#ifndef RAY_BASE_CHECKSUM_INTERNAL_H
#define RAY_BASE_CHECKSUM_INTERNAL_H

#include <stddef.h>
#include <stdint.h>

#define RAY_CHECKSUM_PIECE (256u << 10)

// Room for the state of any variant; checksum_variant_internal.h asserts that it is enough.
typedef struct ray__checksum {
    _Alignas(64) uint8_t opaque[640];
} ray__checksum;

uint64_t ray__checksum_of(const void *bytes, size_t size);
// Of the build that it was computed with.
const char *ray__checksum_name(void);

void ray__checksum_begin(ray__checksum *sum);
void ray__checksum_add(ray__checksum *sum, const void *bytes, size_t size);
uint64_t ray__checksum_end(const ray__checksum *sum);
// Copies bytes to memory that is not read again soon, past the caches, and answers their checksum: in the time of the copy, if `to` is aligned to 64 bytes.
// Others see the bytes as they would after memcpy. The two do not overlap.
uint64_t ray__checksum_copy(void *to, const void *from, size_t size);

// One build of the code, for one instruction set.
typedef struct ray__checksum_variant {
    const char *name;
    uint64_t (*of)(const void *bytes, size_t size);
    void (*begin)(ray__checksum *sum);
    void (*add)(ray__checksum *sum, const void *bytes, size_t size);
    uint64_t (*end)(const ray__checksum *sum);
    uint64_t (*copy)(void *to, const void *from, size_t size);
} ray__checksum_variant;

// The variants that this machine can run, the fastest last. For tests and benchmarks.
size_t ray__checksum_variants(const ray__checksum_variant **variants, size_t capacity);

extern const ray__checksum_variant ray__checksum_baseline;
#if defined(__x86_64__)
extern const ray__checksum_variant ray__checksum_avx2;
extern const ray__checksum_variant ray__checksum_avx512;
#endif

#endif
