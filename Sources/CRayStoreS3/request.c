// SPDX-License-Identifier: Apache-2.0
// Requests: signed by libcurl, several at once over pooled connections, tried again when a failure may pass.
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock_internal.h"
#include "s3_internal.h"

#define BACKOFF_NS 100000000ull // doubled each time
#define BACKOFF_MAX_NS 5000000000ull
#define POLL_MAX_NS 1000000000ull // libcurl's own time limits are looked at no later
#define URL_MAX 4096

enum step { STEP_WAITING, STEP_RUNNING, STEP_DONE };

// ---- what libcurl calls ------------------------------------------------------------------------------------------------------

static size_t take_answer(char *bytes, size_t size, size_t count, void *context) {
    ray__s3_request *request = context;
    size_t length = size * count;
    long code = 0;
    curl_easy_getinfo(request->handle, CURLINFO_RESPONSE_CODE, &code);
    if (request->into != NULL && code / 100 == 2) {
        if (length > request->into_capacity - request->got) {
            return 0; // more than was asked for: curl ends the request
        }
        memcpy(request->into + request->got, bytes, length);
        request->got += length;
        return length;
    }
    if (request->text_size + length > RAY__S3_LISTING_MAX) {
        return 0;
    }
    char *grown = realloc(request->text, request->text_size + length + 1);
    if (grown == NULL) {
        return 0;
    }
    memcpy(grown + request->text_size, bytes, length);
    request->text = grown;
    request->text_size += length;
    grown[request->text_size] = '\0';
    return length;
}

static size_t take_header(char *line, size_t size, size_t count, void *context) {
    ray__s3_request *request = context;
    size_t length = size * count;
    static const char name[] = "etag:";
    if (length > sizeof name && strncasecmp(line, name, sizeof name - 1) == 0) {
        const char *at = line + sizeof name - 1;
        const char *end = line + length;
        while (at < end && *at == ' ') {
            at++;
        }
        while (end > at && (end[-1] == '\r' || end[-1] == '\n' || end[-1] == ' ')) {
            end--;
        }
        snprintf(request->etag, sizeof request->etag, "%.*s", (int)(end - at), at);
    }
    return length;
}

static size_t give_body(char *bytes, size_t size, size_t count, void *context) {
    ray__s3_request *request = context;
    size_t room = size * count;
    size_t given = 0;
    uint64_t left = request->body.size - request->sent;
    uint64_t at = request->body.from + request->sent;
    room = room < left ? room : (size_t)left;
    for (uint32_t i = 0; i < request->body.piece_count && given < room; i++) {
        const ray_spill_part *piece = &request->body.pieces[i];
        if (at >= piece->size) {
            at -= piece->size;
            continue;
        }
        size_t part = piece->size - (size_t)at;
        part = part < room - given ? part : room - given;
        memcpy(bytes + given, (const char *)piece->bytes + at, part);
        given += part;
        at = 0;
    }
    request->sent += given;
    return given;
}

static int seek_body(void *context, curl_off_t offset, int origin) {
    ray__s3_request *request = context;
    if (origin != SEEK_SET || offset < 0 || (uint64_t)offset > request->body.size) {
        return CURL_SEEKFUNC_FAIL;
    }
    request->sent = (uint64_t)offset;
    return CURL_SEEKFUNC_OK;
}

// ---- one request ---------------------------------------------------------------------------------------------------------------

bool ray__s3_encode(const char *text, bool keep_slashes, char *out, size_t capacity) {
    static const char hex[] = "0123456789ABCDEF";
    size_t at = strlen(out);
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') || strchr("-._~", c) != NULL ||
                     (keep_slashes && c == '/');
        if (at + 4 > capacity) {
            return false;
        }
        if (plain) {
            out[at++] = (char)c;
        } else {
            out[at++] = '%';
            out[at++] = hex[c >> 4];
            out[at++] = hex[c & 15];
        }
    }
    out[at] = '\0';
    return true;
}

