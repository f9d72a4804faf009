// SPDX-License-Identifier: Apache-2.0
// A pull as a holder: what has come of an object is served while the rest is on its way.
//
// An offer that is opened while a pull of ours fills the object reads where the pull writes: in the object's memory, or through a
// descriptor of the partial file of its own. Only chunks that are here, which are verified, are read. After the seal the object is pinned for
// the offers that are still open. When the pull fails the memory goes, so those that read it are cut off and waited for first.
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/error_internal.h"
#include "transfer/answer_internal.h"

// What has a longer card is served when it is complete.
#define CARD_MAX (64u << 10)

ray_status ray__partial_keep_card(ray_pull *pull, const ray_card *card) {
    if (pull->transfer->advertise_port == 0 || pull->name != NULL || card->size_bytes < RAY__SWARM_SIZE_MIN ||
        card->metadata_size + card->descriptor_size > CARD_MAX) {
        return RAY_OK;
    }
    pull->metadata = malloc(card->metadata_size + 1u);
    pull->descriptor = malloc(card->descriptor_size + 1u);
    if (pull->metadata == NULL || pull->descriptor == NULL) {
        return ray__fail(RAY_OUT_OF_MEMORY, "what a card says of an object");
    }
    pull->metadata_size = card->metadata_size;
    pull->descriptor_size = card->descriptor_size;
    if (card->metadata_size > 0) {
        memcpy(pull->metadata, card->metadata, card->metadata_size);
    }
    if (card->descriptor_size > 0) {
        memcpy(pull->descriptor, card->descriptor, card->descriptor_size);
    }
    return RAY_OK;
}

static bool keep_parts(ray__offer *offer, const ray_pull *pull) {
    uint64_t size = (uint64_t)pull->metadata_size + pull->descriptor_size;
    // Under a lock, so not waited for: where there is no memory now it is served when it is complete.
    if (!ray__share_take(offer->answer.share, size, 0)) {
        return false;
    }
    offer->answer.taken_bytes = size;
    offer->answer.metadata = malloc(pull->metadata_size + 1u);
    offer->answer.descriptor = malloc(pull->descriptor_size + 1u);
    if (offer->answer.metadata == NULL || offer->answer.descriptor == NULL) {
        return false;
    }
    memcpy(offer->answer.metadata, pull->metadata, pull->metadata_size);
    memcpy(offer->answer.descriptor, pull->descriptor, pull->descriptor_size);
    offer->answer.metadata_size = pull->metadata_size;
    offer->answer.descriptor_size = pull->descriptor_size;
    return true;
}

static bool join_locked(ray__offer *offer, ray_pull *pull) {
    // A file that is being closed is not joined any more. An object is until it is pinned: it is not found sealed before.
    bool is_over = pull->settled || (pull->finishing && pull->kind == RAY_KIND_FILE) || (atomic_load(&pull->ended) && pull->status != RAY_OK);
    bool serves = pull->opened && pull->chunk_size == offer->chunk_size && !is_over && pull->metadata != NULL;
    if (!serves) {
        return false;
    }
    if (pull->kind == RAY_KIND_FILE) {
        int file = fcntl(pull->sink.file, F_DUPFD_CLOEXEC, 0);
        char *path = strdup(pull->sink.path);
        if (file < 0 || path == NULL || !keep_parts(offer, pull)) {
            if (file >= 0) {
                close(file);
            }
            free(path);
            ray__answer_end(&offer->answer);
            return false;
        }
        offer->file = file;
        offer->answer.path = path;
    } else {
        offer->view.data = pull->sink.writer.data;
        offer->view.metadata = pull->metadata;
        offer->view.metadata_size = pull->metadata_size;
    }
    offer->answer.kind = (int)pull->kind;
    offer->size_bytes = pull->size_bytes;
    offer->partial = pull;
    pull->offer_count++;
    ray__pull_acquire(pull);
    return true;
}

bool ray__partial_open(ray_transfer *transfer, ray__offer *offer) {
    bool joined = false;
    pthread_mutex_lock(&transfer->list_lock);
    for (ray_pull *pull = transfer->pulls; pull != NULL && !joined; pull = pull->next) {
        if (ray_object_id_equal(&pull->id, &offer->id) && pull->name == NULL) {
            pthread_mutex_lock(&pull->lock);
            joined = join_locked(offer, pull);
            pthread_mutex_unlock(&pull->lock);
        }
    }
    pthread_mutex_unlock(&transfer->list_lock);
    return joined;
}

