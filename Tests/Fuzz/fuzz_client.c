// SPDX-License-Identifier: Apache-2.0
// What a client sends to its node, in pieces of any size, through the host's own reading of one connection. The host's thread is left
// out: this program calls what the thread would call, in its order, so that a finding comes again with its input.
//
// First byte: bits 0-1 what the node says to who attaches (0 and 1 welcome, 2 refuse, 3 nothing), bit 2 whether requests are answered,
// bit 3 whether the client closes at its end, bit 4 whether it came to the readers' socket. Second byte: how large the pieces are (0: one piece).
#include "fuzz.h"

#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "client/host_internal.h"

enum { SAY_REFUSED = 2, SAY_NOTHING = 3, ANSWER = 4, CLOSE = 8, FOREIGN = 16 };

static struct ray_host host;
static uint8_t behaviour;
static uint64_t attached_id;
static int attached_count;
static int detached_count;

static void attached(void *context, uint64_t client, const ray_attach_request *request) {
    (void)context;
    MUST(++attached_count == 1); // once a connection
    MUST(request->slot != RAY_NODE_SLOT && request->slot < RAY_SLOTS_MAX);
    MUST(strlen(request->name_space) <= RAY_NAMESPACE_MAX);
    attached_id = client;
    if ((behaviour & 3) == SAY_REFUSED) {
        ray_host_refuse(&host, client, RAY_NAME_UNKNOWN, "no such job here");
    } else if ((behaviour & 3) != SAY_NOTHING) {
        ray_session_info info = {.job = 1, .node_number = 7, .is_driver = true, .task = ray_task_id_driver(1)};
        ray_host_welcome(&host, client, &info);
    }
}

static void requested(void *context, uint64_t client, uint64_t request_id, uint16_t request, const void *payload, size_t payload_size) {
    (void)context;
    MUST(client == attached_id && request_id != 0 && payload_size <= RAY_PAYLOAD_MAX);
    read_all(payload, payload_size);
    ray_object_id id = {{9}};
    ray_transfer_progress progress = {.done_bytes = 1, .total_bytes = 3};
    ray_host_progress(&host, client, request_id, &id, &progress);
    if ((behaviour & ANSWER) != 0) {
        ray_host_reply(&host, client, request_id, request == 1 ? RAY_NOT_FOUND : RAY_OK, "said", payload, payload_size);
    }
}

static void cancelled(void *context, uint64_t client, uint64_t request_id) {
    (void)context;
    (void)request_id;
    MUST(client == attached_id);
}

static void detached(void *context, uint64_t client, uint32_t slot) {
    (void)context;
    MUST(client == attached_id && slot != RAY_NODE_SLOT);
    MUST(++detached_count == 1);
}

static void begin(void) {
    ray_store_options options = {.struct_size = sizeof options, .capacity_bytes = 1 << 16, .entry_count_max = 8};
    MUST(ray_store_create(&options, &host.store) == RAY_OK);
    host.reader_count_max = 16;
    host.callbacks = (ray_host_callbacks){attached, requested, cancelled, detached};
    static char path[] = "/nowhere/socket";
    host.socket_path = path;
    host.epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    host.wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    MUST(host.epoll_fd >= 0 && host.wake_fd >= 0);
    pthread_mutex_init(&host.lock, NULL);
}

// The connection while it has a socket; NULL when the host has ended it.
static struct ray__connection *find_open(uint64_t id) {
    pthread_mutex_lock(&host.lock);
    struct ray__connection *found = ray__connection_find(&host, id);
    pthread_mutex_unlock(&host.lock);
    return found != NULL && found->fd >= 0 ? found : NULL;
}

// As the host's thread does after each round of events.
static void end_doomed(uint64_t id) {
    struct ray__connection *connection = find_open(id);
    if (connection != NULL && connection->doomed) {
        ray__connection_disconnect(&host, connection);
    }
}

static void drain(int fd) {
    uint8_t bytes[4096];
    while (recv(fd, bytes, sizeof bytes, MSG_DONTWAIT) > 0) {
    }
}

static void speak(uint64_t id, int fd, const uint8_t *bytes, size_t size, size_t piece) {
    size_t at = 0;
    for (struct ray__connection *open = find_open(id); open != NULL && at < size; open = find_open(id)) {
        size_t given = piece != 0 && piece < size - at ? piece : size - at;
        ssize_t sent = send(fd, bytes + at, given, MSG_NOSIGNAL);
        if (sent <= 0) {
            break;
        }
        at += (size_t)sent;
        ray__connection_readable(&host, open);
        end_doomed(id);
        drain(fd);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (host.store == NULL) {
        begin();
    }
    if (size < 2) {
        return 0;
    }
    ray_object_id sealed = {{9}}; // for readers to pin; one who drops the only ref that it ever had has ended it
    ray_status put = ray_object_put(host.store, &sealed, "data", 4, "B", 1, 0);
    MUST(put == RAY_OK || put == RAY_EXISTS);
    behaviour = data[0];
    attached_id = 0;
    attached_count = 0;
    detached_count = 0;
    int ends[2];
    MUST(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, ends) == 0);
    int pid_fd = (int)syscall(SYS_pidfd_open, getpid(), 0);
    MUST(pid_fd >= 0);
    uint64_t id = (host.serial + 1) * RAY__CONNECTIONS_MAX; // of the next one, which finds place 0 free
    struct ray__peer peer = {.pid = getpid(), .uid = geteuid(), .is_foreign = (behaviour & FOREIGN) != 0};
    MUST(ray__connection_add(&host, ends[0], pid_fd, &peer) == RAY_OK);
    speak(id, ends[1], data + 2, size - 2, data[1]);
    if ((behaviour & CLOSE) != 0) {
        shutdown(ends[1], SHUT_WR);
        struct ray__connection *open = find_open(id);
        if (open != NULL) {
            ray__connection_readable(&host, open);
        }
    }
    // The process has ended.
    pthread_mutex_lock(&host.lock);
    struct ray__connection *left = ray__connection_find(&host, id);
    pthread_mutex_unlock(&host.lock);
    if (left != NULL) {
        ray__connection_gone(&host, left);
    }
    close(ends[1]);
    // Nothing of it is left: no slot, no message to a client that was never there.
    ray_store_stats stats = {.struct_size = sizeof stats};
    MUST(ray_store_stats_read(host.store, &stats) == RAY_OK && stats.client_count == 1 && stats.pinned_bytes == 0);
    MUST(detached_count == ((behaviour & 3) == SAY_REFUSED ? 0 : attached_count));
    return 0;
}
