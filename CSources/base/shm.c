// SPDX-License-Identifier: Apache-2.0
#include "base/shm_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <stdatomic.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error_internal.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008u // Linux 6.3
#endif

// Linux 5.14 and 6.1; an older libc does not name them, an older kernel answers EINVAL.
#ifndef MADV_POPULATE_WRITE
#define MADV_POPULATE_WRITE 23
#endif
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

#define SIZE_SEALS (F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_SEAL)

ray_status ray__segment_create(const char *name, uint64_t size_bytes, int *fd) {
    int made = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING | MFD_NOEXEC_SEAL);
    if (made < 0 && errno == EINVAL) {
        made = memfd_create(name, MFD_CLOEXEC | MFD_ALLOW_SEALING); // an older kernel
    }
    if (made < 0) {
        return ray__fail_errno(RAY_SYSTEM, "make shared memory '%s'", name);
    }
    // Whoever is given a descriptor for reading could else reopen it for writing through /proc/self/fd, as another user too: a memfd is
    // open to all. Descriptors that are open already keep what they may.
    if (fchmod(made, 0400) != 0) {
        ray__fd_close(made);
        return ray__fail_errno(RAY_SYSTEM, "close shared memory '%s' to others", name);
    }
    if (ftruncate(made, (off_t)size_bytes) != 0) {
        ray__fd_close(made);
        return ray__fail_errno(RAY_SYSTEM, "size shared memory '%s' to %llu bytes", name, (unsigned long long)size_bytes);
    }
    if (fcntl(made, F_ADD_SEALS, SIZE_SEALS) != 0) {
        ray__fd_close(made);
        return ray__fail_errno(RAY_SYSTEM, "seal the size of shared memory '%s'", name);
    }
    *fd = made;
    return RAY_OK;
}

ray_status ray__segment_size(int fd, uint64_t *size_bytes) {
    struct stat found;
    if (fstat(fd, &found) != 0) {
        return ray__fail_errno(RAY_SYSTEM, "look at the store's shared memory, descriptor %d", fd);
    }
    int seals = fcntl(fd, F_GET_SEALS);
    if (seals < 0 || (seals & F_SEAL_SHRINK) == 0) {
        return ray__fail(RAY_LAYOUT_MISMATCH, "descriptor %d is not a segment of a store: its size is not sealed", fd);
    }
    *size_bytes = (uint64_t)found.st_size;
    return RAY_OK;
}

// Address space for a mapping that begins at a multiple of the huge page. NULL when there is none.
static void *find_aligned(uint64_t size_bytes) {
    size_t whole = (size_t)size_bytes + RAY__HUGE_PAGE;
    uint8_t *found = mmap(NULL, whole, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (found == MAP_FAILED) {
        return NULL;
    }
    size_t front = (RAY__HUGE_PAGE - (uintptr_t)found % RAY__HUGE_PAGE) % RAY__HUGE_PAGE;
    if (front != 0) {
        munmap(found, front);
    }
    uint64_t end = (size_bytes + RAY__PAGE_SIZE - 1) / RAY__PAGE_SIZE * RAY__PAGE_SIZE;
    munmap(found + front + end, whole - front - (size_t)end);
    return found + front;
}

ray_status ray__segment_reopen(int fd, int *read_only_fd) {
    char path[32];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    *read_only_fd = open(path, O_RDONLY | O_CLOEXEC);
    if (*read_only_fd < 0) {
        return ray__fail_errno(RAY_SYSTEM, "open the store's data for reading only, through %s; /proc must be mounted", path);
    }
    return RAY_OK;
}

ray_status ray__segment_map(int fd, uint64_t size_bytes, bool writable, void **address) {
    int protection = writable ? PROT_READ | PROT_WRITE : PROT_READ;
    // Page tables of huge pages need the file's offset and the address to agree.
    void *aligned = size_bytes >= RAY__HUGE_PAGE ? find_aligned(size_bytes) : NULL;
    int flags = MAP_SHARED | MAP_NORESERVE | (aligned != NULL ? MAP_FIXED : 0);
    void *mapped = mmap(aligned, (size_t)size_bytes, protection, flags, fd, 0);
    if (mapped == MAP_FAILED) {
        ray_status status =
            ray__fail_errno(RAY_OUT_OF_MEMORY, "map %llu bytes of shared memory", (unsigned long long)size_bytes);
        ray__segment_unmap(aligned, size_bytes);
        return status;
    }
    // Advice only: a kernel that does not take it has larger core dumps, nothing worse.
    (void)madvise(mapped, (size_t)size_bytes, MADV_DONTDUMP);
    *address = mapped;
    return RAY_OK;
}

void ray__segment_unmap(void *address, uint64_t size_bytes) {
    if (address != NULL) {
        munmap(address, (size_t)size_bytes);
    }
}

// Makes huge pages of the whole pieces in a range, most of whose memory is not there yet. Collapsing one page and 511 holes
// costs no more than clearing the huge page: 2 x 50 MiB took 14 ms with two threads, fallocate 60 ms, a fault for each page 55 ms. It is
// asked for by name, so it works where shmem_enabled says "never", too. Advice: what is refused comes in small pages.
static void gather(int fd, uint8_t *mapped, uint64_t begin, uint64_t end) {
    static _Atomic bool unknown_to_kernel;
    if (begin >= end || atomic_load_explicit(&unknown_to_kernel, memory_order_relaxed)) {
        return;
    }
    for (uint64_t at = begin; at < end; at += RAY__HUGE_PAGE) {
        if (fallocate(fd, 0, (off_t)at, 1) != 0) { // an empty piece would not be collapsed
            return;
        }
    }
    if (madvise(mapped + begin, (size_t)(end - begin), MADV_COLLAPSE) != 0 && errno == EINVAL) {
        atomic_store_explicit(&unknown_to_kernel, true, memory_order_relaxed);
    }
}

ray_status ray__segment_reserve(int fd, uint8_t *mapped, uint64_t offset, uint64_t size_bytes) {
    // tmpfs itself would go on until the kernel kills somebody, so ask the machine first.
    RAY_TRY(ray__memory_check(size_bytes));
    uint64_t begin = (offset + RAY__HUGE_PAGE - 1) / RAY__HUGE_PAGE * RAY__HUGE_PAGE;
    gather(fd, mapped, begin, (offset + size_bytes) / RAY__HUGE_PAGE * RAY__HUGE_PAGE);
    int result;
    do {
        result = fallocate(fd, 0, (off_t)offset, (off_t)size_bytes);
    } while (result != 0 && errno == EINTR);
    if (result != 0) {
        return ray__fail_errno(RAY_OUT_OF_MEMORY, "take %llu bytes of memory for the store",
                               (unsigned long long)size_bytes);
    }
    return RAY_OK;
}

void ray__segment_touch(uint8_t *address, uint64_t size_bytes) {
    (void)madvise(address, (size_t)size_bytes, MADV_POPULATE_WRITE);
}

void *ray__private_map(uint64_t size_bytes) {
    void *mapped =
        mmap(NULL, (size_t)size_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return mapped == MAP_FAILED ? NULL : mapped;
}

void ray__fd_close(int fd) {
    if (fd >= 0) {
        int saved = errno;
        close(fd);
        errno = saved;
    }
}
