// SPDX-License-Identifier: Apache-2.0
// Objects but for their reading: one PUT when it is small, parts when it is large; lists.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "s3_internal.h"

#define PARTS_MAX 10000u // the protocol's
#define KEY_MAX 1100               // S3 takes keys of 1,024 bytes
#define UPLOAD_ID_MAX 1024
#define ENCODED_ID_MAX (3 * UPLOAD_ID_MAX)
#define UPLOAD_QUERY_MAX (ENCODED_ID_MAX + 128) // with the parameters beside it

static ray_status run_one(ray_s3 *s3, ray__s3_request *request) {
    return ray__s3_run(s3, request, 1, 1);
}

uint64_t ray__s3_size_of(const ray_spill_part *pieces, uint32_t count) {
    uint64_t size = 0;
    for (uint32_t i = 0; i < count; i++) {
        size += pieces[i].size;
    }
    return size;
}

static uint32_t slice_count(uint64_t size, uint64_t slice) {
    return (uint32_t)((size + slice - 1) / slice);
}

static void end_all(ray__s3_request *requests, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        ray__s3_request_end(&requests[i]);
    }
    free(requests);
}

// ---- upload in parts ---------------------------------------------------------------------------------------------------------------

// Asks for an upload; its id, encoded for a query, goes to `upload`.
static ray_status begin_upload(ray_s3 *s3, const char *bucket, const char *key, char *upload, size_t capacity) {
    ray__s3_request request = {.method = "POST", .bucket = bucket, .key = key, .query = "uploads="};
    ray_status status = run_one(s3, &request);
    if (status == RAY_OK) {
        char id[UPLOAD_ID_MAX];
        const char *at = request.text == NULL ? "" : request.text;
        upload[0] = '\0';
        if (!ray__s3_element(&at, "UploadId", id, sizeof id) || !ray__s3_encode(id, false, upload, capacity)) {
            status = ray__fail(RAY_PROTOCOL, "%s began an upload of s3://%s/%s without naming it", s3->endpoint, bucket, key);
        }
    }
    ray__s3_request_end(&request);
    return status;
}

static ray_status abort_upload(ray_s3 *s3, const char *bucket, const char *key, const char *upload) {
    char query[UPLOAD_QUERY_MAX];
    snprintf(query, sizeof query, "uploadId=%s", upload);
    ray__s3_request request = {.method = "DELETE", .bucket = bucket, .key = key, .query = query};
    ray_status status = run_one(s3, &request);
    ray__s3_request_end(&request);
    return status == RAY_NOT_FOUND ? RAY_OK : status;
}

static ray_status complete_upload(ray_s3 *s3, const char *bucket, const char *key, const char *upload, const ray__s3_request *parts,
                                  uint32_t count) {
    size_t capacity = 128 + (size_t)count * 256;
    char *text = malloc(capacity);
    if (text == NULL) {
        return ray__fail(RAY_OUT_OF_MEMORY, "the list of %u parts", count);
    }
    size_t at = (size_t)snprintf(text, capacity, "<CompleteMultipartUpload>");
    for (uint32_t i = 0; i < count; i++) {
        at += (size_t)snprintf(text + at, capacity - at, "<Part><PartNumber>%u</PartNumber><ETag>%s</ETag></Part>", i + 1, parts[i].etag);
    }
    at += (size_t)snprintf(text + at, capacity - at, "</CompleteMultipartUpload>");
    char query[UPLOAD_QUERY_MAX];
    snprintf(query, sizeof query, "uploadId=%s", upload);
    ray_spill_part piece = {text, at};
    ray__s3_request request = {.method = "POST", .bucket = bucket, .key = key, .query = query, .body = {.pieces = &piece, .piece_count = 1, .size = at}};
    ray_status status = run_one(s3, &request);
    // The service may answer 200 first and find out later: then the text is an error.
    if (status == RAY_OK && request.text != NULL && strstr(request.text, "<Error>") != NULL) {
        char reason[128] = "";
        const char *from = request.text;
        ray__s3_element(&from, "Code", reason, sizeof reason);
        status = ray__fail(RAY_UNREACHABLE, "s3://%s/%s at %s: the parts could not be put together: %s", bucket, key, s3->endpoint, reason);
    }
    ray__s3_request_end(&request);
    free(text);
    return status;
}

