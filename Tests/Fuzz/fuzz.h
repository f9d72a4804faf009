// SPDX-License-Identifier: Apache-2.0
// What the fuzz targets share. Each Tests/Fuzz/fuzz_NAME.c is one libFuzzer program; `make fuzz` builds and runs them all.
#ifndef RAY_TESTS_FUZZ_H
#define RAY_TESTS_FUZZ_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "raystore.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

// A promise of the code under test. libFuzzer keeps the input of a program that aborts.
#define MUST(condition)                                                                     \
    do {                                                                                    \
        if (!(condition)) {                                                                 \
            fprintf(stderr, "%s:%d: does not hold: %s\n", __FILE__, __LINE__, #condition);  \
            abort();                                                                        \
        }                                                                                   \
    } while (0)

// The input as a block of exactly its size, so that AddressSanitizer sees the first byte read beyond it.
static inline uint8_t *copy_exactly(const uint8_t *data, size_t size) {
    uint8_t *copy = malloc(size == 0 ? 1 : size);
    MUST(copy != NULL);
    if (size != 0) {
        memcpy(copy, data, size);
    }
    return copy;
}

// Reads every byte of what a decoder says is there, so that a pointer or a length that leads outside is noticed.
static inline void read_all(const void *bytes, size_t size) {
    const volatile uint8_t *at = bytes;
    uint8_t sum = 0;
    for (size_t i = 0; i < size; i++) {
        sum = (uint8_t)(sum ^ at[i]);
    }
    (void)sum;
}

// Takes bytes from the front of the input; zeros when it is used up.
typedef struct fuzz_input {
    const uint8_t *data;
    size_t size;
} fuzz_input;

static inline uint64_t take(fuzz_input *input, size_t size) {
    uint64_t value = 0;
    size_t taken = size < input->size ? size : input->size;
    if (taken != 0) {
        memcpy(&value, input->data, taken);
        input->data += taken;
        input->size -= taken;
    }
    return value;
}

#endif
