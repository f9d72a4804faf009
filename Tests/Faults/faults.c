// SPDX-License-Identifier: Apache-2.0
// Transfers over wires that fail, many seeds, some at once. Whatever happens: the right bytes or an error of the documented list, in time,
// nothing half done in sight, and every thread, descriptor and file given back.
//
// Usage: faults COUNT [FIRST]. The seeds are FIRST, FIRST + 1, ...; without it they come from the clock, and are printed.
#include <dirent.h>
#include <malloc.h>
#include <sys/resource.h>

#include "scene.h"
#include "transfer_fixture.h"

enum { JOBS = 12, STATUSES = 128 };

// What one scene may take: its bytes, two stores of 32 MiB, four transfers with a chunk a core, and the buffers of what is under way.
// A size that is believed before it is checked would be far beyond.
#define SCENE_MEMORY_MAX (128 * MIB)

static _Atomic uint64_t next_seed;
static uint64_t end_seed;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static uint64_t outcomes[STATUSES];
static uint64_t faults[FAULT_KINDS];
static uint64_t honest_count;
static uint64_t resumed_count;
static uint64_t retried_count;

static void *play_seeds(void *context) {
    (void)context;
    for (;;) {
        uint64_t seed = atomic_fetch_add(&next_seed, 1);
        if (seed >= end_seed) {
            return NULL;
        }
        scene_report report;
        scene_play(fixture_directory, seed, &report);
        if (getenv("FAULTS_VERBOSE") != NULL) {
            char text[512];
            scene_describe(seed, text, sizeof text);
            fprintf(stderr, "%s -> %s\n", text, ray_status_name(report.status));
        }
        pthread_mutex_lock(&lock);
        outcomes[report.status & (STATUSES - 1)]++;
        for (int kind = 0; kind < FAULT_KINDS; kind++) {
            faults[kind] += report.faults[kind];
        }
        honest_count += report.had_honest;
        resumed_count += report.resumed;
        retried_count += report.retried_count;
        pthread_mutex_unlock(&lock);
    }
}

static uint32_t entries_of(const char *path) {
    DIR *directory = opendir(path);
    CHECK(directory != NULL);
    uint32_t count = 0;
    while (readdir(directory) != NULL) {
        count++;
    }
    closedir(directory);
    return count;
}

// The kernel forgets a joined thread a moment after the join.
static void check_back_to(const char *path, uint32_t count) {
    uint64_t deadline = ray__now_ns() + FIXTURE_DEADLINE_NS;
    while (entries_of(path) != count) {
        if (ray__now_ns() > deadline) {
            fprintf(stderr, "%s has %u entries, %u before the first scene\n", path, entries_of(path), count);
            exit(1);
        }
        sched_yield();
    }
}

static void check_memory(void) {
    struct rusage usage;
    CHECK(getrusage(RUSAGE_SELF, &usage) == 0);
    uint64_t most = (uint64_t)usage.ru_maxrss * 1024;
    if (most > JOBS * SCENE_MEMORY_MAX) {
        fprintf(stderr, "%llu MiB were in memory at once, more than %llu\n", (unsigned long long)(most / MIB), (unsigned long long)(JOBS * SCENE_MEMORY_MAX / MIB));
        exit(1);
    }
}

static void play_all(uint64_t first, uint64_t count) {
    atomic_store(&next_seed, first);
    end_seed = first + count;
    pthread_t threads[JOBS];
    for (int i = 0; i < JOBS; i++) {
        CHECK_EQUAL(pthread_create(&threads[i], NULL, play_seeds, NULL), 0);
    }
    for (int i = 0; i < JOBS; i++) {
        pthread_join(threads[i], NULL);
    }
}

static void print_report(uint64_t first, uint64_t count) {
    printf("%" PRIu64 " scenes from seed %" PRIu64 ":", count, first);
    for (ray_status status = 0; status < STATUSES; status++) {
        if (outcomes[status] > 0) {
            printf(" %" PRIu64 " %s,", outcomes[status], ray_status_name(status));
        }
    }
    printf(" %" PRIu64 " with an honest source, %" PRIu64 " resumed, %" PRIu64 " chunks asked for again\nfaults:", honest_count, resumed_count,
           retried_count);
    for (int kind = 0; kind < FAULT_KINDS; kind++) {
        printf(" %" PRIu64 " %s%s", faults[kind], fault_names[kind], kind + 1 < FAULT_KINDS ? "," : "\n");
    }
}

int main(int count, char **words) {
    if (count < 2 || count > 3) {
        fprintf(stderr, "usage: faults COUNT [FIRST]\n");
        return 2;
    }
    uint64_t scenes = strtoull(words[1], NULL, 10);
    uint64_t first = count == 3 ? strtoull(words[2], NULL, 10) : (uint64_t)time(NULL) % 1000000 * 1000;
    fprintf(stderr, "faults: seeds %" PRIu64 " to %" PRIu64 "\n", first, first + scenes - 1);
    // Else the C library keeps more and more of what the scenes give back, and that is what would be measured.
    (void)mallopt(M_MMAP_THRESHOLD, 1 << 20); // a sanitizer has an allocator of its own and refuses
    fixture_make_directory();
    scene_report warm_up;
    scene_play(fixture_directory, first, &warm_up); // what a process makes once and keeps
    uint32_t threads = entries_of("/proc/self/task");
    uint32_t descriptors = entries_of("/proc/self/fd");
    play_all(first, scenes);
    check_back_to("/proc/self/task", threads);
    check_back_to("/proc/self/fd", descriptors);
    check_memory();
    fixture_remove_directory();
    print_report(first, scenes);
    return 0;
}
