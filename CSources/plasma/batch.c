// SPDX-License-Identifier: Apache-2.0
// Get, release, create and seal of many objects.
//
// A get of a random object out of many costs three cache misses in a row: its entry, its pins, this process's count of it. They depend only on
// the id's hash, so those of the next objects are asked for while one is worked on. Objects are taken in runs: long enough to hide the
// misses and to share the lock and the wakes, short enough that nobody waits long for either.
#include <stdio.h>

#include "base/clock_internal.h"
#include "plasma/arena_internal.h"

#define RUN 32u

// The first failure of a call, kept while others follow.
typedef struct failures {
    uint32_t count;
    ray_status first;
    char message[RAY_MESSAGE_MAX / 2];
} failures;

// Right after the call that failed, whose message is the thread's last.
static void note(failures *f, ray_status status) {
    if (status != RAY_OK && f->count++ == 0) {
        f->first = status;
        snprintf(f->message, sizeof f->message, "%s", ray_last_error_message());
    }
}

static ray_status conclude(const failures *f, const char *what, uint32_t count) {
    if (f->count == 0) {
        return RAY_OK;
    }
    return ray__fail(f->first, "%s: %u of %u objects failed, the first with: %s", what, f->count, count, f->message);
}

static void fetch_entry(ray_store *store, uint32_t index) {
    __builtin_prefetch(&store->table[index], 0);
    __builtin_prefetch(store->table[index].pins, 1);
    __builtin_prefetch(&store->counts[index], 1);
}

static uint32_t run_length(uint32_t count, uint32_t from) {
    return count - from < RUN ? count - from : RUN;
}

// The hashes of a run, with what they lead to on its way.
static uint32_t fetch_run(ray_store *store, const ray_object_id *ids, uint32_t count, uint32_t from, uint64_t *hashes) {
    uint32_t length = run_length(count, from);
    for (uint32_t i = 0; i < length; i++) {
        hashes[i] = ray_object_id_hash(&ids[from + i]);
        fetch_entry(store, (uint32_t)hashes[i] & store->table_mask);
    }
    return length;
}

// ---- get -----------------------------------------------------------------------------------------------------------------

typedef struct getting {
    const ray_object_id *ids;
    ray_object_view *views;
    ray_status *statuses;
} getting;

static bool is_awaited(void *context, uint32_t i) {
    return ray__may_come(((const getting *)context)->statuses[i]);
}

static bool get_again(ray_store *store, void *context, uint32_t i) {
    const getting *g = context;
    ray__shm_add(&store->wait_look_count, 1);
    ray_status now = ray__get_now(store, &g->ids[i], ray_object_id_hash(&g->ids[i]), &g->views[i]);
    g->statuses[i] = ray__since_last_look(g->statuses[i], now);
    return !ray__may_come(g->statuses[i]);
}

// How many may still come.
static uint32_t get_what_is_here(ray_store *store, const getting *g, uint32_t count) {
    uint64_t hashes[2][RUN];
    uint32_t awaited = 0;
    uint32_t length = fetch_run(store, g->ids, count, 0, hashes[0]);
    for (uint32_t from = 0, turn = 0; from < count; turn = 1 - turn) {
        uint32_t next = fetch_run(store, g->ids, count, from + length, hashes[1 - turn]);
        for (uint32_t i = from; i < from + length; i++) {
            g->views[i] = (ray_object_view){NULL, 0, NULL, 0, 0, 0};
            g->statuses[i] = ray__get_now(store, &g->ids[i], hashes[turn][i - from], &g->views[i]);
            awaited += ray__may_come(g->statuses[i]);
        }
        from += length;
        length = next;
    }
    return awaited;
}

static void wait_for_rest(ray_store *store, getting *g, uint32_t count, uint32_t awaited, uint64_t timeout_ns) {
    ray__wait_many many = {g->ids, count, awaited, is_awaited, get_again, g};
    uint32_t settled;
    ray_status status = ray__wait_for_many(store, &many, ray__deadline_ns(timeout_ns), &settled);
    for (uint32_t i = 0; i < count; i++) {
        if (ray__may_come(g->statuses[i])) {
            g->statuses[i] = status == RAY_OK ? RAY_TIMED_OUT : status;
        }
    }
}

ray_status ray_objects_get(ray_store *store, const ray_object_id *ids, uint32_t count, uint64_t timeout_ns, ray_object_view *views,
                           ray_status *statuses) {
    RAY__GATE(store);
    getting g = {ids, views, statuses};
    ray_status status = ray__store_enter(store);
    if (status != RAY_OK) {
        for (uint32_t i = 0; i < count; i++) {
            views[i] = (ray_object_view){NULL, 0, NULL, 0, 0, 0};
            statuses[i] = status;
        }
        return status;
    }
    uint32_t awaited = get_what_is_here(store, &g, count);
    if (awaited != 0 && timeout_ns != 0) {
        wait_for_rest(store, &g, count, awaited, timeout_ns);
    }
    uint32_t first = count;
    uint32_t failed = 0;
    for (uint32_t i = 0; i < count; i++) {
        first = statuses[i] != RAY_OK && failed == 0 ? i : first;
        failed += statuses[i] != RAY_OK;
    }
    if (failed == 0) {
        return RAY_OK;
    }
    char name[RAY_OBJECT_ID_HEX_SIZE];
    ray_object_id_format(&ids[first], name);
    return ray__fail(statuses[first], "get: %u of %u objects failed, the first, %s, with: %s", failed, count, name,
                     ray_status_text(statuses[first]));
}

