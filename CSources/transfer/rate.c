// SPDX-License-Identifier: Apache-2.0
#include "transfer/rate_internal.h"

static uint64_t cost_ns(const ray__rate *rate, uint64_t size) {
    double cost = (double)size * 1e9 / (double)rate->max_bytes;
    return cost < 9e18 ? (uint64_t)cost : (uint64_t)9e18;
}

static uint64_t not_before(uint64_t paid_ns, uint64_t now_ns) {
    uint64_t earliest = now_ns > RAY__RATE_BURST_NS ? now_ns - RAY__RATE_BURST_NS : 0;
    return paid_ns > earliest ? paid_ns : earliest;
}

void ray__rate_init(ray__rate *rate, uint64_t max_bytes) {
    rate->max_bytes = max_bytes;
    atomic_init(&rate->paid_ns, 0);
}

bool ray__rate_is_open(ray__rate *rate, uint64_t now_ns, uint64_t *again_ns) {
    uint64_t paid = rate->max_bytes == 0 ? 0 : atomic_load(&rate->paid_ns);
    *again_ns = paid;
    return paid <= now_ns;
}

bool ray__rate_take(ray__rate *rate, uint64_t size, uint64_t now_ns, uint64_t *again_ns) {
    if (rate->max_bytes == 0) {
        return true;
    }
    uint64_t paid = atomic_load(&rate->paid_ns);
    uint64_t cost = cost_ns(rate, size);
    do {
        if (paid > now_ns) {
            *again_ns = paid;
            return false;
        }
    } while (!atomic_compare_exchange_weak(&rate->paid_ns, &paid, not_before(paid, now_ns) + cost));
    return true;
}

uint64_t ray__rate_reserve(ray__rate *rate, uint64_t size, uint64_t now_ns) {
    if (rate->max_bytes == 0) {
        return now_ns;
    }
    uint64_t paid = atomic_load(&rate->paid_ns);
    uint64_t cost = cost_ns(rate, size);
    while (!atomic_compare_exchange_weak(&rate->paid_ns, &paid, not_before(paid, now_ns) + cost)) {
    }
    return paid > now_ns ? paid : now_ns;
}

void ray__rate_give(ray__rate *rate, uint64_t size) {
    if (rate->max_bytes == 0) {
        return;
    }
    uint64_t paid = atomic_load(&rate->paid_ns);
    uint64_t cost = cost_ns(rate, size);
    while (!atomic_compare_exchange_weak(&rate->paid_ns, &paid, paid > cost ? paid - cost : 0)) {
    }
}
