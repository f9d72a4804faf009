// SPDX-License-Identifier: Apache-2.0
// The end of a pull, and chunks that come twice.
//
// When nothing is missing but chunks that are due from a source that takes long, an idle source is asked for them too; the first to
// arrive is kept. A chunk has one writer at a time, and none once it is here: the bytes of a second arrival go through a buffer, and are
// thrown away if the first was whole. So a late or lying sender cannot touch what was verified.
#include <sys/socket.h>

#include "base/clock_internal.h"
#include "transfer/transfer_internal.h"

static ray__claim *find_claim(ray_pull *pull, uint32_t index) {
    for (uint32_t i = 0; i < pull->claim_count; i++) {
        if (pull->claims[i].index == index) {
            return &pull->claims[i];
        }
    }
    return NULL;
}

static enum ray__claimed take_locked(ray_pull *pull, uint32_t index, ray__link *link) {
    if (pull->chunks[index] == RAY__CHUNK_HERE) {
        return RAY__CLAIM_HERE;
    }
    // There is a place for every link and worker.
    if (find_claim(pull, index) != NULL || pull->claim_count == RAY__CLAIMS_MAX) {
        return RAY__CLAIM_BUSY;
    }
    pull->claims[pull->claim_count++] = (ray__claim){index, link, false};
    return RAY__CLAIM_MINE;
}

enum ray__claimed ray__claim_take(ray_pull *pull, uint32_t index, ray__link *link) {
    pthread_mutex_lock(&pull->lock);
    enum ray__claimed claimed = take_locked(pull, index, link);
    pthread_mutex_unlock(&pull->lock);
    return claimed;
}

void ray__claim_drop(ray_pull *pull, uint32_t index) {
    pthread_mutex_lock(&pull->lock);
    ray__claim *claim = find_claim(pull, index);
    if (claim != NULL) {
        bool left = claim->left;
        *claim = pull->claims[--pull->claim_count];
        // What came meanwhile was thrown away, so it may be due from nobody.
        if (left && !atomic_load(&pull->ended)) {
            ray__chunk_return_locked(pull, index);
            ray__pull_schedule_locked(pull, ray__now_ns());
        }
    }
    pthread_cond_broadcast(&pull->claims_changed);
    pthread_mutex_unlock(&pull->lock);
}

static void kick_locked(ray__claim *claim) {
    if (claim != NULL && claim->link != NULL && !claim->link->kicked) {
        claim->link->kicked = true;
        shutdown(claim->link->connection.socket, SHUT_RDWR);
    }
}

enum ray__claimed ray__claim_take_or_leave(ray_pull *pull, uint32_t index) {
    pthread_mutex_lock(&pull->lock);
    enum ray__claimed claimed = take_locked(pull, index, NULL);
    ray__claim *claim = claimed == RAY__CLAIM_BUSY ? find_claim(pull, index) : NULL;
    if (claim != NULL) {
        claim->left = true;
        kick_locked(claim);
    }
    pthread_mutex_unlock(&pull->lock);
    return claimed;
}

enum ray__claimed ray__claim_wait(ray__link *link, uint32_t index) {
    ray_pull *pull = link->pull;
    pthread_mutex_lock(&pull->lock);
    enum ray__claimed claimed = take_locked(pull, index, NULL);
    while (claimed == RAY__CLAIM_BUSY && !atomic_load(&pull->ended)) {
        kick_locked(find_claim(pull, index));
        pthread_cond_wait(&pull->claims_changed, &pull->lock);
        claimed = take_locked(pull, index, NULL);
    }
    pthread_mutex_unlock(&pull->lock);
    return claimed;
}

// A source whose attempts are used up is only waited for (it may come back): until it does it counts as having nothing.
bool ray__source_is_whole(const ray__pull_source *source) {
    return !source->ended && !source->partial && !source->guides && source->attempts <= RAY__ATTEMPTS_MAX;
}

bool ray__pull_has_whole_locked(const ray_pull *pull) {
    for (uint32_t i = 0; i < pull->source_count; i++) {
        if (ray__source_is_whole(&pull->sources[i])) {
            return true;
        }
    }
    return false;
}

// A source that has all of it, is connected or was or has not been tried yet, and owes nothing.
static bool has_idle_locked(const ray_pull *pull, uint32_t except, uint64_t now) {
    for (uint32_t i = 0; i < pull->source_count; i++) {
        const ray__pull_source *source = &pull->sources[i];
        bool answers = source->answered || (source->links == 0 && source->attempts == 0);
        if (i != except && !source->ended && !source->partial && !source->guides && answers && source->due_count == 0 && source->retry_at_ns <= now) {
            return true;
        }
    }
    return false;
}

static void look_at_link_locked(ray_pull *pull, ray__link *link, uint64_t now) {
    uint64_t patience = 2 * pull->chunk_time_ns > RAY__TAIL_NS ? 2 * pull->chunk_time_ns : RAY__TAIL_NS;
    bool late = false;
    for (uint32_t i = 0; i < link->due_count; i++) {
        uint64_t since = link->due_since_ns[i];
        // A source that brings others meanwhile will come to this one.
        uint64_t moved = pull->sources[link->source].arrived_ns;
        if (since == UINT64_MAX || (since > moved ? since : moved) + patience > now) {
            continue;
        }
        late = pull->sources[link->source].late = true;
        link->due_since_ns[i] = UINT64_MAX;
        if (pull->chunks[link->due[i]] == RAY__CHUNK_ASKED) {
            pull->away[link->due[i]] = 1ull << link->source;
            ray__chunk_missing_locked(pull, link->due[i], false);
            pull->progress.retried_count++;
            atomic_fetch_add(&pull->transfer->retried_count, 1);
        }
    }
    if (late) {
        ray__referred_return_locked(pull, link->source);
    }
}

// Nobody who has all of it is left. The others are asked for what they have, again and again while something comes; then they are given up:
// they may all be waiting for each other.
static uint64_t look_for_rescue_locked(ray_pull *pull, uint64_t now) {
    bool hopeless = now - (pull->arrived_ns > pull->rescue_since_ns ? pull->arrived_ns : pull->rescue_since_ns) > RAY__RESCUE_NS;
    for (uint32_t i = 0; i < pull->source_count; i++) {
        // What else is waited for ends with the pull's patience.
        if (hopeless && pull->sources[i].due_count == 0 && !pull->sources[i].ended && pull->sources[i].partial) {
            pull->sources[i].ended = true;
            ray__referred_return_locked(pull, i);
        }
    }
    for (uint32_t i = 0; i < pull->chunk_count; i++) {
        pull->away[i] = 0;
    }
    return now + RAY__TAIL_LOOK_NS;
}

uint64_t ray__tail_look_locked(ray_pull *pull, uint64_t now) {
    if (!pull->opened || pull->source_count < 2 || atomic_load(&pull->ended)) {
        return UINT64_MAX;
    }
    if (now < pull->look_due_ns) {
        return pull->look_due_ns;
    }
    pull->look_due_ns = now + RAY__TAIL_LOOK_NS;
    if (!ray__pull_has_whole_locked(pull)) {
        pull->rescue_since_ns = pull->rescue_since_ns == 0 ? now : pull->rescue_since_ns;
        return look_for_rescue_locked(pull, now);
    }
    pull->rescue_since_ns = 0;
    for (ray__link *link = pull->links; link != NULL && pull->missing_count == 0; link = link->next) {
        if (has_idle_locked(pull, link->source, now)) {
            look_at_link_locked(pull, link, now);
        }
    }
    return pull->look_due_ns;
}
