// SPDX-License-Identifier: Apache-2.0
// A client of a node whose memory is short, for Benchmarks/spill/spill.py. A line on standard input is a command, its answer a line of JSON:
//
//   out COUNT SIZE BATCH   puts COUNT objects of random bytes and keeps their refs: seconds until the last put has returned, and when the first began
//                          (in seconds since 1970)
//   in                     gets all of them, one after the other: seconds from the first question to the last answer, with a look at a few words of
//                          each and nothing between
//   in_batches             gets all of them, BATCH at a time: seconds from each question to the pins; what they hold is compared between
//   room BYTES             creates an object of so many bytes, which nobody fills: seconds until it has its room
//   hold COUNT SIZE        puts COUNT objects and keeps them pinned, so that they stay in memory
//   gets SECONDS           gets and releases those at random: how long each took, in ns
//   keep COUNT             gives up all but the first COUNT, until the node has nothing of the others any more
//   drop                   gives up everything, as well
//
// Object i is the same random bytes with a word of its own in every 4 KiB, so that no page passes for another's.
// Usage: node_client SOCKET
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "measuring.h"

enum { OBJECTS_MAX = 20000, STRIDE = 4096, LOOK_STRIDE = 64 * STRIDE, TIMES_MAX = 4000000 };
#define PUT_TIMEOUT_NS 120000000000ull

static ray_client *client;
static ray_object_id ids[OBJECTS_MAX];
static uint32_t count;
static uint64_t size;
static uint32_t batch;
static char *source;
static ray_object_id held_ids[OBJECTS_MAX];
static ray_object_view held[OBJECTS_MAX];
static uint32_t held_count;

static uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void make_source(uint64_t bytes) {
    free(source);
    size = bytes;
    source = malloc(bytes);
    if (source == NULL) {
        fail("the source", "no memory");
    }
    fill_random(source, bytes);
}

static void stamp(uint64_t number) {
    for (uint64_t at = 0; at + sizeof number <= size; at += STRIDE) {
        memcpy(source + at, &number, sizeof number);
    }
}

static void put(uint64_t number, ray_object_id *id) {
    stamp(number);
    must(ray_client_put_within(client, source, size, "B\1", 2, PUT_TIMEOUT_NS, id));
}

static void out(void) {
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    double began = now();
    for (uint32_t i = 0; i < count; i++) {
        put(i + 1, &ids[i]);
    }
    printf("{\"seconds\":%.6f,\"began\":%lld.%06ld}\n", now() - began, (long long)t.tv_sec, t.tv_nsec / 1000);
}

// One question for all of them, then the pins.
static void get_batch(const ray_object_id *wanted, uint32_t many, ray_object_view *views) {
    static uint8_t payload[12 + OBJECTS_MAX * sizeof(ray_object_id)];
    memset(payload, 0xff, 8); // RAY_FOREVER
    memcpy(payload + 8, &many, sizeof many);
    memcpy(payload + 12, wanted, many * sizeof *wanted);
    must(ray_client_call(client, RAY_REQUEST_GET, payload, 12 + many * sizeof *wanted, 0, NULL, NULL));
    for (uint32_t i = 0; i < many; i++) {
        must(ray_client_get(client, &wanted[i], RAY_FOREVER, &views[i]));
    }
}

static void compare(const ray_object_view *view, uint64_t number) {
    stamp(number);
    if (view->data_size != size || memcmp(view->data, source, size) != 0) {
        fail("an object", "is not what was put");
    }
}

static void look_at(const ray_object_view *view, uint64_t number) {
    for (uint64_t at = 0; at + sizeof number <= size; at += LOOK_STRIDE) {
        if (view->data_size != size || memcmp(view->data + at, &number, sizeof number) != 0) {
            fail("an object", "is not what was put");
        }
    }
}

static void in(void) {
    double began = now();
    for (uint32_t i = 0; i < count; i++) {
        ray_object_view view;
        must(ray_client_get(client, &ids[i], RAY_FOREVER, &view));
        look_at(&view, i + 1);
        ray_client_release(client, &view);
    }
    printf("{\"seconds\":%.6f}\n", now() - began);
}

static void in_batches(void) {
    static ray_object_view views[OBJECTS_MAX];
    double seconds = 0;
    for (uint32_t first = 0; first < count; first += batch) {
        uint32_t many = count - first < batch ? count - first : batch;
        double began = now();
        get_batch(&ids[first], many, views);
        seconds += now() - began;
        for (uint32_t i = 0; i < many; i++) {
            compare(&views[i], first + i + 1);
            ray_client_release(client, &views[i]);
        }
    }
    printf("{\"seconds\":%.6f}\n", seconds);
}

