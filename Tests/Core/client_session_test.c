// SPDX-License-Identifier: Apache-2.0
// Goal: a session does what client.h says while nothing goes wrong. Method: host and clients in one process, over the real socket and
// a real store; the node of client_host.h answers.
#include "client_host.h"

static struct node node;

static void a_client_learns_who_it_is(void) {
    ray_client_options options = {.struct_size = sizeof options, .socket_path = node.path, .name_space = "grüße"};
    ray_client *client;
    CHECK_OK(ray_client_connect(&options, &client));
    const ray_session_info *info = ray_client_info(client);
    CHECK_EQUAL(info->job, 1);
    CHECK_EQUAL(info->node_number, 7);
    CHECK(info->is_driver);
    CHECK(info->slot != 0 && info->slot <= RAY_CLIENTS_MAX);
    CHECK_EQUAL(info->node_id[27], 0xab);
    CHECK_EQUAL(ray_store_slot(ray_client_store(client)), info->slot);
    CHECK_EQUAL(node.last_attach.pid, getpid());
    CHECK_EQUAL(node.last_attach.slot, info->slot);
    CHECK_EQUAL(node.last_attach.job, 0);
    CHECK_EQUAL(strcmp(node.last_name_space, "grüße"), 0);
    // The id that architecture.md names for the first put of the first driver.
    ray_object_id id;
    CHECK_OK(ray_client_next_id(client, &id));
    char text[RAY_OBJECT_ID_HEX_SIZE];
    ray_object_id_format(&id, text);
    CHECK_EQUAL(strcmp(text, "00ffffffffffffffffffffffffffffffffffffff0100000001e1f505"), 0);
    ray_client_close(client);
    EVENTUALLY(node_read(&node, &node.detached_count) == node.attached_count);
}

static void what_is_put_is_got_by_another_client(void) {
    ray_client *writer = connect_to(node.path);
    ray_client *reader = connect_to(node.path);
    ray_object_id id;
    CHECK_OK(ray_client_put(writer, "hello", 5, "B", 1, &id));
    CHECK_OK(ray_client_share_ref(writer, &id));
    CHECK_OK(ray_client_open_ref(reader, &id));
    ray_object_view view;
    CHECK_OK(ray_client_get(reader, &id, 0, &view));
    CHECK_EQUAL(view.data_size, 5);
    CHECK_EQUAL(memcmp(view.data, "hello", 5), 0);
    ray_object_release(ray_client_store(reader), &view);
    CHECK_OK(ray_ref_release(ray_client_store(reader), &id));
    CHECK_OK(ray_ref_release(ray_client_store(writer), &id));
    ray_client_close(writer);
    ray_client_close(reader);
    EVENTUALLY(node_read(&node, &node.detached_count) == node.attached_count);
    node_check_empty(&node);
}

static void a_release_waits_for_the_opens_of_its_object(void) {
    ray_client *client = connect_to(node.path);
    ray_store *store = ray_client_store(client);
    ray_object_id id;
    ray_object_id other;
    CHECK_OK(ray_client_put(client, "hello", 5, NULL, 0, &id));
    CHECK_OK(ray_client_put(client, "world", 5, NULL, 0, &other));
    CHECK_OK(ray_client_opening_begin(client, &id));
    CHECK_OK(ray_client_opening_begin(client, &id));
    CHECK_OK(ray_client_release_ref(client, &id));
    CHECK(ray_object_contains(store, &id));
    CHECK_OK(ray_client_release_ref(client, &other));
    CHECK(!ray_object_contains(store, &other));
    ray_client_opening_end(client, &id);
    CHECK(ray_object_contains(store, &id));
    CHECK_OK(ray_ref_acquire(store, &id));
    ray_client_opening_end(client, &id);
    CHECK(ray_object_contains(store, &id)); // what was put is released, and what was opened is not
    CHECK_OK(ray_client_release_ref(client, &id));
    CHECK(!ray_object_contains(store, &id));

    // One that ends with nothing opened, and one that the session's close ends.
    CHECK_OK(ray_client_put(client, "hello", 5, NULL, 0, &id));
    CHECK_OK(ray_client_opening_begin(client, &id));
    CHECK_OK(ray_client_release_ref(client, &id));
    ray_client_opening_end(client, &id);
    CHECK(!ray_object_contains(store, &id));
    CHECK_OK(ray_client_put(client, "hello", 5, NULL, 0, &id));
    CHECK_OK(ray_client_opening_begin(client, &id));
    CHECK_OK(ray_client_release_ref(client, &id));
    ray_client_close(client);
    EVENTUALLY(node_read(&node, &node.detached_count) == node.attached_count);
    node_check_empty(&node);
}

