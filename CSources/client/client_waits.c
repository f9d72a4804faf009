// SPDX-License-Identifier: Apache-2.0
// Waiting for what other processes of this machine make, by shared memory alone.
//
// The thread is made with the first wait. When the session is over, for whatever reason, all waits end with that: a node that is gone
// reaps nobody, so a maker that dies after it would be waited for without end.
#include "client/client_internal.h"

static ray_status waiter_of(ray_client *client, ray_waiter **waiter) {
    pthread_mutex_lock(&client->lock);
    ray_status status = RAY_OK;
    if (client->over != RAY_OK) {
        status = ray__fail(client->over, "%s", client->over_text);
    } else if (client->waiter == NULL) {
        status = ray_waiter_create(client->store, &client->waiter);
    }
    *waiter = client->waiter;
    pthread_mutex_unlock(&client->lock);
    return status;
}

void ray__client_end_waits(ray_client *client) {
    pthread_mutex_lock(&client->lock);
    ray_waiter *waiter = client->waiter;
    ray_status status = client->over;
    pthread_mutex_unlock(&client->lock);
    if (waiter != NULL) {
        ray_waiter_end(waiter, status);
    }
}

ray_status ray_client_wait(ray_client *client, const ray_object_id *id, uint64_t timeout_ns, ray_waited_fn done, void *context,
                           uint64_t *ticket) {
    *ticket = 0;
    RAY_TRY(ray__client_check_process(client));
    if (client->store == NULL) {
        return ray__fail(RAY_UNSUPPORTED, "a guarded reader has no part in the store to wait in; ask the node, with ray_client_wait_many");
    }
    ray_waiter *waiter;
    RAY_TRY(waiter_of(client, &waiter));
    return ray_waiter_add(waiter, id, RAY_WAITER_WHILE_MADE, timeout_ns, done, context, ticket);
}

bool ray_client_wait_cancel(ray_client *client, uint64_t ticket) {
    if (ray__client_check_process(client) != RAY_OK) {
        return false;
    }
    pthread_mutex_lock(&client->lock);
    ray_waiter *waiter = client->waiter;
    pthread_mutex_unlock(&client->lock);
    return waiter != NULL && ray_waiter_cancel(waiter, ticket);
}
