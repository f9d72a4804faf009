// SPDX-License-Identifier: Apache-2.0
// From one process to another: how long until an object that one sealed is got by the other, awake or asleep.
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/futex.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "bench.h"

enum { GETS = 10000, WAKES = 200 };

#define SETTLE_NS 30000u // a core that has nothing to do takes a moment to go to sleep

// ---- a fresh get ---------------------------------------------------------------------------------------------------------

typedef struct hand_over {
    _Atomic uint32_t sealed;
    _Atomic uint32_t got;
    uint32_t count;
    double times[GETS];
} hand_over;

static void get_fresh(ray_store *store, void *argument) {
    hand_over *h = argument;
    for (uint32_t number = 1; number <= h->count; number++) {
        ray_object_id id = id_of(number);
        ray_object_view view;
        spin_until(&h->sealed, number);
        uint64_t begin = now_ns();
        ray_status status = ray_object_get(store, &id, 0, &view);
        uint64_t end = now_ns();
        must(status);
        ray_object_release(store, &view);
        h->times[(number - 1) % GETS] = (double)(end - begin);
        atomic_store_explicit(&h->got, number, memory_order_release);
    }
}

// Each object is new, made and sealed a moment before on the other core, whose cache its entry is in; the getter spins meanwhile, so
// its own core is awake. The first run, in which it meets the pages of the table, is left out.
static void get_other_process(ray_store *node) {
    static const uint8_t bytes[SMALL];
    hand_over *h = share(sizeof *h);
    h->count = (RUNS + 1) * GETS;
    helper getter = start_helper(node, get_fresh, h);
    bind_to_cores(getter, TWO_CORES);
    double middle[RUNS];
    double late[RUNS];
    uint32_t number = 0;
    for (int run = -1; run < RUNS; run++) {
        for (int i = 0; i < GETS; i++) {
            ray_object_id id = id_of(++number);
            must(ray_object_put(node, &id, bytes, SMALL, NULL, 0, 0));
            atomic_store_explicit(&h->sealed, number, memory_order_release);
            spin_until(&h->got, number);
            must(ray_object_delete(node, &id, RAY_OBJECT_FREED));
        }
        if (run >= 0) {
            // The getter waits for the next run's first object: nobody writes these now.
            middle[run] = quantile(h->times, GETS, 0.5);
            late[run] = quantile(h->times, GETS, 0.99);
        }
    }
    bind_to_cores(getter, FREE);
    end_helper(node, getter);
    print("get_other_process_p50_ns", median(middle, RUNS), "ns");
    print("get_other_process_p99_ns", median(late, RUNS), "ns");
}

static void clock_cost(void) {
    double costs[RUNS];
    for (int run = -1; run < RUNS; run++) {
        enum { ROUNDS = 100000 };
        uint64_t begin = now_ns();
        for (int i = 0; i < ROUNDS; i++) {
            (void)now_ns();
        }
        if (run >= 0) {
            costs[run] = (double)(now_ns() - begin) / (double)ROUNDS;
        }
    }
    print("clock_ns", median(costs, RUNS), "ns");
}

// ---- waking --------------------------------------------------------------------------------------------------------------

typedef struct sleeper {
    _Atomic uint32_t turn;  // what it is to sleep on next
    _Atomic uint32_t ready; // it goes to sleep now
    _Atomic uint32_t woken; // woke_ns is written
    uint32_t turns;
    uint64_t woke_ns;
    uint32_t word __attribute__((aligned(64))); // the bare futex, which nothing else is near
    uint8_t end[60];
} sleeper;

// Odd turns wait for an object, even ones for the word, so that both are measured under the same conditions.
static void sleep_and_wake(ray_store *store, void *argument) {
    sleeper *s = argument;
    for (uint32_t turn = 1; turn <= s->turns; turn++) {
        ray_object_id id = id_of(turn);
        ray_object_view view;
        spin_until(&s->turn, turn);
        atomic_store_explicit(&s->ready, turn, memory_order_release);
        if (turn % 2 == 1) {
            must(ray_object_get(store, &id, RAY_FOREVER, &view));
            s->woke_ns = now_ns();
            ray_object_release(store, &view);
        } else {
            uint32_t before = turn - 2;
            while (__atomic_load_n(&s->word, __ATOMIC_SEQ_CST) == before) {
                syscall(SYS_futex, &s->word, FUTEX_WAIT, before, NULL, NULL, 0);
            }
            s->woke_ns = now_ns();
        }
        atomic_store_explicit(&s->woken, turn, memory_order_release);
    }
}

