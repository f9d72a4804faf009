// SPDX-License-Identifier: Apache-2.0
// Accepting: one thread takes connections and gives each a thread of its own, as many as there is room for.
//
// A stranger holds a slot for as long as he may take to prove himself, no longer; when all slots of strangers are taken, the one who has
// been there longest goes, after a short while that is enough for who has the key. When all slots are taken, new connections wait in the
// kernel's queue.
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock_internal.h"
#include "base/error_internal.h"
#include "base/thread_internal.h"
#include "transfer/pacing_internal.h"
#include "transfer/serve_internal.h"

struct ray__served {
    ray__served *next;
    ray_transfer *transfer;
    ray__connection connection;
    pthread_t thread;
    uint64_t since_ns;
    bool proving; // under served_lock
    bool ended; // under served_lock; the thread touches nothing any more and waits to be joined
};

static void note_refusal(ray_transfer *transfer, ray_status status) {
    if (status != RAY_CANCELLED) {
        atomic_fetch_add(&transfer->refused_count, 1);
    }
}

static void *serve_connection(void *context) {
    ray__served *served = context;
    ray_transfer *transfer = served->transfer;
    ray_status proved = ray__connection_prove(&served->connection, &transfer->key, RAY_ROLE_ACCEPTING, RAY__PROVE_NS);
    pthread_mutex_lock(&transfer->served_lock);
    transfer->proving_count--;
    served->proving = false;
    pthread_cond_signal(&transfer->served_changed);
    pthread_mutex_unlock(&transfer->served_lock);
    if (proved == RAY_OK) {
        ray__pacing_suit(served->connection.socket, ray__connection_round_trip_ns(&served->connection));
        ray__serve(transfer, &served->connection);
    } else {
        note_refusal(transfer, proved);
    }
    pthread_mutex_lock(&transfer->served_lock);
    ray__connection_close(&served->connection);
    served->ended = true;
    transfer->served_count--;
    pthread_cond_signal(&transfer->served_changed);
    pthread_mutex_unlock(&transfer->served_lock);
    return NULL;
}

// Joins the threads that have ended; all of them when told.
static void join_ended(ray_transfer *transfer, bool all) {
    pthread_mutex_lock(&transfer->served_lock);
    ray__served **cursor = &transfer->served;
    while (*cursor != NULL) {
        ray__served *served = *cursor;
        if (!all && !served->ended) {
            cursor = &served->next;
            continue;
        }
        *cursor = served->next;
        pthread_mutex_unlock(&transfer->served_lock);
        pthread_join(served->thread, NULL);
        free(served);
        pthread_mutex_lock(&transfer->served_lock);
        // Only the acceptor, or who has joined it, changes the list; start anew all the same, it is short.
        cursor = &transfer->served;
    }
    pthread_mutex_unlock(&transfer->served_lock);
}

static void start_serving(ray_transfer *transfer, const ray__connection *connection) {
    ray__served *served = calloc(1, sizeof *served);
    if (served == NULL) {
        close(connection->socket);
        return;
    }
    served->transfer = transfer;
    served->connection = *connection;
    served->since_ns = ray__now_ns();
    served->proving = true;
    pthread_mutex_lock(&transfer->served_lock);
    if (ray__thread_start(&served->thread, "ray-serve", serve_connection, served) == RAY_OK) {
        served->next = transfer->served;
        transfer->served = served;
        transfer->served_count++;
        transfer->proving_count++;
        served = NULL;
    }
    pthread_mutex_unlock(&transfer->served_lock);
    if (served != NULL) {
        // The peer sees the connection end and tries again, here or elsewhere.
        close(connection->socket);
        free(served);
    }
}

// Sends away the stranger who has been there longest; answers when it is time to. Its thread notices and ends. With the lock.
static uint64_t crowd_out(ray_transfer *transfer, uint64_t now) {
    ray__served *oldest = NULL;
    for (ray__served *served = transfer->served; served != NULL; served = served->next) {
        if (served->proving && (oldest == NULL || served->since_ns < oldest->since_ns)) {
            oldest = served;
        }
    }
    if (oldest == NULL || now < oldest->since_ns + RAY__PROVE_CROWDED_NS) {
        return oldest == NULL ? now + RAY__PROVE_CROWDED_NS : oldest->since_ns + RAY__PROVE_CROWDED_NS;
    }
    shutdown(oldest->connection.socket, SHUT_RDWR);
    oldest->since_ns = now; // it takes a moment to go
    return now + RAY__MS;
}

// Waits for a slot. False when the transfer stops.
static bool wait_for_slot(ray_transfer *transfer) {
    pthread_mutex_lock(&transfer->served_lock);
    while (!transfer->serving_stopped &&
           (transfer->served_count >= RAY__SERVED_MAX || transfer->proving_count >= RAY__PROVING_MAX)) {
        if (transfer->proving_count >= RAY__PROVING_MAX) {
            uint64_t until_ns = crowd_out(transfer, ray__now_ns());
            ray__cond_wait_until(&transfer->served_changed, &transfer->served_lock, until_ns);
        } else {
            pthread_cond_wait(&transfer->served_changed, &transfer->served_lock);
        }
    }
    bool go_on = !transfer->serving_stopped;
    pthread_mutex_unlock(&transfer->served_lock);
    return go_on;
}

static void *accept_connections(void *context) {
    ray_transfer *transfer = context;
    while (wait_for_slot(transfer)) {
        struct pollfd fds[2] = {{.fd = transfer->listener, .events = POLLIN}, {.fd = transfer->stop, .events = POLLIN}};
        if (poll(fds, 2, 1000) > 0 && fds[1].revents != 0) {
            break;
        }
        join_ended(transfer, false);
        if (fds[0].revents == 0) {
            continue;
        }
        ray__connection connection;
        ray_status accepted = ray__listener_accept(transfer->listener, transfer->stop, &connection);
        if (accepted == RAY_OK) {
            start_serving(transfer, &connection);
        } else if (accepted != RAY_AGAIN) {
            // Out of descriptors or memory: the queue stays readable, so look away for a moment.
            struct pollfd stop = {.fd = transfer->stop, .events = POLLIN};
            poll(&stop, 1, 100);
        }
    }
    return NULL;
}

ray_status ray__serving_start(ray_transfer *transfer, const char *host, uint16_t port) {
    RAY_TRY(ray__listener_open(host, port, &transfer->listener, &transfer->port));
    RAY_TRY(ray__thread_start(&transfer->acceptor, "ray-accept", accept_connections, transfer));
    transfer->accepting = true;
    return RAY_OK;
}

void ray__serving_stop(ray_transfer *transfer) {
    pthread_mutex_lock(&transfer->served_lock);
    transfer->serving_stopped = true;
    pthread_cond_broadcast(&transfer->served_changed);
    pthread_mutex_unlock(&transfer->served_lock);
    if (transfer->accepting) {
        pthread_join(transfer->acceptor, NULL);
        join_ended(transfer, true);
    }
    if (transfer->listener >= 0) {
        close(transfer->listener);
    }
}
