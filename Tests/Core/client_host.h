// SPDX-License-Identifier: Apache-2.0
// A small node for the client room's tests: a real store and a real host, and a few requests answered in the test's own process. REPORT
// is the way to ask it for a behaviour: echo, hold (until released or cancelled), progress, big, fail, twice, big_hold.
#ifndef RAY_TESTS_CLIENT_HOST_H
#define RAY_TESTS_CLIENT_HOST_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "base/clock_internal.h"
#include "check.h"
#include "client/messages_internal.h"

#define SECOND UINT64_C(1000000000)

// Polls a condition under a deadline of 15 s.
#define EVENTUALLY(condition)                                                                            \
    do {                                                                                                 \
        uint64_t eventually_deadline_ = ray__deadline_ns(15 * SECOND);                                   \
        while (!(condition)) {                                                                           \
            if (ray__now_ns() > eventually_deadline_) {                                                  \
                fprintf(stderr, "%s:%d: never came to hold: %s\n", __FILE__, __LINE__, #condition);      \
                exit(1);                                                                                 \
            }                                                                                            \
            usleep(1000);                                                                                \
        }                                                                                                \
    } while (0)

#define NODE_HOLDS_MAX 32768

struct held {
    uint64_t client;
    uint64_t request_id;
};

struct node {
    char directory[80];
    char path[100];
    ray_store *store;
    ray_host *host;
    bool refuse; // whoever attaches
    bool silent; // says nothing to whoever attaches
    pthread_mutex_t lock;
    int attached_count;
    int detached_count;
    int request_count;
    int cancelled_count;
    uint64_t last_client;
    ray_attach_request last_attach;
    char last_name_space[RAY_NAMESPACE_MAX + 1];
    uint64_t slot_clients[RAY_SLOTS_MAX];
    struct held *held;
    int held_count;
    bool holds_creates;     // until they are released
    bool ignores_cancels;
    bool fetches_nothing;   // for a GET
    bool holds_gets;        // their answers, until they are released
    ray_status get_failure; // what they answer at once instead
    uint8_t create[52];     // the last that was held
    uint8_t tuning[RAY_TUNING_SIZE]; // of the last GET
    uint32_t tuning_size;            // 0: it had none
};

static inline int node_read(struct node *node, const int *what) {
    pthread_mutex_lock(&node->lock);
    int value = *what;
    pthread_mutex_unlock(&node->lock);
    return value;
}

static void node_attached(void *context, uint64_t client, const ray_attach_request *request) {
    struct node *node = context;
    pthread_mutex_lock(&node->lock);
    node->attached_count++;
    node->last_client = client;
    node->last_attach = *request;
    snprintf(node->last_name_space, sizeof node->last_name_space, "%s", request->name_space);
    node->slot_clients[request->slot] = client;
    bool refuse = node->refuse;
    bool silent = node->silent;
    uint32_t job = request->job != 0 ? request->job : (uint32_t)node->attached_count;
    pthread_mutex_unlock(&node->lock);
    if (refuse) {
        ray_host_refuse(node->host, client, RAY_NAME_UNKNOWN, "no such job here");
    } else if (!silent) {
        ray_session_info info = {.job = job, .node_number = 7, .is_driver = request->job == 0, .task = ray_task_id_driver(job)};
        memset(info.node_id, 0xab, sizeof info.node_id);
        ray_host_welcome(node->host, client, &info);
    }
}

static void node_hold(struct node *node, uint64_t client, uint64_t request_id) {
    pthread_mutex_lock(&node->lock);
    CHECK(node->held_count < NODE_HOLDS_MAX);
    node->held[node->held_count++] = (struct held){client, request_id};
    pthread_mutex_unlock(&node->lock);
}

// Takes a held request out; false if it is not held.
static bool node_take_held(struct node *node, uint64_t client, uint64_t request_id) {
    pthread_mutex_lock(&node->lock);
    bool found = false;
    for (int i = 0; i < node->held_count && !found; i++) {
        if (node->held[i].client == client && node->held[i].request_id == request_id) {
            node->held[i] = node->held[--node->held_count];
            found = true;
        }
    }
    pthread_mutex_unlock(&node->lock);
    return found;
}

static inline void node_release_held(struct node *node) {
    for (;;) {
        pthread_mutex_lock(&node->lock);
        bool any = node->held_count > 0;
        struct held held = any ? node->held[--node->held_count] : (struct held){0};
        pthread_mutex_unlock(&node->lock);
        if (!any) {
            return;
        }
        ray_host_reply(node->host, held.client, held.request_id, RAY_OK, "", "released", 8);
    }
}

static void node_report(struct node *node, uint64_t client, uint64_t request_id, const char *what, const uint8_t *argument, uint32_t size) {
    ray_host *host = node->host;
    if (strcmp(what, "echo") == 0) {
        ray_host_reply(host, client, request_id, RAY_OK, "", argument, size);
    } else if (strcmp(what, "hold") == 0) {
        node_hold(node, client, request_id);
    } else if (strcmp(what, "progress") == 0) {
        ray_object_id id = {{9}};
        for (uint32_t i = 1; i <= 3; i++) {
            ray_transfer_progress progress = {.done_bytes = i, .total_bytes = 3, .zstd_level = -5, .retried_count = 2};
            ray_host_progress(host, client, request_id, &id, &progress);
        }
        ray_host_reply(host, client, request_id, RAY_OK, "", NULL, 0);
    } else if (strcmp(what, "big") == 0) { // as many bytes as the argument says
        uint32_t wanted;
        memcpy(&wanted, argument, 4);
        uint8_t *bytes = malloc(wanted);
        memset(bytes, 0x5a, wanted);
        ray_host_reply(host, client, request_id, RAY_OK, "", bytes, wanted);
        free(bytes);
    } else if (strcmp(what, "fail") == 0) {
        char long_text[700];
        memset(long_text, 'x', sizeof long_text);
        long_text[699] = '\0';
        ray_host_reply(host, client, request_id, RAY_NAME_IN_USE, size > 0 ? long_text : "the name 'x' is in use", NULL, 0);
    } else if (strcmp(what, "twice") == 0) {
        ray_host_reply(host, client, request_id, RAY_OK, "", "first", 5);
        ray_host_reply(host, client, request_id, RAY_OK, "", "second", 6);
    } else {
        ray_host_reply(host, client, request_id, RAY_UNSUPPORTED, "unknown report", NULL, 0);
    }
}

static uint32_t node_slot_of(struct node *node, uint64_t client) {
    pthread_mutex_lock(&node->lock);
    uint32_t found = 0;
    for (uint32_t slot = 1; slot < RAY_SLOTS_MAX; slot++) {
        found = node->slot_clients[slot] == client ? slot : found;
    }
    pthread_mutex_unlock(&node->lock);
    return found;
}

// An object of the node becomes one that the client has a ref of.
static ray_status node_give_ref(struct node *node, uint64_t client, const ray_object_id *id) {
    ray_status status = ray_node_ref_for(node->store, id, node_slot_of(node, client), 0);
    if (status == RAY_OK) {
        status = ray_node_disown(node->store, id);
    }
    return status;
}

static ray_status node_put_file(struct node *node, uint64_t client, const uint8_t *bytes, size_t size) {
    CHECK(size > 40);
    ray_object_id id;
    memcpy(id.bytes, bytes + 8, sizeof id.bytes);
    const char *path = (const char *)bytes + 40;
    uint32_t length = (uint32_t)(size - 40);
    uint32_t named;
    memcpy(&named, bytes + 36, 4);
    CHECK_EQUAL(named, length);
    ray_file_descriptor file = {.size_bytes = 5, .mode = 0644, .name = "data.bin", .name_length = 8, .path = path, .path_length = length};
    uint8_t data[RAY_FILE_DESCRIPTOR_MAX];
    size_t data_size;
    RAY_TRY(ray_file_descriptor_encode(&file, data, sizeof data, &data_size));
    uint32_t state;
    RAY_TRY(ray_node_adopt(node->store, &id, &state));
    RAY_TRY(ray_object_put(node->store, &id, data, data_size, "F", 1, 0));
    return node_give_ref(node, client, &id);
}

// "Fetches" what the client asks for: an object of 1000 bytes that all are the id's last byte.
static ray_status node_fetch(struct node *node, const uint8_t *bytes) {
    ray_object_id id;
    memcpy(id.bytes, bytes + 12, sizeof id.bytes);
    uint8_t data[1000];
    memset(data, id.bytes[27], sizeof data);
    ray_status status = ray_object_put(node->store, &id, data, sizeof data, "B", 1, 0);
    return status == RAY_EXISTS ? RAY_OK : status;
}

static ray_status node_open_ref(struct node *node, uint64_t client, const uint8_t *bytes) {
    ray_object_id id;
    uint32_t state;
    memcpy(id.bytes, bytes, sizeof id.bytes);
    RAY_TRY(ray_node_adopt(node->store, &id, &state));
    return node_give_ref(node, client, &id);
}

// Creates for the client what it asks for, if there is room.
static inline ray_status node_create(struct node *node, uint64_t client, const uint8_t *bytes, size_t size, ray_object_id *id) {
    CHECK_EQUAL(size, 52);
    uint64_t data_size;
    uint32_t metadata_size;
    uint32_t flags;
    memcpy(&data_size, bytes + 8, 8);
    memcpy(&metadata_size, bytes + 16, 4);
    memcpy(&flags, bytes + 20, 4);
    memcpy(id->bytes, bytes + 24, sizeof id->bytes);
    uint32_t slot = node_slot_of(node, client);
    return ray_node_create_for(node->store, slot, ray_store_slot_serial(node->store, slot), id, data_size, metadata_size, flags);
}

static void node_note_tuning(struct node *node, const uint8_t *bytes, uint32_t size) {
    uint32_t count;
    memcpy(&count, bytes + 8, 4);
    uint32_t plain = 12 + count * RAY_OBJECT_ID_SIZE;
    CHECK(size == plain || size == plain + RAY_TUNING_SIZE);
    pthread_mutex_lock(&node->lock);
    node->tuning_size = size - plain;
    memcpy(node->tuning, bytes + plain, size - plain);
    pthread_mutex_unlock(&node->lock);
}

static void node_requested(void *context, uint64_t client, uint64_t request_id, uint16_t request, const void *payload, size_t size) {
    struct node *node = context;
    const uint8_t *bytes = payload;
    pthread_mutex_lock(&node->lock);
    node->request_count++;
    pthread_mutex_unlock(&node->lock);
    ray_status status = RAY_UNSUPPORTED;
    if (request == RAY_REQUEST_REPORT && size >= 8) {
        uint32_t what_size;
        uint32_t argument_size;
        char what[32] = {0};
        memcpy(&what_size, bytes, 4);
        CHECK(what_size < sizeof what && what_size <= size - 8);
        memcpy(what, bytes + 4, what_size);
        memcpy(&argument_size, bytes + 4 + what_size, 4);
        CHECK_EQUAL(argument_size, size - 8 - what_size);
        node_report(node, client, request_id, what, bytes + 8 + what_size, argument_size);
        return;
    }
    if (request == RAY_REQUEST_CREATE) {
        pthread_mutex_lock(&node->lock);
        bool held = node->holds_creates;
        if (held) {
            CHECK_EQUAL(size, sizeof node->create);
            memcpy(node->create, bytes, size);
        }
        pthread_mutex_unlock(&node->lock);
        if (held) {
            node_hold(node, client, request_id);
            return;
        }
        ray_object_id id;
        status = node_create(node, client, bytes, size, &id);
        ray_host_reply(node->host, client, request_id, status, status == RAY_OK ? "" : ray_last_error_message(), id.bytes, sizeof id.bytes);
        return;
    }
    if (request == RAY_REQUEST_PUT_FILE) {
        status = node_put_file(node, client, bytes, size);
    } else if (request == RAY_REQUEST_GET) {
        node_note_tuning(node, bytes, (uint32_t)size);
        pthread_mutex_lock(&node->lock);
        bool fetches = !node->fetches_nothing;
        bool held = node->holds_gets;
        status = node->get_failure;
        pthread_mutex_unlock(&node->lock);
        if (status != RAY_OK) {
            ray_host_reply(node->host, client, request_id, status, "it cannot be had", NULL, 0);
            return;
        }
        status = fetches ? node_fetch(node, bytes) : RAY_OK;
        if (held) {
            node_hold(node, client, request_id);
            return;
        }
    } else if (request == RAY_REQUEST_OPEN_REF) {
        status = node_open_ref(node, client, bytes);
    } else if (request == RAY_REQUEST_SHARE_REF) {
        status = RAY_OK;
    }
    ray_host_reply(node->host, client, request_id, status, status == RAY_OK ? "" : ray_last_error_message(), NULL, 0);
}

static void node_cancelled(void *context, uint64_t client, uint64_t request_id) {
    struct node *node = context;
    pthread_mutex_lock(&node->lock);
    node->cancelled_count++;
    bool ignored = node->ignores_cancels;
    pthread_mutex_unlock(&node->lock);
    if (!ignored && node_take_held(node, client, request_id)) {
        ray_host_reply(node->host, client, request_id, RAY_CANCELLED, "cancelled", NULL, 0);
    }
}

static void node_detached(void *context, uint64_t client, uint32_t slot) {
    struct node *node = context;
    pthread_mutex_lock(&node->lock);
    CHECK_EQUAL(node->slot_clients[slot], client);
    node->slot_clients[slot] = 0;
    node->detached_count++;
    pthread_mutex_unlock(&node->lock);
}

static void node_prepare(struct node *node) {
    memset(node, 0, sizeof *node);
    pthread_mutex_init(&node->lock, NULL);
    node->held = calloc(NODE_HOLDS_MAX, sizeof *node->held);
    snprintf(node->directory, sizeof node->directory, "%s/raystore-client-test-XXXXXX", check_folder());
    CHECK(mkdtemp(node->directory) != NULL);
    snprintf(node->path, sizeof node->path, "%s/node/socket", node->directory);
}

static ray_host_options node_host_options(struct node *node) {
    return (ray_host_options){
        .struct_size = sizeof(ray_host_options),
        .socket_path = node->path,
        .store = node->store,
        .callbacks = {node_attached, node_requested, node_cancelled, node_detached},
        .context = node,
    };
}

static inline void node_start(struct node *node) {
    ray_store_options options = {.struct_size = sizeof options, .capacity_bytes = 16 << 20};
    CHECK_OK(ray_store_create(&options, &node->store));
    ray_host_options host = node_host_options(node);
    CHECK_OK(ray_host_start(&host, &node->host));
}

static inline void node_check_empty(struct node *node) {
    ray_store_stats stats = {.struct_size = sizeof stats};
    CHECK_OK(ray_store_stats_read(node->store, &stats));
    CHECK_EQUAL(stats.entry_count, 0);
    CHECK_EQUAL(stats.used_bytes, 0);
    CHECK_EQUAL(stats.client_count, 1);
    CHECK_OK(ray_plasma_check(node->store, 2));
}

static void node_stop(struct node *node) {
    ray_host_stop(node->host);
    ray_store_close(node->store);
    CHECK_EQUAL(access(node->path, F_OK), -1);
    char inner[96];
    snprintf(inner, sizeof inner, "%s/node", node->directory);
    CHECK_EQUAL(rmdir(inner), 0);
    CHECK_EQUAL(rmdir(node->directory), 0);
    pthread_mutex_destroy(&node->lock);
    free(node->held);
}

// ---- the client's side -----------------------------------------------------------------------------------------------------

static inline ray_status try_connect(const char *path, ray_client **client) {
    ray_client_options options = {.struct_size = sizeof options, .socket_path = path, .timeout_ns = 10 * SECOND};
    return ray_client_connect(&options, client);
}

static inline ray_client *connect_to(const char *path) {
    ray_client *client = NULL;
    CHECK_OK(try_connect(path, &client));
    return client;
}

// The payload of a REPORT. Answers its size.
static inline size_t make_report(uint8_t *to, const char *what, const void *argument, uint32_t size) {
    uint32_t length = (uint32_t)strlen(what);
    memcpy(to, &length, 4);
    memcpy(to + 4, what, length);
    memcpy(to + 4 + length, &size, 4);
    if (size > 0) {
        memcpy(to + 8 + length, argument, size);
    }
    return 8 + length + size;
}

static inline int count_fds(void) {
    DIR *listing = opendir("/proc/self/fd");
    CHECK(listing != NULL);
    int count = 0;
    while (readdir(listing) != NULL) {
        count++;
    }
    closedir(listing);
    return count;
}

// A client that holds one object.
static inline ray_client *connect_and_put(const char *path) {
    ray_client *client = connect_to(path);
    ray_object_id id;
    CHECK_OK(ray_client_put(client, "0123456789", 10, "B", 1, &id));
    return client;
}

// Ends its session's socket behind the session's back: to the node its process seems to have vanished, though it lives on.
static inline void fall_silent(void) {
    for (int fd = 3; fd < 64; fd++) {
        struct sockaddr_un address;
        socklen_t size = sizeof address;
        if (getpeername(fd, (struct sockaddr *)&address, &size) == 0 && address.sun_family == AF_UNIX) {
            shutdown(fd, SHUT_RDWR);
        }
    }
}

// A child made before any handle exists; it runs `body` when it is told to.
struct child {
    pid_t pid;
    int go; // write end
    int said; // read end
};

static inline struct child spawn(void (*body)(const char *path, int say), const char *path) {
    int go[2];
    int said[2];
    CHECK_EQUAL(pipe2(go, O_CLOEXEC), 0);
    CHECK_EQUAL(pipe2(said, O_CLOEXEC), 0);
    fflush(stderr);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        close(go[1]);
        close(said[0]);
        char byte;
        if (read(go[0], &byte, 1) == 1) {
            close(go[0]);
            body(path, said[1]);
        }
        exit(0);
    }
    close(go[0]);
    close(said[1]);
    return (struct child){.pid = pid, .go = go[1], .said = said[0]};
}

static inline void child_go(const struct child *child) {
    CHECK_EQUAL(write(child->go, "g", 1), 1);
}

// Waits until the child says something; fails if it ends instead.
static inline char child_hear(const struct child *child) {
    char byte = 0;
    CHECK_EQUAL(read(child->said, &byte, 1), 1);
    return byte;
}

static inline void child_say(int say, char byte) {
    CHECK_EQUAL(write(say, &byte, 1), 1);
}

// Answers the child's wait status.
static inline int child_end(const struct child *child) {
    int ended = 0;
    close(child->go);
    CHECK_EQUAL(waitpid(child->pid, &ended, 0), child->pid);
    close(child->said);
    return ended;
}

#endif
