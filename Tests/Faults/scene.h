// SPDX-License-Identifier: Apache-2.0
// One transfer over a wire that fails, drawn from a seed: what is sent, from how many sources, how it is asked for, what the wire does.
#ifndef RAY_TESTS_FAULT_SCENE_H
#define RAY_TESTS_FAULT_SCENE_H

#include "fault_proxy.h"
#include "raystore.h"

typedef struct scene_report {
    ray_status status;
    uint64_t faults[FAULT_KINDS];
    uint64_t retried_count;
    bool had_honest;
    bool resumed; // a second pull went on with what the first left
} scene_report;

// Plays the scene of this seed in the directory and answers what came of it. Prints the seed and what does not hold, and exits 1, when the
// outcome is not one that docs/PROTOCOL.md allows. Safe to call from several threads at once.
void scene_play(const char *directory, uint64_t seed, scene_report *report);

// In words, for the log of a failure.
void scene_describe(uint64_t seed, char *text, size_t size);

#endif