static ray_status upload_parts(ray_s3 *s3, const char *bucket, const char *key, const char *upload, ray__s3_span whole) {
    uint64_t size = whole.size;
    uint64_t slice = s3->part_bytes;
    while (slice_count(size, slice) > PARTS_MAX) {
        slice *= 2;
    }
    uint32_t count = slice_count(size, slice);
    ray__s3_request *requests = calloc(count, sizeof *requests);
    char(*queries)[UPLOAD_QUERY_MAX] = calloc(count, sizeof *queries);
    ray_status status = requests == NULL || queries == NULL ? ray__fail(RAY_OUT_OF_MEMORY, "an upload of %u parts", count) : RAY_OK;
    for (uint32_t i = 0; i < count && status == RAY_OK; i++) {
        snprintf(queries[i], sizeof queries[i], "partNumber=%u&uploadId=%s", i + 1, upload);
        uint64_t from = i * slice;
        uint64_t part = size - from < slice ? size - from : slice;
        requests[i] = (ray__s3_request){.method = "PUT", .bucket = bucket, .key = key, .query = queries[i], .body = whole};
        requests[i].body.from = from;
        requests[i].body.size = part;
    }
    if (status == RAY_OK) {
        status = ray__s3_run(s3, requests, count, s3->connection_count_max);
    }
    if (status == RAY_OK) {
        status = complete_upload(s3, bucket, key, upload, requests, count);
    }
    end_all(requests, requests == NULL ? 0 : count);
    free(queries);
    return status;
}

ray_status ray_s3_put(ray_s3 *s3, const char *bucket, const char *key, const ray_spill_part *parts, uint32_t part_count) {
    return ray_s3_put_laid(s3, bucket, key, parts, part_count, NULL, NULL);
}

ray_status ray_s3_put_laid(ray_s3 *s3, const char *bucket, const char *key, const ray_spill_part *parts, uint32_t part_count,
                           ray_spill_packed *packed, ray_spill_summing *summing) {
    ray__s3_span whole = {
        .pieces = parts, .piece_count = part_count, .size = ray__s3_size_of(parts, part_count), .packed = packed, .summing = summing};
    if (whole.size <= s3->whole_bytes_max) {
        ray__s3_request request = {.method = "PUT", .bucket = bucket, .key = key, .body = whole};
        ray_status status = run_one(s3, &request);
        ray__s3_request_end(&request);
        return status;
    }
    char upload[ENCODED_ID_MAX];
    RAY_TRY(begin_upload(s3, bucket, key, upload, sizeof upload));
    ray_status status = upload_parts(s3, bucket, key, upload, whole);
    if (status != RAY_OK) {
        char kept[RAY__S3_TEXT_MAX];
        snprintf(kept, sizeof kept, "%s", ray_last_error_message());
        // What cannot be removed now is found by ray_s3_abort_uploads.
        ray_status aborted = abort_upload(s3, bucket, key, upload);
        (void)aborted;
        return ray__fail(status, "%s", kept);
    }
    return RAY_OK;
}

// ---- look, remove --------------------------------------------------------------------------------------------------------------------

ray_status ray_s3_size(ray_s3 *s3, const char *bucket, const char *key, uint64_t *size) {
    ray__s3_request request = {.method = "HEAD", .bucket = bucket, .key = key};
    ray_status status = run_one(s3, &request);
    *size = request.content_length;
    ray__s3_request_end(&request);
    return status;
}

ray_status ray_s3_delete(ray_s3 *s3, const char *bucket, const char *key) {
    ray__s3_request request = {.method = "DELETE", .bucket = bucket, .key = key};
    ray_status status = run_one(s3, &request);
    ray__s3_request_end(&request);
    return status == RAY_NOT_FOUND ? RAY_OK : status;
}

