// SPDX-License-Identifier: Apache-2.0
// Tuner: picks the codec of each chunk, so that the whole arrives soonest.
//
// Packing, sending and unpacking overlap, so the slowest stage decides, and the best is reached when both the link and the cores are
// full. That point mostly lies between two codecs, so chunks must get the one or the other in the right proportion. The tuner holds a
// *price*: what a second of a core is worth, in bytes on the wire. Each chunk gets the rung (none, lz4, zstd from fast to strong) that is
// cheapest in core seconds times price plus bytes.
//
// What moves the price is the *backlog*: of the chunks under way at this end, the part that is packed and waits for the link. Much of it:
// the link is the limit, cores are worth less, chunks are packed harder. None: the cores are the limit, and chunks are packed more lightly.
// That needs no model of who else uses the cores, not even when the receiver runs on the same ones; and where a rung is right for a wide
// range of prices, nothing swings.
//
// The receiver's cores have a price of their own, moved by the backlog there (tuner_receiver.c); as long as nothing waits there it is that of
// a core here.
//
// Three things the backlogs do not tell come from elsewhere. What the rungs cost and gain: measured by use, guessed before. Whether
// packing gains anything at all: raw bytes that arrive must outrun what raw brings. And whether a core is free for a small gain.
//
// Data that does not shrink is noticed on a small sample, and then looked at again ever more rarely. A chunk that plainly does is packed
// lightly while the link is not known: that is right over slow links, which a raw chunk would fill for long, and costs fast ones one chunk's time;
// and it says what packing costs here, which the sample, short and cold, does not.
//
// Chunks of one byte over and over (uniform_internal.h) are packed without a choice; they are only noted here.
//
// It knows no sockets and no clock: whoever uses it brings measurements. Thread safety: all functions may be called from any thread.
#ifndef RAY_CODEC_TUNER_INTERNAL_H
#define RAY_CODEC_TUNER_INTERNAL_H

#include <pthread.h>

#include "raystore/codec.h"

#define RAY_TUNER_SAMPLE (64u << 10) // of a chunk, packed by zstd 1 to guess its ratio
#define RAY_TUNER_SAMPLED 5u // the rung that samples are packed with
#define RAY_TUNER_RUNGS 13

typedef struct ray__choice {
    uint16_t codec;
    int16_t level;
} ray__choice;

typedef struct ray__rung {
    double seconds;  // of a core for a raw byte, packing: what is believed
    double measured; // the same by measurements alone; while they are few they are believed in part
    double ratio;    // stored / raw
    bool is_measured; // else both are guesses
    bool is_old;     // measured long ago
    uint32_t age;    // choices since it was last used
    uint32_t count;  // chunks that used it
    uint32_t uses;   // measurements, those of earlier transfers of such data too
} ray__rung;

// Why the latest chunk got what it got.
typedef enum ray__reason {
    RAY__REASON_START,    // nothing is known of the link yet
    RAY__REASON_HOPELESS, // the data does not shrink
    RAY__REASON_FAST,     // raw arrives soonest: the link outruns what the free cores can pack
    RAY__REASON_STRONGEST, // the link is the limit even for the strongest codec
    RAY__REASON_BALANCE,  // link and cores are both full
    RAY__REASON_RECEIVER, // the receiver is the limit
    RAY__REASON_NO_GAIN,  // packing was tried and brought less than raw
    RAY__REASON_TRIAL,    // a neighbour of what the price says, so that its cost is known
    RAY__REASON_UNIFORM,  // it is one byte over and over
} ray__reason;
#define RAY__REASON_COUNT (RAY__REASON_UNIFORM + 1)

#define RAY__LESSONS_MAX 4u

// What was learned of one kind of data, which is told by its sample.
typedef struct ray__lesson {
    double sample_ratio; // 0: none
    double price;
    uint64_t turn;       // the larger, the later
    ray__rung rungs[RAY_TUNER_RUNGS];
} ray__lesson;

// What a tuner leaves to the next one of the same peer.
typedef struct ray__past {
    double link_rate; // 0: nothing is known
    uint64_t turn;
    ray__lesson lessons[RAY__LESSONS_MAX];
} ray__past;

// What the receiver says of itself.
typedef struct ray__receiver {
    double cores;        // that it may use; 0: it does not say
    double free;         // of which nobody uses, or it itself
    uint32_t waiting;    // packed chunks that have arrived and are not unpacked yet
    double lz4_seconds;  // of a core to unpack a raw byte; 0: not measured yet
    double zstd_seconds;
} ray__receiver;

