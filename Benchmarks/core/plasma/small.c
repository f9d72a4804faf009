// SPDX-License-Identifier: Apache-2.0
// Small objects: how many operations in a second.
#include <string.h>
#include <time.h>

#include "bench.h"

enum { OBJECTS = 100000, PROCESSES = 2, BATCH = 1024 };

#define RUN_NS 200000000u

typedef struct worker {
    sem_t go;
    sem_t done;
    double rate;
    double core_rate; // for a second of processor time, whoever else uses the machine
    uint64_t random;
    uint64_t done_count; // over all runs
    uint32_t runs;
    bool is_protected; // what it measures, it measures with the metadata shut outside the calls
} worker;

static uint64_t core_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

// Each time it is told to, does batches for a while.
static void work_when_told(ray_store *store, worker *w, void (*batch)(ray_store *store, worker *w)) {
    for (uint32_t run = 0; run < w->runs; run++) {
        sleep_on(&w->go);
        uint64_t before = w->done_count;
        uint64_t begin = now_ns();
        uint64_t core_begin = core_ns();
        uint64_t passed;
        do {
            batch(store, w);
            w->done_count += BATCH;
            passed = now_ns() - begin;
        } while (passed < RUN_NS);
        double count = (double)(w->done_count - before);
        w->rate = count * 1e9 / (double)passed;
        w->core_rate = count * 1e9 / (double)(core_ns() - core_begin);
        sem_post(&w->done);
    }
}

static void get_release_batch(ray_store *store, worker *w) {
    ray_object_view view;
    for (int i = 0; i < BATCH; i++) {
        ray_object_id id = id_of((uint32_t)(next_random(&w->random) % OBJECTS));
        must(ray_object_get(store, &id, 0, &view));
        ray_object_release(store, &view);
    }
}

// A client that gets and releases random objects.
static void get_release(ray_store *store, void *argument) {
    worker *w = argument;
    ray_object_view view;
    if (w->is_protected) {
        must(ray_store_protect(store));
    }
    for (uint32_t i = 0; i < OBJECTS; i++) { // so that what is measured meets no page of the table for the first time
        ray_object_id id = id_of(i);
        must(ray_object_get(store, &id, 0, &view));
        ray_object_release(store, &view);
    }
    work_when_told(store, w, get_release_batch);
}

static double rate_of(worker *workers, int count, double *core_rate) {
    for (int i = 0; i < count; i++) {
        sem_post(&workers[i].go);
    }
    double sum = 0;
    *core_rate = 0;
    for (int i = 0; i < count; i++) {
        sleep_on(&workers[i].done);
        sum += workers[i].rate;
        *core_rate += workers[i].core_rate;
    }
    return sum;
}

static helper start_worker(ray_store *node, worker *w, void (*body)(ray_store *store, void *argument), uint32_t runs) {
    w->runs = runs;
    make_semaphore(&w->go);
    make_semaphore(&w->done);
    return start_helper(node, body, w);
}

typedef struct turns {
    double alone[RUNS];
    double together[RUNS];
    double ratios[RUNS];
    double core_ratios[RUNS];
} turns;

// One process alone and two together take turns, so that what else the machine does meets both. The workers' numbers are set.
static void take_turns(ray_store *node, worker *workers, void (*body)(ray_store *store, void *argument), turns *t) {
    helper helpers[PROCESSES];
    for (int i = 0; i < PROCESSES; i++) {
        helpers[i] = start_worker(node, &workers[i], body, i == 0 ? 2 * (RUNS + 1) : RUNS + 1);
    }
    for (int run = -1; run < RUNS; run++) {
        double core_one;
        double core_two;
        double one = rate_of(workers, 1, &core_one);
        double two = rate_of(workers, PROCESSES, &core_two);
        if (run >= 0) {
            t->alone[run] = one;
            t->together[run] = two;
            t->ratios[run] = two / one;
            t->core_ratios[run] = core_two / core_one;
        }
    }
    for (int i = 0; i < PROCESSES; i++) {
        end_helper(node, helpers[i]);
    }
}

