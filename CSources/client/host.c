// SPDX-License-Identifier: Apache-2.0
// The host's thread, its start and its end.
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/clock_internal.h"
#include "base/thread_internal.h"
#include "client/host_internal.h"
#include "client/socket_internal.h"

#define EVENTS_AT_ONCE 64
#define READERS_DEFAULT 16u // of 256 slots: readers of other users must not keep the owner's own clients out
#define LOOK_NS UINT64_C(100000000)        // how often deadlines are looked at, when there are any
#define FAREWELL_NS UINT64_C(1000000000)   // for answers that a stopping host still owes

// Only the host's thread removes connections, so what it found it may keep without the lock.
static struct ray__connection *find(ray_host *host, uint64_t id) {
    pthread_mutex_lock(&host->lock);
    struct ray__connection *found = ray__connection_find(host, id);
    pthread_mutex_unlock(&host->lock);
    return found;
}

static void serve_connection(ray_host *host, uint64_t id, uint64_t kind, uint32_t events) {
    struct ray__connection *connection = find(host, id);
    if (connection == NULL) {
        return; // it went by an earlier event of the same batch
    }
    if (kind == RAY__EVENT_PROCESS) {
        ray__connection_gone(host, connection);
        return;
    }
    if (connection->fd < 0) {
        return;
    }
    if ((events & EPOLLOUT) != 0) {
        ray__connection_writable(host, connection);
    }
    if ((events & (EPOLLIN | EPOLLHUP | EPOLLERR)) != 0) {
        ray__connection_readable(host, connection);
    }
}

// Disconnects who was doomed by a reply, and who has not said in time what it wants.
static void sweep(ray_host *host, bool *any_new) {
    uint64_t now = ray__now_ns();
    *any_new = false;
    for (uint32_t place = 0; place < RAY__CONNECTIONS_MAX; place++) {
        pthread_mutex_lock(&host->lock);
        struct ray__connection *connection = host->connections[place];
        bool is_new = connection != NULL && connection->state == RAY__NEW;
        bool ends = connection != NULL && (connection->doomed || (is_new && now >= connection->attach_deadline_ns));
        pthread_mutex_unlock(&host->lock);
        *any_new |= is_new && !ends;
        if (ends) {
            ray__connection_disconnect(host, connection);
        }
    }
}

static bool take_doomed(ray_host *host) {
    pthread_mutex_lock(&host->lock);
    bool any = host->any_doomed;
    host->any_doomed = false;
    pthread_mutex_unlock(&host->lock);
    return any;
}

static bool is_stopping(ray_host *host) {
    pthread_mutex_lock(&host->lock);
    bool stopping = host->stopping;
    pthread_mutex_unlock(&host->lock);
    return stopping;
}

// Another thread of the node may still be answering, so even here the table is looked at under the lock.
static struct ray__connection *connection_at(ray_host *host, uint32_t place, bool *owes, bool *has_store) {
    pthread_mutex_lock(&host->lock);
    struct ray__connection *connection = host->connections[place];
    *owes = connection != NULL && connection->fd >= 0 && ray__outbox_size(&connection->outbox) > 0;
    *has_store = connection != NULL && ray__connection_has_store(connection);
    pthread_mutex_unlock(&host->lock);
    return connection;
}

// Sends what is owed as far as the clients read it, within a limit for all together.
static void say_farewell(ray_host *host) {
    uint64_t deadline_ns = ray__deadline_ns(FAREWELL_NS);
    for (uint32_t place = 0; place < RAY__CONNECTIONS_MAX; place++) {
        bool owes;
        bool has_store;
        struct ray__connection *connection = connection_at(host, place, &owes, &has_store);
        while (owes && ray__now_ns() < deadline_ns) {
            struct pollfd wanted = {.fd = connection->fd, .events = POLLOUT};
            (void)poll(&wanted, 1, 10);
            ray__connection_writable(host, connection);
            connection = connection_at(host, place, &owes, &has_store);
        }
    }
}

