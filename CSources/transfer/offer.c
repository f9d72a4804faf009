// SPDX-License-Identifier: Apache-2.0
// An offer is opened once for a pull and shared by the pull's connections: one find, one pin or descriptor, one tuner.
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock_internal.h"
#include "base/disk_internal.h"
#include "base/error_internal.h"
#include "base/identity_internal.h"
#include "codec/bytes_internal.h"
#include "plasma/glimpse_internal.h"
#include "transfer/answer_internal.h"
#include "transfer/filters_internal.h"

static const char *when(const ray__offer *offer) {
    return offer->name != NULL ? "while it was fetched" : "after it was put";
}

ray_status ray__offer_check(ray__offer *offer) {
    if (offer->file < 0 || offer->partial != NULL) {
        return RAY_OK; // what is verified and still being written to has another time at every look
    }
    if (offer->answer.is_spilled) {
        return ray__spilled_check(offer);
    }
    struct stat info;
    if (fstat(offer->file, &info) != 0) {
        return ray__fail_errno(RAY_SYSTEM, "looking at %s", offer->answer.path);
    }
    if ((uint64_t)info.st_size != offer->answer.size_bytes) {
        atomic_store(&offer->changed, true);
        return ray__fail(RAY_SOURCE_CHANGED, "%s was changed %s: it had %llu bytes, now %llu", offer->answer.path, when(offer),
                         (unsigned long long)offer->answer.size_bytes, (unsigned long long)info.st_size);
    }
    if (ray__mtime_of(&info) != offer->answer.mtime_ns) {
        atomic_store(&offer->changed, true);
        return ray__fail(RAY_SOURCE_CHANGED, "%s was changed %s: its modification time is another", offer->answer.path, when(offer));
    }
    return RAY_OK;
}

static ray_status open_file(ray__offer *offer) {
    if (offer->answer.file >= 0) {
        offer->file = offer->answer.file;
        offer->answer.file = -1;
        offer->size_bytes = offer->answer.size_bytes;
        posix_fadvise(offer->file, 0, 0, POSIX_FADV_SEQUENTIAL);
        return RAY_OK;
    }
    // Not blocking, in case somebody put a pipe in its place.
    offer->file = open(offer->answer.path, O_RDONLY | O_CLOEXEC | O_NOCTTY | O_NONBLOCK);
    if (offer->file < 0) {
        bool gone = errno == ENOENT || errno == ENOTDIR;
        return ray__fail_errno(gone ? RAY_SOURCE_CHANGED : errno == EACCES ? RAY_FILE_NOT_READABLE : RAY_SYSTEM,
                               gone ? "%s was removed after it was put" : "cannot open %s", offer->answer.path);
    }
    RAY_TRY(ray__offer_check(offer));
    offer->size_bytes = offer->answer.size_bytes;
    posix_fadvise(offer->file, 0, 0, POSIX_FADV_SEQUENTIAL);
    return RAY_OK;
}

static ray_status open_object(ray_transfer *transfer, ray__offer *offer) {
    if (transfer->store == NULL) {
        return ray__fail(RAY_NOT_FOUND, "there is no store here to find an object in");
    }
    RAY_TRY(ray_object_get(transfer->store, &offer->id, 0, &offer->view));
    offer->pinned = true;
    offer->size_bytes = offer->view.data_size;
    if (offer->view.metadata_size > RAY_METADATA_MAX) {
        return ray__fail(RAY_TOO_LARGE, "the object's metadata has %u bytes; at most %u can be sent", offer->view.metadata_size,
                         RAY_METADATA_MAX);
    }
    return RAY_OK;
}

static ray_status open_source(ray_transfer *transfer, ray__offer *offer) {
    offer->size_bytes = offer->answer.size_bytes;
    offer->view.metadata = offer->answer.metadata;
    offer->view.metadata_size = offer->answer.metadata_size;
    pthread_mutex_lock(&transfer->offers_lock);
    ray_status status = transfer->readers.jobs != NULL ? RAY_OK : ray__workers_start(&transfer->readers, &transfer->memory, RAY__READERS);
    pthread_mutex_unlock(&transfer->offers_lock);
    return status;
}

