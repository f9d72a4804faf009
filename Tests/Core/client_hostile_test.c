// SPDX-License-Identifier: Apache-2.0
// Goal: whatever one process does at the socket, the host and the other clients go on. Method: raw sockets that say what no client of
// ours says, and a well-behaved client that must be served after each.
#include <grp.h>

#include "client_host.h"

static struct node node;
static ray_client *witness; // attached throughout

static void witness_is_served(void) {
    uint8_t report[64];
    void *answer;
    size_t size;
    CHECK_OK(ray_client_call(witness, RAY_REQUEST_REPORT, report, make_report(report, "echo", "abc", 3), 10 * SECOND, &answer, &size));
    CHECK_EQUAL(size, 3);
    ray_client_free(answer);
}

static int raw_connect(const char *path) {
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", path);
    CHECK_EQUAL(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
    struct timeval limit = {.tv_sec = 15};
    CHECK_EQUAL(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), 0);
    return fd;
}

static void raw_send(int fd, const void *bytes, size_t size) {
    CHECK_EQUAL(send(fd, bytes, size, MSG_NOSIGNAL), size);
}

// For bytes behind those that may have ended the connection already.
static void raw_send_more(int fd, const void *bytes, size_t size) {
    ssize_t sent = send(fd, bytes, size, MSG_NOSIGNAL);
    CHECK(sent == (ssize_t)size || errno == EPIPE || errno == ECONNRESET);
}

struct attach_message {
    struct ray__message header;
    struct ray__attach attach;
};

static struct attach_message good_attach(void) {
    return (struct attach_message){
        .header = {.magic = RAY__MESSAGE_MAGIC, .type = RAY__ATTACH, .body_size = sizeof(struct ray__attach)},
        .attach = {.version = RAY__SESSION_VERSION, .layout = RAY__SESSION_LAYOUT, .pid = getpid()},
    };
}

// Reads one message; false at the end of the stream. Descriptors that come along are closed by the kernel.
static bool raw_receive(int fd, struct ray__message *header, char *body, size_t capacity) {
    ssize_t got = recv(fd, header, sizeof *header, MSG_WAITALL);
    if (got <= 0) {
        CHECK(got == 0 || errno == ECONNRESET);
        return false;
    }
    CHECK_EQUAL(got, sizeof *header);
    CHECK(header->body_size < capacity);
    CHECK_EQUAL(recv(fd, body, header->body_size, MSG_WAITALL), header->body_size);
    body[header->body_size] = '\0';
    return true;
}

static int raw_attach(const char *path) {
    int fd = raw_connect(path);
    struct attach_message attach = good_attach();
    raw_send(fd, &attach, sizeof attach);
    struct ray__message header;
    char body[1024];
    CHECK(raw_receive(fd, &header, body, sizeof body));
    CHECK_EQUAL(header.type, RAY__WELCOME);
    return fd;
}

static void raw_goodbye(int fd) {
    struct ray__message goodbye = {.magic = RAY__MESSAGE_MAGIC, .type = RAY__GOODBYE};
    raw_send(fd, &goodbye, sizeof goodbye);
    close(fd);
}

static void expect_end(int fd) {
    struct ray__message header;
    char body[1024];
    while (raw_receive(fd, &header, body, sizeof body)) {
        CHECK(header.type == RAY__ANSWER);
    }
    close(fd);
}

static void bytes_that_are_no_message_end_the_connection(void) {
    static const char *lines[] = {"GET / HTTP/1.1\r\nHost: localhost\r\nAccept: everything and more\r\n\r\n", "RAYMxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx"};
    for (int i = 0; i < 2; i++) {
        int fd = raw_connect(node.path);
        raw_send(fd, lines[i], strlen(lines[i]));
        expect_end(fd);
    }
    witness_is_served();
}

