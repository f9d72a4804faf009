// SPDX-License-Identifier: Apache-2.0
// Random operations through four handles against a naive model of what store.h says. Every answer, every state and the
// sums are compared; the invariants are checked at intervals. One of the handles is "killed" and reaped now and then.
#include "check.h"
#include "plasma_fixture.h"

enum { HANDLES = 4, IDS = 24, SIZE_MAX_ = 5000, PINS_MAX = 6 };

typedef struct model {
    uint32_t state;
    bool counted;
    bool doomed;
    bool bits[HANDLES];
    int counts[HANDLES];
    int pins[HANDLES];
    int creator;
    ray_status failure;
    uint64_t size;
    uint32_t metadata_size;
    uint8_t fill;
} model;

static ray_store *handles[HANDLES];
static model objects[IDS];
static ray_object_writer writers[IDS];
static ray_object_view views[IDS][HANDLES][PINS_MAX];
static uint64_t seed;

static uint64_t pick(uint64_t n) {
    return check_random(&seed) % n;
}

// ---- the model -----------------------------------------------------------------------------------------------------------

static bool any_ref(const model *o) {
    return o->bits[0] || o->bits[1] || o->bits[2] || o->bits[3];
}

static bool any_pin(const model *o) {
    return o->pins[0] + o->pins[1] + o->pins[2] + o->pins[3] != 0;
}

static void finish(model *o, uint32_t state) {
    o->doomed = false;
    if (any_ref(o)) {
        o->state = state;
    } else {
        *o = (model){0};
    }
}

static void end_value(model *o, ray_status failure) {
    switch (o->state) {
    case RAY_STATE_CREATING:
        o->failure = o->doomed ? o->failure : failure;
        o->doomed = true;
        break;
    case RAY_STATE_SEALED:
        o->failure = failure;
        o->state = RAY_STATE_DELETING;
        if (!any_pin(o)) {
            finish(o, RAY_STATE_FAILED);
        }
        break;
    case RAY_STATE_REMOTE:
        o->failure = failure;
        finish(o, RAY_STATE_FAILED);
        break;
    default:
        break;
    }
}

static void forget(model *o) {
    if (o->state == RAY_STATE_EMPTY || o->state == RAY_STATE_DELETING || any_ref(o)) {
        return;
    }
    if (o->state == RAY_STATE_FAILED) {
        *o = (model){0};
    } else if (o->counted || o->state == RAY_STATE_REMOTE) {
        end_value(o, RAY_OBJECT_FREED);
    }
}

static ray_status verdict(const model *o) {
    switch (o->state) {
    case RAY_STATE_EMPTY:
        return RAY_NOT_FOUND;
    case RAY_STATE_CREATING:
        return o->doomed ? o->failure : RAY_NOT_SEALED;
    case RAY_STATE_REMOTE:
        return RAY_NOT_LOCAL;
    case RAY_STATE_SEALED:
        return RAY_OK;
    default:
        return o->failure;
    }
}

// ---- operations, on both ---------------------------------------------------------------------------------------------------

static void do_create(uint64_t n, int h) {
    model *o = &objects[n];
    ray_object_id id = id_of(n);
    bool with_ref = h != 0 && pick(2) == 0;
    uint64_t size = pick(4) == 0 ? 0 : pick(SIZE_MAX_);
    uint32_t metadata_size = (uint32_t)(pick(2) * pick(100));
    bool possible = o->state == RAY_STATE_EMPTY || o->state == RAY_STATE_REMOTE;
    ray_object_writer writer;
    ray_status status = ray_object_create(handles[h], &id, size, metadata_size, with_ref ? RAY_CREATE_WITH_REF : 0, &writer);
    CHECK_EQUAL(status, possible ? RAY_OK : RAY_EXISTS);
    if (!possible) {
        return;
    }
    o->state = RAY_STATE_CREATING;
    o->creator = h;
    o->size = size;
    o->metadata_size = metadata_size;
    o->fill = (uint8_t)pick(256);
    o->failure = RAY_OK;
    if (with_ref) {
        o->bits[h] = true;
        o->counts[h]++;
        o->counted = true;
    }
    if (size != 0) {
        memset(writer.data, o->fill, size);
    }
    if (metadata_size != 0) {
        memset(writer.metadata, 255 - o->fill, metadata_size);
    }
    writers[n] = writer;
}

static void do_seal_or_abort(uint64_t n) {
    model *o = &objects[n];
    if (o->state != RAY_STATE_CREATING) {
        return;
    }
    if (pick(5) == 0) {
        ray_object_abort(handles[o->creator], &writers[n]);
        finish(o, o->doomed ? RAY_STATE_FAILED : RAY_STATE_REMOTE);
        return;
    }
    CHECK_EQUAL(ray_object_seal(handles[o->creator], &writers[n]), o->doomed ? o->failure : RAY_OK);
    if (o->doomed) {
        finish(o, RAY_STATE_FAILED);
    } else {
        o->state = RAY_STATE_SEALED;
    }
}

