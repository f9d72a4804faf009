// SPDX-License-Identifier: Apache-2.0
// The client's thread: it takes what the node says, runs completions, and sends what the socket did not take at once.
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <string.h>

#include "client/client_internal.h"
#include "client/socket_internal.h"

void ray__client_end(ray_client *client, ray_status status, const char *text) {
    pthread_mutex_lock(&client->lock);
    if (client->over == RAY_OK) {
        client->over = status;
        snprintf(client->over_text, sizeof client->over_text, "%s", text);
    }
    pthread_cond_broadcast(&client->drained);
    pthread_mutex_unlock(&client->lock);
}

// The place of an id's request, NULL if it has been answered. The lock is held.
static struct ray__pending *find_pending(ray_client *client, uint64_t id) {
    uint32_t place = (uint32_t)(id & (RAY__REQUESTS_MAX - 1));
    return id != 0 && place < client->pending_capacity && client->pending[place].id == id ? &client->pending[place] : NULL;
}

// Takes a request out of the table; false if there is none of this id.
static bool take_pending(ray_client *client, uint64_t id, struct ray__pending *taken) {
    pthread_mutex_lock(&client->lock);
    struct ray__pending *found = find_pending(client, id);
    if (found != NULL) {
        *taken = *found;
        found->id = 0;
        found->next_free = client->pending_free;
        client->pending_free = (uint32_t)(found - client->pending);
        if (client->drain_waiter_count > 0) {
            pthread_cond_broadcast(&client->drained);
        }
    }
    pthread_mutex_unlock(&client->lock);
    return found != NULL;
}

static void take_answer(ray_client *client, const struct ray__message *header, const uint8_t *body) {
    struct ray__pending request;
    if (!take_pending(client, header->request_id, &request)) {
        return; // the node answered twice: the first answer counted
    }
    char text[RAY_MESSAGE_MAX];
    memcpy(text, body, header->text_size);
    text[header->text_size] = '\0';
    size_t payload_size = header->body_size - header->text_size;
    request.completion(request.context, header->status, text, payload_size > 0 ? body + header->text_size : NULL, payload_size);
}

static void take_progress(ray_client *client, const struct ray__message *header, const uint8_t *body) {
    struct ray__progress progress;
    memcpy(&progress, body, sizeof progress);
    pthread_mutex_lock(&client->lock);
    struct ray__pending *found = find_pending(client, header->request_id);
    struct ray__pending request = found != NULL ? *found : (struct ray__pending){0};
    pthread_mutex_unlock(&client->lock);
    if (request.progress != NULL) {
        request.progress(request.context, &progress.id, &progress.figures);
    }
}

static ray_status take_message(ray_client *client, const struct ray__message *header, const uint8_t *body) {
    if (header->type == RAY__ANSWER) {
        take_answer(client, header, body);
        return RAY_OK;
    }
    if (header->type == RAY__PROGRESS && header->body_size == sizeof(struct ray__progress) && header->text_size == 0) {
        take_progress(client, header, body);
        return RAY_OK;
    }
    return ray__fail(RAY_PROTOCOL, "the node at %s sent a message of type %u with %u bytes, which no node sends", client->socket_path,
                     header->type, header->body_size);
}

// Takes what has arrived, once, so that requests to be sent get their turn. RAY_AGAIN: nothing had.
static ray_status read_socket(ray_client *client) {
    struct ray__message header;
    const uint8_t *body;
    ray_status status = ray__inbox_receive(&client->inbox, client->fd, false);
    if (status != RAY_OK) {
        return status;
    }
    while ((status = ray__inbox_next(&client->inbox, RAY__BODY_MAX, &header, &body)) == RAY_OK) {
        RAY_TRY(take_message(client, &header, body));
    }
    return status == RAY_AGAIN ? RAY_OK : status;
}

static ray_status write_socket(ray_client *client) {
    pthread_mutex_lock(&client->lock);
    ray_status status = ray__outbox_flush(&client->outbox, client->fd);
    pthread_cond_broadcast(&client->drained);
    pthread_mutex_unlock(&client->lock);
    // That nobody reads there any more is said again, and better, by the end of what there is to read.
    return status == RAY_AGAIN || status == RAY_PEER_CLOSED ? RAY_OK : status;
}

// Waits for something to do and does it.
static ray_status serve_once(ray_client *client) {
    pthread_mutex_lock(&client->lock);
    bool writing = ray__outbox_size(&client->outbox) > 0;
    pthread_mutex_unlock(&client->lock);
    struct pollfd wanted[3] = {
        {.fd = client->fd, .events = (short)(POLLIN | (writing ? POLLOUT : 0))},
        {.fd = client->wake_fd, .events = POLLIN},
        {.fd = client->node_fd, .events = POLLIN},
    };
    if (poll(wanted, 3, -1) < 0) {
        return errno == EINTR ? RAY_OK : ray__fail_errno(RAY_SYSTEM, "cannot wait for the node at %s", client->socket_path);
    }
    if (wanted[1].revents != 0) {
        ray__event_clear(client->wake_fd);
    }
    if ((wanted[0].revents & (POLLOUT | POLLERR)) != 0 && writing) {
        RAY_TRY(write_socket(client));
    }
    bool node_ended = wanted[2].revents != 0;
    if (!node_ended && (wanted[0].revents & (POLLIN | POLLHUP | POLLERR)) == 0) {
        return RAY_OK;
    }
    ray_status status = read_socket(client);
    // What the node said before its end still counts.
    return status != RAY_AGAIN ? status : node_ended ? RAY_PEER_CLOSED : RAY_OK;
}

static bool is_over(ray_client *client) {
    pthread_mutex_lock(&client->lock);
    bool over = client->over != RAY_OK;
    pthread_mutex_unlock(&client->lock);
    return over;
}

// No request can be added any more; each that is there hears why.
static void complete_all(ray_client *client) {
    pthread_mutex_lock(&client->lock);
    ray_status status = client->over;
    char text[RAY_MESSAGE_MAX];
    memcpy(text, client->over_text, sizeof text);
    uint32_t capacity = client->pending_capacity;
    pthread_mutex_unlock(&client->lock);
    for (uint32_t place = 0; place < capacity; place++) {
        struct ray__pending request;
        pthread_mutex_lock(&client->lock);
        uint64_t id = client->pending[place].id;
        pthread_mutex_unlock(&client->lock);
        if (id != 0 && take_pending(client, id, &request)) {
            request.completion(request.context, status, text, NULL, 0);
        }
    }
}

void *ray__client_reader(void *argument) {
    ray_client *client = argument;
    while (!is_over(client)) {
        ray_status status = serve_once(client);
        if (status == RAY_PEER_CLOSED) {
            char text[RAY_MESSAGE_MAX];
            snprintf(text, sizeof text, "the node at %.400s ended; connect again when it runs", client->socket_path);
            ray__client_end(client, RAY_NODE_DIED, text);
        } else if (status != RAY_OK) {
            ray__client_end(client, status, ray_last_error_message());
        }
    }
    complete_all(client);
    ray__client_end_waits(client);
    return NULL;
}
