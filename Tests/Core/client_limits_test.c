// SPDX-License-Identifier: Apache-2.0
// Goal: at the limits of descriptors, of time and of a stop, the host serves on or ends in order. Method: the limits are lowered, or
// waited for, with a well-behaved client beside.
#include <sys/resource.h>

#include "client_host.h"

static struct node node;

static int knock(void) {
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    snprintf(address.sun_path, sizeof address.sun_path, "%s", node.path);
    CHECK_EQUAL(connect(fd, (const struct sockaddr *)&address, sizeof address), 0);
    return fd;
}

static void say_echo(ray_client *client) {
    uint8_t report[64];
    CHECK_OK(ray_client_call(client, RAY_REQUEST_REPORT, report, make_report(report, "echo", "x", 1), 10 * SECOND, NULL, NULL));
}

// A process that attaches when it is told, and says how that went.
static void attach_and_say(const char *path, int say) {
    ray_client *client;
    child_say(say, try_connect(path, &client) == RAY_OK ? 'y' : 'n');
    ray_client_close(client);
}

static void without_descriptors_new_clients_wait_and_the_others_are_served(struct child *child) {
    ray_client *witness = connect_to(node.path);
    struct rlimit before, low;
    CHECK_EQUAL(getrlimit(RLIMIT_NOFILE, &before), 0);
    low = before;
    low.rlim_cur = (rlim_t)dup(0); // the lowest free descriptor is beyond the limit from here on
    close((int)low.rlim_cur);
    CHECK_EQUAL(setrlimit(RLIMIT_NOFILE, &low), 0);
    child_go(child);
    int attached = node_read(&node, &node.attached_count);
    for (int i = 0; i < 200; i++) {
        say_echo(witness);
    }
    struct timespec began, ended;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &began);
    usleep(300000); // not to wait for anything: to see what the host does meanwhile
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ended);
    CHECK((ended.tv_sec - began.tv_sec) * 1000 + (ended.tv_nsec - began.tv_nsec) / 1000000 < 100); // it does not look again and again
    CHECK_EQUAL(node_read(&node, &node.attached_count), attached);
    CHECK_EQUAL(setrlimit(RLIMIT_NOFILE, &before), 0);
    CHECK_EQUAL(child_hear(child), 'y');
    child_end(child);
    ray_client_close(witness);
    EVENTUALLY(node_read(&node, &node.detached_count) == node_read(&node, &node.attached_count));
}

static void a_client_without_room_for_descriptors_is_told(void) {
    struct rlimit before, low;
    CHECK_EQUAL(getrlimit(RLIMIT_NOFILE, &before), 0);
    low = before;
    int statuses[12];
    // Each time one descriptor more, from none to enough: every call that needs one fails once.
    int spare[12];
    for (int i = 0; i < 12; i++) {
        spare[i] = dup(0);
    }
    int top = dup(0);
    low.rlim_cur = (rlim_t)top;
    close(top);
    int fds = count_fds();
    CHECK_EQUAL(setrlimit(RLIMIT_NOFILE, &low), 0);
    bool reached = false;
    for (int i = 0; i < 12; i++) {
        ray_client *client;
        ray_client_options options = {.struct_size = sizeof options, .socket_path = node.path, .timeout_ns = SECOND / 4};
        statuses[i] = ray_client_connect(&options, &client);
        if (statuses[i] == RAY_OK) {
            reached = true;
            ray_client_close(client);
        } else {
            CHECK(client == NULL);
            CHECK(ray_last_error_message()[0] != '\0');
        }
        close(spare[11 - i]);
    }
    CHECK_EQUAL(setrlimit(RLIMIT_NOFILE, &before), 0);
    CHECK_EQUAL(statuses[0], RAY_SYSTEM);
    CHECK(reached);
    EVENTUALLY(node_read(&node, &node.detached_count) == node_read(&node, &node.attached_count));
    EVENTUALLY(count_fds() == fds - 12); // nothing is left by those that failed half-way, at either end
    node_check_empty(&node);
}

static void who_never_says_what_it_wants_is_sent_away(void) {
    int fd = knock();
    struct timeval limit = {.tv_sec = 15};
    CHECK_EQUAL(setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit), 0);
    char byte;
    uint64_t began = ray__now_ns();
    CHECK_EQUAL(recv(fd, &byte, 1, 0), 0);
    CHECK(ray__now_ns() - began >= 9 * SECOND);
    close(fd);
}

// What the completion of a large answer saw.
struct arrival {
    pthread_mutex_t lock;
    bool done;
    ray_status status;
    size_t size;
};

static void arrived(void *context, ray_status status, const char *message, const void *payload, size_t payload_size) {
    struct arrival *arrival = context;
    (void)message;
    (void)payload;
    pthread_mutex_lock(&arrival->lock);
    arrival->status = status;
    arrival->size = payload_size;
    arrival->done = true;
    pthread_mutex_unlock(&arrival->lock);
}

static bool has_arrived(struct arrival *arrival) {
    pthread_mutex_lock(&arrival->lock);
    bool done = arrival->done;
    pthread_mutex_unlock(&arrival->lock);
    return done;
}

static void answers_given_before_a_stop_arrive(void) {
    ray_client *client = connect_to(node.path);
    int before = node_read(&node, &node.request_count);
    struct arrival arrivals[3];
    uint32_t wanted = 8 << 20;
    uint8_t report[64];
    size_t size = make_report(report, "big", &wanted, 4);
    for (int i = 0; i < 3; i++) {
        arrivals[i] = (struct arrival){.lock = PTHREAD_MUTEX_INITIALIZER};
        CHECK_OK(ray_client_send(client, RAY_REQUEST_REPORT, report, size, arrived, NULL, &arrivals[i], NULL));
    }
    EVENTUALLY(node_read(&node, &node.request_count) == before + 3);
    ray_host_stop(node.host);
    for (int i = 0; i < 3; i++) {
        EVENTUALLY(has_arrived(&arrivals[i]));
        CHECK_EQUAL(arrivals[i].status, RAY_OK);
        CHECK_EQUAL(arrivals[i].size, wanted);
    }
    ray_client_close(client);
    node.host = NULL;
}

int main(void) {
    node_prepare(&node);
    int before = count_fds();
    struct child child = spawn(attach_and_say, node.path);
    node_start(&node);
    fprintf(stderr, "  without_descriptors_new_clients_wait_and_the_others_are_served\n");
    without_descriptors_new_clients_wait_and_the_others_are_served(&child);
    RUN(a_client_without_room_for_descriptors_is_told);
    RUN(who_never_says_what_it_wants_is_sent_away);
    RUN(answers_given_before_a_stop_arrive);
    node_stop(&node);
    CHECK_EQUAL(count_fds(), before);
    return 0;
}
