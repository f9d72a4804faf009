// SPDX-License-Identifier: Apache-2.0
// Who of a swarm is sent a chunk, who is referred to whom, and who waits for a slot to be sent in.
//
// Who asks for a chunk that another was sent, or is being sent, is referred to that one, so that a holder of the whole sends each chunk
// about once and every receiver's own link carries its share. A receiver passes a chunk on to at most RAY__GIVEN_MAX others and refers the
// rest to those: a tree for every chunk. docs/decisions/0007 says why nobody waits in a circle.
//
// A holder of the whole sends few chunks at a time (SLOTS), so that each arrives early and is passed on while the next one leaves. A
// slot goes to who was given least. Who waited long takes one more: a stuck receiver must not hold the others.
#include <unistd.h>

#include "base/clock_internal.h"
#include "transfer/swarm_internal.h"

#define SLOTS 4u
#define SLOT_WAIT_NS RAY__SECOND

// ---- slots -------------------------------------------------------------------------------------------------------------------

static void wake(ray__watcher *watcher) {
    uint64_t one = 1;
    ssize_t written = write(watcher->event, &one, sizeof one);
    (void)written;
}

static uint32_t given_to(const ray__swarm *swarm, uint32_t of) {
    return of < swarm->member_count ? swarm->members[of].given : 0;
}

static void give_slot_locked(ray__swarm *swarm) {
    ray__watcher *best = NULL;
    for (ray__watcher *watcher = swarm->watchers; watcher != NULL; watcher = watcher->next) {
        if (watcher->waits && !watcher->granted &&
            (best == NULL || given_to(swarm, watcher->member) < given_to(swarm, best->member))) {
            best = watcher;
        }
    }
    if (best != NULL) {
        best->granted = true;
        wake(best);
    } else {
        swarm->slots_taken--;
    }
}

void ray__swarm_give_slot(ray__offer *offer) {
    pthread_mutex_lock(&offer->swarm->lock);
    give_slot_locked(offer->swarm);
    pthread_mutex_unlock(&offer->swarm->lock);
}

static void pass_locked(ray__swarm *swarm, ray__watcher *watcher) {
    if (watcher->granted) {
        watcher->granted = false;
        give_slot_locked(swarm);
    }
}

void ray__swarm_pass(ray__offer *offer, ray__watcher *watcher) {
    if (offer->swarm != NULL) {
        pthread_mutex_lock(&offer->swarm->lock);
        watcher->waits = false;
        pass_locked(offer->swarm, watcher);
        pthread_mutex_unlock(&offer->swarm->lock);
    }
}

void ray__swarm_watch(ray__offer *offer, ray__watcher *watcher) {
    if (offer->swarm != NULL) {
        pthread_mutex_lock(&offer->swarm->lock);
        watcher->member = offer->member;
        watcher->next = offer->swarm->watchers;
        offer->swarm->watchers = watcher;
        pthread_mutex_unlock(&offer->swarm->lock);
    }
}

void ray__swarm_unwatch(ray__offer *offer, ray__watcher *watcher) {
    ray__swarm *swarm = offer->swarm;
    if (swarm == NULL) {
        return;
    }
    pthread_mutex_lock(&swarm->lock);
    watcher->waits = false;
    pass_locked(swarm, watcher);
    ray__watcher **cursor = &swarm->watchers;
    while (*cursor != watcher && *cursor != NULL) {
        cursor = &(*cursor)->next;
    }
    if (*cursor == watcher) {
        *cursor = watcher->next;
    }
    pthread_mutex_unlock(&swarm->lock);
}

// ---- who is sent what --------------------------------------------------------------------------------------------------------

static bool several_serve(const ray__swarm *swarm) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < swarm->member_count; i++) {
        count += swarm->members[i].offers > 0 && swarm->members[i].serves;
    }
    return count > 1;
}