static bool write_url(const ray_s3 *s3, const ray__s3_request *request, char url[static URL_MAX]) {
    snprintf(url, URL_MAX, "%s/", s3->endpoint);
    bool fits = strlen(s3->endpoint) + 2 < URL_MAX && ray__s3_encode(request->bucket, false, url, URL_MAX);
    size_t length = strlen(url);
    if (fits && request->key != NULL && length + 2 < URL_MAX) {
        strcpy(url + length, "/");
        fits = ray__s3_encode(request->key, true, url, URL_MAX);
        length = strlen(url);
    }
    if (fits && request->query != NULL) {
        fits = (size_t)snprintf(url + length, URL_MAX - length, "?%s", request->query) < URL_MAX - length;
    }
    return fits;
}

static bool add_header(ray__s3_request *request, const char *line) {
    struct curl_slist *longer = curl_slist_append(request->headers, line);
    request->headers = longer != NULL ? longer : request->headers;
    return longer != NULL;
}

static bool set_headers(const ray_s3 *s3, ray__s3_request *request) {
    curl_slist_free_all(request->headers);
    request->headers = NULL;
    // This version of libcurl signs every header that is set here, so there are none that a server need not see signed.
    return add_header(request, "x-amz-content-sha256: UNSIGNED-PAYLOAD") &&
           (s3->token_header == NULL || add_header(request, s3->token_header));
}

static bool set_options(const ray_s3 *s3, ray__s3_request *request, const char *url) {
    CURL *handle = request->handle;
    long seconds = (long)((s3->timeout_ns + 999999999) / 1000000000);
    curl_easy_reset(handle);
    bool set = curl_easy_setopt(handle, CURLOPT_URL, url) == CURLE_OK &&
               curl_easy_setopt(handle, CURLOPT_AWS_SIGV4, s3->sigv4) == CURLE_OK &&
               curl_easy_setopt(handle, CURLOPT_USERPWD, s3->credentials) == CURLE_OK &&
               curl_easy_setopt(handle, CURLOPT_HTTPHEADER, request->headers) == CURLE_OK;
    curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(handle, CURLOPT_EXPECT_100_TIMEOUT_MS, 1L); // bodies are sent without waiting to be asked for
    curl_easy_setopt(handle, CURLOPT_CONNECTTIMEOUT, seconds);
    curl_easy_setopt(handle, CURLOPT_LOW_SPEED_LIMIT, 1L);
    curl_easy_setopt(handle, CURLOPT_LOW_SPEED_TIME, seconds);
    curl_easy_setopt(handle, CURLOPT_BUFFERSIZE, 512L << 10);
    curl_easy_setopt(handle, CURLOPT_UPLOAD_BUFFERSIZE, 1L << 20);
    curl_easy_setopt(handle, CURLOPT_ERRORBUFFER, request->reason);
    curl_easy_setopt(handle, CURLOPT_PRIVATE, request);
    curl_easy_setopt(handle, CURLOPT_WRITEFUNCTION, take_answer);
    curl_easy_setopt(handle, CURLOPT_WRITEDATA, request);
    curl_easy_setopt(handle, CURLOPT_HEADERFUNCTION, take_header);
    curl_easy_setopt(handle, CURLOPT_HEADERDATA, request);
    if (request->into != NULL) {
        char range[64];
        snprintf(range, sizeof range, "%llu-%llu", (unsigned long long)request->range_from,
                 (unsigned long long)(request->range_from + request->into_capacity - 1));
        curl_easy_setopt(handle, CURLOPT_RANGE, range);
    }
    if (strcmp(request->method, "HEAD") == 0) {
        curl_easy_setopt(handle, CURLOPT_NOBODY, 1L);
    } else if (strcmp(request->method, "PUT") == 0 || strcmp(request->method, "POST") == 0) {
        curl_easy_setopt(handle, CURLOPT_UPLOAD, 1L);
        curl_easy_setopt(handle, CURLOPT_INFILESIZE_LARGE, (curl_off_t)request->body.size);
        curl_easy_setopt(handle, CURLOPT_READFUNCTION, give_body);
        curl_easy_setopt(handle, CURLOPT_READDATA, request);
        curl_easy_setopt(handle, CURLOPT_SEEKFUNCTION, seek_body);
        curl_easy_setopt(handle, CURLOPT_SEEKDATA, request);
    }
    curl_easy_setopt(handle, CURLOPT_CUSTOMREQUEST, request->method);
    return set;
}

