// SPDX-License-Identifier: Apache-2.0
// Store: immutable objects in a node's shared memory.
//
// A store is two segments of shared memory: *meta*, which holds the object table, and *data*, which holds the bytes. The
// node makes them; clients map them and then create, seal, get, release and delete by themselves. The object table is
// the truth; all else in the segments can be rebuilt from it. Every process has a slot (0 is the node's, 1 to 256 the clients'). An entry of
// the table has two bits for each slot: a *pin* (the process reads this memory: it may not move or go) and a *ref* (the process
// holds a reference: the object may not be forgotten). How many pins and refs a process has is its own private count.
//
// The life of an entry: remote (known, not here) or creating -> sealed -> deleting -> gone. An entry whose value is gone while refs
// remain is failed: a get of it answers the status it failed with. When the last ref of an object goes, the process that
// dropped it frees the object on the spot, unless the node holds a ref too; then the node hears of it (see attention).
//
// Caveats:
//  - An object can be read only once sealed, and never changed again.
//  - A fork's child owns nothing: every call with the parent's handle answers RAY_FORKED.
//  - Timeouts are relative, in nanoseconds; 0 is "do not wait", RAY_FOREVER waits without end.
//  - Every call may also answer RAY_FORKED, or RAY_POISONED when the shared state is damaged beyond repair.
//  - Memory that data once used stays with the store; it is not given back to the machine.
//  - An object without a ref from the start stays until it is deleted; only what has had a ref goes with the last one.
//
// Thread safety: a ray_store may be used by any thread. A ray_object_writer and a ray_object_view belong to one thread at a time.
#ifndef RAYSTORE_STORE_H
#define RAYSTORE_STORE_H

#include "id.h"

RAY_BEGIN_DECLS
RAY_ASSUME_NONNULL_BEGIN

typedef struct ray_store ray_store;

#define RAY_FOREVER UINT64_MAX
#define RAY_CLIENTS_MAX 256u // besides the node: four 64-bit words a bitmap
#define RAY_NODE_SLOT 0u     // the clients' slots are 1 to RAY_CLIENTS_MAX
#define RAY_SLOTS_MAX (RAY_CLIENTS_MAX + 1u)

enum {
    RAY_STATE_EMPTY = 0,
    RAY_STATE_CREATING = 1,
    RAY_STATE_SEALED = 2,
    RAY_STATE_SPILLED = 3,
    RAY_STATE_REMOTE = 4,
    RAY_STATE_FAILED = 5,
    RAY_STATE_DELETING = 6,
};

typedef struct ray_store_options {
    uint32_t struct_size;    // sizeof(ray_store_options)
    uint32_t entry_count_max; // 0: one for every 4 KiB of capacity, at least 16,384
    uint64_t capacity_bytes; // of the data segment, rounded up to a page; 0: 1 GiB
} ray_store_options;

// Makes an empty store and attaches to it as the node, slot 0. Memory of the table is taken at once, memory for data as it is
// used or when ray_store_prefault runs; a machine without memory is answered with RAY_STORE_FULL or RAY_OUT_OF_MEMORY, never a
// SIGBUS. The table of a 1 GiB store takes 84 MiB. RAY_INVALID_ARGUMENT: struct_size; RAY_TOO_LARGE: more than 64 TiB or 8 million
// entries. On failure *store is NULL and nothing is left.
RAY_API ray_status ray_store_create(const ray_store_options *options, ray_store *RAY_NULLABLE *RAY_NULLABLE store) RAY_NODISCARD;

// Attaches to a store made by another process, by the descriptors and the slot that the node gave. Takes the descriptors
// on success and on failure. RAY_LAYOUT_MISMATCH when another build made it; RAY_INVALID_ARGUMENT when the slot is the node's or was not
// claimed; RAY_IN_USE when somebody is attached with it. Slot and all it holds stay the node's to reap.
RAY_API ray_status ray_store_attach(int meta_fd, int data_fd, uint32_t slot, ray_store *RAY_NULLABLE *RAY_NULLABLE store) RAY_NODISCARD;