static void a_remote_object_is_fetched_and_pinned(void) {
    ray_client *client = connect_to(node.path);
    ray_object_id id = {{1, 2, 3, [27] = 99}};
    ray_object_view view;
    CHECK_OK(ray_client_open_ref(client, &id));
    CHECK_STATUS(ray_client_get(client, &id, 0, &view), RAY_NOT_LOCAL); // does not wait, so does not ask
    int asked = node_read(&node, &node.request_count);
    CHECK_OK(ray_client_get(client, &id, 5 * SECOND, &view));
    CHECK_EQUAL(node_read(&node, &node.request_count), asked + 1);
    CHECK_EQUAL(view.data_size, 1000);
    CHECK_EQUAL(view.data[999], 99);
    ray_object_release(ray_client_store(client), &view);
    CHECK_OK(ray_client_get(client, &id, RAY_FOREVER, &view)); // here now: the node is not asked
    CHECK_EQUAL(node_read(&node, &node.request_count), asked + 1);
    ray_object_release(ray_client_store(client), &view);
    CHECK_OK(ray_ref_release(ray_client_store(client), &id));
    ray_client_close(client);
    EVENTUALLY(node_read(&node, &node.detached_count) == node.attached_count);
    node_check_empty(&node);
}

static void a_tuned_get_tells_its_tuning(void) {
    ray_client *client = connect_to(node.path);
    ray_object_id id = {{1, 2, 4, [27] = 99}};
    ray_object_view view;
    ray_client_tuning tuning = {
        .struct_size = sizeof tuning,
        .codec = RAY_CODEC_ZSTD,
        .level = -5,
        .urgency = RAY_URGENCY_BACKGROUND,
        .connection_count = 3,
        .chunk_size = RAY_CHUNK_SIZE_MIN,
        .window_bytes = 0x0102030405060708,
        .rate_max_bytes = 1000,
    };
    CHECK_OK(ray_client_open_ref(client, &id));
    CHECK_OK(ray_client_get_tuned(client, &id, 5 * SECOND, &tuning, &view));
    ray_object_release(ray_client_store(client), &view);
    static const uint8_t wanted[RAY_TUNING_SIZE] = {3, 0, 3, 0, 0xfb, 0xff, 0xff, 0xff, 3, 0, 0, 0, 0, 0, 1, 0,
                                                    8, 7, 6, 5, 4, 3, 2, 1, 0xe8, 3};
    CHECK_EQUAL(node.tuning_size, RAY_TUNING_SIZE);
    CHECK_EQUAL(memcmp(node.tuning, wanted, sizeof wanted), 0);
    CHECK_OK(ray_ref_release(ray_client_store(client), &id));

    // One of a program that knows the first fields only, and none.
    ray_object_id other = {{1, 2, 5, [27] = 99}};
    tuning.struct_size = offsetof(ray_client_tuning, codec);
    CHECK_OK(ray_client_open_ref(client, &other));
    CHECK_OK(ray_client_get_tuned(client, &other, 5 * SECOND, &tuning, &view));
    ray_object_release(ray_client_store(client), &view);
    static const uint8_t beginning[RAY_TUNING_SIZE] = {[8] = 3, [14] = 1};
    CHECK_EQUAL(memcmp(node.tuning, beginning, sizeof beginning), 0);
    CHECK_OK(ray_ref_release(ray_client_store(client), &other));
    ray_object_id plain = {{1, 2, 6, [27] = 99}};
    CHECK_OK(ray_client_open_ref(client, &plain));
    CHECK_OK(ray_client_get(client, &plain, 5 * SECOND, &view));
    ray_object_release(ray_client_store(client), &view);
    CHECK_EQUAL(node.tuning_size, 0);
    CHECK_OK(ray_ref_release(ray_client_store(client), &plain));

    uint8_t bytes[RAY_TUNING_SIZE];
    tuning = (ray_client_tuning){.struct_size = sizeof tuning, .codec = RAY_CODEC_ZSTD + 1};
    CHECK_STATUS(ray_client_tuning_pack(&tuning, bytes), RAY_INVALID_ARGUMENT);
    CHECK(strstr(ray_last_error_message(), "codec") != NULL);
    tuning = (ray_client_tuning){.struct_size = sizeof tuning, .urgency = RAY_URGENCY_COUNT};
    CHECK_STATUS(ray_client_tuning_pack(&tuning, bytes), RAY_INVALID_ARGUMENT);
    CHECK(strstr(ray_last_error_message(), "urgency") != NULL);
    CHECK_STATUS(ray_client_tuning_pack(&(ray_client_tuning){.codec = 1}, bytes), RAY_INVALID_ARGUMENT);
    ray_client_close(client);
    EVENTUALLY(node_read(&node, &node.detached_count) == node.attached_count);
    node_check_empty(&node);
}

