// SPDX-License-Identifier: Apache-2.0
// An external storage written in C, as a user might: it keeps files in the process's memory.
#ifndef TEST_MEMORY_STORAGE_H
#define TEST_MEMORY_STORAGE_H

// A new `ray_storage`, to be given to UnsafeTableStorage. The table itself is the caller's to free; release frees the rest.
void *test_memory_storage(void);

#endif