ray_status ray_s3_check_bucket(ray_s3 *s3, const char *bucket) {
    ray__s3_request request = {.method = "GET", .bucket = bucket, .query = "list-type=2&max-keys=1"};
    ray_status status = run_one(s3, &request);
    ray__s3_request_end(&request);
    return status;
}

// ---- lists ------------------------------------------------------------------------------------------------------------------------------

// A list comes answer by answer; each says where the next begins. One that leads back to where it was is found out by its query: the 1st, 2nd,
// 4th, 8th and so on is kept and compared with those behind it, which finds a circle of any length. That places grow is no rule to go by: the
// lists of S3's directory buckets are in no order.
typedef struct listing {
    char query[8192];
    char kept[8192];
    uint32_t count;
} listing;

// Makes the listing's query.
static ray_status ask_on(ray_s3 *s3, const char *bucket, const char *prefix, listing *list, ray__s3_request *request) {
    if (list->count > 0 && strcmp(list->query, list->kept) == 0) {
        return ray__fail(RAY_PROTOCOL, "%s lists the same of s3://%s/%s again and again", s3->endpoint, bucket, prefix);
    }
    list->count++;
    if ((list->count & (list->count - 1)) == 0) {
        memcpy(list->kept, list->query, sizeof list->kept);
    }
    *request = (ray__s3_request){.method = "GET", .bucket = bucket, .query = list->query};
    return run_one(s3, request);
}

// Whether an answer is the last one is said twice: by this, and by a place where the next begins.
static ray_status check_place(ray_s3 *s3, const char *bucket, const char *prefix, bool truncated, const char *place) {
    return truncated && place[0] == '\0'
               ? ray__fail(RAY_PROTOCOL, "%s does not say where its list of s3://%s/%s goes on", s3->endpoint, bucket, prefix)
               : RAY_OK;
}

static bool is_truncated(const char *answer) {
    return strstr(answer, "<IsTruncated>true<") != NULL;
}

static ray_status write_key_listing(const char *prefix, const char *token, char *query, size_t capacity) {
    query[0] = '\0';
    bool fits = true;
    if (token[0] != '\0') {
        strcpy(query, "continuation-token=");
        fits = ray__s3_encode(token, false, query, capacity);
    }
    size_t at = strlen(query);
    snprintf(query + at, capacity - at, "%slist-type=2&prefix=", at == 0 ? "" : "&");
    if (!fits || !ray__s3_encode(prefix, false, query, capacity)) {
        return ray__fail(RAY_INVALID_ARGUMENT, "the prefix '%.200s' is longer than S3 takes", prefix);
    }
    return RAY_OK;
}

ray_status ray_s3_list(ray_s3 *s3, const char *bucket, const char *prefix, ray_s3_listed_fn listed, void *context) {
    char token[1024] = "";
    bool more = true;
    listing list = {.count = 0};
    ray_status status = RAY_OK;
    while (more && status == RAY_OK) {
        RAY_TRY(write_key_listing(prefix, token, list.query, sizeof list.query));
        ray__s3_request request = {.text = NULL};
        status = ask_on(s3, bucket, prefix, &list, &request);
        const char *text = status == RAY_OK && request.text != NULL ? request.text : "";
        char key[KEY_MAX];
        char size[32];
        for (const char *from = text; more && ray__s3_element(&from, "Key", key, sizeof key) && ray__s3_element(&from, "Size", size, sizeof size);) {
            more = listed(context, key, strtoull(size, NULL, 10));
        }
        const char *from = text;
        if (!more || !ray__s3_element(&from, "NextContinuationToken", token, sizeof token)) {
            token[0] = '\0';
        }
        if (more && status == RAY_OK) {
            status = check_place(s3, bucket, prefix, is_truncated(text), token);
        }
        more = token[0] != '\0';
        ray__s3_request_end(&request);
    }
    return status;
}

// Where a list of uploads goes on: behind this one.
typedef struct upload_marker {
    char key[KEY_MAX];
    char id[UPLOAD_ID_MAX];
} upload_marker;

