// SPDX-License-Identifier: Apache-2.0
// Memory protection keys: pages of a key can be reached only by a thread that has opened it. A thread's rights are a register, so opening
// is an instruction, not a system call. On x86-64 with pku; elsewhere there are none.
//
// The rights that a thread has by itself: those of who started it. Threads from before the key was made, and signal handlers, begin without
// any; a handler's return brings back what it interrupted.
#ifndef RAY_BASE_PKEY_INTERNAL_H
#define RAY_BASE_PKEY_INTERNAL_H

#include <stddef.h>
#include <stdint.h>

#include "raystore/status.h"

// Gives pages the key of this process, which is made the first time and kept until its end: a key that was given back could become another's
// while threads still have rights to it. *bits are those of the rights that shut it. A thread that has
// not opened it has it shut, unless somebody else in the process used the same key before and freed it with rights left.
// RAY_UNSUPPORTED when the processor or the kernel has no keys; RAY_IN_USE when the process uses all it has.
ray_status ray__pkey_protect(void *address, size_t size_bytes, uint32_t *bits);

#if defined(__x86_64__)

// As bytes: not every assembler that builds this knows the instructions.
static inline uint32_t ray__pkey_rights(void) {
    uint32_t rights;
    __asm__ volatile(".byte 0x0f,0x01,0xee" : "=a"(rights) : "c"(0) : "edx"); // rdpkru
    return rights;
}

// Nothing is moved across: what lies behind the key is touched between two of these.
static inline void ray__pkey_set_rights(uint32_t rights) {
    __asm__ volatile(".byte 0x0f,0x01,0xef" : : "a"(rights), "c"(0), "d"(0) : "memory"); // wrpkru
}

#else

// Never called: nothing has a key.
static inline uint32_t ray__pkey_rights(void) {
    return 0;
}

static inline void ray__pkey_set_rights(uint32_t rights) {
    (void)rights;
}

#endif
#endif
