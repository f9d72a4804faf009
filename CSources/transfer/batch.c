// SPDX-License-Identifier: Apache-2.0
// Many small things from one place: their OPENs leave in one write, their cards come back in one stream, with the bytes in them. So a
// thousand small objects cost some sixty messages' worth of round trips instead of a thousand.
//
// Everybody's pull stays its own: one that ends meanwhile leaves at once, and its card is read and dropped. When the connection breaks, the
// first pull without an answer is tried alone, which tells whose fault it was, and the others are begun again.
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <sys/uio.h>

#include "base/checksum_internal.h"
#include "base/clock_internal.h"
#include "base/error_internal.h"
#include "transfer/transfer_internal.h"

// Of those in a batch whose data is not in their card, so many are fetched on its connection, one after the other. Each has its sink open
// meanwhile, so the others take a connection of their own.
#define FETCHED_MAX 4u
// Of all OPENs together: less than any socket takes at once, since the peer may be busy sending cards meanwhile.
#define BYTES_MAX 16384u

enum member_state { MEMBER_ASKS, MEMBER_FETCHES, MEMBER_DONE };

typedef struct batch {
    ray_transfer *transfer;
    uint32_t count;
    uint32_t fetched_count;
    ray__link_job *const *jobs;
    enum member_state states[RAY__BATCH_MAX];
    uint32_t streams[RAY__BATCH_MAX]; // 0: was not asked for
    bool yielded; // of the member at hand
    ray__link link; // its connection is the batch's; the rest is of the member at hand
} batch;

static void finish_member(batch *b, uint32_t i) {
    b->states[i] = MEMBER_DONE;
    ray__link_job_done(b->jobs[i], b->yielded);
    b->yielded = false;
}

static void take_up(batch *b, uint32_t i) {
    ray__link_begin(&b->link, b->jobs[i]->pull, b->jobs[i]->source);
    b->link.stream = b->streams[i];
}

static ray_status send_opens(batch *b) {
    uint8_t *bytes = malloc(BYTES_MAX);
    if (bytes == NULL) {
        return ray__fail(RAY_OUT_OF_MEMORY, "a message of %u bytes", BYTES_MAX);
    }
    size_t size = 0;
    for (uint32_t i = 0; i < b->count; i++) {
        if (ray__pull_make_stop(b->jobs[i]->pull) != RAY_OK || atomic_load(&b->jobs[i]->pull->ended)) {
            finish_member(b, i);
        } else if (size + RAY__MESSAGE_HEADER_SIZE + RAY__OPEN_BODY_MAX <= BYTES_MAX) {
            take_up(b, i);
            size += ray__link_write_open(&b->link, bytes + size);
            b->streams[i] = b->link.stream;
        }
    }
    struct iovec part = {bytes, size};
    ray_status status = ray__connection_write(&b->link.connection, &part, 1, false);
    free(bytes);
    return status;
}

// Waits for the next card. A pull that ends meanwhile is left at once.
static ray_status wait_for_card(batch *b) {
    uint64_t deadline = ray__deadline_ns(RAY__SILENT_NS);
    for (;;) {
        struct pollfd fds[2 + RAY__BATCH_MAX] = {{.fd = b->link.connection.socket, .events = POLLIN},
                                                 {.fd = b->transfer->stop, .events = POLLIN}};
        for (uint32_t i = 0; i < b->count; i++) {
            bool waits = b->states[i] == MEMBER_ASKS && b->streams[i] != 0;
            fds[2 + i] = (struct pollfd){.fd = waits ? b->jobs[i]->pull->stop : -1, .events = POLLIN};
        }
        uint64_t now = ray__now_ns();
        if (now >= deadline) {
            return ray__fail(RAY_TIMED_OUT, "%s was silent for %llu ms", b->link.connection.peer, RAY__SILENT_NS / RAY__MS);
        }
        if (poll(fds, 2 + b->count, (int)((deadline - now) / RAY__MS) + 1) < 0 && errno != EINTR) {
            return ray__fail_errno(RAY_SYSTEM, "waiting for %s", b->link.connection.peer);
        }
        for (uint32_t i = 0; i < b->count; i++) {
            if (fds[2 + i].revents != 0) {
                finish_member(b, i);
            }
        }
        if (fds[0].revents != 0) {
            return RAY_OK;
        }
        if (fds[1].revents != 0) {
            return ray__fail(RAY_CANCELLED, "the connection to %s was stopped", b->link.connection.peer);
        }
    }
}

