// SPDX-License-Identifier: Apache-2.0
// Goal: a process may end at any time, client or node, and the other side knows it and loses nothing of its own. Method: children
// forked before any handle exists play the one or the other, and are killed.
#include "client_host.h"

static struct node node;

// ---- clients that die -------------------------------------------------------------------------------------------------------

// Holds something of every kind: a ref, a pin, an unsealed object, a request without an answer.
static void hold_everything(const char *path, int say) {
    ray_client *client = connect_to(path);
    ray_object_id id;
    CHECK_OK(ray_client_put(client, "0123456789", 10, "B", 1, &id));
    ray_object_view view;
    CHECK_OK(ray_client_get(client, &id, 0, &view));
    ray_object_id unsealed;
    CHECK_OK(ray_client_next_id(client, &unsealed));
    ray_object_writer writer;
    CHECK_OK(ray_object_create(ray_client_store(client), &unsealed, 100000, 0, RAY_CREATE_WITH_REF, &writer));
    child_say(say, 'r');
    uint8_t report[64];
    (void)!ray_client_call(client, RAY_REQUEST_REPORT, report, make_report(report, "hold", "", 0), 0, NULL, NULL);
    pause();
}

// The same, with a child of its own that keeps every descriptor open and outlives it.
static void hold_everything_and_fork(const char *path, int say) {
    (void)connect_and_put(path);
    pid_t heir = fork();
    if (heir == 0) {
        for (int i = 0; i < 1000; i++) { // it ends with its test at the latest
            usleep(20000);
        }
        _exit(0);
    }
    (void)!write(say, "r", 1);
    (void)!write(say, &heir, sizeof heir);
    pause();
}

static void put_and_leave_orderly(const char *path, int say) {
    ray_client *client = connect_and_put(path);
    ray_client_close(client);
    child_say(say, 'c');
    pause();
}

static void close_without_goodbye(const char *path, int say) {
    (void)connect_and_put(path);
    fall_silent();
    child_say(say, 'x');
    pause();
}

static struct child killed[8];
static struct child with_heir;
static struct child orderly;
static struct child vanished;

static void kill_minus_nine_leaves_nothing_behind(void) {
    for (int i = 0; i < 8; i++) {
        child_go(&killed[i]);
        CHECK_EQUAL(child_hear(&killed[i]), 'r');
    }
    EVENTUALLY(node_read(&node, &node.held_count) == 8);
    ray_store_stats stats = {.struct_size = sizeof stats};
    CHECK_OK(ray_store_stats_read(node.store, &stats));
    CHECK_EQUAL(stats.entry_count, 16);
    int detached = node_read(&node, &node.detached_count);
    for (int i = 0; i < 8; i++) {
        CHECK_EQUAL(kill(killed[i].pid, SIGKILL), 0);
    }
    EVENTUALLY(node_read(&node, &node.detached_count) == detached + 8);
    node_check_empty(&node);
    node_release_held(&node); // late answers go nowhere
    for (int i = 0; i < 8; i++) {
        CHECK(WIFSIGNALED(child_end(&killed[i])));
    }
}

static void a_forked_child_that_keeps_the_socket_open_changes_nothing(void) {
    int detached = node_read(&node, &node.detached_count);
    child_go(&with_heir);
    CHECK_EQUAL(child_hear(&with_heir), 'r');
    pid_t heir;
    CHECK_EQUAL(read(with_heir.said, &heir, sizeof heir), sizeof heir);
    CHECK_EQUAL(kill(with_heir.pid, SIGKILL), 0);
    EVENTUALLY(node_read(&node, &node.detached_count) == detached + 1);
    node_check_empty(&node);
    CHECK_EQUAL(kill(heir, SIGKILL), 0);
    child_end(&with_heir);
}

static void a_goodbye_frees_the_slot_while_the_process_lives(void) {
    int detached = node_read(&node, &node.detached_count);
    child_go(&orderly);
    CHECK_EQUAL(child_hear(&orderly), 'c');
    EVENTUALLY(node_read(&node, &node.detached_count) == detached + 1);
    node_check_empty(&node);
    CHECK_EQUAL(kill(orderly.pid, 0), 0);
    CHECK_EQUAL(kill(orderly.pid, SIGKILL), 0);
    child_end(&orderly);
}

static void without_goodbye_the_slot_waits_for_the_processs_end(void) {
    int detached = node_read(&node, &node.detached_count);
    child_go(&vanished);
    CHECK_EQUAL(child_hear(&vanished), 'x');
    // The host has surely seen the socket's end once it has let in and served somebody who came later.
    for (int i = 0; i < 3; i++) {
        ray_client_close(connect_to(node.path));
    }
    EVENTUALLY(node_read(&node, &node.detached_count) == detached + 3);
    ray_store_stats stats = {.struct_size = sizeof stats};
    CHECK_OK(ray_store_stats_read(node.store, &stats));
    CHECK_EQUAL(stats.client_count, 2);
    CHECK_EQUAL(stats.sealed_count, 1);
    CHECK_EQUAL(kill(vanished.pid, SIGKILL), 0);
    EVENTUALLY(node_read(&node, &node.detached_count) == detached + 4);
    node_check_empty(&node);
    child_end(&vanished);
}

