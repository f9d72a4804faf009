// SPDX-License-Identifier: Apache-2.0
#include "base/shm_internal.h"

#include <errno.h>
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/error_internal.h"

#ifndef MFD_NOEXEC_SEAL
#define MFD_NOEXEC_SEAL 0x0008u // Linux 6.3
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

ray_status ray__segment_map(int fd, uint64_t size_bytes, bool writable, void **address) {
    int protection = writable ? PROT_READ | PROT_WRITE : PROT_READ;
    void *mapped = mmap(NULL, (size_t)size_bytes, protection, MAP_SHARED | MAP_NORESERVE, fd, 0);
    if (mapped == MAP_FAILED) {
        return ray__fail_errno(RAY_OUT_OF_MEMORY, "map %llu bytes of shared memory", (unsigned long long)size_bytes);
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

ray_status ray__segment_reserve(int fd, uint64_t offset, uint64_t size_bytes) {
    // tmpfs itself would go on until the kernel kills somebody, so ask the machine first.
    RAY_TRY(ray__memory_check(size_bytes));
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
