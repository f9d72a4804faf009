// SPDX-License-Identifier: Apache-2.0
// Which chunks of a pull are missing, asked for, here; and which sources are still worth asking.
#include <stdio.h>

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

static uint32_t whole_count(const ray_pull *pull) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < pull->source_count; i++) {
        count += !pull->sources[i].ended && !pull->sources[i].partial;
    }
    return count;
}

static void take_missing(ray__link *link, ray__request *request, uint32_t room, uint64_t now, uint64_t *wait_until_ns) {
    ray_pull *pull = link->pull;
    bool is_partial = pull->sources[link->source].partial;
    // A chunk that is late from here is asked for elsewhere, if there is an elsewhere.
    uint64_t self = is_partial || whole_count(pull) > 1 ? 1ull << link->source : 0;
    bool moves = true; // everything before `at` is taken
    for (uint32_t at = pull->search_from; request->count < room && pull->missing_count > 0 && at < pull->chunk_count; at++) {
        if (pull->chunks[at] != RAY__CHUNK_MISSING) {
            pull->search_from = moves ? at + 1 : pull->search_from;
            continue;
        }
        uint8_t flags = pull->depths[at] == RAY__NO_REFER ? RAY__REQUEST_NO_REFER : 0;
        if ((pull->away[at] & self) != 0 || (request->count > 0 && flags != request->flags)) {
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

static void return_locked(ray_pull *pull, uint32_t index) {
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
            return_locked(pull, link->due[i]);
        }
    }
    bool returned = link->due_count > 0;
    pull->sources[link->source].due_count -= link->due_count;
    link->due_count = 0;
    ray__link **place = &pull->links;
    while (*place != link) {
        place = &(*place)->next;
    }
    *place = link->next;
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

// The source that is referred to, or UINT32_MAX when it is of no use.
static uint32_t referred_source_locked(ray_pull *pull, const ray__refer *refer) {
    if (refer->holder.port == 0) {
        return UINT32_MAX;
    }
    uint32_t at = ray__pull_find_locked(pull, &refer->holder);
    if (at == UINT32_MAX && pull->source_count < RAY__SOURCES_MAX) {
        at = pull->source_count;
        ray__pull_add_locked(pull, &refer->holder, true);
        pull->sources[at].referred = true;
        pull->sources[at].partial = true;
    }
    return at != UINT32_MAX && !pull->sources[at].ended ? at : UINT32_MAX;
}

void ray__pull_chunk_referred(ray__link *link, const ray__refer *refer) {
    ray_pull *pull = link->pull;
    uint32_t index = refer->index;
    pthread_mutex_lock(&pull->lock);
    if (!atomic_load(&pull->ended) && pull->chunks[index] == RAY__CHUNK_ASKED) {
        uint32_t at = referred_source_locked(pull, refer);
        if (at == UINT32_MAX || at == link->source || refer->depth == 0) {
            if (refer->holder.port == 0) {
                pull->away[index] |= 1ull << link->source;
            }
            ray__chunk_missing_locked(pull, index, false);
        } else {
            ray__pull_source *to = &pull->sources[at];
            pull->chunks[index] = RAY__CHUNK_REFERRED;
            pull->depths[index] = refer->depth;
            if (to->referred_count++ == 0) {
                to->referred_first = index;
            } else {
                pull->next_referred[to->referred_last] = index;
            }
            to->referred_last = index;
            ray__partial_changed_locked(pull);
        }
        ray__pull_schedule_locked(pull, ray__now_ns());
    }
    pthread_mutex_unlock(&pull->lock);
}

void ray__pull_chunk_arrived(ray_pull *pull, uint32_t source, const ray_chunk_header *header) {
    atomic_fetch_add(&pull->transfer->received_bytes, header->raw_size);
    if (pull->sink.journal.file >= 0) {
        // Its bytes are written: only now may a later process count on them.
        ray_status recorded = ray__journal_record(&pull->sink.journal, header->index, header->checksum);
        if (recorded != RAY_OK) {
            ray__pull_end(pull, recorded, ray_last_error_message());
            return;
        }
    }
    pthread_mutex_lock(&pull->lock);
    if (pull->chunks[header->index] != RAY__CHUNK_HERE) {
        // Not always from where it was asked for last.
        pull->missing_count -= pull->chunks[header->index] == RAY__CHUNK_MISSING;
        pull->chunks[header->index] = RAY__CHUNK_HERE;
        pull->checksums[header->index] = header->checksum;
        pull->here_count++;
        pull->progress.done_bytes += ray__sink_wanted_size(pull, header->index);
        pull->progress.wire_bytes += header->stored_size;
        pull->progress.none_count += header->codec == RAY_CODEC_NONE;
        pull->progress.lz4_count += header->codec == RAY_CODEC_LZ4;
        if (header->codec == RAY_CODEC_ZSTD) {
            pull->progress.zstd_count++;
            pull->progress.zstd_level = header->level;
        }
        pull->sources[source].attempts = 0;
        pull->unreachable_since_ns = 0;
        pull->sources[source].corrupt = 0;
        ray__partial_changed_locked(pull);
        if (pull->here_count == pull->chunk_count) {
            ray__pull_end_locked(pull, RAY_OK, "");
        }
    }
    pthread_mutex_unlock(&pull->lock);
}

void ray__pull_chunk_was_here(ray_pull *pull, uint32_t index, bool is_right) {
    uint32_t raw_size = ray__chunk_raw_size(pull->size_bytes, pull->chunk_size, index);
    pthread_mutex_lock(&pull->lock);
    if (is_right) {
        pull->chunks[index] = RAY__CHUNK_HERE;
        ray__partial_changed_locked(pull);
        pull->here_count++;
        pull->progress.done_bytes += raw_size;
        pull->progress.resumed_bytes += raw_size;
        if (pull->here_count == pull->chunk_count) {
            ray__pull_end_locked(pull, RAY_OK, "");
        }
    } else {
        pull->checksums[index] = 0;
        ray__chunk_missing_locked(pull, index, true);
        ray__pull_schedule_locked(pull, ray__now_ns());
    }
    pthread_mutex_unlock(&pull->lock);
}

void ray__pull_chunk_corrupt(ray_pull *pull, uint32_t source, uint32_t index, const char *message) {
    atomic_fetch_add(&pull->transfer->corrupt_count, 1);
    pthread_mutex_lock(&pull->lock);
    ray__pull_source *from = &pull->sources[source];
    if (++from->corrupt >= RAY__CORRUPT_MAX) {
        char text[RAY__TEXT_MAX];
        snprintf(text, sizeof text, "%s:%u sent %u damaged chunks in a row: %.300s", from->endpoint.host, from->endpoint.port,
                 from->corrupt, message);
        ray__pull_source_failed_locked(pull, source, RAY_CORRUPT, text, true);
    }
    if (index != UINT32_MAX) {
        return_locked(pull, index);
        ray__pull_schedule_locked(pull, ray__now_ns());
    }
    pthread_mutex_unlock(&pull->lock);
}

// When several sources failed, the reason that says most about the object is told.
static int weight_of(ray_status status) {
    static const ray_status order[] = {RAY_EXISTS,         RAY_UNREACHABLE, RAY_PROTOCOL,   RAY_VERSION_MISMATCH, RAY_KEY_REFUSED,
                                       RAY_NOT_FOUND,      RAY_NOT_LOCAL,   RAY_NOT_SEALED, RAY_OBJECT_LOST,      RAY_OWNER_DIED,
                                       RAY_OBJECT_FREED,   RAY_CORRUPT,     RAY_SOURCE_CHANGED};
    for (int i = 0; i < (int)(sizeof order / sizeof order[0]); i++) {
        if (order[i] == status) {
            return 2 * i;
        }
    }
    return 9; // between what concerns the peer and what concerns the object
}

static bool is_of_the_network(ray_status status) {
    return status == RAY_UNREACHABLE || status == RAY_PEER_CLOSED || status == RAY_TIMED_OUT;
}

static bool final_of_all(const ray_pull *pull) {
    return pull->source_status == RAY_OK && !ray__pull_has_whole_locked(pull);
}

// Whether a source that cannot be reached is worth another try however many there were. Before anything is known of the object it is not:
// then a wrong address would be waited for. Nor is it while another one serves.
static bool is_patient(ray_pull *pull, const ray__pull_source *failed, ray_status status, uint64_t now) {
    if (!pull->opened || failed->referred || !is_of_the_network(status)) {
        return false;
    }
    for (uint32_t i = 0; i < pull->source_count; i++) {
        const ray__pull_source *other = &pull->sources[i];
        if (other != failed && !other->ended && !other->referred && other->answered && other->attempts == 0) {
            return false;
        }
    }
    pull->unreachable_since_ns = pull->unreachable_since_ns == 0 ? now : pull->unreachable_since_ns;
    return now - pull->unreachable_since_ns < pull->patience_ns;
}

static uint64_t backoff(uint32_t attempts) {
    uint64_t pause = attempts < 8 ? (RAY__BACKOFF_NS << attempts) / 2 : RAY__BACKOFF_MAX_NS;
    return pause < RAY__BACKOFF_MAX_NS ? pause : RAY__BACKOFF_MAX_NS;
}

void ray__pull_source_failed_locked(ray_pull *pull, uint32_t source, ray_status status, const char *message, bool final) {
    ray__pull_source *failed = &pull->sources[source];
    uint64_t now = ray__now_ns();
    bool again = !final && (++failed->attempts <= RAY__ATTEMPTS_MAX || is_patient(pull, failed, status, now));
    failed->ended = failed->ended || !again;
    failed->retry_at_ns = again ? now + backoff(failed->attempts) : 0;
    // TIMED_OUT is the caller's own limit, and a copy that a card promised and that is not there is lost.
    ray_status told = is_of_the_network(status) ? RAY_UNREACHABLE : status;
    told = told == RAY_NOT_FOUND && failed->learned ? RAY_OBJECT_LOST : told;
    if (pull->opened) {
        ray__referred_return_locked(pull, source);
    }
    // What became of another receiver says nothing of the object.
    if (failed->referred && !final_of_all(pull)) {
        ray__pull_schedule_locked(pull, now);
        ray__transfer_wake_supervisor(pull->transfer);
        return;
    }
    if (pull->source_status == RAY_OK || weight_of(told) >= weight_of(pull->source_status)) {
        pull->source_status = told;
        snprintf(pull->source_message, sizeof pull->source_message, "%s", message);
    }
    if (told == RAY_UNREACHABLE) {
        pull->grace_until_ns = now + RAY__GRACE_NS;
    }
    ray__transfer_wake_supervisor(pull->transfer);
}

void ray__pull_source_failed(ray_pull *pull, uint32_t source, ray_status status, const char *message, bool final) {
    pthread_mutex_lock(&pull->lock);
    ray__pull_source_failed_locked(pull, source, status, message, final);
    pthread_mutex_unlock(&pull->lock);
}