// Whether the kernel has it asleep: then it is in the futex, since it spins otherwise.
static void until_asleep(int stat) {
    for (;;) {
        char text[256];
        ssize_t length = pread(stat, text, sizeof text - 1, 0);
        if (length <= 0) {
            bench_fail("/proc/.../stat", strerror(errno));
        }
        text[length] = '\0';
        const char *name_end = strrchr(text, ')');
        if (name_end != NULL && name_end[1] != '\0' && name_end[2] == 'S') {
            break;
        }
        if (name_end == NULL || name_end[1] == '\0' || name_end[2] == 'Z') {
            bench_fail("a helper process", "ended early");
        }
    }
    for (uint64_t begin = now_ns(); now_ns() - begin < SETTLE_NS;) {
    }
}

static double wake_by_seal(ray_store *node, sleeper *s, int stat, uint32_t turn) {
    ray_object_id id = id_of(turn);
    ray_object_writer writer;
    must(ray_object_create(node, &id, SMALL, 0, 0, &writer));
    memset(writer.data, 1, SMALL);
    atomic_store_explicit(&s->turn, turn, memory_order_release);
    spin_until(&s->ready, turn);
    until_asleep(stat);
    uint64_t begin = now_ns();
    must(ray_object_seal(node, &writer));
    spin_until(&s->woken, turn);
    double time = (double)(s->woke_ns - begin);
    must(ray_object_delete(node, &id, RAY_OBJECT_FREED));
    return time;
}

static double wake_by_futex(sleeper *s, int stat, uint32_t turn) {
    atomic_store_explicit(&s->turn, turn, memory_order_release);
    spin_until(&s->ready, turn);
    until_asleep(stat);
    uint64_t begin = now_ns();
    __atomic_store_n(&s->word, turn, __ATOMIC_SEQ_CST);
    syscall(SYS_futex, &s->word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
    spin_until(&s->woken, turn);
    return (double)(s->woke_ns - begin);
}

static void print_wake(const char *place, const char *what, double value, const char *unit) {
    char name[64];
    snprintf(name, sizeof name, "wake_%s%s", place, what);
    print(name, value, unit);
}

// Left to itself, the scheduler has both now on one core and now on two, and a wake-up takes four times as long to another core.
static void wake(ray_store *node, placement where, const char *place) {
    sleeper *s = share(sizeof *s);
    s->turns = (RUNS + 1) * WAKES * 2;
    helper waiter = start_helper(node, sleep_and_wake, s);
    bind_to_cores(waiter, where);
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)waiter.pid);
    int stat = open(path, O_RDONLY | O_CLOEXEC);
    double seal[RUNS];
    double futex[RUNS];
    double ratios[RUNS];
    uint32_t turn = 0;
    for (int run = -1; run < RUNS; run++) {
        double by_seal[WAKES];
        double by_futex[WAKES];
        for (int i = 0; i < WAKES; i++) {
            by_seal[i] = wake_by_seal(node, s, stat, ++turn);
            by_futex[i] = wake_by_futex(s, stat, ++turn);
        }
        if (run >= 0) {
            seal[run] = median(by_seal, WAKES);
            futex[run] = median(by_futex, WAKES);
            ratios[run] = seal[run] / futex[run];
        }
    }
    close(stat);
    bind_to_cores(waiter, FREE);
    end_helper(node, waiter);
    print_wake(place, "seal_ns", median(seal, RUNS), "ns");
    print_wake(place, "futex_ns", median(futex, RUNS), "ns");
    print_wake(place, "ratio", median(ratios, RUNS), "ratio");
    munmap(s, sizeof *s);
}

void bench_across(ray_store *node) {
    get_other_process(node);
    clock_cost();
    wake(node, TWO_CORES, "");
    wake(node, ONE_CORE, "one_core_");
}