static void messages_that_a_stranger_may_not_send_end_the_connection(void) {
    struct ray__message bad[] = {
        {.magic = RAY__MESSAGE_MAGIC, .type = RAY__REQUEST, .request = RAY_REQUEST_REPORT, .request_id = 1},
        {.magic = RAY__MESSAGE_MAGIC, .type = RAY__CANCEL, .request_id = 1},
        {.magic = RAY__MESSAGE_MAGIC, .type = RAY__WELCOME},
        {.magic = RAY__MESSAGE_MAGIC, .type = 999},
        {.magic = RAY__MESSAGE_MAGIC, .type = RAY__ATTACH, .body_size = RAY__ATTACH_BODY_MAX + 1},
        {.magic = RAY__MESSAGE_MAGIC, .type = RAY__ATTACH, .body_size = UINT32_MAX},
        {.magic = RAY__MESSAGE_MAGIC, .type = RAY__ATTACH, .zero = 1},
        {.magic = RAY__MESSAGE_MAGIC, .type = RAY__ATTACH, .text_size = 1},
        {.magic = RAY__MESSAGE_MAGIC, .type = RAY__ATTACH, .body_size = 4},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        int fd = raw_connect(node.path);
        raw_send(fd, &bad[i], sizeof bad[i]);
        raw_send_more(fd, "....", 4);
        expect_end(fd);
    }
    witness_is_served();
}

static void messages_that_a_client_may_not_send_end_its_connection_only(void) {
    struct attach_message again = good_attach();
    struct ray__message bad[] = {
        again.header,
        {.magic = RAY__MESSAGE_MAGIC, .type = RAY__REQUEST, .request = RAY_REQUEST_REPORT, .request_id = 0},
        {.magic = RAY__MESSAGE_MAGIC, .type = RAY__REQUEST, .request_id = 1, .body_size = RAY__BODY_MAX + 1},
        {.magic = RAY__MESSAGE_MAGIC, .type = RAY__REQUEST, .request_id = 1, .body_size = 4, .text_size = 4},
        {.magic = RAY__MESSAGE_MAGIC, .type = RAY__REQUEST, .request_id = 1, .status = RAY_SYSTEM},
        {.magic = RAY__MESSAGE_MAGIC, .type = RAY__CANCEL, .body_size = 4},
        {.magic = RAY__MESSAGE_MAGIC, .type = RAY__ANSWER, .request_id = 1},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        int fd = raw_attach(node.path);
        raw_send(fd, &bad[i], sizeof bad[i]);
        raw_send_more(fd, &again.attach, sizeof again.attach);
        expect_end(fd);
    }
    witness_is_served();
}

static void another_version_and_another_build_are_told_so(void) {
    struct ray__message header;
    char body[1024];
    struct attach_message attach = good_attach();
    attach.attach.version = 99;
    attach.header.body_size = 8; // a later version may say the rest otherwise
    int fd = raw_connect(node.path);
    raw_send(fd, &attach, sizeof attach.header + 8);
    CHECK(raw_receive(fd, &header, body, sizeof body));
    CHECK_EQUAL(header.type, RAY__REFUSED);
    CHECK_EQUAL(header.status, RAY_VERSION_MISMATCH);
    CHECK(strstr(body, "version 99") != NULL && strstr(body, "version 2;") != NULL);
    expect_end(fd);
    attach = good_attach();
    attach.attach.layout ^= 1;
    fd = raw_connect(node.path);
    raw_send(fd, &attach, sizeof attach);
    CHECK(raw_receive(fd, &header, body, sizeof body));
    CHECK_EQUAL(header.status, RAY_LAYOUT_MISMATCH);
    expect_end(fd);
    attach = good_attach();
    attach.attach.name_space_size = 1; // which is not there
    fd = raw_connect(node.path);
    raw_send(fd, &attach, sizeof attach);
    CHECK(raw_receive(fd, &header, body, sizeof body));
    CHECK_EQUAL(header.status, RAY_PROTOCOL);
    expect_end(fd);
    witness_is_served();
}