// The same in one process by batches, in turns with one by one.
static void batch_get_release(ray_store *node) {
    static ray_object_view views[BATCH];
    static ray_object_id ids[BATCH];
    static ray_status statuses[BATCH];
    enum { BATCHES = 400 };
    double batched[RUNS];
    double ratios[RUNS];
    uint64_t random = 88172645463325252u;
    for (int run = -1; run < RUNS; run++) {
        uint64_t spent[2] = {0, 0};
        for (int batch = 0; batch < 2 * BATCHES; batch++) {
            uint64_t begin = now_ns();
            for (int i = 0; i < BATCH; i++) {
                ids[i] = id_of((uint32_t)(next_random(&random) % OBJECTS));
            }
            if (batch % 2 == 0) {
                must(ray_objects_get(node, ids, BATCH, 0, views, statuses));
                ray_objects_release(node, views, BATCH);
            } else {
                for (int i = 0; i < BATCH; i++) {
                    must(ray_object_get(node, &ids[i], 0, &views[i]));
                    ray_object_release(node, &views[i]);
                }
            }
            spent[batch % 2] += now_ns() - begin;
        }
        if (run >= 0) {
            batched[run] = (double)BATCHES * BATCH * 1e9 / (double)spent[0];
            ratios[run] = (double)spent[1] / (double)spent[0];
        }
    }
    print("batch_get_release_ops", median(batched, RUNS), "ops/s");
    print("batch_get_release_ratio", median(ratios, RUNS), "ratio");
}

// A client with the metadata shut in turns with one that has it open. Without protection keys there is nothing to measure.
static void get_release_protected(ray_store *node) {
    ray_store *probe = make_store(1 << 20);
    ray_status status = ray_store_protect(probe);
    ray_store_close(probe);
    if (status == RAY_UNSUPPORTED) {
        note("no get_release_protected_ops: this processor or kernel has no protection keys");
        return;
    }
    must(status);
    worker *workers = share(2 * sizeof *workers);
    helper helpers[2];
    for (int i = 0; i < 2; i++) {
        workers[i].random = 88172645463325252u;
        workers[i].is_protected = i == 1;
        helpers[i] = start_worker(node, &workers[i], get_release, RUNS + 1);
    }
    double rates[RUNS];
    double ratios[RUNS];
    for (int run = -1; run < RUNS; run++) {
        double core;
        double open = rate_of(&workers[0], 1, &core);
        double shut = rate_of(&workers[1], 1, &core);
        if (run >= 0) {
            rates[run] = shut;
            ratios[run] = shut / open;
        }
    }
    end_helper(node, helpers[0]);
    end_helper(node, helpers[1]);
    print("get_release_protected_ops", median(rates, RUNS), "ops/s");
    print("get_release_protected_ratio", median(ratios, RUNS), "ratio");
}

static void get_release_by_processes(ray_store *node) {
    static const uint8_t bytes[SMALL];
    for (uint32_t i = 0; i < OBJECTS; i++) {
        ray_object_id id = id_of(i);
        must(ray_object_put(node, &id, bytes, SMALL, NULL, 0, 0));
    }
    worker *workers = share(PROCESSES * sizeof *workers);
    for (int i = 0; i < PROCESSES; i++) {
        workers[i].random = 88172645463325252u + (uint64_t)i * 1000003u;
    }
    turns t;
    take_turns(node, workers, get_release, &t);
    print("get_release_ops", median(t.alone, RUNS), "ops/s");
    print("get_release_2proc_ops", median(t.together, RUNS), "ops/s");
    print("get_release_2proc_ratio", median(t.ratios, RUNS), "ratio");
    print("get_release_2proc_core_ratio", median(t.core_ratios, RUNS), "ratio");
    get_release_protected(node);
    batch_get_release(node);
    for (uint32_t i = 0; i < OBJECTS; i++) {
        ray_object_id id = id_of(i);
        must(ray_object_delete(node, &id, RAY_OBJECT_FREED));
    }
}

