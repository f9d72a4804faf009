// SPDX-License-Identifier: Apache-2.0
// File: the whole-file operations that the store rests on: look, read, copy, move, protect, remove.
//
// A file is only ever seen under its final name when it is complete: copies are made under another name by the caller and moved in
// place. Nothing here overwrites an existing file.
//
// Caveats: only regular files; a symbolic link is followed when looking and copying, refused as a destination. Extended attributes and
// holes are not kept.
// Thread safety: every function may be called from any thread; all may block on the disk.
#ifndef RAYSTORE_FILE_H
#define RAYSTORE_FILE_H

#include "status.h"

RAY_BEGIN_DECLS
RAY_ASSUME_NONNULL_BEGIN

typedef struct ray_file_info {
    uint64_t size_bytes;
    int64_t mtime_ns; // since the epoch
    uint32_t mode;    // permission bits
} ray_file_info;

// What the contents of a regular file are recognised by without reading them: a number made of device, inode, size and times, that of the last
// change of any kind included. RAY_AGAIN within 20 ms of a change: the times may not tell it from the next one. RAY_SYSTEM, RAY_NOT_A_FILE.
RAY_API ray_status ray_file_identity(const char *path, uint64_t *identity) RAY_NODISCARD;

// Size and time of a regular file that can be read. RAY_FILE_NOT_FOUND, RAY_FILE_NOT_READABLE, RAY_NOT_A_FILE.
RAY_API ray_status ray_file_look(const char *path, ray_file_info *info) RAY_NODISCARD;

// Copies, with permissions and modification time, to a path that does not exist: by reference where the file system can (reflink), else inside the kernel, else by hand. *info is the
// source's. RAY_OUT_OF_DISK, saying needed and free, when less than reserve_bytes would be left; RAY_SOURCE_CHANGED when the source changes
// meanwhile. After a failure there is no file at `to`.
RAY_API ray_status ray_file_copy(const char *from, const char *to, uint64_t reserve_bytes, ray_file_info *info) RAY_NODISCARD;

// Moves a file to a path that does not exist, across file systems by copying. After a failure the source is where it was.
RAY_API ray_status ray_file_move(const char *from, const char *to, uint64_t reserve_bytes) RAY_NODISCARD;

// Takes every write permission away, execute permissions kept.
RAY_API ray_status ray_file_protect(const char *path) RAY_NODISCARD;

// Gives a file these permissions and this modification time.
RAY_API ray_status ray_file_dress(const char *path, const ray_file_info *info) RAY_NODISCARD;

// Removes a file; none is not a failure.
RAY_API ray_status ray_file_remove(const char *path);

// RAY_SOURCE_CHANGED, with the path and what is different, unless the file is there with this size and time.
RAY_API ray_status ray_file_unchanged(const char *path, uint64_t size_bytes, int64_t mtime_ns) RAY_NODISCARD;

// Reads up to `size` bytes from this place on; *got is less only at the end of the file.
RAY_API ray_status ray_file_read(const char *path, uint64_t offset, void *bytes, size_t size, size_t *got) RAY_NODISCARD;

// What the file has taken of its disk so far, which is less than its size while it is being filled; 0 if there is none.
RAY_API uint64_t ray_file_allocated(const char *path);

// The file system that a path is on, as df counts it.
typedef struct ray_disk_info {
    uint64_t total_bytes; // used and free
    uint64_t free_bytes;  // for this user
} ray_disk_info;

// RAY_SYSTEM when there is no such path.
RAY_API ray_status ray_disk_look(const char *path, ray_disk_info *disk) RAY_NODISCARD;

// How many bytes must stay free when so many are kept in reserve and the disk may be filled to so many thousandths (0 and 1000: all of
// it): the larger of the two.
RAY_API uint64_t ray_disk_kept(const ray_disk_info *disk, uint64_t reserve_bytes, uint32_t watermark_permille);

// Makes a directory and its parents with mode 0700; one that exists must be ours and closed to others: RAY_INVALID_ARGUMENT otherwise.
RAY_API ray_status ray_directory_make_private(const char *path) RAY_NODISCARD;

// Removes all that is in a directory, itself not, following no link.
RAY_API ray_status ray_directory_clear(const char *path) RAY_NODISCARD;

// Removes a directory if nothing is in it; says whether it went.
RAY_API bool ray_directory_remove_empty(const char *path);

// Takes the directory's lock for this process until it ends or unlocks: RAY_IN_USE naming the path and the holder's pid.
RAY_API ray_status ray_directory_lock(const char *path, int *lock) RAY_NODISCARD;
RAY_API void ray_directory_unlock(int lock);

// The same of a file of any name, made if it is missing: RAY_IN_USE naming the holder's pid and machine. RAY_UNSUPPORTED where the file system
// has no locks. Unlocked by ray_directory_unlock; whoever holds it may remove it first.
RAY_API ray_status ray_file_lock(const char *path, int *lock) RAY_NODISCARD;

RAY_ASSUME_NONNULL_END
RAY_END_DECLS
#endif
