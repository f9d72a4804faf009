// SPDX-License-Identifier: Apache-2.0
// Which sources a pull asks and when: one after the other until one has answered, then all that are useful.
#include <string.h>
#include <strings.h>

#include "base/clock_internal.h"
#include "base/error_internal.h"
#include "transfer/transfer_internal.h"

// To a source that is near: one alone does not fill a fast link.
#define CONNECTIONS 2u
// Of a round trip for one more. What a connection has on its way is bounded by the kernel (tcp_wmem: 4 MiB by default), so in a second it
// brings the less the longer the way is.
#define ROUND_TRIP_PART_NS 5000000u

uint32_t ray__pull_connections_locked(const ray_pull *pull, uint32_t source) {
    if (pull->connection_count != 0) {
        return pull->connection_count;
    }
    uint64_t more = pull->sources[source].round_trip_ns / ROUND_TRIP_PART_NS;
    return more > RAY_CONNECTION_COUNT_MAX - CONNECTIONS ? RAY_CONNECTION_COUNT_MAX : CONNECTIONS + (uint32_t)more;
}

uint32_t ray__pull_find_locked(const ray_pull *pull, const ray_endpoint *endpoint) {
    for (uint32_t i = 0; i < pull->source_count; i++) {
        if (pull->sources[i].endpoint.port == endpoint->port && strcasecmp(pull->sources[i].endpoint.host, endpoint->host) == 0) {
            return i;
        }
    }
    return UINT32_MAX;
}

void ray__pull_add_locked(ray_pull *pull, const ray_endpoint *endpoint, bool learned) {
    if (ray__pull_find_locked(pull, endpoint) != UINT32_MAX) {
        return;
    }
    if (pull->source_count < RAY__SOURCES_MAX) {
        ray__pull_source *added = &pull->sources[pull->source_count++];
        memset(added, 0, sizeof *added);
        added->endpoint = *endpoint;
        added->learned = learned;
    }
}

static void start_link_locked(ray_pull *pull, uint32_t source) {
    if (ray__link_queue_push(pull, source) == RAY_OK) {
        pull->sources[source].links++;
        pull->active++;
    } else {
        ray__pull_end_locked(pull, RAY_OUT_OF_MEMORY, ray_last_error_message());
    }
}

// Whether the source gets a link beside so many. The threads are shared: those that only distance asks for leave half of them to others.
static bool may_have_more(const ray_pull *pull, uint32_t source, uint32_t links) {
    return links < ray__pull_connections_locked(pull, source) &&
           (pull->connection_count != 0 || links < CONNECTIONS || ray__link_queue_is_roomy(pull->transfer));
}

static bool usable(const ray__pull_source *source, uint64_t now) {
    return !source->ended && source->retry_at_ns <= now;
}

// Before a source has answered: one after the other, the next when one has failed or takes long.
static void schedule_opening_locked(ray_pull *pull, uint64_t now) {
    uint32_t links = 0;
    for (uint32_t i = 0; i < pull->source_count; i++) {
        links += pull->sources[i].links;
    }
    if (pull->opening || (links > 0 && now < pull->open_next_ns)) {
        return;
    }
    for (uint32_t i = 0; i < pull->source_count; i++) {
        if (usable(&pull->sources[i], now) && pull->sources[i].links == 0) {
            start_link_locked(pull, i);
            pull->open_next_ns = now + RAY__HEDGE_NS;
            return;
        }
    }
}

// Afterwards: a link for every source first, then more, never more links than chunks are missing. One that lacks chunks itself gets one
// link, for those it was said to have.
static void schedule_fetching_locked(ray_pull *pull, uint64_t now) {
    uint32_t wanted = pull->missing_count;
    uint64_t fit = 0;        // a bit for each that may be asked for some of it
    bool has_timely = false; // one of those that is whole and not late
    for (uint32_t i = 0; i < pull->source_count; i++) {
        const ray__pull_source *source = &pull->sources[i];
        bool has_some = ray__pull_has_missing_for_locked(pull, i);
        fit |= (uint64_t)has_some << i;
        has_timely = has_timely || (has_some && !source->ended && !source->partial && !source->guides && !source->late);
    }
    bool has_whole = ray__pull_has_whole_locked(pull);
    for (uint32_t round = 0; round < RAY_CONNECTION_COUNT_MAX; round++) {
        for (uint32_t i = 0; i < pull->source_count && !atomic_load(&pull->ended); i++) {
            ray__pull_source *source = &pull->sources[i];
            bool takes = (fit >> i & 1) != 0 && !(source->late && has_timely);
            bool useful = source->referred_count > 0 || (wanted > 0 && takes && (!source->partial || !has_whole));
            if (source->links > round) {
                // A link of one that is late, or to which nothing of it may go, does not take what is missing.
                wanted -= wanted > 0 && !source->partial && !source->guides && takes;
            } else if (useful && usable(source, now) && may_have_more(pull, i, round)) {
                // A source that never answered gets one link, until it has.
                if (round == 0 || (source->answered && !source->partial)) {
                    start_link_locked(pull, i);
                    wanted -= wanted > 0 && !source->partial && !source->guides;
                }
            }
        }
    }
}

void ray__pull_schedule_locked(ray_pull *pull, uint64_t now) {
    if (atomic_load(&pull->ended)) {
        return;
    }
    if (!pull->opened) {
        schedule_opening_locked(pull, now);
    } else {
        schedule_fetching_locked(pull, now);
    }
    if (pull->active > 0) {
        return;
    }
    for (uint32_t i = 0; i < pull->source_count; i++) {
        if (!pull->sources[i].ended) {
            return; // to be tried again at its time
        }
    }
    if (now < pull->grace_until_ns) {
        return;
    }
    if (pull->source_status == RAY_OK) {
        ray__pull_end_locked(pull, RAY_OBJECT_LOST, "none of the places that were asked has the object, or knows who has");
    } else {
        ray__pull_end_locked(pull, pull->source_status, pull->source_message);
    }
}
