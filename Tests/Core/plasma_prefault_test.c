// SPDX-License-Identifier: Apache-2.0
// Memory that is there before it is asked for: taken in the background while others work, refused with an error where a machine or a
// container has too little, found again when it was freed.
#include <dirent.h>
#include <errno.h>
#include <sched.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "base/shm_internal.h"
#include "plasma/store_internal.h"
#include "plasma_fixture.h"

#define MIB ((uint64_t)1 << 20)
#define HUGE_PAGE (2 * MIB)
#ifndef MADV_COLLAPSE
#define MADV_COLLAPSE 25
#endif

static uint64_t now_ms(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000 + (uint64_t)time.tv_nsec / 1000000;
}

// Until so much is reserved. False when it never is: a watchdog, no measure.
static bool comes_to(ray_store *store, uint64_t reserved_bytes) {
    uint64_t deadline = now_ms() + 60000;
    while (stats_of(store).reserved_bytes < reserved_bytes) {
        if (now_ms() > deadline) {
            return false;
        }
        usleep(200);
    }
    return true;
}

static void fill(uint8_t *data, uint64_t size, uint64_t seed) {
    for (uint64_t i = 0; i < size; i += 8) {
        uint64_t word = (seed + i) * 0x9e3779b97f4a7c15u;
        memcpy(data + i, &word, size - i < 8 ? size - i : 8);
    }
}

static bool is_filled(const uint8_t *data, uint64_t size, uint64_t seed) {
    for (uint64_t i = 0; i < size; i += 8) {
        uint64_t word = (seed + i) * 0x9e3779b97f4a7c15u;
        if (memcmp(data + i, &word, size - i < 8 ? size - i : 8) != 0) {
            return false;
        }
    }
    return true;
}

// ---- mappings --------------------------------------------------------------------------------------------------------------

static void mappings_begin_where_a_huge_page_may(void) {
    ray_store *node = make_store(5 * MIB, 64);
    ray_store *client = attach_client(node);
    CHECK_EQUAL((uintptr_t)node->readable % HUGE_PAGE, 0);
    CHECK_EQUAL((uintptr_t)node->writable % HUGE_PAGE, 0);
    CHECK_EQUAL((uintptr_t)client->readable % HUGE_PAGE, 0);
    CHECK_EQUAL((uintptr_t)client->writable % HUGE_PAGE, 0);
    ray_store_close(client);
    check_and_close(node);
}

// Whether this kernel makes a huge page of shared memory when it is asked to.
static bool kernel_gives_huge_pages(void) {
    int fd;
    void *mapped;
    CHECK_OK(ray__segment_create("probe", HUGE_PAGE, &fd));
    CHECK_OK(ray__segment_map(fd, HUGE_PAGE, true, &mapped));
    *(uint8_t *)mapped = 1;
    bool given = madvise(mapped, HUGE_PAGE, MADV_COLLAPSE) == 0;
    ray__segment_unmap(mapped, HUGE_PAGE);
    ray__fd_close(fd);
    return given;
}

// KiB of a mapping of this process that huge entries of its page tables lead to.
static uint64_t huge_kib_at(const void *address) {
    FILE *file = fopen("/proc/self/smaps", "re");
    CHECK(file != NULL);
    char line[512];
    uint64_t kib = 0;
    bool here = false;
    while (fgets(line, sizeof line, file) != NULL) {
        unsigned long long begin;
        unsigned long long end;
        if (sscanf(line, "%llx-%llx ", &begin, &end) == 2) {
            here = (uintptr_t)address >= begin && (uintptr_t)address < end;
        } else if (here && strncmp(line, "ShmemPmdMapped:", 15) == 0) {
            kib += strtoull(line + 15, NULL, 10);
        }
    }
    fclose(file);
    return kib;
}

