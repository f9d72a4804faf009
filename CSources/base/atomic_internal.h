// SPDX-License-Identifier: Apache-2.0
// The only way to touch a word that several processes or threads share. Names without an order are sequentially
// consistent, which the store-then-look protocols of the plasma room need; the others say their order.
#ifndef RAY_BASE_ATOMIC_INTERNAL_H
#define RAY_BASE_ATOMIC_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

static inline uint64_t ray__shm_load(const uint64_t *word) {
    return __atomic_load_n(word, __ATOMIC_SEQ_CST);
}

static inline uint64_t ray__shm_load_acquire(const uint64_t *word) {
    return __atomic_load_n(word, __ATOMIC_ACQUIRE);
}

static inline uint64_t ray__shm_load_relaxed(const uint64_t *word) {
    return __atomic_load_n(word, __ATOMIC_RELAXED);
}

static inline void ray__shm_store_release(uint64_t *word, uint64_t value) {
    __atomic_store_n(word, value, __ATOMIC_RELEASE);
}

static inline void ray__shm_store_relaxed(uint64_t *word, uint64_t value) {
    __atomic_store_n(word, value, __ATOMIC_RELAXED);
}

// These three answer the value before.
static inline uint64_t ray__shm_or(uint64_t *word, uint64_t bits) {
    return __atomic_fetch_or(word, bits, __ATOMIC_SEQ_CST);
}

static inline uint64_t ray__shm_and(uint64_t *word, uint64_t bits) {
    return __atomic_fetch_and(word, bits, __ATOMIC_SEQ_CST);
}

static inline uint64_t ray__shm_add(uint64_t *word, uint64_t value) {
    return __atomic_fetch_add(word, value, __ATOMIC_SEQ_CST);
}

// Stores desired if the word is *expected; else puts what it is into *expected and answers false.
static inline bool ray__shm_swap_if(uint64_t *word, uint64_t *expected, uint64_t desired) {
    return __atomic_compare_exchange_n(word, expected, desired, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

static inline uint32_t ray__shm_load32(const uint32_t *word) {
    return __atomic_load_n(word, __ATOMIC_SEQ_CST);
}

static inline uint32_t ray__shm_load32_relaxed(const uint32_t *word) {
    return __atomic_load_n(word, __ATOMIC_RELAXED);
}

static inline void ray__shm_store32(uint32_t *word, uint32_t value) {
    __atomic_store_n(word, value, __ATOMIC_SEQ_CST);
}

static inline void ray__shm_store32_relaxed(uint32_t *word, uint32_t value) {
    __atomic_store_n(word, value, __ATOMIC_RELAXED);
}

static inline uint32_t ray__shm_add32(uint32_t *word, uint32_t value) {
    return __atomic_fetch_add(word, value, __ATOMIC_SEQ_CST);
}

static inline bool ray__shm_swap_if32(uint32_t *word, uint32_t *expected, uint32_t desired) {
    return __atomic_compare_exchange_n(word, expected, desired, false, __ATOMIC_SEQ_CST, __ATOMIC_SEQ_CST);
}

// Loads before it are done before loads after it.
static inline void ray__shm_fence_acquire(void) {
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
}

// One turn of a spin: tells the core to let its sibling run.
static inline void ray__spin_pause(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#elif defined(__aarch64__)
    __asm__ volatile("yield");
#endif
}

#endif
