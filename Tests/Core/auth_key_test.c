// SPDX-License-Identifier: Apache-2.0
// Goal: a key file is made whole or not at all, and one that others could read or change is not used.
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include "check.h"

static char directory[80];
static char path[128];

static void write_file(const char *text, mode_t mode) {
    unlink(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    CHECK(fd >= 0);
    CHECK_EQUAL(write(fd, text, strlen(text)), strlen(text));
    CHECK_EQUAL(fchmod(fd, mode), 0);
    close(fd);
}

static int count_files(void) {
    DIR *listing = opendir(directory);
    CHECK(listing != NULL);
    int count = 0;
    for (struct dirent *entry = readdir(listing); entry != NULL; entry = readdir(listing)) {
        count += entry->d_name[0] != '.';
    }
    closedir(listing);
    return count;
}

static void a_made_key_is_read_back(void) {
    ray_key made, loaded, none = {{0}};
    mode_t before = umask(0277); // even a umask that takes the owner's bits must leave a usable file
    CHECK_OK(ray_key_create(path, &made));
    umask(before);
    CHECK_OK(ray_key_load(path, &loaded));
    CHECK(memcmp(&made, &loaded, sizeof made) == 0);
    CHECK(memcmp(&made, &none, sizeof made) != 0);
    struct stat info;
    CHECK_EQUAL(stat(path, &info), 0);
    CHECK_EQUAL(info.st_mode & 07777, 0600);
    CHECK_EQUAL(info.st_size, 65);
    CHECK_EQUAL(count_files(), 1);
}

static void an_existing_file_is_never_replaced(void) {
    ray_key first, second, loaded;
    unlink(path);
    CHECK_OK(ray_key_create(path, &first));
    CHECK_STATUS(ray_key_create(path, &second), RAY_EXISTS);
    CHECK(strstr(ray_last_error_message(), path) != NULL);
    CHECK_OK(ray_key_load(path, &loaded));
    CHECK(memcmp(&first, &loaded, sizeof first) == 0);
    CHECK_EQUAL(count_files(), 1);
}

static void of_many_makers_at_once_one_wins(void) {
    unlink(path);
    pid_t makers[8];
    for (int i = 0; i < 8; i++) {
        makers[i] = fork();
        CHECK(makers[i] >= 0);
        if (makers[i] == 0) {
            ray_key key;
            ray_status status = ray_key_create(path, &key);
            _exit(status == RAY_OK ? 0 : status == RAY_EXISTS ? 1 : 2);
        }
    }
    int winners = 0;
    for (int i = 0; i < 8; i++) {
        int ended = 0;
        CHECK_EQUAL(waitpid(makers[i], &ended, 0), makers[i]);
        CHECK(WIFEXITED(ended) && WEXITSTATUS(ended) <= 1);
        winners += WEXITSTATUS(ended) == 0;
    }
    CHECK_EQUAL(winners, 1);
    CHECK_EQUAL(count_files(), 1);
}

static void a_missing_directory_is_named(void) {
    char nowhere[160];
    snprintf(nowhere, sizeof nowhere, "%s/none/key", directory);
    ray_key key;
    CHECK_STATUS(ray_key_create(nowhere, &key), RAY_SYSTEM);
    CHECK_EQUAL(ray_last_error_errno(), ENOENT);
    CHECK_STATUS(ray_key_create("", &key), RAY_INVALID_ARGUMENT);
    CHECK_STATUS(ray_key_load(nowhere, &key), RAY_KEY_UNUSABLE);
    CHECK(strstr(ray_last_error_message(), nowhere) != NULL);
}

#define DIGITS "000102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F"

static void only_a_key_is_taken_for_a_key(void) {
    static const struct {
        const char *text;
        ray_status status;
    } cases[] = {
        {DIGITS "\n", RAY_OK},
        {DIGITS, RAY_OK},
        {"", RAY_KEY_UNUSABLE},
        {"\n", RAY_KEY_UNUSABLE},
        {DIGITS "\n\n", RAY_KEY_UNUSABLE},
        {DIGITS "0\n", RAY_KEY_UNUSABLE},
        {DIGITS " ", RAY_KEY_UNUSABLE},
        {"00010203040506", RAY_KEY_UNUSABLE},
        {"g00102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1F\n", RAY_KEY_UNUSABLE},
        {"000102030405060708090a0b0c0d0e0f101112131415161718191A1B1C1D1E1\n\n", RAY_KEY_UNUSABLE},
    };
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        write_file(cases[i].text, 0600);
        ray_key key;
        fprintf(stderr, "    case %zu\n", i);
        CHECK_STATUS(ray_key_load(path, &key), cases[i].status);
        for (int b = 0; cases[i].status == RAY_OK && b < RAY_KEY_SIZE; b++) {
            CHECK_EQUAL(key.bytes[b], b);
        }
    }
}

static void a_file_that_others_can_use_is_refused(void) {
    ray_key key;
    static const mode_t open_modes[] = {0640, 0604, 0620, 0602, 0610, 0601, 0644};
    for (size_t i = 0; i < sizeof open_modes / sizeof open_modes[0]; i++) {
        write_file(DIGITS "\n", open_modes[i]);
        CHECK_STATUS(ray_key_load(path, &key), RAY_KEY_UNUSABLE);
        CHECK(strstr(ray_last_error_message(), "chmod 600") != NULL);
    }
    write_file(DIGITS "\n", 0400);
    CHECK_OK(ray_key_load(path, &key));
}

static void what_is_no_regular_file_is_refused(void) {
    ray_key key;
    CHECK_STATUS(ray_key_load(directory, &key), RAY_KEY_UNUSABLE);
    unlink(path);
    CHECK_EQUAL(mkfifo(path, 0600), 0);
    CHECK_STATUS(ray_key_load(path, &key), RAY_KEY_UNUSABLE); // and does not wait for a writer
    CHECK(strstr(ray_last_error_message(), "regular file") != NULL);
    unlink(path);
}

static void a_file_of_another_user_is_refused(void) {
    if (geteuid() != 0) {
        fprintf(stderr, "    not root: left out\n");
        return;
    }
    write_file(DIGITS "\n", 0600);
    CHECK_EQUAL(chown(path, 65534, 65534), 0);
    ray_key key;
    CHECK_STATUS(ray_key_load(path, &key), RAY_KEY_UNUSABLE);
    CHECK(strstr(ray_last_error_message(), "belongs to user 65534") != NULL);
}

int main(void) {
    snprintf(directory, sizeof directory, "%s/raystore-key-test-XXXXXX", check_folder());
    CHECK(mkdtemp(directory) != NULL);
    snprintf(path, sizeof path, "%s/cluster.key", directory);
    RUN(a_made_key_is_read_back);
    RUN(an_existing_file_is_never_replaced);
    RUN(of_many_makers_at_once_one_wins);
    RUN(a_missing_directory_is_named);
    RUN(only_a_key_is_taken_for_a_key);
    RUN(a_file_that_others_can_use_is_refused);
    RUN(what_is_no_regular_file_is_refused);
    RUN(a_file_of_another_user_is_refused);
    unlink(path);
    CHECK_EQUAL(rmdir(directory), 0);
    return 0;
}
