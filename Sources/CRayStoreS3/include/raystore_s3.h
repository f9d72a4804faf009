// SPDX-License-Identifier: Apache-2.0
// S3: objects of a bucket, written from memory and read into memory, against any endpoint that speaks the protocol.
//
// A ray_s3 holds pooled connections. Each call uses as many of them at once as help: what is large is uploaded in parts, and read in ranges
// of 16 MiB or more, over one connection or several. Which is measured: how long the service takes until it answers a read, and how fast the answer
// comes. A request that fails in a way that may pass (no connection, 429, 5xx, a cut body) is tried again, waiting
// longer each time, until attempts or time are used up; a read goes on where it was cut. That an answer is the range that was asked for is said by 206, or by a
// Content-Range that begins there. Requests are signed by libcurl with Signature Version 4; payloads are not hashed
// (UNSIGNED-PAYLOAD), since what is stored here has checksums of its own.
//
// Errors: RAY_NOT_FOUND there is no such object or bucket; RAY_KEY_REFUSED the credentials are not accepted, or may not do this;
// RAY_UNREACHABLE the endpoint did not answer, or only with failures that pass; RAY_OUT_OF_DISK the service says it has no room;
// RAY_CORRUPT the object ends before what was asked for, twice; RAY_SYSTEM anything else it answered. The message names endpoint, bucket and key and has
// the service's own code and words.
//
// Thread safety: every function may be called from any thread; each blocks its caller.
#ifndef RAYSTORE_S3_H
#define RAYSTORE_S3_H

#include "raystore.h"

RAY_BEGIN_DECLS
RAY_ASSUME_NONNULL_BEGIN

typedef struct ray_s3 ray_s3;

typedef struct ray_s3_options {
    uint32_t struct_size;
    const char *endpoint;                     // http://host:port or https://host, perhaps with a path that buckets lie below
    const char *region;
    const char *access_key;
    const char *secret_key;
    const char *RAY_NULLABLE session_token;   // of temporary credentials
    uint32_t connection_count_max;            // of one call at once; 0: 4
    uint64_t part_bytes;                      // of uploads that are larger; at least 5 MiB, which the protocol demands; 0: 32 MiB of those
                                              // beyond 192 MiB, which is sent in one request
    uint32_t attempts_max;                    // of each request; 0: 5
    uint64_t timeout_ns;                      // for a request without any progress; 0: 20 s
} ray_s3_options;

// RAY_INVALID_ARGUMENT names the option that is wrong. Makes no request.
RAY_API ray_status ray_s3_create(const ray_s3_options *options, ray_s3 *RAY_NULLABLE *RAY_NULLABLE s3) RAY_NODISCARD;
// No call may be under way. Accepts NULL.
RAY_API void ray_s3_destroy(ray_s3 *RAY_NULLABLE s3);

// For a client that is about to end: calls under way fail with RAY_CLOSED within half a second, and those that begin from now on do not wait for a
// service that is silent: no answer within 2 s is a failure, and the last request that is made.
RAY_API void ray_s3_hurry(ray_s3 *s3);

// Writes the parts, one after the other, as one object, in the place of an earlier one of that key. What was uploaded of an object that
// fails is removed.
RAY_API ray_status ray_s3_put(ray_s3 *s3, const char *bucket, const char *key, const ray_spill_part *parts, uint32_t part_count) RAY_NODISCARD;

// The same of a file that spill.h has laid down: parts that were packed are packed as they are sent, and the bytes of others are given to `summing` as they
// go. Who calls ends the summing.
RAY_API ray_status ray_s3_put_laid(ray_s3 *s3, const char *bucket, const char *key, const ray_spill_part *parts, uint32_t part_count,
                                   ray_spill_packed *RAY_NULLABLE packed, ray_spill_summing *RAY_NULLABLE summing) RAY_NODISCARD;

// Fills the parts, one after the other, with the object's bytes from offset on. RAY_CORRUPT when it is shorter.
RAY_API ray_status ray_s3_get(ray_s3 *s3, const char *bucket, const char *key, uint64_t offset, const ray_spill_part *parts,
                              uint32_t part_count) RAY_NODISCARD;

RAY_API ray_status ray_s3_size(ray_s3 *s3, const char *bucket, const char *key, uint64_t *size) RAY_NODISCARD;

// Removes it. One that is not there is removed already.
RAY_API ray_status ray_s3_delete(ray_s3 *s3, const char *bucket, const char *key) RAY_NODISCARD;

// RAY_OK when the bucket is there and may be listed with these credentials.
RAY_API ray_status ray_s3_check_bucket(ray_s3 *s3, const char *bucket) RAY_NODISCARD;

// Calls back for every key that begins with the prefix, in the order in which the service lists them, until it answers false. RAY_PROTOCOL when
// the list leads back to where it was, or does not say where it goes on: those before that have been called back for.
typedef bool (*ray_s3_listed_fn)(void *RAY_NULLABLE context, const char *key, uint64_t size);
RAY_API ray_status ray_s3_list(ray_s3 *s3, const char *bucket, const char *prefix, ray_s3_listed_fn listed,
                               void *RAY_NULLABLE context) RAY_NODISCARD;

// Removes every upload of parts under the prefix that was begun and neither completed nor removed, as by a process that was killed; goes
// through the list once. RAY_PROTOCOL when the list leads back to where it was, or does not say where it goes on: what it had before that is removed.
RAY_API ray_status ray_s3_abort_uploads(ray_s3 *s3, const char *bucket, const char *prefix) RAY_NODISCARD;

RAY_ASSUME_NONNULL_END
RAY_END_DECLS
#endif
