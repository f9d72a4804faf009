// SPDX-License-Identifier: Apache-2.0
// Copy, move, protect, notice changes, lock: on real files in a directory of the test's own.
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "check.h"

static char root[80];
static char path_a[128], path_b[128];

static const char *in_root(char *path, const char *name) {
    snprintf(path, 128, "%s/%s", root, name);
    return path;
}

static void write_file(const char *path, size_t size, mode_t mode) {
    int file = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, mode);
    CHECK(file >= 0);
    char block[65536];
    for (size_t i = 0; i < sizeof block; i++) {
        block[i] = (char)(i * 31 + size);
    }
    for (size_t left = size; left > 0;) {
        size_t part = left < sizeof block ? left : sizeof block;
        CHECK_EQUAL(write(file, block, part), part);
        left -= part;
    }
    CHECK_EQUAL(fchmod(file, mode), 0);
    CHECK_EQUAL(close(file), 0);
}

static int same_bytes(const char *a, const char *b) {
    char command[512];
    snprintf(command, sizeof command, "cmp -s '%s' '%s'", a, b);
    return system(command) == 0;
}

static void look_says_what_is_wrong(void) {
    ray_file_info info;
    CHECK_STATUS(ray_file_look(in_root(path_a, "missing"), &info), RAY_FILE_NOT_FOUND);
    CHECK(strstr(ray_last_error_message(), "missing") != NULL);
    CHECK_STATUS(ray_file_look(root, &info), RAY_NOT_A_FILE);
    CHECK(strstr(ray_last_error_message(), "directory") != NULL);
    CHECK_EQUAL(mkfifo(in_root(path_a, "fifo"), 0600), 0);
    CHECK_STATUS(ray_file_look(path_a, &info), RAY_NOT_A_FILE);
    if (geteuid() != 0) {
        write_file(in_root(path_b, "closed"), 1, 0000);
        CHECK_STATUS(ray_file_look(path_b, &info), RAY_FILE_NOT_READABLE);
    }
}

static void copy_keeps_bytes_permissions_and_time(void) {
    size_t sizes[] = {0, 1, 65536, (5u << 20) + 3};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        write_file(in_root(path_a, "source"), sizes[i], 0751);
        ray_file_info info, copy;
        CHECK_OK(ray_file_copy(path_a, in_root(path_b, "copy"), 0, &info));
        CHECK_EQUAL(info.size_bytes, sizes[i]);
        CHECK_OK(ray_file_look(path_b, &copy));
        CHECK_EQUAL(copy.size_bytes, sizes[i]);
        CHECK_EQUAL(copy.mtime_ns, info.mtime_ns);
        CHECK_EQUAL(copy.mode, 0751);
        CHECK(same_bytes(path_a, path_b));
        CHECK_OK(ray_file_remove(path_b));
        CHECK_OK(ray_file_remove(path_b)); // none is not a failure
    }
}

static void copy_never_overwrites(void) {
    write_file(in_root(path_a, "source"), 10, 0600);
    write_file(in_root(path_b, "there"), 20, 0600);
    ray_file_info info;
    CHECK_STATUS(ray_file_copy(path_a, path_b, 0, &info), RAY_EXISTS);
    CHECK_STATUS(ray_file_move(path_a, path_b, 0), RAY_EXISTS);
    CHECK_OK(ray_file_look(path_b, &info));
    CHECK_EQUAL(info.size_bytes, 20);
    CHECK_OK(ray_file_remove(path_b));
}

static void copy_that_does_not_fit_says_needed_and_free_and_leaves_nothing(void) {
    write_file(in_root(path_a, "source"), 4096, 0600);
    ray_file_info info;
    CHECK_STATUS(ray_file_copy(path_a, in_root(path_b, "copy"), UINT64_MAX / 2, &info), RAY_OUT_OF_DISK);
    CHECK(strstr(ray_last_error_message(), "4096 bytes needed") != NULL);
    CHECK(access(path_b, F_OK) != 0);
}

