// SPDX-License-Identifier: Apache-2.0
// What a file's contents are recognised by, without reading them.
#ifndef RAY_BASE_IDENTITY_INTERNAL_H
#define RAY_BASE_IDENTITY_INTERNAL_H

#include <stdint.h>
#include <sys/stat.h>

// Made of device, inode, size, and the times of the last write and of the last change of any kind, which nobody can set. Not 0.
uint64_t ray__file_identity(const struct stat *info);

// Of the file, whatever is in it.
uint64_t ray__file_number(const struct stat *info);

// When, by the wall clock, the file's times tell the next write from the last: what was read before may be changed without a trace.
int64_t ray__file_settled_ns(const struct stat *info);

#endif
