// SPDX-License-Identifier: Apache-2.0
// One client's connection, from its attach request to its end, on the host's thread.
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "base/clock_internal.h"
#include "client/host_internal.h"

#define ATTACH_TIMEOUT_NS UINT64_C(10000000000) // for its request; it is on this machine and has nothing else to do

static ray_status watch(ray_host *host, int fd, uint64_t id, uint64_t kind) {
    struct epoll_event event = {.events = EPOLLIN, .data.u64 = id << 2 | kind};
    if (epoll_ctl(host->epoll_fd, EPOLL_CTL_ADD, fd, &event) != 0) {
        return ray__fail_errno(RAY_SYSTEM, "the node cannot watch one more client");
    }
    return RAY_OK;
}

// Finds a free place. The lock is held.
static ray_status claim_place(ray_host *host, uint32_t *place) {
    for (uint32_t i = 0; i < RAY__CONNECTIONS_MAX; i++) {
        if (host->connections[i] == NULL) {
            *place = i;
            return RAY_OK;
        }
    }
    return ray__fail(RAY_TOO_MANY_CLIENTS, "the node at %s has %u connections, which is the most; close some", host->socket_path,
                     RAY__CONNECTIONS_MAX);
}

// Takes the connection out of the table, so that no other thread finds it. The lock is held.
static void forget(ray_host *host, struct ray__connection *connection) {
    host->connections[connection->id & (RAY__CONNECTIONS_MAX - 1)] = NULL;
}

ray_status ray__connection_add(ray_host *host, int fd, int pid_fd, const struct ray__peer *peer) {
    struct ray__connection *made = calloc(1, sizeof *made);
    if (made == NULL) {
        return ray__fail(RAY_OUT_OF_MEMORY, "the node has no memory for one more client");
    }
    made->fd = fd;
    made->pid_fd = pid_fd;
    made->pid = peer->pid;
    made->uid = peer->uid;
    made->is_foreign = peer->is_foreign;
    made->slot = RAY_NODE_SLOT;
    made->attach_deadline_ns = ray__deadline_ns(ATTACH_TIMEOUT_NS);
    uint32_t place = 0;
    pthread_mutex_lock(&host->lock);
    ray_status status = claim_place(host, &place);
    if (status == RAY_OK) {
        made->id = ++host->serial * RAY__CONNECTIONS_MAX + place;
        host->connections[place] = made;
    }
    pthread_mutex_unlock(&host->lock);
    if (status == RAY_OK) {
        status = watch(host, fd, made->id, RAY__EVENT_SOCKET);
        if (status == RAY_OK) {
            status = watch(host, pid_fd, made->id, RAY__EVENT_PROCESS);
        }
        if (status != RAY_OK) {
            pthread_mutex_lock(&host->lock);
            forget(host, made);
            pthread_mutex_unlock(&host->lock);
        }
    }
    if (status != RAY_OK) {
        free(made);
    }
    return status;
}

static void bury(ray_host *host, struct ray__connection *connection) {
    if (connection->fd >= 0) {
        close(connection->fd);
    }
    close(connection->pid_fd);
    ray__reader_end(connection->reader);
    if (connection->slot != RAY_NODE_SLOT) {
        ray_reap_report report;
        // It fails when the store is poisoned: then the slot stays taken, and the node finds out from its own calls.
        (void)!ray_store_slot_reap(host->store, connection->slot, &report);
        if (connection->state != RAY__REFUSED_BY_NODE) {
            host->callbacks.detached(host->context, connection->id, connection->slot);
        }
    }
    ray__outbox_free(&connection->outbox);
    ray__inbox_free(&connection->inbox);
    free(connection);
}

void ray__connection_gone(ray_host *host, struct ray__connection *connection) {
    pthread_mutex_lock(&host->lock);
    forget(host, connection);
    pthread_mutex_unlock(&host->lock);
    bury(host, connection);
}

void ray__connection_disconnect(ray_host *host, struct ray__connection *connection) {
    // One look at the state under the lock: another thread may be about to welcome the client, and then its memory must stay.
    pthread_mutex_lock(&host->lock);
    bool has_store = ray__connection_has_store(connection);
    int fd = connection->fd;
    if (has_store) {
        connection->state = RAY__ENDED;
        connection->fd = -1;
        connection->doomed = false;
        ray__outbox_free(&connection->outbox);
    } else {
        forget(host, connection);
    }
    pthread_mutex_unlock(&host->lock);
    if (!has_store) {
        bury(host, connection);
        return;
    }
    if (fd >= 0) {
        close(fd); // the epoll forgets it by itself
    }
    ray__inbox_free(&connection->inbox);
}

void ray__connection_abandon(ray_host *host, struct ray__connection *connection) {
    pthread_mutex_lock(&host->lock);
    forget(host, connection);
    pthread_mutex_unlock(&host->lock);
    connection->slot = RAY_NODE_SLOT; // the process holds it still
    bury(host, connection);
}