static void a_file_gives_its_path(void) {
    ray_client *client = connect_to(node.path);
    ray_object_id id;
    ray_object_view view;
    char path[64];
    CHECK_OK(ray_client_put_file(client, "/data/häuser 1.bin", RAY_FILE_COPY, &id));
    CHECK_OK(ray_client_get_file(client, &id, SECOND, &view, path, sizeof path));
    CHECK_EQUAL(strcmp(path, "/data/häuser 1.bin"), 0);
    ray_object_release(ray_client_store(client), &view);
    CHECK_OK(ray_client_get_file(client, &id, SECOND, &view, path, strlen(path) + 1));
    ray_object_release(ray_client_store(client), &view);
    CHECK_STATUS(ray_client_get_file(client, &id, SECOND, &view, path, strlen(path)), RAY_TOO_LARGE);
    CHECK_OK(ray_ref_release(ray_client_store(client), &id));

    CHECK_STATUS(ray_client_put_file(client, "relative", RAY_FILE_COPY, &id), RAY_INVALID_ARGUMENT);
    CHECK_STATUS(ray_client_put_file(client, "/x", 3, &id), RAY_INVALID_ARGUMENT);
    CHECK_OK(ray_client_put(client, "x", 1, "B", 1, &id));
    CHECK_STATUS(ray_client_get_file(client, &id, SECOND, &view, path, sizeof path), RAY_WRONG_KIND);
    CHECK_OK(ray_ref_release(ray_client_store(client), &id));
    CHECK_OK(ray_client_put(client, "x", 1, "F", 1, &id));
    CHECK_STATUS(ray_client_get_file(client, &id, SECOND, &view, path, sizeof path), RAY_CORRUPT);
    CHECK_OK(ray_ref_release(ray_client_store(client), &id));
    ray_client_close(client); // and no pin of the failed ones is left
    EVENTUALLY(node_read(&node, &node.detached_count) == node.attached_count);
    node_check_empty(&node);
}

