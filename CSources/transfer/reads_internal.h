// SPDX-License-Identifier: Apache-2.0
// Reading the chunks of sources (ray_answer_source): who may begin one, and with which buffer.
//
// A chunk that is read needs a buffer of the send share before a reader begins with it, and one of the places that its offer has at the readers.
// Without either it waits at its connection, never at a reader: others wait for the readers. One source that stands still has all but one of
// them, and of the buffers.
// A receiver that takes nothing has at most so many buffers that a quarter is left to connections that have none.
#ifndef RAY_TRANSFER_READS_INTERNAL_H
#define RAY_TRANSFER_READS_INTERNAL_H

#include "transfer/offer_internal.h"

// Threads for sources that may be slow, of all offers and of one.
#define RAY__READERS 5u
#define RAY__READERS_OF_ONE 4u

// Of a stream: its wait for both. Only a connection that has nothing under way waits so, for it alone can use at once what it is given.
typedef struct ray__read_turn {
    struct ray__read_turn *next;
    ray__offer *offer;
    int event;       // eventfd
    bool waits;      // it is in the list
    uint8_t *buffer; // what it was given, and a place with it
} ray__read_turn;

typedef struct ray__reads {
    pthread_mutex_t lock; // before that of the send buffers
    ray__buffers *buffers;
    ray__read_turn *first; // who has waited longest
} ray__reads;

void ray__reads_init(ray__reads *reads, ray__buffers *buffers);
void ray__reads_end(ray__reads *reads);
// Takes a place of the turn's offer and a buffer. has_others: its connection has such buffers already. may_wait: else the event becomes
// readable when it has been given both.
bool ray__read_begin(ray__reads *reads, ray__read_turn *turn, bool has_others, bool may_wait, uint8_t **buffer);
// The place is given back, and the buffer, if it is not NULL.
void ray__read_done(ray__reads *reads, ray__offer *offer, uint8_t *buffer);
// Does not wait any more. What it was given goes to others.
void ray__read_withdraw(ray__reads *reads, ray__read_turn *turn);

#endif
