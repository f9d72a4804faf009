// SPDX-License-Identifier: Apache-2.0
// What the parts of a transfer share.
//
// Threads of a ray_transfer, all joined by ray_transfer_destroy:
//   1 supervisor     deadlines, progress callbacks, retries that are due, idle connections
//   1 acceptor       if it listens
//   <= 16 workers    one a core: hash, pack, unpack, place (workers_internal.h)
//   <= 5 readers     for chunks of sources that may block (reads_internal.h)
//   <= 32 links      a link pulls from one source over one connection (link.c); made when needed
//   <= 256 served    a thread for each accepted connection (serve.c)
//   2 ahead          checksums before anybody asks for them (ahead_internal.h), if they are wanted
//
// Offers are in offer_internal.h and relay_internal.h, pulls and their links in pull_internal.h and link_internal.h, what they share of a
// direction in flow_internal.h, what memory they may take in memory_internal.h.
//
// Locks, in the order in which they may be taken: list_lock, a pull's lock, then one of queue_lock, idle_lock, supervise_lock. served_lock and the
// others stand alone. No callback runs under any of them.
#ifndef RAY_TRANSFER_TRANSFER_INTERNAL_H
#define RAY_TRANSFER_TRANSFER_INTERNAL_H

#include "base/disk_internal.h"
#include "base/headroom_internal.h"
#include "transfer/ahead_internal.h"
#include "transfer/flow_internal.h"
#include "transfer/link_internal.h"
#include "transfer/peers_internal.h"
#include "transfer/reads_internal.h"
#include "transfer/relay_internal.h"

typedef struct ray__served ray__served;

struct ray_transfer {
    uint32_t connection_count; // 0: by a source's distance
    uint16_t codec;
    int16_t level;
    uint64_t window_bytes;
    ray_store *store;
    ray_key key;
    ray_find_fn find;
    ray_find_named_fn find_named;
    ray_served_fn served_by_name;
    ray_damaged_fn damaged;
    ray_summed_fn summed;
    void *context;
    ray__workers workers;
    _Atomic uint32_t parcels; // packed chunks that have arrived and are not unpacked yet, of all pulls
    ray__headroom headroom;
    ray__workers readers; // of sources, begun with the first; under offers_lock until then
    ray__memory memory;
    uint64_t memory_max_bytes;
    ray__share answers;
    ray__share cards_sent;
    ray__share cards_received;
    _Atomic(uint8_t *) large_card; // RAY__CARD_BUFFER bytes; NULL while a link reads a card into them
    ray__flow sending;
    ray__flow receiving;
    ray__buffers send_buffers;
    ray__reads reads;
    ray__buffers receive_buffers;
    ray__sums_cache *sums;
    ray__ahead *ahead; // or NULL
    ray__disk_limits disk; // of the files that pulls fill
    int stop; // eventfd: readable when the transfer is being destroyed

    _Atomic uint64_t sent_bytes;
    _Atomic uint64_t sent_wire_bytes;
    _Atomic uint64_t hashed_bytes;
    _Atomic uint64_t given_bytes;
    _Atomic uint64_t sendfile_bytes;
    _Atomic uint64_t received_bytes;
    _Atomic uint64_t received_wire_bytes;
    _Atomic uint64_t refused_count;
    _Atomic uint64_t corrupt_count;
    _Atomic uint64_t retried_count;
    _Atomic uint32_t open_links;

    // serving
    int listener;
    uint16_t port;
    pthread_t acceptor;
    bool accepting;
    pthread_mutex_t served_lock;
    pthread_cond_t served_changed;
    ray__served *served; // with those that ended and wait to be joined
    uint32_t served_count;
    uint32_t proving_count;
    uint64_t useless_ns; // RAY__SERVED_USELESS_NS, or less in tests
    bool serving_stopped;
    pthread_mutex_t offers_lock;
    ray__offer *offers;
    ray__peers peers;
    pthread_mutex_t swarms_lock;
    ray__swarm *swarms;
    uint16_t advertise_port;
    char advertise_host[RAY_HOST_MAX];

    // pulling
    pthread_mutex_t list_lock;
    pthread_cond_t list_changed;
    ray_pull *pulls;
    uint32_t pull_count;
    bool closing;
    pthread_mutex_t supervise_lock; // a leaf
    pthread_cond_t supervise_changed;
    bool supervise_now;
    bool supervisor_ends;
    bool supervising;
    pthread_t supervisor;
    pthread_mutex_t queue_lock;
    pthread_cond_t queue_changed;
    ray__link_queue queues[RAY_URGENCY_COUNT];
    uint32_t queue_length;
    uint32_t queue_turn;
    uint32_t queue_yielding; // links that were told to give their threads up and have them still
    _Atomic uint32_t queue_top; // the most urgent class that waits without a thread, or RAY_URGENCY_COUNT
    uint32_t link_threads;
    uint32_t link_threads_idle;
    bool links_end;
    pthread_t links[RAY__LINKS_MAX];
    pthread_mutex_t idle_lock;
    uint32_t idle_count;
    ray__idle idle[RAY__IDLE_MAX];
};

// accept.c
ray_status ray__serving_start(ray_transfer *transfer, const char *host, uint16_t port) RAY_NODISCARD;
void ray__serving_stop(ray_transfer *transfer);

// transfer.c
void ray__transfer_wake_supervisor(ray_transfer *transfer);
// RAY_INVALID_ARGUMENT for more connections to a source than there may be.
ray_status ray__connection_count_check(uint32_t count) RAY_NODISCARD;

#endif
