// SPDX-License-Identifier: Apache-2.0
// What was learned of sending to a peer, kept for the next transfer to it: by its address, without the port, which is another each time.
//
// It is a hint, so it is bounded, given up when it is old, and not there for a peer that was pushed out by others. Its lock stands alone.
#ifndef RAY_TRANSFER_PEERS_INTERNAL_H
#define RAY_TRANSFER_PEERS_INTERNAL_H

#include "codec/tuner_internal.h"
#include "raystore/transfer.h"

#define RAY__PEERS_MAX 32u
#define RAY__PEER_STALE_NS (300 * 1000000000ull) // links and load are what they were some minutes ago, or not

typedef struct ray__peer {
    char host[RAY_HOST_MAX]; // empty: free
    uint64_t used_ns;
    ray__past past;
} ray__peer;

typedef struct ray__peers {
    pthread_mutex_t lock;
    ray__peer of[RAY__PEERS_MAX];
} ray__peers;

void ray__peers_init(ray__peers *peers);
void ray__peers_end(ray__peers *peers);

// The peer is HOST:PORT. Tells a new tuner what is known of it.
void ray__peers_recall(ray__peers *peers, const char *peer, uint64_t now_ns, ray__tuner *tuner);
// Keeps what a tuner learned, in the place of the one not used for longest if there is none left.
void ray__peers_remember(ray__peers *peers, const char *peer, uint64_t now_ns, ray__tuner *tuner);

#endif
