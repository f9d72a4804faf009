// SPDX-License-Identifier: Apache-2.0
// Several requests at once, over connections that are kept for the next ones; what failed and may pass is tried again.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock_internal.h"
#include "s3_internal.h"

#define POLL_MAX_NS 250000000ull // libcurl's own time limits, and whether to hurry, are looked at no later

static void end_lane(ray__s3_lane *lane) {
    for (uint32_t i = 0; lane != NULL && i < RAY__S3_CONNECTIONS_MAX; i++) {
        curl_easy_cleanup(lane->handles[i]);
    }
    if (lane != NULL) {
        curl_multi_cleanup(lane->multi);
        free(lane);
    }
}

static ray_status take_lane(ray_s3 *s3, ray__s3_lane **taken) {
    pthread_mutex_lock(&s3->lock);
    ray__s3_lane *lane = s3->idle;
    if (lane != NULL) {
        s3->idle = lane->next;
    }
    pthread_mutex_unlock(&s3->lock);
    bool whole = true;
    if (lane == NULL) {
        lane = calloc(1, sizeof *lane);
        whole = lane != NULL && (lane->multi = curl_multi_init()) != NULL;
        for (uint32_t i = 0; whole && i < s3->connection_count_max; i++) {
            whole = (lane->handles[i] = curl_easy_init()) != NULL;
        }
    }
    if (!whole) {
        end_lane(lane);
        return ray__fail(RAY_OUT_OF_MEMORY, "connections to %s", s3->endpoint);
    }
    *taken = lane;
    return RAY_OK;
}

static void give_lane(ray_s3 *s3, ray__s3_lane *lane) {
    pthread_mutex_lock(&s3->lock);
    lane->next = s3->idle;
    s3->idle = lane;
    pthread_mutex_unlock(&s3->lock);
}

void ray__s3_lanes_end(ray_s3 *s3) {
    while (s3->idle != NULL) {
        ray__s3_lane *lane = s3->idle;
        s3->idle = lane->next;
        end_lane(lane);
    }
}

// The next request that may begin, or NULL.
static ray__s3_request *next_to_begin(ray__s3_request *requests, uint32_t count, uint64_t now) {
    for (uint32_t i = 0; i < count; i++) {
        if (requests[i].step == RAY__S3_WAITING && requests[i].again_at_ns <= now) {
            return &requests[i];
        }
    }
    return NULL;
}

// When the next one that waits may begin; UINT64_MAX when none waits.
static uint64_t next_begin_ns(const ray__s3_request *requests, uint32_t count) {
    uint64_t soonest = UINT64_MAX;
    for (uint32_t i = 0; i < count; i++) {
        if (requests[i].step == RAY__S3_WAITING && requests[i].again_at_ns < soonest) {
            soonest = requests[i].again_at_ns;
        }
    }
    return soonest;
}

static void collect(ray_s3 *s3, ray__s3_lane *lane, CURL **idle, uint32_t *idle_count, const ray__s3_request **failed) {
    int left = 0;
    for (CURLMsg *message; (message = curl_multi_info_read(lane->multi, &left)) != NULL;) {
        if (message->msg != CURLMSG_DONE) {
            continue;
        }
        CURL *handle = message->easy_handle;
        CURLcode result = message->data.result;
        ray__s3_request *request = NULL;
        curl_easy_getinfo(handle, CURLINFO_PRIVATE, (char **)&request);
        ray__s3_request_ended(s3, request, result);
        curl_multi_remove_handle(lane->multi, handle);
        idle[(*idle_count)++] = handle;
        if (request->step == RAY__S3_DONE && request->status != RAY_OK && *failed == NULL) {
            *failed = request;
        }
    }
}

// Sends what goes past libcurl. How many connections it was told to watch for more.
static unsigned send_all(ray__s3_request *requests, uint32_t count, struct curl_waitfd watched[static RAY__S3_CONNECTIONS_MAX]) {
    unsigned watched_count = 0;
    for (uint32_t i = 0; i < count; i++) {
        curl_socket_t to = ray__s3_request_send(&requests[i]);
        if (to != CURL_SOCKET_BAD && watched_count < RAY__S3_CONNECTIONS_MAX) {
            watched[watched_count++] = (struct curl_waitfd){.fd = to, .events = CURL_WAIT_POLLOUT};
        }
    }
    return watched_count;
}

static ray_status drive(ray_s3 *s3, ray__s3_lane *lane, ray__s3_request *requests, uint32_t count, uint32_t at_once) {
    CURL *idle[RAY__S3_CONNECTIONS_MAX];
    uint32_t idle_count = at_once;
    memcpy(idle, lane->handles, sizeof idle);
    const ray__s3_request *failed = NULL;
    ray_status status = RAY_OK;
    bool began_hurried = s3->is_hurried;
    if (began_hurried && s3->is_silent) {
        return ray__fail(RAY_UNREACHABLE, "%s did not answer before, and nobody waits for it any more", s3->endpoint);
    }
    for (;;) {
        if (s3->is_hurried && !began_hurried) {
            status = ray__fail(RAY_CLOSED, "the requests to %s are not waited for any more", s3->endpoint);
        }
        uint64_t now = ray__now_ns();
        ray__s3_request *next = NULL;
        while (status == RAY_OK && failed == NULL && idle_count > 0 && (next = next_to_begin(requests, count, now)) != NULL) {
            status = ray__s3_request_begin(s3, lane, next, idle[--idle_count]);
        }
        int running = 0;
        if (curl_multi_perform(lane->multi, &running) != CURLM_OK) {
            status = ray__fail(RAY_SYSTEM, "libcurl cannot drive the requests to %s", s3->endpoint);
        }
        collect(s3, lane, idle, &idle_count, &failed);
        uint64_t again_ns = failed == NULL ? next_begin_ns(requests, count) : UINT64_MAX;
        bool all_idle = idle_count == at_once;
        if (status != RAY_OK || (all_idle && again_ns == UINT64_MAX)) {
            break;
        }
        now = ray__now_ns();
        uint64_t pause = again_ns <= now ? 0 : again_ns - now;
        // Without a free handle only what runs can bring the next step.
        bool only_running = idle_count == 0 || pause > POLL_MAX_NS;
        struct curl_waitfd watched[RAY__S3_CONNECTIONS_MAX];
        unsigned watched_count = send_all(requests, count, watched);
        curl_multi_poll(lane->multi, watched, watched_count, (int)((only_running ? POLL_MAX_NS : pause) / 1000000 + 1), NULL);
    }
    if (status != RAY_OK) {
        char kept[RAY__S3_TEXT_MAX];
        snprintf(kept, sizeof kept, "%s", ray_last_error_message());
        for (uint32_t i = 0; i < s3->connection_count_max; i++) {
            curl_multi_remove_handle(lane->multi, lane->handles[i]);
        }
        return ray__fail(status, "%s", kept);
    }
    if (began_hurried && failed != NULL && ray__s3_request_unanswered(failed)) {
        s3->is_silent = true;
    }
    return failed == NULL ? RAY_OK : ray__fail(failed->status, "%s", failed->message);
}

ray_status ray__s3_run(ray_s3 *s3, ray__s3_request *requests, uint32_t count, uint32_t at_once) {
    ray__s3_lane *lane = NULL;
    RAY_TRY(take_lane(s3, &lane));
    ray_status status = drive(s3, lane, requests, count, at_once);
    for (uint32_t i = 0; i < count; i++) {
        requests[i].handle = NULL;
    }
    give_lane(s3, lane);
    return status;
}