// ---- release --------------------------------------------------------------------------------------------------------------

static void fetch_view(ray_store *store, const ray_object_view *views, uint32_t count, uint32_t i) {
    if (i < count && views[i].generation != 0 && views[i].entry < store->layout.table_size) {
        fetch_entry(store, views[i].entry);
    }
}

void ray_objects_release(ray_store *store, ray_object_view *views, uint32_t count) {
    RAY__GATE(store);
    if (ray__store_enter(store) != RAY_OK) {
        for (uint32_t i = 0; i < count; i++) {
            views[i] = (ray_object_view){NULL, 0, NULL, 0, 0, 0};
        }
        return;
    }
    for (uint32_t i = 0; i < RUN; i++) {
        fetch_view(store, views, count, i);
    }
    for (uint32_t i = 0; i < count; i++) {
        fetch_view(store, views, count, i + RUN);
        ray_object_release(store, &views[i]);
    }
}

// ---- create ---------------------------------------------------------------------------------------------------------------

typedef struct creating {
    const ray_object_id *ids;
    ray_object_writer *writers;
    ray_status *statuses;
    uint32_t flags;
    failures failures;
} creating;

static void refuse(creating *c, uint32_t i, ray_status status) {
    note(&c->failures, status);
    c->statuses[i] = status;
    c->writers[i] = (ray_object_writer){NULL, c->writers[i].data_size, NULL, c->writers[i].metadata_size, 0, 0};
}

static void create_run(ray_store *store, creating *c, uint32_t from, uint32_t length) {
    uint64_t units[RUN];
    uint64_t places[RUN];
    for (uint32_t i = 0; i < length; i++) {
        ray_object_writer *writer = &c->writers[from + i];
        *writer = (ray_object_writer){NULL, writer->data_size, NULL, writer->metadata_size, 0, 0};
        c->statuses[from + i] = ray__object_check_new(writer->data_size, writer->metadata_size, c->flags, &units[i]);
        note(&c->failures, c->statuses[from + i]);
    }
    ray_status status = ray__store_lock(store);
    for (uint32_t i = 0; i < length; i++) {
        if (c->statuses[from + i] != RAY_OK) {
            continue;
        }
        if (status != RAY_OK) {
            refuse(c, from + i, status);
            continue;
        }
        ray_status claimed = ray__object_claim(store, &c->ids[from + i], units[i], c->flags, &c->writers[from + i], &places[i]);
        if (claimed != RAY_OK) {
            refuse(c, from + i, claimed);
        }
    }
    if (status == RAY_OK) {
        ray__store_unlock(store);
    }
    for (uint32_t i = 0; i < length; i++) {
        if (c->statuses[from + i] == RAY_OK) {
            status = ray__object_open(store, places[i], units[i], c->flags, &c->writers[from + i]);
            if (status != RAY_OK) {
                refuse(c, from + i, status);
            }
        }
    }
}

ray_status ray_objects_create(ray_store *store, const ray_object_id *ids, uint32_t count, uint32_t flags, ray_object_writer *writers,
                              ray_status *statuses) {
    RAY__GATE(store);
    creating c = {ids, writers, statuses, flags, {0, RAY_OK, ""}};
    uint64_t hashes[RUN];
    for (uint32_t from = 0; from < count;) {
        ray_status status = ray__store_enter(store);
        uint32_t length = run_length(count, from);
        if (status == RAY_OK) {
            (void)fetch_run(store, ids, count, from, hashes);
            create_run(store, &c, from, length);
        }
        for (uint32_t i = from; status != RAY_OK && i < from + length; i++) {
            refuse(&c, i, status);
        }
        from += length;
    }
    return conclude(&c.failures, "create", count);
}

// ---- seal -----------------------------------------------------------------------------------------------------------------

ray_status ray_objects_seal(ray_store *store, ray_object_writer *writers, uint32_t count, ray_status *statuses) {
    RAY__GATE(store);
    failures f = {0, RAY_OK, ""};
    ray__wakes wakes = {0};
    for (uint32_t i = 0; i < count; i++) {
        statuses[i] = ray__store_enter(store);
        if (statuses[i] == RAY_OK) {
            statuses[i] = ray__object_seal(store, &writers[i], &wakes);
        } else {
            writers[i] = (ray_object_writer){NULL, 0, NULL, 0, 0, 0};
        }
        note(&f, statuses[i]);
        if (i % RUN == RUN - 1) {
            ray__wakes_send(store, &wakes);
        }
    }
    ray__wakes_send(store, &wakes);
    return conclude(&f, "seal", count);
}