static void create_seal_delete(ray_store *store) {
    static const uint8_t bytes[SMALL];
    double rates[RUNS];
    uint32_t number = 1;
    for (int run = -1; run < RUNS; run++) {
        enum { ROUNDS = 300000 };
        uint64_t begin = now_ns();
        for (int i = 0; i < ROUNDS; i++) {
            ray_object_id id = id_of(number++);
            ray_object_writer writer;
            must(ray_object_create(store, &id, SMALL, 0, 0, &writer));
            memcpy(writer.data, bytes, SMALL);
            must(ray_object_seal(store, &writer));
            must(ray_object_delete(store, &id, RAY_OBJECT_FREED));
        }
        if (run >= 0) {
            rates[run] = (double)ROUNDS * 1e9 / (double)(now_ns() - begin);
        }
    }
    print("create_seal_delete_ops", median(rates, RUNS), "ops/s");
}

static void create_batch(ray_store *store, worker *w) {
    static const uint8_t bytes[SMALL];
    for (int i = 0; i < BATCH; i++) {
        ray_object_id id = id_of((uint32_t)w->random + (uint32_t)((w->done_count + (uint64_t)i) % OBJECTS));
        ray_object_writer writer;
        must(ray_object_create(store, &id, SMALL, 0, 0, &writer));
        memcpy(writer.data, bytes, SMALL);
        must(ray_object_seal(store, &writer));
        must(ray_object_delete(store, &id, RAY_OBJECT_FREED));
    }
}

// A client that creates, seals and deletes objects of its own.
static void create_for_a_while(ray_store *store, void *argument) {
    work_when_told(store, argument, create_batch);
}

// Two processes at once share the lock: each create and each delete takes it.
static void create_seal_delete_by_processes(ray_store *node) {
    worker *workers = share(PROCESSES * sizeof *workers);
    for (int i = 0; i < PROCESSES; i++) {
        workers[i].random = (uint64_t)(i + 1) * 2 * OBJECTS;
    }
    turns t;
    take_turns(node, workers, create_for_a_while, &t);
    print("create_seal_delete_2proc_ops", median(t.together, RUNS), "ops/s");
    print("create_seal_delete_2proc_ratio", median(t.ratios, RUNS), "ratio");
    print("create_seal_delete_2proc_core_ratio", median(t.core_ratios, RUNS), "ratio");
}

// Batches in turns with one by one: what the shared lock and the fetching ahead are worth.
static void batch_create_seal_delete(ray_store *store) {
    enum { SOME = 256, BATCHES = 400 };
    static const uint8_t bytes[SMALL];
    static ray_object_writer writers[SOME];
    static ray_object_id ids[SOME];
    static ray_status statuses[SOME];
    double batched[RUNS];
    double ratios[RUNS];
    uint32_t number = 1;
    for (int run = -1; run < RUNS; run++) {
        uint64_t spent[2] = {0, 0};
        for (int batch = 0; batch < 2 * BATCHES; batch++) {
            bool alone = batch % 2 == 1;
            uint64_t begin = now_ns();
            for (int i = 0; i < SOME; i++) {
                ids[i] = id_of(number++);
                writers[i] = (ray_object_writer){.data_size = SMALL};
                if (alone) {
                    must(ray_object_create(store, &ids[i], SMALL, 0, 0, &writers[i]));
                }
            }
            if (!alone) {
                must(ray_objects_create(store, ids, SOME, 0, writers, statuses));
            }
            for (int i = 0; i < SOME; i++) {
                memcpy(writers[i].data, bytes, SMALL);
                if (alone) {
                    must(ray_object_seal(store, &writers[i]));
                }
            }
            if (!alone) {
                must(ray_objects_seal(store, writers, SOME, statuses));
            }
            for (int i = 0; i < SOME; i++) {
                must(ray_object_delete(store, &ids[i], RAY_OBJECT_FREED));
            }
            spent[batch % 2] += now_ns() - begin;
        }
        if (run >= 0) {
            batched[run] = (double)BATCHES * SOME * 1e9 / (double)spent[0];
            ratios[run] = (double)spent[1] / (double)spent[0];
        }
    }
    print("batch_create_seal_delete_ops", median(batched, RUNS), "ops/s");
    print("batch_create_seal_delete_ratio", median(ratios, RUNS), "ratio");
}

void bench_small(ray_store *node) {
    get_release_by_processes(node);
    create_seal_delete(node);
    create_seal_delete_by_processes(node);
    batch_create_seal_delete(node);
}
