// SPDX-License-Identifier: Apache-2.0
#ifndef RAY_DIRECTORY_INTERNAL_H
#define RAY_DIRECTORY_INTERNAL_H

#include "raystore/status.h"

// Syncs the directory that a path is in, so that a new name there survives a power cut.
ray_status ray__directory_sync_of(const char *path) RAY_NODISCARD;

#endif