// Shuts the metadata for this process, so that a stray write into it faults (SIGSEGV with SEGV_PKUERR) in the thread that does it instead of
// damaging the store for everybody. It is open to a thread only while that is inside a call of this library. Uses one of the process's 15 memory
// protection keys, whatever the number of stores, and keeps it until the process ends. No other thread may be in a call. A store that is
// protected stays so; again does nothing. Every store that a process creates or attaches to is protected at once when its environment has
// RAYSTORE_PROTECT=1; then creating and attaching may fail as below. A get and release takes 1.4 to 2.5 times as long, in batches hardly
// longer: decision 0006. RAY_UNSUPPORTED: the processor or the kernel has no keys. RAY_IN_USE: the process uses all of them. The store can be used
// as before then.
RAY_API ray_status ray_store_protect(ray_store *store) RAY_NODISCARD;

// Unmaps. Every pin and ref of this process is dropped and its unsealed objects are aborted first; views and writers are void afterwards.
// No other thread may be in a call. The slot can be attached again. Looks at the whole table. Accepts NULL.
RAY_API void ray_store_close(ray_store *RAY_NULLABLE store);

// The descriptors stay the store's; duplicate them to pass them on.
RAY_API int ray_store_meta_fd(const ray_store *store);
RAY_API int ray_store_data_fd(const ray_store *store);
RAY_API uint32_t ray_store_slot(const ray_store *store);

// Reserves memory from the front of the data segment until at least up_to_bytes are reserved (see ray_store_stats.reserved_bytes); blocking,
// may be called from a background thread while others work. The kernel is asked for huge pages: then every process finds the
// memory with a fault for 2 MiB. Where it has none to give, the memory is there all the same, in small pages. RAY_OUT_OF_MEMORY when the
// machine, or a control group of this process, has too little left: what was reserved before that stays.
RAY_API ray_status ray_store_prefault(ray_store *store, uint64_t up_to_bytes) RAY_NODISCARD;

// As much as is usual: on top of what objects take, a quarter of the memory that is left.
#define RAY_PREFAULT_USUAL UINT64_MAX

// The same on a thread of the store's own, of low priority: at once, and again whenever nothing was created for a second, when there is more
// to take by then: memory was short before, or the usual share has come to be used. The node calls it at its start. RAY_IN_USE: one is started and was not stopped; RAY_SYSTEM: there can be no thread.
RAY_API ray_status ray_store_prefault_start(ray_store *store, uint64_t up_to_bytes) RAY_NODISCARD;

// Ends that thread and returns when it has ended, at most a step of 8 MiB later. What is reserved stays. Nothing to end: nothing done.
// ray_store_close does it, too.
RAY_API void ray_store_prefault_stop(ray_store *store);

// ---- create, seal, abort ------------------------------------------------------------------------------------------------

// An object being filled by this process. data and metadata are this process's writable view of it, 64-byte aligned;
// they are void after seal and abort.
typedef struct ray_object_writer {
    uint8_t *RAY_NULLABLE data;
    uint64_t data_size;
    uint8_t *RAY_NULLABLE metadata;
    uint32_t metadata_size;
    uint32_t entry;      // private
    uint64_t generation; // private
} ray_object_writer;

enum {
    RAY_CREATE_WITH_REF = 1u << 0, // this process also gets a ref, dropped with ray_ref_release
    RAY_CREATE_FROM_KEPT = 1u << 1, // of ray_node_create_for alone: also what ray_node_room_keep keeps
};

// Takes room for an object and claims its id. A remote entry of that id becomes creating; any other existing entry answers
// RAY_EXISTS. RAY_STORE_FULL when there is no room, RAY_TABLE_FULL when there is no entry; the message says needed and free. After
// failure nothing is taken, and the writer is void. Sizes of 0 are fine: then the pointer is NULL. The bytes are not zeroed. Takes
// the store's lock for some hundred nanoseconds; blocks longer only while memory is taken for the first time, by several threads
// if it is much.
RAY_API ray_status ray_object_create(ray_store *store, const ray_object_id *id, uint64_t data_size, uint32_t metadata_size,
                                     uint32_t flags, ray_object_writer *writer) RAY_NODISCARD;

// Makes the object visible to every process and wakes who waits for it. From here on it never changes. The writer is void afterwards,
// whatever is answered. If the object was deleted, or its refs dropped, while it was made: the failure of that, such as
// RAY_OBJECT_FREED, and the object is gone. RAY_INVALID_ARGUMENT: the writer was sealed or aborted already.
RAY_API ray_status ray_object_seal(ray_store *store, ray_object_writer *writer) RAY_NODISCARD;

