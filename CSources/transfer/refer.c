// SPDX-License-Identifier: Apache-2.0
// A swarm: all those that are sent the same object from here, and what each of them was sent.
//
// Who asks for a chunk that another was sent, or is being sent, is referred to that one, so that a holder of the whole sends each chunk
// about once and every receiver's own link carries its share. A receiver passes a chunk on to at most RAY__GIVEN_MAX others and refers the
// rest to those: a tree for every chunk. docs/decisions/0007 says why nobody waits in a circle.
//
// A holder of the whole sends few chunks at a time (PLACES), so that each arrives early and is passed on while the next one leaves. A
// place goes to who was given least. Who waited long takes one more: a stuck receiver must not hold the others.
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

#include "base/clock_internal.h"
#include "transfer/transfer_internal.h"

#define GIVEN_MAX 8u
#define PLACES 4u
#define PLACE_WAIT_NS RAY__SECOND
#define MEMBERS_MAX 250u
#define CHUNKS_MAX (1u << 20) // 16 MiB of notes; what has more chunks is sent without them
#define IDLE_SWARMS_MAX 64u

typedef struct member {
    uint64_t token; // of its pull
    ray_endpoint endpoint;
    bool serves;
    uint32_t offers; // open ones
    bool gone;      // its connection broke
    uint32_t given;
    uint32_t referred_to;
} member;

typedef struct note {
    uint8_t member[GIVEN_MAX]; // + 1; 0: none
    uint8_t depth[GIVEN_MAX];  // with which it asked
} note;

struct ray__swarm {
    ray__swarm *next;
    ray_object_id id;
    uint64_t size_bytes;
    uint32_t chunk_size;
    uint32_t chunk_count;
    uint32_t refs; // under swarms_lock, as idle_since_ns
    uint64_t idle_since_ns;
    pthread_mutex_t lock; // all below
    uint32_t member_count;
    uint32_t member_room;
    member *members;
    uint32_t places_taken;
    ray__watcher *watchers;
    note notes[];
};

// ---- members -----------------------------------------------------------------------------------------------------------------

static void destroy(ray__swarm *swarm) {
    pthread_mutex_destroy(&swarm->lock);
    free(swarm->members);
    free(swarm);
}

// Under swarms_lock.
static ray__swarm *find_or_make(ray_transfer *transfer, const ray__offer *offer, uint32_t chunk_count) {
    ray__swarm *swarm = transfer->swarms;
    while (swarm != NULL && !(ray_object_id_equal(&swarm->id, &offer->id) && swarm->size_bytes == offer->size_bytes &&
                              swarm->chunk_size == offer->chunk_size)) {
        swarm = swarm->next;
    }
    if (swarm == NULL) {
        swarm = calloc(1, sizeof *swarm + chunk_count * sizeof swarm->notes[0]);
        if (swarm == NULL) {
            return NULL;
        }
        swarm->id = offer->id;
        swarm->size_bytes = offer->size_bytes;
        swarm->chunk_size = offer->chunk_size;
        swarm->chunk_count = chunk_count;
        pthread_mutex_init(&swarm->lock, NULL);
        swarm->next = transfer->swarms;
        transfer->swarms = swarm;
    }
    swarm->refs++;
    return swarm;
}

static void forget_notes(ray__swarm *swarm, uint32_t of) {
    for (uint32_t i = 0; i < swarm->chunk_count; i++) {
        for (uint32_t k = 0; k < GIVEN_MAX; k++) {
            if (swarm->notes[i].member[k] == of + 1) {
                swarm->notes[i].member[k] = 0;
            }
        }
    }
}

static uint32_t renew(ray__swarm *swarm, uint32_t place, uint64_t token) {
    forget_notes(swarm, place);
    memset(&swarm->members[place], 0, sizeof swarm->members[place]);
    swarm->members[place].token = token;
    return place;
}

