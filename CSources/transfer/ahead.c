// SPDX-License-Identifier: Apache-2.0
// The clerk: what the hasher does next. It has an ordinary priority, so that it may hold locks, and does nothing that takes long.
#include "transfer/ahead_internal.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "base/clock_internal.h"
#include "base/error_internal.h"
#include "base/identity_internal.h"
#include "base/thread_internal.h"
#include "transfer/ahead_file_internal.h"
#include "transfer/hasher_internal.h"
#include "transfer/transfer_internal.h"

// Between two looks into the store's ring: the first after something was found, the last when nothing has come for a while.
#define LOOK_FIRST_NS (20 * RAY__MS)
#define LOOK_LAST_NS (100 * RAY__MS)
// Looks at a word of the ring that its writer has not written, before it is passed over.
#define UNWRITTEN_MAX 8u
// Between two looks for sums that nobody can want any more.
#define PRUNE_NS RAY__SECOND
// What waits to be hashed. No more than there are places for the sums of.
#define WAITING_MAX 4096u
// From when a file is asked for to when its times tell its state from the next.
#define SETTLE_NS (30 * RAY__MS)

typedef struct waiting {
    ray_object_id id;
    uint64_t size_bytes;
    uint64_t stamp;
    char *path; // NULL: an object of the store
} waiting;

// A file that was asked for, until it is time.
typedef struct asked {
    struct asked *next;
    uint64_t due_ns;
    waiting what;
} asked;

struct ray__ahead {
    ray_transfer *transfer;
    pthread_t clerk;
    bool is_started;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool ends;
    uint32_t asked_count;
    asked *asked_first;
    asked *asked_last;
    // Of the clerk: the latest that came are hashed first, and the oldest go when there is no place for more.
    uint32_t position; // in the store's ring
    uint32_t unwritten_count;
    uint32_t first;
    uint32_t count;
    uint64_t prune_at_ns;
    _Atomic uint64_t pending_count;
    _Atomic uint64_t pending_bytes;
    ray__hasher hasher;
    ray__ahead_file file;
    waiting waiting[WAITING_MAX];
};

static void count_pending(ray__ahead *ahead, const waiting *of, bool more) {
    atomic_fetch_add(&ahead->pending_count, more ? 1u : UINT64_MAX);
    atomic_fetch_add(&ahead->pending_bytes, more ? of->size_bytes : 0 - of->size_bytes);
}

// Of what is counted as pending.
static void push(ray__ahead *ahead, const waiting *next) {
    if (ahead->count == WAITING_MAX) {
        count_pending(ahead, &ahead->waiting[ahead->first], false);
        free(ahead->waiting[ahead->first].path);
        ahead->first = (ahead->first + 1) % WAITING_MAX;
        ahead->count--;
    }
    ahead->waiting[(ahead->first + ahead->count++) % WAITING_MAX] = *next;
}

// It stays counted as pending.
static waiting pop(ray__ahead *ahead) {
    return ahead->waiting[(ahead->first + --ahead->count) % WAITING_MAX];
}

// Answers whether anything has come.
static bool collect_objects(ray__ahead *ahead) {
    bool found = false;
    while (ahead->transfer->store != NULL) {
        ray__glimpse glimpse;
        enum ray__sealed next = ray__sealed_next(ahead->transfer->store, &ahead->position, &glimpse);
        if (next == RAY__SEALED_NONE) {
            ahead->unwritten_count = 0;
            return found;
        }
        if (next == RAY__SEALED_PENDING) {
            if (++ahead->unwritten_count < UNWRITTEN_MAX) {
                return true;
            }
            ahead->position++;
        } else {
            found = true;
            waiting come = {glimpse.id, glimpse.data_size, glimpse.stamp, NULL};
            count_pending(ahead, &come, true);
            push(ahead, &come);
        }
        ahead->unwritten_count = 0;
    }
    return false;
}

// Those that are due, and when the next one is (*next_ns, if that is sooner).
static bool collect_files(ray__ahead *ahead, uint64_t *next_ns) {
    bool found = false;
    uint64_t now = ray__now_ns();
    pthread_mutex_lock(&ahead->lock);
    while (ahead->asked_first != NULL && ahead->asked_first->due_ns <= now) {
        asked *due = ahead->asked_first;
        ahead->asked_first = due->next;
        ahead->asked_count--;
        push(ahead, &due->what);
        free(due);
        found = true;
    }
    if (ahead->asked_first != NULL && ahead->asked_first->due_ns < *next_ns) {
        *next_ns = ahead->asked_first->due_ns;
    }
    pthread_mutex_unlock(&ahead->lock);
    return found;
}