// Takes over an object that the node has created for this process with ray_node_create_for, once: from then on it is as if this process
// had created it, with the flags of that create. RAY_NOT_FOUND when there is none; RAY_STORE_FULL when the machine has no memory for it: then
// it is gone. Writer, cost and blocking as of ray_object_create.
RAY_API ray_status ray_object_accept(ray_store *store, const ray_object_id *id, uint32_t flags, ray_object_writer *writer) RAY_NODISCARD;

// Gives back what accept would take. Nothing when there is none.
RAY_API void ray_object_decline(ray_store *store, const ray_object_id *id);

// Gives the room back. The entry goes, or is remote again if refs remain. Accepts a writer that was sealed or aborted already.
RAY_API void ray_object_abort(ray_store *store, ray_object_writer *writer);

// create, copy, seal; fails as they do, and then nothing is left. Data of 8 MiB and more is copied by a thread for each core, at most four.
RAY_API ray_status ray_object_put(ray_store *store, const ray_object_id *id, const void *RAY_NULLABLE data, uint64_t data_size,
                                  const void *RAY_NULLABLE metadata, uint32_t metadata_size, uint32_t flags) RAY_NODISCARD;

// ---- get, release --------------------------------------------------------------------------------------------------------

// A pinned, sealed object, mapped read-only.
typedef struct ray_object_view {
    const uint8_t *RAY_NULLABLE data;
    uint64_t data_size;
    const uint8_t *RAY_NULLABLE metadata;
    uint32_t metadata_size;
    uint32_t entry;      // private
    uint64_t generation; // private
} ray_object_view;

// Pins a sealed object, waiting until it is sealed if need be. RAY_NOT_FOUND: no entry (and timeout_ns is 0);
// RAY_NOT_SEALED / RAY_NOT_LOCAL: creating / remote or spilled (and timeout_ns is 0); RAY_TIMED_OUT: still not sealed; or
// the status the object failed with. An id that has no entry yet may be waited for; an object that was seen without a value and then is
// not there any more has gone: RAY_OBJECT_FREED. On failure the view is void. Takes no lock; a wait sleeps on a futex.
RAY_API ray_status ray_object_get(ray_store *store, const ray_object_id *id, uint64_t timeout_ns, ray_object_view *view) RAY_NODISCARD;

// Drops the pin and makes the view void; a void view is ignored. The last pin of an object that is being deleted frees it.
RAY_API void ray_object_release(ray_store *store, ray_object_view *view);

// One more pin of the same object, released on its own. A copy of a void view is void.
RAY_API void ray_object_view_copy(ray_store *store, const ray_object_view *from, ray_object_view *to);

// ---- many in one call ------------------------------------------------------------------------------------------------------
//
// Each of these does to count objects what the call for one does, in order, and each object succeeds or fails by itself: statuses[i] says
// how, and what failed leaves the others as they are. They answer RAY_OK when all succeeded, else the status of the first that did not,
// with a message that says how many and why that one. The same id may be there more than once. They are faster than a loop, because what
// the next ones need from memory is fetched while the first are worked on. Should the store be damaged meanwhile, what is left is not tried
// and has RAY_POISONED.

// Pins the objects. One timeout, and one futex wait, for all of them: statuses as of ray_object_get, RAY_TIMED_OUT for those not sealed
// in time. views[i] is void where statuses[i] is not RAY_OK; the others are to be released also when the call failed. RAY_OUT_OF_MEMORY when
// there is none to wait with.
RAY_API ray_status ray_objects_get(ray_store *store, const ray_object_id *ids, uint32_t count, uint64_t timeout_ns, ray_object_view *views,
                                   ray_status *statuses) RAY_NODISCARD;

// Releases the views; void ones are ignored.
RAY_API void ray_objects_release(ray_store *store, ray_object_view *views, uint32_t count);

// Creates the objects, with the flags for each. data_size and metadata_size of each writer are set by the caller and kept; on success the
// rest is as of ray_object_create, on failure it is void. Takes the store's lock once for up to 32 objects, some microseconds each time.
RAY_API ray_status ray_objects_create(ray_store *store, const ray_object_id *ids, uint32_t count, uint32_t flags,
                                      ray_object_writer *writers, ray_status *statuses) RAY_NODISCARD;

// Seals the objects; the writers are void afterwards. Who waits is woken after every 32nd and at the end.
RAY_API ray_status ray_objects_seal(ray_store *store, ray_object_writer *writers, uint32_t count, ray_status *statuses) RAY_NODISCARD;

