// SPDX-License-Identifier: Apache-2.0
// Goal: a create that does not fit is made by the node and filled by the client, and nothing is left of one that is given up. Method: the
// node of client_host.h, with a store of 16 MiB.
#include "client_host.h"

enum { MIB = 1 << 20 };

static struct node node;

static void release(ray_client *client, const ray_object_id *id) {
    CHECK_OK(ray_ref_release(ray_client_store(client), id));
}

static void settle(ray_client *client) {
    ray_client_close(client);
    EVENTUALLY(node_read(&node, &node.detached_count) == node.attached_count);
    node_check_empty(&node);
}

static uint64_t used_bytes(void) {
    ray_store_stats stats = {.struct_size = sizeof stats};
    CHECK_OK(ray_store_stats_read(node.store, &stats));
    return stats.used_bytes;
}

static uint8_t bytes[4 * MIB];

static void what_fits_asks_nobody(void) {
    ray_client *client = connect_to(node.path);
    int asked = node_read(&node, &node.request_count);
    ray_object_id id;
    CHECK_OK(ray_client_put_within(client, bytes, sizeof bytes, "B", 1, RAY_FOREVER, &id));
    ray_object_view view;
    CHECK_OK(ray_client_get(client, &id, 0, &view));
    CHECK(view.data_size == sizeof bytes && memcmp(view.data, bytes, sizeof bytes) == 0 && view.metadata[0] == 'B');
    ray_client_release(client, &view);
    release(client, &id);
    CHECK_OK(ray_client_put_within(client, NULL, 0, NULL, 0, SECOND, &id));
    release(client, &id);
    CHECK_EQUAL(node_read(&node, &node.request_count), asked);
    CHECK_STATUS(ray_client_put_within(client, NULL, 5, NULL, 0, SECOND, &id), RAY_INVALID_ARGUMENT);
    settle(client);
}

// The node is full for clients, and has kept room for what it creates itself.
static void what_does_not_fit_is_created_by_the_node(void) {
    ray_client *client = connect_to(node.path);
    CHECK_OK(ray_node_room_hold(node.store, 0));
    ray_object_id id;
    CHECK_STATUS(ray_client_put_within(client, bytes, sizeof bytes, "B", 1, 0, &id), RAY_STORE_FULL);
    int asked = node_read(&node, &node.request_count);
    CHECK_OK(ray_client_put_within(client, bytes, sizeof bytes, "B", 1, SECOND, &id));
    CHECK_EQUAL(node_read(&node, &node.request_count), asked + 1);
    ray_object_info info;
    CHECK_OK(ray_object_stat(node.store, &id, &info));
    CHECK_EQUAL(info.creator_slot, ray_client_info(client)->slot);
    CHECK_EQUAL(info.ref_slot_count, 1);
    ray_object_view view;
    CHECK_OK(ray_client_get(client, &id, 0, &view));
    CHECK(memcmp(view.data, bytes, sizeof bytes) == 0 && view.metadata[0] == 'B');
    ray_client_release(client, &view);
    release(client, &id);
    CHECK_EQUAL(used_bytes(), 0);
    // The node's answer is the caller's when it has no room either.
    CHECK_STATUS(ray_client_put_within(client, bytes, 17 * MIB, NULL, 0, SECOND, &id), RAY_STORE_FULL);
    CHECK(strstr(ray_last_error_message(), "needs 17825792 bytes") != NULL);
    ray_object_writer writer;
    CHECK_OK(ray_client_create(client, MIB, 2, RAY_FOREVER, &id, &writer));
    memset(writer.data, 1, MIB);
    memcpy(writer.metadata, "BB", 2);
    CHECK_OK(ray_object_seal(ray_client_store(client), &writer));
    release(client, &id);
    CHECK_OK(ray_node_room_hold(node.store, RAY_ROOM_OPEN));
    settle(client);
}

