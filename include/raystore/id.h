// SPDX-License-Identifier: Apache-2.0
// Ids: 28 bytes that name an object for ever.
//
//   ObjectID (28) = TaskID (24) + index (u32, little endian)
//   TaskID   (24) = 8 unique bytes + ActorID (16)
//   ActorID  (16) = 12 unique bytes + JobID (4, little endian)
//
// The layout is Ray's, so ids can be read by people who know Ray. A task's return values have the indices 1, 2, ...; what
// it puts starts at RAY_FIRST_PUT_INDEX + 1. The driver of a job is a task as well: the one whose unique bytes are
// 00 ff ff ff ff ff ff ff. A session that joins a job later is a task whose unique bytes begin with the number of its node
// (u32, little endian), so that its owner is found from the id alone.
//
// Thread safety: all functions are pure.
#ifndef RAYSTORE_ID_H
#define RAYSTORE_ID_H

#include "status.h"

RAY_BEGIN_DECLS
RAY_ASSUME_NONNULL_BEGIN

#define RAY_OBJECT_ID_SIZE 28
#define RAY_TASK_ID_SIZE 24
#define RAY_OBJECT_ID_HEX_SIZE 57 // with the terminating NUL
#define RAY_FIRST_PUT_INDEX 100000000u

typedef struct ray_object_id {
    uint8_t bytes[RAY_OBJECT_ID_SIZE];
} ray_object_id;

typedef struct ray_task_id {
    uint8_t bytes[RAY_TASK_ID_SIZE];
} ray_task_id;

// The task that is the driver of a job. Job numbers start at 1.
RAY_API ray_task_id ray_task_id_driver(uint32_t job);

// A task of a job, made unique by the number of its node and a serial number that the node never gives twice.
RAY_API ray_task_id ray_task_id_session(uint32_t job, uint32_t node_number, uint32_t serial);

// The object with this index of this task. A task's n-th put has index RAY_FIRST_PUT_INDEX + n, n from 1.
RAY_API ray_object_id ray_object_id_make(const ray_task_id *task, uint32_t index);

RAY_API uint32_t ray_object_id_index(const ray_object_id *id);
RAY_API uint32_t ray_object_id_job(const ray_object_id *id);
RAY_API ray_task_id ray_object_id_task(const ray_object_id *id);

// Whether the creating task is its job's driver; if not, the number of the node it ran on.
RAY_API bool ray_object_id_is_driver_put(const ray_object_id *id);
RAY_API uint32_t ray_object_id_node_number(const ray_object_id *id);

RAY_API bool ray_object_id_equal(const ray_object_id *a, const ray_object_id *b);
RAY_API uint64_t ray_object_id_hash(const ray_object_id *id);

// Writes 56 lower-case hex digits and a NUL.
RAY_API void ray_object_id_format(const ray_object_id *id, char *text);

// Reads exactly 56 hex digits of either case. RAY_BAD_REF otherwise, with a message that quotes the text.
RAY_API ray_status ray_object_id_parse(const char *text, size_t length, ray_object_id *id) RAY_NODISCARD;

RAY_ASSUME_NONNULL_END
RAY_END_DECLS
#endif
