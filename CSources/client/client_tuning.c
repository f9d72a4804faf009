// SPDX-License-Identifier: Apache-2.0
// A tuning as requests carry it.
#include <stddef.h>
#include <string.h>

#include "base/error_internal.h"
#include "client/client_internal.h"
#include "codec/bytes_internal.h"

ray_status ray_client_tuning_pack(const ray_client_tuning *given, uint8_t *bytes) {
    size_t size = given->struct_size < sizeof *given ? given->struct_size : sizeof *given;
    if (size < offsetof(ray_client_tuning, connection_count)) {
        return ray__fail(RAY_INVALID_ARGUMENT, "a tuning needs struct_size");
    }
    ray_client_tuning tuning = {0};
    memcpy(&tuning, given, size);
    if (tuning.codec > RAY_CODEC_ZSTD) {
        return ray__fail(RAY_INVALID_ARGUMENT, "the tuning's codec is not possible: %u is none of RAY_CODEC_*", tuning.codec);
    }
    if (tuning.urgency >= RAY_URGENCY_COUNT) {
        return ray__fail(RAY_INVALID_ARGUMENT, "the tuning's urgency is not possible: %u is none of RAY_URGENCY_*", tuning.urgency);
    }
    // What else is not possible the node says, whose limits they are.
    ray__put_u16(bytes, tuning.codec);
    ray__put_u16(bytes + 2, tuning.urgency);
    ray__put_u32(bytes + 4, (uint32_t)tuning.level);
    ray__put_u32(bytes + 8, tuning.connection_count);
    ray__put_u32(bytes + 12, tuning.chunk_size);
    ray__put_u64(bytes + 16, tuning.window_bytes);
    ray__put_u64(bytes + 24, tuning.rate_max_bytes);
    return RAY_OK;
}
