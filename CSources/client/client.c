// SPDX-License-Identifier: Apache-2.0
// A session's beginning and end.
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock_internal.h"
#include "base/thread_internal.h"
#include "client/client_internal.h"
#include "client/socket_internal.h"

#define ATTACH_TIMEOUT_NS UINT64_C(10000000000)
#define GOODBYE_TIMEOUT_NS UINT64_C(1000000000) // a node that does not read for so long learns of our end from the kernel

ray_status ray__client_check_process(const ray_client *client) {
    if (client->fork_generation != ray__fork_generation()) {
        return ray__fail(RAY_FORKED, "this session with %s belongs to the parent process; connect again in the child", client->socket_path);
    }
    return RAY_OK;
}

// Waits until the socket can be read or written, in milliseconds rounded up so that it does not spin at the end.
static ray_status wait_for(int fd, short events, uint64_t deadline_ns) {
    for (;;) {
        uint64_t now = ray__now_ns();
        if (now >= deadline_ns) {
            return RAY_TIMED_OUT;
        }
        uint64_t left_ms = (deadline_ns - now) / 1000000 + 1;
        struct pollfd wanted = {.fd = fd, .events = events};
        int result = poll(&wanted, 1, left_ms > 1000000 ? 1000000 : (int)left_ms);
        if (result > 0) {
            return RAY_OK;
        }
        if (result < 0 && errno != EINTR) {
            return ray__fail_errno(RAY_SYSTEM, "cannot wait for the node");
        }
    }
}

// Sends a small message whole, waiting if need be.
static ray_status send_whole(ray_client *client, const struct ray__parts *parts, uint64_t deadline_ns) {
    ray_status status = ray__outbox_send(&client->outbox, client->fd, parts, RAY__OUT_MAX + RAY__ATTACH_BODY_MAX);
    while (status == RAY_OK && ray__outbox_size(&client->outbox) > 0) {
        status = wait_for(client->fd, POLLOUT, deadline_ns);
        if (status == RAY_OK) {
            status = ray__outbox_flush(&client->outbox, client->fd);
            status = status == RAY_AGAIN ? RAY_OK : status;
        }
    }
    return status;
}

static ray_status send_attach(ray_client *client, const ray_client_options *options, uint64_t deadline_ns) {
    const char *name_space = options->name_space != NULL ? options->name_space : "";
    struct {
        struct ray__attach attach;
        char name_space[RAY_NAMESPACE_MAX];
    } body = {.attach = {
                  .version = RAY__SESSION_VERSION,
                  .layout = RAY__SESSION_LAYOUT,
                  .pid = getpid(),
                  .job = options->access == RAY_ACCESS_GUARDED_READER && options->job == 0 ? RAY_JOB_NONE : options->job,
                  .name_space_size = (uint32_t)strlen(name_space),
                  .access = options->access == RAY_ACCESS_GUARDED_READER ? RAY_ACCESS_GUARDED_READER : RAY_ACCESS_FULL,
              }};
    memcpy(body.name_space, name_space, body.attach.name_space_size);
    struct ray__parts parts = {
        .header = {.type = RAY__ATTACH},
        .payload = &body,
        .payload_size = sizeof body.attach + body.attach.name_space_size,
    };
    return send_whole(client, &parts, deadline_ns);
}

static ray_status receive_first(ray_client *client, uint64_t deadline_ns, struct ray__message *header, const uint8_t **body) {
    for (;;) {
        ray_status status = ray__inbox_next(&client->inbox, RAY__BODY_MAX, header, body);
        if (status != RAY_AGAIN) {
            return status;
        }
        status = wait_for(client->fd, POLLIN, deadline_ns);
        if (status == RAY_TIMED_OUT) {
            return ray__fail(RAY_TIMED_OUT, "the node at %s did not answer in time", client->socket_path);
        }
        RAY_TRY(status);
        status = ray__inbox_receive(&client->inbox, client->fd, true);
        if (status == RAY_PEER_CLOSED) {
            return ray__fail(RAY_NODE_DIED, "the node at %s ended while this process attached; try again", client->socket_path);
        }
        if (status != RAY_OK && status != RAY_AGAIN) {
            return status;
        }
    }
}

