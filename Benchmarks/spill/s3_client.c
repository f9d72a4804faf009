// SPDX-License-Identifier: Apache-2.0
// Our S3 client alone, for Benchmarks/spill/s3.py: objects of random bytes written from memory and read back into other memory, on demand.
// Usage: s3_client ENDPOINT ACCESS_KEY SECRET_KEY BUCKET OBJECTS OBJECT_BYTES AT_ONCE
//
// AT_ONCE objects are under way together, as a node has several files.
//
// A line on standard input is a command: `out` writes all objects, `in` reads all and compares, `remove` deletes them. The answer is a line of JSON
// with the seconds that the transfer took and the processor's seconds in it.
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>

#include "measuring.h"
#include "raystore_s3.h"

#define AT_ONCE_MAX 16u

typedef struct bench {
    ray_s3 *s3;
    const char *bucket;
    uint32_t count;
    size_t size;
    uint32_t at_once;
    char *sent;
    char *received;
    void (*move)(const struct bench *b, uint32_t index, const char *key);
    _Atomic uint32_t next;
} bench;

static double cpu_seconds(void) {
    struct rusage used;
    getrusage(RUSAGE_SELF, &used);
    return (double)(used.ru_utime.tv_sec + used.ru_stime.tv_sec) + (double)(used.ru_utime.tv_usec + used.ru_stime.tv_usec) * 1e-6;
}

static void move_out(const bench *b, uint32_t index, const char *key) {
    ray_spill_part part = {b->sent + index * b->size, b->size};
    must(ray_s3_put(b->s3, b->bucket, key, &part, 1));
}

static void move_in(const bench *b, uint32_t index, const char *key) {
    ray_spill_part part = {b->received + index * b->size, b->size};
    must(ray_s3_get(b->s3, b->bucket, key, 0, &part, 1));
}

static void remove_it(const bench *b, uint32_t index, const char *key) {
    (void)index;
    must(ray_s3_delete(b->s3, b->bucket, key));
}

static void *work(void *context) {
    bench *b = context;
    for (uint32_t index; (index = atomic_fetch_add(&b->next, 1)) < b->count;) {
        char key[32];
        snprintf(key, sizeof key, "bench-%u", index);
        b->move(b, index, key);
    }
    return NULL;
}

static void move_all(bench *b) {
    pthread_t threads[AT_ONCE_MAX];
    b->next = 0;
    for (uint32_t i = 0; i < b->at_once; i++) {
        if (pthread_create(&threads[i], NULL, work, b) != 0) {
            fail("a thread", "cannot be started");
        }
    }
    for (uint32_t i = 0; i < b->at_once; i++) {
        pthread_join(threads[i], NULL);
    }
}

static void compare(const bench *b) {
    if (memcmp(b->sent, b->received, b->count * b->size) != 0) {
        fail("what came back", "is not what was sent");
    }
    memset(b->received, 0, b->count * b->size); // so that the next read shows itself, into memory that is there
}

static void timed(bench *b, void (*move)(const bench *b, uint32_t index, const char *key)) {
    b->move = move;
    double began = now();
    double used = cpu_seconds();
    move_all(b);
    double took = now() - began;
    printf("{\"seconds\":%.6f,\"cpu_seconds\":%.6f}\n", took, cpu_seconds() - used);
    fflush(stdout);
}

static char *memory(size_t size) {
    char *bytes = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (bytes == MAP_FAILED) {
        fail("the objects", "no memory");
    }
    return bytes;
}

int main(int count, char **words) {
    if (count < 8) {
        fprintf(stderr, "usage: s3_client ENDPOINT ACCESS_KEY SECRET_KEY BUCKET OBJECTS OBJECT_BYTES AT_ONCE\n");
        return 2;
    }
    bench b = {.bucket = words[4], .count = (uint32_t)strtoul(words[5], NULL, 10), .size = strtoull(words[6], NULL, 10)};
    ray_s3_options options = {.struct_size = sizeof options,
                              .endpoint = words[1],
                              .region = "us-east-1",
                              .access_key = words[2],
                              .secret_key = words[3]};
    b.at_once = (uint32_t)strtoul(words[7], NULL, 10);
    b.at_once = b.at_once < 1 ? 1 : b.at_once > AT_ONCE_MAX ? AT_ONCE_MAX : b.at_once;
    must(ray_s3_create(&options, &b.s3));
    b.sent = memory(b.count * b.size);
    b.received = memory(b.count * b.size);
    fill_random(b.sent, b.count * b.size);
    char line[64];
    while (fgets(line, sizeof line, stdin) != NULL) {
        if (strcmp(line, "out\n") == 0) {
            timed(&b, move_out);
        } else if (strcmp(line, "in\n") == 0) {
            timed(&b, move_in);
            compare(&b);
        } else if (strcmp(line, "remove\n") == 0) {
            timed(&b, remove_it);
        } else {
            fprintf(stderr, "s3_client: no such command: %s", line);
            return 2;
        }
    }
    ray_s3_destroy(b.s3);
    return 0;
}
