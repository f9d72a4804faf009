// SPDX-License-Identifier: Apache-2.0
// Opens under way, and the releases that wait for them.
//
// A ref is opened in two steps: the node sets the bit of this process's slot, and the process counts the ref (ray_ref_acquire). A release of
// the process's last other ref between the two would clear the bit, and the node would take the object for one that nobody wants.
// So a release of a ref of an object that is being opened is noted, and done when its last open is over. One that does not see an open is
// seen by it: it says first that it is under way and then looks for opens, who opens says so first and then looks for releases.
#include <sched.h>
#include <stdlib.h>
#include <string.h>

#include "client/client_internal.h"

struct ray__opening {
    ray_object_id id;
    uint32_t open_count;
    uint64_t release_count; // that wait
    struct ray__opening *next;
};

static struct ray__openings *openings_of(ray_client *client, const ray_object_id *id) {
    return &client->openings[ray_object_id_hash(id) % RAY__OPENINGS_COUNT];
}

// Where the pointer to it is, or the NULL at the end. Under the lock.
static struct ray__opening **find(struct ray__openings *all, const ray_object_id *id) {
    struct ray__opening **at = &all->first;
    while (*at != NULL && memcmp(&(*at)->id, id, sizeof *id) != 0) {
        at = &(*at)->next;
    }
    return at;
}

ray_status ray_client_opening_begin(ray_client *client, const ray_object_id *id) {
    RAY_TRY(ray__client_check_process(client));
    struct ray__openings *all = openings_of(client, id);
    pthread_mutex_lock(&all->lock);
    struct ray__opening **at = find(all, id);
    if (*at == NULL) {
        *at = calloc(1, sizeof **at);
        if (*at == NULL) {
            pthread_mutex_unlock(&all->lock);
            return ray__fail(RAY_OUT_OF_MEMORY, "no memory to open a ref");
        }
        (*at)->id = *id;
        atomic_fetch_add(&all->count, 1);
    }
    (*at)->open_count++;
    pthread_mutex_unlock(&all->lock);
    while (atomic_load(&all->releasing_count) != 0) {
        sched_yield();
    }
    return RAY_OK;
}

static ray_status release_now(ray_client *client, const ray_object_id *id) {
    if (client->store != NULL) {
        return ray_ref_release(client->store, id);
    }
    ray__client_tell(client, RAY__TELL_DROP_REF, id->bytes, RAY_OBJECT_ID_SIZE);
    return RAY_OK;
}

void ray_client_opening_end(ray_client *client, const ray_object_id *id) {
    if (ray__client_check_process(client) != RAY_OK) {
        return;
    }
    struct ray__openings *all = openings_of(client, id);
    pthread_mutex_lock(&all->lock);
    struct ray__opening **at = find(all, id);
    struct ray__opening *opening = *at;
    if (opening != NULL && --opening->open_count == 0) {
        *at = opening->next;
        // The releases come before a later open of the object, which waits for the lock.
        for (; opening->release_count > 0; opening->release_count--) {
            (void)release_now(client, id);
        }
        free(opening);
        atomic_fetch_sub(&all->count, 1);
    }
    pthread_mutex_unlock(&all->lock);
}

ray_status ray_client_release_ref(ray_client *client, const ray_object_id *id) {
    RAY_TRY(ray__client_check_process(client));
    struct ray__openings *all = openings_of(client, id);
    atomic_fetch_add(&all->releasing_count, 1);
    if (atomic_load(&all->count) == 0) {
        ray_status status = release_now(client, id);
        atomic_fetch_sub(&all->releasing_count, 1);
        return status;
    }
    atomic_fetch_sub(&all->releasing_count, 1);
    pthread_mutex_lock(&all->lock);
    struct ray__opening *opening = *find(all, id);
    ray_status status = RAY_OK;
    if (opening != NULL) {
        opening->release_count++;
    } else {
        status = release_now(client, id);
    }
    pthread_mutex_unlock(&all->lock);
    return status;
}

void ray__openings_free(ray_client *client) {
    for (uint32_t i = 0; i < RAY__OPENINGS_COUNT; i++) {
        while (client->openings[i].first != NULL) {
            struct ray__opening *opening = client->openings[i].first;
            client->openings[i].first = opening->next;
            free(opening);
        }
    }
}