static ray_status take_welcome(ray_client *client, uint32_t access, const struct ray__message *header, const uint8_t *body) {
    uint32_t fd_count = access == RAY_ACCESS_GUARDED_READER ? 1 : 2;
    if (header->type == RAY__REFUSED && header->text_size == header->body_size && header->status != RAY_OK) {
        return ray__fail(header->status, "%.*s", (int)header->text_size, (const char *)body);
    }
    struct ray__welcome welcome;
    if (header->type != RAY__WELCOME || header->body_size != sizeof welcome || header->text_size != 0 ||
        client->inbox.fd_count != fd_count) {
        return ray__fail(RAY_PROTOCOL, "what answers at %s is no RayStore node: it began with a message of type %u", client->socket_path,
                         header->type);
    }
    memcpy(&welcome, body, sizeof welcome);
    client->info = (ray_session_info){
        .job = welcome.job,
        .node_number = welcome.node_number,
        .slot = welcome.slot,
        .is_driver = welcome.is_driver != 0,
        .task = welcome.task,
    };
    memcpy(client->info.node_id, welcome.node_id, sizeof welcome.node_id);
    client->inbox.fd_count = 0; // the store owns them, whatever comes
    if (access == RAY_ACCESS_GUARDED_READER) {
        return ray__guarded_begin(client, client->inbox.fds[0]);
    }
    RAY_TRY(ray_store_attach(client->inbox.fds[0], client->inbox.fds[1], welcome.slot, &client->store));
    ray_status status = access == RAY_ACCESS_PROTECTED ? ray_store_protect(client->store) : RAY_OK;
    if (status != RAY_OK) {
        ray_store_close(client->store);
        client->store = NULL;
    }
    return status;
}

// Tells the node that this process does not map the store (any more), so that its slot is free at once.
static void say_goodbye(ray_client *client) {
    struct ray__parts parts = {.header = {.type = RAY__GOODBYE}};
    (void)send_whole(client, &parts, ray__deadline_ns(GOODBYE_TIMEOUT_NS));
}

static void free_client(ray_client *client) {
    ray__inbox_free(&client->inbox);
    ray__outbox_free(&client->outbox);
    ray__pending_free_all(client);
    ray__openings_free(client);
    if (client->fd >= 0) {
        close(client->fd);
    }
    if (client->node_fd >= 0) {
        close(client->node_fd);
    }
    if (client->wake_fd >= 0) {
        close(client->wake_fd);
    }
    ray__guarded_end(client);
    free(client->socket_path);
    free(client);
}

static ray_status make_client(const char *socket_path, ray_client **client) {
    ray_client *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return ray__fail(RAY_OUT_OF_MEMORY, "no memory for a session");
    }
    ray__fork_watch();
    made->fork_generation = ray__fork_generation();
    made->fd = -1;
    made->node_fd = -1;
    made->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    made->socket_path = strdup(socket_path);
    pthread_mutex_init(&made->lock, NULL);
    for (uint32_t i = 0; i < RAY__OPENINGS_COUNT; i++) {
        pthread_mutex_init(&made->openings[i].lock, NULL);
    }
    ray__cond_init(&made->drained);
    if (made->wake_fd < 0 || made->socket_path == NULL) {
        ray_status status = made->wake_fd < 0 ? ray__fail_errno(RAY_SYSTEM, "cannot make an event descriptor")
                                              : ray__fail(RAY_OUT_OF_MEMORY, "no memory for a session");
        free_client(made);
        return status;
    }
    *client = made;
    return RAY_OK;
}

// A guarded reader may be of another user than its node. Then the node must be of who owns the directory that its socket lies in: nobody
// else can have put it there, if the one who named the path has chosen well.
static ray_status check_node(const ray_client *client, uint32_t access, int64_t *pid) {
    uint32_t uid = 0;
    RAY_TRY(ray__socket_peer(client->fd, client->socket_path, &uid, pid));
    if (access != RAY_ACCESS_GUARDED_READER || uid == geteuid()) {
        return ray__socket_check_peer(client->fd, client->socket_path, pid);
    }
    char directory[sizeof(((struct sockaddr_un *)0)->sun_path) + 1];
    snprintf(directory, sizeof directory, "%s", client->socket_path); // it was short enough to connect
    char *slash = strrchr(directory, '/');
    if (slash != NULL) {
        slash[slash == directory ? 1 : 0] = '\0';
    }
    struct stat info;
    if (stat(slash != NULL ? directory : ".", &info) != 0) {
        return ray__fail_errno(RAY_SYSTEM, "cannot look at the directory of %s", client->socket_path);
    }
    if (info.st_uid != uid || (info.st_mode & 022) != 0) {
        return ray__fail(RAY_UNREACHABLE,
                         "user %u serves at %s, in a directory of user %u with mode %04o; a node for readers lies in a directory that its own "
                         "user alone can write in",
                         uid, client->socket_path, info.st_uid, info.st_mode & 07777);
    }
    return RAY_OK;
}

