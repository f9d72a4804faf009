// SPDX-License-Identifier: Apache-2.0
// What the transfer's tests share: files and objects to send, a find callback over a table, and pulls that can be waited for.
#ifndef RAY_TESTS_TRANSFER_FIXTURE_H
#define RAY_TESTS_TRANSFER_FIXTURE_H

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/checksum_internal.h"
#include "base/clock_internal.h"
#include "base/thread_internal.h"
#include "check.h"

#define MIB (1ull << 20)
#define FIXTURE_DEADLINE_NS (60ull * 1000000000ull)

static char fixture_directory[64];

static inline void fixture_make_directory(void) {
    snprintf(fixture_directory, sizeof fixture_directory, "%s/raytransfer.XXXXXX", check_folder_in_memory());
    CHECK(mkdtemp(fixture_directory) != NULL);
}

static inline void fixture_path(char *path, const char *name) {
    snprintf(path, 128, "%s/%s", fixture_directory, name);
}

// Fails when a test left a file behind.
static inline void fixture_remove_directory(void) {
    if (rmdir(fixture_directory) != 0) {
        fprintf(stderr, "something is left in %s: %s\n", fixture_directory, strerror(errno));
        exit(1);
    }
}

// Waits until there is nothing at the path: a pull gives its journal up only after its done callback.
static inline void fixture_wait_gone(const char *path) {
    uint64_t deadline = ray__now_ns() + FIXTURE_DEADLINE_NS;
    while (access(path, F_OK) == 0) {
        CHECK(ray__now_ns() < deadline);
        sched_yield();
    }
}

static inline ray_object_id fixture_id(uint32_t number) {
    ray_task_id task = ray_task_id_driver(1);
    return ray_object_id_make(&task, RAY_FIRST_PUT_INDEX + number);
}

// Deterministic bytes: noise, or text that packs to about a half.
static inline uint8_t *fixture_bytes(uint64_t size, uint64_t seed, bool packable) {
    uint8_t *bytes = malloc(size + 8);
    CHECK(bytes != NULL);
    for (uint64_t i = 0; i < size; i += 8) {
        uint64_t word = check_random(&seed);
        if (packable) {
            word = (word & 0x0707070707070707u) + 0x6161616161616161u;
        }
        memcpy(bytes + i, &word, 8);
    }
    return bytes;
}

static inline void fixture_write_file(const char *path, const uint8_t *bytes, uint64_t size) {
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    CHECK(file >= 0);
    for (uint64_t at = 0; at < size;) {
        ssize_t written = write(file, bytes + at, size - at);
        CHECK(written > 0);
        at += (uint64_t)written;
    }
    close(file);
}

static inline bool fixture_file_is(const char *path, const uint8_t *bytes, uint64_t size) {
    int file = open(path, O_RDONLY | O_CLOEXEC);
    struct stat info;
    if (file < 0 || fstat(file, &info) != 0 || (uint64_t)info.st_size != size) {
        return false;
    }
    static uint8_t block[1 << 20];
    bool same = true;
    for (uint64_t at = 0; at < size && same;) {
        ssize_t got = read(file, block, sizeof block);
        CHECK(got > 0);
        same = memcmp(block, bytes + at, (size_t)got) == 0;
        at += (uint64_t)got;
    }
    close(file);
    return same;
}

// ---- what a server has -----------------------------------------------------------------------------------------------------

typedef struct fixture_item {
    ray_object_id id;
    int kind; // RAY_KIND_*, -1: only holders, -2: fails with `failure`
    ray_status failure;
    char path[128];
    uint64_t size;
    int64_t mtime_ns;
    uint32_t holder_count;
    ray_endpoint holders[8];
    _Atomic uint32_t find_count;
} fixture_item;

typedef struct fixture_table {
    uint32_t count;
    fixture_item items[64];
} fixture_table;

static inline fixture_item *fixture_add(fixture_table *table, uint32_t number, int kind) {
    CHECK(table->count < 64);
    fixture_item *item = &table->items[table->count++];
    memset(item, 0, sizeof *item);
    item->id = fixture_id(number);
    item->kind = kind;
    return item;
}

static inline fixture_item *fixture_add_file(fixture_table *table, uint32_t number, const char *path) {
    fixture_item *item = fixture_add(table, number, RAY_KIND_FILE);
    struct stat info;
    CHECK(stat(path, &info) == 0);
    snprintf(item->path, sizeof item->path, "%s", path);
    item->size = (uint64_t)info.st_size;
    item->mtime_ns = (int64_t)info.st_mtim.tv_sec * 1000000000 + info.st_mtim.tv_nsec;
    return item;
}

static inline void fixture_add_holder(fixture_item *item, uint16_t port) {
    ray_endpoint *holder = &item->holders[item->holder_count++];
    snprintf(holder->host, sizeof holder->host, "127.0.0.1");
    holder->port = port;
}

#define FIXTURE_METADATA "metadata of a file"
#define FIXTURE_DESCRIPTOR "{\"name\":\"a file.bin\"}"

