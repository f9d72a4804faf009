// SPDX-License-Identifier: Apache-2.0
// What a find callback says. A failure to keep it is remembered and answered to the peer.
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "transfer/answer_internal.h"

void ray__answer_init(ray_answer *answer) {
    memset(answer, 0, sizeof *answer);
    answer->kind = RAY__ANSWER_NOTHING;
}

void ray__answer_end(ray_answer *answer) {
    free(answer->path);
    free(answer->metadata);
    free(answer->descriptor);
    answer->path = NULL;
    answer->metadata = NULL;
    answer->descriptor = NULL;
}

void ray_answer_object(ray_answer *answer) {
    ray__answer_end(answer);
    answer->kind = RAY_KIND_OBJECT;
}

static uint8_t *keep(ray_answer *answer, const void *bytes, size_t size) {
    if (size == 0) {
        return NULL;
    }
    if (size > RAY_METADATA_MAX) {
        answer->failure = RAY_TOO_LARGE;
        snprintf(answer->text, sizeof answer->text, "metadata and descriptor of a file are at most %u bytes", RAY_METADATA_MAX);
        return NULL;
    }
    uint8_t *kept = malloc(size);
    if (kept == NULL) {
        answer->failure = RAY_OUT_OF_MEMORY;
        return NULL;
    }
    memcpy(kept, bytes, size);
    return kept;
}

void ray_answer_file(ray_answer *answer, const char *path, uint64_t size_bytes, int64_t mtime_ns, const void *metadata,
                     size_t metadata_size, const void *descriptor, size_t descriptor_size) {
    ray__answer_end(answer);
    answer->kind = RAY_KIND_FILE;
    answer->size_bytes = size_bytes;
    answer->mtime_ns = mtime_ns;
    answer->path = strdup(path);
    if (answer->path == NULL) {
        answer->failure = RAY_OUT_OF_MEMORY;
    }
    answer->metadata = keep(answer, metadata, metadata_size);
    answer->metadata_size = answer->metadata == NULL ? 0 : (uint32_t)metadata_size;
    answer->descriptor = keep(answer, descriptor, descriptor_size);
    answer->descriptor_size = answer->descriptor == NULL ? 0 : (uint32_t)descriptor_size;
}

// Holders beyond the limit are left out: the peer needs some, not all.
void ray_answer_holder(ray_answer *answer, const char *host, uint16_t port) {
    size_t length = strlen(host);
    if (answer->holder_count < RAY__HOLDERS_MAX && length > 0 && length < RAY_HOST_MAX) {
        ray_endpoint *holder = &answer->holders[answer->holder_count++];
        memcpy(holder->host, host, length + 1);
        holder->port = port;
    }
}

void ray_answer_message(ray_answer *answer, const char *message) {
    snprintf(answer->text, sizeof answer->text, "%s", message);
}
