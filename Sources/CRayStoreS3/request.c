// SPDX-License-Identifier: Apache-2.0
// One request: its address, what libcurl signs, sends and receives of it, and what became of it.
#include <arpa/inet.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock_internal.h"
#include "s3_internal.h"
#include "transfer/connection_internal.h"
#include "transfer/pacing_internal.h"

#define BACKOFF_NS 100000000ull // doubled each time
#define BACKOFF_MAX_NS 5000000000ull
#define HURRY_NS 2000000000ull // without any progress, for a client that is about to end
#define URL_MAX 4096
#define PACE_MIN (4u << 20)     // less says nothing of how fast a connection is
#define GIVEN_MAX (128u << 10)  // is copied and then summed up: it stays in the core's cache in between
#define PROGRESS_MIN (1u << 20) // an attempt that brought so much is not one of those that are counted
#define TURN_MAX (4u << 20)     // is sent of one body before the others have their turn

// ---- what libcurl calls ------------------------------------------------------------------------------------------------------

// What is left of the piece that holds byte `at` of the span, at most `most` bytes. The byte must be in it.
static ray_spill_part rest_of_piece(ray__s3_span *span, uint64_t at, size_t most) {
    uint64_t place = span->from + at;
    if (place < span->piece_from) {
        span->piece = 0;
        span->piece_from = 0;
    }
    while (place - span->piece_from >= span->pieces[span->piece].size) {
        span->piece_from += span->pieces[span->piece++].size;
    }
    size_t done = (size_t)(place - span->piece_from);
    size_t left = span->pieces[span->piece].size - done;
    char *bytes = span->pieces[span->piece].bytes;
    return (ray_spill_part){bytes == NULL ? NULL : bytes + done, left < most ? left : most};
}

// Whether a body begins where the request asked it to. Most services say so by 206, some by 200 and the range.
static bool is_asked_for(const ray__s3_request *request, long code) {
    uint64_t from = request->range_from + request->got_before;
    return request->has_range ? request->answered_from == from : code == 206 || from == 0;
}

static size_t take_answer(char *bytes, size_t size, size_t count, void *context) {
    ray__s3_request *request = context;
    size_t length = size * count;
    long code = 0;
    curl_easy_getinfo(request->handle, CURLINFO_RESPONSE_CODE, &code);
    if (request->into.pieces != NULL && code / 100 == 2) {
        if (!is_asked_for(request, code) || length > request->into.size - request->got) {
            request->refusal = RAY__S3_NO_RANGE;
            return 0; // curl ends the request
        }
        for (size_t taken = 0; taken < length;) {
            ray_spill_part part = rest_of_piece(&request->into, request->got, length - taken);
            memcpy(part.bytes, bytes + taken, part.size);
            taken += part.size;
            request->got += part.size;
        }
        return length;
    }
    if (request->text_size + length > RAY__S3_LISTING_MAX) {
        request->refusal = RAY__S3_TOO_LONG;
        return 0;
    }
    char *grown = realloc(request->text, request->text_size + length + 1);
    if (grown == NULL) {
        request->refusal = RAY__S3_NO_MEMORY;
        return 0;
    }
    memcpy(grown + request->text_size, bytes, length);
    request->text = grown;
    request->text_size += length;
    grown[request->text_size] = '\0';
    return length;
}

// The value of a header line of this name, and how long it is; NULL when it is another line.
static const char *value_of(const char *line, size_t length, const char *name, int *value_length) {
    size_t name_length = strlen(name);
    if (length <= name_length || strncasecmp(line, name, name_length) != 0) {
        return NULL;
    }
    const char *at = line + name_length;
    const char *end = line + length;
    while (at < end && *at == ' ') {
        at++;
    }
    while (end > at && (end[-1] == '\r' || end[-1] == '\n' || end[-1] == ' ')) {
        end--;
    }
    *value_length = (int)(end - at);
    return at;
}