typedef struct ray__tuner {
    pthread_mutex_t lock;
    uint16_t threads;      // that may pack at once
    uint16_t peer_threads; // that may unpack at once
    double cores;          // that the threads may use: fewer than threads where a quota says so
    ray__receiver receiver;
    double zstd_unpack;    // what is guessed of the zstd rungs in use, which a receiver's measurement is compared to
    double receiver_extra; // what a second of the receiver's cores costs more than one here, in bytes
    double receiver_least; // below which that is not, by what it says of its cores
    uint32_t receiver_age; // choices since that was looked at
    double link_rate;      // bytes a second, 0 before anything is known
    bool link_is_measured; // by this tuner
    double placed_price;   // as it was taken from what is known of the rungs
    double placed_rate;    // the link's rate when the price was last taken from what is known of the rungs
    double sample_ratio;   // stored / raw of the latest sample by zstd 1, 0 before the first
    double sample_seconds; // of a core for a raw byte of it
    bool vanishes;         // the latest chunk was one byte over and over
    double first_ratio;    // of the first sample that shrank
    uint32_t hopeless_skip; // chunks not to be looked at, after a sample that did not shrink
    uint32_t hopeless_length;
    uint32_t raw_run;      // chunks in a row that went raw, since one was looked at
    double price;          // of a core's second, in bytes
    double usual_price;    // the mean of the latest ones, 0 before the first
    uint32_t rung;         // that the latest chunk got by the price
    double idle;           // of `threads`, the part that could have a core that nobody uses
    bool receiver_limits;
    bool is_clear;         // packing gains much, so it needs no free core
    bool is_worth_it;      // with the free cores it gains something
    uint32_t hold;         // windows in which chunks go raw, after packing brought less
    uint32_t hold_length;
    uint64_t window_ns;    // the window that is being summed up, of some spans
    uint64_t window_raw;
    uint64_t window_packed;
    double goodput;        // raw bytes a second of the last window, 0 before one
    double raw_goodput;    // of the last one that went raw, 0 when that is too long ago
    uint32_t raw_age;      // windows since
    uint32_t choices;
    uint32_t settled;      // choices by price since it was last taken from what is known of the rungs
    ray__reason reason;
    uint32_t latest;       // the rung that the latest chunk got
    uint32_t reasons[RAY_TUNER_RUNGS][RAY__REASON_COUNT]; // why chunks got each
    uint32_t hull_length;
    uint8_t hull[RAY_TUNER_RUNGS]; // rungs worth standing on, from fast to strong; the first is raw
    ray__rung rungs[RAY_TUNER_RUNGS];
    ray__past past;
} ray__tuner;

void ray__tuner_init(ray__tuner *tuner, uint16_t threads, uint16_t peer_threads);
void ray__tuner_end(ray__tuner *tuner);

// ---- from one transfer to the next: tuner_past.c -------------------------------------------------------------------------------------

// Begins with what an earlier tuner learned. Before the first chunk.
void ray__tuner_recall(ray__tuner *tuner, const ray__past *past);
// Adds what this one learned. Of too many kinds of data the oldest is given up.
void ray__tuner_remember(ray__tuner *tuner, ray__past *past);
// After a sample, under the tuner's lock: takes over what was learned of such data. False when nothing was.
bool ray__past_apply_locked(ray__tuner *tuner);

// ---- the start: tuner_start.c ------------------------------------------------------------------------------------------------------

// How many chunks may be under way. Until the link is known few: what is begun before is not chosen well.
uint32_t ray__tuner_places(ray__tuner *tuner);
// Whether anything is known of the link, be it from an earlier transfer.
bool ray__tuner_knows_link(ray__tuner *tuner);
// Whether it was measured by this tuner.
bool ray__tuner_has_measured_link(ray__tuner *tuner);
// Whether so many bytes in this time are what is known of the link, or not plainly less; it counts as measured then.
bool ray__tuner_confirm_link(ray__tuner *tuner, uint64_t bytes, uint64_t span_ns);
// What the way of the first chunk says of a link that is not known, in bytes a second.
void ray__tuner_link(ray__tuner *tuner, double rate);
// Under the tuner's lock: whether too little is known to choose by price, and what to choose then.
bool ray__start_is_on_locked(const ray__tuner *tuner);
uint32_t ray__start_rung_locked(const ray__tuner *tuner);

// ---- the data: tuner_data.c --------------------------------------------------------------------------------------------------------

// Stored / raw above which a chunk counts as not shrinking.
#define RAY_TUNER_HOPELESS 0.95

// Whether a sample of the next chunk, of so many bytes in all, would help to choose. If not, choose at once.
bool ray__tuner_wants_sample(ray__tuner *tuner, uint64_t all_bytes);
void ray__tuner_sampled(ray__tuner *tuner, uint32_t raw_size, uint32_t stored_size, uint64_t core_ns);
// A chunk did not shrink: the next ones go raw unseen, after each that does not shrink either twice as many. Under the tuner's lock.
void ray__tuner_hopeless_locked(ray__tuner *tuner);

