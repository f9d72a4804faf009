// SPDX-License-Identifier: Apache-2.0
// Many receivers of the same: whom a holder has sent what (refer.c), and a pull that serves what has come of it (partial.c).
#ifndef RAY_TRANSFER_RELAY_INTERNAL_H
#define RAY_TRANSFER_RELAY_INTERNAL_H

#include "transfer/offer_internal.h"

// Smaller than this, going to another who has it takes about as long as getting it: it is sent to whoever asks, and served when complete.
#define RAY__SWARM_SIZE_MIN (1u << 20)

enum ray__verdict { RAY__SEND, RAY__REFER, RAY__HOLD };

// refer.c: whom a holder has sent what, so that one that asks for the same can be referred to him
// Joins those that are sent the same. Without memory, or where it is too small, the offer stays alone.
void ray__swarm_join(ray_transfer *transfer, ray__offer *offer, const ray__open *open);
void ray__swarm_leave(ray_transfer *transfer, ray__offer *offer);
void ray__swarm_watch(ray__offer *offer, ray__watcher *watcher);
void ray__swarm_unwatch(ray__offer *offer, ray__watcher *watcher);
// What to do about a chunk that is here. SEND notes that it is being sent and sets *has_slot if it took one of the slots.
enum ray__verdict ray__swarm_decide(ray__offer *offer, ray__watcher *watcher, uint32_t index, const ray__request *request,
                                    ray__refer *refer, bool *has_slot);
// Gives a slot to the next one.
void ray__swarm_give_slot(ray__offer *offer);
// A slot that was granted and is not needed.
void ray__swarm_pass(ray__offer *offer, ray__watcher *watcher);
// The chunk was not sent after all.
void ray__swarm_ungive(ray__offer *offer, uint32_t index);
void ray__swarms_expire(ray_transfer *transfer, uint64_t older_than_ns);

// partial.c: a pull as a holder of what has come already
enum ray__presence { RAY__HERE, RAY__COMING, RAY__AWAY, RAY__GONE };

// Makes the offer one of a pull of ours that fills the object. False: there is none.
bool ray__partial_open(ray_transfer *transfer, ray__offer *offer);
void ray__partial_close(ray_transfer *transfer, ray__offer *offer);
void ray__partial_watch(ray__offer *offer, ray__watcher *watcher);
void ray__partial_unwatch(ray__offer *offer, ray__watcher *watcher);
// Whether the chunk is here (then with its checksum), or comes; one that comes wakes the watcher when that has changed.
enum ray__presence ray__partial_look(ray__offer *offer, ray__watcher *watcher, uint32_t index, uint32_t depth, uint64_t *checksum);
// Between these two the bytes of an offer may be read; false: not any more. Of any offer.
bool ray__partial_enter(const ray__offer *offer, ray__reader *reader, int socket);
void ray__partial_leave(const ray__offer *offer, ray__reader *reader);
// Something changed that watchers may wait for.
void ray__partial_changed_locked(ray_pull *pull);
// After the seal, or before the memory is given back: the offers keep the object, or end; then nobody reads any more.
void ray__partial_settle(ray_pull *pull, ray_status status);
// Keeps what the card says for those that are served from here.
ray_status ray__partial_keep_card(ray_pull *pull, const ray_card *card) RAY_NODISCARD;

#endif