static void a_message_may_come_byte_by_byte(void) {
    int fd = raw_connect(node.path);
    struct attach_message attach = good_attach();
    for (size_t i = 0; i < sizeof attach; i++) {
        raw_send(fd, (const uint8_t *)&attach + i, 1);
    }
    struct ray__message header;
    char body[1024];
    CHECK(raw_receive(fd, &header, body, sizeof body));
    CHECK_EQUAL(header.type, RAY__WELCOME);
    uint8_t message[128];
    struct ray__message request = {.magic = RAY__MESSAGE_MAGIC, .type = RAY__REQUEST, .request = RAY_REQUEST_REPORT, .request_id = 5};
    request.body_size = (uint32_t)make_report(message + sizeof request, "echo", "xyz", 3);
    memcpy(message, &request, sizeof request);
    for (size_t i = 0; i < sizeof request + request.body_size; i++) {
        raw_send(fd, message + i, 1);
    }
    CHECK(raw_receive(fd, &header, body, sizeof body));
    CHECK_EQUAL(header.request_id, 5);
    CHECK_EQUAL(memcmp(body, "xyz", 3), 0);
    raw_goodbye(fd);
}

static void a_large_size_without_bytes_takes_nothing_from_others(void) {
    int fds[20];
    for (int i = 0; i < 20; i++) {
        fds[i] = raw_attach(node.path);
        struct ray__message request = {.magic = RAY__MESSAGE_MAGIC, .type = RAY__REQUEST, .request_id = 1, .body_size = RAY_PAYLOAD_MAX};
        raw_send(fds[i], &request, sizeof request);
    }
    witness_is_served();
    for (int i = 0; i < 20; i++) {
        close(fds[i]);
    }
}

static void random_messages_never_stop_the_host(void) {
    uint64_t seed = check_seed();
    for (int round = 0; round < 300; round++) {
        bool attached = round % 3 == 0;
        int fd = attached ? raw_attach(node.path) : raw_connect(node.path);
        struct attach_message message = good_attach();
        uint8_t *bytes = (uint8_t *)&message;
        for (uint64_t flips = check_random(&seed) % 4; flips > 0; flips--) {
            bytes[check_random(&seed) % sizeof message] ^= (uint8_t)(1u << check_random(&seed) % 8);
        }
        if (attached) {
            message.header.type = (uint16_t)(check_random(&seed) % 24);
            message.header.request_id = check_random(&seed);
            message.header.request = 99; // which the node knows how to refuse
        }
        raw_send(fd, &message, 1 + check_random(&seed) % sizeof message);
        if (attached && round % 2 == 0) {
            struct ray__message goodbye = {.magic = RAY__MESSAGE_MAGIC, .type = RAY__GOODBYE};
            (void)!send(fd, &goodbye, sizeof goodbye, MSG_NOSIGNAL);
        }
        close(fd);
    }
    witness_is_served();
}

static void a_client_that_does_not_read_is_disconnected(void) {
    int fd = raw_attach(node.path);
    uint8_t message[128];
    uint32_t wanted = 8 << 20;
    struct ray__message request = {.magic = RAY__MESSAGE_MAGIC, .type = RAY__REQUEST, .request = RAY_REQUEST_REPORT, .request_id = 5};
    request.body_size = (uint32_t)make_report(message + sizeof request, "big", &wanted, 4);
    memcpy(message, &request, sizeof request);
    int before = node_read(&node, &node.request_count);
    for (int i = 0; i < 9; i++) {
        raw_send(fd, message, sizeof request + request.body_size);
    }
    // Nine answers of 8 MiB are more than the 64 MiB that are kept.
    EVENTUALLY(node_read(&node, &node.request_count) == before + 9);
    witness_is_served();
    // What the kernel had taken is still there to be read; then the stream ends, short of nine answers.
    size_t total = 0;
    uint8_t *sink = malloc(1 << 20);
    for (ssize_t got = recv(fd, sink, 1 << 20, 0); got > 0; got = recv(fd, sink, 1 << 20, 0)) {
        total += (size_t)got;
    }
    free(sink);
    CHECK(total < 9 * (size_t)wanted);
    close(fd);
}