static void prefaulted_memory_is_found_in_huge_pages_by_others(void) {
    if (!kernel_gives_huge_pages()) {
        fprintf(stderr, "    skipped: this kernel gives no huge pages for shared memory\n");
        return;
    }
    ray_store *node = make_store(16 * MIB, 64);
    CHECK_OK(ray_store_prefault(node, 16 * MIB));
    ray_store *client = attach_client(node);
    ray_object_id id = id_of(1);
    ray_object_writer writer;
    CHECK_EQUAL(huge_kib_at(client->writable), 0);
    CHECK_OK(ray_object_create(client, &id, 8 * MIB, 0, 0, &writer));
    CHECK_EQUAL(huge_kib_at(client->writable), 8 << 10); // before anybody wrote
    fill(writer.data, 8 * MIB, 5);
    CHECK_OK(ray_object_seal(client, &writer));
    ray_object_view view;
    CHECK_OK(ray_object_get(node, &id, 0, &view));
    CHECK(is_filled(view.data, view.data_size, 5));
    ray_object_release(node, &view);
    ray_store_close(client);
    check_and_close(node);
}

// ---- in the background -----------------------------------------------------------------------------------------------------

static void the_background_reserves_what_is_asked_and_no_more(void) {
    ray_store *node = make_store(48 * MIB, 64);
    CHECK_OK(ray_store_prefault_start(node, 10 * MIB + 1));
    CHECK(comes_to(node, 10 * MIB + 1));
    CHECK_STATUS(ray_store_prefault_start(node, 20 * MIB), RAY_IN_USE);
    ray_store_prefault_stop(node);
    CHECK_EQUAL(stats_of(node).reserved_bytes, 10 * MIB + 4096);
    CHECK_OK(ray_store_prefault_start(node, RAY_PREFAULT_USUAL));
    CHECK(comes_to(node, 48 * MIB));
    ray_store_prefault_stop(node);
    ray_store_prefault_stop(node); // nothing to stop
    CHECK_EQUAL(stats_of(node).reserved_bytes, 48 * MIB);
    check_and_close(node);
}

static void a_stop_ends_it_before_its_end(void) {
    ray_store *node = make_store(1ull << 42, 64);
    CHECK_OK(ray_store_prefault_start(node, 8ull << 30));
    CHECK(comes_to(node, 1));
    ray_store_prefault_stop(node);
    uint64_t reserved = stats_of(node).reserved_bytes;
    CHECK(reserved < 8ull << 30 && reserved % (8 * MIB) == 0); // whole steps
    CHECK_OK(ray_store_prefault_start(node, 8ull << 30));
    ray_store_close(node); // ends it as well
}

// ---- while others work, and die --------------------------------------------------------------------------------------------

enum { CLIENTS = 3, KILLS = 20, STORES = 2 };

static void client_body(int meta_fd, int data_fd, uint32_t slot, uint64_t seed) {
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    ray_store *store = attach_slot(meta_fd, data_fd, slot);
    for (uint64_t round = 0;; round++) {
        uint64_t size = 1 + check_random(&seed) % (12 * MIB);
        ray_object_id id = id_of((uint64_t)slot << 32 | (uint32_t)round);
        uint8_t *data = malloc(size);
        CHECK(data != NULL);
        fill(data, size, size);
        ray_status status = ray_object_put(store, &id, data, size, NULL, 0, RAY_CREATE_WITH_REF);
        free(data);
        if (status != RAY_OK) {
            CHECK_EQUAL(status, RAY_STORE_FULL); // the dead left something that the node has yet to take back
            continue;
        }
        ray_object_view view;
        CHECK_OK(ray_object_get(store, &id, 0, &view));
        CHECK(view.data_size == size && is_filled(view.data, size, size));
        ray_object_release(store, &view);
        CHECK_OK(ray_ref_release(store, &id));
    }
}

static pid_t start_client(ray_store *node, uint32_t *slot, uint64_t seed) {
    CHECK_OK(ray_store_slot_claim(node, getpid(), slot));
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        client_body(ray_store_meta_fd(node), ray_store_data_fd(node), *slot, seed);
        _exit(0);
    }
    return pid;
}