// ---- look, wait ----------------------------------------------------------------------------------------------------------

typedef struct ray_object_info {
    ray_object_id id;
    uint32_t state;
    uint32_t creator_slot;
    int32_t failure;          // the status, when the state is failed
    uint64_t data_size;
    uint32_t metadata_size;
    uint32_t pin_slot_count;  // processes that pin it
    uint32_t ref_slot_count;  // processes that hold refs, the node not counted
    bool node_has_ref;
    uint64_t access_tick;     // larger is later
    uint64_t memory_bytes;    // its block, rounding included; 0 without a value
    uint64_t age_ns;          // since the creator began to make it, in steps of 0.1 s; without a value: since the entry came
    int64_t creator_pid;      // as the node was told when the creator came, also when that has gone since; 0: not known
} ray_object_info;

// None of these takes a lock or sets a pin: what they say may have changed when they return.
RAY_API bool ray_object_contains(ray_store *store, const ray_object_id *id); // sealed here?
RAY_API ray_status ray_object_stat(ray_store *store, const ray_object_id *id, ray_object_info *info) RAY_NODISCARD;

// Fills infos from *cursor on (0 at the start) and moves the cursor; *count is 0 at the end. Not a snapshot: an entry that
// lives throughout is listed exactly once. RAY_INVALID_ARGUMENT when capacity is 0.
RAY_API ray_status ray_store_list(ray_store *store, uint64_t *cursor, ray_object_info *infos, uint32_t capacity,
                                  uint32_t *count) RAY_NODISCARD;

// Waits until at least ready_count_wanted of the ids are sealed or failed here, or have gone while they were waited for. ready[i] becomes 1
// for those that are; *ready_count says how many. RAY_TIMED_OUT when fewer are; ready is filled all the same. One futex wait however many
// ids; ids lie in 256 buckets by their hash, and after a wake only those of buckets where something was sealed or ended are looked at.
// RAY_INVALID_ARGUMENT when more are wanted than given; RAY_OUT_OF_MEMORY: four bytes an id are needed to wait. Sets no pins.
RAY_API ray_status ray_object_wait(ray_store *store, const ray_object_id *ids, uint32_t count, uint32_t ready_count_wanted,
                                   uint64_t timeout_ns, uint8_t *ready, uint32_t *ready_count) RAY_NODISCARD;

// A thread that waits for objects on behalf of others, any number of them: one futex wait, with the cost of a wake as above. It belongs to one
// store and must be destroyed before that is closed; one for each process is enough. May be used by any thread.
typedef struct ray_waiter ray_waiter;

// How a wait ended: RAY_OK it is sealed, the status it failed with, RAY_OBJECT_FREED it has gone, RAY_TIMED_OUT, RAY_POISONED, or what
// ray_waiter_end was given. Called once, on the waiter's thread, with no lock held: it may add and cancel, but must not block or destroy. What is
// sealed when it is called may have gone again when it is looked at.
typedef void (*ray_waited_fn)(void *RAY_NULLABLE context, ray_status status);

enum {
    RAY_WAITER_WHILE_MADE = 1u << 0, // waits only while the object is being made here: ends with RAY_NOT_LOCAL or RAY_NOT_FOUND too
};

// Starts the thread. RAY_SYSTEM when there can be none.
RAY_API ray_status ray_waiter_create(ray_store *store, ray_waiter *RAY_NULLABLE *RAY_NULLABLE waiter) RAY_NODISCARD;

// Ends every wait with RAY_CLOSED, then the thread; returns when both is done. Nobody may be in another call. Accepts NULL.
RAY_API void ray_waiter_destroy(ray_waiter *RAY_NULLABLE waiter);

// Ends every wait with `status`, and refuses each that is added later with it. Does not wait for that. The first status stays.
RAY_API void ray_waiter_end(ray_waiter *waiter, ray_status status);

// Adds a wait. *ticket is its name, for ray_waiter_cancel. If there is nothing to wait for *ticket is 0: look at the object yourself; done
// is not called then, nor after a failure. Does not sleep; without a system call, unless the wait must end before all others. O(log n).
// RAY_OUT_OF_MEMORY; RAY_AGAIN when 16 million wait.
RAY_API ray_status ray_waiter_add(ray_waiter *waiter, const ray_object_id *id, uint32_t flags, uint64_t timeout_ns, ray_waited_fn done,
                                  void *RAY_NULLABLE context, uint64_t *ticket) RAY_NODISCARD;

