// SPDX-License-Identifier: Apache-2.0
// Random work on a few objects that all processes fight for. Every object describes itself: it begins with its number and a seed
// from which each further word follows, so a reader needs to know nothing but the id to find a byte that is not right.
#include "worker.h"

#include <stdlib.h>

#include "plasma_fixture.h"

enum { IDS = 48, HELD = 8, BATCH = 6, WORDS_MAX = 5000, LARGE_WORDS = 150000 };

typedef struct worker {
    ray_store *store;
    board_row *row;
    uint64_t random;
    ray_object_view held[HELD];
    uint64_t held_numbers[HELD];
} worker;

// ---- contents --------------------------------------------------------------------------------------------------------------

static uint64_t word_at(uint64_t number, uint64_t seed, uint64_t i) {
    return (seed ^ number * 0x9e3779b97f4a7c15u) + i * 0xbf58476d1ce4e5b9u;
}

// Word 0 is the number, word 1 the seed; the metadata is the number of words.
static void fill(const ray_object_writer *writer, uint64_t number, uint64_t seed) {
    uint64_t count = writer->data_size / 8;
    uint64_t *words = (uint64_t *)(void *)writer->data;
    words[0] = number;
    words[1] = seed;
    for (uint64_t i = 2; i < count; i++) {
        words[i] = word_at(number, seed, i);
    }
    memcpy(writer->metadata, &count, sizeof count);
}

uint64_t worker_wrong_bytes(const ray_object_view *view, uint64_t number) {
    uint64_t count = view->data_size / 8;
    uint64_t said = 0;
    if (view->metadata_size != sizeof said || view->data_size < 16 || view->data_size % 8 != 0) {
        return view->data_size + 8;
    }
    memcpy(&said, view->metadata, sizeof said);
    const uint64_t *words = (const uint64_t *)(const void *)view->data;
    uint64_t wrong = (said != count) * 8u + (words[0] != number) * 8u;
    for (uint64_t i = 2; i < count; i++) {
        wrong += (words[i] != word_at(number, words[1], i)) * 8u;
    }
    return wrong;
}

// ---- steps -----------------------------------------------------------------------------------------------------------------

static uint64_t draw(worker *w, uint64_t below) {
    return check_random(&w->random) % below;
}

// Anything a call may answer when others delete, fill and drop at the same time; not that the store is damaged.
static void expect_sane(ray_status status) {
    if (status == RAY_POISONED || status == RAY_INVALID_ARGUMENT || status == RAY_FORKED || status == RAY_SYSTEM) {
        fprintf(stderr, "kills: a worker was answered %s: %s\n", ray_status_name(status), ray_last_error_message());
        _exit(9);
    }
}

static void look(worker *w, const ray_object_view *view, uint64_t number) {
    uint64_t wrong = worker_wrong_bytes(view, number);
    __atomic_fetch_add(&w->row->gets, 1, __ATOMIC_RELAXED);
    if (wrong != 0) {
        fprintf(stderr, "kills: %" PRIu64 " wrong bytes in object %" PRIu64 " of %" PRIu64 " bytes\n", wrong, number,
                view->data_size);
        __atomic_fetch_add(&w->row->wrong_bytes, wrong, __ATOMIC_RELAXED);
    }
}

static uint64_t draw_size(worker *w) {
    return 8 * (2 + draw(w, draw(w, 64) == 0 ? LARGE_WORDS : draw(w, 2) == 0 ? 100 : WORDS_MAX));
}

static uint32_t draw_flags(worker *w) {
    return draw(w, 4) != 0 ? RAY_CREATE_WITH_REF : 0;
}

static void step_create(worker *w, uint64_t number) {
    ray_object_id id = id_of(number);
    ray_object_writer writer;
    ray_status status = ray_object_create(w->store, &id, draw_size(w), 8, draw_flags(w), &writer);
    expect_sane(status);
    if (status != RAY_OK) {
        return;
    }
    __atomic_fetch_add(&w->row->creates, 1, __ATOMIC_RELAXED);
    fill(&writer, number, check_random(&w->random));
    if (draw(w, 8) == 0) {
        ray_object_abort(w->store, &writer);
    } else {
        expect_sane(ray_object_seal(w->store, &writer));
    }
}