// ---- while it goes on: tuner.c -----------------------------------------------------------------------------------------------------

// The next chunk is one byte over and over, and was packed so without asking.
void ray__tuner_vanishes(ray__tuner *tuner, ray__choice choice);

// Of the chunks that are asked for and given to the workers (under_way), those that are prepared and wait for the link.
typedef struct ray__backlog {
    uint32_t under_way;
    uint32_t ready;
    uint64_t ready_bytes; // stored
    uint32_t chunk_size;  // raw
} ray__backlog;
ray__choice ray__tuner_choose(ray__tuner *tuner, const ray__backlog *backlog);

// A chunk was packed with this much time of a core. stored_size = raw_size says that it did not shrink.
void ray__tuner_packed(ray__tuner *tuner, ray__choice choice, uint32_t raw_size, uint32_t stored_size, uint64_t core_ns);

// The receiver said this. Any time.
void ray__tuner_receiver(ray__tuner *tuner, const ray__receiver *receiver);

// What happened in a span of some 50 ms, on all connections together.
typedef struct ray__span {
    uint64_t span_ns;
    uint64_t raw_bytes;        // left, in raw bytes
    uint64_t packed_raw_bytes; // of which packed
    uint64_t drained_bytes;    // acknowledged by the peer
    uint64_t limited_ns;       // in which the link was the limit
    uint64_t receiver_ns;      // in which the receiver was
    double cores;              // that this process may use; 0: not known
    double idle;               // how many of these nobody used; negative: not known
} ray__span;
void ray__tuner_span(ray__tuner *tuner, const ray__span *span);
// Takes the price anew from what is known. Under the tuner's lock.
void ray__tuner_place_locked(ray__tuner *tuner);

// ---- the receiver: tuner_receiver.c, under the tuner's lock ------------------------------------------------------------------------

// Whether its cores cost more than those here, since they are the limit.
bool ray__receiver_is_dear_locked(const ray__tuner *tuner);
// Begins with the price at which it unpacks as fast as chunks come, by what is known.
void ray__receiver_place_locked(ray__tuner *tuner);
// Moves its price, and finds the rung that is cheapest with both. False when that is *rung.
bool ray__receiver_choose_locked(ray__tuner *tuner, double price, uint32_t *rung);

// ---- what it chose, and why: tuner_describe.c --------------------------------------------------------------------------------------

typedef struct ray__rung_description {
    ray__choice choice;
    ray__reason reason;  // why most of its chunks got it
    uint32_t count;      // chunks that got it; 0 and not measured: it was not used
    bool is_measured;
    double seconds;      // of a core for a raw byte
    double ratio;        // stored / raw
} ray__rung_description;

typedef struct ray__tuner_description {
    uint16_t threads;
    double link_rate;    // bytes a second, 0 before anything is known
    double idle;         // of the threads, the part that could have a core that nobody uses
    ray__choice choice;  // of the latest chunk
    ray__reason reason;
    ray__rung_description rungs[RAY_TUNER_RUNGS];
} ray__tuner_description;

void ray__tuner_describe(ray__tuner *tuner, ray__tuner_description *description);
// Notes that a chunk got this rung for the present reason. Under the tuner's lock.
void ray__tuner_note_locked(ray__tuner *tuner, uint32_t rung);

// ---- the ladder: tuner_ladder.c ------------------------------------------------------------------------------------------------

ray__choice ray__ladder_choice(uint32_t rung);
// Answers RAY_TUNER_RUNGS when it is not on the ladder.
uint32_t ray__ladder_find(ray__choice choice);
// Seconds of the receiver's cores to unpack a raw byte, as it measured, or guessed.
double ray__ladder_unpack(const ray__tuner *tuner, uint32_t rung);
// A chunk of this rung is on its way there.
void ray__ladder_note_unpack(ray__tuner *tuner, uint32_t rung);
// Whether any rung was measured.
bool ray__ladder_is_measured(const ray__tuner *tuner);
// Guesses what was not measured from what was, and finds the hull anew.
void ray__ladder_update(ray__tuner *tuner);
// The rung that this price of a core's second makes cheapest.
uint32_t ray__ladder_rung(const ray__tuner *tuner, double price);
// The price at which the link and this many cores are both full, by what is known of the rungs; and what is left there of a raw byte.
double ray__ladder_price(const ray__tuner *tuner, double cores, double *ratio);
// Prices beyond which nothing changes: below the first the strongest rung is used, above the second none.
void ray__ladder_prices(const ray__tuner *tuner, double *lowest, double *highest);

#endif