// What was made ahead of a file goes, too: there is no telling by its id whether it is still served.
static bool is_gone(void *context, const ray_object_id *id) {
    const ray__ahead *ahead = context;
    ray__glimpse glimpse;
    return ahead->transfer->store == NULL || !ray__glimpse_begin(ahead->transfer->store, id, &glimpse);
}

// NULL: they are known, or somebody is at them, or there is no room.
static ray__sums *acquire(ray__ahead *ahead, const ray__sums_key *key) {
    ray__sums_cache *cache = ahead->transfer->sums;
    ray__sums *sums = NULL;
    enum ray__spare answer = ray__sums_acquire_spare(cache, key, &sums);
    uint64_t now = ray__now_ns();
    if (answer != RAY__SPARE_NO_ROOM || now < ahead->prune_at_ns) {
        return sums;
    }
    ahead->prune_at_ns = now + PRUNE_NS;
    if (ray__sums_prune(cache, is_gone, ahead) > 0) {
        (void)ray__sums_acquire_spare(cache, key, &sums);
    }
    return sums;
}

// Whether it is still what was found, or is a file that can be read; that is opened.
static bool open_item(ray__ahead *ahead, const waiting *next, ray__hash_item *item, ray__sums_key *key) {
    *item = (ray__hash_item){.id = next->id, .size_bytes = next->size_bytes, .stamp = next->stamp, .end = RAY__HASH_LEFT};
    *key = (ray__sums_key){.id = &next->id, .size_bytes = next->size_bytes, .chunk_size = RAY_CHUNK_SIZE, .stamp = next->stamp};
    if (next->path == NULL) {
        ray__glimpse glimpse;
        return ray__glimpse_begin(ahead->transfer->store, &next->id, &glimpse) && glimpse.stamp == next->stamp;
    }
    struct stat info;
    if (!ray__ahead_file_open(&ahead->file, &next->id, next->path, &info)) {
        return false;
    }
    item->size_bytes = key->size_bytes = (uint64_t)info.st_size;
    item->stamp = key->stamp = ray__file_identity(&info);
    key->settled_ns = ray__file_settled_ns(&info);
    // One that is being written to now is hashed by who sends it.
    return item->size_bytes > RAY_INLINE_MAX && ray__wall_ns() >= key->settled_ns;
}

static void hash(ray__ahead *ahead, const waiting *next, ray__hash_item *item) {
    if (next->path == NULL) {
        ray__hasher_run(&ahead->hasher, item);
    } else {
        item->end = ray__ahead_file_hash(&ahead->file, &ahead->hasher, item);
    }
}

// False when nothing waits, or what does is better tried later.
static bool hash_next(ray__ahead *ahead) {
    if (ahead->count == 0) {
        return false;
    }
    waiting next = pop(ahead);
    ray_transfer *transfer = ahead->transfer;
    ray__hash_item item;
    ray__sums_key key;
    item.sums = NULL;
    if (open_item(ahead, &next, &item, &key) && (item.sums = acquire(ahead, &key)) != NULL) {
        hash(ahead, &next, &item);
        if (next.path != NULL && transfer->summed != NULL && ray__sums_tell(item.sums)) {
            transfer->summed(transfer->context, &next.id);
        }
        ray__sums_release(item.sums);
    }
    ray__ahead_file_close(&ahead->file);
    if (item.end == RAY__HASH_DISTURBED) {
        push(ahead, &next);
        return false;
    }
    count_pending(ahead, &next, false);
    free(next.path);
    return true;
}

// False when all is to end.
static bool wait_until(ray__ahead *ahead, uint64_t until_ns) {
    pthread_mutex_lock(&ahead->lock);
    // Without a store there is nothing to look at until a file is asked for.
    bool sleeps = ahead->transfer->store == NULL;
    while (!ahead->ends && ray__now_ns() < until_ns) {
        if (!sleeps) {
            ray__cond_wait_until(&ahead->changed, &ahead->lock, until_ns);
        } else if (ahead->asked_first == NULL) {
            pthread_cond_wait(&ahead->changed, &ahead->lock);
        } else {
            sleeps = false;
        }
    }
    bool goes_on = !ahead->ends;
    pthread_mutex_unlock(&ahead->lock);
    return goes_on;
}

