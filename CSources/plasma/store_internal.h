// SPDX-License-Identifier: Apache-2.0
// A process's handle of a store, and what the files of this room offer each other.
//
// Ranks of locks, outermost first: the store's lock (shared), the word of an entry in the private counts, the private
// lock of waits. Whoever holds one takes only those after it.
#ifndef RAY_PLASMA_STORE_INTERNAL_H
#define RAY_PLASMA_STORE_INTERNAL_H

#include <stdatomic.h>

#include "base/atomic_internal.h"
#include "base/crash_internal.h"
#include "base/error_internal.h"
#include "base/fork_internal.h"
#include "plasma/gate_internal.h"
#include "plasma/layout_internal.h"

// The thread that takes memory in the background.
typedef struct ray__prefault {
    pthread_mutex_t lock; // of who starts and stops it
    pthread_t thread;
    bool is_started;
    uint32_t stopping;
    uint64_t up_to;
} ray__prefault;

struct ray_store {
    ray__header *header;
    ray__slot *slots;
    ray__bucket *buckets;
    uint64_t *attention[3];
    uint64_t *used; // a bit a place of the table: there is an entry
    uint64_t *sealed; // large objects sealed lately
    ray__arena *arena;
    ray__block *blocks;
    ray__origin *origins; // one for each place of the table
    ray__entry *table;
    const uint8_t *readable; // the data segment
    uint8_t *writable;       // the same again
    ray__layout layout;
    uint32_t table_mask;
    uint32_t slot;
    uint32_t slot_serial;
    uint32_t fork_generation;
    uint32_t attention_stopped;
    uint32_t gate_bits; // of the rights that shut the metadata; 0: it is not protected
    ray__mark pin; // where this slot's are
    ray__mark ref;
    uint64_t *counts; // pins and refs of this process, a word an entry
    uint64_t *touched; // a bit for each huge page of data: all of it is in this process's page tables for writing
    ray__prefault prefault;
    int meta_fd;
    int data_fd;
    pthread_mutex_t wait_lock;
    uint32_t wait_counts[RAY__WAIT_BUCKETS]; // waits of this process in each bucket
    uint64_t wait_look_count; // looks at an id that was waited for; for tests
    // Of the node: lock_watch.c.
    uint32_t looking;      // a thread is at it
    uint32_t suspect;      // the thread that was stopped with the lock at the last look
    uint64_t suspected_ns; // since when
    uint64_t nudged_ns;    // attention.c: when all waiters were last told to look
};

// ---- store.c -------------------------------------------------------------------------------------------------------------

ray_status ray__store_refuse(const ray_store *store);

// Where in the data segment the bytes of a view are.
uint64_t ray__store_offset_of(const ray_store *store, const uint8_t *data);

// gate.c: ray_store_protect if the environment says RAYSTORE_PROTECT=1.
ray_status ray__store_protect_if_wanted(ray_store *store) RAY_NODISCARD;

// First in every public function: refuses a fork's child and a damaged store.
static inline ray_status ray__store_enter(const ray_store *store) {
    if (__builtin_expect(store->fork_generation != ray__fork_generation() ||
                             ray__shm_load32_relaxed(&store->header->poisoned) != 0,
                         0)) {
        return ray__store_refuse(store);
    }
    return RAY_OK;
}

// RAY_INVALID_ARGUMENT unless the handle is the node's.
ray_status ray__store_enter_node(const ray_store *store, const char *what);

// Attaches as the node to a store whose node is dead: the caller knows that it is. The dead one's pins, waits and unsealed objects are undone;
// its refs stay, and every entry that only they keep is named to attention: the successor disowns what it does not want. Slots of clients
// stay as they are: those that are dead are still to be reaped, also those whose reaping was begun. Takes the descriptors as
// ray_store_attach does.
ray_status ray__store_take_over(int meta_fd, int data_fd, ray_store **store) RAY_NODISCARD;

// ---- prefault.c ----------------------------------------------------------------------------------------------------------

// Makes sure that a range of the data segment has memory, and if it is large, that writing finds it in this process's page tables.
ray_status ray__store_reserve(ray_store *store, uint64_t offset, uint64_t size_bytes);

uint64_t ray__touched_size(const ray_store *store);

// ---- lock.c --------------------------------------------------------------------------------------------------------------

