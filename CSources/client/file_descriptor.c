// SPDX-License-Identifier: Apache-2.0
// The bytes of a file object: see struct ray_file_descriptor in client.h.
#include <assert.h>
#include <string.h>

#include "base/error_internal.h"
#include "raystore/client.h"

struct descriptor_head { // then the name and the path
    uint32_t magic;
    uint32_t version;
    uint64_t size_bytes;
    int64_t mtime_ns;
    uint32_t mode;
    uint32_t flags;
    uint32_t name_length;
    uint32_t path_length;
};

static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the structure is the format on little-endian machines only");
static_assert(sizeof(struct descriptor_head) == 40 && offsetof(struct descriptor_head, path_length) == 36, "layout of the descriptor");

// Why a name must not become a file's name, NULL if it may.
static const char *name_problem(const char *name, size_t length) {
    if (length == 0 || length > RAY_FILE_NAME_MAX) {
        return "its name is empty or longer than 255 bytes";
    }
    if (memchr(name, '/', length) != NULL || memchr(name, '\0', length) != NULL) {
        return "its name contains a slash or a NUL";
    }
    if ((length == 1 && name[0] == '.') || (length == 2 && name[0] == '.' && name[1] == '.')) {
        return "its name is a directory";
    }
    return NULL;
}

static const char *path_problem(const char *path, size_t length) {
    if (length < 2 || length > RAY_FILE_PATH_MAX) {
        return "its path is empty or longer than 4095 bytes";
    }
    if (path[0] != '/' || memchr(path, '\0', length) != NULL) {
        return "its path is not absolute or contains a NUL";
    }
    return NULL;
}

ray_status ray_file_descriptor_encode(const ray_file_descriptor *descriptor, void *bytes, size_t capacity, size_t *size) {
    const char *name = descriptor->name;
    const char *path = descriptor->path;
    const char *problem = name == NULL || path == NULL ? "its name or path is missing" : name_problem(name, descriptor->name_length);
    if (problem == NULL) {
        problem = path_problem(path, descriptor->path_length);
    }
    if (problem != NULL) {
        *size = 0;
        return ray__fail(RAY_INVALID_ARGUMENT, "a file cannot be described: %s", problem);
    }
    struct descriptor_head head = {
        .magic = RAY_FILE_DESCRIPTOR_MAGIC,
        .version = RAY_FILE_DESCRIPTOR_VERSION,
        .size_bytes = descriptor->size_bytes,
        .mtime_ns = descriptor->mtime_ns,
        .mode = descriptor->mode,
        .flags = descriptor->flags,
        .name_length = descriptor->name_length,
        .path_length = descriptor->path_length,
    };
    *size = sizeof head + head.name_length + head.path_length;
    if (*size > capacity) {
        return ray__fail(RAY_TOO_LARGE, "a file's descriptor needs %zu bytes, %zu were given", *size, capacity);
    }
    uint8_t *to = bytes;
    memcpy(to, &head, sizeof head);
    memcpy(to + sizeof head, name, head.name_length);
    memcpy(to + sizeof head + head.name_length, path, head.path_length);
    return RAY_OK;
}

ray_status ray_file_descriptor_decode(const void *bytes, size_t size, ray_file_descriptor *descriptor) {
    struct descriptor_head head;
    uint32_t common[2];
    if (size < sizeof common) {
        return ray__fail(RAY_CORRUPT, "%zu bytes are no file's descriptor", size);
    }
    memcpy(common, bytes, sizeof common);
    if (common[0] != RAY_FILE_DESCRIPTOR_MAGIC) {
        return ray__fail(RAY_CORRUPT, "the %zu bytes of this object are no file's descriptor", size);
    }
    if (common[1] != RAY_FILE_DESCRIPTOR_VERSION) {
        return ray__fail(RAY_VERSION_MISMATCH, "a file's descriptor has version %u, this library reads version %u", common[1],
                         RAY_FILE_DESCRIPTOR_VERSION);
    }
    if (size < sizeof head) {
        return ray__fail(RAY_CORRUPT, "a file's descriptor is cut off after %zu bytes", size);
    }
    memcpy(&head, bytes, sizeof head);
    // Each length is checked by itself first, so that their sum cannot overflow.
    if (head.name_length > RAY_FILE_NAME_MAX || head.path_length > RAY_FILE_PATH_MAX ||
        size != sizeof head + head.name_length + head.path_length) {
        return ray__fail(RAY_CORRUPT, "a file's descriptor of %zu bytes does not fit its lengths %u and %u", size, head.name_length,
                         head.path_length);
    }
    const char *name = (const char *)bytes + sizeof head;
    const char *path = name + head.name_length;
    const char *problem = name_problem(name, head.name_length);
    if (problem == NULL) {
        problem = path_problem(path, head.path_length);
    }
    if (problem != NULL) {
        return ray__fail(RAY_CORRUPT, "a file's descriptor cannot be right: %s", problem);
    }
    *descriptor = (ray_file_descriptor){
        .size_bytes = head.size_bytes,
        .mtime_ns = head.mtime_ns,
        .mode = head.mode,
        .flags = head.flags,
        .name = name,
        .path = path,
        .name_length = head.name_length,
        .path_length = head.path_length,
    };
    return RAY_OK;
}