static void *clerk_body(void *argument) {
    ray__ahead *ahead = argument;
    uint64_t pause_ns = LOOK_FIRST_NS;
    uint64_t next_ns = 0;
    while (wait_until(ahead, next_ns)) {
        next_ns = UINT64_MAX;
        bool found = collect_objects(ahead);
        found = collect_files(ahead, &next_ns) || found;
        bool goes_on = hash_next(ahead);
        pause_ns = found || goes_on ? LOOK_FIRST_NS : pause_ns * 2 < LOOK_LAST_NS ? pause_ns * 2 : LOOK_LAST_NS;
        uint64_t look_ns = ray__now_ns() + pause_ns;
        next_ns = goes_on ? 0 : look_ns < next_ns ? look_ns : next_ns;
    }
    return NULL;
}

ray_status ray__ahead_start(ray_transfer *transfer, ray__ahead **ahead) {
    ray__ahead *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return ray__fail(RAY_OUT_OF_MEMORY, "checksums ahead of transfers");
    }
    made->transfer = transfer;
    pthread_mutex_init(&made->lock, NULL);
    ray__cond_init(&made->changed);
    ray_status status = ray__ahead_file_init(&made->file);
    if (status == RAY_OK) {
        status = ray__hasher_start(&made->hasher, transfer->store);
    }
    if (status == RAY_OK) {
        status = ray__thread_start(&made->clerk, "ray-ahead", clerk_body, made);
        made->is_started = status == RAY_OK;
    }
    if (status != RAY_OK) {
        ray__ahead_stop(made);
        return status;
    }
    *ahead = made;
    return RAY_OK;
}

void ray__ahead_stop(ray__ahead *ahead) {
    if (ahead == NULL) {
        return;
    }
    ray__hasher_hurry(&ahead->hasher);
    if (ahead->is_started) {
        pthread_mutex_lock(&ahead->lock);
        ahead->ends = true;
        pthread_cond_broadcast(&ahead->changed);
        pthread_mutex_unlock(&ahead->lock);
        pthread_join(ahead->clerk, NULL);
    }
    ray__hasher_stop(&ahead->hasher);
    ray__ahead_file_destroy(&ahead->file);
    for (; ahead->count > 0; ahead->count--) {
        free(ahead->waiting[(ahead->first + ahead->count - 1) % WAITING_MAX].path);
    }
    while (ahead->asked_first != NULL) {
        asked *gone = ahead->asked_first;
        ahead->asked_first = gone->next;
        free(gone->what.path);
        free(gone);
    }
    pthread_mutex_destroy(&ahead->lock);
    pthread_cond_destroy(&ahead->changed);
    free(ahead);
}

ray_status ray__ahead_ask(ray__ahead *ahead, const ray_object_id *id, const char *path) {
    struct stat info;
    asked *made = calloc(1, sizeof *made);
    char *kept = strdup(path);
    if (made == NULL || kept == NULL) {
        free(made);
        free(kept);
        return ray__fail(RAY_OUT_OF_MEMORY, "asking for the checksums of %s", path);
    }
    made->due_ns = ray__now_ns() + SETTLE_NS;
    made->what = (waiting){.id = *id, .size_bytes = stat(path, &info) == 0 ? (uint64_t)info.st_size : 0, .path = kept};
    pthread_mutex_lock(&ahead->lock);
    bool is_taken = ahead->asked_count < WAITING_MAX;
    if (is_taken) {
        *(ahead->asked_first == NULL ? &ahead->asked_first : &ahead->asked_last->next) = made;
        ahead->asked_last = made;
        ahead->asked_count++;
        count_pending(ahead, &made->what, true);
        pthread_cond_broadcast(&ahead->changed);
    }
    pthread_mutex_unlock(&ahead->lock);
    if (!is_taken) { // more come at a time than can be hashed: their first transfers do it
        free(kept);
        free(made);
    }
    return RAY_OK;
}

void ray__ahead_let_go(ray__ahead *ahead, const ray_object_id *id) {
    ray__ahead_file_let_go(&ahead->file, id);
}

void ray__ahead_read(ray__ahead *ahead, ray__ahead_figures *figures) {
    figures->hashed_bytes = atomic_load(&ahead->hasher.hashed_bytes);
    figures->pending_count = atomic_load(&ahead->pending_count);
    figures->pending_bytes = atomic_load(&ahead->pending_bytes);
}
