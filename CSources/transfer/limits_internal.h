// SPDX-License-Identifier: Apache-2.0
// How many of what a transfer has at most, and how long it waits.
#ifndef RAY_TRANSFER_LIMITS_INTERNAL_H
#define RAY_TRANSFER_LIMITS_INTERNAL_H

#define RAY__LINKS_MAX 32u
#define RAY__SERVED_MAX 256u
#define RAY__PROVING_MAX 64u  // accepted connections that have not proved themselves yet
#define RAY__IDLE_MAX 64u     // connections kept for the next pull
#define RAY__SOURCES_MAX 64u  // of a pull
#define RAY__SESSION_MAX (64u << 10) // of what a served connection keeps for itself
#define RAY__PULLS_MAX 65536u // at once

#define RAY__MS 1000000ull
#define RAY__SECOND 1000000000ull
#define RAY__PROVE_NS (5 * RAY__SECOND)
#define RAY__PROVE_CROWDED_NS (100 * RAY__MS)    // when there are more strangers than slots for them
#define RAY__CONNECT_NS (5 * RAY__SECOND)
#define RAY__SILENT_NS (5 * RAY__SECOND)         // a sender that owes chunks
#define RAY__SERVED_SILENT_NS (60 * RAY__SECOND) // a receiver that takes nothing, or says nothing
#define RAY__SERVED_USELESS_NS (60 * RAY__SECOND) // one that is sent nothing of an object, whatever it says
#define RAY__MESSAGE_NS (12 * RAY__SECOND)       // for the rest of a request that has begun; longer than a link is cut
#define RAY__TAKING_RATE (16ull << 10)           // bytes a second that whoever is sent to must take, beside the silence allowed
#define RAY__IDLE_NS (15 * RAY__SECOND)          // shorter than what the serving end allows
#define RAY__HEDGE_NS (250 * RAY__MS)            // for a source to answer, before the next one is asked as well
#define RAY__PROGRESS_NS (100 * RAY__MS)
#define RAY__GRACE_NS (500 * RAY__MS)            // for another source, after the last one broke
#define RAY__ATTEMPTS_MAX 4u                     // in a row that bring nothing
#define RAY__BACKOFF_NS (50 * RAY__MS)           // doubled each time, up to
#define RAY__BACKOFF_MAX_NS (500 * RAY__MS)
#define RAY__CORRUPT_MAX 5u                      // in a row from one source
#define RAY__DUE_MIN 2u                          // chunks due from a source of several, however slow it is
#define RAY__RATE_SPAN_NS (200 * RAY__MS)
#define RAY__TAIL_NS RAY__SECOND                 // a chunk is due for, before a link that has nothing to do asks for it too
#define RAY__TAIL_LOOK_NS (250 * RAY__MS)
#define RAY__RESCUE_NS (2 * RAY__SECOND)         // without a chunk, when only those are left that lack some themselves
#define RAY__WAIT_NS RAY__SECOND                 // between two signs of life to one whose chunks are not here yet

#endif