static void a_client_that_reads_slowly_gets_everything(void) {
    int fd = raw_attach(node.path);
    uint8_t message[128];
    uint32_t wanted = 8 << 20;
    struct ray__message request = {.magic = RAY__MESSAGE_MAGIC, .type = RAY__REQUEST, .request = RAY_REQUEST_REPORT, .request_id = 5};
    request.body_size = (uint32_t)make_report(message + sizeof request, "big", &wanted, 4);
    memcpy(message, &request, sizeof request);
    int before = node_read(&node, &node.request_count);
    for (int i = 0; i < 7; i++) {
        raw_send(fd, message, sizeof request + request.body_size);
    }
    EVENTUALLY(node_read(&node, &node.request_count) == before + 7);
    witness_is_served();
    char *body = malloc((8 << 20) + 1024);
    for (int i = 0; i < 7; i++) {
        struct ray__message header;
        CHECK(raw_receive(fd, &header, body, (8 << 20) + 1024));
        CHECK_EQUAL(header.status, RAY_OK);
        CHECK_EQUAL(header.body_size, wanted);
        CHECK_EQUAL((uint8_t)body[wanted - 1], 0x5a);
    }
    free(body);
    raw_goodbye(fd);
}

// Whether the slots in use are the node's own and those of clients that it thinks are there.
static bool slots_are_accounted_for(void) {
    ray_store_stats stats = {.struct_size = sizeof stats};
    CHECK_OK(ray_store_stats_read(node.store, &stats));
    return (int)stats.client_count == 1 + node_read(&node, &node.attached_count) - node_read(&node, &node.detached_count);
}

static void the_node_may_refuse(void) {
    pthread_mutex_lock(&node.lock);
    node.refuse = true;
    pthread_mutex_unlock(&node.lock);
    ray_client *client;
    for (int i = 0; i < 300; i++) { // more than there are slots: a refused one gives its slot back
        CHECK_STATUS(try_connect(node.path, &client), RAY_NAME_UNKNOWN);
        CHECK(client == NULL);
    }
    CHECK_EQUAL(strcmp(ray_last_error_message(), "no such job here"), 0);
    pthread_mutex_lock(&node.lock);
    node.refuse = false;
    node.attached_count -= 300; // the count of those who were let in
    pthread_mutex_unlock(&node.lock);
    EVENTUALLY(slots_are_accounted_for()); // so detached was called for none of them
    witness_is_served();
}

static void a_node_that_says_nothing_is_given_up(void) {
    pthread_mutex_lock(&node.lock);
    node.silent = true;
    pthread_mutex_unlock(&node.lock);
    ray_client_options options = {.struct_size = sizeof options, .socket_path = node.path, .timeout_ns = 30000000};
    ray_client *client;
    CHECK_STATUS(ray_client_connect(&options, &client), RAY_TIMED_OUT);
    CHECK(strstr(ray_last_error_message(), node.path) != NULL);
    // It had no store yet, so nobody waits for the end of its process.
    pthread_mutex_lock(&node.lock);
    uint64_t late = node.last_client;
    pthread_mutex_unlock(&node.lock);
    EVENTUALLY(node_slot_of(&node, late) == 0);
    ray_session_info info = {.job = 1};
    ray_host_welcome(node.host, late, &info); // too late: no effect
    pthread_mutex_lock(&node.lock);
    node.silent = false;
    pthread_mutex_unlock(&node.lock);
}

