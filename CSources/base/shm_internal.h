// SPDX-License-Identifier: Apache-2.0
// Segments of shared memory: anonymous files whose size is sealed.
#ifndef RAY_BASE_SHM_INTERNAL_H
#define RAY_BASE_SHM_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "raystore/status.h"

// Makes a segment of exactly size_bytes (a multiple of the page) that can neither shrink nor grow. Takes no memory yet.
ray_status ray__segment_create(const char *name, uint64_t size_bytes, int *fd);

// The size of a segment that another process made. RAY_LAYOUT_MISMATCH if it is not one or could still shrink.
ray_status ray__segment_size(int fd, uint64_t *size_bytes);

// A second, independent descriptor of the segment that can be neither written nor mapped writable. The mode of a segment (0400) lets no
// process that may not ignore modes reopen it for writing.
ray_status ray__segment_reopen(int fd, int *read_only_fd);

#define RAY__PAGE_SIZE 4096u
#define RAY__HUGE_PAGE (2u << 20)

// Maps the whole segment, shared, and keeps it out of core dumps. From one huge page on the address is a multiple of that.
ray_status ray__segment_map(int fd, uint64_t size_bytes, bool writable, void **address);
void ray__segment_unmap(void *address, uint64_t size_bytes);

// Takes memory for a range, so that touching it cannot fail: in huge pages where the kernel gives them and the whole segment is mapped
// (else NULL). RAY_OUT_OF_MEMORY, with nothing taken, when the machine or a control group of this process has too little.
ray_status ray__segment_reserve(int fd, uint8_t *mapped, uint64_t offset, uint64_t size_bytes);

// Enters a mapped range that has memory into this process's page tables, so that writing finds it there. Advice.
void ray__segment_touch(uint8_t *address, uint64_t size_bytes);

// Zeroed private memory that is taken page by page as it is touched. NULL when there is no address space left.
void *ray__private_map(uint64_t size_bytes);

// memory.c: how much can still be taken, a margin for others left: of the machine and of each control group that this process is in.
uint64_t ray__memory_left(void);
// RAY_OUT_OF_MEMORY with what is left, what must stay free, and whose limit it is, if that is less than size_bytes. Takes nothing.
ray_status ray__memory_check(uint64_t size_bytes);

// Closes a descriptor and keeps errno; accepts -1.
void ray__fd_close(int fd);

#endif