static void room(uint64_t bytes) {
    ray_object_id id;
    ray_object_writer writer;
    double began = now();
    must(ray_client_create(client, bytes, 0, PUT_TIMEOUT_NS, &id, &writer));
    double seconds = now() - began;
    ray_object_abort(ray_client_store(client), &writer);
    printf("{\"seconds\":%.6f}\n", seconds);
}

static void hold(void) {
    for (held_count = 0; held_count < count; held_count++) {
        put(held_count, &held_ids[held_count]);
        must(ray_client_get(client, &held_ids[held_count], RAY_FOREVER, &held[held_count]));
    }
    printf("{\"held\":%u}\n", held_count);
}

static int by_time(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a;
    uint32_t y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static void gets(double seconds) {
    static uint32_t times[TIMES_MAX];
    uint32_t done = 0;
    uint64_t random = 88172645463325252u;
    ray_store *store = ray_client_store(client);
    for (double until = now() + seconds; now() < until;) {
        for (uint32_t i = 0; i < 256 && done < TIMES_MAX; i++) {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            ray_object_view view;
            uint64_t began = now_ns();
            must(ray_object_get(store, &held_ids[random % held_count], 0, &view));
            ray_object_release(store, &view);
            uint64_t took = now_ns() - began;
            times[done++] = took < UINT32_MAX ? (uint32_t)took : UINT32_MAX;
        }
        usleep(100); // so that the samples are spread over the time
    }
    qsort(times, done, sizeof times[0], by_time);
    printf("{\"gets\":%u,\"p50_ns\":%u,\"p99_ns\":%u,\"p999_ns\":%u}\n", done, times[done / 2], times[(uint64_t)done * 99 / 100],
           times[(uint64_t)done * 999 / 1000]);
}

static void give_up(uint32_t first) {
    ray_store *store = ray_client_store(client);
    for (uint32_t i = first; i < count; i++) {
        must(ray_ref_release(store, &ids[i]));
    }
    double until = now() + 60;
    ray_object_info info;
    for (uint32_t i = first; i < count; i++) {
        while (ray_object_stat(store, &ids[i], &info) == RAY_OK) {
            if (now() > until) {
                fail("an object", "is still there 60 s after its last ref went");
            }
            usleep(1000);
        }
    }
    count = first;
}

static void keep(unsigned long long many) {
    if (many == 0 || many > count) {
        fail("keep", "out of range");
    }
    give_up((uint32_t)many);
    batch = batch < count ? batch : count;
    printf("{\"kept\":%u}\n", count);
}

static void drop(void) {
    ray_store *store = ray_client_store(client);
    for (uint32_t i = 0; i < held_count; i++) {
        ray_object_release(store, &held[i]);
        must(ray_ref_release(store, &held_ids[i]));
    }
    held_count = 0;
    give_up(0);
    printf("{\"dropped\":true}\n");
}

static void sized(unsigned long long objects, unsigned long long bytes, unsigned long at_once) {
    if (objects == 0 || objects > OBJECTS_MAX || at_once == 0 || at_once > objects) {
        fail("a command", "out of range");
    }
    count = (uint32_t)objects;
    batch = (uint32_t)at_once;
    make_source(bytes);
}

int main(int words, char **word) {
    if (words != 2) {
        fprintf(stderr, "usage: node_client SOCKET\n");
        return 2;
    }
    ray_client_options options = {.struct_size = sizeof options, .socket_path = word[1]};
    must(ray_client_connect(&options, &client));
    char line[128];
    while (fgets(line, sizeof line, stdin) != NULL) {
        unsigned long long a = 0;
        unsigned long long b = 0;
        unsigned long c = 0;
        double seconds = 0;
        if (sscanf(line, "out %llu %llu %lu", &a, &b, &c) == 3) {
            sized(a, b, c);
            out();
        } else if (strcmp(line, "in\n") == 0) {
            in();
        } else if (strcmp(line, "in_batches\n") == 0) {
            in_batches();
        } else if (sscanf(line, "room %llu", &a) == 1) {
            room(a);
        } else if (sscanf(line, "hold %llu %llu", &a, &b) == 2) {
            sized(a, b, 1);
            hold();
            count = 0;
        } else if (sscanf(line, "gets %lf", &seconds) == 1) {
            gets(seconds);
        } else if (sscanf(line, "keep %llu", &a) == 1) {
            keep(a);
        } else if (strcmp(line, "drop\n") == 0) {
            drop();
        } else {
            fail("no such command", line);
        }
        fflush(stdout);
    }
    ray_client_close(client);
    free(source);
    return 0;
}
