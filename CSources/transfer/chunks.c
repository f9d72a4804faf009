// SPDX-License-Identifier: Apache-2.0
// Which chunks of a pull are missing, and which are asked for on which link.
#include "base/clock_internal.h"
#include "transfer/transfer_internal.h"

// Links to those that have all of it.
static uint32_t running_links(const ray_pull *pull) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < pull->source_count; i++) {
        count += pull->sources[i].partial ? 0 : pull->sources[i].links;
    }
    return count;
}

// The pull's own cap, those of its class and of the transfer, and what is more urgent.
static bool may_ask(ray_pull *pull, uint32_t raw_size, uint64_t *wait_until_ns) {
    uint64_t now = ray__now_ns();
    if (!ray__rate_take(&pull->rate, raw_size, now, wait_until_ns)) {
        return false;
    }
    bool may = ray__flow_take(&pull->transfer->receiving, atomic_load(&pull->urgency), raw_size, now, wait_until_ns);
    if (!may) {
        ray__rate_give(&pull->rate, raw_size);
    }
    return may;
}

// A source of several has so much due that it brings it in about a second, so that a slow one never holds many chunks.
static uint32_t room_of(const ray_pull *pull, const ray__link *link) {
    const ray__pull_source *source = &pull->sources[link->source];
    uint32_t room = link->depth > link->due_count ? link->depth - link->due_count : 0;
    if (source->rate == 0 || pull->source_count < 2) {
        return room;
    }
    uint64_t second = source->rate / pull->chunk_size + 1;
    uint64_t limit = second < RAY__DUE_MIN ? RAY__DUE_MIN : second;
    uint64_t rest = limit > source->due_count ? limit - source->due_count : 0;
    return rest < room ? (uint32_t)rest : room;
}

static void note_due(ray__link *link, uint32_t index, uint64_t now) {
    link->due[link->due_count] = index;
    link->due_since_ns[link->due_count++] = now;
    link->pull->sources[link->source].due_count++;
}

static void ask_locked(ray__link *link, ray__request *request, uint32_t index, uint8_t depth, uint64_t now) {
    link->pull->chunks[index] = RAY__CHUNK_ASKED;
    link->pull->depths[index] = depth;
    request->indices[request->count++] = index;
    note_due(link, index, now);
}

// The first of a source's list; those that came from elsewhere meanwhile are taken off.
static uint32_t referred_peek(ray_pull *pull, ray__pull_source *source) {
    while (source->referred_count > 0 && pull->chunks[source->referred_first] != RAY__CHUNK_REFERRED) {
        source->referred_first = pull->next_referred[source->referred_first];
        source->referred_count--;
    }
    return source->referred_count > 0 ? source->referred_first : RAY__NO_CHUNK;
}

static void referred_drop_first(ray_pull *pull, ray__pull_source *source) {
    source->referred_first = pull->next_referred[source->referred_first];
    source->referred_count--;
}

// What this source was said to have. All of a request have the same depth.
static void take_referred(ray__link *link, ray__request *request, uint32_t room, uint64_t now, uint64_t *wait_until_ns) {
    ray_pull *pull = link->pull;
    ray__pull_source *source = &pull->sources[link->source];
    while (request->count < room) {
        uint32_t index = referred_peek(pull, source);
        if (index == RAY__NO_CHUNK || (request->count > 0 && pull->depths[index] != request->depth) ||
            !may_ask(pull, ray__chunk_raw_size(pull->size_bytes, pull->chunk_size, index), wait_until_ns)) {
            return;
        }
        referred_drop_first(pull, source);
        request->depth = pull->depths[index];
        ask_locked(link, request, index, request->depth, now);
    }
}

// A bit for each of those that have all of it and may still be asked.
static uint64_t whole_sources(const ray_pull *pull) {
    uint64_t sources = 0;
    for (uint32_t i = 0; i < pull->source_count; i++) {
        sources |= (uint64_t)ray__source_is_whole(&pull->sources[i]) << i;
    }
    return sources;
}