static ray_status find(ray_transfer *transfer, ray__offer *offer) {
    if (offer->name != NULL && transfer->find_named == NULL) {
        ray_answer_message(&offer->answer, "nothing is served by name here: this is a node's port, or it serves objects by their ids");
        return RAY_NOT_FOUND;
    }
    if (offer->name != NULL) {
        return transfer->find_named(transfer->context, offer->name, offer->peer, &offer->answer);
    }
    if (transfer->find != NULL) {
        return transfer->find(transfer->context, &offer->id, &offer->answer);
    }
    ray_answer_object(&offer->answer);
    return RAY_OK;
}

static ray_status find_and_open(ray_transfer *transfer, ray__offer *offer) {
    if (offer->name == NULL && ray__partial_open(transfer, offer)) {
        return RAY_OK;
    }
    ray_status found = find(transfer, offer);
    if (found != RAY_OK) {
        return ray__fail(found, "%s", offer->answer.text[0] != '\0' ? offer->answer.text : ray_status_text(found));
    }
    if (offer->answer.failure != RAY_OK) {
        return ray__fail(offer->answer.failure, "%s",
                         offer->answer.text[0] != '\0' ? offer->answer.text : ray_status_text(offer->answer.failure));
    }
    if (offer->answer.source.read != NULL) {
        return open_source(transfer, offer);
    }
    if (offer->answer.kind == RAY_KIND_FILE) {
        return open_file(offer);
    }
    if (offer->answer.is_spilled) {
        return ray__spilled_open(offer);
    }
    return offer->answer.kind == RAY_KIND_OBJECT ? open_object(transfer, offer) : RAY_OK;
}

static ray__offer *find_open(ray_transfer *transfer, const ray__open *open) {
    pthread_mutex_lock(&transfer->offers_lock);
    ray__offer *offer = transfer->offers;
    while (offer != NULL && (offer->token != open->token || offer->chunk_size != open->chunk_size || !ray_object_id_equal(&offer->id, &open->id))) {
        offer = offer->next;
    }
    if (offer != NULL) {
        offer->refs++;
    }
    pthread_mutex_unlock(&transfer->offers_lock);
    return offer;
}

// Of an array of numbers; docs/VALUES.md has the layout.
static uint32_t element_width(const ray__offer *offer) {
    bool is_object = offer->answer.kind == RAY_KIND_OBJECT;
    const uint8_t *metadata = is_object ? offer->view.metadata : offer->answer.metadata;
    uint32_t size = is_object ? offer->view.metadata_size : offer->answer.metadata_size;
    if (size < 8 || metadata[0] != 'A' || metadata[1] != 1 || (metadata[2] != 'i' && metadata[2] != 'u' && metadata[2] != 'f')) {
        return 0;
    }
    uint32_t width = ray__get_u32(metadata + 4);
    return width == 2 || width == 4 || width == 8 ? width : 0;
}

// Sums that were made of another value of the id, or of the file when it was another, are not believed.
static ray__sums *acquire_sums(ray_transfer *transfer, const ray__offer *offer) {
    ray__sums_key key = {.id = &offer->id, .size_bytes = offer->size_bytes, .chunk_size = offer->chunk_size};
    struct stat info;
    if (offer->pinned) {
        key.stamp = ray__object_stamp(offer->view.entry, offer->view.generation);
    } else if (offer->file >= 0 && !offer->answer.is_spilled && fstat(offer->file, &info) == 0) {
        key.stamp = ray__file_identity(&info);
        key.settled_ns = ray__file_settled_ns(&info);
    } else {
        key.stamp = (uint64_t)offer->answer.mtime_ns;
    }
    return ray__sums_acquire(transfer->sums, &key);
}

