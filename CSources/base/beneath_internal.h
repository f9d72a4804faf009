// SPDX-License-Identifier: Apache-2.0
// Opening a file by a name that a stranger chose.
#ifndef RAY_BASE_BENEATH_INTERNAL_H
#define RAY_BASE_BENEATH_INTERNAL_H

#include "raystore/status.h"

// Opens a regular file for reading by its path below a directory. Nothing outside of the directory is reached: not by "..", an absolute
// path or a symbolic link, whatever is renamed meanwhile. RAY_INVALID_ARGUMENT (it leads out), RAY_FILE_NOT_FOUND,
// RAY_FILE_NOT_READABLE, RAY_NOT_A_FILE.
ray_status ray__open_beneath(int directory, const char *name, int *file) RAY_NODISCARD;

#endif
