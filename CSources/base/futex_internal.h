// SPDX-License-Identifier: Apache-2.0
// Sleeping on a word of shared memory until somebody changes it.
#ifndef RAY_BASE_FUTEX_INTERNAL_H
#define RAY_BASE_FUTEX_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

// Sleeps while *word is `expected`, until woken or until the deadline (as of ray__now_ns; UINT64_MAX: no end). False
// only when the deadline has passed. May wake for no reason: look again. The word may lie in memory shared by processes.
bool ray__futex_wait(const uint32_t *word, uint32_t expected, uint64_t deadline_ns);

// The same, but only for wakes that have one of these bits. None: invalid.
bool ray__futex_wait_bits(const uint32_t *word, uint32_t expected, uint64_t deadline_ns, uint32_t bits);
void ray__futex_wake_bits(uint32_t *word, uint32_t bits);

// Wakes all who sleep on the word, in every process.
void ray__futex_wake_all(uint32_t *word);

// Wakes one of them, any.
void ray__futex_wake_one(uint32_t *word);

#endif
