// SPDX-License-Identifier: Apache-2.0
// The bytes of a file object, which another node or program made.
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    uint8_t *bytes = copy_exactly(data, size);
    ray_file_descriptor file;
    ray_status status = ray_file_descriptor_decode(bytes, size, &file);
    MUST(status == RAY_OK || status == RAY_CORRUPT || status == RAY_VERSION_MISMATCH);
    if (status == RAY_OK) {
        // What becomes a name in a directory must not lead out of it.
        MUST(file.name_length >= 1 && file.name_length <= RAY_FILE_NAME_MAX);
        MUST(memchr(file.name, '/', file.name_length) == NULL && memchr(file.name, 0, file.name_length) == NULL);
        MUST(file.path_length >= 2 && file.path[0] == '/' && memchr(file.path, 0, file.path_length) == NULL);
        uint8_t again[RAY_FILE_DESCRIPTOR_MAX];
        size_t again_size;
        MUST(ray_file_descriptor_encode(&file, again, sizeof again, &again_size) == RAY_OK);
        MUST(again_size == size && memcmp(again, bytes, size) == 0);
    }
    free(bytes);
    return 0;
}
