// SPDX-License-Identifier: Apache-2.0
// A ref that somebody typed or pasted.
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    uint8_t *text = copy_exactly(data, size);
    ray_object_id id;
    ray_status status = ray_object_id_parse((const char *)text, size, &id);
    MUST(status == RAY_OK || status == RAY_BAD_REF);
    if (status == RAY_OK) {
        char again[RAY_OBJECT_ID_HEX_SIZE];
        ray_object_id same;
        ray_object_id_format(&id, again);
        MUST(strlen(again) == 2 * RAY_OBJECT_ID_SIZE);
        MUST(ray_object_id_parse(again, strlen(again), &same) == RAY_OK && ray_object_id_equal(&id, &same));
        MUST(ray_object_id_hash(&id) == ray_object_id_hash(&same));
    }
    free(text);
    return 0;
}