static void do_get(uint64_t n, int h) {
    model *o = &objects[n];
    ray_object_id id = id_of(n);
    if (o->pins[h] == PINS_MAX) {
        return;
    }
    ray_object_view *view = &views[n][h][o->pins[h]];
    CHECK_EQUAL(ray_object_contains(handles[h], &id), o->state == RAY_STATE_SEALED);
    if (o->pins[h] != 0 && pick(3) == 0) {
        ray_object_view_copy(handles[h], &views[n][h][0], view);
    } else {
        ray_status status = ray_object_get(handles[h], &id, 0, view);
        CHECK_EQUAL(status, verdict(o));
        if (status != RAY_OK) {
            return;
        }
    }
    CHECK_EQUAL(view->data_size, o->size);
    CHECK_EQUAL(view->metadata_size, o->metadata_size);
    o->pins[h]++;
}

static void check_bytes(const model *o, const ray_object_view *view) {
    for (uint64_t i = 0; i < view->data_size; i++) {
        CHECK(view->data[i] == o->fill);
    }
    for (uint32_t i = 0; i < view->metadata_size; i++) {
        CHECK_EQUAL(view->metadata[i], 255 - o->fill);
    }
}

static void do_release(uint64_t n, int h) {
    model *o = &objects[n];
    if (o->pins[h] == 0) {
        return;
    }
    o->pins[h]--;
    check_bytes(o, &views[n][h][o->pins[h]]);
    ray_object_release(handles[h], &views[n][h][o->pins[h]]);
    if (o->state == RAY_STATE_DELETING && !any_pin(o)) {
        finish(o, RAY_STATE_FAILED);
    }
}

static void do_acquire(uint64_t n, int h) {
    model *o = &objects[n];
    ray_object_id id = id_of(n);
    bool possible = o->state != RAY_STATE_EMPTY && o->state != RAY_STATE_DELETING;
    CHECK_EQUAL(ray_ref_acquire(handles[h], &id), possible ? RAY_OK : RAY_NOT_FOUND);
    if (possible) {
        o->bits[h] = true;
        o->counts[h]++;
        o->counted = true;
    }
}

static void do_drop(uint64_t n, int h) {
    model *o = &objects[n];
    ray_object_id id = id_of(n);
    CHECK_EQUAL(ray_ref_release(handles[h], &id), o->bits[h] ? RAY_OK : RAY_NOT_FOUND);
    if (o->counts[h] > 1) {
        o->counts[h]--;
    } else if (o->bits[h]) {
        o->counts[h] = 0;
        o->bits[h] = false;
        forget(o);
    }
}

static void do_delete(uint64_t n, int h) {
    model *o = &objects[n];
    ray_object_id id = id_of(n);
    CHECK_EQUAL(ray_object_delete(handles[h], &id, RAY_OBJECT_LOST),
                o->state == RAY_STATE_EMPTY ? RAY_NOT_FOUND : RAY_OK);
    end_value(o, RAY_OBJECT_LOST);
}

static void do_node(uint64_t n) {
    model *o = &objects[n];
    ray_object_id id = id_of(n);
    uint32_t state;
    bool has_value = o->state == RAY_STATE_CREATING || o->state == RAY_STATE_SEALED || o->state == RAY_STATE_DELETING;
    switch (pick(6)) {
    case 0:
        CHECK_OK(ray_node_adopt(handles[0], &id, &state));
        o->state = o->state == RAY_STATE_EMPTY ? RAY_STATE_REMOTE : o->state;
        CHECK_EQUAL(state, o->state);
        o->bits[0] = true;
        o->counted = true;
        break;
    case 1:
        CHECK_EQUAL(ray_node_disown(handles[0], &id), o->state == RAY_STATE_EMPTY ? RAY_NOT_FOUND : RAY_OK);
        if (o->bits[0]) {
            o->bits[0] = false;
            forget(o);
        }
        break;
    case 2: {
        int h = 1 + (int)pick(HANDLES - 1);
        bool possible = o->state != RAY_STATE_EMPTY && o->state != RAY_STATE_DELETING;
        CHECK_EQUAL(ray_node_ref_for(handles[0], &id, ray_store_slot(handles[h]), 0), possible ? RAY_OK : RAY_NOT_FOUND);
        o->bits[h] |= possible;
        o->counted |= possible;
        break;
    }
    case 3: {
        ray_status expected = o->state == RAY_STATE_EMPTY ? RAY_NOT_FOUND : RAY_NOT_SEALED;
        if (o->state == RAY_STATE_SEALED) {
            expected = any_pin(o) ? RAY_IN_USE : RAY_OK;
        } else if (o->state == RAY_STATE_REMOTE) {
            expected = RAY_OK;
        }
        CHECK_EQUAL(ray_node_evict(handles[0], &id, NULL), expected);
        if (o->state == RAY_STATE_SEALED && expected == RAY_OK) {
            finish(o, RAY_STATE_REMOTE);
        }
        break;
    }
    case 4:
        CHECK_EQUAL(ray_node_fail(handles[0], &id, RAY_OWNER_DIED),
                    o->state == RAY_STATE_EMPTY ? RAY_NOT_FOUND : has_value ? RAY_EXISTS : RAY_OK);
        if (!has_value) {
            end_value(o, RAY_OWNER_DIED);
        }
        break;
    default:
        CHECK_EQUAL(ray_node_unfail(handles[0], &id),
                    o->state == RAY_STATE_EMPTY ? RAY_NOT_FOUND : has_value ? RAY_EXISTS : RAY_OK);
        if (o->state == RAY_STATE_FAILED) {
            o->state = RAY_STATE_REMOTE;
        }
    }
}

