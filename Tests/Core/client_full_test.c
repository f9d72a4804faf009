// SPDX-License-Identifier: Apache-2.0
// Goal: 256 processes are attached to one node, the 257th is refused with its error, and when all of them die at once nothing of what
// they held is left. Method: processes made before any handle exists attach through the socket and pin and refer to one object.
#include "client_host.h"

#define CLIENTS 256

static struct node node;
static struct {
    pid_t pids[CLIENTS];
    int go[2];   // a byte for each that may begin
    int said[2]; // a byte from each
} crowd;

static ray_object_id common_id(void) {
    ray_task_id task = ray_task_id_driver(1);
    return ray_object_id_make(&task, 1);
}

static void attach_and_hold(void) {
    char byte;
    if (read(crowd.go[0], &byte, 1) != 1) {
        _exit(1);
    }
    ray_client *client = connect_to(node.path);
    ray_object_id id = common_id();
    ray_object_view view;
    CHECK_OK(ray_ref_acquire(ray_client_store(client), &id));
    CHECK_OK(ray_client_get(client, &id, 0, &view));
    CHECK_EQUAL(view.data_size, 6);
    CHECK_EQUAL(memcmp(view.data, "common", 6), 0);
    child_say(crowd.said[1], 'p');
    pause();
    _exit(1);
}

static void gather_crowd(void) {
    CHECK_EQUAL(pipe2(crowd.go, O_CLOEXEC), 0);
    CHECK_EQUAL(pipe2(crowd.said, O_CLOEXEC), 0);
    for (int i = 0; i < CLIENTS; i++) {
        crowd.pids[i] = fork();
        CHECK(crowd.pids[i] >= 0);
        if (crowd.pids[i] == 0) {
            close(crowd.go[1]); // so that the end of the test is seen, should it fail
            attach_and_hold();
        }
    }
}

static void all_attach_and_hold_one_object(void) {
    ray_object_id id = common_id();
    CHECK_OK(ray_object_put(node.store, &id, "common", 6, NULL, 0, 0));
    for (int i = 0; i < CLIENTS; i++) {
        CHECK_EQUAL(write(crowd.go[1], "g", 1), 1);
    }
    for (int i = 0; i < CLIENTS; i++) {
        char byte;
        CHECK_EQUAL(read(crowd.said[0], &byte, 1), 1);
    }
    ray_object_info info;
    CHECK_OK(ray_object_stat(node.store, &id, &info));
    CHECK_EQUAL(info.pin_slot_count, CLIENTS);
    CHECK_EQUAL(info.ref_slot_count, CLIENTS);
    CHECK_OK(ray_plasma_check(node.store, 2));
}

static void one_more_is_refused_with_its_error(void) {
    ray_client *more;
    CHECK_STATUS(try_connect(node.path, &more), RAY_TOO_MANY_CLIENTS);
    CHECK(more == NULL);
    CHECK(strstr(ray_last_error_message(), "256 clients") != NULL);
}

static void when_all_die_the_object_goes_and_every_slot_is_free_again(void) {
    int detached = node_read(&node, &node.detached_count);
    for (int i = 0; i < CLIENTS; i++) {
        CHECK_EQUAL(kill(crowd.pids[i], SIGKILL), 0);
    }
    for (int i = 0; i < CLIENTS; i++) {
        int ended;
        CHECK_EQUAL(waitpid(crowd.pids[i], &ended, 0), crowd.pids[i]);
        CHECK(WIFSIGNALED(ended));
    }
    EVENTUALLY(node_read(&node, &node.detached_count) == detached + CLIENTS);
    node_check_empty(&node);
    ray_client_close(connect_to(node.path));
}

int main(void) {
    node_prepare(&node);
    gather_crowd();
    node_start(&node);
    RUN(all_attach_and_hold_one_object);
    RUN(one_more_is_refused_with_its_error);
    RUN(when_all_die_the_object_goes_and_every_slot_is_free_again);
    node_stop(&node);
    return 0;
}