// Closes every connection. Those that cannot touch the store any more are gone; the others have it mapped for as long as they run.
static void close_all(ray_host *host) {
    for (uint32_t place = 0; place < RAY__CONNECTIONS_MAX; place++) {
        bool owes;
        bool has_store;
        struct ray__connection *connection = connection_at(host, place, &owes, &has_store);
        if (connection == NULL) {
            continue;
        }
        struct pollfd process = {.fd = connection->pid_fd, .events = POLLIN};
        if (has_store && poll(&process, 1, 0) == 0) {
            ray__connection_abandon(host, connection);
        } else {
            ray__connection_gone(host, connection);
        }
    }
}

static void *host_thread(void *argument) {
    ray_host *host = argument;
    bool any_new = false;
    while (!is_stopping(host)) {
        struct epoll_event events[EVENTS_AT_ONCE];
        bool has_deadline = any_new || host->listen_again_ns != 0;
        int count = epoll_wait(host->epoll_fd, events, EVENTS_AT_ONCE, has_deadline ? (int)(LOOK_NS / 1000000) : -1);
        bool accepted = false;
        for (int i = 0; i < count; i++) {
            uint64_t kind = events[i].data.u64 & 3;
            if (kind == RAY__EVENT_WAKE) {
                ray__event_clear(host->wake_fd);
            } else if (kind == RAY__EVENT_LISTENER) {
                ray__host_accept(host, &host->listeners[events[i].data.u64 >> 2]);
                accepted = true;
            } else {
                serve_connection(host, events[i].data.u64 >> 2, kind, events[i].events);
            }
        }
        if (take_doomed(host) || accepted || any_new) {
            sweep(host, &any_new);
        }
        ray__host_listener_resume(host);
    }
    ray__host_unlisten(host); // first, so that nobody new believes in this node
    say_farewell(host);
    close_all(host);
    return NULL;
}

static void free_names(ray_host *host) {
    free(host->listeners[1].path);
    free(host->reader_uids);
    free(host->socket_path);
}

static void free_host(ray_host *host) {
    ray__host_unlisten(host);
    if (host->epoll_fd >= 0) {
        close(host->epoll_fd);
    }
    if (host->wake_fd >= 0) {
        close(host->wake_fd);
    }
    pthread_mutex_destroy(&host->lock);
    free_names(host);
    free(host);
}

static ray_status open_all(ray_host *host) {
    host->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
    host->wake_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (host->epoll_fd < 0 || host->wake_fd < 0) {
        return ray__fail_errno(RAY_SYSTEM, "cannot make the descriptors that a host waits with");
    }
    RAY_TRY(ray__host_listen(host));
    struct epoll_event wake = {.events = EPOLLIN, .data.u64 = RAY__EVENT_WAKE};
    bool watched = epoll_ctl(host->epoll_fd, EPOLL_CTL_ADD, host->wake_fd, &wake) == 0;
    for (uint32_t i = 0; i < RAY__LISTENER_COUNT; i++) {
        struct epoll_event listener = {.events = EPOLLIN, .data.u64 = (uint64_t)i << 2 | RAY__EVENT_LISTENER};
        watched = watched && (host->listeners[i].path == NULL ||
                              epoll_ctl(host->epoll_fd, EPOLL_CTL_ADD, host->listeners[i].fd, &listener) == 0);
    }
    return watched ? RAY_OK : ray__fail_errno(RAY_SYSTEM, "cannot wait on the socket %s", host->socket_path);
}

// Programs built before there were readers give fewer fields.
static ray_status read_options(const ray_host_options *given, ray_host_options *options) {
    size_t size = given->struct_size < sizeof *options ? given->struct_size : sizeof *options;
    memset(options, 0, sizeof *options);
    if (size >= offsetof(ray_host_options, reader_socket_path)) {
        memcpy(options, given, size);
    }
    const ray_host_callbacks *callbacks = &options->callbacks;
    if (options->socket_path == NULL || options->store == NULL || callbacks->attached == NULL || callbacks->requested == NULL ||
        callbacks->cancelled == NULL || callbacks->detached == NULL) {
        return ray__fail(RAY_INVALID_ARGUMENT, "a host's options need struct_size, socket_path, store and every callback");
    }
    if (options->reader_uid_count > 0 && (options->reader_socket_path == NULL || options->reader_uids == NULL)) {
        return ray__fail(RAY_INVALID_ARGUMENT, "%u users are allowed as readers, but there is no socket for them", options->reader_uid_count);
    }
    return RAY_OK;
}