// Takes the store's lock; repairs what a dead owner left. On failure the lock is not held.
ray_status ray__store_lock(ray_store *store) RAY_NODISCARD;
void ray__store_unlock(ray_store *store);

// lock_watch.c: a client that waits for the lock for long asks the node to look; the node looks whether its holder is stopped, and ends a
// holder that is found so for too long.
void ray__lock_complain(ray_store *store);
void ray__lock_look(ray_store *store);

// Marks the store as damaged: from now on every call answers RAY_POISONED. Answers it, too.
ray_status ray__store_poison(ray_store *store, const char *format, ...) RAY_PRINTF(2, 3);

// ---- table.c -------------------------------------------------------------------------------------------------------------

// Finds an id without a lock. *index and the state word that was seen; false if there is no such entry.
bool ray__table_find(ray_store *store, const ray_object_id *id, uint64_t hash, uint32_t *index, uint64_t *word);

// Under the lock: the same, and where to insert the id if there is none (UINT32_MAX: nowhere).
bool ray__table_locate(ray_store *store, const ray_object_id *id, uint64_t hash, uint32_t *index, uint64_t *word);

// Before the lock: waits for the memory that an insert or an end of this id will need, so that it is not waited for with the lock held.
static inline void ray__table_warm(ray_store *store, uint64_t hash) {
    const ray__entry *entry = &store->table[(uint32_t)hash & store->table_mask];
    __builtin_prefetch(entry->pins, 1);
    __builtin_prefetch(entry, 1);
    (void)ray__shm_load_acquire(&entry->state);
}

// The next place from `at` on that has an entry, or the table's size: what is empty of a large table costs a bit each. Without the lock it may be
// one whose entry is going.
uint32_t ray__table_next(const ray_store *store, uint32_t at);

// Under the lock: says whether a place has an entry.
void ray__table_set_used(ray_store *store, uint32_t index, bool is_used);

// Under the lock: writes the id into a free place, not yet visible. The caller commits with ray__table_commit.
void ray__table_prepare(ray_store *store, uint32_t index, const ray_object_id *id);
void ray__table_commit(ray_store *store, uint32_t index, uint32_t state, uint32_t flags);

// Under the lock: frees the place.
void ray__table_remove(ray_store *store, uint32_t index);

// Under the lock: counts again how many entries' ways lead over each place, into `passed` (zeroed, a byte a place); and stores it.
void ray__table_count_ways(ray_store *store, uint8_t *passed);
void ray__table_set_ways(ray_store *store, const uint8_t *passed);

void ray__entry_id(const ray__entry *entry, ray_object_id *id);
int32_t ray__entry_failure(const ray__entry *entry);
void ray__entry_set_failure(ray__entry *entry, ray_status failure);
void ray__entry_touch(ray_store *store, ray__entry *entry);

// Whether the state owns the block that place names.
static inline bool ray__state_has_block(uint32_t state) {
    return state == RAY_STATE_CREATING || state == RAY_STATE_SEALED || state == RAY_STATE_DELETING;
}

static inline bool ray__state_is_free(uint32_t state) {
    return state == RAY_STATE_EMPTY;
}

// Changes the state and clears some flags and sets others, keeping flags that others set meanwhile. Answers the new word.
uint64_t ray__entry_move(ray__entry *entry, uint32_t state, uint64_t clear, uint64_t set);

// ---- pins.c --------------------------------------------------------------------------------------------------------------

// Pins the entry if it is sealed and of the generation that was seen.
bool ray__pin(ray_store *store, uint32_t index, uint64_t seen);
void ray__pin_again(ray_store *store, uint32_t index);
bool ray__unpin(ray_store *store, uint32_t index);

// Takes a ref if the entry is alive and of the generation that was seen.
bool ray__ref_take(ray_store *store, uint32_t index, uint64_t seen);
// Under the lock, for an entry that is alive or about to be: cannot fail.
void ray__ref_grant(ray_store *store, uint32_t index);
// False when this process has none. `all`: every one it has, and its bit.
bool ray__ref_drop(ray_store *store, uint32_t index, bool all);

bool ray__pins_any(const ray__entry *entry);
bool ray__refs_any(const ray__entry *entry);
bool ray__refs_only_node(const ray__entry *entry);

// After a bit was cleared, by whoever cleared it: frees what has nobody, calls the node's attention.
void ray__pin_cleared(ray_store *store, uint32_t index);
void ray__ref_cleared(ray_store *store, uint32_t index);

