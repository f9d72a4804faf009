// SPDX-License-Identifier: Apache-2.0
// Attributes that the public headers share. Nothing here is part of the ABI.
#ifndef RAYSTORE_MACROS_H
#define RAYSTORE_MACROS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
#define RAY_BEGIN_DECLS extern "C" {
#define RAY_END_DECLS }
#else
#define RAY_BEGIN_DECLS
#define RAY_END_DECLS
#endif

#if defined(__GNUC__)
#define RAY_API __attribute__((visibility("default")))
#define RAY_NODISCARD __attribute__((warn_unused_result))
#define RAY_PRINTF(fmt, args) __attribute__((format(printf, fmt, args)))
#else
#define RAY_API
#define RAY_NODISCARD
#define RAY_PRINTF(fmt, args)
#endif

// Nullability is for readers and for Swift: without a mark a pointer is never NULL.
#if defined(__clang__) && !defined(__STRICT_ANSI__)
#define RAY_NULLABLE _Nullable
#define RAY_ASSUME_NONNULL_BEGIN _Pragma("clang assume_nonnull begin")
#define RAY_ASSUME_NONNULL_END _Pragma("clang assume_nonnull end")
#else
#define RAY_NULLABLE
#define RAY_ASSUME_NONNULL_BEGIN
#define RAY_ASSUME_NONNULL_END
#endif

#if defined(__swift__) || (defined(__clang__) && defined(__has_attribute) && __has_attribute(swift_wrapper))
#define RAY_SWIFT_STRUCT __attribute__((swift_wrapper(struct)))
#else
#define RAY_SWIFT_STRUCT
#endif

#endif