static void every_slot_can_be_used_and_one_more_is_refused(void) {
    static ray_client *clients[RAY_CLIENTS_MAX];
    for (uint32_t i = 0; i < RAY_CLIENTS_MAX; i++) {
        clients[i] = connect_to(node.path);
    }
    ray_client *more;
    for (int i = 0; i < 300; i++) {
        CHECK_STATUS(try_connect(node.path, &more), RAY_TOO_MANY_CLIENTS);
    }
    uint8_t report[64];
    CHECK_OK(ray_client_call(clients[255], RAY_REQUEST_REPORT, report, make_report(report, "echo", "x", 1), 0, NULL, NULL));
    ray_client_close(clients[100]);
    EVENTUALLY(try_connect(node.path, &clients[100]) == RAY_OK);
    for (uint32_t i = 0; i < RAY_CLIENTS_MAX; i++) {
        ray_client_close(clients[i]);
    }
    EVENTUALLY(node_read(&node, &node.detached_count) == node_read(&node, &node.attached_count));
    node_check_empty(&node);
}

static void a_forked_child_may_not_use_its_parents_session(void) {
    ray_client *client = connect_to(node.path);
    ray_object_id id;
    CHECK_OK(ray_client_put(client, "x", 1, "B", 1, &id));
    pid_t pid = fork();
    if (pid == 0) {
        uint8_t report[64];
        size_t size = make_report(report, "echo", "x", 1);
        ray_object_view view;
        bool refused = ray_client_call(client, RAY_REQUEST_REPORT, report, size, 0, NULL, NULL) == RAY_FORKED &&
                       ray_client_get(client, &id, 0, &view) == RAY_FORKED &&
                       ray_client_put(client, "y", 1, "B", 1, &id) == RAY_FORKED && ray_client_open_ref(client, &id) == RAY_FORKED;
        ray_client_cancel(client, 1);
        ray_client_close(client);
        _exit(refused ? 0 : 1);
    }
    int ended = 0;
    CHECK_EQUAL(waitpid(pid, &ended, 0), pid);
    CHECK(WIFEXITED(ended));
    CHECK_EQUAL(WEXITSTATUS(ended), 0);
    ray_object_view view; // and the parent goes on as if nothing had been
    CHECK_OK(ray_client_get(client, &id, 0, &view));
    ray_object_release(ray_client_store(client), &view);
    uint8_t report[64];
    CHECK_OK(ray_client_call(client, RAY_REQUEST_REPORT, report, make_report(report, "echo", "x", 1), 0, NULL, NULL));
    ray_client_close(client);
    EVENTUALLY(node_read(&node, &node.detached_count) == node_read(&node, &node.attached_count));
    node_check_empty(&node);
}

// ---- nodes that die -----------------------------------------------------------------------------------------------------------

static struct node dying; // its paths are made in the parent

static void run_a_node(const char *path, int say) {
    (void)path;
    node_start(&dying);
    child_say(say, 'u');
    pause();
}

static void run_a_node_with_an_heir(const char *path, int say) {
    (void)path;
    node_start(&dying);
    pid_t heir = fork();
    if (heir == 0) {
        for (int i = 0; i < 1000; i++) {
            usleep(20000);
        }
        _exit(0);
    }
    (void)!write(say, "u", 1);
    (void)!write(say, &heir, sizeof heir);
    pause();
}

static struct child dying_node;
static struct child dying_node_with_heir;

struct outcome {
    pthread_mutex_t lock;
    int count;
    ray_status status;
};

static void note_outcome(void *context, ray_status status, const char *message, const void *payload, size_t payload_size) {
    struct outcome *outcome = context;
    (void)payload;
    (void)payload_size;
    CHECK(strstr(message, "ended") != NULL);
    pthread_mutex_lock(&outcome->lock);
    outcome->count++;
    outcome->status = status;
    pthread_mutex_unlock(&outcome->lock);
}

static int outcome_count(struct outcome *outcome) {
    pthread_mutex_lock(&outcome->lock);
    int count = outcome->count;
    pthread_mutex_unlock(&outcome->lock);
    return count;
}