// The place of a member: its own of before, a new one, or that of one who is gone. Who comes again with another pull has lost what it had.
static uint32_t place_for(ray__swarm *swarm, uint64_t token, const ray_endpoint *endpoint) {
    for (uint32_t i = 0; i < swarm->member_count; i++) {
        const member *other = &swarm->members[i];
        if (other->token == token) {
            return i;
        }
        if (other->offers == 0 && other->serves && endpoint->port == other->endpoint.port &&
            strcasecmp(endpoint->host, other->endpoint.host) == 0) {
            return renew(swarm, i, token);
        }
    }
    if (swarm->member_count == swarm->member_room && swarm->member_room < MEMBERS_MAX) {
        uint32_t room = swarm->member_room == 0 ? 4 : swarm->member_room * 2 > MEMBERS_MAX ? MEMBERS_MAX : swarm->member_room * 2;
        member *larger = realloc(swarm->members, room * sizeof *larger);
        if (larger != NULL) {
            swarm->members = larger;
            swarm->member_room = room;
        }
    }
    uint32_t place = swarm->member_count;
    if (place < swarm->member_room) {
        swarm->member_count++;
    } else {
        place = 0;
        while (place < swarm->member_count && swarm->members[place].offers > 0) {
            place++;
        }
        if (place == swarm->member_count) {
            return UINT32_MAX;
        }
    }
    return renew(swarm, place, token);
}

// The address that accept saw, without its port.
static void host_of(const char *peer, char *host) {
    const char *colon = strrchr(peer, ':');
    size_t length = colon == NULL ? 0 : (size_t)(colon - peer);
    length = length >= RAY_HOST_MAX ? 0 : length;
    memcpy(host, peer, length);
    host[length] = '\0';
}

void ray__swarm_join(ray_transfer *transfer, ray__offer *offer, const ray__open *open) {
    uint32_t chunk_count = ray__chunk_count(offer->size_bytes, offer->chunk_size);
    if (offer->name != NULL || chunk_count < 2 || chunk_count > CHUNKS_MAX) {
        return;
    }
    pthread_mutex_lock(&transfer->swarms_lock);
    ray__swarm *swarm = find_or_make(transfer, offer, chunk_count);
    pthread_mutex_unlock(&transfer->swarms_lock);
    if (swarm == NULL) {
        return;
    }
    ray_endpoint endpoint = {.port = open->port};
    memcpy(endpoint.host, open->host, sizeof open->host);
    if (open->host[0] == '\0') {
        host_of(offer->peer, endpoint.host);
    }
    pthread_mutex_lock(&swarm->lock);
    uint32_t place = place_for(swarm, open->token, &endpoint);
    if (place != UINT32_MAX) {
        member *joined = &swarm->members[place];
        joined->offers++;
        joined->gone = false;
        joined->endpoint = endpoint;
        joined->serves = endpoint.port != 0 && endpoint.host[0] != '\0';
    }
    pthread_mutex_unlock(&swarm->lock);
    offer->swarm = swarm;
    offer->member = place;
}

// A member that left in peace is remembered: its copy may be complete, and those that come later are referred to it.
void ray__swarm_leave(ray_transfer *transfer, ray__offer *offer) {
    ray__swarm *swarm = offer->swarm;
    if (swarm == NULL) {
        return;
    }
    pthread_mutex_lock(&swarm->lock);
    if (offer->member != UINT32_MAX) {
        member *left = &swarm->members[offer->member];
        left->gone = --left->offers == 0 && atomic_load(&offer->broken);
    }
    pthread_mutex_unlock(&swarm->lock);
    pthread_mutex_lock(&transfer->swarms_lock);
    swarm->refs--;
    swarm->idle_since_ns = ray__now_ns();
    pthread_mutex_unlock(&transfer->swarms_lock);
    offer->swarm = NULL;
    ray__swarms_expire(transfer, 0);
}

void ray__swarms_expire(ray_transfer *transfer, uint64_t older_than_ns) {
    pthread_mutex_lock(&transfer->swarms_lock);
    uint32_t idle = 0;
    ray__swarm **place = &transfer->swarms;
    while (*place != NULL) {
        ray__swarm *swarm = *place;
        idle += swarm->refs == 0;
        if (swarm->refs == 0 && (idle > IDLE_SWARMS_MAX || swarm->idle_since_ns < older_than_ns)) {
            *place = swarm->next;
            destroy(swarm);
        } else {
            place = &swarm->next;
        }
    }
    pthread_mutex_unlock(&transfer->swarms_lock);
}

// ---- places ------------------------------------------------------------------------------------------------------------------

