// SPDX-License-Identifier: Apache-2.0
// What of the cores is left for a process: by its affinity, by quotas of control groups, by what others use.
#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <sched.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock_internal.h"
#include "base/headroom_internal.h"
#include "check.h"
#include "control_group.h"

static char folder[128];

static void path_of(char *path, size_t capacity, const char *name) {
    CHECK((size_t)snprintf(path, capacity, "%s/%s", folder, name) < capacity);
}

static void write_text(const char *name, const char *text) {
    char path[512];
    path_of(path, sizeof path, name);
    FILE *file = fopen(path, "we");
    CHECK(file != NULL);
    CHECK(fputs(text, file) >= 0);
    CHECK(fclose(file) == 0);
}

static void make_folder(const char *name) {
    char path[512];
    path_of(path, sizeof path, name);
    CHECK(mkdir(path, 0700) == 0);
}

// A machine with version 2 at <folder>/two and version 1 at <folder>/one.
static void write_mounts(void) {
    char text[1024];
    snprintf(text, sizeof text,
             "22 27 0:21 / /proc rw,relatime - proc proc rw\n"
             "33 31 0:30 / %s/cpuset rw - cgroup cgroup rw,cpuset\n"
             "34 31 0:31 / %s/one rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct\n"
             "41 31 0:38 / %s/two rw,relatime - cgroup2 cgroup2 rw,nsdelegate\n",
             folder, folder, folder);
    write_text("mounts", text);
}

static ray__quota find(const char *groups) {
    char groups_path[512];
    char mounts_path[512];
    write_text("groups", groups);
    path_of(groups_path, sizeof groups_path, "groups");
    path_of(mounts_path, sizeof mounts_path, "mounts");
    ray__quota quota;
    ray__quota_find(&quota, groups_path, mounts_path);
    return quota;
}

static bool is_about(double value, double expected) {
    return fabs(value - expected) < 0.0005;
}

static void theTightestGroupOfVersion2Counts(void) {
    write_text("two/cpu.max", "max 100000\n");
    make_folder("two/pod");
    make_folder("two/pod/app");
    ray__quota quota = find("0::/pod/app\n");
    CHECK(ray__quota_cores(&quota) == 0);
    write_text("two/pod/app/cpu.max", "max 100000\n");
    quota = find("0::/pod/app\n");
    CHECK(ray__quota_cores(&quota) == 0);
    // A limit that comes later is seen.
    write_text("two/pod/app/cpu.max", "300000 100000\n");
    CHECK(is_about(ray__quota_cores(&quota), 3));
    write_text("two/pod/cpu.max", "25000 50000\n");
    quota = find("0::/pod/app\n");
    CHECK(is_about(ray__quota_cores(&quota), 0.5));
    write_text("two/pod/app/cpu.max", "25000 100000\n");
    write_text("two/pod/app/cpu.stat", "usage_usec 1234567\nuser_usec 1000000\nsystem_usec 234567\n");
    quota = find("12:pids:/x\n0::/pod/app\n");
    CHECK(is_about(ray__quota_cores(&quota), 0.25));
    CHECK(ray__quota_used_ns(&quota) == 1234567000u);
}

static void aGroupOfVersion1Counts(void) {
    make_folder("one/app");
    write_text("one/cpu.cfs_quota_us", "-1\n");
    write_text("one/cpu.cfs_period_us", "100000\n");
    write_text("one/app/cpu.cfs_quota_us", "150000\n");
    write_text("one/app/cpu.cfs_period_us", "100000\n");
    write_text("one/app/cpuacct.usage", "98765432100\n");
    ray__quota quota = find("3:cpuset:/\n4:cpuacct,cpu:/app\n5:name=systemd:/app\n");
    CHECK(is_about(ray__quota_cores(&quota), 1.5));
    CHECK(ray__quota_used_ns(&quota) == 98765432100u);
    write_text("one/app/cpu.cfs_quota_us", "-1\n");
    CHECK(ray__quota_cores(&quota) == 0);
    // "cpuset" is not "cpu".
    quota = find("3:cpuset:/app\n");
    CHECK(quota.path[0] == '\0');
}

// In a container a group's name may be one of the machine outside.
static void aGroupWhoseFolderIsNotThereIsTheMountItself(void) {
    write_text("two/cpu.max", "50000 100000\n");
    ray__quota quota = find("0::/docker/0123456789abcdef\n");
    CHECK(is_about(ray__quota_cores(&quota), 0.5));
    write_text("two/cpu.max", "max 100000\n");
}

static void whatCannotBeReadIsNoLimit(void) {
    static const char *const strange[] = {"", "\n", "max\n", "100000\n", "-5 100000\n", "100000 0\n", "x y\n"};
    make_folder("two/odd");
    for (size_t i = 0; i < sizeof strange / sizeof strange[0]; i++) {
        write_text("two/odd/cpu.max", strange[i]);
        ray__quota quota = find("0::/odd\n");
        CHECK(ray__quota_cores(&quota) == 0);
        CHECK(ray__quota_used_ns(&quota) == 0);
    }
    ray__quota quota = find("no line of any group\n");
    CHECK(quota.path[0] == '\0' && ray__quota_cores(&quota) == 0 && ray__quota_used_ns(&quota) == 0);
    ray__quota_find(&quota, "/nowhere/groups", "/nowhere/mounts");
    CHECK(quota.path[0] == '\0');
}

