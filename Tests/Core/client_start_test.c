// SPDX-License-Identifier: Apache-2.0
// Goal: one living node a socket; a dead one's socket is no obstacle; nothing is put where others could put a false one. Method: hosts
// started against every kind of thing that can be at their path.
#include <sys/file.h>

#include "client_host.h"

static struct node node;

static ray_status try_start(const char *path, ray_host **host) {
    ray_host_options options = node_host_options(&node);
    options.socket_path = path;
    return ray_host_start(&options, host);
}

static void make_stale_socket(const char *path) {
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    CHECK_EQUAL(bind(fd, (const struct sockaddr *)&address, sizeof address), 0);
    close(fd);
    CHECK_EQUAL(access(path, F_OK), 0);
}

static void the_socket_is_for_its_owner_alone(void) {
    struct stat info;
    char inner[96];
    snprintf(inner, sizeof inner, "%s/node", node.directory);
    CHECK_EQUAL(stat(inner, &info), 0);
    CHECK_EQUAL(info.st_mode & 07777, 0700);
    CHECK_EQUAL(stat(node.path, &info), 0);
    CHECK_EQUAL(info.st_mode & 07777, 0600);
}

static void a_living_node_is_not_replaced(void) {
    ray_host *second;
    CHECK_STATUS(try_start(node.path, &second), RAY_ADDRESS_IN_USE);
    CHECK(second == NULL);
    CHECK(strstr(ray_last_error_message(), node.path) != NULL);
    ray_client_close(connect_to(node.path));
    // The slot is free before this host tells of it, and the next test's host takes it for another client.
    EVENTUALLY(node_read(&node, &node.detached_count) == node_read(&node, &node.attached_count));
}

static void a_stale_socket_is_replaced(void) {
    char path[120];
    snprintf(path, sizeof path, "%s/stale", node.directory);
    make_stale_socket(path);
    ray_client *client;
    CHECK_STATUS(try_connect(path, &client), RAY_NOT_RUNNING);
    CHECK(strstr(ray_last_error_message(), path) != NULL);
    ray_host *host;
    CHECK_OK(try_start(path, &host));
    struct ray_client *attached = NULL;
    pthread_mutex_lock(&node.lock);
    node.silent = true; // its callbacks answer through the other host
    pthread_mutex_unlock(&node.lock);
    ray_client_options options = {.struct_size = sizeof options, .socket_path = path, .timeout_ns = 20000000};
    CHECK_STATUS(ray_client_connect(&options, &attached), RAY_TIMED_OUT); // somebody is there
    ray_host_stop(host);
    pthread_mutex_lock(&node.lock);
    node.silent = false;
    pthread_mutex_unlock(&node.lock);
    CHECK_EQUAL(access(path, F_OK), -1);
}

static void what_is_no_socket_is_left_alone(void) {
    char path[120];
    snprintf(path, sizeof path, "%s/file", node.directory);
    int fd = open(path, O_CREAT | O_WRONLY | O_CLOEXEC, 0600);
    CHECK_EQUAL(write(fd, "precious", 8), 8);
    close(fd);
    ray_host *host;
    CHECK_STATUS(try_start(path, &host), RAY_ADDRESS_IN_USE);
    CHECK(strstr(ray_last_error_message(), "not a socket") != NULL);
    struct stat info;
    CHECK_EQUAL(stat(path, &info), 0);
    CHECK_EQUAL(info.st_size, 8);
    ray_client *client;
    CHECK_STATUS(try_connect(path, &client), RAY_NOT_RUNNING);
    unlink(path);
}

static void stopping_removes_its_own_socket_only(void) {
    char path[120];
    snprintf(path, sizeof path, "%s/mine", node.directory);
    ray_host *host;
    CHECK_OK(try_start(path, &host));
    CHECK_EQUAL(unlink(path), 0);
    make_stale_socket(path); // somebody else's
    ray_host_stop(host);
    CHECK_EQUAL(access(path, F_OK), 0);
    unlink(path);
    ray_host_stop(NULL);
}