// Gives a wait up. True: done was not called and will not be. False: it was called, or is about to be. O(log n), disturbs nobody.
RAY_API bool ray_waiter_cancel(ray_waiter *waiter, uint64_t ticket);

// ---- refs, delete --------------------------------------------------------------------------------------------------------

// One more ref of this process. The entry must exist, in any state but empty and deleting: RAY_NOT_FOUND otherwise. The node uses
// ray_node_adopt instead: its ref is one bit, which the last ray_ref_release of the node's process would clear as well.
RAY_API ray_status ray_ref_acquire(ray_store *store, const ray_object_id *id) RAY_NODISCARD;

// One ref less. The process's last clears its bit; the store's last frees the object, or calls the node's attention. An object that
// is still being made ends when its maker is done. A bit that ray_node_ref_for set counts as one ref that the process has not acquired
// itself. RAY_NOT_FOUND when the process has none. Whoever has a session that opens refs uses ray_client_release_ref instead.
RAY_API ray_status ray_ref_release(ray_store *store, const ray_object_id *id);

// Ends the value: its memory is freed when the last pin goes; until then those who pinned it read on. With refs left the entry stays,
// failed with `failure` (such as RAY_OBJECT_FREED), else it goes. RAY_NOT_FOUND for an unknown id. Never blocks. While it is
// made or pinned, a get answers `failure` already and a create RAY_EXISTS. RAY_INVALID_ARGUMENT when `failure` is RAY_OK, RAY_AGAIN,
// RAY_NOT_FOUND, RAY_NOT_SEALED or RAY_NOT_LOCAL, which a waiting get would not end with.
RAY_API ray_status ray_object_delete(ray_store *store, const ray_object_id *id, ray_status failure) RAY_NODISCARD;

// ---- accounting, check ---------------------------------------------------------------------------------------------------

typedef struct ray_store_stats {
    uint32_t struct_size;
    uint32_t client_count;      // slots in use, the node's included
    uint32_t entry_count;       // entries not empty
    uint32_t entry_count_max;
    uint64_t capacity_bytes;
    uint64_t used_bytes;        // in blocks that objects own, rounding included; used + free = capacity
    uint64_t free_bytes;
    uint64_t largest_free_bytes;
    uint64_t pinned_bytes;
    uint64_t reserved_bytes;    // memory of the data segment that is certainly there
    uint64_t sealed_count;
    uint64_t creating_count;
    // A caller from before these were added gives a smaller struct_size and does not get them.
    uint64_t free_block_count;
    uint64_t unusable_for_1mib_bytes; // of the free ones, in blocks too small for an object of 1 MiB
} ray_store_stats;

// Set struct_size before; afterwards it is the size of what was filled. Capacity, used, free, unusable and the counts of blocks and
// entries are of one moment, under the store's lock for a microsecond or so, and used + free is the capacity in every answer. pinned_bytes and
// the counts of objects are from a look at the whole table without the lock, some milliseconds for a large store: what changed meanwhile is
// as it was before or after. largest_free_bytes may be up to 3% too small when more than a thousand free blocks are about the largest.
// RAY_INVALID_ARGUMENT: struct_size is smaller than the structure ever was.
RAY_API ray_status ray_store_stats_read(ray_store *store, ray_store_stats *stats) RAY_NODISCARD;

// Bytes in blocks that objects own: used_bytes of a moment just past, without a lock and without a look at anything else. For who watches.
RAY_API uint64_t ray_store_used_bytes(const ray_store *store);

#define RAY_CLIENT_GONE UINT32_MAX

// What one client has to do with what is in memory. An object counts for each client that pins or refers to it, and for one creator.
typedef struct ray_store_client {
    uint32_t slot;           // RAY_CLIENT_GONE: the row of all clients that have gone; it has only created objects
    uint32_t serial;         // of the slot; see ray_store_slot_serial
    int64_t pid;             // as the node was told
    uint64_t age_ns;         // since it came, in steps of 0.1 s
    uint64_t created_count;  // objects in memory that it made
    uint64_t created_bytes;  // their blocks, rounding included
    uint64_t unsealed_bytes; // of these, still being made
    uint64_t pinned_count;   // objects that it pins
    uint64_t pinned_bytes;
    uint64_t ref_count;      // entries that it refers to, whether they have a value here or not
    uint64_t ref_bytes;
} ray_store_client;

