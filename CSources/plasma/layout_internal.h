// SPDX-License-Identifier: Apache-2.0
// What lies in the meta segment, byte by byte. docs/LAYOUT.md says who writes each field and in which order.
#ifndef RAY_PLASMA_LAYOUT_INTERNAL_H
#define RAY_PLASMA_LAYOUT_INTERNAL_H

#include <assert.h>
#include <pthread.h>
#include <stddef.h>
#include <stdint.h>

#include "raystore/store.h"

#define RAY__MAGIC 0x45524f5453594152u // "RAYSTORE" in memory
#define RAY__LAYOUT_VERSION 5u         // raise it when a field changes its meaning but not its place
#define RAY__PAGE 4096u
#define RAY__UNIT 64u                 // data is handed out in units of this size: a cache line, and the alignment of views
#define RAY__LARGE_BYTES (1u << 20)   // blocks from here on start and end at a page
#define RAY__CAPACITY_MAX (1ull << 46) // 40 bits of units; also what two mappings of a process can hold
#define RAY__ENTRY_MAX ((1u << 23) - 2u) // twice as many block descriptors must fit in 24 bits
#define RAY__WAIT_BUCKETS 256u        // by id
#define RAY__SEALED_RING 1024u        // large objects sealed lately that the node hears of; a power of two
#define RAY__SEALED_ABOVE (100u << 10) // bytes of data: larger is large
#define RAY__CLIENT_WORDS (RAY_CLIENTS_MAX / 64u)       // of a bitmap with a bit a client: the one of slot s is bit s - 1
#define RAY__SLOT_WORDS ((RAY_SLOTS_MAX + 63u) / 64u)   // of a bitmap with a bit a slot: the one of slot s is bit s

// ---- the state word ----------------------------------------------------------------------------------------------------
//  bits 0-7 state, 8-14 flags, 15-23 slot of the creator, 24-31 passed: how many entries lie farther on whose search leads over this
//  place (255: at least so many), 32-63 generation: how often the place in the table was taken.

#define RAY__STATE_MASK 0xffu
#define RAY__FLAG_COUNTED (1u << 8) // has had a ref: goes when the last one goes
#define RAY__FLAG_WATCHED (1u << 9) // the node wants to know what becomes of it
#define RAY__FLAG_DOOMED (1u << 10) // creating, but its value ends as soon as the creator is done
// What the bitmaps are for the clients, two flags are for the node: 256 clients fill the bitmaps, and 128 bytes have no room for a fifth word.
#define RAY__FLAG_NODE_PIN (1u << 11)
#define RAY__FLAG_NODE_REF (1u << 12)
#define RAY__FLAGS_NODE (RAY__FLAG_NODE_PIN | RAY__FLAG_NODE_REF)
#define RAY__CREATOR_SHIFT 15
#define RAY__CREATOR_MASK 0xff8000u
#define RAY__PASSED_SHIFT 24
#define RAY__PASSED_MASK 0xff000000u
#define RAY__PASSED_MAX 255u
#define RAY__GENERATION_SHIFT 32
#define RAY__GENERATION_MASK 0xffffffff00000000u

static inline uint32_t ray__word_state(uint64_t word) {
    return (uint32_t)(word & RAY__STATE_MASK);
}

static inline uint32_t ray__word_creator(uint64_t word) {
    return (uint32_t)((word & RAY__CREATOR_MASK) >> RAY__CREATOR_SHIFT);
}

static inline uint64_t ray__word_generation(uint64_t word) {
    return word >> RAY__GENERATION_SHIFT;
}

static inline uint32_t ray__word_passed(uint64_t word) {
    return (uint32_t)((word & RAY__PASSED_MASK) >> RAY__PASSED_SHIFT);
}

// The same but for what concerns other entries, and for what the node has of this one.
static inline bool ray__word_same(uint64_t a, uint64_t b) {
    return ((a ^ b) & ~(uint64_t)(RAY__PASSED_MASK | RAY__FLAGS_NODE)) == 0;
}

static inline uint64_t ray__word_with_state(uint64_t word, uint32_t state) {
    return (word & ~(uint64_t)RAY__STATE_MASK) | state;
}

// ---- place: where the value lies ---------------------------------------------------------------------------------------
//  bits 0-23 number of the block's descriptor, 24-63 offset in the data segment in units.

#define RAY__PLACE_NONE UINT64_MAX
#define RAY__PLACE_BLOCK_MASK 0xffffffu

// ---- access: when it was last used, and why it failed ------------------------------------------------------------------
//  bits 0-23 status, 24-63 tick.

#define RAY__ACCESS_STATUS_MASK 0xffffffu
#define RAY__ACCESS_TICK_SHIFT 24