static void an_answer_brings_bytes_or_a_reason(void) {
    ray_client *client = connect_to(node.path);
    uint8_t report[64];
    void *answer;
    size_t size;
    CHECK_OK(ray_client_call(client, RAY_REQUEST_REPORT, report, make_report(report, "echo", "abc", 3), SECOND, &answer, &size));
    CHECK_EQUAL(size, 3);
    CHECK_EQUAL(memcmp(answer, "abc", 3), 0);
    ray_client_free(answer);
    CHECK_OK(ray_client_call(client, RAY_REQUEST_REPORT, report, make_report(report, "echo", "", 0), 0, &answer, &size));
    CHECK(answer == NULL && size == 0);
    CHECK_STATUS(ray_client_call(client, RAY_REQUEST_REPORT, report, make_report(report, "fail", "", 0), 0, &answer, &size), RAY_NAME_IN_USE);
    CHECK_EQUAL(strcmp(ray_last_error_message(), "the name 'x' is in use"), 0);
    CHECK_STATUS(ray_client_call(client, RAY_REQUEST_REPORT, report, make_report(report, "fail", "l", 1), 0, NULL, NULL), RAY_NAME_IN_USE);
    CHECK_EQUAL(strlen(ray_last_error_message()), RAY_MESSAGE_MAX - 1);
    CHECK_OK(ray_client_call(client, RAY_REQUEST_REPORT, report, make_report(report, "twice", "", 0), 0, &answer, &size));
    CHECK_EQUAL(size, 5);
    ray_client_free(answer);
    CHECK_OK(ray_client_call(client, RAY_REQUEST_REPORT, report, make_report(report, "echo", "x", 1), 0, NULL, NULL));
    ray_client_close(client);
}

static void payloads_at_the_limit_pass_and_beyond_it_do_not(void) {
    ray_client *client = connect_to(node.path);
    uint8_t *large = malloc(RAY_PAYLOAD_MAX + 1);
    uint64_t seed = check_seed();
    for (size_t i = 0; i + 8 <= RAY_PAYLOAD_MAX; i += 4096) {
        uint64_t word = check_random(&seed);
        memcpy(large + i, &word, 8);
    }
    uint32_t argument_size = RAY_PAYLOAD_MAX - 12;
    uint32_t four = 4;
    memcpy(large, &four, 4);
    memcpy(large + 4, "echo", 4);
    memcpy(large + 8, &argument_size, 4);
    void *answer;
    size_t size;
    CHECK_OK(ray_client_call(client, RAY_REQUEST_REPORT, large, RAY_PAYLOAD_MAX, 20 * SECOND, &answer, &size));
    CHECK_EQUAL(size, argument_size);
    CHECK_EQUAL(memcmp(answer, large + 12, size), 0);
    ray_client_free(answer);
    CHECK_STATUS(ray_client_call(client, RAY_REQUEST_REPORT, large, RAY_PAYLOAD_MAX + 1, 0, NULL, NULL), RAY_TOO_LARGE);
    uint8_t report[64];
    uint32_t wanted = RAY_PAYLOAD_MAX;
    CHECK_OK(ray_client_call(client, RAY_REQUEST_REPORT, report, make_report(report, "big", &wanted, 4), 20 * SECOND, &answer, &size));
    CHECK_EQUAL(size, RAY_PAYLOAD_MAX);
    ray_client_free(answer);
    wanted++;
    CHECK_STATUS(ray_client_call(client, RAY_REQUEST_REPORT, report, make_report(report, "big", &wanted, 4), 0, &answer, &size), RAY_TOO_LARGE);
    free(large);
    ray_client_close(client);
}

// What a completion was told.
struct told {
    pthread_mutex_t lock;
    int count;
    ray_status status;
    char text[64];
    int progress_count;
    ray_transfer_progress progress;
    ray_object_id progress_id;
    ray_client *client; // to send from the completion
};