ray_status ray__offer_open(ray_transfer *transfer, const ray__open *open, const char *peer, bool may_wait, ray__offer **offer) {
    ray__offer *made = find_open(transfer, open);
    if (made != NULL && !atomic_load(&made->changed)) {
        *offer = made;
        return RAY_OK;
    }
    ray__offer_release(transfer, made);
    RAY_TRY(ray__share_get(&transfer->answers, sizeof *made, may_wait ? transfer->stop : -1));
    made = calloc(1, sizeof *made);
    char *name = made != NULL && open->name[0] != '\0' ? strdup(open->name) : NULL;
    if (made == NULL || (name == NULL && open->name[0] != '\0')) {
        free(made);
        ray__share_give(&transfer->answers, sizeof *made);
        return ray__fail(RAY_OUT_OF_MEMORY, "opening an object for a peer");
    }
    made->name = name;
    snprintf(made->peer, sizeof made->peer, "%s", peer);
    made->since_ns = ray__now_ns();
    atomic_store(&made->notes.due_ns, made->since_ns + RAY__NOTE_NS);
    made->refs = 1;
    made->token = open->token;
    made->chunk_size = open->chunk_size;
    made->id = open->id;
    made->file = -1;
    ray__answer_init(&made->answer, &transfer->answers, may_wait ? transfer->stop : -1);
    ray__tuner_init(&made->tuner, (uint16_t)transfer->workers.count, open->threads);
    ray__peers_recall(&transfer->peers, peer, ray__now_ns(), &made->tuner);
    ray__gauge_init(&made->gauge, &transfer->headroom);
    made->status = find_and_open(transfer, made);
    if (made->status != RAY_OK) {
        snprintf(made->answer.text, sizeof made->answer.text, "%s", ray_last_error_message());
        ray__spilled_note(transfer, made, made->status);
    } else if (made->answer.kind != RAY__ANSWER_NOTHING && made->size_bytes > RAY_INLINE_MAX) {
        ray__swarm_join(transfer, made, open);
    }
    // What is still being filled has its checksums with the pull.
    if (made->status == RAY_OK && made->answer.kind != RAY__ANSWER_NOTHING && made->size_bytes > RAY_INLINE_MAX && made->partial == NULL) {
        made->sums = acquire_sums(transfer, made);
    }
    ray__filters_begin(made, made->status == RAY_OK ? element_width(made) : 0);
    pthread_mutex_lock(&transfer->offers_lock);
    made->next = transfer->offers;
    transfer->offers = made;
    pthread_mutex_unlock(&transfer->offers_lock);
    *offer = made;
    return RAY_OK;
}

static void report(ray_transfer *transfer, const ray__offer *offer) {
    if (transfer->served_by_name == NULL) {
        return;
    }
    bool changed = offer->status == RAY_OK && atomic_load(&offer->changed);
    ray_served served = {
        .peer = offer->peer,
        .name = offer->name,
        .message = changed ? "it was changed while it was fetched" : offer->answer.text,
        .status = changed ? RAY_SOURCE_CHANGED : offer->status,
        .size_bytes = offer->size_bytes,
        .sent_bytes = atomic_load(&offer->sent_bytes),
        .wire_bytes = atomic_load(&offer->wire_bytes),
        .elapsed_ns = ray__now_ns() - offer->since_ns,
    };
    transfer->served_by_name(transfer->context, &served);
}

