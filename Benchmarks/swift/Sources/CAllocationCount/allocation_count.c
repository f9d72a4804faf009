// SPDX-License-Identifier: Apache-2.0
// glibc lets a program bring its own malloc; this one counts and hands on to glibc's, by the names that glibc keeps for that.
#include "allocation_count.h"

#include <errno.h>
#include <stddef.h>

void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *block, size_t size);
void *__libc_memalign(size_t alignment, size_t size);

// A thread's own: a shared counter would be what the figures measure. In the executable's own part, so that asking for it allocates nothing.
static _Thread_local uint64_t blocks __attribute__((tls_model("initial-exec")));

uint64_t allocation_count(void) {
    return blocks;
}

void *malloc(size_t size) {
    blocks++;
    return __libc_malloc(size);
}

void *calloc(size_t count, size_t size) {
    blocks++;
    return __libc_calloc(count, size);
}

void *realloc(void *block, size_t size) {
    blocks++;
    return __libc_realloc(block, size);
}

void *memalign(size_t alignment, size_t size) {
    blocks++;
    return __libc_memalign(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size) {
    blocks++;
    return __libc_memalign(alignment, size);
}

int posix_memalign(void **block, size_t alignment, size_t size) {
    blocks++;
    *block = __libc_memalign(alignment, size);
    return *block == NULL ? ENOMEM : 0;
}
