// SPDX-License-Identifier: Apache-2.0
// The common requests, blocking: most of each is in shared memory, and the node is asked only where it must be.
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/client_internal.h"
#include "raystore/file.h"

// How often something is tried again that went away between the node's answer and our hold on it. Each time is a race lost against a
// release; a hundred in a row mean that it cannot work.
#define ATTEMPTS_MAX 100

#define PUT_COUNT_MAX ((uint64_t)(UINT32_MAX - RAY_FIRST_PUT_INDEX))

ray_status ray_client_next_id(ray_client *client, ray_object_id *id) {
    RAY_TRY(ray__guarded_refuse(client, "put"));
    if (client->info.job == RAY_JOB_NONE) {
        return ray__fail(RAY_INVALID_ARGUMENT, "this session has no job, so it cannot put; connect with a job, or with 0 for a new one");
    }
    uint64_t number = atomic_fetch_add_explicit(&client->put_count, 1, memory_order_relaxed) + 1;
    if (number > PUT_COUNT_MAX) {
        return ray__fail(RAY_TOO_LARGE, "this session has used its %llu put ids; close it and connect again", (unsigned long long)PUT_COUNT_MAX);
    }
    *id = ray_object_id_make(&client->info.task, RAY_FIRST_PUT_INDEX + (uint32_t)number);
    return RAY_OK;
}

ray_status ray_client_put(ray_client *client, const void *data, uint64_t data_size, const void *metadata, uint32_t metadata_size,
                          ray_object_id *id) {
    if (data_size >= RAY__CLIENT_SUMMED_MIN) {
        return ray_client_put_within(client, data, data_size, metadata, metadata_size, 0, id);
    }
    ray_object_id made;
    RAY_TRY(ray_client_next_id(client, &made));
    RAY_TRY(ray_object_put(client->store, &made, data, data_size, metadata, metadata_size, RAY_CREATE_WITH_REF));
    *id = made;
    return RAY_OK;
}

static ray_status open_and_count(ray_client *client, const ray_object_id *id) {
    ray_status status = RAY_NOT_FOUND;
    for (int attempt = 0; attempt < ATTEMPTS_MAX && status == RAY_NOT_FOUND; attempt++) {
        RAY_TRY(ray_client_call(client, RAY_REQUEST_OPEN_REF, id->bytes, RAY_OBJECT_ID_SIZE, 0, NULL, NULL));
        // The node has set this process's ref bit. Who releases a ref in the store itself, or frees the object, may have ended it since: then it is opened anew.
        status = client->store != NULL ? ray_ref_acquire(client->store, id) : ray__guarded_hold(client, id);
    }
    return status;
}

ray_status ray_client_open_ref(ray_client *client, const ray_object_id *id) {
    RAY_TRY(ray_client_opening_begin(client, id));
    ray_status status = open_and_count(client, id);
    ray_client_opening_end(client, id);
    return status;
}

ray_status ray_client_share_ref(ray_client *client, const ray_object_id *id) {
    RAY_TRY(ray__guarded_refuse(client, "share a ref"));
    return ray_client_call(client, RAY_REQUEST_SHARE_REF, id->bytes, RAY_OBJECT_ID_SIZE, 0, NULL, NULL);
}

ray_status ray_client_put_file(ray_client *client, const char *path, uint32_t mode, ray_object_id *id) {
    size_t length = strlen(path);
    if (path[0] != '/' || length > RAY_FILE_PATH_MAX) {
        return ray__fail(RAY_INVALID_ARGUMENT, "the path '%.200s' is not absolute, or longer than %u bytes", path, RAY_FILE_PATH_MAX);
    }
    if (mode != RAY_FILE_COPY && mode != RAY_FILE_REFERENCE && mode != RAY_FILE_ADOPT) {
        return ray__fail(RAY_INVALID_ARGUMENT, "%u is no mode of putting a file", mode);
    }
    ray_object_id made;
    RAY_TRY(ray_client_next_id(client, &made));
    size_t size = 4 + 4 + RAY_OBJECT_ID_SIZE + 4 + length; // PUT_FILE: u32 mode, u32 flags, id, text path
    uint8_t *payload = calloc(1, size);
    if (payload == NULL) {
        return ray__fail(RAY_OUT_OF_MEMORY, "no memory for a request of %zu bytes", size);
    }
    uint32_t text_size = (uint32_t)length;
    memcpy(payload, &mode, 4);
    memcpy(payload + 8, made.bytes, RAY_OBJECT_ID_SIZE);
    memcpy(payload + 8 + RAY_OBJECT_ID_SIZE, &text_size, 4);
    memcpy(payload + 12 + RAY_OBJECT_ID_SIZE, path, length);
    // Not tried again: this process cannot release a ref that it has not handed out yet.
    ray_status status = ray_client_call(client, RAY_REQUEST_PUT_FILE, payload, size, 0, NULL, NULL);
    free(payload);
    RAY_TRY(status);
    RAY_TRY(ray_ref_acquire(client->store, &made));
    *id = made;
    return RAY_OK;
}

static ray_status file_path_of(const ray_object_id *id, const ray_object_view *view, char *path, size_t path_capacity) {
    char text[RAY_OBJECT_ID_HEX_SIZE];
    ray_object_id_format(id, text);
    if (view->metadata_size == 0 || view->metadata[0] != RAY_VALUE_FILE) {
        return ray__fail(RAY_WRONG_KIND, "object %s is not a file; get it as a value", text);
    }
    ray_file_descriptor file;
    RAY_TRY(ray_file_descriptor_decode(view->data, (size_t)view->data_size, &file));
    if (file.path_length >= path_capacity) {
        return ray__fail(RAY_TOO_LARGE, "the path of file %s needs %u bytes with its NUL, %zu were given", text, file.path_length + 1,
                         path_capacity);
    }
    memcpy(path, file.path, file.path_length);
    path[file.path_length] = '\0';
    if ((file.flags & 0xff) == RAY_FILE_REFERENCE) {
        // Anybody may have changed it, so the store cannot vouch for it: this get looks.
        return ray_file_unchanged(path, file.size_bytes, file.mtime_ns);
    }
    return RAY_OK;
}

ray_status ray_client_get_file(ray_client *client, const ray_object_id *id, uint64_t timeout_ns, ray_object_view *view, char *path,
                               size_t path_capacity) {
    RAY_TRY(ray_client_get(client, id, timeout_ns, view));
    ray_status status = file_path_of(id, view, path, path_capacity);
    if (status == RAY_OK && client->store == NULL && access(path, R_OK) != 0) {
        status = ray__fail_errno(RAY_FILE_NOT_READABLE, "the file %s lies in the node's own directory; a guarded reader of another user cannot read files",
                                 path);
    }
    if (status != RAY_OK) {
        ray_client_release(client, view);
    }
    return status;
}