static void tell(void *context, ray_status status, const char *message, const void *payload, size_t payload_size) {
    struct told *told = context;
    (void)payload;
    (void)payload_size;
    if (told->client != NULL) {
        uint8_t report[64];
        CHECK_STATUS(ray_client_call(told->client, RAY_REQUEST_REPORT, report, make_report(report, "echo", "", 0), 0, NULL, NULL),
                     RAY_INVALID_ARGUMENT);
        struct told *next = told + 1;
        CHECK_OK(ray_client_send(told->client, RAY_REQUEST_REPORT, report, make_report(report, "echo", "", 0), tell, NULL, next, NULL));
    }
    pthread_mutex_lock(&told->lock);
    told->count++;
    told->status = status;
    snprintf(told->text, sizeof told->text, "%s", message);
    pthread_mutex_unlock(&told->lock);
}

static void tell_progress(void *context, const ray_object_id *id, const ray_transfer_progress *progress) {
    struct told *told = context;
    pthread_mutex_lock(&told->lock);
    CHECK_EQUAL(told->count, 0); // never after the completion
    told->progress_count++;
    told->progress = *progress;
    told->progress_id = *id;
    pthread_mutex_unlock(&told->lock);
}

static int told_count(struct told *told) {
    pthread_mutex_lock(&told->lock);
    int count = told->count;
    pthread_mutex_unlock(&told->lock);
    return count;
}

static void answers_come_in_any_order(void) {
    ray_client *client = connect_to(node.path);
    struct told held = {.lock = PTHREAD_MUTEX_INITIALIZER};
    uint8_t report[64];
    uint64_t id = 0;
    CHECK_OK(ray_client_send(client, RAY_REQUEST_REPORT, report, make_report(report, "hold", "", 0), tell, NULL, &held, &id));
    CHECK(id != 0);
    CHECK_OK(ray_client_call(client, RAY_REQUEST_REPORT, report, make_report(report, "echo", "", 0), 0, NULL, NULL));
    CHECK_EQUAL(told_count(&held), 0);
    node_release_held(&node);
    EVENTUALLY(told_count(&held) == 1);
    CHECK_EQUAL(held.status, RAY_OK);
    ray_client_close(client);
    CHECK_EQUAL(told_count(&held), 1);
}

static void progress_comes_to_those_who_asked(void) {
    ray_client *client = connect_to(node.path);
    struct told with = {.lock = PTHREAD_MUTEX_INITIALIZER};
    struct told without = {.lock = PTHREAD_MUTEX_INITIALIZER};
    uint8_t report[64];
    size_t size = make_report(report, "progress", "", 0);
    CHECK_OK(ray_client_send(client, RAY_REQUEST_REPORT, report, size, tell, tell_progress, &with, NULL));
    CHECK_OK(ray_client_send(client, RAY_REQUEST_REPORT, report, size, tell, NULL, &without, NULL));
    EVENTUALLY(told_count(&with) == 1 && told_count(&without) == 1);
    CHECK_EQUAL(with.progress_count, 3);
    CHECK_EQUAL(with.progress.done_bytes, 3);
    CHECK_EQUAL(with.progress.zstd_level, -5);
    CHECK_EQUAL(with.progress.retried_count, 2);
    CHECK_EQUAL(with.progress_id.bytes[0], 9);
    CHECK_EQUAL(without.progress_count, 0);
    ray_client_close(client);
}

static void a_cancelled_request_completes_cancelled(void) {
    ray_client *client = connect_to(node.path);
    struct told told = {.lock = PTHREAD_MUTEX_INITIALIZER};
    uint8_t report[64];
    uint64_t id;
    int before = node_read(&node, &node.cancelled_count);
    CHECK_OK(ray_client_send(client, RAY_REQUEST_REPORT, report, make_report(report, "hold", "", 0), tell, NULL, &told, &id));
    ray_client_cancel(client, id);
    EVENTUALLY(told_count(&told) == 1);
    CHECK_EQUAL(told.status, RAY_CANCELLED);
    ray_client_cancel(client, id); // answered already: nothing is sent
    ray_client_cancel(client, 0);
    ray_client_cancel(client, UINT64_MAX);
    CHECK_OK(ray_client_call(client, RAY_REQUEST_REPORT, report, make_report(report, "echo", "", 0), 0, NULL, NULL));
    CHECK_EQUAL(node_read(&node, &node.cancelled_count), before + 1);
    ray_client_close(client);
}

