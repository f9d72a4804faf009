// SPDX-License-Identifier: Apache-2.0
// What the parts of the S3 client share: connections, and requests that are run several at once.
#ifndef RAY_S3_INTERNAL_H
#define RAY_S3_INTERNAL_H

#include <curl/curl.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/error_internal.h"
#include "raystore_s3.h"

#define RAY__S3_CONNECTIONS_MAX 16u
#define RAY__S3_SOCKETS_MAX 128u // that libcurl keeps, and opens at a time
#define RAY__S3_TEXT_MAX 512u
#define RAY__S3_LISTING_MAX (4u << 20) // of one answer in XML: 1,000 keys of 1 KiB fit

// A connection cache with the handles that use it; one call has it to itself.
typedef struct ray__s3_lane {
    struct ray__s3_lane *next;
    CURLM *multi;
    CURL *handles[RAY__S3_CONNECTIONS_MAX];
    curl_socket_t sockets[RAY__S3_SOCKETS_MAX]; // that are open
    uint32_t socket_count;
} ray__s3_lane;

// What a service does with a request.
typedef struct ray__s3_pace {
    uint64_t rate;      // bytes a second over one connection, once it answers; 0: not known
    uint64_t answer_ns; // until it begins to
} ray__s3_pace;

struct ray_s3 {
    char *endpoint;
    char *sigv4;       // what libcurl needs to sign
    char *credentials; // access key and secret
    char *token_header; // NULL: none
    uint32_t connection_count_max;
    uint64_t part_bytes;
    uint64_t whole_bytes_max;
    uint32_t attempts_max;
    uint64_t timeout_ns;
    _Atomic bool is_hurried;
    _Atomic bool is_silent; // since it was hurried
    pthread_mutex_t lock;
    ray__s3_lane *idle;
    ray__s3_pace pace; // of reads
};

// A part of memory to be sent or filled: `size` bytes of the pieces, from byte `from` of them all on.
typedef struct ray__s3_span {
    const ray_spill_part *pieces;
    uint32_t piece_count;
    uint64_t from;
    uint64_t size;
    ray_spill_packed *packed; // has what is not in memory; NULL: all of it is
    ray_spill_summing *summing; // is given what is sent of memory; NULL: nobody is
    // Private to request.c: the piece that was reached, and where it begins in all of them.
    uint32_t piece;
    uint64_t piece_from;
} ray__s3_span;

// Why an answer's bytes were not taken.
enum ray__s3_refusal { RAY__S3_TAKEN, RAY__S3_NO_RANGE, RAY__S3_TOO_LONG, RAY__S3_NO_MEMORY };

enum ray__s3_step { RAY__S3_WAITING, RAY__S3_RUNNING, RAY__S3_DONE };

typedef struct ray__s3_request {
    const char *method;
    const char *bucket;
    const char *key;        // NULL: of the bucket itself
    const char *query;      // sorted and encoded, NULL: none
    ray__s3_span body;      // of PUT and POST
    ray__s3_span into;      // of GET; without pieces the answer is text. More than fits is a failure
    uint64_t range_from;    // with `into`: where its first byte lies in the object
    // Afterwards:
    ray_status status;
    char message[RAY__S3_TEXT_MAX];
    char etag[128];
    uint64_t content_length;
    char *text;             // of the answer, malloc'd, NULL: none
    size_t text_size;
    ray__s3_pace pace;      // of a read that went well at once and was large enough to say it
    // Private to request.c and lanes.c:
    uint64_t got;         // of `into`; the next attempt goes on behind it
    uint64_t got_before;  // the last attempt
    uint64_t sent;
    uint64_t given_max; // of the body, to libcurl: all of it, or its beginning; then the rest is sent from where it lies
    uint64_t summed;    // of that rest
    uint64_t moved;       // how far it was when something last moved
    uint64_t moved_at_ns; // 0: it has not been looked yet
    uint64_t patience_ns; // without any progress
    bool is_stuck;        // it ran out
    uint32_t attempts;
    bool has_range;       // the answer says which range it is: from byte `answered_from` on
    uint64_t answered_from;
    uint32_t short_count; // answers that ended before their range did
    uint32_t refusal;     // enum ray__s3_refusal
    uint64_t again_at_ns;
    uint32_t step; // enum ray__s3_step
    long code;
    bool not_given; // the body could not be made: status and message say why
    CURL *handle;
    const ray__s3_lane *lane;
    struct curl_slist *headers;
    char reason[CURL_ERROR_SIZE];
} ray__s3_request;

uint64_t ray__s3_size_of(const ray_spill_part *pieces, uint32_t count);

// Runs all of them in their order, so many at once (1 to connection_count_max), each with its retries. Answers the first failure; requests after it that had not begun are not made. Frees
// nothing of them: ray__s3_request_end does.
ray_status ray__s3_run(ray_s3 *s3, ray__s3_request *requests, uint32_t count, uint32_t at_once) RAY_NODISCARD;
void ray__s3_request_end(ray__s3_request *request);
void ray__s3_lanes_end(ray_s3 *s3);
// Hands a request to libcurl, and takes it back with what became of it: done, or to be begun again at its time.
ray_status ray__s3_request_begin(ray_s3 *s3, ray__s3_lane *lane, ray__s3_request *request, CURL *handle) RAY_NODISCARD;
void ray__s3_request_ended(ray_s3 *s3, ray__s3_request *request, CURLcode result);
// Sends what libcurl does not of a body, as much as the connection takes now. The socket that takes more later; CURL_SOCKET_BAD when there is nothing
// to send, or not yet.
curl_socket_t ray__s3_request_send(ray__s3_request *request);
// Whether it ended without any word of the service.
static inline bool ray__s3_request_unanswered(const ray__s3_request *request) {
    return request->status == RAY_UNREACHABLE && request->code == 0;
}

// The text between <name> and </name> at or after *at, unescaped into out; *at moves behind it. False when there is none, or it is too long.
bool ray__s3_element(const char **at, const char *name, char *out, size_t capacity);

// Appends text to a query with everything encoded but what never needs it. False when it does not fit.
bool ray__s3_encode(const char *text, bool keep_slashes, char *out, size_t capacity);

#endif