void ray__partial_close(ray_transfer *transfer, ray__offer *offer) {
    ray_pull *pull = offer->partial;
    if (pull == NULL) {
        return;
    }
    pthread_mutex_lock(&pull->lock);
    bool unpin = --pull->offer_count == 0 && pull->pinned;
    if (unpin) {
        pull->pinned = false;
    }
    pthread_mutex_unlock(&pull->lock);
    if (unpin) {
        ray_object_release(transfer->store, &pull->view);
    }
    offer->partial = NULL;
    ray_pull_release(pull);
}

void ray__partial_watch(ray__offer *offer, ray__watcher *watcher) {
    if (offer->partial != NULL) {
        pthread_mutex_lock(&offer->partial->lock);
        watcher->next = offer->partial->watchers;
        offer->partial->watchers = watcher;
        pthread_mutex_unlock(&offer->partial->lock);
    }
}

void ray__partial_unwatch(ray__offer *offer, ray__watcher *watcher) {
    if (offer->partial == NULL) {
        return;
    }
    pthread_mutex_lock(&offer->partial->lock);
    ray__watcher **cursor = &offer->partial->watchers;
    while (*cursor != watcher && *cursor != NULL) {
        cursor = &(*cursor)->next;
    }
    if (*cursor == watcher) {
        *cursor = watcher->next;
    }
    pthread_mutex_unlock(&offer->partial->lock);
}

void ray__partial_changed_locked(ray_pull *pull) {
    for (ray__watcher *watcher = pull->watchers; watcher != NULL; watcher = watcher->next) {
        if (watcher->waits) {
            watcher->waits = false;
            uint64_t one = 1;
            ssize_t written = write(watcher->event, &one, sizeof one);
            (void)written;
        }
    }
}

enum ray__presence ray__partial_look(ray__offer *offer, ray__watcher *watcher, uint32_t index, uint32_t depth, uint64_t *checksum) {
    ray_pull *pull = offer->partial;
    enum ray__presence presence;
    pthread_mutex_lock(&pull->lock);
    if (pull->serving_failed || (atomic_load(&pull->ended) && pull->status != RAY_OK)) {
        presence = RAY__GONE;
    } else if (pull->chunks[index] == RAY__CHUNK_HERE) {
        presence = RAY__HERE;
        *checksum = pull->checksums[index];
    } else if (pull->chunks[index] == RAY__CHUNK_ASKED && pull->depths[index] < depth) {
        // Who waits is deeper than what he waits for, so nobody waits for himself.
        presence = RAY__COMING;
        watcher->waits = true;
    } else {
        presence = RAY__AWAY;
    }
    pthread_mutex_unlock(&pull->lock);
    return presence;
}

// A file is read through a descriptor that the offer owns, so only an object's memory needs care.
static bool needs_care(const ray__offer *offer) {
    return offer->partial != NULL && offer->file < 0;
}

bool ray__partial_enter(const ray__offer *offer, ray__reader *reader, int socket) {
    if (!needs_care(offer)) {
        return true;
    }
    ray_pull *pull = offer->partial;
    pthread_mutex_lock(&pull->lock);
    bool may = !pull->serving_failed;
    if (may) {
        reader->socket = socket;
        reader->next = pull->readers;
        pull->readers = reader;
    }
    pthread_mutex_unlock(&pull->lock);
    return may;
}

void ray__partial_leave(const ray__offer *offer, ray__reader *reader) {
    if (!needs_care(offer)) {
        return;
    }
    ray_pull *pull = offer->partial;
    pthread_mutex_lock(&pull->lock);
    ray__reader **cursor = &pull->readers;
    while (*cursor != reader) {
        cursor = &(*cursor)->next;
    }
    *cursor = reader->next;
    pthread_cond_broadcast(&pull->readers_changed);
    pthread_mutex_unlock(&pull->lock);
}

void ray__partial_settle(ray_pull *pull, ray_status status) {
    pthread_mutex_lock(&pull->lock);
    bool keeps = status == RAY_OK;
    if (keeps && pull->offer_count > 0 && pull->sink.kind == RAY_KIND_OBJECT) {
        // It may have been deleted at once; then it ends for the offers as well.
        keeps = ray_object_get(pull->transfer->store, &pull->id, 0, &pull->view) == RAY_OK;
        pull->pinned = keeps;
    }
    pull->serving_failed = !keeps;
    pull->settled = true;
    for (ray__reader *reader = pull->readers; reader != NULL && !keeps; reader = reader->next) {
        if (reader->socket >= 0) {
            shutdown(reader->socket, SHUT_RDWR);
        }
    }
    ray__partial_changed_locked(pull);
    while (!keeps && pull->readers != NULL) {
        pthread_cond_wait(&pull->readers_changed, &pull->lock);
    }
    pthread_mutex_unlock(&pull->lock);
}
