// SPDX-License-Identifier: Apache-2.0
// Journal: what a later process may believe of a partial file.
//
//   0  magic "RAYCHNKS"   8  version u32   12 chunk size u32   16 size u64   24 object id, 28
//   52 zero u32           56 edition u64   64 check u64: XXH3-64 of bytes 0-63
//   72 pid u32, for messages               76 zero u32         80 a record for each chunk: XXH3-64 of its raw bytes, 0: not here
//
// Integers are little endian. A record is one write of eight bytes, made after the chunk's bytes were written: a process that is killed
// leaves it whole or not at all, and never a record without its bytes. Nothing is synced; a reader hashes what is recorded before it
// believes it. The file is also the lock of the partial file (flock), and is removed after it.
#ifndef RAY_TRANSFER_JOURNAL_INTERNAL_H
#define RAY_TRANSFER_JOURNAL_INTERNAL_H

#include <stdbool.h>

#include "raystore/transfer.h"

#define RAY__JOURNAL_VERSION 1u
#define RAY__JOURNAL_HEADER_SIZE 80u

typedef struct ray__journal {
    int file; // -1: none. The lock is held as long as it is open.
    char *path;
} ray__journal;

// What the partial file is to become.
typedef struct ray__subject {
    ray_object_id id;
    uint64_t size_bytes;
    uint64_t edition;
    uint32_t chunk_size;
} ray__subject;

enum ray__journal_found {
    RAY__JOURNAL_MADE,     // there was none
    RAY__JOURNAL_OTHER,    // of another object, chunk size or version, or damaged
    RAY__JOURNAL_SAME,
    RAY__JOURNAL_CHANGED,  // of the same object in another size or edition
};

// Opens or makes the journal of a partial file and takes its lock. RAY_IN_USE names the holder; RAY_EXISTS when it is something else.
ray_status ray__journal_open(const char *partial, const ray__subject *subject, ray__journal *journal,
                             enum ray__journal_found *found) RAY_NODISCARD;
// The same without a subject, for one that exists: *journal has no file when there is none.
ray_status ray__journal_open_existing(const char *partial, ray__journal *journal) RAY_NODISCARD;
// Whether there is one of this object, whole and of this version, for a file of *size_bytes. Takes no lock.
bool ray__journal_is_of(const char *partial, const ray_object_id *id, uint64_t *size_bytes);
// Begins it anew: no records.
ray_status ray__journal_begin(const ray__journal *journal, const ray__subject *subject) RAY_NODISCARD;
// Reads the records; those that a truncated journal lacks are 0.
ray_status ray__journal_load(const ray__journal *journal, uint32_t count, uint64_t *checksums) RAY_NODISCARD;
ray_status ray__journal_record(const ray__journal *journal, uint32_t index, uint64_t checksum) RAY_NODISCARD;
// Gives the lock up.
void ray__journal_close(ray__journal *journal, bool remove);

#endif