static ray_status begin(ray_s3 *s3, ray__s3_lane *lane, ray__s3_request *request, CURL *handle) {
    char url[URL_MAX];
    if (!write_url(s3, request, url)) {
        return ray__fail(RAY_INVALID_ARGUMENT, "the key '%.200s' is longer than S3 takes", request->key == NULL ? "" : request->key);
    }
    request->handle = handle;
    request->got = 0;
    request->sent = 0;
    request->code = 0;
    request->reason[0] = '\0';
    request->etag[0] = '\0';
    free(request->text);
    request->text = NULL;
    request->text_size = 0;
    request->attempts++;
    request->step = STEP_RUNNING;
    if (!set_headers(s3, request) || !set_options(s3, request, url) || curl_multi_add_handle(lane->multi, handle) != CURLM_OK) {
        return ray__fail(RAY_OUT_OF_MEMORY, "a request to %s", s3->endpoint);
    }
    return RAY_OK;
}

// ---- what became of it -----------------------------------------------------------------------------------------------------------

static ray_status status_of(long code, const char *reason) {
    if (code == 404) {
        return RAY_NOT_FOUND;
    }
    if (code == 401 || code == 403) {
        return RAY_KEY_REFUSED;
    }
    if (code == 507 || strcmp(reason, "XMinioStorageFull") == 0 || strcmp(reason, "QuotaExceeded") == 0) {
        return RAY_OUT_OF_DISK;
    }
    return code == 429 || code / 100 == 5 ? RAY_UNREACHABLE : RAY_SYSTEM;
}

static const char *where(const ray_s3 *s3, const ray__s3_request *request, char text[static RAY__S3_TEXT_MAX]) {
    snprintf(text, RAY__S3_TEXT_MAX, "s3://%s%s%s at %s", request->bucket, request->key == NULL ? "" : "/",
             request->key == NULL ? "" : request->key, s3->endpoint);
    return text;
}

// Fills status and message. True when it may go better another time.
static bool judge(ray_s3 *s3, ray__s3_request *request, CURLcode result) {
    char place[RAY__S3_TEXT_MAX];
    char reason[128] = "";
    char words[256] = "";
    where(s3, request, place);
    curl_easy_getinfo(request->handle, CURLINFO_RESPONSE_CODE, &request->code);
    curl_off_t length = -1;
    curl_easy_getinfo(request->handle, CURLINFO_CONTENT_LENGTH_DOWNLOAD_T, &length);
    request->content_length = length < 0 ? 0 : (uint64_t)length;
    if (result != CURLE_OK) {
        bool is_ours = result == CURLE_WRITE_ERROR;
        request->status = is_ours ? RAY_CORRUPT : RAY_UNREACHABLE;
        snprintf(request->message, sizeof request->message, "%.300s: %.180s", place,
                 is_ours ? "it sent more than was asked for" : request->reason[0] != '\0' ? request->reason : curl_easy_strerror(result));
        return !is_ours;
    }
    if (request->code / 100 != 2) {
        const char *at = request->text == NULL ? "" : request->text;
        ray__s3_element(&at, "Code", reason, sizeof reason);
        ray__s3_element(&at, "Message", words, sizeof words);
        request->status = status_of(request->code, reason);
        snprintf(request->message, sizeof request->message, "%.220s: %ld %s%s%.160s", place, request->code, reason,
                 words[0] == '\0' ? "" : ": ", words);
        return request->status == RAY_UNREACHABLE;
    }
    if (request->into != NULL && request->got != request->into_capacity) {
        request->status = RAY_CORRUPT;
        snprintf(request->message, sizeof request->message, "%.300s: it has %llu of the %llu bytes from byte %llu on", place,
                 (unsigned long long)request->got, (unsigned long long)request->into_capacity, (unsigned long long)request->range_from);
        return false;
    }
    request->status = RAY_OK;
    return false;
}