static void end_client(ray_store *node, pid_t pid, uint32_t slot) {
    kill(pid, SIGKILL);
    int how;
    CHECK_EQUAL(waitpid(pid, &how, 0), pid);
    CHECK(WIFSIGNALED(how) && WTERMSIG(how) == SIGKILL); // else it found something wrong
    ray_reap_report report;
    CHECK_OK(ray_store_slot_reap(node, slot, &report));
}

static uint64_t seed_of_run;

static void clients_that_work_and_die_meanwhile_find_their_bytes(void) {
    for (int round = 0; round < STORES; round++) {
        ray_store *node = make_store(256 * MIB, 1024);
        pid_t pids[CLIENTS];
        uint32_t slots[CLIENTS];
        for (int i = 0; i < CLIENTS; i++) {
            pids[i] = start_client(node, &slots[i], check_random(&seed_of_run));
        }
        for (int killed = 0; killed < KILLS; killed++) {
            // Ends and begins as the clients come and go, and at last runs to its end.
            CHECK_OK(ray_store_prefault_start(node, (uint64_t)(killed + 1) * 256 * MIB / KILLS));
            usleep((useconds_t)(check_random(&seed_of_run) % 20000));
            int i = (int)(check_random(&seed_of_run) % CLIENTS);
            end_client(node, pids[i], slots[i]);
            pids[i] = start_client(node, &slots[i], check_random(&seed_of_run));
            if (killed == KILLS - 1) {
                CHECK(comes_to(node, 256 * MIB));
            }
            ray_store_prefault_stop(node);
        }
        for (int i = 0; i < CLIENTS; i++) {
            end_client(node, pids[i], slots[i]);
        }
        CHECK_EQUAL(stats_of(node).reserved_bytes, 256 * MIB);
        CHECK_EQUAL(stats_of(node).used_bytes, 0);
        CHECK_EQUAL(stats_of(node).entry_count, 0);
        check_and_close(node);
    }
}

// ---- memory that was freed -------------------------------------------------------------------------------------------------

static void put_of_size(ray_store *store, uint64_t number, uint64_t size) {
    ray_object_id id = id_of(number);
    ray_object_writer writer;
    CHECK_OK(ray_object_create(store, &id, size, 0, 0, &writer));
    fill(writer.data, size, number);
    CHECK_OK(ray_object_seal(store, &writer));
}

static void delete_number(ray_store *store, uint64_t number) {
    ray_object_id id = id_of(number);
    CHECK_OK(ray_object_delete(store, &id, RAY_OBJECT_FREED));
}

// Sizes that lie between two classes of the allocator, where a block of exactly that size is not sure to be found.
static void freed_memory_is_taken_before_memory_never_used(void) {
    static const uint64_t sizes[] = {5 * MIB + 3 * 4096, 100000, 64 << 10, 20 * MIB + 77 * 4096};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        ray_store *node = make_store(512 * MIB, 64);
        put_of_size(node, 1, sizes[i]);
        put_of_size(node, 2, 4096); // so that the freed one does not join what is free behind it
        uint64_t reserved = stats_of(node).reserved_bytes;
        for (uint64_t number = 3; number < 50; number++) {
            delete_number(node, number == 3 ? 1 : number - 1);
            put_of_size(node, number, sizes[i]);
            put_of_size(node, 100 + number, 64);
        }
        CHECK_EQUAL(stats_of(node).reserved_bytes, reserved);
        check_and_close(node);
    }
}

// ---- limits of control groups ----------------------------------------------------------------------------------------------

static void write_text(const char *path, const char *text) {
    FILE *file = fopen(path, "we");
    CHECK(file != NULL);
    CHECK(fputs(text, file) >= 0);
    CHECK_EQUAL(fclose(file), 0);
}

static void write_number(const char *path, uint64_t number) {
    char text[32];
    snprintf(text, sizeof text, "%" PRIu64 "\n", number);
    write_text(path, text);
}