// The one of those that were sent the chunk to whom the fewest were referred; *count is how many there are.
static const ray__member *best_of(ray__swarm *swarm, const ray__note *given, uint32_t asking, uint32_t *count, uint8_t *depth) {
    ray__member *best = NULL;
    *count = 0;
    for (uint32_t k = 0; k < RAY__GIVEN_MAX; k++) {
        uint32_t at = given->member[k];
        if (at == 0) {
            continue;
        }
        ray__member *other = &swarm->members[at - 1];
        if (at - 1 == asking) {
            return NULL; // it had it, and lost it
        }
        if (!other->gone && other->serves) {
            ++*count;
            if (best == NULL || other->referred_to < best->referred_to) {
                best = other;
                *depth = given->depth[k];
            }
        }
    }
    return best;
}

static void note_given(ray__swarm *swarm, ray__note *given, uint32_t to, uint8_t depth) {
    uint32_t free_at = RAY__GIVEN_MAX;
    for (uint32_t k = 0; k < RAY__GIVEN_MAX; k++) {
        uint32_t at = given->member[k];
        if (at == to + 1) {
            free_at = k;
            break;
        }
        if (free_at == RAY__GIVEN_MAX && (at == 0 || swarm->members[at - 1].gone)) {
            free_at = k;
        }
    }
    if (free_at < RAY__GIVEN_MAX) {
        given->member[free_at] = (uint8_t)(to + 1);
        given->depth[free_at] = depth;
    }
    swarm->members[to].given++;
    // Those that wait to be sent the same can be referred now.
    for (ray__watcher *watcher = swarm->watchers; watcher != NULL; watcher = watcher->next) {
        if (watcher->waits && watcher->member != to) {
            wake(watcher);
        }
    }
}

static bool take_slot(ray__swarm *swarm, ray__watcher *watcher) {
    uint64_t now = ray__now_ns();
    if (watcher->granted) {
        watcher->granted = false;
    } else if (swarm->slots_taken < SLOTS || (watcher->waits && now - watcher->since_ns >= SLOT_WAIT_NS)) {
        swarm->slots_taken++;
    } else {
        if (!watcher->waits) {
            watcher->since_ns = now;
        }
        watcher->waits = true;
        return false;
    }
    watcher->waits = false;
    return true;
}

enum ray__verdict ray__swarm_decide(ray__offer *offer, ray__watcher *watcher, uint32_t index, const ray__request *request,
                                    ray__refer *refer, bool *has_slot) {
    ray__swarm *swarm = offer->swarm;
    *has_slot = false;
    if (swarm == NULL) {
        return RAY__SEND;
    }
    bool is_member = offer->member != UINT32_MAX;
    bool may_refer = (request->flags & RAY__REQUEST_NO_REFER) == 0;
    enum ray__verdict verdict = RAY__SEND;
    pthread_mutex_lock(&swarm->lock);
    ray__note *given = &swarm->notes[index];
    uint32_t count = 0;
    uint8_t depth = 0;
    const ray__member *best = may_refer ? best_of(swarm, given, offer->member, &count, &depth) : NULL;
    uint32_t limit = offer->partial != NULL ? RAY__GIVEN_MAX : 1;
    if (best != NULL && count >= limit && depth < RAY__DEPTH_MAX) {
        ((ray__member *)(uintptr_t)best)->referred_to++;
        *refer = (ray__refer){.index = index, .depth = (uint8_t)(depth + 1), .holder = best->endpoint};
        verdict = RAY__REFER;
    } else if (is_member && offer->partial == NULL && may_refer && swarm->members[offer->member].serves && several_serve(swarm)) {
        *has_slot = take_slot(swarm, watcher);
        verdict = *has_slot ? RAY__SEND : RAY__HOLD;
    }
    if (verdict == RAY__SEND && is_member) {
        note_given(swarm, given, offer->member, request->depth);
    }
    pthread_mutex_unlock(&swarm->lock);
    return verdict;
}

void ray__swarm_ungive(ray__offer *offer, uint32_t index) {
    if (offer->swarm == NULL || offer->member == UINT32_MAX) {
        return;
    }
    pthread_mutex_lock(&offer->swarm->lock);
    ray__note *given = &offer->swarm->notes[index];
    for (uint32_t k = 0; k < RAY__GIVEN_MAX; k++) {
        if (given->member[k] == offer->member + 1) {
            given->member[k] = 0;
        }
    }
    pthread_mutex_unlock(&offer->swarm->lock);
}
