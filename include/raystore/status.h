// SPDX-License-Identifier: Apache-2.0
// Status: what a call answers.
//
// Every function that can fail returns a ray_status. The set is open: a later library may answer codes that this header
// does not list, so treat an unknown code as a failure and show its text. The low 8 bits are the primary code; higher
// bits, where set, say more about it. The message and errno of the calling thread's last failure are kept beside it.
//
// Caveats: the last error belongs to the thread that made the call and is overwritten by its next failing call. Statuses
// that arrive through a callback carry their message as an argument instead.
#ifndef RAYSTORE_STATUS_H
#define RAYSTORE_STATUS_H

#include "macros.h"

RAY_BEGIN_DECLS
RAY_ASSUME_NONNULL_BEGIN

typedef int32_t ray_status RAY_SWIFT_STRUCT;

// X(NAME, value, swift_name, text). Values are grouped in tens and never reused.
#define RAY_STATUS_TABLE(X)                                                                            \
    X(OK, 0, ok, "success")                                                                            \
    X(INVALID_ARGUMENT, 1, invalidArgument, "an argument is not valid")                                \
    X(OUT_OF_MEMORY, 2, outOfMemory, "the process has no memory left")                                 \
    X(SYSTEM, 3, system, "a system call failed")                                                       \
    X(UNSUPPORTED, 4, unsupported, "not supported here")                                               \
    X(TIMED_OUT, 5, timedOut, "the time given ran out")                                                \
    X(CANCELLED, 6, cancelled, "cancelled by the caller")                                              \
    X(CLOSED, 7, closed, "the handle is closed")                                                       \
    X(AGAIN, 8, again, "not ready yet, try again")                                                     \
    X(FORKED, 9, forked, "the handle belongs to the parent process")                                   \
    X(NOT_FOUND, 10, notFound, "no such object")                                                       \
    X(EXISTS, 11, exists, "an object with this id exists")                                             \
    X(NOT_SEALED, 12, notSealed, "the object is not sealed yet")                                       \
    X(NOT_LOCAL, 13, notLocal, "the object is not on this node")                                       \
    X(IN_USE, 14, inUse, "somebody uses it")                                                           \
    X(OBJECT_LOST, 20, objectLost, "every copy of the object is lost")                                 \
    X(OBJECT_FREED, 21, objectFreed, "the object was freed")                                           \
    X(OWNER_DIED, 22, ownerDied, "the object's owner died")                                            \
    X(RETRIES_EXHAUSTED, 23, retriesExhausted, "every retry failed")                                   \
    X(FETCH_TIMED_OUT, 24, fetchTimedOut, "no copy of the object could be fetched in time")            \
    X(NO_HOLDER, 25, noHolder, "no node that has the object can be reached now")                       \
    X(STORE_FULL, 30, storeFull, "the store has no room")                                              \
    X(OUT_OF_DISK, 31, outOfDisk, "the disk has no room")                                              \
    X(TABLE_FULL, 32, tableFull, "the object table is full")                                           \
    X(TOO_MANY_CLIENTS, 33, tooManyClients, "the node serves as many clients as it can")               \
    X(TOO_LARGE, 34, tooLarge, "larger than the limit")                                                \
    X(CORRUPT, 40, corrupt, "the data does not match its checksum")                                    \
    X(SOURCE_CHANGED, 41, sourceChanged, "the source file was changed")                                \
    X(POISONED, 42, poisoned, "the store's shared state is damaged")                                   \
    X(LAYOUT_MISMATCH, 43, layoutMismatch, "made by another build of the library")                     \
    X(KEY_REFUSED, 50, keyRefused, "the peer does not hold the cluster's key")                         \
    X(VERSION_MISMATCH, 51, versionMismatch, "the peer speaks another version")                        \
    X(PEER_CLOSED, 52, peerClosed, "the peer closed the connection")                                   \
    X(PROTOCOL, 53, protocolError, "the peer sent what the protocol does not allow")                   \
    X(UNREACHABLE, 54, unreachable, "the peer cannot be reached")                                      \
    X(NODE_DIED, 55, nodeDied, "the node died")                                                        \
    X(NOT_RUNNING, 56, notRunning, "no node is running there")                                         \
    X(TASK_FAILED, 60, taskFailed, "the task failed")                                                  \
    X(ACTOR_DIED, 61, actorDied, "the actor died")                                                     \
    X(NAME_IN_USE, 70, nameInUse, "the name is in use")                                                \
    X(NAME_UNKNOWN, 71, nameUnknown, "no object has this name")                                        \
    X(FILE_NOT_FOUND, 72, fileNotFound, "no such file")                                                \
    X(FILE_NOT_READABLE, 73, fileNotReadable, "the file cannot be read")                               \
    X(NOT_A_FILE, 74, notAFile, "not a regular file")                                                  \
    X(BAD_REF, 75, badRef, "not a ref")                                                                \
    X(ADDRESS_IN_USE, 76, addressInUse, "the address is in use")                                       \
    X(KEY_UNUSABLE, 77, keyUnusable, "the cluster key cannot be used")                                 \
    X(WRONG_KIND, 78, wrongKind, "the object is of another kind")

#define RAY_STATUS_ENUM(name, value, swift, text) RAY_##name = (value),
enum { RAY_STATUS_TABLE(RAY_STATUS_ENUM) };
#undef RAY_STATUS_ENUM

#ifdef __swift__
#define RAY_STATUS_SWIFT(name, value, swift, text) \
    static const ray_status ray_status_##swift __attribute__((swift_name("ray_status." #swift))) = (value);
RAY_STATUS_TABLE(RAY_STATUS_SWIFT)
#undef RAY_STATUS_SWIFT
#endif

// The constant's name, such as "STORE_FULL"; "UNKNOWN" for a code of a later library. Static lifetime.
RAY_API const char *ray_status_name(ray_status status);

// What the code means, in words. Static lifetime.
RAY_API const char *ray_status_text(ray_status status);

// The message of this thread's last failing call: it names the thing and what to do. Never NULL; valid until the
// thread's next failing call.
RAY_API const char *ray_last_error_message(void);

// The errno that this thread's last failing call met, 0 if none.
RAY_API int32_t ray_last_error_errno(void);

RAY_ASSUME_NONNULL_END
RAY_END_DECLS
#endif