static size_t take_header(char *line, size_t size, size_t count, void *context) {
    ray__s3_request *request = context;
    size_t length = size * count;
    int value_length = 0;
    const char *value = value_of(line, length, "etag:", &value_length);
    if (value != NULL) {
        snprintf(request->etag, sizeof request->etag, "%.*s", value_length, value);
    }
    value = value_of(line, length, "content-range:", &value_length);
    if (value != NULL) {
        char text[64];
        unsigned long long from = 0;
        snprintf(text, sizeof text, "%.*s", value_length, value);
        request->has_range = sscanf(text, "bytes %llu-", &from) == 1;
        request->answered_from = from;
    }
    return length;
}

static curl_socket_t open_socket(void *context, curlsocktype purpose, struct curl_sockaddr *address) {
    ray__s3_lane *lane = context;
    (void)purpose;
    if (lane->socket_count == RAY__S3_SOCKETS_MAX) {
        return CURL_SOCKET_BAD;
    }
    curl_socket_t made = socket(address->family, address->socktype | SOCK_CLOEXEC, address->protocol);
    if (made != CURL_SOCKET_BAD) {
        ray__pacing_begin(made);
        lane->sockets[lane->socket_count++] = made;
    }
    return made;
}

static int close_socket(void *context, curl_socket_t ended) {
    ray__s3_lane *lane = context;
    for (uint32_t i = 0; i < lane->socket_count; i++) {
        if (lane->sockets[i] == ended) {
            lane->sockets[i] = lane->sockets[--lane->socket_count];
            break;
        }
    }
    return close(ended);
}

// Whether the socket's own end is there.
static bool is_at(curl_socket_t one, const char *ip, long port) {
    struct sockaddr_storage address;
    socklen_t size = sizeof address;
    char host[INET6_ADDRSTRLEN];
    char service[8];
    return getsockname(one, (struct sockaddr *)&address, &size) == 0 &&
           getnameinfo((struct sockaddr *)&address, size, host, sizeof host, service, sizeof service, NI_NUMERICHOST | NI_NUMERICSERV) == 0 &&
           strtol(service, NULL, 10) == port && strcmp(host, ip) == 0;
}

// The one that the request goes over, once it has one. libcurl's CURLINFO_ACTIVESOCKET is that of the handle's request before.
static curl_socket_t socket_of(const ray__s3_request *request) {
    long port = 0;
    char *ip = NULL;
    if (curl_easy_getinfo(request->handle, CURLINFO_LOCAL_PORT, &port) == CURLE_OK && port != 0 &&
        curl_easy_getinfo(request->handle, CURLINFO_LOCAL_IP, &ip) == CURLE_OK && ip != NULL) {
        for (uint32_t i = 0; i < request->lane->socket_count; i++) {
            if (is_at(request->lane->sockets[i], ip, port)) {
                return request->lane->sockets[i];
            }
        }
    }
    return CURL_SOCKET_BAD;
}

static void suit_connection(const ray__s3_request *request) {
    curl_socket_t used = socket_of(request);
    if (used != CURL_SOCKET_BAD) {
        ray__connection connection = {.socket = used};
        ray__pacing_suit(used, ray__connection_round_trip_ns(&connection));
    }
}

static size_t give_body(char *bytes, size_t size, size_t count, void *context) {
    ray__s3_request *request = context;
    if (request->sent == 0) {
        suit_connection(request);
    }
    uint64_t left = request->given_max - request->sent;
    size_t room = size * count < left ? size * count : (size_t)left;
    for (size_t given = 0; given < room;) {
        ray__s3_span *body = &request->body;
        ray_spill_part part = rest_of_piece(body, request->sent, room - given < GIVEN_MAX ? room - given : GIVEN_MAX);
        uint64_t into = body->from + request->sent - body->piece_from;
        if (part.bytes != NULL) {
            memcpy(bytes + given, part.bytes, part.size);
            if (body->summing != NULL) {
                ray_spill_summing_take(body->summing, body->piece, into, bytes + given, part.size); // of the copy, which is in the cache
            }
        } else {
            request->status = ray_spill_packed_read(body->packed, body->piece, into, bytes + given, part.size);
        }
        if (request->status != RAY_OK) {
            snprintf(request->message, sizeof request->message, "%s", ray_last_error_message());
            request->not_given = true;
            return CURL_READFUNC_ABORT;
        }
        given += part.size;
        request->sent += part.size;
    }
    return room;
}