static void a_directory_that_others_can_write_is_refused(void) {
    char directory[100];
    char path[120];
    snprintf(directory, sizeof directory, "%s/open", node.directory);
    snprintf(path, sizeof path, "%s/socket", directory);
    CHECK_EQUAL(mkdir(directory, 0700), 0);
    ray_host *host;
    static const mode_t modes[] = {0720, 0702, 0777};
    for (int i = 0; i < 3; i++) {
        CHECK_EQUAL(chmod(directory, modes[i]), 0);
        CHECK_STATUS(try_start(path, &host), RAY_INVALID_ARGUMENT);
        CHECK(strstr(ray_last_error_message(), directory) != NULL);
    }
    CHECK_EQUAL(chmod(directory, 0755), 0); // others may look, not write
    CHECK_OK(try_start(path, &host));
    ray_host_stop(host);
    if (geteuid() == 0) {
        CHECK_EQUAL(chown(directory, 65534, 65534), 0);
        CHECK_STATUS(try_start(path, &host), RAY_INVALID_ARGUMENT);
        CHECK(strstr(ray_last_error_message(), "65534") != NULL);
    }
    CHECK_EQUAL(rmdir(directory), 0);
    snprintf(path, sizeof path, "%s/none/none/socket", node.directory);
    CHECK_STATUS(try_start(path, &host), RAY_SYSTEM);
    CHECK_EQUAL(ray_last_error_errno(), ENOENT);
}

static void a_path_that_is_too_long_is_named(void) {
    char path[200];
    memset(path, 'x', sizeof path);
    memcpy(path, "/tmp/", 5);
    path[108] = '\0';
    ray_host *host;
    CHECK_STATUS(try_start(path, &host), RAY_INVALID_ARGUMENT);
    CHECK(strstr(ray_last_error_message(), "1 to 107") != NULL);
    CHECK_STATUS(try_start("", &host), RAY_INVALID_ARGUMENT);
    ray_client *client;
    CHECK_STATUS(try_connect("/nowhere/at/all", &client), RAY_NOT_RUNNING);
    CHECK_STATUS(try_connect("/dev/null/x", &client), RAY_NOT_RUNNING);
}

static void incomplete_options_are_refused(void) {
    ray_host *host;
    ray_host_options options = node_host_options(&node);
    options.struct_size = 8;
    CHECK_STATUS(ray_host_start(&options, &host), RAY_INVALID_ARGUMENT);
    options = node_host_options(&node);
    options.callbacks.detached = NULL;
    CHECK_STATUS(ray_host_start(&options, &host), RAY_INVALID_ARGUMENT);
    options = node_host_options(&node);
    options.store = NULL;
    CHECK_STATUS(ray_host_start(&options, &host), RAY_INVALID_ARGUMENT);
}

// Eight processes start a node at one path with a stale socket in it: exactly one serves there.
static char contended[120];

static void contend(const char *path, int say) {
    ray_store_options options = {.struct_size = sizeof options, .capacity_bytes = 1 << 20};
    CHECK_OK(ray_store_create(&options, &node.store));
    ray_host *host;
    ray_status status = try_start(path, &host);
    CHECK(status == RAY_OK || status == RAY_ADDRESS_IN_USE);
    child_say(say, status == RAY_OK ? 'w' : 'l');
    if (status == RAY_OK) {
        pause();
    }
}

static void of_many_starting_at_once_one_serves(struct child *children) {
    make_stale_socket(contended);
    for (int i = 0; i < 8; i++) {
        child_go(&children[i]);
    }
    int winners = 0;
    for (int i = 0; i < 8; i++) {
        winners += child_hear(&children[i]) == 'w';
    }
    CHECK_EQUAL(winners, 1);
    for (int i = 0; i < 8; i++) {
        kill(children[i].pid, SIGKILL);
        child_end(&children[i]);
    }
    unlink(contended);
}

int main(void) {
    node_prepare(&node);
    int before = count_fds();
    struct child children[8];
    snprintf(contended, sizeof contended, "%s/contended", node.directory);
    for (int i = 0; i < 8; i++) {
        children[i] = spawn(contend, contended);
    }
    fprintf(stderr, "  of_many_starting_at_once_one_serves\n");
    of_many_starting_at_once_one_serves(children);
    node_start(&node);
    RUN(the_socket_is_for_its_owner_alone);
    RUN(a_living_node_is_not_replaced);
    RUN(a_stale_socket_is_replaced);
    RUN(what_is_no_socket_is_left_alone);
    RUN(stopping_removes_its_own_socket_only);
    RUN(a_directory_that_others_can_write_is_refused);
    RUN(a_path_that_is_too_long_is_named);
    RUN(incomplete_options_are_refused);
    node_stop(&node);
    CHECK_EQUAL(count_fds(), before);
    return 0;
}
