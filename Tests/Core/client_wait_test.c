// SPDX-License-Identifier: Apache-2.0
// Waits of a session for what others of the machine make: how they end, and that the end of the session ends them.
#include "client_host.h"
#include "wait_fixture.h"

static struct node node;

// An object that the client has created and not sealed, which another's wait has begun to wait for.
static uint64_t wait_for_made(ray_client *maker, ray_client *taker, uint32_t number, ray_object_writer *writer, outcome *o) {
    ray_object_id id = {{9, 9, [27] = (uint8_t)number}};
    CHECK_OK(ray_object_create(ray_client_store(maker), &id, 4, 0, RAY_CREATE_WITH_REF, writer));
    uint64_t ticket;
    CHECK_OK(ray_client_wait(taker, &id, RAY_FOREVER, note, o, &ticket));
    CHECK(ticket != 0);
    return ticket;
}

static void a_wait_hears_of_the_seal_and_of_the_makers_death(void) {
    ray_client *maker = connect_to(node.path);
    ray_client *taker = connect_to(node.path);
    static outcome outcomes[3];
    ray_object_writer writers[3];
    uint64_t tickets[3];
    for (uint32_t i = 0; i < 3; i++) {
        tickets[i] = wait_for_made(maker, taker, i, &writers[i], &outcomes[i]);
    }
    CHECK(ray_client_wait_cancel(taker, tickets[2]));
    CHECK_OK(ray_object_seal(ray_client_store(maker), &writers[0]));
    EVENTUALLY(was_called(&outcomes[0]));
    CHECK_EQUAL(outcomes[0].status, RAY_OK);
    int asked = node_read(&node, &node.request_count);
    ray_client_close(maker); // aborts what is not sealed
    EVENTUALLY(was_called(&outcomes[1]));
    // No ref is left, so it has gone.
    CHECK_EQUAL(outcomes[1].status, RAY_OBJECT_FREED);
    CHECK_EQUAL(node_read(&node, &node.request_count), asked);
    CHECK_EQUAL(outcomes[2].calls, 0);
    ray_client_close(taker);
    CHECK_EQUAL(outcomes[2].calls, 0);
}

static void closing_ends_waits(void) {
    ray_client *maker = connect_to(node.path);
    ray_client *taker = connect_to(node.path);
    static outcome o;
    ray_object_writer writer;
    (void)wait_for_made(maker, taker, 1, &writer, &o);
    ray_client_close(taker);
    CHECK_EQUAL(o.calls, 1);
    CHECK_EQUAL(o.status, RAY_CLOSED);
    ray_client_close(maker);
}

static void what_is_not_being_made_here_is_not_waited_for(void) {
    ray_client *taker = connect_to(node.path);
    ray_object_id id = {{1, 2, 3, [27] = 88}};
    static outcome o;
    uint64_t ticket = 1;
    CHECK_OK(ray_client_wait(taker, &id, RAY_FOREVER, note, &o, &ticket));
    CHECK_EQUAL(ticket, 0);
    CHECK(!ray_client_wait_cancel(taker, ticket));
    CHECK_OK(ray_client_open_ref(taker, &id));
    CHECK_OK(ray_client_wait(taker, &id, RAY_FOREVER, note, &o, &ticket));
    CHECK_EQUAL(ticket, 0);
    CHECK_EQUAL(o.calls, 0);
    CHECK_OK(ray_ref_release(ray_client_store(taker), &id));
    ray_client_close(taker);
}

// Ends the node for good.
static void the_nodes_end_ends_waits(void) {
    ray_client *maker = connect_to(node.path);
    ray_client *taker = connect_to(node.path);
    static outcome o;
    ray_object_writer writer;
    (void)wait_for_made(maker, taker, 1, &writer, &o);
    ray_host_stop(node.host);
    node.host = NULL;
    EVENTUALLY(was_called(&o));
    CHECK_EQUAL(o.status, RAY_NODE_DIED);
    ray_object_id id = {{9, 9, [27] = 1}};
    uint64_t ticket;
    CHECK_STATUS(ray_client_wait(taker, &id, RAY_FOREVER, note, &o, &ticket), RAY_NODE_DIED);
    CHECK_EQUAL(o.calls, 1);
    ray_client_close(taker);
    ray_client_close(maker);
}

int main(void) {
    node_prepare(&node);
    int before = count_fds();
    node_start(&node);
    RUN(a_wait_hears_of_the_seal_and_of_the_makers_death);
    RUN(closing_ends_waits);
    RUN(what_is_not_being_made_here_is_not_waited_for);
    RUN(the_nodes_end_ends_waits);
    node_stop(&node);
    CHECK_EQUAL(count_fds(), before);
    return 0;
}