void ray__offer_release(ray_transfer *transfer, ray__offer *offer) {
    if (offer == NULL) {
        return;
    }
    pthread_mutex_lock(&transfer->offers_lock);
    bool last = --offer->refs == 0;
    if (last) {
        ray__offer **cursor = &transfer->offers;
        while (*cursor != offer) {
            cursor = &(*cursor)->next;
        }
        *cursor = offer->next;
    }
    pthread_mutex_unlock(&transfer->offers_lock);
    if (!last) {
        return;
    }
    if (offer->name != NULL) {
        report(transfer, offer);
    }
    ray__swarm_leave(transfer, offer);
    ray__partial_close(transfer, offer);
    if (offer->pinned) {
        ray_object_release(transfer->store, &offer->view);
    }
    if (offer->file >= 0) {
        close(offer->file);
    }
    bool is_kept = offer->file >= 0 && offer->name == NULL && !offer->answer.is_spilled && offer->chunk_size == RAY_CHUNK_SIZE;
    if (is_kept && transfer->summed != NULL && !atomic_load(&offer->changed) && ray__sums_tell(offer->sums)) {
        transfer->summed(transfer->context, &offer->id);
    }
    ray__sums_release(offer->sums);
    ray__answer_end(&offer->answer);
    ray__peers_remember(&transfer->peers, offer->peer, ray__now_ns(), &offer->tuner);
    ray__tuner_end(&offer->tuner);
    ray__gauge_end(&offer->gauge);
    free(offer->name);
    free(offer);
    ray__share_give(&transfer->answers, sizeof *offer);
}

void ray__offer_sent(ray_transfer *transfer, ray__offer *offer, uint32_t raw_size, uint32_t stored_size) {
    atomic_fetch_add(&transfer->sent_bytes, raw_size);
    atomic_fetch_add(&transfer->sent_wire_bytes, stored_size);
    atomic_fetch_add(&offer->sent_bytes, raw_size);
    atomic_fetch_add(&offer->wire_bytes, stored_size);
}

void ray__offer_card(const ray__offer *offer, uint64_t data_max, ray__card_message *card) {
    memset(card, 0, sizeof *card);
    card->status = offer->status;
    card->holder_count = offer->answer.holder_count;
    card->holders = offer->answer.holders;
    memcpy(card->text, offer->answer.text, sizeof card->text);
    if (offer->status != RAY_OK || offer->answer.kind == RAY__ANSWER_NOTHING) {
        return;
    }
    card->flags = RAY__CARD_HERE | (offer->partial != NULL ? RAY__CARD_PARTIAL : 0);
    card->kind = (uint16_t)offer->answer.kind;
    card->size_bytes = offer->size_bytes;
    card->chunk_size = offer->chunk_size;
    card->edition = offer->answer.edition;
    bool is_object = offer->answer.kind == RAY_KIND_OBJECT;
    card->metadata = is_object ? offer->view.metadata : offer->answer.metadata;
    card->metadata_size = is_object ? offer->view.metadata_size : offer->answer.metadata_size;
    card->descriptor = offer->answer.descriptor;
    card->descriptor_size = offer->answer.descriptor_size;
    // A slow source is not waited for by a connection, which others use too.
    bool is_slow = offer->answer.source.read != NULL && offer->size_bytes > 0;
    uint64_t most = offer->pinned || data_max < RAY_INLINE_MAX ? data_max : RAY_INLINE_MAX;
    if (!is_slow && offer->size_bytes <= most) {
        card->flags |= RAY__CARD_INLINE;
        card->inline_size = (uint32_t)offer->size_bytes;
        card->inline_data = offer->view.data; // a file's is read by the caller
    }
}

ray_status ray__offer_read(ray__offer *offer, void *bytes, uint64_t offset, size_t size) {
    uint8_t *at = bytes;
    while (size > 0) {
        ssize_t got = pread(offer->file, at, size, (off_t)(offer->answer.file_offset + offset));
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got < 0) {
            return ray__fail_errno(RAY_SYSTEM, "reading %s", offer->answer.path);
        }
        if (got == 0 && offer->answer.is_spilled) {
            RAY_TRY(ray__spilled_check(offer));
        }
        if (got == 0) {
            atomic_store(&offer->changed, true);
            return ray__fail(RAY_SOURCE_CHANGED, "%s was changed %s: it ends before byte %llu", offer->answer.path, when(offer),
                             (unsigned long long)(offset + size));
        }
        at += got;
        offset += (uint64_t)got;
        size -= (size_t)got;
    }
    return ray__offer_check(offer);
}