#define RAY_CLIENT_ROWS_MAX (RAY_SLOTS_MAX + 1u)

// Fills a row for each slot in use, by slot, the node's first, and one for clients that have gone if objects of theirs are left. When nothing
// changes meanwhile, created_bytes of all rows add up to used_bytes. Looks at the whole table without the lock, as the statistics do.
// RAY_INVALID_ARGUMENT: capacity is less than RAY_CLIENT_ROWS_MAX.
RAY_API ray_status ray_store_clients_list(ray_store *store, ray_store_client *infos, uint32_t capacity, uint32_t *count) RAY_NODISCARD;

// Verifies the numbered invariants of docs/LAYOUT.md. Level 0: header; 1: and locks, counters; 2: everything (stops writers).
// RAY_POISONED with a message that names the invariant and the entry.
RAY_API ray_status ray_plasma_check(ray_store *store, uint32_t level) RAY_NODISCARD;

// ---- for the node (slot 0) only: RAY_INVALID_ARGUMENT for others -------------------------------------------------------

// Takes a free slot for a client. RAY_TOO_MANY_CLIENTS if there is none.
RAY_API ray_status ray_store_slot_claim(ray_store *store, int64_t pid, uint32_t *slot) RAY_NODISCARD;

typedef struct ray_reap_report {
    uint32_t aborted_count; // unsealed objects given back
    uint32_t pin_count;     // bits cleared
    uint32_t ref_count;
    uint32_t freed_count;   // objects that had nobody else
} ray_reap_report;

// Undoes what a client that is gone has left: its unsealed objects, pins, refs, waits, locks; then frees its slot. The client must
// not run any more. Entries with no client's ref are all named to attention, since the dead may have dropped one and not said so.
// Looks at the whole table; others work meanwhile. RAY_INVALID_ARGUMENT for a slot that is free or the node's.
RAY_API ray_status ray_store_slot_reap(ray_store *store, uint32_t slot, ray_reap_report *report) RAY_NODISCARD;

// Makes a remote entry for an object that is elsewhere, with the node's ref; if an entry exists, only adds the node's ref to it. *state
// is the state it has now; RAY_STATE_DELETING means that it fails when its readers are done. The node's ref is a bit, not a count.
// RAY_TABLE_FULL.
RAY_API ray_status ray_node_adopt(ray_store *store, const ray_object_id *id, uint32_t *state) RAY_NODISCARD;

// Clears the node's ref. The object is freed if nobody else has one. RAY_NOT_FOUND for an unknown id.
RAY_API ray_status ray_node_disown(ray_store *store, const ray_object_id *id);

// Which of its clients a slot has now: another number after each claim and each reap.
RAY_API uint32_t ray_store_slot_serial(const ray_store *store, uint32_t slot);

// Sets the ref bit of a client on its behalf, so that nothing can go before the client itself acquires. It is a bit: a release of the
// client's own last ref clears it, too. serial is the slot's when the client came, so that a client's successor is not given its refs; 0
// for whoever has the slot. RAY_NOT_FOUND for an unknown or ending object, RAY_CLOSED when that client is gone, RAY_INVALID_ARGUMENT for a
// free slot.
RAY_API ray_status ray_node_ref_for(ray_store *store, const ray_object_id *id, uint32_t slot, uint32_t serial) RAY_NODISCARD;

// Gives up the local value of an object that is elsewhere too: sealed becomes remote, its memory is free. RAY_IN_USE when pinned,
// RAY_NOT_SEALED when it has no sealed value; RAY_OK when it is remote already. Without any ref the entry goes. freed_bytes is what this call
// has freed, as memory_bytes counts it: 0 when it failed, or when somebody else was first; of several calls at a time one has it.
RAY_API ray_status ray_node_evict(ray_store *store, const ray_object_id *id, uint64_t *RAY_NULLABLE freed_bytes) RAY_NODISCARD;

// Creates an object in the name of a client, which then fills and seals it: it is the client's creating entry from the first moment, and is
// reaped with it. With RAY_CREATE_WITH_REF the client's ref bit is set, as by ray_node_ref_for. serial as there. The client learns of it
// from the node and calls ray_object_accept, or ray_object_decline. Slot 0 is the node itself. Fails as ray_object_create does, and
// RAY_CLOSED when that client is gone. Takes no memory from the machine: accept does.
RAY_API ray_status ray_node_create_for(ray_store *store, uint32_t slot, uint32_t serial, const ray_object_id *id, uint64_t data_size,
                                       uint32_t metadata_size, uint32_t flags) RAY_NODISCARD;