// Answers for `query` what lists the uploads behind the marker, or all of them when it is empty.
static bool write_listing(const char *prefix, const upload_marker *behind, char *query, size_t capacity) {
    query[0] = '\0';
    size_t room = capacity - 64; // for what is plain
    bool fits = true;
    if (behind->key[0] != '\0') {
        strcat(query, "key-marker=");
        fits = ray__s3_encode(behind->key, false, query, room);
        strcat(query, "&");
    }
    strcat(query, "prefix=");
    fits = fits && ray__s3_encode(prefix, false, query, room);
    if (fits && behind->key[0] != '\0') {
        strcat(query, "&upload-id-marker=");
        fits = ray__s3_encode(behind->id, false, query, room);
    }
    strcat(query, "&uploads=");
    return fits;
}

// The next <Upload> of the list, ended where it ends; the list begins behind it from then on. NULL when there is none.
static const char *next_upload(char **list) {
    static const char close[] = "</Upload>";
    char *upload = strstr(*list, "<Upload>");
    char *end = upload == NULL ? NULL : strstr(upload, close);
    if (end == NULL) {
        return NULL;
    }
    *end = '\0';
    *list = end + sizeof close - 1;
    return upload;
}

static ray_status abort_listed(ray_s3 *s3, const char *bucket, const char *listed) {
    char key[KEY_MAX];
    char id[UPLOAD_ID_MAX];
    char encoded[ENCODED_ID_MAX] = "";
    const char *at = listed;
    bool whole = ray__s3_element(&at, "Key", key, sizeof key);
    at = listed; // services do not agree on which of them comes first
    whole = whole && ray__s3_element(&at, "UploadId", id, sizeof id) && ray__s3_encode(id, false, encoded, sizeof encoded);
    return whole ? abort_upload(s3, bucket, key, encoded)
                 : ray__fail(RAY_PROTOCOL, "%s listed an upload in s3://%s without its key and id", s3->endpoint, bucket);
}

// Whether an answer means that there is no upload in the bucket: some services have no empty list of them.
static bool lists_none(const ray__s3_request *request) {
    const char *at = request->text == NULL ? "" : request->text;
    char reason[128];
    return request->code == 404 && ray__s3_element(&at, "Code", reason, sizeof reason) && strcmp(reason, "NoSuchUpload") == 0;
}

// Removes what one answer lists. `behind` becomes where the next one begins, or empty when this was the last.
static ray_status abort_page(ray_s3 *s3, const char *bucket, const char *prefix, listing *list, upload_marker *behind) {
    if (!write_listing(prefix, behind, list->query, sizeof list->query)) {
        return ray__fail(RAY_INVALID_ARGUMENT, "the prefix '%.200s' is longer than S3 takes", prefix);
    }
    ray__s3_request request = {.text = NULL};
    ray_status status = ask_on(s3, bucket, prefix, list, &request);
    if (lists_none(&request)) {
        ray__s3_request_end(&request);
        *behind = (upload_marker){"", ""};
        return RAY_OK;
    }
    char *text = status == RAY_OK && request.text != NULL ? request.text : (char[1]){""};
    bool truncated = is_truncated(text);
    *behind = (upload_marker){"", ""};
    const char *at = text;
    if (truncated && ray__s3_element(&at, "NextKeyMarker", behind->key, sizeof behind->key)) {
        at = text;
        if (!ray__s3_element(&at, "NextUploadIdMarker", behind->id, sizeof behind->id)) {
            behind->id[0] = '\0';
        }
    } else {
        behind->key[0] = '\0';
    }
    for (const char *listed; status == RAY_OK && (listed = next_upload(&text)) != NULL;) {
        status = abort_listed(s3, bucket, listed);
    }
    ray__s3_request_end(&request);
    return status == RAY_OK ? check_place(s3, bucket, prefix, truncated, behind->key) : status;
}

ray_status ray_s3_abort_uploads(ray_s3 *s3, const char *bucket, const char *prefix) {
    // Once through the list: an upload that a service goes on listing though it was aborted is not worth another round.
    upload_marker behind = {"", ""};
    listing list = {.count = 0};
    do {
        RAY_TRY(abort_page(s3, bucket, prefix, &list, &behind));
    } while (behind.key[0] != '\0');
    return RAY_OK;
}
