// SPDX-License-Identifier: Apache-2.0
// Chooses the checksum's build for this machine.
#include "base/checksum_internal.h"

#include <stdatomic.h>

static const ray__checksum_variant *chosen_variant(void) {
    // Every thread chooses the same, so it does not matter who stores it.
    static _Atomic(const ray__checksum_variant *) chosen;
    const ray__checksum_variant *variant = atomic_load_explicit(&chosen, memory_order_acquire);
    if (variant == NULL) {
        const ray__checksum_variant *all[4];
        variant = all[ray__checksum_variants(all, 4) - 1];
        atomic_store_explicit(&chosen, variant, memory_order_release);
    }
    return variant;
}

size_t ray__checksum_variants(const ray__checksum_variant **variants, size_t capacity) {
    size_t count = 0;
    if (count < capacity) {
        variants[count++] = &ray__checksum_baseline;
    }
#if defined(__x86_64__)
    // These ask the processor and the kernel: a kernel that does not save the wide registers counts as not having them.
    __builtin_cpu_init();
    if (count < capacity && __builtin_cpu_supports("avx2")) {
        variants[count++] = &ray__checksum_avx2;
    }
    if (count < capacity && __builtin_cpu_supports("avx512f")) {
        variants[count++] = &ray__checksum_avx512;
    }
#endif
    return count;
}

uint64_t ray__checksum_of(const void *bytes, size_t size) {
    return chosen_variant()->of(bytes, size);
}

const char *ray__checksum_name(void) {
    return chosen_variant()->name;
}

void ray__checksum_begin(ray__checksum *sum) {
    chosen_variant()->begin(sum);
}

void ray__checksum_add(ray__checksum *sum, const void *bytes, size_t size) {
    chosen_variant()->add(sum, bytes, size);
}

uint64_t ray__checksum_copy(void *to, const void *from, size_t size) {
    return chosen_variant()->copy(to, from, size);
}

uint64_t ray__checksum_end(const ray__checksum *sum) {
    return chosen_variant()->end(sum);
}
