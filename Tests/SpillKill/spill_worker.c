// SPDX-License-Identifier: Apache-2.0
// A client of a node that spills, for spill_kills.py: puts, gets and drops objects at random, more of them than the node has memory for, until it
// is killed or the node is. It says a line of JSON now and then, so that a hang shows; a line on standard input has it get everything that it
// still refers to, compare, and say so. Exits with 3 when the node has died, with 9 when something answered what it may not.
//
// Usage: spill_worker SOCKET SEED BYTES_KEPT
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "raystore.h"
#include "spill_client.h"

enum { KEPT_MAX = 4096, EXIT_NODE_DIED = 3, EXIT_FAILED = 9 };
#define SIZE_MAX_BYTES (6u << 20)
#define PATIENCE_NS 30000000000ull

typedef struct kept {
    ray_object_id id;
    uint64_t seed;
    uint64_t size;
} kept;

static ray_client *client;
static kept objects[KEPT_MAX];
static uint32_t count;
static uint64_t kept_bytes;
static uint64_t random_state;
static uint64_t steps;
static uint64_t wrong;
static uint64_t lost;
static uint8_t *bytes;

static uint64_t next_random(void) {
    return spill_random(&random_state);
}

static bool is_end_of_node(ray_status status) {
    return status == RAY_NODE_DIED || status == RAY_CLOSED || status == RAY_NOT_RUNNING || status == RAY_UNREACHABLE;
}

static void say(void) {
    printf("{\"steps\":%llu,\"objects\":%u,\"bytes\":%llu,\"wrong\":%llu,\"lost\":%llu}\n", (unsigned long long)steps, count,
           (unsigned long long)kept_bytes, (unsigned long long)wrong, (unsigned long long)lost);
    fflush(stdout);
}

static void must(ray_status status, const char *what) {
    if (status == RAY_OK) {
        return;
    }
    if (is_end_of_node(status)) {
        exit(EXIT_NODE_DIED);
    }
    fprintf(stderr, "spill_worker: %s: %s: %s\n", what, ray_status_name(status), ray_last_error_message());
    exit(EXIT_FAILED);
}

static void put(void) {
    kept *object = &objects[count];
    object->seed = next_random();
    // Most are small, some large: the logarithm is even.
    object->size = 1 + next_random() % (SIZE_MAX_BYTES >> (next_random() % 14));
    spill_fill(bytes, object->seed, object->size);
    must(ray_client_put_within(client, bytes, object->size, "B\1", 2, PATIENCE_NS, &object->id), "a put");
    count++;
    kept_bytes += object->size;
}

static void drop(uint32_t index) {
    must(ray_client_release_ref(client, &objects[index].id), "dropping a ref");
    kept_bytes -= objects[index].size;
    objects[index] = objects[--count];
}

// Whatever a get answers but the bytes that were put is a loss.
static void get(uint32_t index) {
    kept *object = &objects[index];
    ray_object_view view;
    ray_status status = ray_client_get(client, &object->id, PATIENCE_NS, &view);
    if (is_end_of_node(status)) {
        exit(EXIT_NODE_DIED);
    }
    if (status != RAY_OK) {
        lost++;
        fprintf(stderr, "spill_worker: a get: %s: %s\n", ray_status_name(status), ray_last_error_message());
        drop(index);
        return;
    }
    spill_fill(bytes, object->seed, object->size);
    if (view.data_size != object->size || memcmp(view.data, bytes, object->size) != 0) {
        wrong++;
        fprintf(stderr, "spill_worker: an object of %llu bytes is not what was put\n", (unsigned long long)object->size);
    }
    ray_client_release(client, &view);
}

static void step(uint64_t bytes_kept) {
    uint32_t choice = (uint32_t)(next_random() % 8);
    if (count == KEPT_MAX || (kept_bytes > bytes_kept && count > 0)) {
        drop((uint32_t)(next_random() % count));
    } else if (choice < 4 || count == 0) {
        put();
    } else if (choice < 7) {
        get((uint32_t)(next_random() % count));
    } else {
        drop((uint32_t)(next_random() % count));
    }
    steps++;
}

static bool is_asked(void) {
    struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
    char line[64];
    if (poll(&input, 1, 0) <= 0) {
        return false;
    }
    if (fgets(line, sizeof line, stdin) == NULL) {
        exit(0); // whoever started us is gone
    }
    return true;
}

static void check_all(void) {
    for (uint32_t i = count; i-- > 0;) {
        get(i);
    }
    printf("{\"checked\":%u,\"wrong\":%llu,\"lost\":%llu}\n", count, (unsigned long long)wrong, (unsigned long long)lost);
    fflush(stdout);
}

int main(int words, char **word) {
    if (words != 4) {
        fprintf(stderr, "usage: spill_worker SOCKET SEED BYTES_KEPT\n");
        return 2;
    }
    random_state = spill_random_start(strtoull(word[2], NULL, 10));
    uint64_t bytes_kept = strtoull(word[3], NULL, 10);
    bytes = malloc(SIZE_MAX_BYTES);
    ray_client_options options = {.struct_size = sizeof options, .socket_path = word[1]};
    must(ray_client_connect(&options, &client), "attaching");
    setvbuf(stdin, NULL, _IONBF, 0); // so that poll sees what fgets would have taken
    for (uint64_t said = 0;;) {
        step(bytes_kept);
        if (spill_now_ns() - said > 100000000) {
            said = spill_now_ns();
            say();
        }
        if (is_asked()) {
            check_all();
        }
    }
}
