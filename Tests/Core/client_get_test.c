// SPDX-License-Identifier: Apache-2.0
// Goal: a get ends with what comes first, the object in shared memory or the node's word, and loses neither. Method: a host whose answers are held
// back, or are failures, while the objects come, or do not.
#include "client_host.h"

static struct node node;

static void set(bool fetches_nothing, bool holds_gets, ray_status failure) {
    pthread_mutex_lock(&node.lock);
    node.fetches_nothing = fetches_nothing;
    node.holds_gets = holds_gets;
    node.get_failure = failure;
    pthread_mutex_unlock(&node.lock);
}

static ray_object_id remote(uint8_t a, uint8_t b) {
    return (ray_object_id){{a, b, 3, [27] = 77}};
}

static void check_view(ray_client *client, ray_object_view *view) {
    CHECK_EQUAL(view->data_size, 1000);
    CHECK(view->data[0] == 77 && view->data[999] == 77);
    ray_client_release(client, view);
}

static void end(ray_client *client) {
    ray_client_close(client);
    EVENTUALLY(node_read(&node, &node.detached_count) == node.attached_count);
    node_check_empty(&node);
}

// The host holds it back a moment after the object could be seen.
static void wait_until_the_answer_is_held(void) {
    EVENTUALLY(node_read(&node, &node.held_count) == 1);
}

static void what_is_sealed_is_got_before_the_node_answers(void) {
    ray_client *client = connect_to(node.path);
    ray_object_id id = remote(1, 1);
    ray_object_view view;
    CHECK_OK(ray_client_open_ref(client, &id));
    set(false, true, RAY_OK);
    CHECK_OK(ray_client_get(client, &id, 10 * SECOND, &view));
    wait_until_the_answer_is_held();
    check_view(client, &view);
    CHECK_EQUAL(node_read(&node, &node.cancelled_count), 0);
    node_release_held(&node); // comes to nobody
    set(false, false, RAY_OK);
    uint8_t report[64];
    CHECK_OK(ray_client_call(client, RAY_REQUEST_REPORT, report, make_report(report, "echo", "", 0), 0, NULL, NULL));
    CHECK_OK(ray_ref_release(ray_client_store(client), &id));
    end(client);
}

static void an_answer_that_never_comes_goes_with_the_session(void) {
    ray_client *client = connect_to(node.path);
    ray_object_id id = remote(1, 2);
    ray_object_view view;
    CHECK_OK(ray_client_open_ref(client, &id));
    set(false, true, RAY_OK);
    CHECK_OK(ray_client_get(client, &id, RAY_FOREVER, &view));
    wait_until_the_answer_is_held();
    check_view(client, &view);
    CHECK_OK(ray_ref_release(ray_client_store(client), &id));
    end(client);
    node_release_held(&node);
    set(false, false, RAY_OK);
}

static void a_failure_is_told_at_once(void) {
    ray_client *client = connect_to(node.path);
    ray_object_id id = remote(1, 3);
    ray_object_view view;
    CHECK_OK(ray_client_open_ref(client, &id));
    set(false, false, RAY_OBJECT_LOST);
    CHECK_STATUS(ray_client_get(client, &id, RAY_FOREVER, &view), RAY_OBJECT_LOST);
    CHECK(strstr(ray_last_error_message(), "it cannot be had") != NULL);
    CHECK(view.data == NULL);
    set(false, false, RAY_OK);
    CHECK_OK(ray_client_get(client, &id, RAY_FOREVER, &view));
    check_view(client, &view);
    CHECK_OK(ray_ref_release(ray_client_store(client), &id));
    end(client);
}

static void a_get_ends_in_its_time_and_is_cancelled(void) {
    ray_client *client = connect_to(node.path);
    ray_object_id id = remote(1, 4);
    ray_object_view view;
    CHECK_OK(ray_client_open_ref(client, &id));
    set(true, true, RAY_OK);
    int cancelled = node_read(&node, &node.cancelled_count);
    CHECK_STATUS(ray_client_get(client, &id, SECOND / 20, &view), RAY_TIMED_OUT);
    EVENTUALLY(node_read(&node, &node.cancelled_count) == cancelled + 1);
    set(false, false, RAY_OK);
    CHECK_OK(ray_ref_release(ray_client_store(client), &id));
    end(client);
}

// A node that says "here" and is wrong each time: it was evicted again.
static void what_never_stays_is_given_up(void) {
    ray_client *client = connect_to(node.path);
    ray_object_id id = remote(1, 5);
    ray_object_view view;
    CHECK_OK(ray_client_open_ref(client, &id));
    set(true, false, RAY_OK);
    int asked = node_read(&node, &node.request_count);
    CHECK_STATUS(ray_client_get(client, &id, RAY_FOREVER, &view), RAY_FETCH_TIMED_OUT);
    CHECK_EQUAL(node_read(&node, &node.request_count), asked + 100);
    set(false, false, RAY_OK);
    CHECK_OK(ray_ref_release(ray_client_store(client), &id));
    end(client);
}

// ---- many at once ------------------------------------------------------------------------------------------------------------

#define THREADS 8
#define ROUNDS 200

static ray_client *shared;

static void *get_many(void *argument) {
    uint8_t number = (uint8_t)(uintptr_t)argument;
    for (int round = 0; round < ROUNDS; round++) {
        ray_object_id id = remote(number, (uint8_t)round);
        ray_object_view view;
        CHECK_OK(ray_client_open_ref(shared, &id));
        ray_status status = ray_client_get(shared, &id, 20 * SECOND, &view);
        // The node fails now and then.
        if (status == RAY_OK) {
            check_view(shared, &view);
        } else {
            CHECK_STATUS(status, RAY_OBJECT_LOST);
        }
        CHECK_OK(ray_ref_release(ray_client_store(shared), &id));
    }
    return NULL;
}

static void many_threads_wait_in_one_session(void) {
    shared = connect_to(node.path);
    pthread_t threads[THREADS];
    for (uintptr_t i = 0; i < THREADS; i++) {
        CHECK_EQUAL(pthread_create(&threads[i], NULL, get_many, (void *)(i + 10)), 0);
    }
    for (int i = 0; i < 50; i++) {
        set(false, false, i % 4 == 3 ? RAY_OBJECT_LOST : RAY_OK);
        usleep(2000);
    }
    set(false, false, RAY_OK);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    end(shared);
}

int main(void) {
    node_prepare(&node);
    node_start(&node);
    RUN(what_is_sealed_is_got_before_the_node_answers);
    RUN(an_answer_that_never_comes_goes_with_the_session);
    RUN(a_failure_is_told_at_once);
    RUN(a_get_ends_in_its_time_and_is_cancelled);
    RUN(what_never_stays_is_given_up);
    RUN(many_threads_wait_in_one_session);
    node_stop(&node);
    return 0;
}