// Whether a missing chunk is to come from elsewhere: this source lacks it, or is late with it. Of those that have all of it one is always
// asked.
static bool is_away(const ray_pull *pull, uint32_t index, uint32_t source, uint64_t wholes) {
    if ((pull->away[index] & 1ull << source) == 0) {
        return false;
    }
    return pull->sources[source].partial || (wholes & ~pull->away[index]) != 0;
}

bool ray__pull_has_missing_for_locked(const ray_pull *pull, uint32_t source) {
    uint64_t wholes = whole_sources(pull);
    uint32_t left = pull->missing_count;
    for (uint32_t at = pull->search_from; left > 0 && at < pull->chunk_count; at++) {
        if (pull->chunks[at] == RAY__CHUNK_MISSING) {
            if (!is_away(pull, at, source, wholes)) {
                return true;
            }
            left--;
        }
    }
    return false;
}

static void take_missing(ray__link *link, ray__request *request, uint32_t room, uint64_t now, uint64_t *wait_until_ns) {
    ray_pull *pull = link->pull;
    bool is_partial = pull->sources[link->source].partial;
    uint64_t wholes = whole_sources(pull);
    bool moves = true; // everything before `at` is taken
    for (uint32_t at = pull->search_from; request->count < room && pull->missing_count > 0 && at < pull->chunk_count; at++) {
        if (pull->chunks[at] != RAY__CHUNK_MISSING) {
            pull->search_from = moves ? at + 1 : pull->search_from;
            continue;
        }
        uint8_t flags = pull->depths[at] == RAY__NO_REFER ? RAY__REQUEST_NO_REFER : 0;
        if (is_away(pull, at, link->source, wholes) || (request->count > 0 && flags != request->flags)) {
            moves = false;
            continue;
        }
        if (!may_ask(pull, ray__chunk_raw_size(pull->size_bytes, pull->chunk_size, at), wait_until_ns)) {
            return;
        }
        request->flags = flags;
        // One that lacks chunks itself is asked for what it has, at a depth at which it refers to nobody.
        request->depth = is_partial ? RAY__DEPTH_MAX : 0;
        ask_locked(link, request, at, request->depth, now);
        pull->missing_count--;
        pull->search_from = moves ? at + 1 : pull->search_from;
    }
}

void ray__pull_take_chunks(ray__link *link, ray__request *request, uint64_t *wait_until_ns) {
    ray_pull *pull = link->pull;
    uint64_t now = ray__now_ns();
    request->count = 0;
    *wait_until_ns = 0;
    pthread_mutex_lock(&pull->lock);
    if (!atomic_load(&pull->ended)) {
        uint32_t room = room_of(pull, link);
        take_referred(link, request, room, now, wait_until_ns);
        if (request->count == 0 && (!pull->sources[link->source].partial || !ray__pull_has_whole_locked(pull))) {
            // Near the end every link gets its share, so that the last chunks are not all due from the slowest.
            uint32_t links = running_links(pull);
            uint32_t share = pull->missing_count / (links == 0 ? 1 : links) + 1;
            take_missing(link, request, room < share ? room : share, now, wait_until_ns);
        }
    }
    pthread_mutex_unlock(&pull->lock);
}

bool ray__pull_take_inline(ray_pull *pull, uint32_t *index) {
    bool found = false;
    pthread_mutex_lock(&pull->lock);
    for (uint32_t at = 0; at < pull->chunk_count && !found && !atomic_load(&pull->ended); at++) {
        if (pull->chunks[at] == RAY__CHUNK_MISSING) {
            pull->chunks[at] = RAY__CHUNK_ASKED;
            pull->missing_count--;
            *index = at;
            found = true;
        }
    }
    pthread_mutex_unlock(&pull->lock);
    return found;
}

// A chunk to be asked for again. What was referred is asked of one that has all of it, who shall not refer again.
void ray__chunk_missing_locked(ray_pull *pull, uint32_t index, bool may_be_referred) {
    pull->chunks[index] = RAY__CHUNK_MISSING;
    pull->depths[index] = may_be_referred ? 0 : RAY__NO_REFER;
    pull->missing_count++;
    pull->search_from = index < pull->search_from ? index : pull->search_from;
    ray__partial_changed_locked(pull); // who waits for it here goes elsewhere
}