static void full_disk_leaves_the_source_and_no_partial_file(void) {
    char mount_point[128];
    in_root(mount_point, "small");
    CHECK_EQUAL(mkdir(mount_point, 0700), 0);
    if (mount("raystore-test", mount_point, "tmpfs", 0, "size=1m") != 0) {
        fprintf(stderr, "  (not root: no small disk to fill)\n");
        return;
    }
    write_file(in_root(path_a, "source"), 3u << 20, 0600);
    char copy[192];
    snprintf(copy, sizeof copy, "%s/copy", mount_point);
    ray_file_info info;
    ray_status copied = ray_file_copy(path_a, copy, 0, &info);
    ray_status moved = ray_file_move(path_a, copy, 0);
    int left = access(copy, F_OK) == 0;
    umount(mount_point);
    CHECK_EQUAL(copied, RAY_OUT_OF_DISK);
    CHECK_EQUAL(moved, RAY_OUT_OF_DISK);
    CHECK(!left);
    CHECK_OK(ray_file_look(path_a, &info));
}

static void move_goes_across_file_systems(void) {
    char far[128];
    snprintf(far, sizeof far, "%s/moved", check_folder_in_memory());
    write_file(in_root(path_a, "source"), 100000, 0640);
    CHECK_OK(ray_file_move(path_a, far, 0));
    CHECK(access(path_a, F_OK) != 0);
    ray_file_info info;
    CHECK_OK(ray_file_look(far, &info));
    CHECK_EQUAL(info.size_bytes, 100000);
    CHECK_EQUAL(info.mode, 0640);
    CHECK_OK(ray_file_remove(far));
}

static void protect_takes_write_permission_only(void) {
    write_file(in_root(path_a, "source"), 1, 0751);
    CHECK_OK(ray_file_protect(path_a));
    ray_file_info info;
    CHECK_OK(ray_file_look(path_a, &info));
    CHECK_EQUAL(info.mode, 0551);
    CHECK_OK(ray_file_remove(path_a));
}

static void a_changed_file_is_noticed(void) {
    write_file(in_root(path_a, "watched"), 1000, 0600);
    ray_file_info info;
    CHECK_OK(ray_file_look(path_a, &info));
    CHECK_OK(ray_file_unchanged(path_a, info.size_bytes, info.mtime_ns));
    CHECK_STATUS(ray_file_unchanged(path_a, info.size_bytes + 1, info.mtime_ns), RAY_SOURCE_CHANGED);
    ray_file_info touched = info;
    touched.mtime_ns += 1;
    CHECK_OK(ray_file_dress(path_a, &touched));
    CHECK_STATUS(ray_file_unchanged(path_a, info.size_bytes, info.mtime_ns), RAY_SOURCE_CHANGED);
    CHECK_OK(ray_file_remove(path_a));
    CHECK_STATUS(ray_file_unchanged(path_a, info.size_bytes, info.mtime_ns), RAY_SOURCE_CHANGED);
}

static void directories_are_private_or_refused(void) {
    CHECK_OK(ray_directory_make_private(in_root(path_a, "one/two/three")));
    struct stat status;
    CHECK_EQUAL(stat(path_a, &status), 0);
    CHECK_EQUAL(status.st_mode & 0777, 0700);
    CHECK_OK(ray_directory_make_private(path_a));
    CHECK_EQUAL(chmod(path_a, 0755), 0);
    CHECK_STATUS(ray_directory_make_private(path_a), RAY_INVALID_ARGUMENT);
    CHECK(strstr(ray_last_error_message(), "chmod 700") != NULL);
    write_file(in_root(path_b, "plain"), 1, 0600);
    CHECK(ray_directory_make_private(path_b) != RAY_OK);
}

static void clear_follows_no_link(void) {
    char outside[128], link[128];
    CHECK_OK(ray_directory_make_private(in_root(path_a, "cleared/deep")));
    write_file(in_root(outside, "outside"), 1, 0600);
    CHECK_EQUAL(symlink(outside, in_root(link, "cleared/link")), 0);
    CHECK_EQUAL(symlink(root, in_root(link, "cleared/deep/link")), 0);
    CHECK_OK(ray_directory_clear(in_root(path_a, "cleared")));
    CHECK_EQUAL(access(outside, F_OK), 0);
    CHECK(ray_directory_remove_empty(path_a));
    CHECK(!ray_directory_remove_empty(root));
}