// For a node at which others wait for room. Watch first, then try what wants room, then wait: RAY_OK when memory has come free since the
// watch, or ray_node_room_wake was called; RAY_TIMED_OUT. It hears of memory that objects give back, not of pins that go. While nobody watches,
// nothing is paid for it; a watch is spent by the first free.
RAY_API ray_status ray_node_room_watch(ray_store *store, uint32_t *seen) RAY_NODISCARD;
RAY_API ray_status ray_node_room_wait(ray_store *store, uint32_t seen, uint64_t timeout_ns) RAY_NODISCARD;
RAY_API void ray_node_room_wake(ray_store *store);

// Lets clients take only so many bytes more by themselves, whatever is free: what comes free is then for those whom the node creates for.
// Beyond it their creates answer RAY_STORE_FULL, but for blocks of up to 4 KiB that the client itself has freed. Holds until it is called
// again; RAY_ROOM_OPEN ends it.
#define RAY_ROOM_OPEN UINT64_MAX
RAY_API ray_status ray_node_room_hold(ray_store *store, uint64_t pass_bytes) RAY_NODISCARD;

// Keeps a free piece of so many bytes for what the node creates with RAY_CREATE_FROM_KEPT: no other create, of a client or of the node, makes
// the largest free piece smaller than that, or any smaller when it already is. What it cannot have otherwise is RAY_STORE_FULL. Frees nothing
// itself. Holds until it is called again; 0 ends it.
RAY_API ray_status ray_node_room_keep(ray_store *store, uint64_t bytes) RAY_NODISCARD;

enum {
    RAY_VICTIMS_OF_NODE = 1u << 0, // only objects with the node's ref, as every copy of another node's object has
    RAY_VICTIMS_PINNED = 1u << 1,  // those that are pinned, instead of those that are not
};

// Sealed objects that nobody pins, least recently used first, whose blocks (memory_bytes) together have needed_bytes or just more: the fewest
// of the oldest. Fewer bytes when there are no more such objects, or when they are `capacity`. An object is used when it is created and when it
// is got. Nothing is held for the caller: an object may be pinned or gone by the time it is evicted, and ray_node_evict says so. Without the
// lock, without memory of its own; one look at the whole table, 1 to 2 ms for 100,000 places, and O(log n) for each object that is older than
// those seen before it. RAY_INVALID_ARGUMENT: capacity is 0, unknown flags.
RAY_API ray_status ray_node_victims(ray_store *store, uint64_t needed_bytes, uint32_t flags, ray_object_info *infos, uint32_t capacity,
                                    uint32_t *count) RAY_NODISCARD;

// Ends an entry that has no value yet (remote or spilled) with a failure and wakes its waiters. RAY_EXISTS when it has a value or is
// getting one; RAY_OK when it has failed already, with the first failure kept. The same failures are refused as in ray_object_delete.
RAY_API ray_status ray_node_fail(ray_store *store, const ray_object_id *id, ray_status failure) RAY_NODISCARD;

// The failed entry of an object that can be tried again becomes remote. RAY_OK when it is; RAY_EXISTS when it has a value.
RAY_API ray_status ray_node_unfail(ray_store *store, const ray_object_id *id) RAY_NODISCARD;

// Calls attention once when the object is sealed, fails or goes; a deleted one goes with its last pin. If that is so already, it calls at
// once. An object that goes is named with state RAY_STATE_DELETING, and its entry stays until then. RAY_NOT_FOUND for an unknown id.
RAY_API ray_status ray_node_watch(ray_store *store, const ray_object_id *id) RAY_NODISCARD;

// Entries that want the node's attention: the clients' refs of an object with the node's ref went to none, or a watched object changed.
// Attention is a level, not a queue: an entry is named once however often it was called, with what is true when it is read, and look
// again is always harmless. Waits until there is at least one; RAY_TIMED_OUT, or RAY_CLOSED after ray_node_attention_stop.
RAY_API ray_status ray_node_attention_wait(ray_store *store, uint64_t timeout_ns, ray_object_info *infos, uint32_t capacity,
                                           uint32_t *count) RAY_NODISCARD;
RAY_API void ray_node_attention_stop(ray_store *store);

RAY_ASSUME_NONNULL_END
RAY_END_DECLS
#endif