// A view is held for a while: what was read must still be there when it is looked at again, before its release.
static void step_get(worker *w, uint64_t number) {
    ray_object_id id = id_of(number);
    uint64_t place = draw(w, HELD);
    if (w->held[place].generation != 0) {
        look(w, &w->held[place], w->held_numbers[place]);
        ray_object_release(w->store, &w->held[place]);
    }
    ray_status status = ray_object_get(w->store, &id, draw(w, 16) == 0 ? 500000 : 0, &w->held[place]);
    expect_sane(status);
    if (status == RAY_OK) {
        w->held_numbers[place] = number;
        look(w, &w->held[place], number);
    }
}

static void step_wait(worker *w, uint64_t number) {
    ray_object_id ids[BATCH];
    uint8_t ready[BATCH];
    uint32_t count;
    for (uint64_t i = 0; i < BATCH; i++) {
        ids[i] = id_of((number + i) % IDS);
    }
    expect_sane(ray_object_wait(w->store, ids, BATCH, 1 + (uint32_t)draw(w, BATCH), 300000, ready, &count));
}

static void step_batch(worker *w, uint64_t number) {
    ray_object_id ids[BATCH];
    ray_object_view views[BATCH];
    ray_status statuses[BATCH];
    for (uint64_t i = 0; i < BATCH; i++) {
        ids[i] = id_of((number + i) % IDS);
    }
    expect_sane(ray_objects_get(w->store, ids, BATCH, draw(w, 8) == 0 ? 200000 : 0, views, statuses));
    for (uint64_t i = 0; i < BATCH; i++) {
        if (statuses[i] == RAY_OK) {
            look(w, &views[i], (number + i) % IDS);
        }
    }
    ray_objects_release(w->store, views, BATCH);
}

static void step_batch_create(worker *w, uint64_t number) {
    ray_object_id ids[BATCH];
    ray_object_writer writers[BATCH];
    ray_status statuses[BATCH];
    memset(writers, 0, sizeof writers);
    for (uint64_t i = 0; i < BATCH; i++) {
        ids[i] = id_of((number + i) % IDS);
        writers[i].data_size = 8 * (2 + draw(w, 200));
        writers[i].metadata_size = 8;
    }
    expect_sane(ray_objects_create(w->store, ids, BATCH, draw_flags(w), writers, statuses));
    uint32_t made = 0;
    for (uint64_t i = 0; i < BATCH; i++) {
        expect_sane(statuses[i]);
        if (statuses[i] == RAY_OK) {
            fill(&writers[i], (number + i) % IDS, check_random(&w->random));
            writers[made++] = writers[i];
        }
    }
    __atomic_fetch_add(&w->row->creates, made, __ATOMIC_RELAXED);
    expect_sane(ray_objects_seal(w->store, writers, made, statuses));
}

static void attach(worker *w, int meta_fd, int data_fd, uint32_t slot) {
    __atomic_store_n(&w->row->doing, DOING_ATTACH, __ATOMIC_RELAXED);
    w->store = attach_slot(meta_fd, data_fd, slot);
    memset(w->held, 0, sizeof w->held);
}

static void step(worker *w) {
    uint64_t number = draw(w, IDS);
    ray_object_id id = id_of(number);
    uint64_t kind = draw(w, 32);
    uint32_t doing = kind < 8    ? DOING_CREATE
                     : kind < 17 ? DOING_GET
                     : kind < 19 ? DOING_REF
                     : kind < 24 ? DOING_UNREF
                     : kind < 28 ? DOING_DELETE
                     : kind < 29 ? DOING_WAIT
                                 : DOING_BATCH;
    __atomic_store_n(&w->row->doing, doing, __ATOMIC_RELAXED);
    switch (doing) {
    case DOING_CREATE: step_create(w, number); break;
    case DOING_GET: step_get(w, number); break;
    case DOING_REF: expect_sane(ray_ref_acquire(w->store, &id)); break;
    case DOING_UNREF: expect_sane(ray_ref_release(w->store, &id)); break;
    case DOING_DELETE: expect_sane(ray_object_delete(w->store, &id, RAY_OBJECT_FREED)); break;
    case DOING_WAIT: step_wait(w, number); break;
    default:
        if (kind == 31) {
            step_batch_create(w, number);
        } else {
            step_batch(w, number);
        }
        break;
    }
}

_Noreturn void worker_run(int meta_fd, int data_fd, uint32_t slot, uint64_t seed, board_row *row) {
    worker w = {.row = row, .random = seed};
    attach(&w, meta_fd, data_fd, slot);
    for (;;) {
        step(&w);
        __atomic_fetch_add(&row->steps, 1, __ATOMIC_RELAXED);
        if (draw(&w, 2000) == 0) {
            ray_store_close(w.store); // drops all it has; then it comes again with the same slot
            attach(&w, meta_fd, data_fd, slot);
        }
    }
}
