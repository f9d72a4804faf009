// SPDX-License-Identifier: Apache-2.0
// Which sources of a pull are still worth asking, and what is told when none is.
#include <stdio.h>

#include "base/clock_internal.h"
#include "transfer/transfer_internal.h"

// When several sources failed, the reason that says most about the object is told.
static int weight_of(ray_status status) {
    static const ray_status order[] = {RAY_EXISTS,         RAY_UNREACHABLE, RAY_PROTOCOL,   RAY_VERSION_MISMATCH, RAY_KEY_REFUSED,
                                       RAY_NOT_FOUND,      RAY_NOT_LOCAL,   RAY_NOT_SEALED, RAY_NO_HOLDER,        RAY_OBJECT_LOST,
                                       RAY_OWNER_DIED,     RAY_OBJECT_FREED, RAY_CORRUPT,   RAY_SOURCE_CHANGED};
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

// What a source answers that may have the object again, or know who has.
static bool may_change(ray_status status) {
    return status == RAY_NOT_LOCAL || status == RAY_NO_HOLDER;
}

static bool another_serves(const ray_pull *pull, const ray__pull_source *than) {
    for (uint32_t i = 0; i < pull->source_count; i++) {
        const ray__pull_source *other = &pull->sources[i];
        if (other != than && !other->ended && !other->referred && other->answered && other->attempts == 0) {
            return true;
        }
    }
    return false;
}

// Whether a pull to which nobody brings anything now goes on all the same. Before anything is known of the object it does not: then a wrong
// address would be waited for.
static bool is_patient(ray_pull *pull, const ray__pull_source *failed, uint64_t now) {
    if (!pull->opened || pull->patience_ns == 0 || another_serves(pull, failed)) {
        return false;
    }
    pull->still_since_ns = pull->still_since_ns == 0 ? now : pull->still_since_ns;
    return now - pull->still_since_ns < pull->patience_ns;
}

static uint64_t backoff(uint32_t attempts) {
    uint64_t pause = attempts < 8 ? (RAY__BACKOFF_NS << attempts) / 2 : RAY__BACKOFF_MAX_NS;
    return pause < RAY__BACKOFF_MAX_NS ? pause : RAY__BACKOFF_MAX_NS;
}

// Those who know who has the object may know of others by now.
static void ask_guides_locked(ray_pull *pull, uint64_t now) {
    for (uint32_t i = 0; i < pull->source_count; i++) {
        ray__pull_source *guide = &pull->sources[i];
        if (guide->guides && guide->ended) {
            guide->ended = false;
            guide->attempts = 0;
            guide->retry_at_ns = now;
        }
    }
}

void ray__pull_source_guides(ray_pull *pull, uint32_t source) {
    pthread_mutex_lock(&pull->lock);
    ray__pull_source *guide = &pull->sources[source];
    uint64_t now = ray__now_ns();
    guide->guides = true;
    guide->ended = pull->still_since_ns == 0 || !is_patient(pull, guide, now);
    guide->retry_at_ns = guide->ended ? 0 : now + backoff(++guide->attempts);
    ray__referred_return_locked(pull, source);
    pthread_mutex_unlock(&pull->lock);
    ray__transfer_wake_supervisor(pull->transfer);
}

void ray__pull_named_locked(ray_pull *pull, const ray_endpoint *endpoint) {
    uint32_t known = ray__pull_find_locked(pull, endpoint);
    if (known == UINT32_MAX) {
        ray__pull_add_locked(pull, endpoint, true);
        return;
    }
    ray__pull_source *again = &pull->sources[known];
    // One that sent damage is not believed once more because others name it.
    if (pull->still_since_ns != 0 && again->ended && !again->guides && again->corrupt < RAY__CORRUPT_MAX) {
        again->ended = again->referred = again->partial = false;
        again->retry_at_ns = ray__now_ns() + backoff(++again->attempts);
    }
}

void ray__pull_source_failed_locked(ray_pull *pull, uint32_t source, ray_status status, const char *message, bool final) {
    ray__pull_source *failed = &pull->sources[source];
    uint64_t now = ray__now_ns();
    bool patient = !failed->referred && is_patient(pull, failed, now);
    final = final && !(patient && may_change(status));
    bool again = !final && (++failed->attempts <= RAY__ATTEMPTS_MAX || (patient && (is_of_the_network(status) || may_change(status))));
    failed->guides = again && (failed->guides || may_change(status));
    if (patient) {
        ask_guides_locked(pull, now);
    }
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