static ray_status copy_names(const ray_host_options *options, ray_host *host) {
    host->socket_path = strdup(options->socket_path);
    host->listeners[0].path = host->socket_path;
    host->listeners[1].path = options->reader_socket_path != NULL ? strdup(options->reader_socket_path) : NULL;
    host->listeners[1].for_readers = true;
    host->reader_count_max = options->reader_count_max != 0 ? options->reader_count_max : READERS_DEFAULT;
    host->reader_uid_count = options->reader_uid_count;
    host->reader_uids = calloc((size_t)options->reader_uid_count + 1, sizeof *host->reader_uids);
    if (host->socket_path == NULL || host->reader_uids == NULL ||
        (options->reader_socket_path != NULL && host->listeners[1].path == NULL)) {
        return ray__fail(RAY_OUT_OF_MEMORY, "no memory for a host");
    }
    if (options->reader_uid_count > 0) {
        memcpy(host->reader_uids, options->reader_uids, options->reader_uid_count * sizeof *host->reader_uids);
    }
    return RAY_OK;
}

ray_status ray_host_start(const ray_host_options *given, ray_host **host) {
    *host = NULL;
    ray_host_options options;
    RAY_TRY(read_options(given, &options));
    ray_host *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return ray__fail(RAY_OUT_OF_MEMORY, "no memory for a host");
    }
    made->store = options.store;
    made->callbacks = options.callbacks;
    made->context = options.context;
    ray__fork_watch();
    made->fork_generation = ray__fork_generation();
    made->epoll_fd = made->wake_fd = -1;
    for (uint32_t i = 0; i < RAY__LISTENER_COUNT; i++) {
        made->listeners[i].directory_fd = made->listeners[i].fd = -1;
    }
    pthread_mutex_init(&made->lock, NULL);
    ray_status status = copy_names(&options, made);
    if (status == RAY_OK) {
        status = open_all(made);
    }
    if (status == RAY_OK) {
        *host = made; // before the first callback, which may want it, and which may run before this function returns
        status = ray__thread_start(&made->thread, "ray-host", host_thread, made);
    }
    if (status != RAY_OK) {
        *host = NULL;
        free_host(made);
    }
    return status;
}

// In a fork's child: the node, its thread, its lock and its socket's name are the parent's, only descriptors and memory were copied.
static void forget_parents(ray_host *host) {
    for (uint32_t place = 0; place < RAY__CONNECTIONS_MAX; place++) {
        struct ray__connection *connection = host->connections[place];
        if (connection != NULL) {
            if (connection->fd >= 0) {
                close(connection->fd);
            }
            close(connection->pid_fd);
            ray__reader_end(connection->reader);
            ray__outbox_free(&connection->outbox);
            ray__inbox_free(&connection->inbox);
            free(connection);
        }
    }
    for (uint32_t i = 0; i < RAY__LISTENER_COUNT; i++) {
        if (host->listeners[i].path != NULL) {
            close(host->listeners[i].fd);
            close(host->listeners[i].directory_fd);
        }
    }
    close(host->epoll_fd);
    close(host->wake_fd);
    free_names(host);
    free(host);
}

void ray_host_stop(ray_host *host) {
    if (host == NULL) {
        return;
    }
    if (host->fork_generation != ray__fork_generation()) {
        forget_parents(host);
        return;
    }
    pthread_mutex_lock(&host->lock);
    host->stopping = true;
    pthread_mutex_unlock(&host->lock);
    ray__event_set(host->wake_fd);
    pthread_join(host->thread, NULL);
    free_host(host);
}