static void a_call_ends_when_its_time_is_up(void) {
    ray_client *client = connect_to(node.path);
    uint8_t report[64];
    uint64_t began = ray__now_ns();
    CHECK_STATUS(ray_client_call(client, RAY_REQUEST_REPORT, report, make_report(report, "hold", "", 0), 50000000, NULL, NULL), RAY_TIMED_OUT);
    CHECK(ray__now_ns() - began >= 50000000);
    EVENTUALLY(node_read(&node, &node.held_count) == 0); // the node was told to give it up
    CHECK_OK(ray_client_call(client, RAY_REQUEST_REPORT, report, make_report(report, "echo", "", 0), 0, NULL, NULL));
    ray_client_close(client);
}

static void closing_completes_what_is_pending(void) {
    ray_client *client = connect_to(node.path);
    struct told told[100];
    uint8_t report[64];
    for (int i = 0; i < 100; i++) {
        told[i] = (struct told){.lock = PTHREAD_MUTEX_INITIALIZER};
        CHECK_OK(ray_client_send(client, RAY_REQUEST_REPORT, report, make_report(report, "hold", "", 0), tell, NULL, &told[i], NULL));
    }
    ray_client_close(client);
    for (int i = 0; i < 100; i++) {
        CHECK_EQUAL(told[i].count, 1);
        CHECK_EQUAL(told[i].status, RAY_CLOSED);
    }
    EVENTUALLY(node_read(&node, &node.detached_count) == node.attached_count);
    node_release_held(&node); // answers to nobody
}

static void a_completion_may_send_but_not_call(void) {
    ray_client *client = connect_to(node.path);
    struct told told[2] = {{.lock = PTHREAD_MUTEX_INITIALIZER, .client = client}, {.lock = PTHREAD_MUTEX_INITIALIZER}};
    uint8_t report[64];
    CHECK_OK(ray_client_send(client, RAY_REQUEST_REPORT, report, make_report(report, "echo", "", 0), tell, NULL, &told[0], NULL));
    EVENTUALLY(told_count(&told[1]) == 1);
    CHECK_EQUAL(told[1].status, RAY_OK);
    ray_client_close(client);
}

static void more_requests_than_the_limit_are_refused(void) {
    ray_client *client = connect_to(node.path);
    struct told told = {.lock = PTHREAD_MUTEX_INITIALIZER};
    uint8_t report[64];
    size_t size = make_report(report, "hold", "", 0);
    for (uint32_t i = 0; i < RAY__REQUESTS_MAX; i++) {
        CHECK_OK(ray_client_send(client, RAY_REQUEST_REPORT, report, size, tell, NULL, &told, NULL));
    }
    CHECK_STATUS(ray_client_send(client, RAY_REQUEST_REPORT, report, size, tell, NULL, &told, NULL), RAY_AGAIN);
    EVENTUALLY(node_read(&node, &node.held_count) == (int)RAY__REQUESTS_MAX);
    node_release_held(&node);
    EVENTUALLY(told_count(&told) == (int)RAY__REQUESTS_MAX);
    CHECK_OK(ray_client_call(client, RAY_REQUEST_REPORT, report, make_report(report, "echo", "", 0), 0, NULL, NULL));
    ray_client_close(client);
}

static ray_client *shared;