// Runs a case in a process that sees an empty /sys/fs/cgroup and the given /proc/self/cgroup. Real groups with limits would need the
// machine's hierarchy, which is whoever's that runs the test.
static void in_a_machine_of_groups(const char *membership, void (*body)(void)) {
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
            mount("tmpfs", "/sys/fs/cgroup", "tmpfs", 0, "mode=755") != 0) {
            fprintf(stderr, "    skipped: no mount namespace to be had (%s)\n", strerror(errno));
            _exit(77);
        }
        write_text("/sys/fs/cgroup/membership", membership);
        CHECK_EQUAL(mount("/sys/fs/cgroup/membership", "/proc/self/cgroup", NULL, MS_BIND, NULL), 0);
        body();
        _exit(0);
    }
    int how;
    CHECK_EQUAL(waitpid(pid, &how, 0), pid);
    CHECK(WIFEXITED(how) && (WEXITSTATUS(how) == 0 || WEXITSTATUS(how) == 77));
}

static ray_status try_to_put(ray_store *store, uint64_t size) {
    ray_object_id id = id_of(1);
    ray_object_writer writer;
    ray_status status = ray_object_create(store, &id, size, 0, 0, &writer);
    if (status == RAY_OK) {
        ray_object_abort(store, &writer);
    }
    return status;
}

// Until the background thread sleeps: it does so when there is nothing that it could take now. False when it never does: a watchdog.
static bool background_comes_to_rest(void) {
    uint64_t deadline = now_ms() + 60000;
    for (; now_ms() < deadline; usleep(200)) {
        DIR *threads = opendir("/proc/self/task");
        CHECK(threads != NULL);
        bool at_rest = false;
        for (struct dirent *one; (one = readdir(threads)) != NULL;) {
            char path[300];
            char name[32] = "";
            char state = 0;
            snprintf(path, sizeof path, "/proc/self/task/%s/stat", one->d_name);
            FILE *file = fopen(path, "re");
            if (file != NULL && fscanf(file, "%*d (%31[^)]) %c", name, &state) == 2) {
                at_rest = at_rest || (strcmp(name, "ray-prefault") == 0 && state == 'S');
            }
            if (file != NULL) {
                fclose(file);
            }
        }
        closedir(threads);
        if (at_rest) {
            return true;
        }
    }
    return false;
}

