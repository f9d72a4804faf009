// SPDX-License-Identifier: Apache-2.0
// Rate: so many bytes a second and no more, for any number of threads, without a lock.
//
// One word holds the time at which the bytes taken so far are paid for. Who takes moves it on; while it lies ahead nothing may be taken, and
// when it lies behind by more than RAY__RATE_BURST_NS the rest is forfeit. So in any span t at most max * (t + burst) bytes are taken, and the
// last piece. What a rate knows of time the caller tells it.
#ifndef RAY_TRANSFER_RATE_INTERNAL_H
#define RAY_TRANSFER_RATE_INTERNAL_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#define RAY__RATE_BURST_NS 100000000ull

typedef struct ray__rate {
    uint64_t max_bytes; // a second; 0: no limit
    _Atomic uint64_t paid_ns;
} ray__rate;

void ray__rate_init(ray__rate *rate, uint64_t max_bytes);
// Whether anything may be taken; if not, when.
bool ray__rate_is_open(ray__rate *rate, uint64_t now_ns, uint64_t *again_ns);
// Takes the bytes if anything may be taken; if not, says when.
bool ray__rate_take(ray__rate *rate, uint64_t size, uint64_t now_ns, uint64_t *again_ns);
// Takes the bytes in any case, and says when they may be used: who comes first is served first.
uint64_t ray__rate_reserve(ray__rate *rate, uint64_t size, uint64_t now_ns);
// Of what was taken so much was not used.
void ray__rate_give(ray__rate *rate, uint64_t size);

#endif