// Ends the connection with a reason for the client.
static void refuse(ray_host *host, struct ray__connection *connection, ray_status status) {
    const char *text = ray_last_error_message();
    struct ray__parts parts = {.header = {.type = RAY__REFUSED, .status = status}, .text = text, .text_size = strlen(text)};
    pthread_mutex_lock(&host->lock);
    ray__connection_post(host, connection, &parts);
    pthread_mutex_unlock(&host->lock);
    ray__connection_disconnect(host, connection);
}

static ray_status check_attach(const ray_host *host, const struct ray__attach *attach, size_t body_size) {
    if (attach->version != RAY__SESSION_VERSION) {
        return ray__fail(RAY_VERSION_MISMATCH,
                         "this process speaks version %u of the session with a node, the node at %s version %u; use the same release of "
                         "RayStore for both",
                         attach->version, host->socket_path, RAY__SESSION_VERSION);
    }
    if (attach->layout != RAY__SESSION_LAYOUT) {
        return ray__fail(RAY_LAYOUT_MISMATCH, "this process and the node at %s come from different builds of RayStore; use the same for both",
                         host->socket_path);
    }
    if (attach->name_space_size > RAY_NAMESPACE_MAX || body_size != sizeof *attach + attach->name_space_size) {
        return ray__fail(RAY_PROTOCOL, "an attach request of %zu bytes does not fit its namespace of %u", body_size, attach->name_space_size);
    }
    if (attach->access > RAY_ACCESS_GUARDED_READER || attach->zero != 0) {
        return ray__fail(RAY_UNSUPPORTED, "the node at %s knows no access of kind %u; update the node", host->socket_path, attach->access);
    }
    if (attach->access == RAY_ACCESS_GUARDED_READER && attach->job != RAY_JOB_NONE) {
        return ray__fail(RAY_INVALID_ARGUMENT, "a guarded reader cannot put, so it has no job");
    }
    return RAY_OK;
}

static ray_status check_access(ray_host *host, const struct ray__connection *connection, const struct ray__attach *attach) {
    if (attach->access != RAY_ACCESS_GUARDED_READER) {
        return connection->is_foreign ? ray__fail(RAY_UNREACHABLE, "this socket of the node is for guarded readers; connect as one") : RAY_OK;
    }
    uint32_t count = 0;
    pthread_mutex_lock(&host->lock);
    for (uint32_t place = 0; place < RAY__CONNECTIONS_MAX; place++) {
        count += host->connections[place] != NULL && host->connections[place]->is_reader;
    }
    pthread_mutex_unlock(&host->lock);
    if (count >= host->reader_count_max) {
        return ray__fail(RAY_TOO_MANY_CLIENTS, "the node at %s has %u guarded readers, which is the most", host->socket_path, count);
    }
    return RAY_OK;
}

// Gives the client its place in the store; a guarded reader's is used by the host.
static ray_status give_slot(ray_host *host, struct ray__connection *connection, const struct ray__attach *attach) {
    RAY_TRY(check_access(host, connection, attach));
    RAY_TRY(ray_store_slot_claim(host->store, connection->pid, &connection->slot));
    if (attach->access == RAY_ACCESS_GUARDED_READER) {
        pthread_mutex_lock(&host->lock);
        connection->is_reader = true;
        pthread_mutex_unlock(&host->lock);
        ray_status status = ray__reader_begin(host, connection);
        if (status != RAY_OK) {
            ray_reap_report report;
            (void)!ray_store_slot_reap(host->store, connection->slot, &report);
            connection->slot = RAY_NODE_SLOT; // the node has not heard of it, so it must not hear of its end
        }
        return status;
    }
    return RAY_OK;
}

// An ATTACH is answered with a refusal that says why, or handed to the node. False: the connection is no more.
static bool take_attach(ray_host *host, struct ray__connection *connection, const uint8_t *body, size_t body_size) {
    struct ray__attach attach = {0};
    memcpy(&attach, body, body_size < sizeof attach ? body_size : sizeof attach);
    ray_status status = check_attach(host, &attach, body_size);
    if (status == RAY_OK && memchr(body + sizeof attach, '\0', attach.name_space_size) != NULL) {
        status = ray__fail(RAY_INVALID_ARGUMENT, "the namespace contains a NUL");
    }
    if (status == RAY_OK) {
        status = give_slot(host, connection, &attach);
    }
    if (status != RAY_OK) {
        refuse(host, connection, status);
        return false;
    }
    char name_space[RAY_NAMESPACE_MAX + 1];
    memcpy(name_space, body + sizeof attach, attach.name_space_size);
    name_space[attach.name_space_size] = '\0';
    pthread_mutex_lock(&host->lock);
    connection->state = RAY__ATTACHING;
    pthread_mutex_unlock(&host->lock);
    ray_attach_request request = {
        .pid = connection->pid,
        .slot = connection->slot,
        .slot_serial = ray_store_slot_serial(host->store, connection->slot),
        .job = attach.job,
        .name_space = name_space,
        .uid = connection->uid,
        .is_guarded_reader = connection->is_reader,
    };
    host->callbacks.attached(host->context, connection->id, &request);
    return true;
}