static void wake(ray__watcher *watcher) {
    uint64_t one = 1;
    ssize_t written = write(watcher->event, &one, sizeof one);
    (void)written;
}

static uint32_t given_to(const ray__swarm *swarm, uint32_t of) {
    return of < swarm->member_count ? swarm->members[of].given : 0;
}

static void give_place_locked(ray__swarm *swarm) {
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
        swarm->places_taken--;
    }
}

void ray__swarm_give_place(ray__offer *offer) {
    pthread_mutex_lock(&offer->swarm->lock);
    give_place_locked(offer->swarm);
    pthread_mutex_unlock(&offer->swarm->lock);
}

static void pass_locked(ray__swarm *swarm, ray__watcher *watcher) {
    if (watcher->granted) {
        watcher->granted = false;
        give_place_locked(swarm);
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
    ray__watcher **place = &swarm->watchers;
    while (*place != watcher && *place != NULL) {
        place = &(*place)->next;
    }
    if (*place == watcher) {
        *place = watcher->next;
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
static const member *best_of(ray__swarm *swarm, const note *given, uint32_t asking, uint32_t *count, uint8_t *depth) {
    member *best = NULL;
    *count = 0;
    for (uint32_t k = 0; k < GIVEN_MAX; k++) {
        uint32_t at = given->member[k];
        if (at == 0) {
            continue;
        }
        member *other = &swarm->members[at - 1];
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

static void note_given(ray__swarm *swarm, note *given, uint32_t to, uint8_t depth) {
    uint32_t place = GIVEN_MAX;
    for (uint32_t k = 0; k < GIVEN_MAX; k++) {
        uint32_t at = given->member[k];
        if (at == to + 1) {
            place = k;
            break;
        }
        if (place == GIVEN_MAX && (at == 0 || swarm->members[at - 1].gone)) {
            place = k;
        }
    }
    if (place < GIVEN_MAX) {
        given->member[place] = (uint8_t)(to + 1);
        given->depth[place] = depth;
    }
    swarm->members[to].given++;
    // Those that wait to be sent the same can be referred now.
    for (ray__watcher *watcher = swarm->watchers; watcher != NULL; watcher = watcher->next) {
        if (watcher->waits && watcher->member != to) {
            wake(watcher);
        }
    }
}

static bool take_place(ray__swarm *swarm, ray__watcher *watcher) {
    uint64_t now = ray__now_ns();
    if (watcher->granted) {
        watcher->granted = false;
    } else if (swarm->places_taken < PLACES || (watcher->waits && now - watcher->since_ns >= PLACE_WAIT_NS)) {
        swarm->places_taken++;
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
                                    ray__refer *refer, bool *has_place) {
    ray__swarm *swarm = offer->swarm;
    *has_place = false;
    if (swarm == NULL || offer->member == UINT32_MAX) {
        return RAY__SEND;
    }
    bool may_refer = (request->flags & RAY__REQUEST_NO_REFER) == 0;
    enum ray__verdict verdict = RAY__SEND;
    pthread_mutex_lock(&swarm->lock);
    note *given = &swarm->notes[index];
    uint32_t count = 0;
    uint8_t depth = 0;
    const member *best = may_refer ? best_of(swarm, given, offer->member, &count, &depth) : NULL;
    uint32_t limit = offer->partial != NULL ? GIVEN_MAX : 1;
    if (best != NULL && count >= limit && depth < RAY__DEPTH_MAX) {
        ((member *)(uintptr_t)best)->referred_to++;
        *refer = (ray__refer){.index = index, .depth = (uint8_t)(depth + 1), .holder = best->endpoint};
        verdict = RAY__REFER;
    } else if (offer->partial == NULL && may_refer && swarm->members[offer->member].serves && several_serve(swarm)) {
        *has_place = take_place(swarm, watcher);
        verdict = *has_place ? RAY__SEND : RAY__HOLD;
    }
    if (verdict == RAY__SEND) {
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
    note *given = &offer->swarm->notes[index];
    for (uint32_t k = 0; k < GIVEN_MAX; k++) {
        if (given->member[k] == offer->member + 1) {
            given->member[k] = 0;
        }
    }
    pthread_mutex_unlock(&offer->swarm->lock);
}
