// SPDX-License-Identifier: Apache-2.0
#include "raystore/id.h"

#include <string.h>

#include "base/error_internal.h"

// Where the parts of an id lie.
enum {
    UNIQUE_OFFSET = 0,
    ACTOR_OFFSET = 8,
    JOB_OFFSET = 20,
    INDEX_OFFSET = 24,
};

static void store_u32(uint8_t *at, uint32_t value) {
    for (int i = 0; i < 4; i++) {
        at[i] = (uint8_t)(value >> (8 * i));
    }
}

static uint32_t load_u32(const uint8_t *at) {
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16 | (uint32_t)at[3] << 24;
}

ray_task_id ray_task_id_driver(uint32_t job) {
    ray_task_id task;
    memset(task.bytes, 0xff, sizeof task.bytes);
    task.bytes[UNIQUE_OFFSET] = 0;
    store_u32(task.bytes + JOB_OFFSET, job);
    return task;
}

ray_task_id ray_task_id_session(uint32_t job, uint32_t node_number, uint32_t serial) {
    ray_task_id task = ray_task_id_driver(job);
    store_u32(task.bytes + UNIQUE_OFFSET, node_number);
    store_u32(task.bytes + UNIQUE_OFFSET + 4, serial);
    return task;
}

ray_object_id ray_object_id_make(const ray_task_id *task, uint32_t index) {
    ray_object_id id;
    memcpy(id.bytes, task->bytes, sizeof task->bytes);
    store_u32(id.bytes + INDEX_OFFSET, index);
    return id;
}

uint32_t ray_object_id_index(const ray_object_id *id) {
    return load_u32(id->bytes + INDEX_OFFSET);
}

uint32_t ray_object_id_job(const ray_object_id *id) {
    return load_u32(id->bytes + JOB_OFFSET);
}

ray_task_id ray_object_id_task(const ray_object_id *id) {
    ray_task_id task;
    memcpy(task.bytes, id->bytes, sizeof task.bytes);
    return task;
}

bool ray_object_id_is_driver_put(const ray_object_id *id) {
    ray_task_id driver = ray_task_id_driver(ray_object_id_job(id));
    return memcmp(driver.bytes, id->bytes, sizeof driver.bytes) == 0;
}

uint32_t ray_object_id_node_number(const ray_object_id *id) {
    return load_u32(id->bytes + UNIQUE_OFFSET);
}

bool ray_object_id_equal(const ray_object_id *a, const ray_object_id *b) {
    return memcmp(a->bytes, b->bytes, sizeof a->bytes) == 0;
}

// Ids of one task differ in the index alone, so every word goes through a multiplication whose high half is folded back
// (the mixing step of wyhash); the table takes the low bits.
static uint64_t mix(uint64_t a, uint64_t b) {
    __extension__ typedef unsigned __int128 wide;
    wide product = (wide)a * b;
    return (uint64_t)product ^ (uint64_t)(product >> 64);
}

uint64_t ray_object_id_hash(const ray_object_id *id) {
    uint64_t a;
    uint64_t b;
    uint64_t c;
    uint32_t d;
    memcpy(&a, id->bytes, 8);
    memcpy(&b, id->bytes + 8, 8);
    memcpy(&c, id->bytes + 16, 8);
    memcpy(&d, id->bytes + 24, 4);
    uint64_t head = mix(a ^ 0x9e3779b97f4a7c15u, b ^ 0xd1b54a32d192ed03u);
    return mix(head ^ c, d ^ 0x8bb84b93962eacc9u);
}

void ray_object_id_format(const ray_object_id *id, char *text) {
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < RAY_OBJECT_ID_SIZE; i++) {
        text[2 * i] = digits[id->bytes[i] >> 4];
        text[2 * i + 1] = digits[id->bytes[i] & 15];
    }
    text[2 * RAY_OBJECT_ID_SIZE] = '\0';
}

static int hex_value(char c) {
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    if (c >= 'a' && c <= 'f') {
        return c - 'a' + 10;
    }
    if (c >= 'A' && c <= 'F') {
        return c - 'A' + 10;
    }
    return -1;
}

ray_status ray_object_id_parse(const char *text, size_t length, ray_object_id *id) {
    ray_object_id parsed;
    bool valid = length == 2 * RAY_OBJECT_ID_SIZE;
    for (size_t i = 0; valid && i < RAY_OBJECT_ID_SIZE; i++) {
        int high = hex_value(text[2 * i]);
        int low = hex_value(text[2 * i + 1]);
        valid = high >= 0 && low >= 0;
        if (valid) {
            parsed.bytes[i] = (uint8_t)(high << 4 | low);
        }
    }
    if (!valid) {
        int shown = length > 80 ? 80 : (int)length;
        return ray__fail(RAY_BAD_REF, "'%.*s' is not a ref: a ref is %d hex digits, as put printed it", shown, text,
                         2 * RAY_OBJECT_ID_SIZE);
    }
    *id = parsed;
    return RAY_OK;
}