// The node ends with requests pending; they fail, later ones too, and what is sealed can be read.
static void check_that_the_end_is_survived(struct child *node_process) {
    ray_client *client = connect_to(dying.path);
    ray_object_id id;
    CHECK_OK(ray_client_put(client, "still here", 10, "B", 1, &id));
    struct outcome outcomes[3];
    uint8_t report[64];
    for (int i = 0; i < 3; i++) {
        outcomes[i] = (struct outcome){.lock = PTHREAD_MUTEX_INITIALIZER};
        CHECK_OK(ray_client_send(client, RAY_REQUEST_REPORT, report, make_report(report, "hold", "", 0), note_outcome, NULL, &outcomes[i], NULL));
    }
    CHECK_EQUAL(kill(node_process->pid, SIGKILL), 0);
    for (int i = 0; i < 3; i++) {
        EVENTUALLY(outcome_count(&outcomes[i]) == 1);
        CHECK_EQUAL(outcomes[i].status, RAY_NODE_DIED);
    }
    CHECK_STATUS(ray_client_call(client, RAY_REQUEST_REPORT, report, make_report(report, "echo", "", 0), 0, NULL, NULL), RAY_NODE_DIED);
    CHECK(strstr(ray_last_error_message(), dying.path) != NULL);
    ray_object_view view;
    CHECK_OK(ray_client_get(client, &id, RAY_FOREVER, &view));
    CHECK_EQUAL(memcmp(view.data, "still here", 10), 0);
    ray_object_release(ray_client_store(client), &view);
    ray_object_id unknown = {{5}};
    CHECK_STATUS(ray_client_get(client, &unknown, 5 * SECOND, &view), RAY_NODE_DIED);
    ray_client_close(client);
}

static void a_dead_node_is_told_to_everyone_who_waits(void) {
    child_go(&dying_node);
    CHECK_EQUAL(child_hear(&dying_node), 'u');
    check_that_the_end_is_survived(&dying_node);
    child_end(&dying_node);
    ray_client *client;
    CHECK_STATUS(try_connect(dying.path, &client), RAY_NOT_RUNNING);
}

static void a_dead_nodes_forked_child_hides_its_end_from_nobody(void) {
    child_go(&dying_node_with_heir); // takes the stale socket over
    CHECK_EQUAL(child_hear(&dying_node_with_heir), 'u');
    pid_t heir;
    CHECK_EQUAL(read(dying_node_with_heir.said, &heir, sizeof heir), sizeof heir);
    check_that_the_end_is_survived(&dying_node_with_heir);
    child_end(&dying_node_with_heir); // no zombie is left, so its number is free
    node_start(&dying);               // though the heir still holds the listening socket
    ray_client_close(connect_to(dying.path));
    EVENTUALLY(node_read(&dying, &dying.detached_count) == 1);
    node_stop(&dying);
    CHECK_EQUAL(kill(heir, SIGKILL), 0);
}

static void stopping_the_host_ends_sessions_in_order(void) {
    ray_client *client = connect_to(node.path);
    struct outcome outcome = {.lock = PTHREAD_MUTEX_INITIALIZER};
    uint8_t report[64];
    CHECK_OK(ray_client_send(client, RAY_REQUEST_REPORT, report, make_report(report, "hold", "", 0), note_outcome, NULL, &outcome, NULL));
    EVENTUALLY(node_read(&node, &node.held_count) == 1);
    ray_host_stop(node.host);
    EVENTUALLY(outcome_count(&outcome) == 1);
    CHECK_EQUAL(outcome.status, RAY_NODE_DIED);
    ray_client *another;
    CHECK_STATUS(try_connect(node.path, &another), RAY_NOT_RUNNING);
    ray_client_close(client);
    node.host = NULL;
}

int main(void) {
    node_prepare(&node);
    node_prepare(&dying);
    int before = count_fds();
    for (int i = 0; i < 8; i++) {
        killed[i] = spawn(hold_everything, node.path);
    }
    with_heir = spawn(hold_everything_and_fork, node.path);
    orderly = spawn(put_and_leave_orderly, node.path);
    vanished = spawn(close_without_goodbye, node.path);
    dying_node = spawn(run_a_node, NULL);
    dying_node_with_heir = spawn(run_a_node_with_an_heir, NULL);
    node_start(&node);
    RUN(kill_minus_nine_leaves_nothing_behind);
    RUN(a_forked_child_that_keeps_the_socket_open_changes_nothing);
    RUN(a_goodbye_frees_the_slot_while_the_process_lives);
    RUN(without_goodbye_the_slot_waits_for_the_processs_end);
    RUN(every_slot_can_be_used_and_one_more_is_refused);
    RUN(a_forked_child_may_not_use_its_parents_session);
    RUN(a_dead_node_is_told_to_everyone_who_waits);
    RUN(a_dead_nodes_forked_child_hides_its_end_from_nobody);
    RUN(stopping_the_host_ends_sessions_in_order);
    node_stop(&node);
    CHECK_EQUAL(count_fds(), before);
    return 0;
}