static void take_request(ray_host *host, struct ray__connection *connection, const struct ray__message *header, const uint8_t *body) {
    if (connection->is_reader && ray__reader_is_own(header->request)) {
        ray__reader_serve(host, connection, header, body);
        return;
    }
    ray_status status = RAY_OK;
    pthread_mutex_lock(&host->lock);
    uint32_t limit = connection->is_reader ? RAY__READER_REQUESTS_MAX : RAY__REQUESTS_MAX;
    if (connection->is_reader && !ray__reader_may_ask(header->request)) {
        status = ray__fail(RAY_UNSUPPORTED, "a guarded reader cannot write, and request %u is for who can; connect with full access",
                           header->request);
    } else if (connection->request_count >= limit) {
        status = ray__fail(RAY_AGAIN, "the node has %u requests of this session to answer, which is the most; wait for some of them", limit);
    }
    if (status != RAY_OK) {
        const char *text = ray_last_error_message();
        struct ray__parts parts = {
            .header = {.type = RAY__ANSWER, .status = status, .request_id = header->request_id},
            .text = text,
            .text_size = strlen(text),
        };
        ray__connection_post(host, connection, &parts);
    }
    connection->request_count += status == RAY_OK;
    pthread_mutex_unlock(&host->lock);
    if (status == RAY_OK) {
        host->callbacks.requested(host->context, connection->id, header->request_id, header->request, body, header->body_size);
    }
}

// Judges one message. False: the connection is no more, or no more than a process to wait for.
static bool take_message(ray_host *host, struct ray__connection *connection, enum ray__connection_state state,
                         const struct ray__message *header, const uint8_t *body) {
    bool welcomed = state == RAY__WELCOMED;
    if (header->status == RAY_OK && header->text_size == 0) {
        if (header->type == RAY__ATTACH && state == RAY__NEW && header->body_size >= 2 * sizeof(uint32_t)) {
            return take_attach(host, connection, body, header->body_size);
        }
        if (header->type == RAY__REQUEST && welcomed && header->body_size <= RAY_PAYLOAD_MAX && header->request_id != 0) {
            take_request(host, connection, header, body);
            return true;
        }
        if (header->type == RAY__TELL && welcomed && connection->is_reader &&
            ray__reader_told(connection, header->request, body, header->body_size)) {
            return true;
        }
        if (header->type == RAY__CANCEL && welcomed && header->body_size == 0) {
            host->callbacks.cancelled(host->context, connection->id, header->request_id);
            return true;
        }
        if (header->type == RAY__GOODBYE && header->body_size == 0) {
            ray__connection_gone(host, connection);
            return false;
        }
    }
    ray__connection_disconnect(host, connection);
    return false;
}

// Takes what has arrived, once, so that no client keeps the others waiting.
void ray__connection_readable(ray_host *host, struct ray__connection *connection) {
    ray_status status = ray__inbox_receive(&connection->inbox, connection->fd, false);
    if (status == RAY_AGAIN) {
        return;
    }
    while (status == RAY_OK) {
        struct ray__message header;
        const uint8_t *body;
        // Another thread of the node may have welcomed it meanwhile: then it may send more.
        pthread_mutex_lock(&host->lock);
        enum ray__connection_state state = connection->state;
        pthread_mutex_unlock(&host->lock);
        size_t body_max = state != RAY__WELCOMED ? RAY__ATTACH_BODY_MAX : connection->is_reader ? RAY__READER_BODY_MAX : RAY__BODY_MAX;
        status = ray__inbox_next(&connection->inbox, body_max, &header, &body);
        if (status == RAY_OK && !take_message(host, connection, state, &header, body)) {
            return;
        }
    }
    if (status != RAY_AGAIN) {
        ray__connection_disconnect(host, connection);
    }
}

void ray__connection_writable(ray_host *host, struct ray__connection *connection) {
    pthread_mutex_lock(&host->lock);
    ray_status status = ray__outbox_flush(&connection->outbox, connection->fd);
    if (status != RAY_AGAIN) {
        // It is empty, or nobody reads there any more. What the client has said may still be read, so its end is not ours to declare.
        ray__outbox_free(&connection->outbox);
        connection->writing = false;
        struct epoll_event event = {.events = EPOLLIN, .data.u64 = connection->id << 2 | RAY__EVENT_SOCKET};
        (void)epoll_ctl(host->epoll_fd, EPOLL_CTL_MOD, connection->fd, &event);
    }
    pthread_mutex_unlock(&host->lock);
}