static ray_status take_card(batch *b, const ray__card_message *card, uint32_t stream) {
    uint32_t i = 0;
    while (i < b->count && b->streams[i] != stream) {
        i++;
    }
    if (i == b->count || b->states[i] == MEMBER_FETCHES) {
        return ray__fail(RAY_PROTOCOL, "%s sent a card that nobody asked for", b->link.connection.peer);
    }
    if (b->states[i] == MEMBER_DONE) {
        return RAY_OK;
    }
    bool is_whole = card->status != RAY_OK || (card->flags & RAY__CARD_HERE) == 0 || (card->flags & RAY__CARD_INLINE) != 0;
    if (!is_whole && b->fetched_count == FETCHED_MAX) {
        ray_pull *pull = b->jobs[i]->pull;
        pthread_mutex_lock(&pull->lock);
        pull->goes_alone = true;
        pthread_mutex_unlock(&pull->lock);
        finish_member(b, i);
        return RAY_OK;
    }
    take_up(b, i);
    if (ray__link_answer(&b->link, card)) {
        b->states[i] = MEMBER_FETCHES;
        b->fetched_count++;
    } else {
        finish_member(b, i);
    }
    return RAY_OK;
}

static ray_status read_cards(batch *b) {
    uint32_t expected = 0;
    for (uint32_t i = 0; i < b->count; i++) {
        expected += b->streams[i] != 0;
    }
    for (; expected > 0; expected--) {
        ray__card_message card;
        ray__card_body body = {0};
        uint32_t stream = 0;
        RAY_TRY(wait_for_card(b));
        ray_status status = ray__link_read_card(b->transfer, &b->link.connection, &body, &card, &stream);
        if (status == RAY_OK) {
            status = take_card(b, &card, stream);
        }
        ray__card_body_free(b->transfer, &body);
        RAY_TRY(status);
    }
    return RAY_OK;
}

// Each on its stream, one after the other. A connection that breaks is told to the pull that it broke under.
static ray_status fetch_members(batch *b) {
    for (uint32_t i = 0; i < b->count; i++) {
        if (b->states[i] != MEMBER_FETCHES) {
            continue;
        }
        take_up(b, i);
        b->link.connection.stop = b->link.pull->stop;
        ray__link_enlist(&b->link);
        ray_status status = ray__link_receive(&b->link);
        b->link.connection.stop = b->transfer->stop;
        if (status != RAY_OK) {
            ray__link_note_failure(&b->link, status);
        }
        ray__link_gives_up(&b->link);
        b->yielded = b->link.yields;
        ray__link_return_due(&b->link);
        finish_member(b, i);
        RAY_TRY(status);
    }
    return RAY_OK;
}

// Says that no stream is needed any more, and gives the connection to the next pull.
static void keep_connection(batch *b, const ray_endpoint *endpoint) {
    uint8_t bytes[RAY__BATCH_MAX * RAY__MESSAGE_HEADER_SIZE];
    size_t size = 0;
    for (uint32_t i = 0; i < b->count; i++) {
        if (b->streams[i] != 0) {
            ray__message_seal(bytes + size, RAY__MESSAGE_CLOSE, b->streams[i], 0);
            size += RAY__MESSAGE_HEADER_SIZE;
        }
    }
    struct iovec part = {bytes, size};
    if (ray__connection_write(&b->link.connection, &part, 1, false) == RAY_OK) {
        ray__idle_give(b->transfer, endpoint, &b->link.connection);
        b->link.connection.socket = -1;
    }
}

// The first one that still waits is tried alone, so that whatever broke the connection is told to somebody; the others are scheduled anew.
static void give_up(batch *b) {
    bool is_first = true;
    for (uint32_t i = 0; i < b->count; i++) {
        if (b->states[i] == MEMBER_DONE) {
            continue;
        }
        if (is_first) {
            b->yielded = ray__link_run(b->jobs[i]->pull, b->jobs[i]->source);
            is_first = false;
        }
        finish_member(b, i);
    }
}

void ray__batch_run(ray_transfer *transfer, const ray_endpoint *endpoint, ray__connection *connection, ray__link_job *const *jobs,
                    uint32_t count) {
    batch *b = calloc(1, sizeof *b);
    if (b == NULL) {
        ray__connection_close(connection);
        for (uint32_t i = 0; i < count; i++) {
            ray__pull_end(jobs[i]->pull, RAY_OUT_OF_MEMORY, "no memory for a connection");
            ray__link_job_done(jobs[i], false);
        }
        return;
    }
    b->transfer = transfer;
    b->jobs = jobs;
    b->count = count;
    b->link.connection = *connection;
    b->link.connection.silent_ns = RAY__SILENT_NS;
    atomic_fetch_add(&transfer->open_links, 1);
    ray_status status = send_opens(b);
    if (status == RAY_OK) {
        status = read_cards(b);
    }
    if (status == RAY_OK) {
        status = fetch_members(b);
    }
    if (status == RAY_OK) {
        keep_connection(b, endpoint);
    }
    ray__connection_close(&b->link.connection);
    atomic_fetch_sub(&transfer->open_links, 1);
    give_up(b);
    ray__memory_free(&transfer->memory, b->link.held, RAY__HELD_MAX);
    free(b);
}