void ray__chunk_return_locked(ray_pull *pull, uint32_t index) {
    if (pull->chunks[index] == RAY__CHUNK_ASKED) {
        ray__chunk_missing_locked(pull, index, pull->depths[index] == 0);
        pull->progress.retried_count++;
        atomic_fetch_add(&pull->transfer->retried_count, 1);
    }
}

bool ray__link_is_due(ray__link *link, uint32_t index) {
    bool found = false;
    pthread_mutex_lock(&link->pull->lock);
    for (uint32_t i = 0; i < link->due_count && !found; i++) {
        found = link->due[i] == index;
    }
    pthread_mutex_unlock(&link->pull->lock);
    return found;
}

static void measure_locked(ray_pull *pull, ray__pull_source *source, uint64_t asked_ns, uint64_t now) {
    pull->arrived_ns = now;
    source->arrived_ns = now;
    source->late = false;
    uint64_t took = asked_ns == UINT64_MAX || asked_ns > now ? 0 : now - asked_ns;
    if (took != 0) {
        pull->chunk_time_ns = pull->chunk_time_ns == 0 ? took : pull->chunk_time_ns - pull->chunk_time_ns / 8 + took / 8;
    }
    if (source->rate_since_ns == 0) {
        source->rate_since_ns = asked_ns == UINT64_MAX ? now : asked_ns;
    }
    source->rate_bytes += pull->chunk_size;
    uint64_t span = now - source->rate_since_ns;
    if (span >= RAY__RATE_SPAN_NS) {
        uint64_t rate = (uint64_t)((double)source->rate_bytes * 1e9 / (double)span);
        source->rate = source->rate == 0 ? rate : source->rate / 2 + rate / 2 + 1;
        source->rate_since_ns = now;
        source->rate_bytes = 0;
    }
}

// Answered: with the chunk, or why there is none.
static void not_due(ray__link *link, uint32_t index, bool arrived) {
    ray_pull *pull = link->pull;
    pthread_mutex_lock(&pull->lock);
    for (uint32_t i = 0; i < link->due_count; i++) {
        if (link->due[i] == index) {
            if (arrived) {
                measure_locked(pull, &pull->sources[link->source], link->due_since_ns[i], ray__now_ns());
            }
            link->due_count--;
            link->due[i] = link->due[link->due_count];
            link->due_since_ns[i] = link->due_since_ns[link->due_count];
            pull->sources[link->source].due_count--;
            break;
        }
    }
    pthread_mutex_unlock(&pull->lock);
}

void ray__link_answered(ray__link *link, uint32_t index) {
    not_due(link, index, true);
}

void ray__link_not_due(ray__link *link, uint32_t index) {
    not_due(link, index, false);
}

void ray__link_enlist(ray__link *link) {
    pthread_mutex_lock(&link->pull->lock);
    link->next = link->pull->links;
    link->pull->links = link;
    pthread_mutex_unlock(&link->pull->lock);
}

void ray__link_return_due(ray__link *link) {
    ray_pull *pull = link->pull;
    pthread_mutex_lock(&pull->lock);
    for (uint32_t i = 0; i < link->due_count; i++) {
        // One that is asked for elsewhere too is left to that.
        if (!atomic_load(&pull->ended) && link->due_since_ns[i] != UINT64_MAX) {
            ray__chunk_return_locked(pull, link->due[i]);
        }
    }
    bool returned = link->due_count > 0;
    pull->sources[link->source].due_count -= link->due_count;
    link->due_count = 0;
    ray__link **cursor = &pull->links;
    while (*cursor != link) {
        cursor = &(*cursor)->next;
    }
    *cursor = link->next;
    if (returned) {
        ray__pull_schedule_locked(pull, ray__now_ns());
    }
    pthread_mutex_unlock(&pull->lock);
}

void ray__referred_return_locked(ray_pull *pull, uint32_t source) {
    ray__pull_source *from = &pull->sources[source];
    for (uint32_t index = referred_peek(pull, from); index != RAY__NO_CHUNK; index = referred_peek(pull, from)) {
        referred_drop_first(pull, from);
        ray__chunk_missing_locked(pull, index, false);
    }
}