static inline ray_status fixture_find(void *context, const ray_object_id *id, ray_answer *answer) {
    fixture_table *table = context;
    for (uint32_t i = 0; i < table->count; i++) {
        fixture_item *item = &table->items[i];
        if (!ray_object_id_equal(&item->id, id)) {
            continue;
        }
        atomic_fetch_add(&item->find_count, 1);
        for (uint32_t h = 0; h < item->holder_count; h++) {
            ray_answer_holder(answer, item->holders[h].host, item->holders[h].port);
        }
        if (item->kind == -2) {
            ray_answer_message(answer, "it was freed on purpose");
            return item->failure;
        }
        if (item->kind == RAY_KIND_FILE) {
            ray_answer_file(answer, item->path, item->size, item->mtime_ns, FIXTURE_METADATA, sizeof FIXTURE_METADATA,
                            FIXTURE_DESCRIPTOR, sizeof FIXTURE_DESCRIPTOR);
        } else if (item->kind == RAY_KIND_OBJECT) {
            ray_answer_object(answer);
        }
        return RAY_OK;
    }
    return RAY_NOT_FOUND;
}

// ---- a pull that can be waited for -----------------------------------------------------------------------------------------

typedef struct fixture_pull {
    pthread_mutex_t lock;
    pthread_cond_t changed;
    char path[512];       // of the file, if it is one
    bool into_store;
    uint8_t *memory;      // if the bytes go there
    size_t memory_size;
    ray_status open_status; // what opened answers, if not RAY_OK
    uint32_t opened_count;
    uint32_t progressed_count;
    uint32_t done_count;
    uint64_t done_bytes;  // of the latest progress
    uint32_t kind;
    uint64_t size;
    char metadata[256];
    uint32_t metadata_size;
    char descriptor[256];
    uint32_t descriptor_size;
    ray_status status;
    char message[512];
    ray_transfer_progress progress;
    ray_pull *handle;
} fixture_pull;

static inline ray_status fixture_opened(void *context, ray_pull *pull, const ray_card *card) {
    fixture_pull *p = context;
    pthread_mutex_lock(&p->lock);
    p->opened_count++;
    p->kind = card->kind;
    p->size = card->size_bytes;
    p->metadata_size = card->metadata_size;
    p->descriptor_size = card->descriptor_size;
    CHECK(card->metadata_size <= sizeof p->metadata && card->descriptor_size <= sizeof p->descriptor);
    memcpy(p->metadata, card->metadata_size ? (const char *)card->metadata : "", card->metadata_size);
    memcpy(p->descriptor, card->descriptor_size ? (const char *)card->descriptor : "", card->descriptor_size);
    pthread_mutex_unlock(&p->lock);
    if (p->open_status != RAY_OK) {
        return p->open_status;
    }
    if (p->memory != NULL) {
        return ray_pull_into_memory(pull, p->memory, p->memory_size);
    }
    return p->into_store ? ray_pull_into_store(pull) : ray_pull_into_file(pull, p->path);
}

static inline void fixture_progressed(void *context, const ray_transfer_progress *progress) {
    fixture_pull *p = context;
    pthread_mutex_lock(&p->lock);
    CHECK(p->done_count == 0);
    p->progressed_count++;
    p->done_bytes = progress->done_bytes;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
}

static inline void fixture_done(void *context, ray_status status, const char *message, const ray_transfer_progress *progress) {
    fixture_pull *p = context;
    pthread_mutex_lock(&p->lock);
    p->done_count++;
    p->status = status;
    snprintf(p->message, sizeof p->message, "%s", message);
    p->progress = *progress;
    pthread_cond_broadcast(&p->changed);
    pthread_mutex_unlock(&p->lock);
}

static const ray_pull_callbacks fixture_callbacks = {fixture_opened, fixture_progressed, fixture_done};

static inline void fixture_pull_init(fixture_pull *p, const char *path) {
    memset(p, 0, sizeof *p);
    pthread_mutex_init(&p->lock, NULL);
    ray__cond_init(&p->changed);
    p->into_store = path == NULL;
    if (path != NULL) {
        snprintf(p->path, sizeof p->path, "%s", path);
    }
}

static inline void fixture_start(fixture_pull *p, ray_transfer *transfer, uint32_t number, const uint16_t *ports, uint32_t port_count,
                                 ray_pull_options *options) {
    ray_endpoint endpoints[8];
    memset(endpoints, 0, sizeof endpoints);
    for (uint32_t i = 0; i < port_count; i++) {
        snprintf(endpoints[i].host, sizeof endpoints[i].host, "127.0.0.1");
        endpoints[i].port = ports[i];
    }
    ray_object_id id = fixture_id(number);
    if (options != NULL) {
        options->struct_size = sizeof *options;
    }
    CHECK_OK(ray_pull_start(transfer, &id, endpoints, port_count, options, &fixture_callbacks, p, &p->handle));
}

