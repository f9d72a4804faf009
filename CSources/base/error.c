// SPDX-License-Identifier: Apache-2.0
#include "base/error_internal.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

static _Thread_local char message_of_thread[RAY_MESSAGE_MAX];
static _Thread_local int32_t errno_of_thread;

const char *ray_status_name(ray_status status) {
    switch (status & 0xff) {
#define NAME(name, value, swift, text) \
    case value:                        \
        return #name;
        RAY_STATUS_TABLE(NAME)
#undef NAME
    default:
        return "UNKNOWN";
    }
}

const char *ray_status_text(ray_status status) {
    switch (status & 0xff) {
#define TEXT(name, value, swift, text) \
    case value:                        \
        return text;
        RAY_STATUS_TABLE(TEXT)
#undef TEXT
    default:
        return "a failure that this version of the library does not know";
    }
}

const char *ray_last_error_message(void) {
    return message_of_thread;
}

int32_t ray_last_error_errno(void) {
    return errno_of_thread;
}

ray_status ray__fail(ray_status status, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    // A message that quotes the previous one must not be formatted onto itself.
    char text[RAY_MESSAGE_MAX];
    vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    memcpy(message_of_thread, text, sizeof text);
    errno_of_thread = 0;
    return status;
}

ray_status ray__fail_errno(ray_status status, const char *format, ...) {
    int saved = errno;
    va_list arguments;
    va_start(arguments, format);
    char text[RAY_MESSAGE_MAX];
    int length = vsnprintf(text, sizeof text, format, arguments);
    va_end(arguments);
    if (length < 0 || length >= (int)sizeof text) {
        length = (int)strlen(text);
    }
    char reason[128];
#if defined(__GLIBC__) && defined(_GNU_SOURCE)
    const char *reason_text = strerror_r(saved, reason, sizeof reason);
#else
    const char *reason_text = strerror_r(saved, reason, sizeof reason) == 0 ? reason : "unknown error";
#endif
    snprintf(text + length, sizeof text - (size_t)length, ": %s", reason_text);
    memcpy(message_of_thread, text, sizeof text);
    errno_of_thread = saved;
    return status;
}
