// SPDX-License-Identifier: Apache-2.0
// Which sources of a pull are still worth asking, and what is told when none is.
#include <stdio.h>

#include "base/clock_internal.h"
#include "transfer/transfer_internal.h"

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
