// SPDX-License-Identifier: Apache-2.0
#include "transfer/reads_internal.h"

#include <string.h>
#include <unistd.h>

// One that stands still leaves a reader, and a buffer, to others.
static uint32_t places_of_one(const ray__reads *reads) {
    return reads->buffers->limit > RAY__READERS_OF_ONE ? RAY__READERS_OF_ONE : reads->buffers->limit - 1;
}

// Gives those who wait what there is, the longest waiting first. With the lock.
static void deal(ray__reads *reads) {
    ray__read_turn **cursor = &reads->first;
    while (*cursor != NULL) {
        ray__read_turn *turn = *cursor;
        if (turn->offer->reading >= places_of_one(reads)) {
            cursor = &turn->next;
            continue;
        }
        turn->buffer = ray__buffers_take_above(reads->buffers, 0);
        if (turn->buffer == NULL) {
            return;
        }
        turn->offer->reading++;
        turn->waits = false;
        *cursor = turn->next;
        uint64_t one = 1;
        ssize_t written = write(turn->event, &one, sizeof one);
        (void)written;
    }
}

static void buffer_came_back(void *context) {
    ray__reads *reads = context;
    pthread_mutex_lock(&reads->lock);
    deal(reads);
    pthread_mutex_unlock(&reads->lock);
}

void ray__reads_init(ray__reads *reads, ray__buffers *buffers) {
    memset(reads, 0, sizeof *reads);
    pthread_mutex_init(&reads->lock, NULL);
    reads->buffers = buffers;
    buffers->came_back = buffer_came_back;
    buffers->context = reads;
}

void ray__reads_end(ray__reads *reads) {
    pthread_mutex_destroy(&reads->lock);
}

static void drop(ray__reads *reads, ray__read_turn *turn) {
    ray__read_turn **cursor = &reads->first;
    while (*cursor != turn) {
        cursor = &(*cursor)->next;
    }
    *cursor = turn->next;
    turn->waits = false;
}

bool ray__read_begin(ray__reads *reads, ray__read_turn *turn, bool has_others, bool may_wait, uint8_t **buffer) {
    pthread_mutex_lock(&reads->lock);
    ray__offer *offer = turn->offer;
    *buffer = turn->buffer;
    turn->buffer = NULL;
    // Whoever waits has been given what there was, so this goes before none of them.
    if (*buffer == NULL && offer->reading < places_of_one(reads)) {
        uint32_t kept = (reads->buffers->limit + 3) / 4;
        *buffer = ray__buffers_take_above(reads->buffers, has_others ? kept : 0);
        offer->reading += *buffer != NULL;
    }
    if (*buffer != NULL && turn->waits) {
        drop(reads, turn);
    } else if (*buffer == NULL && may_wait && !turn->waits) {
        ray__read_turn **cursor = &reads->first;
        while (*cursor != NULL) {
            cursor = &(*cursor)->next;
        }
        turn->next = NULL;
        turn->waits = true;
        *cursor = turn;
    }
    pthread_mutex_unlock(&reads->lock);
    return *buffer != NULL;
}

void ray__read_done(ray__reads *reads, ray__offer *offer, uint8_t *buffer) {
    pthread_mutex_lock(&reads->lock);
    offer->reading--;
    deal(reads);
    pthread_mutex_unlock(&reads->lock);
    ray__buffers_give(reads->buffers, buffer);
}

void ray__read_withdraw(ray__reads *reads, ray__read_turn *turn) {
    pthread_mutex_lock(&reads->lock);
    if (turn->waits) {
        drop(reads, turn);
    }
    uint8_t *buffer = turn->buffer;
    turn->buffer = NULL;
    pthread_mutex_unlock(&reads->lock);
    if (buffer != NULL) {
        ray__read_done(reads, turn->offer, buffer);
    }
}
