// SPDX-License-Identifier: Apache-2.0
#include "transfer/peers_internal.h"

#include <string.h>

void ray__peers_init(ray__peers *peers) {
    pthread_mutex_init(&peers->lock, NULL);
}

void ray__peers_end(ray__peers *peers) {
    pthread_mutex_destroy(&peers->lock);
}

// The length of the host in HOST:PORT.
static size_t host_length(const char *peer) {
    const char *colon = strrchr(peer, ':');
    size_t length = colon != NULL ? (size_t)(colon - peer) : strlen(peer);
    return length < RAY_HOST_MAX ? length : RAY_HOST_MAX - 1;
}

// What is known of it, if that is not too old; an entry that is, is free from then on.
static ray__peer *find(ray__peers *peers, const char *peer, uint64_t now_ns) {
    size_t length = host_length(peer);
    for (uint32_t i = 0; i < RAY__PEERS_MAX; i++) {
        ray__peer *of = &peers->of[i];
        // Another thread's clock may be a little ahead of ours.
        if (of->host[0] != '\0' && now_ns > of->used_ns && now_ns - of->used_ns > RAY__PEER_STALE_NS) {
            memset(of, 0, sizeof *of);
        }
        if (length > 0 && strlen(of->host) == length && memcmp(of->host, peer, length) == 0) {
            return of;
        }
    }
    return NULL;
}

static ray__peer *make(ray__peers *peers, const char *peer) {
    ray__peer *slot = &peers->of[0];
    for (uint32_t i = 1; i < RAY__PEERS_MAX && slot->host[0] != '\0'; i++) {
        if (peers->of[i].host[0] == '\0' || peers->of[i].used_ns < slot->used_ns) {
            slot = &peers->of[i];
        }
    }
    memset(slot, 0, sizeof *slot);
    memcpy(slot->host, peer, host_length(peer));
    return slot;
}

void ray__peers_recall(ray__peers *peers, const char *peer, uint64_t now_ns, ray__tuner *tuner) {
    pthread_mutex_lock(&peers->lock);
    const ray__peer *of = find(peers, peer, now_ns);
    if (of != NULL) {
        ray__tuner_recall(tuner, &of->past);
    }
    pthread_mutex_unlock(&peers->lock);
}

void ray__peers_remember(ray__peers *peers, const char *peer, uint64_t now_ns, ray__tuner *tuner) {
    // Most pulls are of one chunk, and end before anything is known of the link.
    if (host_length(peer) == 0 || !ray__tuner_has_measured_link(tuner)) {
        return;
    }
    pthread_mutex_lock(&peers->lock);
    ray__peer *of = find(peers, peer, now_ns);
    of = of != NULL ? of : make(peers, peer);
    of->used_ns = now_ns;
    ray__tuner_remember(tuner, &of->past);
    pthread_mutex_unlock(&peers->lock);
}
