// SPDX-License-Identifier: Apache-2.0
// A swarm: all those that are sent the same object from here, and what each of them was sent.
#ifndef RAY_TRANSFER_SWARM_INTERNAL_H
#define RAY_TRANSFER_SWARM_INTERNAL_H

#include "transfer/transfer_internal.h"

#define RAY__GIVEN_MAX 8u // others that a receiver passes a chunk on to

typedef struct ray__member {
    uint64_t token; // of its pull
    ray_endpoint endpoint;
    bool serves;
    uint32_t offers; // open ones
    bool gone;      // its connection broke
    uint32_t given;
    uint32_t referred_to;
} ray__member;

typedef struct ray__note {
    uint8_t member[RAY__GIVEN_MAX]; // + 1; 0: none
    uint8_t depth[RAY__GIVEN_MAX];  // with which it asked
} ray__note;

struct ray__swarm {
    ray__swarm *next;
    ray_object_id id;
    uint64_t size_bytes;
    uint32_t chunk_size;
    uint32_t chunk_count;
    uint32_t refs; // under swarms_lock, as idle_since_ns
    uint64_t idle_since_ns;
    pthread_mutex_t lock; // all below
    uint32_t member_count;
    uint32_t member_room;
    ray__member *members;
    uint32_t slots_taken;
    ray__watcher *watchers;
    ray__note notes[];
};

#endif