static void ended(ray_s3 *s3, ray__s3_request *request, CURLcode result) {
    bool may_pass = judge(s3, request, result);
    if (!may_pass || request->attempts >= s3->attempts_max) {
        request->step = STEP_DONE;
        return;
    }
    uint64_t pause = BACKOFF_NS << (request->attempts - 1);
    request->again_at_ns = ray__now_ns() + (pause < BACKOFF_MAX_NS ? pause : BACKOFF_MAX_NS);
    request->step = STEP_WAITING;
}

// ---- several at once -----------------------------------------------------------------------------------------------------------

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
        if (requests[i].step == STEP_WAITING && requests[i].again_at_ns <= now) {
            return &requests[i];
        }
    }
    return NULL;
}

// When the next one that waits may begin; UINT64_MAX when none waits.
static uint64_t next_begin_ns(const ray__s3_request *requests, uint32_t count) {
    uint64_t soonest = UINT64_MAX;
    for (uint32_t i = 0; i < count; i++) {
        if (requests[i].step == STEP_WAITING && requests[i].again_at_ns < soonest) {
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
        ended(s3, request, result);
        curl_multi_remove_handle(lane->multi, handle);
        idle[(*idle_count)++] = handle;
        if (request->step == STEP_DONE && request->status != RAY_OK && *failed == NULL) {
            *failed = request;
        }
    }
}

static ray_status drive(ray_s3 *s3, ray__s3_lane *lane, ray__s3_request *requests, uint32_t count) {
    CURL *idle[RAY__S3_CONNECTIONS_MAX];
    uint32_t idle_count = s3->connection_count_max;
    memcpy(idle, lane->handles, sizeof idle);
    const ray__s3_request *failed = NULL;
    ray_status status = RAY_OK;
    for (;;) {
        uint64_t now = ray__now_ns();
        ray__s3_request *next = NULL;
        while (status == RAY_OK && failed == NULL && idle_count > 0 && (next = next_to_begin(requests, count, now)) != NULL) {
            status = begin(s3, lane, next, idle[--idle_count]);
        }
        int running = 0;
        if (curl_multi_perform(lane->multi, &running) != CURLM_OK) {
            status = ray__fail(RAY_SYSTEM, "libcurl cannot drive the requests to %s", s3->endpoint);
        }
        collect(s3, lane, idle, &idle_count, &failed);
        uint64_t again_ns = failed == NULL ? next_begin_ns(requests, count) : UINT64_MAX;
        bool all_idle = idle_count == s3->connection_count_max;
        if (status != RAY_OK || (all_idle && again_ns == UINT64_MAX)) {
            break;
        }
        now = ray__now_ns();
        uint64_t pause = again_ns <= now ? 0 : again_ns - now;
        // Without a free handle only what runs can bring the next step.
        bool only_running = idle_count == 0 || pause > POLL_MAX_NS;
        curl_multi_poll(lane->multi, NULL, 0, (int)((only_running ? POLL_MAX_NS : pause) / 1000000 + 1), NULL);
    }
    if (status != RAY_OK) {
        char kept[RAY__S3_TEXT_MAX];
        snprintf(kept, sizeof kept, "%s", ray_last_error_message());
        for (uint32_t i = 0; i < s3->connection_count_max; i++) {
            curl_multi_remove_handle(lane->multi, lane->handles[i]);
        }
        return ray__fail(status, "%s", kept);
    }
    return failed == NULL ? RAY_OK : ray__fail(failed->status, "%s", failed->message);
}

ray_status ray__s3_run(ray_s3 *s3, ray__s3_request *requests, uint32_t count) {
    ray__s3_lane *lane = NULL;
    RAY_TRY(take_lane(s3, &lane));
    ray_status status = drive(s3, lane, requests, count);
    for (uint32_t i = 0; i < count; i++) {
        requests[i].handle = NULL;
    }
    give_lane(s3, lane);
    return status;
}

void ray__s3_request_end(ray__s3_request *request) {
    curl_slist_free_all(request->headers);
    free(request->text);
    request->headers = NULL;
    request->text = NULL;
}