// ---- life.c: all under the lock ----------------------------------------------------------------------------------------------

// How many units of data an object takes; false if it is more than fits into any store.
bool ray__object_units(uint64_t data_size, uint32_t metadata_size, uint64_t *units);
uint64_t ray__metadata_offset(uint64_t data_size);

// Ends the value of an entry, as ray_object_delete says.
void ray__entry_end(ray_store *store, uint32_t index, ray_status failure);
// Nobody reads or writes the value any more: gives the block back; with refs left the entry becomes `state`, else it goes.
void ray__entry_finish(ray_store *store, uint32_t index, uint32_t state);
// Ends what has had refs and has none.
void ray__entry_forget(ray_store *store, uint32_t index);
// Gives back what a creator leaves unsealed.
void ray__entry_abort(ray_store *store, uint32_t index);

// ---- wait.c --------------------------------------------------------------------------------------------------------------

// Wakes who waits for the id of this entry. After the change they wait for is visible, while the entry cannot change hands.
void ray__wake(ray_store *store, const ray__entry *entry);

// The same for many entries: each slot is woken once. Begin with zeroes, add the bucket of each after its change, then send. The bucket
// is known before: once sealed, an object may go, and its entry be another's.
typedef struct ray__wakes {
    uint64_t slots[RAY__SLOT_WORDS];
    uint32_t futex_bits;
} ray__wakes;

uint32_t ray__entry_bucket(const ray__entry *entry);
void ray__wakes_add(ray_store *store, ray__wakes *wakes, uint32_t bucket);
void ray__wakes_send(ray_store *store, ray__wakes *wakes);

void ray__wake_everybody(ray_store *store);
void ray__wait_forget_slot(ray_store *store, uint32_t slot);

// One thread's wait: the buckets it waits in, and the number each had when it last looked.
typedef struct ray__wait {
    uint64_t buckets[RAY__WAIT_BUCKETS / 64];
    uint32_t seen[RAY__WAIT_BUCKETS];
} ray__wait;

// Enter each bucket, then read the own number, then look at the ids, then sleep while the own number is the same; after a wake read the
// number again before the buckets are looked at. Entering a bucket twice is once.
void ray__wait_enter(ray_store *store, ray__wait *wait, uint32_t bucket);
void ray__wait_leave(ray_store *store, ray__wait *wait, uint32_t bucket);
void ray__wait_leave_all(ray_store *store, ray__wait *wait);
uint32_t ray__wait_number(ray_store *store);
// False only when the deadline has passed.
bool ray__wait_sleep(ray_store *store, const ray__wait *wait, uint32_t number, uint64_t deadline_ns);
// Whether something may have settled there since the last time this was asked.
bool ray__wait_moved(ray_store *store, ray__wait *wait, uint32_t bucket);
// Wakes the threads of this process that wait.
void ray__wait_kick(ray_store *store);

// A wait for many ids. is_pending says which are waited for; settle looks at one and says whether it has settled.
typedef struct ray__wait_many {
    const ray_object_id *ids;
    uint32_t count;
    uint32_t wanted; // it ends when so many of the pending have settled
    bool (*is_pending)(void *context, uint32_t i);
    bool (*settle)(ray_store *store, void *context, uint32_t i);
    void *context;
} ray__wait_many;

// RAY_OK also when the time ran out: *settled says how many did. Otherwise why the wait is over before that.
ray_status ray__wait_for_many(ray_store *store, const ray__wait_many *many, uint64_t deadline_ns, uint32_t *settled);

// What a look at an id says now: RAY_OK sealed, RAY_NOT_FOUND, RAY_NOT_SEALED, RAY_NOT_LOCAL, the failure, or RAY_AGAIN: it does not settle.
ray_status ray__id_verdict(ray_store *store, const ray_object_id *id);

// Whether it may still be sealed.
static inline bool ray__may_come(ray_status status) {
    return status == RAY_NOT_FOUND || status == RAY_NOT_SEALED || status == RAY_NOT_LOCAL;
}

// What a wait makes of a look: an object that was there without a value and is not there any more has gone, and so does not come.
static inline ray_status ray__since_last_look(ray_status last, ray_status now) {
    return now == RAY_NOT_FOUND && (last == RAY_NOT_SEALED || last == RAY_NOT_LOCAL) ? RAY_OBJECT_FREED : now;
}