static void the_lock_is_one_process_wide_and_names_the_holder(void) {
    CHECK_OK(ray_directory_make_private(in_root(path_a, "locked")));
    int lock;
    CHECK_OK(ray_directory_lock(path_a, &lock));
    pid_t child = fork();
    if (child == 0) {
        int second;
        char expected[32];
        snprintf(expected, sizeof expected, "process %d", (int)getppid());
        ray_status status = ray_directory_lock(path_a, &second);
        _exit(status == RAY_IN_USE && strstr(ray_last_error_message(), expected) != NULL ? 0 : 1);
    }
    int code;
    CHECK_EQUAL(waitpid(child, &code, 0), child);
    CHECK_EQUAL(code, 0);
    ray_directory_unlock(lock);
    CHECK_OK(ray_directory_lock(path_a, &lock));
    ray_directory_unlock(lock);
}

static void a_files_lock_is_held_until_it_is_let_go_though_the_file_is_removed(void) {
    CHECK_OK(ray_directory_make_private(in_root(path_b, "spilled")));
    in_root(path_a, "spilled/.lock");
    int lock;
    int second;
    CHECK_OK(ray_file_lock(path_a, &lock));
    char expected[32];
    snprintf(expected, sizeof expected, "process %d of machine ", (int)getpid());
    for (int i = 0; i < 2; i++) {
        CHECK_STATUS(ray_file_lock(path_a, &second), RAY_IN_USE);
        CHECK(strstr(ray_last_error_message(), expected) != NULL && strstr(ray_last_error_message(), path_a) != NULL);
        CHECK_EQUAL(second, -1);
    }
    // Its holder ends: who comes then makes it anew, and holds what the next one meets.
    CHECK_EQUAL(unlink(path_a), 0);
    ray_directory_unlock(lock);
    CHECK_OK(ray_file_lock(path_a, &lock));
    CHECK_STATUS(ray_file_lock(path_a, &second), RAY_IN_USE);
    ray_directory_unlock(lock);
    CHECK_OK(ray_file_lock(path_a, &lock));
    ray_directory_unlock(lock);
    CHECK_STATUS(ray_file_lock(in_root(path_a, "missing/.lock"), &lock), RAY_SYSTEM);
}

// Who holds it removes it and lets go while others try: never do two of them hold what is there by that name.
static _Atomic int lock_holders;
static _Atomic int lock_turns;

static void *take_turns(void *unused) {
    (void)unused;
    while (lock_turns < 2000) {
        int lock;
        if (ray_file_lock(path_a, &lock) != RAY_OK) {
            sched_yield();
            continue;
        }
        CHECK_EQUAL(lock_holders++, 0);
        lock_turns++;
        sched_yield();
        lock_holders--;
        if (lock_turns % 2 == 0) {
            CHECK_EQUAL(unlink(path_a), 0);
        }
        ray_directory_unlock(lock);
    }
    return NULL;
}

static void a_lock_that_is_removed_by_its_holder_is_never_held_twice(void) {
    in_root(path_a, "spilled/.lock");
    pthread_t threads[3];
    for (int i = 0; i < 3; i++) {
        CHECK_EQUAL(pthread_create(&threads[i], NULL, take_turns, NULL), 0);
    }
    for (int i = 0; i < 3; i++) {
        pthread_join(threads[i], NULL);
    }
}

int main(void) {
    snprintf(root, sizeof root, "%s/raystore-file-test-XXXXXX", check_folder());
    CHECK(mkdtemp(root) != NULL);
    RUN(look_says_what_is_wrong);
    RUN(copy_keeps_bytes_permissions_and_time);
    RUN(copy_never_overwrites);
    RUN(copy_that_does_not_fit_says_needed_and_free_and_leaves_nothing);
    RUN(full_disk_leaves_the_source_and_no_partial_file);
    RUN(move_goes_across_file_systems);
    RUN(protect_takes_write_permission_only);
    RUN(a_changed_file_is_noticed);
    RUN(directories_are_private_or_refused);
    RUN(clear_follows_no_link);
    RUN(the_lock_is_one_process_wide_and_names_the_holder);
    RUN(a_files_lock_is_held_until_it_is_let_go_though_the_file_is_removed);
    RUN(a_lock_that_is_removed_by_its_holder_is_never_held_twice);
    CHECK_OK(ray_directory_clear(root));
    CHECK(ray_directory_remove_empty(root));
    return 0;
}