static void do_kill(int h) {
    ray_reap_report report;
    uint32_t refs = 0;
    CHECK_OK(ray_store_slot_reap(handles[0], ray_store_slot(handles[h]), &report));
    ray_store_close(handles[h]);
    handles[h] = attach_client(handles[0]);
    for (uint64_t n = 0; n < IDS; n++) {
        model *o = &objects[n];
        refs += o->bits[h];
        o->pins[h] = 0;
        o->counts[h] = 0;
        o->bits[h] = false;
        if (o->state == RAY_STATE_CREATING && o->creator == h) {
            finish(o, o->doomed ? RAY_STATE_FAILED : RAY_STATE_REMOTE);
        } else if (o->state == RAY_STATE_DELETING && !any_pin(o)) {
            finish(o, RAY_STATE_FAILED);
        } else {
            forget(o);
        }
    }
    CHECK_EQUAL(report.ref_count, refs);
}

// ---- comparing -------------------------------------------------------------------------------------------------------------

static void compare_object(uint64_t n) {
    const model *o = &objects[n];
    ray_object_id id = id_of(n);
    ray_object_info info;
    ray_status status = ray_object_stat(handles[0], &id, &info);
    CHECK_EQUAL(status, o->state == RAY_STATE_EMPTY ? RAY_NOT_FOUND : RAY_OK);
    CHECK_EQUAL(info.state, o->state);
    if (status == RAY_OK) {
        CHECK_EQUAL(info.node_has_ref, o->bits[0]);
        CHECK_EQUAL(info.ref_slot_count, o->bits[1] + o->bits[2] + o->bits[3]);
        CHECK_EQUAL(info.pin_slot_count,
                    (o->pins[0] != 0) + (o->pins[1] != 0) + (o->pins[2] != 0) + (o->pins[3] != 0));
        if (o->state == RAY_STATE_FAILED || o->state == RAY_STATE_DELETING) {
            CHECK_EQUAL(info.failure, o->failure);
        }
    }
}

static void compare_all(void) {
    uint64_t used = 0;
    uint32_t entries = 0;
    for (uint64_t n = 0; n < IDS; n++) {
        const model *o = &objects[n];
        compare_object(n);
        entries += o->state != RAY_STATE_EMPTY;
        if (o->state == RAY_STATE_CREATING || o->state == RAY_STATE_SEALED || o->state == RAY_STATE_DELETING) {
            uint64_t bytes = o->metadata_size == 0 ? o->size : (o->size + 63) / 64 * 64 + o->metadata_size;
            used += (bytes + 63) / 64 * 64;
        }
    }
    ray_store_stats stats = stats_of(handles[0]);
    CHECK_EQUAL(stats.used_bytes, used);
    CHECK_EQUAL(stats.entry_count, entries);
    CHECK_OK(ray_plasma_check(handles[0], 2));
    ray_object_info infos[8];
    uint32_t count;
    while (ray_node_attention_wait(handles[0], 0, infos, 8, &count) == RAY_OK) {
    }
}

static void store_answers_as_the_model_does(void) {
    handles[0] = make_store(1 << 20, IDS);
    for (int h = 1; h < HANDLES; h++) {
        handles[h] = attach_client(handles[0]);
    }
    for (int step = 0; step < 400000; step++) {
        uint64_t n = pick(IDS);
        int h = (int)pick(HANDLES);
        int client = 1 + (int)pick(HANDLES - 1);
        switch (pick(12)) {
        case 0: case 1: do_create(n, h); break;
        case 2: case 3: do_seal_or_abort(n); break;
        case 4: case 5: do_get(n, h); break;
        case 6: case 7: do_release(n, h); break;
        case 8: do_acquire(n, client); break;
        case 9: do_drop(n, client); break;
        case 10: pick(3) == 0 ? do_delete(n, h) : do_node(n); break;
        default:
            if (pick(200) == 0) {
                do_kill(client);
            }
        }
        compare_object(n);
        if (step % 2000 == 0) {
            compare_all();
        }
    }
    compare_all();
    for (int h = HANDLES - 1; h >= 0; h--) {
        ray_store_close(handles[h]);
    }
}

int main(void) {
    seed = check_seed();
    RUN(store_answers_as_the_model_does);
    return 0;
}