static inline uint32_t ray__wait_bucket(uint64_t hash) {
    return (uint32_t)(hash >> 56) % RAY__WAIT_BUCKETS;
}

// ---- attention.c ---------------------------------------------------------------------------------------------------------

void ray__attention(ray_store *store, uint32_t index);
// Makes the upper levels agree with the lowest, after somebody died between two levels.
void ray__attention_repair(ray_store *store);

// ---- glimpse.c -----------------------------------------------------------------------------------------------------------

// Lets the node find a large object that was just sealed (ray__sealed_next).
void ray__sealed_note(ray_store *store, uint32_t index, uint64_t data_size);

// ---- account.c -----------------------------------------------------------------------------------------------------------

// Now, in the unit of ray__origin.
uint32_t ray__origin_now(void);
// Under the lock, before the entry is made visible with its new value: this process makes it, now.
void ray__origin_set(ray_store *store, uint32_t index);
// What the entry says if it is as the word says; the caller looks at the word again.
void ray__entry_info(ray_store *store, uint32_t index, uint64_t word, ray_object_info *info);

// ---- room.c: under the lock ----------------------------------------------------------------------------------------------

// After memory was given back while the node waits for that.
void ray__room_freed(ray_store *store);
// Whether this process may take so much though others wait for room, and what it has taken then.
bool ray__room_lets_pass(const ray_store *store, uint64_t units);
void ray__room_passed(ray_store *store, uint64_t units);

// ---- object.c, get.c, reap.c, copy.c -----------------------------------------------------------------------------------

// The parts of a create. First: whether there can be such an object, and how many units it takes.
ray_status ray__object_check_new(uint64_t data_size, uint32_t metadata_size, uint32_t flags, uint64_t *units) RAY_NODISCARD;
// Under the lock: finds a place in the table and a block, and makes the entry visible as creating. The writer's sizes are set.
ray_status ray__object_claim(ray_store *store, const ray_object_id *id, uint64_t units, uint32_t flags, ray_object_writer *writer,
                             uint64_t *place) RAY_NODISCARD;
// Without it: takes memory for the block, and sets the writer's pointers. On failure the object is gone.
ray_status ray__object_open(ray_store *store, uint64_t place, uint64_t units, uint32_t flags, ray_object_writer *writer) RAY_NODISCARD;
// Seals and says whom to wake; the caller sends that soon.
ray_status ray__object_seal(ray_store *store, ray_object_writer *writer, ray__wakes *wakes) RAY_NODISCARD;

// Pins the object as soon as it is sealed; what else becomes of it is somebody's to say, who sets *told and calls ray__object_tell. RAY_AGAIN: told,
// and it is not sealed. RAY_TIMED_OUT; RAY_POISONED. Any number of threads; each call of ray__object_tell wakes all that wait in this process.
ray_status ray__object_get_or_told(ray_store *store, const ray_object_id *id, const atomic_bool *told, uint64_t deadline_ns,
                                   ray_object_view *view) RAY_NODISCARD;
void ray__object_tell(ray_store *store);

// Pins without waiting and without a message. RAY_AGAIN: the entry does not come to rest.
ray_status ray__get_now(ray_store *store, const ray_object_id *id, uint64_t hash, ray_object_view *view);
// What a state word means to a reader: RAY_OK sealed, RAY_NOT_SEALED, RAY_NOT_LOCAL, RAY_AGAIN, or the failure.
ray_status ray__entry_verdict(const ray__entry *entry, uint64_t word);
// The shared part of ray__store_take_over.
ray_status ray__node_succeed(ray_store *store) RAY_NODISCARD;
// Drops everything a slot has.
ray_status ray__slot_sweep(ray_store *store, uint32_t slot, ray_reap_report *report);
void ray__copy(uint8_t *to, const uint8_t *from, uint64_t size_bytes);
// The same past the caches, for what cannot stay in them, with the checksum of each chunk.
void ray__copy_summed(uint8_t *to, const uint8_t *from, uint64_t size_bytes, uint32_t chunk_size, uint64_t *sums);

// Runs body over a range cut at multiples of the huge page, by several threads if it is large enough to pay. Answers RAY_OK when each part
// did; a part that failed on another thread is run again on this one, so that its message is this thread's.
typedef ray_status (*ray__part_body)(void *context, uint64_t begin, uint64_t end);
ray_status ray__in_parts(uint64_t begin, uint64_t end, ray__part_body body, void *context);

#endif
