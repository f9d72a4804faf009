// SPDX-License-Identifier: Apache-2.0
// A client's number is given to another process as soon as the client has ended. The node must find the client's end all the same, and do
// nothing to its namesake. The kernel gives a chosen number to who may ask for one (clone3 with set_tid; root may).
#include <linux/sched.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "client_host.h"
#include "plasma/store_internal.h"

static struct node node;

static void hold_an_object(const char *path, int say) {
    (void)connect_and_put(path);
    child_say(say, 'r');
    pause();
}

// Ends its session's socket behind its back, as a client does that the node hears no more of; its process lives on.
static void hold_an_object_and_fall_silent(const char *path, int say) {
    (void)connect_and_put(path);
    fall_silent();
    child_say(say, 'r');
    pause();
}

// A process of this number that stands still, so that the node could take it for a client that is stopped.
static pid_t start_namesake(pid_t number) {
    struct clone_args arguments = {.exit_signal = SIGCHLD, .set_tid = (uintptr_t)&number, .set_tid_size = 1};
    pid_t child = (pid_t)syscall(SYS_clone3, &arguments, sizeof arguments);
    if (child == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        for (;;) {
            pause();
        }
    }
    if (child < 0 && (errno == EPERM || errno == ENOSYS || errno == EINVAL)) {
        SKIP("the kernel gives nobody a chosen process number here");
    }
    CHECK_EQUAL(child, number);
    CHECK_EQUAL(kill(child, SIGSTOP), 0);
    int status;
    CHECK_EQUAL(waitpid(child, &status, WUNTRACED), child);
    CHECK(WIFSTOPPED(status));
    return child;
}

static void succeed_by_namesake(struct child *client) {
    int detached = node_read(&node, &node.detached_count);
    child_go(client);
    CHECK_EQUAL(child_hear(client), 'r');
    CHECK_EQUAL(kill(client->pid, SIGKILL), 0);
    CHECK(WIFSIGNALED(child_end(client)));
    pid_t namesake = start_namesake(client->pid);
    EVENTUALLY(node_read(&node, &node.detached_count) == detached + 1);
    node_check_empty(&node);
    int status;
    CHECK_EQUAL(waitpid(namesake, &status, WNOHANG), 0);
    CHECK_EQUAL(kill(namesake, SIGKILL), 0);
    CHECK_EQUAL(waitpid(namesake, &status, 0), namesake);
}

static struct child ended;
static struct child silent;

static void a_client_whose_number_another_has_is_reaped(void) {
    succeed_by_namesake(&ended);
}

static void so_is_one_that_had_fallen_silent_before(void) {
    succeed_by_namesake(&silent);
}

// The slot still names the number, as between a client's end and its reaping, and somebody else has the lock for long.
static void a_stopped_namesake_is_not_taken_for_the_holder_of_the_lock(void) {
    ray_store_options options = {.struct_size = sizeof options, .capacity_bytes = 1 << 20};
    ray_store *store;
    uint32_t slot;
    CHECK_OK(ray_store_create(&options, &store));
    RAY__GATE(store);
    pid_t gone = fork();
    CHECK(gone >= 0);
    if (gone == 0) {
        _exit(0);
    }
    CHECK_EQUAL(waitpid(gone, NULL, 0), gone);
    CHECK_OK(ray_store_slot_claim(store, gone, &slot));
    pid_t namesake = start_namesake(gone);
    CHECK_OK(ray__store_lock(store));
    for (int i = 0; i < 30; i++) {
        ray__lock_look(store);
        usleep(10000); // the look counts time
    }
    ray__store_unlock(store);
    int status;
    CHECK_EQUAL(waitpid(namesake, &status, WNOHANG), 0);
    CHECK_EQUAL(kill(namesake, SIGKILL), 0);
    CHECK_EQUAL(waitpid(namesake, &status, 0), namesake);
    ray_store_close(store);
}

int main(void) {
    node_prepare(&node);
    ended = spawn(hold_an_object, node.path);
    silent = spawn(hold_an_object_and_fall_silent, node.path);
    node_start(&node);
    RUN(a_client_whose_number_another_has_is_reaped);
    RUN(so_is_one_that_had_fallen_silent_before);
    RUN(a_stopped_namesake_is_not_taken_for_the_holder_of_the_lock);
    node_stop(&node);
    return 0;
}
