// SPDX-License-Identifier: Apache-2.0
#include "base/pkey_internal.h"

#include <errno.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/atomic_internal.h"
#include "base/error_internal.h"

#define ACCESS_BITS 3u // a key's two bits of the rights: no access, no write

#if defined(__x86_64__)
#include <cpuid.h>

// The processor has keys and the kernel lets them be used.
static bool has_keys(void) {
    unsigned a;
    unsigned b;
    unsigned c;
    unsigned d;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (c & bit_OSPKE) != 0;
}
#else
static bool has_keys(void) {
    return false;
}
#endif

static uint32_t process_key; // 0: none yet; key 0 is everybody's

static ray_status take_key(uint32_t *key) {
    *key = ray__shm_load32(&process_key);
    if (*key != 0) {
        return RAY_OK;
    }
    if (!has_keys()) {
        return ray__fail(RAY_UNSUPPORTED, "this processor or kernel has no memory protection keys: attach without protection");
    }
#if defined(SYS_pkey_alloc)
    long made = syscall(SYS_pkey_alloc, 0, PKEY_DISABLE_ACCESS);
    if (made < 0) {
        return errno == ENOSPC
                   ? ray__fail(RAY_IN_USE, "this process uses all of its memory protection keys: free one, or attach without protection")
                   : ray__fail_errno(RAY_UNSUPPORTED, "make a memory protection key");
    }
    if (ray__shm_swap_if32(&process_key, key, (uint32_t)made)) {
        *key = (uint32_t)made;
    } else { // another thread was first
        (void)syscall(SYS_pkey_free, made);
    }
#endif
    return RAY_OK;
}

ray_status ray__pkey_protect(void *address, size_t size_bytes, uint32_t *bits) {
    uint32_t key;
    RAY_TRY(take_key(&key));
#if defined(SYS_pkey_mprotect)
    if (syscall(SYS_pkey_mprotect, address, size_bytes, PROT_READ | PROT_WRITE, key) != 0) {
        return ray__fail_errno(RAY_SYSTEM, "give %zu bytes a memory protection key", size_bytes);
    }
#else
    (void)address;
    (void)size_bytes;
#endif
    *bits = ACCESS_BITS << 2 * key;
    return RAY_OK;
}
