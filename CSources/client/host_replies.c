// SPDX-License-Identifier: Apache-2.0
// What the node says to its clients, from any thread, without blocking.
#include <stdio.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/shm_internal.h"
#include "client/host_internal.h"
#include "client/socket_internal.h"

// Progress that waits behind so much is old when it arrives.
#define PROGRESS_OUT_MAX (256u << 10)

struct ray__connection *ray__connection_find(ray_host *host, uint64_t id) {
    struct ray__connection *found = host->connections[id & (RAY__CONNECTIONS_MAX - 1)];
    return found != NULL && found->id == id ? found : NULL;
}

static void doom(ray_host *host, struct ray__connection *connection) {
    connection->doomed = true;
    host->any_doomed = true;
    ray__event_set(host->wake_fd);
}

void ray__connection_post(ray_host *host, struct ray__connection *connection, const struct ray__parts *parts) {
    if (connection->fd < 0 || connection->doomed) {
        return;
    }
    size_t limit = connection->is_reader ? RAY__READER_OUT_MAX : RAY__OUT_MAX;
    ray_status status = ray__outbox_send(&connection->outbox, connection->fd, parts, limit);
    if (status == RAY_PEER_CLOSED) {
        return; // what it said before may still be read; then comes its end
    }
    if (status != RAY_OK) {
        doom(host, connection);
        return;
    }
    if (!connection->writing && ray__outbox_size(&connection->outbox) > 0) {
        connection->writing = true;
        struct epoll_event event = {.events = EPOLLIN | EPOLLOUT, .data.u64 = connection->id << 2 | RAY__EVENT_SOCKET};
        (void)epoll_ctl(host->epoll_fd, EPOLL_CTL_MOD, connection->fd, &event);
    }
}

// The longest prefix of a message that fits, not cut inside a UTF-8 character.
static size_t text_size_of(const char *text) {
    size_t size = strnlen(text, RAY_MESSAGE_MAX);
    if (size == RAY_MESSAGE_MAX) {
        size--;
        while (size > 0 && ((uint8_t)text[size] & 0xc0) == 0x80) {
            size--;
        }
    }
    return size;
}

// The lock is held.
static void refuse(ray_host *host, struct ray__connection *connection, ray_status status, const char *message) {
    struct ray__parts parts = {
        .header = {.type = RAY__REFUSED, .status = status},
        .text = message,
        .text_size = text_size_of(message),
    };
    ray__connection_post(host, connection, &parts);
    connection->state = RAY__REFUSED_BY_NODE;
    doom(host, connection);
}

void ray_host_welcome(ray_host *host, uint64_t client, const ray_session_info *info) {
    struct ray__welcome welcome = {
        .job = info->job,
        .node_number = info->node_number,
        .is_driver = info->is_driver,
        .task = info->task,
    };
    memcpy(welcome.node_id, info->node_id, sizeof welcome.node_id);
    int fds[2] = {ray_store_meta_fd(host->store), ray_store_data_fd(host->store)};
    int read_only_fd = -1;
    struct ray__parts parts = {
        .header = {.type = RAY__WELCOME},
        .payload = &welcome,
        .payload_size = sizeof welcome,
        .fds = fds,
        .fd_count = 2,
    };
    pthread_mutex_lock(&host->lock);
    struct ray__connection *connection = ray__connection_find(host, client);
    if (connection != NULL && connection->state == RAY__ATTACHING && connection->fd >= 0) {
        welcome.slot = connection->slot;
        ray_status status = RAY_OK;
        if (connection->is_reader) {
            // One for each: what is set on an open file is seen by all who share it.
            status = ray__segment_reopen(fds[1], &read_only_fd);
            parts.fds = &read_only_fd;
            parts.fd_count = 1;
        }
        if (status == RAY_OK) {
            // From here on the client may map the store, so before it can.
            connection->state = RAY__WELCOMED;
            ray__connection_post(host, connection, &parts);
        } else {
            refuse(host, connection, status, ray_last_error_message());
        }
    }
    pthread_mutex_unlock(&host->lock);
    ray__fd_close(read_only_fd);
}

void ray_host_refuse(ray_host *host, uint64_t client, ray_status status, const char *message) {
    pthread_mutex_lock(&host->lock);
    struct ray__connection *connection = ray__connection_find(host, client);
    if (connection != NULL && connection->state == RAY__ATTACHING) {
        refuse(host, connection, status != RAY_OK ? status : RAY_INVALID_ARGUMENT, message);
    }
    pthread_mutex_unlock(&host->lock);
}

void ray_host_reply(ray_host *host, uint64_t client, uint64_t request_id, ray_status status, const char *message, const void *payload,
                    size_t payload_size) {
    struct ray__parts parts = {
        .header = {.type = RAY__ANSWER, .status = status, .request_id = request_id},
        .text = message,
        .text_size = text_size_of(message),
        .payload = payload,
        .payload_size = payload_size,
    };
    char too_large[96];
    if (payload_size > RAY_PAYLOAD_MAX) {
        snprintf(too_large, sizeof too_large, "the answer has %zu bytes, at most %u fit one message; ask for less", payload_size,
                 RAY_PAYLOAD_MAX);
        parts.header.status = RAY_TOO_LARGE;
        parts.text = too_large;
        parts.text_size = strlen(too_large);
        parts.payload_size = 0;
    }
    pthread_mutex_lock(&host->lock);
    struct ray__connection *connection = ray__connection_find(host, client);
    if (connection != NULL && connection->state == RAY__WELCOMED) {
        connection->request_count -= connection->request_count > 0;
        ray__connection_post(host, connection, &parts);
    }
    pthread_mutex_unlock(&host->lock);
}

void ray_host_progress(ray_host *host, uint64_t client, uint64_t request_id, const ray_object_id *id, const ray_transfer_progress *progress) {
    if ((request_id & RAY__WANTS_PROGRESS) == 0) {
        return;
    }
    struct ray__progress body = {.id = *id, .figures = *progress};
    struct ray__parts parts = {
        .header = {.type = RAY__PROGRESS, .request_id = request_id},
        .payload = &body,
        .payload_size = sizeof body,
    };
    pthread_mutex_lock(&host->lock);
    struct ray__connection *connection = ray__connection_find(host, client);
    if (connection != NULL && connection->state == RAY__WELCOMED && ray__outbox_size(&connection->outbox) < PROGRESS_OUT_MAX) {
        ray__connection_post(host, connection, &parts);
    }
    pthread_mutex_unlock(&host->lock);
}