// Waits until done, or until `bytes` are said to be here. The watchdog is far beyond what any pull takes.
static inline void fixture_wait_bytes(fixture_pull *p, uint64_t bytes) {
    uint64_t deadline = ray__now_ns() + FIXTURE_DEADLINE_NS;
    struct timespec until = {(time_t)(deadline / 1000000000u), (long)(deadline % 1000000000u)};
    pthread_mutex_lock(&p->lock);
    while (p->done_count == 0 && p->done_bytes < bytes) {
        int waited = pthread_cond_timedwait(&p->changed, &p->lock, &until);
        CHECK(waited == 0);
    }
    pthread_mutex_unlock(&p->lock);
}

static inline ray_status fixture_finish(fixture_pull *p) {
    fixture_wait_bytes(p, UINT64_MAX);
    CHECK_EQUAL(p->done_count, 1);
    ray_pull_release(p->handle);
    pthread_mutex_destroy(&p->lock);
    pthread_cond_destroy(&p->changed);
    return p->status;
}

static inline ray_status fixture_pull_now(fixture_pull *p, ray_transfer *transfer, uint32_t number, uint16_t port, const char *path,
                                          ray_pull_options *options) {
    fixture_pull_init(p, path);
    fixture_start(p, transfer, number, &port, 1, options);
    ray_status status = fixture_finish(p);
    if (status != RAY_OK) {
        fprintf(stderr, "    (%s: %s)\n", ray_status_name(status), p->message);
    }
    return status;
}

static const ray_key fixture_key = {{1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32}};

static inline ray_transfer *fixture_transfer(fixture_table *table, ray_store *store, bool listen) {
    ray_transfer_options options = {
        .struct_size = sizeof options,
        .key = fixture_key,
        .store = store,
        .bind_host = listen ? "127.0.0.1" : NULL,
        .find = table != NULL ? fixture_find : NULL,
        .context = table,
    };
    ray_transfer *transfer = NULL;
    CHECK_OK(ray_transfer_create(&options, &transfer));
    return transfer;
}

static inline ray_store *fixture_store(uint64_t capacity_bytes) {
    ray_store_options options = {.struct_size = sizeof options, .capacity_bytes = capacity_bytes};
    ray_store *store = NULL;
    CHECK_OK(ray_store_create(&options, &store));
    return store;
}

// Fails unless the object is there, with these bytes.
static inline void fixture_check_object(ray_store *store, uint32_t number, const uint8_t *bytes, uint64_t size) {
    ray_object_id id = fixture_id(number);
    ray_object_view view;
    CHECK_OK(ray_object_get(store, &id, 0, &view));
    CHECK_EQUAL(view.data_size, size);
    CHECK(size == 0 || memcmp(view.data, bytes, size) == 0);
    ray_object_release(store, &view);
}

static inline uint64_t fixture_used_bytes(ray_store *store) {
    ray_store_stats stats = {.struct_size = sizeof stats};
    CHECK_OK(ray_store_stats_read(store, &stats));
    return stats.used_bytes;
}

// A folder with the paths of a source and a target, one who serves the table, and one who pulls.
static inline void fixture_begin(fixture_table *table, char *source_path, char *target_path, ray_transfer **sender, ray_transfer **receiver) {
    fixture_make_directory();
    fixture_path(source_path, "source");
    fixture_path(target_path, "target");
    *sender = fixture_transfer(table, NULL, true);
    *receiver = fixture_transfer(NULL, NULL, false);
}

static inline void fixture_end(ray_transfer *sender, ray_transfer *receiver) {
    ray_transfer_destroy(receiver);
    ray_transfer_destroy(sender);
    fixture_remove_directory();
}

static inline ray_transfer_stats fixture_stats(ray_transfer *transfer) {
    ray_transfer_stats stats = {.struct_size = sizeof stats};
    ray_transfer_stats_read(transfer, &stats);
    return stats;
}

// Waits until so many bytes count as sent: a sender counts what it sent after it has left, and the receiver may be ahead of that.
static inline void fixture_await_sent(ray_transfer *sender, uint64_t bytes) {
    uint64_t deadline = ray__now_ns() + FIXTURE_DEADLINE_NS;
    while (fixture_stats(sender).sent_bytes < bytes) {
        CHECK(ray__now_ns() < deadline);
        sched_yield();
    }
}

// Until so many bytes were hashed ahead, and nothing waits to be.
static inline void fixture_await_hashed(ray_transfer *transfer, uint64_t bytes) {
    uint64_t deadline = ray__now_ns() + FIXTURE_DEADLINE_NS;
    ray_transfer_stats stats = fixture_stats(transfer);
    while (stats.ahead_bytes < bytes || stats.ahead_pending_count > 0) {
        CHECK(ray__now_ns() < deadline);
        usleep(1000);
        stats = fixture_stats(transfer);
    }
    CHECK_EQUAL(stats.ahead_bytes, bytes);
    CHECK_EQUAL(stats.ahead_pending_bytes, 0);
}

#endif