static void limits_of_version_2(void) {
    CHECK_EQUAL(mkdir("/sys/fs/cgroup/pod", 0755), 0);
    CHECK_EQUAL(mkdir("/sys/fs/cgroup/pod/box", 0755), 0);
    write_text("/sys/fs/cgroup/pod/box/memory.max", "max\n");
    write_number("/sys/fs/cgroup/pod/box/memory.current", 80 * MIB);
    ray_store *node = make_store(256 * MIB, 64);
    CHECK_OK(try_to_put(node, 4 * MIB)); // no limit anywhere
    uint64_t reserved = stats_of(node).reserved_bytes;

    // The limit of the group above: of 100 MiB 5 stay free for others, and 80 are used.
    write_number("/sys/fs/cgroup/pod/memory.max", 100 * MIB);
    write_number("/sys/fs/cgroup/pod/memory.current", 80 * MIB);
    CHECK_STATUS(try_to_put(node, 15 * MIB + 8192 + reserved), RAY_STORE_FULL);
    CHECK(strstr(ray_last_error_message(), "/sys/fs/cgroup/pod") != NULL);
    CHECK_EQUAL(stats_of(node).reserved_bytes, reserved);
    CHECK_EQUAL(stats_of(node).used_bytes, 0);
    // In steps, each of which must find room for itself.
    write_number("/sys/fs/cgroup/pod/memory.current", 90 * MIB);
    CHECK_STATUS(ray_store_prefault(node, 256 * MIB), RAY_OUT_OF_MEMORY);
    CHECK_EQUAL(stats_of(node).reserved_bytes, reserved);
    write_number("/sys/fs/cgroup/pod/memory.current", 80 * MIB);

    // What is cached of files can be given up.
    write_text("/sys/fs/cgroup/pod/memory.stat", "anon 1\ninactive_file 16777216\nactive_file 4194304\n");
    CHECK_OK(try_to_put(node, 15 * MIB + 8192 + reserved));
    reserved = stats_of(node).reserved_bytes;

    // Its own group has less still.
    write_number("/sys/fs/cgroup/pod/box/memory.max", 81 * MIB);
    CHECK_STATUS(try_to_put(node, reserved + 4096), RAY_STORE_FULL);
    CHECK(strstr(ray_last_error_message(), "/sys/fs/cgroup/pod/box") != NULL);
    CHECK_OK(try_to_put(node, reserved)); // what is there already needs nothing
    write_number("/sys/fs/cgroup/pod/box/memory.current", 0);

    // The usual share is a quarter of what is left in the narrowest.
    write_number("/sys/fs/cgroup/pod/box/memory.max", 800 * MIB);
    write_number("/sys/fs/cgroup/pod/memory.max", 400 * MIB); // 20 for others, 80 used less 20 cached: 320 left
    CHECK_OK(ray_store_prefault_start(node, RAY_PREFAULT_USUAL));
    CHECK(comes_to(node, 80 * MIB));
    CHECK_EQUAL(stats_of(node).reserved_bytes, 80 * MIB);
    // When nobody creates, it goes on with what objects have come to take.
    put_of_size(node, 7, 40 * MIB);
    CHECK(comes_to(node, 120 * MIB));
    ray_store_prefault_stop(node);
    CHECK_EQUAL(stats_of(node).reserved_bytes, 120 * MIB);
    // And when memory that was short has come back.
    write_number("/sys/fs/cgroup/pod/memory.current", 394 * MIB); // 6 left: not a step
    CHECK_OK(ray_store_prefault_start(node, 200 * MIB));
    CHECK(background_comes_to_rest()); // it has tried, and found too little
    CHECK_EQUAL(stats_of(node).reserved_bytes, 120 * MIB);
    write_number("/sys/fs/cgroup/pod/memory.current", 80 * MIB);
    CHECK(comes_to(node, 200 * MIB));
    ray_store_prefault_stop(node);
    CHECK_EQUAL(stats_of(node).reserved_bytes, 200 * MIB);
    check_and_close(node);
}

static void limits_of_version_1(void) {
    CHECK_EQUAL(mkdir("/sys/fs/cgroup/memory", 0755), 0);
    write_number("/sys/fs/cgroup/memory/memory.limit_in_bytes", 0x7ffffffffffff000u); // its word for none
    write_number("/sys/fs/cgroup/memory/memory.usage_in_bytes", 90 * MIB);
    ray_store *node = make_store(256 * MIB, 64);
    CHECK_OK(try_to_put(node, 4 * MIB));
    // The path that the process is told is not mounted in its container; the container's limit is at the root.
    write_number("/sys/fs/cgroup/memory/memory.limit_in_bytes", 100 * MIB);
    CHECK_STATUS(try_to_put(node, 32 * MIB), RAY_STORE_FULL);
    CHECK(strstr(ray_last_error_message(), "/sys/fs/cgroup/memory") != NULL);
    write_text("/sys/fs/cgroup/memory/memory.stat", "cache 7\ntotal_inactive_file 50000000\ntotal_active_file 0\n");
    CHECK_OK(try_to_put(node, 32 * MIB));
    check_and_close(node);
}

static void a_containers_limit_is_an_error_and_no_kill(void) {
    in_a_machine_of_groups("0::/pod/box\n", limits_of_version_2);
    in_a_machine_of_groups("9:name=systemd:/\n5:cpu,memory:/kube/pod7\n0::/\n", limits_of_version_1);
}

int main(void) {
    seed_of_run = check_seed();
    RUN(mappings_begin_where_a_huge_page_may);
    RUN(prefaulted_memory_is_found_in_huge_pages_by_others);
    RUN(the_background_reserves_what_is_asked_and_no_more);
    RUN(a_stop_ends_it_before_its_end);
    RUN(clients_that_work_and_die_meanwhile_find_their_bytes);
    RUN(freed_memory_is_taken_before_memory_never_used);
    RUN(a_containers_limit_is_an_error_and_no_kill);
    return 0;
}
