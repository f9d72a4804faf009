// SPDX-License-Identifier: Apache-2.0
// The client itself: options, and the pool of connections that goes with it.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "s3_internal.h"

#define PART_MIN (5u << 20)
#define PART_USUAL (32u << 20)
// A file of spilled objects goes in one request: several files are under way at once, and putting parts together costs the service more than
// it gains.
#define WHOLE_USUAL (192u << 20)
#define CONNECTIONS_USUAL 4u
#define ATTEMPTS_USUAL 5u
#define TIMEOUT_USUAL 20000000000ull

static pthread_once_t curl_once = PTHREAD_ONCE_INIT;
static CURLcode curl_started;

static void start_curl(void) {
    curl_started = curl_global_init(CURL_GLOBAL_DEFAULT);
}

static ray_status check(const ray_s3_options *options) {
    if (options->struct_size != sizeof *options) {
        return ray__fail(RAY_INVALID_ARGUMENT, "ray_s3_options.struct_size is %u, not %zu", options->struct_size, sizeof *options);
    }
    bool has_scheme = strncmp(options->endpoint, "http://", 7) == 0 || strncmp(options->endpoint, "https://", 8) == 0;
    const char *host = has_scheme ? strstr(options->endpoint, "://") + 3 : "";
    if (strcspn(host, "/") == 0 || strpbrk(host, "?# ") != NULL) {
        return ray__fail(RAY_INVALID_ARGUMENT, "the endpoint '%s' is not http://HOST:PORT or https://HOST, with or without a /PATH",
                         options->endpoint);
    }
    if (options->access_key[0] == '\0' || options->secret_key[0] == '\0' || strchr(options->access_key, ':') != NULL) {
        return ray__fail(RAY_INVALID_ARGUMENT, "the credentials for %s are not an access key and a secret key", options->endpoint);
    }
    if (options->region[0] == '\0' || strchr(options->region, ':') != NULL) {
        return ray__fail(RAY_INVALID_ARGUMENT, "the region '%s' is not one", options->region);
    }
    if (options->part_bytes != 0 && options->part_bytes < PART_MIN) {
        return ray__fail(RAY_INVALID_ARGUMENT, "parts of %llu bytes: S3 takes none below %u", (unsigned long long)options->part_bytes,
                         PART_MIN);
    }
    return RAY_OK;
}

ray_status ray_s3_create(const ray_s3_options *options, ray_s3 **s3) {
    *s3 = NULL;
    RAY_TRY(check(options));
    pthread_once(&curl_once, start_curl);
    if (curl_started != CURLE_OK) {
        return ray__fail(RAY_SYSTEM, "libcurl cannot start: %s", curl_easy_strerror(curl_started));
    }
    ray_s3 *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return ray__fail(RAY_OUT_OF_MEMORY, "a client of %s", options->endpoint);
    }
    pthread_mutex_init(&made->lock, NULL);
    size_t length = strlen(options->endpoint);
    while (options->endpoint[length - 1] == '/') { // not beyond the host: check() has seen one
        length--;
    }
    made->endpoint = strndup(options->endpoint, length);
    bool whole = made->endpoint != NULL && asprintf(&made->sigv4, "aws:amz:%s:s3", options->region) > 0 &&
                 asprintf(&made->credentials, "%s:%s", options->access_key, options->secret_key) > 0;
    if (whole && options->session_token != NULL) {
        whole = asprintf(&made->token_header, "x-amz-security-token: %s", options->session_token) > 0;
    }
    uint32_t connections = options->connection_count_max == 0 ? CONNECTIONS_USUAL : options->connection_count_max;
    made->connection_count_max = connections < RAY__S3_CONNECTIONS_MAX ? connections : RAY__S3_CONNECTIONS_MAX;
    made->part_bytes = options->part_bytes == 0 ? PART_USUAL : options->part_bytes;
    made->whole_bytes_max = options->part_bytes == 0 ? WHOLE_USUAL : options->part_bytes;
    made->attempts_max = options->attempts_max == 0 ? ATTEMPTS_USUAL : options->attempts_max;
    made->timeout_ns = options->timeout_ns == 0 ? TIMEOUT_USUAL : options->timeout_ns;
    if (!whole) {
        ray_s3_destroy(made);
        return ray__fail(RAY_OUT_OF_MEMORY, "a client of %s", options->endpoint);
    }
    *s3 = made;
    return RAY_OK;
}

void ray_s3_hurry(ray_s3 *s3) {
    s3->is_hurried = true;
}

void ray_s3_destroy(ray_s3 *s3) {
    if (s3 == NULL) {
        return;
    }
    ray__s3_lanes_end(s3);
    free(s3->endpoint);
    free(s3->sigv4);
    free(s3->credentials);
    free(s3->token_header);
    pthread_mutex_destroy(&s3->lock);
    free(s3);
}