static void *ask_many_times(void *argument) {
    uint64_t seed = (uint64_t)(uintptr_t)argument;
    uint8_t *report = malloc(300000);
    uint8_t *bytes = malloc(200000);
    for (int round = 0; round < 200; round++) {
        uint32_t length = round % 20 == 0 ? (uint32_t)(check_random(&seed) % 200000) : (uint32_t)(check_random(&seed) % 500);
        memset(bytes, (int)check_random(&seed), length);
        void *answer;
        size_t size;
        CHECK_OK(ray_client_call(shared, RAY_REQUEST_REPORT, report, make_report(report, "echo", bytes, length), 20 * SECOND, &answer, &size));
        CHECK_EQUAL(size, length);
        CHECK(size == 0 || memcmp(answer, bytes, size) == 0);
        ray_client_free(answer);
        ray_object_id id;
        CHECK_OK(ray_client_put(shared, bytes, length, NULL, 0, &id));
        ray_object_view view;
        CHECK_OK(ray_client_get(shared, &id, 0, &view));
        ray_object_release(ray_client_store(shared), &view);
        CHECK_OK(ray_ref_release(ray_client_store(shared), &id));
    }
    free(bytes);
    free(report);
    return NULL;
}

static void many_threads_share_a_session(void) {
    shared = connect_to(node.path);
    uint64_t seed = check_seed();
    pthread_t threads[8];
    for (int i = 0; i < 8; i++) {
        CHECK_EQUAL(pthread_create(&threads[i], NULL, ask_many_times, (void *)(uintptr_t)check_random(&seed)), 0);
    }
    for (int i = 0; i < 8; i++) {
        pthread_join(threads[i], NULL);
    }
    ray_client_close(shared);
    EVENTUALLY(node_read(&node, &node.detached_count) == node.attached_count);
    node_check_empty(&node);
}

static void bad_options_are_refused(void) {
    ray_client *client;
    ray_client_options options = {.socket_path = node.path};
    CHECK_STATUS(ray_client_connect(&options, &client), RAY_INVALID_ARGUMENT);
    options.struct_size = sizeof options;
    options.socket_path = NULL;
    CHECK_STATUS(ray_client_connect(&options, &client), RAY_INVALID_ARGUMENT);
    char longest[RAY_NAMESPACE_MAX + 2];
    memset(longest, 'n', sizeof longest);
    longest[RAY_NAMESPACE_MAX + 1] = '\0';
    options.socket_path = node.path;
    options.name_space = longest;
    CHECK_STATUS(ray_client_connect(&options, &client), RAY_INVALID_ARGUMENT);
    longest[RAY_NAMESPACE_MAX] = '\0';
    CHECK_OK(ray_client_connect(&options, &client));
    CHECK_EQUAL(strlen(node.last_name_space), RAY_NAMESPACE_MAX);
    ray_client_close(client);
    char too_long[200];
    memset(too_long, 'p', sizeof too_long);
    too_long[0] = '/';
    too_long[199] = '\0';
    CHECK_STATUS(try_connect(too_long, &client), RAY_INVALID_ARGUMENT);
    CHECK(strstr(ray_last_error_message(), "shorter directory") != NULL);
    ray_client_close(NULL);
}

int main(void) {
    node_prepare(&node);
    int before = count_fds();
    node_start(&node);
    RUN(a_client_learns_who_it_is);
    RUN(what_is_put_is_got_by_another_client);
    RUN(a_release_waits_for_the_opens_of_its_object);
    RUN(a_remote_object_is_fetched_and_pinned);
    RUN(a_tuned_get_tells_its_tuning);
    RUN(a_file_gives_its_path);
    RUN(an_answer_brings_bytes_or_a_reason);
    RUN(payloads_at_the_limit_pass_and_beyond_it_do_not);
    RUN(answers_come_in_any_order);
    RUN(progress_comes_to_those_who_asked);
    RUN(a_cancelled_request_completes_cancelled);
    RUN(a_call_ends_when_its_time_is_up);
    RUN(closing_completes_what_is_pending);
    RUN(a_completion_may_send_but_not_call);
    RUN(more_requests_than_the_limit_are_refused);
    RUN(many_threads_share_a_session);
    RUN(bad_options_are_refused);
    EVENTUALLY(node_read(&node, &node.detached_count) == node.attached_count);
    node_check_empty(&node);
    node_stop(&node);
    CHECK_EQUAL(count_fds(), before);
    return 0;
}
