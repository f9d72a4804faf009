// SPDX-License-Identifier: Apache-2.0
// How every room reports a failure: a status to the caller, and a message beside it for the thread.
#ifndef RAY_BASE_ERROR_INTERNAL_H
#define RAY_BASE_ERROR_INTERNAL_H

#include "raystore/status.h"

#define RAY_MESSAGE_MAX 512

// Records the message and answers the status. Clears the thread's errno.
ray_status ray__fail(ray_status status, const char *format, ...) RAY_PRINTF(2, 3);

// The same with the current errno kept and its text appended: "open /x: No such file or directory".
ray_status ray__fail_errno(ray_status status, const char *format, ...) RAY_PRINTF(2, 3);

// Passes a failure on to the caller.
#define RAY_TRY(expression)                  \
    do {                                     \
        ray_status ray_try_ = (expression);  \
        if (ray_try_ != RAY_OK) {            \
            return ray_try_;                 \
        }                                    \
    } while (0)

#endif
