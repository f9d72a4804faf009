// SPDX-License-Identifier: Apache-2.0
// A client of a node that spills, for disk_faults.py and flood.py. A line on standard input is a command, its answer a line of JSON:
//
//   put COUNT SIZE MS          puts COUNT objects, each within MS, until one fails
//   get FIRST COUNT MS         gets those one after the other, each within MS, and compares them
//   work BYTES LEAST MOST KEPT MS   puts so many bytes in objects from LEAST to MOST bytes, gets one at random after each, and lets go of one at
//                              random when it has KEPT bytes
//   check MS                   gets all that are kept, in random order
//   drop                       lets go of everything
//
// Answers have done, right, wrong, failed, and of the first failure status, errno and message; longest_ms of a put.
// Usage: disk_client SOCKET SEED
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "raystore.h"
#include "spill_client.h"

enum { OBJECTS_MAX = 200000 };
#define NS_PER_MS 1000000ull

typedef struct kept {
    ray_object_id id;
    uint64_t seed;
    uint64_t size;
} kept;

typedef struct tally {
    uint64_t done;
    uint64_t right;
    uint64_t wrong;
    uint64_t failed;
    uint64_t longest_ns;
    ray_status status;
    int errno_of;
    char message[1024];
} tally;

static ray_client *client;
static kept objects[OBJECTS_MAX];
static uint32_t count;
static uint64_t kept_bytes;
static uint64_t random_state;
static uint8_t *bytes;
static uint64_t bytes_size;

static void need(bool is_right, const char *what) {
    if (!is_right) {
        fprintf(stderr, "disk_client: %s: %s\n", what, ray_last_error_message());
        exit(9);
    }
}

static void make_room(uint64_t size) {
    if (size > bytes_size) {
        free(bytes);
        bytes = malloc(size);
        need(bytes != NULL, "no memory");
        bytes_size = size;
    }
}

static void note_failure(tally *t, ray_status status) {
    if (t->failed++ == 0) {
        t->status = status;
        t->errno_of = ray_last_error_errno();
        snprintf(t->message, sizeof t->message, "%s", ray_last_error_message());
    }
}

// Texts of ours have no control characters.
static void say(const tally *t) {
    printf("{\"done\":%llu,\"right\":%llu,\"wrong\":%llu,\"failed\":%llu,\"longest_ms\":%llu,\"kept\":%u,\"status\":\"%s\",\"errno\":%d,\"message\":\"",
           (unsigned long long)t->done, (unsigned long long)t->right, (unsigned long long)t->wrong, (unsigned long long)t->failed,
           (unsigned long long)(t->longest_ns / NS_PER_MS), count, ray_status_name(t->status), t->errno_of);
    for (const char *c = t->message; *c != '\0'; c++) {
        if (*c == '"' || *c == '\\') {
            putchar('\\');
        }
        putchar(*c);
    }
    printf("\"}\n");
    fflush(stdout);
}

static bool put(tally *t, uint64_t size, uint64_t timeout_ns) {
    need(count < OBJECTS_MAX, "too many objects");
    kept *object = &objects[count];
    object->seed = spill_random(&random_state);
    object->size = size;
    make_room(size);
    spill_fill(bytes, object->seed, size);
    uint64_t began = spill_now_ns();
    ray_status status = ray_client_put_within(client, bytes, size, "B\1", 2, timeout_ns, &object->id);
    uint64_t took = spill_now_ns() - began;
    t->longest_ns = took > t->longest_ns ? took : t->longest_ns;
    if (status != RAY_OK) {
        note_failure(t, status);
        return false;
    }
    count++;
    kept_bytes += size;
    t->done++;
    return true;
}

static void get(tally *t, uint32_t index, uint64_t timeout_ns) {
    const kept *object = &objects[index];
    ray_object_view view;
    ray_status status = ray_client_get(client, &object->id, timeout_ns, &view);
    if (status != RAY_OK) {
        note_failure(t, status);
        return;
    }
    make_room(object->size);
    spill_fill(bytes, object->seed, object->size);
    if (view.data_size == object->size && memcmp(view.data, bytes, object->size) == 0) {
        t->right++;
    } else {
        t->wrong++;
    }
    ray_client_release(client, &view);
}

static void let_go(uint32_t index) {
    need(ray_client_release_ref(client, &objects[index].id) == RAY_OK, "letting go of a ref");
    kept_bytes -= objects[index].size;
    objects[index] = objects[--count];
}

static void work(tally *t, const unsigned long long *n, uint64_t timeout_ns) {
    uint64_t least = n[1];
    uint64_t most = n[2];
    for (uint64_t done = 0; done < n[0];) {
        // The logarithm is even: most are small.
        uint64_t size = most;
        for (uint64_t steps = spill_random(&random_state) % 16; steps > 0 && size / 2 >= least; steps--) {
            size /= 2;
        }
        size = size > least ? least + spill_random(&random_state) % (size - least + 1) : least;
        if (!put(t, size, timeout_ns)) {
            return;
        }
        done += size;
        get(t, (uint32_t)(spill_random(&random_state) % count), timeout_ns);
        while (kept_bytes > n[3] && count > 0) {
            let_go((uint32_t)(spill_random(&random_state) % count));
        }
    }
}

static void check(tally *t, uint64_t timeout_ns) {
    for (uint32_t i = count; i > 1; i--) {
        uint32_t j = (uint32_t)(spill_random(&random_state) % i);
        kept other = objects[i - 1];
        objects[i - 1] = objects[j];
        objects[j] = other;
    }
    for (uint32_t i = 0; i < count; i++) {
        get(t, i, timeout_ns);
    }
}

static bool obey(const char *line, tally *t) {
    unsigned long long n[5];
    if (sscanf(line, "put %llu %llu %llu", &n[0], &n[1], &n[2]) == 3) {
        for (uint64_t i = 0; i < n[0] && put(t, n[1], n[2] * NS_PER_MS); i++) {
        }
    } else if (sscanf(line, "get %llu %llu %llu", &n[0], &n[1], &n[2]) == 3) {
        for (uint64_t i = n[0]; i < n[0] + n[1] && i < count; i++) {
            get(t, (uint32_t)i, n[2] * NS_PER_MS);
        }
    } else if (sscanf(line, "work %llu %llu %llu %llu %llu", &n[0], &n[1], &n[2], &n[3], &n[4]) == 5) {
        work(t, n, n[4] * NS_PER_MS);
    } else if (sscanf(line, "check %llu", &n[0]) == 1) {
        check(t, n[0] * NS_PER_MS);
    } else if (strcmp(line, "drop\n") == 0) {
        while (count > 0) {
            let_go(count - 1);
        }
    } else {
        return false;
    }
    return true;
}

int main(int words, char **word) {
    if (words != 3) {
        fprintf(stderr, "usage: disk_client SOCKET SEED\n");
        return 2;
    }
    random_state = spill_random_start(strtoull(word[2], NULL, 10));
    ray_client_options options = {.struct_size = sizeof options, .socket_path = word[1]};
    need(ray_client_connect(&options, &client) == RAY_OK, "attaching");
    char line[128];
    while (fgets(line, sizeof line, stdin) != NULL) {
        tally t = {0};
        need(obey(line, &t), line);
        say(&t);
    }
    ray_client_close(client);
    free(bytes);
    return 0;
}