static void an_answer_that_comes_too_late_leaves_nothing(void) {
    ray_client *client = connect_to(node.path);
    CHECK_OK(ray_node_room_hold(node.store, 0));
    pthread_mutex_lock(&node.lock);
    node.holds_creates = true;
    node.ignores_cancels = true;
    int cancelled = node.cancelled_count;
    pthread_mutex_unlock(&node.lock);
    ray_object_id id;
    // A grace of 2 s in which the node could have said so itself.
    CHECK_STATUS(ray_client_put_within(client, bytes, MIB, NULL, 0, SECOND / 100, &id), RAY_TIMED_OUT);
    EVENTUALLY(node_read(&node, &node.cancelled_count) == cancelled + 1);
    pthread_mutex_lock(&node.lock);
    struct held held = node.held[--node.held_count];
    node.holds_creates = false;
    node.ignores_cancels = false;
    pthread_mutex_unlock(&node.lock);
    CHECK_OK(node_create(&node, held.client, node.create, sizeof node.create, &id));
    CHECK_EQUAL(used_bytes(), MIB);
    ray_host_reply(node.host, held.client, held.request_id, RAY_OK, "", id.bytes, sizeof id.bytes);
    EVENTUALLY(used_bytes() == 0);
    CHECK_OK(ray_node_room_hold(node.store, RAY_ROOM_OPEN));
    settle(client);
}

static void a_cancelled_create_is_not_made(void) {
    ray_client *client = connect_to(node.path);
    CHECK_OK(ray_node_room_hold(node.store, 0));
    pthread_mutex_lock(&node.lock);
    node.holds_creates = true;
    pthread_mutex_unlock(&node.lock);
    ray_object_id id;
    CHECK_STATUS(ray_client_put_within(client, bytes, MIB, NULL, 0, SECOND / 100, &id), RAY_TIMED_OUT);
    EVENTUALLY(node_read(&node, &node.held_count) == 0);
    pthread_mutex_lock(&node.lock);
    node.holds_creates = false;
    pthread_mutex_unlock(&node.lock);
    CHECK_OK(ray_node_room_hold(node.store, RAY_ROOM_OPEN));
    settle(client);
}

static void a_client_that_dies_while_it_waits_leaves_nothing(void) {
    CHECK_OK(ray_node_room_hold(node.store, 0));
    pthread_mutex_lock(&node.lock);
    node.holds_creates = true;
    pthread_mutex_unlock(&node.lock);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        ray_client *client = connect_to(node.path);
        ray_object_id id;
        _exit(ray_client_put_within(client, bytes, MIB, NULL, 0, RAY_FOREVER, &id) == RAY_OK ? 0 : 1); // killed before that
    }
    EVENTUALLY(node_read(&node, &node.held_count) == 1);
    ray_object_id id;
    CHECK_OK(node_create(&node, node.held[0].client, node.create, sizeof node.create, &id));
    CHECK_EQUAL(kill(child, SIGKILL), 0);
    int status;
    CHECK_EQUAL(waitpid(child, &status, 0), child);
    EVENTUALLY(node_read(&node, &node.detached_count) == node.attached_count);
    node_release_held(&node);
    pthread_mutex_lock(&node.lock);
    node.holds_creates = false;
    pthread_mutex_unlock(&node.lock);
    CHECK_OK(ray_node_room_hold(node.store, RAY_ROOM_OPEN));
    node_check_empty(&node);
}

int main(void) {
    alarm(60); // a hang is a failure
    uint64_t random = check_seed();
    for (size_t i = 0; i < sizeof bytes; i += 8) {
        uint64_t word = check_random(&random);
        memcpy(bytes + i, &word, 8);
    }
    node_prepare(&node);
    node_start(&node);
    RUN(what_fits_asks_nobody);
    RUN(what_does_not_fit_is_created_by_the_node);
    RUN(an_answer_that_comes_too_late_leaves_nothing);
    RUN(a_cancelled_create_is_not_made);
    RUN(a_client_that_dies_while_it_waits_leaves_nothing);
    node_stop(&node);
    return 0;
}
