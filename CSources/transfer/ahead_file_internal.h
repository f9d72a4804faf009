// SPDX-License-Identifier: Apache-2.0
// A file that is hashed ahead (ahead_internal.h). An open file keeps its blocks, also when nobody can find it any more: so the clerk, which has an
// ordinary priority, holds and reads it, and whoever removes it can have it closed at once. The hasher sees copies of its bytes only. It
// decides the pace: the next piece is read when it is done with the last one.
#ifndef RAY_TRANSFER_AHEAD_FILE_INTERNAL_H
#define RAY_TRANSFER_AHEAD_FILE_INTERNAL_H

#include <pthread.h>
#include <stdbool.h>
#include <sys/stat.h>

#include "transfer/hasher_internal.h"

typedef struct ray__ahead_file {
    pthread_mutex_t lock; // held for a piece's reading at most
    int file;             // -1: none, or somebody had it closed
    ray_object_id id;
    uint8_t *room; // for a piece; of the clerk
} ray__ahead_file;

ray_status ray__ahead_file_init(ray__ahead_file *held) RAY_NODISCARD;
void ray__ahead_file_destroy(ray__ahead_file *held);

// False: there is no regular file that can be read, and none is held.
bool ray__ahead_file_open(ray__ahead_file *held, const ray_object_id *id, const char *path, struct stat *info);
enum ray__hash_end ray__ahead_file_hash(ray__ahead_file *held, ray__hasher *hasher, const ray__hash_item *item);
void ray__ahead_file_close(ray__ahead_file *held);

// By any thread. On return the object's file is not open here; a path that leads nowhere by then is not opened again.
void ray__ahead_file_let_go(ray__ahead_file *held, const ray_object_id *id);

#endif