static int seek_body(void *context, curl_off_t offset, int origin) {
    ray__s3_request *request = context;
    if (origin != SEEK_SET || offset < 0 || (uint64_t)offset > request->body.size) {
        return CURL_SEEKFUNC_FAIL;
    }
    request->sent = (uint64_t)offset;
    return CURL_SEEKFUNC_OK;
}

// ---- what goes past libcurl ------------------------------------------------------------------------------------------------------
//
// libcurl copies a body into a buffer of its own before it sends it. Over a plain connection it is not needed for that: it is told that the body
// ends after its beginning, in spite of its length in the headers, and the rest goes from where it lies. Nothing of it is encrypted, and no
// message of libcurl's may come in between.

static bool is_in_memory(const ray__s3_span *span) {
    for (uint32_t i = 0; i < span->piece_count; i++) {
        if (span->pieces[i].bytes == NULL && span->pieces[i].size > 0) {
            return false;
        }
    }
    return true;
}

static bool goes_past_libcurl(const ray_s3 *s3, const ray__s3_request *request) {
    return request->body.size > GIVEN_MAX && strncasecmp(s3->endpoint, "http:", 5) == 0 && is_in_memory(&request->body);
}

// Of one that stands still libcurl does not know whether it does.
static bool has_stopped(ray__s3_request *request, uint64_t now) {
    uint64_t moved = request->sent + request->text_size;
    if (moved != request->moved || request->moved_at_ns == 0) {
        request->moved = moved;
        request->moved_at_ns = now;
    }
    return now - request->moved_at_ns > request->patience_ns;
}

