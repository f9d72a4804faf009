// SPDX-License-Identifier: Apache-2.0
#include "bench.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

void bench_fail(const char *reason, const char *detail) {
    fprintf(stderr, "bench plasma: %s: %s\n", reason, detail);
    _exit(1);
}

void note(const char *text) {
    fprintf(stderr, "bench plasma: %s\n", text);
}

uint64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static int ascending(const void *a, const void *b) {
    double left = *(const double *)a;
    double right = *(const double *)b;
    return left < right ? -1 : left > right;
}

double quantile(double *values, int count, double part) {
    qsort(values, (size_t)count, sizeof *values, ascending);
    int index = (int)(part * count);
    return values[index < count ? index : count - 1];
}

double median(double *values, int count) {
    return quantile(values, count, 0.5);
}

void print(const char *name, double value, const char *unit) {
    printf("{\"name\":\"plasma.c.%s\",\"value\":%.6g,\"unit\":\"%s\"}\n", name, value, unit);
    fflush(stdout);
}

ray_store *make_store(uint64_t capacity_bytes) {
    ray_store_options options = {sizeof options, 0, capacity_bytes};
    ray_store *store;
    must(ray_store_create(&options, &store));
    return store;
}

void *share(size_t size) {
    void *mapped = mmap(NULL, size, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (mapped == MAP_FAILED) {
        bench_fail("share memory", strerror(errno));
    }
    return mapped;
}

helper start_helper(ray_store *node, void (*body)(ray_store *store, void *argument), void *argument) {
    helper h;
    pid_t parent = getpid();
    must(ray_store_slot_claim(node, parent, &h.slot));
    h.pid = fork();
    if (h.pid < 0) {
        bench_fail("fork", strerror(errno));
    }
    if (h.pid > 0) {
        return h;
    }
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != parent) {
        _exit(1); // it ended before the line above
    }
    ray_store *store;
    must(ray_store_attach(fcntl(ray_store_meta_fd(node), F_DUPFD_CLOEXEC, 3),
                          fcntl(ray_store_data_fd(node), F_DUPFD_CLOEXEC, 3), h.slot, &store));
    body(store, argument);
    ray_store_close(store);
    _exit(0);
}

void end_helper(ray_store *node, helper h) {
    int status;
    if (waitpid(h.pid, &status, 0) != h.pid || status != 0) {
        bench_fail("a helper process", "did not end well");
    }
    ray_reap_report report;
    must(ray_store_slot_reap(node, h.slot, &report));
}

bool bind_to_cores(helper h, placement where) {
    static cpu_set_t all;
    if (CPU_COUNT(&all) == 0 && sched_getaffinity(0, sizeof all, &all) != 0) {
        bench_fail("sched_getaffinity", strerror(errno));
    }
    cpu_set_t sets[2] = {all, all};
    if (where != FREE) {
        int wanted = where == TWO_CORES ? 2 : 1;
        if (CPU_COUNT(&all) < 2) {
            return false;
        }
        size_t core_count = CPU_SETSIZE;
        int found = 0;
        for (size_t core = 0; core < core_count && found < wanted; core++) {
            if (CPU_ISSET(core, &all)) {
                CPU_ZERO(&sets[1]);
                CPU_SET(core, &sets[1]);
                sets[0] = found == 0 ? sets[1] : sets[0];
                found++;
            }
        }
    }
    if (sched_setaffinity(0, sizeof sets[0], &sets[0]) != 0 || sched_setaffinity(h.pid, sizeof sets[1], &sets[1]) != 0) {
        bench_fail("sched_setaffinity", strerror(errno));
    }
    return true;
}

void make_semaphore(sem_t *semaphore) {
    if (sem_init(semaphore, 1, 0) != 0) {
        bench_fail("sem_init", strerror(errno));
    }
}

void sleep_on(sem_t *semaphore) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 30;
    while (sem_timedwait(semaphore, &until) != 0) {
        if (errno != EINTR) {
            bench_fail("wait for the other process", strerror(errno));
        }
    }
}

void spin_until(const _Atomic uint32_t *word, uint32_t value) {
    for (uint32_t turn = 1; atomic_load_explicit(word, memory_order_acquire) != value; turn++) {
        if (turn % 4096 == 0) {
            siginfo_t ended = {0};
            if (waitid(P_ALL, 0, &ended, WEXITED | WNOHANG | WNOWAIT) == 0 && ended.si_pid != 0) {
                bench_fail("a helper process", "ended early");
            }
            sched_yield(); // the other may need this core
        }
        __builtin_ia32_pause();
    }
}
