// SPDX-License-Identifier: Apache-2.0
// Records of spilled objects without a node: laid down, written and read back by CSources/spill, beside a plain sequential write of the same disk.
// For each size of record, synced and not, with one and two threads: GB/s of writing (checksums included) and of reading back (compared with the
// checksums, page cache warm), and the plain write of as many bytes into files of the same size.
//
// Usage: records FOLDER_ON_THE_DISK
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "measuring.h"
#include "raystore/spill.h"

enum { FILES = 16, THREADS_MAX = 2, OBJECTS_MAX = 2000, PLAIN_BLOCK = 1 << 20 };
#define FILE_BYTES 100000000ull
#define ARENA_BYTES 600000000ull

typedef struct run {
    const char *folder;
    size_t object_size;
    uint32_t flags;
    uint32_t threads;
    uint32_t index; // of this thread
    bool plain;
    bool reads;
} run;

static char *arena;
static uint64_t sums[FILES][OBJECTS_MAX];

// Objects lie all over the arena, as in a store; two files never share bytes that are being read into.
static char *place_of(uint32_t file, uint32_t object, size_t size) {
    uint64_t at = (uint64_t)file * FILE_BYTES + (uint64_t)object * size;
    return arena + at % (ARENA_BYTES - FILE_BYTES) / 64 * 64;
}

static void path_of(const run *r, uint32_t file, char path[static 512]) {
    snprintf(path, 512, "%s/records-%u", r->folder, file);
}

static void write_plain(const run *r, uint32_t file) {
    char path[512];
    path_of(r, file, path);
    int opened = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    for (uint64_t at = 0; at < FILE_BYTES;) {
        uint64_t left = FILE_BYTES - at;
        ssize_t moved = write(opened, place_of(file, 0, 1) + at, left < PLAIN_BLOCK ? left : PLAIN_BLOCK);
        if (moved <= 0) {
            perror(path);
            exit(1);
        }
        at += (uint64_t)moved;
    }
    if (r->flags != 0 && fdatasync(opened) != 0) {
        perror(path);
        exit(1);
    }
    close(opened);
}

static void write_records(const run *r, uint32_t file) {
    ray_spill_object *objects = calloc(OBJECTS_MAX, sizeof *objects);
    uint8_t *headers = calloc(OBJECTS_MAX, RAY_SPILL_HEADER_SIZE);
    ray_spill_part *parts = calloc(OBJECTS_MAX * RAY_SPILL_PARTS, sizeof *parts);
    if (objects == NULL || headers == NULL || parts == NULL) {
        fail("the lists", "no memory");
    }
    uint32_t count = (uint32_t)(FILE_BYTES / r->object_size);
    for (uint32_t i = 0; i < count; i++) {
        objects[i] = (ray_spill_object){.owner = "owner",
                                        .owner_size = 5,
                                        .metadata = "B\1",
                                        .metadata_size = 2,
                                        .data = place_of(file, i, r->object_size),
                                        .data_size = r->object_size};
    }
    ray_spill_lay(objects, count, headers, parts);
    char path[512];
    path_of(r, file, path);
    if (ray_spill_write(path, parts, count * RAY_SPILL_PARTS, 0, r->flags) != RAY_OK) {
        fail(path, ray_last_error_message());
    }
    for (uint32_t i = 0; i < count; i++) {
        sums[file][i] = objects[i].checksum;
    }
    free(objects);
    free(headers);
    free(parts);
}

// Record after record, as a pass of restores does: the lengths, then the object into its place.
static void read_records(const run *r, uint32_t file) {
    char path[512];
    path_of(r, file, path);
    uint32_t count = (uint32_t)(FILE_BYTES / r->object_size);
    for (uint32_t i = 0; i < count; i++) {
        uint8_t lengths[RAY_SPILL_HEADER_SIZE + 7];
        ray_spill_part parts[2] = {{lengths, sizeof lengths}, {place_of(file, i, r->object_size), r->object_size}};
        uint64_t offset = (uint64_t)i * (sizeof lengths + r->object_size);
        if (ray_spill_read(path, offset, parts, 2) != RAY_OK || !ray_spill_matches(parts[1].bytes, parts[1].size, sums[file][i])) {
            fail(path, ray_last_error_message());
        }
    }
}

static void *work(void *context) {
    const run *r = context;
    for (uint32_t file = r->index; file < FILES; file += r->threads) {
        if (r->reads) {
            read_records(r, file);
        } else if (r->plain) {
            write_plain(r, file);
        } else {
            write_records(r, file);
        }
    }
    return NULL;
}

static double rate_of(run r) {
    pthread_t threads[THREADS_MAX];
    run each[THREADS_MAX];
    double began = now();
    for (uint32_t i = 0; i < r.threads; i++) {
        each[i] = r;
        each[i].index = i;
        if (pthread_create(&threads[i], NULL, work, &each[i]) != 0) {
            fail("a thread", "cannot be started");
        }
    }
    for (uint32_t i = 0; i < r.threads; i++) {
        pthread_join(threads[i], NULL);
    }
    return FILES * (double)FILE_BYTES / (now() - began) * 1e-9;
}

static void remove_files(const run *r) {
    sync(); // what one run leaves to be written must not be the next one's
    for (uint32_t file = 0; file < FILES; file++) {
        char path[512];
        path_of(r, file, path);
        unlink(path);
    }
}

static void measure(const char *folder, const char *kind, size_t object_size, uint32_t flags, uint32_t threads) {
    const char *synced = flags != 0 ? "_synced" : "";
    run r = {.folder = folder, .object_size = object_size, .flags = flags, .threads = threads, .plain = true};
    double plain = rate_of(r);
    remove_files(&r);
    r.plain = false;
    double records = rate_of(r);
    printf("{\"name\":\"spill.records.out.%s%s_%ut_gbs\",\"value\":%.3g,\"unit\":\"GB/s\",\"plain_gbs\":%.3g,\"disk_ratio\":%.3g}\n", kind, synced,
           threads, records, plain, records / plain);
    if (flags == 0) {
        r.reads = true;
        printf("{\"name\":\"spill.records.in.%s_%ut_gbs\",\"value\":%.3g,\"unit\":\"GB/s\"}\n", kind, threads, rate_of(r));
    }
    fflush(stdout);
    remove_files(&r);
}

int main(int count, char **words) {
    if (count != 2) {
        fprintf(stderr, "usage: records FOLDER_ON_THE_DISK\n");
        return 2;
    }
    arena = mmap(NULL, ARENA_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (arena == MAP_FAILED) {
        perror("records");
        return 1;
    }
    fill_random(arena, ARENA_BYTES);
    for (uint32_t flags = 0; flags <= RAY_SPILL_SYNC; flags += RAY_SPILL_SYNC) {
        for (uint32_t threads = 1; threads <= THREADS_MAX; threads++) {
            measure(words[1], "50mb", 50000000, flags, threads);
            measure(words[1], "1mb", 1000000, flags, threads);
        }
    }
    return 0;
}
