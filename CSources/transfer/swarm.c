// SPDX-License-Identifier: Apache-2.0
// Who is in a swarm: those that are sent the same object from here, also those that were and left in peace.
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock_internal.h"
#include "transfer/swarm_internal.h"

#define MEMBERS_MAX 250u // those beyond are referred to these, and nobody to them
#define CHUNKS_MAX (1u << 20) // 16 MiB of notes; what has more chunks is sent without them
#define IDLE_SWARMS_MAX 64u

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
        for (uint32_t k = 0; k < RAY__GIVEN_MAX; k++) {
            if (swarm->notes[i].member[k] == of + 1) {
                swarm->notes[i].member[k] = 0;
            }
        }
    }
}

static uint32_t renew(ray__swarm *swarm, uint32_t at, uint64_t token) {
    forget_notes(swarm, at);
    memset(&swarm->members[at], 0, sizeof swarm->members[at]);
    swarm->members[at].token = token;
    return at;
}

// The index of a member: its own of before, a new one, or that of one who is gone. Who comes again with another pull has lost what it had.
static uint32_t member_for(ray__swarm *swarm, uint64_t token, const ray_endpoint *endpoint) {
    for (uint32_t i = 0; i < swarm->member_count; i++) {
        const ray__member *other = &swarm->members[i];
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
        ray__member *larger = realloc(swarm->members, room * sizeof *larger);
        if (larger != NULL) {
            swarm->members = larger;
            swarm->member_room = room;
        }
    }
    uint32_t at = swarm->member_count;
    if (at < swarm->member_room) {
        swarm->member_count++;
    } else {
        at = 0;
        while (at < swarm->member_count && swarm->members[at].offers > 0) {
            at++;
        }
        if (at == swarm->member_count) {
            return UINT32_MAX;
        }
    }
    return renew(swarm, at, token);
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
    if (offer->name != NULL || offer->size_bytes < RAY__SWARM_SIZE_MIN || chunk_count > CHUNKS_MAX) {
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
    uint32_t at = member_for(swarm, open->token, &endpoint);
    if (at != UINT32_MAX) {
        ray__member *joined = &swarm->members[at];
        joined->offers++;
        joined->gone = false;
        joined->endpoint = endpoint;
        joined->serves = endpoint.port != 0 && endpoint.host[0] != '\0';
    }
    pthread_mutex_unlock(&swarm->lock);
    offer->swarm = swarm;
    offer->member = at;
}

// A member that left in peace is remembered: its copy may be complete, and those that come later are referred to it.
void ray__swarm_leave(ray_transfer *transfer, ray__offer *offer) {
    ray__swarm *swarm = offer->swarm;
    if (swarm == NULL) {
        return;
    }
    pthread_mutex_lock(&swarm->lock);
    if (offer->member != UINT32_MAX) {
        ray__member *left = &swarm->members[offer->member];
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
    ray__swarm **cursor = &transfer->swarms;
    while (*cursor != NULL) {
        ray__swarm *swarm = *cursor;
        idle += swarm->refs == 0;
        if (swarm->refs == 0 && (idle > IDLE_SWARMS_MAX || swarm->idle_since_ns < older_than_ns)) {
            *cursor = swarm->next;
            destroy(swarm);
        } else {
            cursor = &swarm->next;
        }
    }
    pthread_mutex_unlock(&transfer->swarms_lock);
}