// ---- structures ---------------------------------------------------------------------------------------------------------

typedef struct ray__header {
    // Written once, before the descriptors are given to anybody.
    uint64_t magic;
    uint64_t signature; // of the layout that the maker was compiled with
    uint64_t meta_size;
    uint64_t capacity;        // bytes of the data segment
    uint32_t entry_count_max; // entries that may be in use
    uint32_t table_size;      // places in the table, a power of two
    uint32_t block_count;     // block descriptors
    uint32_t reserved0;
    uint8_t pad0[16];
    // Read by every call, written once at most.
    uint32_t poisoned;
    uint8_t pad1[60];
    // Grows only.
    uint64_t reserved_bytes; // of the data segment, from its start: memory that is certainly there
    uint8_t pad2[56];
    // Written under the lock.
    pthread_mutex_t lock; // robust, shared by processes
    uint32_t entry_count; // places in use
    uint32_t repair_count; // how often the allocator was rebuilt
    uint32_t lock_wanted;  // a client waits for the lock for long: written without it
    uint32_t room_wanted;  // the node wants to know when memory comes free: cleared by who tells it
    uint64_t room_pass;    // units that clients may still take while others wait for room, and 1 more; 0: nobody waits
    // The clock of accesses: one tick for each create.
    uint64_t tick;
    uint64_t room_kept; // units of the largest free piece that are for what comes back from outside; 0: none
    uint8_t pad4[48];
    // The node's attention.
    uint32_t attention_seq;     // a futex
    uint32_t attention_waiting; // whether the node may sleep on it
    uint32_t room_seq;          // a futex of the node: moves when memory came free while room_wanted was set
    uint32_t sealed_count;      // large objects that were sealed, modulo 2^32
    uint8_t pad5[48];
} ray__header;

enum { RAY__SLOT_FREE = 0, RAY__SLOT_CLAIMED = 1, RAY__SLOT_ATTACHED = 2 };

typedef struct ray__slot {
    uint32_t state;
    uint32_t serial; // how often the slot was claimed or reaped
    int64_t pid;     // as the node was told; for people
    uint32_t wake_seq; // a futex: all threads of the process that wait for objects sleep on it
    uint8_t pad[40];
    uint32_t came;   // when the client was given the slot, in the unit of ray__origin
} ray__slot;

typedef struct ray__bucket {
    uint32_t seq; // moves when an object of this bucket may have settled while somebody waited
    uint32_t pad0;
    uint64_t waiting[RAY__SLOT_WORDS]; // a bit for each slot that waits for an object of this bucket
    uint8_t pad1[16];
} ray__bucket;

typedef struct ray__entry {
    uint64_t id_words[3];
    uint32_t id_tail;
    uint32_t metadata_size;
    uint64_t state;
    uint64_t place;
    uint64_t data_size;
    uint64_t access;
    uint64_t pins[RAY__CLIENT_WORDS]; // a bit a client; the node's is in the state word
    uint64_t refs[RAY__CLIENT_WORDS];
} ray__entry;

// Where a slot's pin and ref of an entry are: a word, and the bit in it. Words are counted from the entry's start.
typedef struct ray__mark {
    uint32_t word;
    uint64_t bit;
} ray__mark;

static inline ray__mark ray__mark_of(uint32_t slot, size_t bitmap_offset, uint64_t node_flag) {
    if (slot == RAY_NODE_SLOT) {
        return (ray__mark){offsetof(ray__entry, state) / 8, node_flag};
    }
    return (ray__mark){(uint32_t)(bitmap_offset / 8) + (slot - 1) / 64, 1ull << (slot - 1) % 64};
}

static inline ray__mark ray__pin_of(uint32_t slot) {
    return ray__mark_of(slot, offsetof(ray__entry, pins), RAY__FLAG_NODE_PIN);
}

static inline ray__mark ray__ref_of(uint32_t slot) {
    return ray__mark_of(slot, offsetof(ray__entry, refs), RAY__FLAG_NODE_REF);
}

static inline uint64_t *ray__mark_word(ray__entry *entry, ray__mark mark) {
    return (uint64_t *)(void *)entry + mark.word;
}

// Who made an entry and when, apart from it: nothing but the accounting reads this, and the entry has no room.
typedef struct ray__origin {
    uint32_t created; // tenths of a second of the monotonic clock, which begins with the machine
    uint32_t pid;     // of the creator, as the node was told; 0: not known
} ray__origin;

#define RAY__ORIGIN_TENTH_NS 100000000u

#define RAY__NO_BLOCK UINT32_MAX
#define RAY__BLOCK_USED (UINT32_MAX - 1u)
#define RAY__BLOCK_CACHED (UINT32_MAX - 2u)