static void whatIsLeftIsTheLeastOfWhatMachineAndQuotaLeave(void) {
    static const struct {
        ray__headroom_span span;
        ray__free_cores spare;
    } cases[] = {
        {{.cores = 4, .idle = 3, .process_used = 0.5}, {4000, 3000, 500}},
        {{.cores = 4, .idle = 4.2}, {4000, 4000, 0}},
        {{.cores = 4, .idle = 3, .quota = 2, .group_used = 0.5, .process_used = 0.25}, {2000, 1500, 250}},
        {{.cores = 4, .idle = 1, .quota = 2, .group_used = 0.5, .process_used = 0.5}, {2000, 1000, 500}},
        {{.cores = 4, .idle = 3, .quota = 2, .group_used = 2.1, .process_used = 2.1}, {2000, 0, 2000}},
        {{.cores = 2, .idle = 2, .quota = 8, .group_used = 7}, {2000, 1000, 0}},
        {{.cores = 2, .idle = 2, .quota = 0.0001}, {1, 0, 0}},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        ray__free_cores spare;
        ray__headroom_judge(&cases[i].span, &spare);
        CHECK_EQUAL(spare.allowed, cases[i].spare.allowed);
        CHECK_EQUAL(spare.unused, cases[i].spare.unused);
        CHECK_EQUAL(spare.own, cases[i].spare.own);
    }
}

static _Atomic bool spinner_ends;

static void *spin(void *unused) {
    (void)unused;
    while (!atomic_load(&spinner_ends)) {
    }
    return NULL;
}

// Until something is known, under a watchdog.
static ray__free_cores look(ray__headroom *headroom) {
    ray__free_cores spare;
    uint64_t deadline = ray__now_ns() + 10000000000u;
    ray__headroom_now(headroom, ray__now_ns(), &spare);
    CHECK(spare.unused == RAY__SPARE_UNKNOWN);
    while (spare.unused == RAY__SPARE_UNKNOWN) {
        CHECK(ray__now_ns() < deadline);
        sched_yield();
        ray__headroom_now(headroom, ray__now_ns(), &spare);
    }
    return spare;
}

// On one core, with a thread that never sleeps on it: whoever else runs, nothing of that core is left over.
static void ofOneCoreThatIsBusyNothingIsLeft(void) {
    cpu_set_t before;
    cpu_set_t one;
    CHECK(sched_getaffinity(0, sizeof before, &before) == 0);
    CPU_ZERO(&one);
    size_t core = 0;
    while (!CPU_ISSET(core, &before)) {
        core++;
    }
    CPU_SET(core, &one);
    CHECK(sched_setaffinity(0, sizeof one, &one) == 0);
    pthread_t spinner;
    CHECK(pthread_create(&spinner, NULL, spin, NULL) == 0);
    ray__headroom headroom;
    ray__headroom_init(&headroom);
    ray__free_cores spare = look(&headroom);
    CHECK(spare.allowed <= 1000 && spare.allowed > 0);
    // The first look may have what was before the thread ran, and the kernel counts in ticks of 10 ms.
    uint64_t deadline = ray__now_ns() + 10000000000u;
    while (spare.unused > 300) {
        CHECK(ray__now_ns() < deadline);
        ray__headroom_now(&headroom, ray__now_ns(), &spare);
    }
    atomic_store(&spinner_ends, true);
    pthread_join(spinner, NULL);
    // What was long ago is not told as of now.
    ray__headroom_now(&headroom, headroom.looked_ns + 10000000000u, &spare);
    CHECK(spare.unused == RAY__SPARE_UNKNOWN);
    ray__headroom_end(&headroom);
    CHECK(sched_setaffinity(0, sizeof before, &before) == 0);
}

// In a group of the kernel's, where this user may make one.
static void aRealQuotaIsFound(void) {
    if (!control_group_make(25000)) {
        fprintf(stderr, "    not tried: no right to make a control group\n");
        return;
    }
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        ray__headroom headroom;
        bool is_in = control_group_enter();
        ray__headroom_init(&headroom);
        ray__free_cores spare;
        ray__headroom_now(&headroom, ray__now_ns(), &spare);
        _exit(!is_in ? 2 : spare.allowed == 250 ? 0 : 1);
    }
    int status;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(control_group_remove());
    CHECK(WIFEXITED(status));
    CHECK_EQUAL(WEXITSTATUS(status), 0);
}

static void remove_all(void) {
    static const char *const files[] = {"mounts", "groups", "two/cpu.max", "two/pod/cpu.max", "two/pod/app/cpu.max", "two/pod/app/cpu.stat",
                                        "two/odd/cpu.max", "one/cpu.cfs_quota_us", "one/cpu.cfs_period_us", "one/app/cpu.cfs_quota_us",
                                        "one/app/cpu.cfs_period_us", "one/app/cpuacct.usage", "two/pod/app", "two/pod", "two/odd", "two",
                                        "one/app", "one", ""};
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        char path[512];
        path_of(path, sizeof path, files[i]);
        CHECK(remove(path) == 0);
    }
}

int main(void) {
    snprintf(folder, sizeof folder, "%s/headroom.XXXXXX", check_folder());
    CHECK(mkdtemp(folder) != NULL);
    make_folder("one");
    make_folder("two");
    write_mounts();
    RUN(theTightestGroupOfVersion2Counts);
    RUN(aGroupOfVersion1Counts);
    RUN(aGroupWhoseFolderIsNotThereIsTheMountItself);
    RUN(whatCannotBeReadIsNoLimit);
    RUN(whatIsLeftIsTheLeastOfWhatMachineAndQuotaLeave);
    RUN(ofOneCoreThatIsBusyNothingIsLeft);
    RUN(aRealQuotaIsFound);
    remove_all();
    return 0;
}
