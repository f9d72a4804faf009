// SPDX-License-Identifier: Apache-2.0
// Version of the library.
#ifndef RAYSTORE_VERSION_H
#define RAYSTORE_VERSION_H

#include "macros.h"

#define RAY_VERSION_MAJOR 0
#define RAY_VERSION_MINOR 1
#define RAY_VERSION_PATCH 0

RAY_BEGIN_DECLS
RAY_ASSUME_NONNULL_BEGIN

// The version of the library that runs, such as "0.1.0". Static lifetime.
RAY_API const char *ray_version(void);

RAY_ASSUME_NONNULL_END
RAY_END_DECLS
#endif
