// SPDX-License-Identifier: Apache-2.0
// What the processes of the kill loop share, and what each does until it is killed.
#ifndef RAY_TESTS_KILL_WORKER_H
#define RAY_TESTS_KILL_WORKER_H

#include <stdint.h>

#include "raystore.h"

enum { WORKERS = 7, SURVIVOR = WORKERS - 1 }; // the survivor is never killed

// In memory of its own, not in the store. A worker writes its own row; the driver reads.
typedef struct board_row {
    uint64_t steps;
    uint64_t gets;
    uint64_t creates;
    uint64_t wrong_bytes;
    uint32_t doing; // for the report of a hang
    uint32_t pad[7];
} board_row;

typedef struct board {
    board_row rows[WORKERS];
} board;

enum { DOING_CREATE = 1, DOING_GET, DOING_REF, DOING_UNREF, DOING_DELETE, DOING_WAIT, DOING_BATCH, DOING_ATTACH };

// Works at random on the store of these descriptors and does not return. Exits with 9 when a call answers what it may not.
_Noreturn void worker_run(int meta_fd, int data_fd, uint32_t slot, uint64_t seed, board_row *row);

// How many bytes of a view are not those that a worker writes into the object of this number.
uint64_t worker_wrong_bytes(const ray_object_view *view, uint64_t number);

#endif