static void send_some(ray__s3_request *request, curl_socket_t to) {
    ray__s3_span *body = &request->body;
    for (uint64_t until = request->sent + TURN_MAX; request->sent < body->size && request->sent < until;) {
        uint64_t most = request->sent < request->summed ? request->summed - request->sent : GIVEN_MAX;
        ray_spill_part part = rest_of_piece(body, request->sent, most < GIVEN_MAX ? (size_t)most : GIVEN_MAX);
        if (body->summing != NULL && request->sent >= request->summed) {
            ray_spill_summing_take(body->summing, body->piece, body->from + request->sent - body->piece_from, part.bytes, part.size);
            request->summed = request->sent + part.size; // and is in the cache
        }
        ssize_t taken = send(to, part.bytes, part.size, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (taken <= 0) {
            return; // what is wrong with the connection libcurl finds out when it reads
        }
        request->sent += (uint64_t)taken;
    }
}

curl_socket_t ray__s3_request_send(ray__s3_request *request) {
    curl_off_t given = 0;
    curl_socket_t to = CURL_SOCKET_BAD;
    if (request->step != RAY__S3_RUNNING || request->given_max == request->body.size ||
        (to = socket_of(request)) == CURL_SOCKET_BAD) {
        return CURL_SOCKET_BAD;
    }
    bool may_send = request->sent >= request->given_max && request->sent < request->body.size &&
                    curl_easy_getinfo(request->handle, CURLINFO_SIZE_UPLOAD_T, &given) == CURLE_OK && (uint64_t)given == request->given_max;
    if (may_send) {
        send_some(request, to);
    }
    if (has_stopped(request, ray__now_ns())) {
        request->is_stuck = true;
        shutdown(to, SHUT_RDWR);
    }
    if (may_send && request->sent == request->body.size) {
        // Before that an answer ends the connection, for the rest of the body would be in the way of the next request.
        curl_easy_setopt(request->handle, CURLOPT_FORBID_REUSE, 0L);
    }
    return may_send && request->sent < request->body.size ? to : CURL_SOCKET_BAD;
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
    char length[64];
    snprintf(length, sizeof length, "Content-Length: %llu", (unsigned long long)request->body.size);
    return add_header(request, "x-amz-content-sha256: UNSIGNED-PAYLOAD") &&
           (s3->token_header == NULL || add_header(request, s3->token_header)) &&
           (request->given_max == request->body.size || add_header(request, length));
}

static bool set_options(const ray_s3 *s3, ray__s3_request *request, const char *url) {
    CURL *handle = request->handle;
    long seconds = (long)((request->patience_ns + 999999999) / 1000000000);
    curl_easy_reset(handle);
    bool set = curl_easy_setopt(handle, CURLOPT_URL, url) == CURLE_OK &&
               curl_easy_setopt(handle, CURLOPT_AWS_SIGV4, s3->sigv4) == CURLE_OK &&
               curl_easy_setopt(handle, CURLOPT_USERPWD, s3->credentials) == CURLE_OK &&
               curl_easy_setopt(handle, CURLOPT_HTTPHEADER, request->headers) == CURLE_OK;
    curl_easy_setopt(handle, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(handle, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(handle, CURLOPT_OPENSOCKETFUNCTION, open_socket);
    curl_easy_setopt(handle, CURLOPT_OPENSOCKETDATA, request->lane);
    curl_easy_setopt(handle, CURLOPT_CLOSESOCKETFUNCTION, close_socket);
    curl_easy_setopt(handle, CURLOPT_CLOSESOCKETDATA, request->lane);
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
    if (request->into.pieces != NULL) {
        char range[64];
        snprintf(range, sizeof range, "%llu-%llu", (unsigned long long)(request->range_from + request->got),
                 (unsigned long long)(request->range_from + request->into.size - 1));
        curl_easy_setopt(handle, CURLOPT_RANGE, range);
    }
    if (strcmp(request->method, "HEAD") == 0) {
        curl_easy_setopt(handle, CURLOPT_NOBODY, 1L);
    } else if (strcmp(request->method, "PUT") == 0 || strcmp(request->method, "POST") == 0) {
        curl_easy_setopt(handle, CURLOPT_UPLOAD, 1L);
        curl_easy_setopt(handle, CURLOPT_INFILESIZE_LARGE, (curl_off_t)request->given_max);
        curl_easy_setopt(handle, CURLOPT_READFUNCTION, give_body);
        curl_easy_setopt(handle, CURLOPT_READDATA, request);
        curl_easy_setopt(handle, CURLOPT_SEEKFUNCTION, seek_body);
        curl_easy_setopt(handle, CURLOPT_SEEKDATA, request);
    }
    if (request->given_max < request->body.size) {
        curl_easy_setopt(handle, CURLOPT_LOW_SPEED_TIME, 0L);
        curl_easy_setopt(handle, CURLOPT_FORBID_REUSE, 1L);
    }
    curl_easy_setopt(handle, CURLOPT_CUSTOMREQUEST, request->method);
    return set;
}

ray_status ray__s3_request_begin(ray_s3 *s3, ray__s3_lane *lane, ray__s3_request *request, CURL *handle) {
    char url[URL_MAX];
    if (!write_url(s3, request, url)) {
        return ray__fail(RAY_INVALID_ARGUMENT, "the key '%.200s' is longer than S3 takes", request->key == NULL ? "" : request->key);
    }
    request->handle = handle;
    request->lane = lane;
    request->got_before = request->got;
    request->sent = 0;
    request->given_max = goes_past_libcurl(s3, request) ? GIVEN_MAX : request->body.size;
    request->summed = request->summed > request->given_max ? request->summed : request->given_max;
    request->moved_at_ns = 0;
    request->patience_ns = s3->is_hurried && s3->timeout_ns > HURRY_NS ? HURRY_NS : s3->timeout_ns;
    request->is_stuck = false;
    request->code = 0;
    request->status = RAY_OK;
    request->refusal = RAY__S3_TAKEN;
    request->reason[0] = '\0';
    request->etag[0] = '\0';
    request->has_range = false;
    free(request->text);
    request->text = NULL;
    request->text_size = 0;
    request->attempts++;
    request->step = RAY__S3_RUNNING;
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

// What take_answer did not take. True when it may go better another time: who answers in a service's place, a proxy say, may be gone then.
static bool judge_refusal(ray__s3_request *request, const char *place) {
    static const struct {
        ray_status status;
        const char *words;
    } refusals[] = {
        [RAY__S3_TAKEN] = {RAY_SYSTEM, "libcurl ended the request"},
        [RAY__S3_NO_RANGE] = {RAY_SYSTEM, "it sent something else than the range that was asked for"},
        [RAY__S3_TOO_LONG] = {RAY_SYSTEM, "its answer is longer than any that the protocol has"},
        [RAY__S3_NO_MEMORY] = {RAY_OUT_OF_MEMORY, "there is no memory for its answer"},
    };
    request->status = refusals[request->refusal].status;
    snprintf(request->message, sizeof request->message, "%.300s: %ld: %s", place, request->code, refusals[request->refusal].words);
    request->got = request->got_before;
    return request->refusal == RAY__S3_NO_RANGE;
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
    if (request->not_given) {
        return false;
    }
    if (result != CURLE_OK) {
        if (result == CURLE_WRITE_ERROR) {
            return judge_refusal(request, place);
        }
        request->status = RAY_UNREACHABLE;
        snprintf(request->message, sizeof request->message, "%.300s: %.180s", place,
                 request->is_stuck ? "nothing has moved for too long" : request->reason[0] != '\0' ? request->reason : curl_easy_strerror(result));
        return true;
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
    if (request->sent < request->body.size) {
        request->status = RAY_UNREACHABLE;
        snprintf(request->message, sizeof request->message, "%.300s: it answered %ld before it had everything", place, request->code);
        return true;
    }
    if (request->into.pieces != NULL && request->got != request->into.size) {
        request->status = RAY_CORRUPT;
        snprintf(request->message, sizeof request->message, "%.300s: it has %llu of the %llu bytes from byte %llu on", place,
                 (unsigned long long)request->got, (unsigned long long)request->into.size, (unsigned long long)request->range_from);
        // It means that the object is damaged, for good: one answer, which may be somebody else's, is not believed.
        request->got = request->got_before;
        return request->short_count++ == 0;
    }
    request->status = RAY_OK;
    return false;
}

static void note_pace(ray__s3_request *request) {
    curl_off_t ready_us = 0;
    curl_off_t answered_us = 0;
    curl_off_t ended_us = 0;
    curl_easy_getinfo(request->handle, CURLINFO_PRETRANSFER_TIME_T, &ready_us);
    curl_easy_getinfo(request->handle, CURLINFO_STARTTRANSFER_TIME_T, &answered_us);
    curl_easy_getinfo(request->handle, CURLINFO_TOTAL_TIME_T, &ended_us);
    if (request->attempts == 1 && request->got >= PACE_MIN && ready_us <= answered_us && answered_us <= ended_us) {
        request->pace.rate = (uint64_t)((double)request->got * 1e6 / (double)(ended_us - answered_us + 1));
        request->pace.answer_ns = (uint64_t)(answered_us - ready_us) * 1000;
    }
}

void ray__s3_request_ended(ray_s3 *s3, ray__s3_request *request, CURLcode result) {
    bool may_pass = judge(s3, request, result);
    if (request->got - request->got_before >= PROGRESS_MIN) {
        request->attempts = 1;
    }
    bool is_over = request->attempts >= s3->attempts_max || (s3->is_hurried && ray__s3_request_unanswered(request));
    if (request->into.pieces != NULL && request->status == RAY_OK) {
        note_pace(request);
    }
    if (!may_pass || is_over) {
        request->step = RAY__S3_DONE;
        return;
    }
    uint64_t pause = BACKOFF_NS << (request->attempts - 1);
    request->again_at_ns = ray__now_ns() + (pause < BACKOFF_MAX_NS ? pause : BACKOFF_MAX_NS);
    request->step = RAY__S3_WAITING;
}

void ray__s3_request_end(ray__s3_request *request) {
    curl_slist_free_all(request->headers);
    free(request->text);
    request->headers = NULL;
    request->text = NULL;
}