// One run of units, free or used. The blocks in use can be made again from the table, the free ones from what is between.
typedef struct ray__block {
    uint64_t offset; // units
    uint64_t size;   // units
    uint32_t before; // the neighbours in the segment
    uint32_t after;
    uint32_t next_free; // of a used block: the entry that owns it; of an unused descriptor: the next unused one
    uint32_t previous_free; // of a used block: RAY__BLOCK_USED; of a cached one: RAY__BLOCK_CACHED
} ray__block;

// Free lists by size: 32 linear classes within each power of two.
#define RAY__CLASS_BITS 5u
#define RAY__CLASSES (1u << RAY__CLASS_BITS)
#define RAY__CLASS_ROWS 40u

// Small blocks that a slot's client has freed and keeps for its next creates: a list by next_free, the last freed first.
typedef struct ray__cache {
    uint32_t head;
    uint32_t count;
} ray__cache;

typedef struct ray__arena {
    uint64_t capacity;   // units
    uint64_t used;       // units
    uint32_t first;      // the block at offset 0
    uint32_t unused;     // list of descriptors that were used before
    uint32_t fresh;      // descriptors from here on were never used
    uint32_t block_count;
    uint64_t row_bitmap; // rows that have a free block
    uint64_t free;       // units in the free lists
    uint64_t small_free; // of these, in blocks that cannot take an object of 1 MiB
    uint32_t free_count; // blocks in the free lists
    uint32_t cached_count; // blocks in the caches
    uint32_t class_bitmap[RAY__CLASS_ROWS];
    uint32_t heads[RAY__CLASS_ROWS][RAY__CLASSES];
    uint64_t cached; // units in the caches
    ray__cache caches[RAY_SLOTS_MAX]; // by slot
} ray__arena;

static_assert(sizeof(ray__header) == 384, "header");
static_assert(offsetof(ray__header, poisoned) == 64, "read-only fields have the first line");
static_assert(offsetof(ray__header, reserved_bytes) == 128, "line");
static_assert(offsetof(ray__header, lock) == 192, "line");
static_assert(offsetof(ray__header, room_pass) == 248, "what a create looks at with the lock held lies beside the lock");
static_assert(offsetof(ray__header, tick) == 256, "line");
static_assert(offsetof(ray__header, attention_seq) == 320, "line");
static_assert(sizeof(ray__slot) == 64, "a line each");
static_assert(sizeof(ray__bucket) == 64, "a line each");
static_assert(sizeof(ray__entry) == 128, "two lines each");
static_assert(offsetof(ray__entry, state) == 32, "state");
static_assert(offsetof(ray__entry, pins) == 64, "a lookup needs the first line only");
static_assert(offsetof(ray__entry, refs) == 96, "refs");
static_assert(RAY__CREATOR_MASK >> RAY__CREATOR_SHIFT >= RAY_CLIENTS_MAX, "every slot can be a creator");
static_assert(sizeof(ray__block) == 32, "two a line");
static_assert(sizeof(ray__origin) == 8, "one store");
static_assert(offsetof(ray__arena, class_bitmap) == 64, "the sums have a line");
static_assert(sizeof(ray_object_id) == 28, "three words and a half");

// ---- where the parts are -----------------------------------------------------------------------------------------------

// Derived from three numbers, by the maker and by everybody who attaches; never read from the segment.
typedef struct ray__layout {
    uint64_t capacity;
    uint32_t entry_count_max;
    uint32_t table_size;
    uint32_t block_count;
    uint32_t attention_words[3]; // in each level, a bit an entry, a bit a word, a bit a word of those
    uint64_t slots_offset;
    uint64_t buckets_offset;
    uint64_t attention_offset[3];
    uint64_t used_offset;   // a bit an entry: set while it is in use
    uint64_t sealed_offset; // RAY__SEALED_RING words: bits 0-31 entry, 32-63 how many were sealed up to this one
    uint64_t arena_offset;
    uint64_t blocks_offset;
    uint64_t origins_offset;
    uint64_t table_offset;
    uint64_t meta_size;
} ray__layout;

void ray__layout_make(uint64_t capacity, uint32_t entry_count_max, ray__layout *layout);

// Changes with every size, offset or meaning above.
uint64_t ray__layout_signature(void);

// Fills the zeroed meta segment of a new store.
ray_status ray__layout_write(const ray__layout *layout, void *meta);

// Checks what another process made and derives where its parts are. The sizes are those of the segments.
ray_status ray__layout_read(const void *meta, uint64_t meta_size, uint64_t data_size, ray__layout *layout);

#endif