static ray_status attach(ray_client *client, const ray_client_options *options, uint64_t timeout_ns) {
    uint64_t deadline_ns = ray__deadline_ns(timeout_ns);
    RAY_TRY(ray__socket_connect(client->socket_path, timeout_ns, &client->fd));
    // A stranger's process at that path must not get to know our requests.
    int64_t node_pid = 0;
    RAY_TRY(check_node(client, options->access, &node_pid));
    client->node_fd = node_pid > 0 ? (int)syscall(SYS_pidfd_open, (pid_t)node_pid, 0) : -1;
    ray_status status = send_attach(client, options, deadline_ns);
    if (status != RAY_OK && status != RAY_PEER_CLOSED) { // who refuses may have closed before it read: its reason is still there
        return status == RAY_TIMED_OUT ? ray__fail(status, "the node at %s does not read", client->socket_path) : status;
    }
    struct ray__message header;
    const uint8_t *body;
    RAY_TRY(receive_first(client, deadline_ns, &header, &body));
    RAY_TRY(take_welcome(client, options->access, &header, body));
    status = ray__thread_start(&client->reader, "ray-client", ray__client_reader, client);
    if (status != RAY_OK) {
        ray_store_close(client->store);
    }
    return status;
}

// Programs built before there were guarded readers give fewer fields.
static void read_options(const ray_client_options *given, ray_client_options *options) {
    size_t size = given->struct_size < sizeof *options ? given->struct_size : sizeof *options;
    memset(options, 0, sizeof *options);
    if (size >= offsetof(ray_client_options, access)) {
        memcpy(options, given, size);
    }
}

ray_status ray_client_connect(const ray_client_options *given, ray_client **client) {
    *client = NULL;
    ray_client_options read;
    read_options(given, &read);
    const ray_client_options *options = &read;
    if (options->socket_path == NULL) {
        return ray__fail(RAY_INVALID_ARGUMENT, "a session's options need struct_size and socket_path");
    }
    if (options->name_space != NULL && strlen(options->name_space) > RAY_NAMESPACE_MAX) {
        return ray__fail(RAY_INVALID_ARGUMENT, "the namespace '%.40s...' is longer than %d bytes", options->name_space, RAY_NAMESPACE_MAX);
    }
    if (options->access > RAY_ACCESS_PROTECTED) {
        return ray__fail(RAY_INVALID_ARGUMENT, "%u is no kind of access to a node", options->access);
    }
    ray_client *made = NULL;
    RAY_TRY(make_client(options->socket_path, &made));
    ray_status status = attach(made, options, options->timeout_ns != 0 ? options->timeout_ns : ATTACH_TIMEOUT_NS);
    if (status == RAY_OK) {
        *client = made;
        return RAY_OK;
    }
    if (made->fd >= 0 && ray__outbox_size(&made->outbox) == 0) {
        // The node may have let us in already, or be about to: nothing is mapped here, so it need not wait for our end. Sent directly, so
        // that a failure to send does not hide why the session failed.
        struct ray__message goodbye = {.magic = RAY__MESSAGE_MAGIC, .type = RAY__GOODBYE};
        (void)!send(made->fd, &goodbye, sizeof goodbye, MSG_DONTWAIT | MSG_NOSIGNAL);
    }
    free_client(made);
    return status;
}

void ray_client_close(ray_client *client) {
    if (client == NULL) {
        return;
    }
    if (client->fork_generation != ray__fork_generation()) {
        // The socket, the threads and the locks are the parent's; only memory and descriptors were copied.
        ray_waiter_destroy(client->waiter);
        ray_store_close(client->store);
        free_client(client);
        return;
    }
    pthread_mutex_lock(&client->lock);
    client->closing = true;
    pthread_mutex_unlock(&client->lock);
    ray__client_end(client, RAY_CLOSED, "the session is closed");
    ray__event_set(client->wake_fd);
    pthread_join(client->reader, NULL);
    pthread_mutex_lock(&client->lock);
    while (client->drain_waiter_count > 0) {
        pthread_cond_wait(&client->drained, &client->lock);
    }
    pthread_mutex_unlock(&client->lock);
    ray_waiter_destroy(client->waiter);
    ray_store_close(client->store);
    say_goodbye(client);
    pthread_cond_destroy(&client->drained);
    pthread_mutex_destroy(&client->lock);
    free_client(client);
}

ray_store *ray_client_store(ray_client *client) {
    return client->store;
}

const ray_session_info *ray_client_info(const ray_client *client) {
    return &client->info;
}