static void another_user_is_refused(void) {
    if (geteuid() != 0) {
        fprintf(stderr, "    not root: left out\n");
        return;
    }
    char inner[96];
    snprintf(inner, sizeof inner, "%s/node", node.directory);
    for (int open = 0; open < 2; open++) {
        // First as it is made; then with everything open, so that only the peer's credentials stand between.
        CHECK_EQUAL(chmod(node.directory, open ? 0755 : 0700), 0);
        CHECK_EQUAL(chmod(inner, open ? 0755 : 0700), 0);
        CHECK_EQUAL(chmod(node.path, open ? 0777 : 0600), 0);
        int attached = node_read(&node, &node.attached_count);
        pid_t pid = fork();
        if (pid == 0) {
            if (setgroups(0, NULL) != 0 || setgid(65534) != 0 || setuid(65534) != 0) {
                _exit(3);
            }
            ray_client *client;
            ray_status status = try_connect(node.path, &client);
            bool named = strstr(ray_last_error_message(), open ? "user 65534" : "another user") != NULL;
            _exit(status == RAY_UNREACHABLE && named ? 0 : 1);
        }
        int ended = 0;
        CHECK_EQUAL(waitpid(pid, &ended, 0), pid);
        CHECK(WIFEXITED(ended));
        CHECK_EQUAL(WEXITSTATUS(ended), 0);
        CHECK_EQUAL(node_read(&node, &node.attached_count), attached);

        // The same without our client, which would look at the node's user by itself.
        pid = open ? fork() : -1;
        if (pid == 0) {
            if (setgroups(0, NULL) != 0 || setgid(65534) != 0 || setuid(65534) != 0) {
                _exit(3);
            }
            int fd = raw_connect(node.path);
            struct ray__message header;
            char body[1024];
            bool refused = raw_receive(fd, &header, body, sizeof body) && header.type == RAY__REFUSED && header.status == RAY_UNREACHABLE;
            _exit(refused && !raw_receive(fd, &header, body, sizeof body) ? 0 : 1);
        }
        if (pid > 0) {
            CHECK_EQUAL(waitpid(pid, &ended, 0), pid);
            CHECK(WIFEXITED(ended));
            CHECK_EQUAL(WEXITSTATUS(ended), 0);
            CHECK_EQUAL(node_read(&node, &node.attached_count), attached);
        }
    }
    CHECK_EQUAL(chmod(inner, 0700), 0);
    CHECK_EQUAL(chmod(node.path, 0600), 0);
    witness_is_served();
}

// A raw client that was disconnected keeps its slot while this process runs, by the rule in host.h, so this test's own slots stay
// taken to the end: that rule is checked here, and the reaping in client_death_test.
static void who_was_disconnected_keeps_its_slot_while_it_runs(void) {
    EVENTUALLY(slots_are_accounted_for());
    CHECK(node_read(&node, &node.attached_count) - node_read(&node, &node.detached_count) > 1);
    CHECK_OK(ray_plasma_check(node.store, 2));
}

int main(void) {
    node_prepare(&node);
    int before = count_fds();
    node_start(&node);
    witness = connect_to(node.path);
    RUN(bytes_that_are_no_message_end_the_connection);
    RUN(messages_that_a_stranger_may_not_send_end_the_connection);
    RUN(messages_that_a_client_may_not_send_end_its_connection_only);
    RUN(another_version_and_another_build_are_told_so);
    RUN(a_message_may_come_byte_by_byte);
    RUN(a_large_size_without_bytes_takes_nothing_from_others);
    RUN(random_messages_never_stop_the_host);
    RUN(a_client_that_does_not_read_is_disconnected);
    RUN(a_client_that_reads_slowly_gets_everything);
    RUN(the_node_may_refuse);
    RUN(a_node_that_says_nothing_is_given_up);
    RUN(another_user_is_refused);
    RUN(who_was_disconnected_keeps_its_slot_while_it_runs);
    ray_client_close(witness);
    node_stop(&node);
    CHECK_EQUAL(count_fds(), before);
    return 0;
}
