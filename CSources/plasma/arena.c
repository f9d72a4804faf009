// SPDX-License-Identifier: Apache-2.0
// Two-level segregated fit (Masmano, Ripoll, Crespo, Real 2004): a row for each power of two, 32 classes in it, two levels of
// bitmaps to find the first class that surely fits. Take and give are a fixed number of steps, and a block is split exactly, so that
// its size follows from the object's sizes and the whole state can be made again from the table.
#include "plasma/arena_internal.h"

#include <stdlib.h>
#include <string.h>

// From here on memory that is used already is looked for; below, touching new memory costs less than looking.
#define FREED_UNITS ((64u << 10) / RAY__UNIT)
#define FREED_LOOKS 4
#define LARGEST_STEPS 1024u // free blocks of one class that are compared: the lock is held meanwhile

typedef struct cursor {
    ray__arena *arena;
    ray__block *blocks;
    uint32_t block_count; // these two from the layout, not from the segment
    uint64_t capacity;
    bool damaged;
    ray__block nowhere; // what a number that points nowhere is taken for
} cursor;

static void cursor_begin(ray_store *store, cursor *c) {
    c->arena = store->arena;
    c->blocks = store->blocks;
    c->block_count = store->layout.block_count;
    c->capacity = store->layout.capacity / RAY__UNIT;
    c->damaged = false;
    memset(&c->nowhere, 0, sizeof c->nowhere);
}

static ray__block *block_at(cursor *c, uint32_t index) {
    if (index < c->block_count) {
        return &c->blocks[index];
    }
    c->damaged = true;
    return &c->nowhere;
}

// Whether nothing free may be joined with it. Nobody's cached block is in a free list.
static bool is_used(const ray__block *block) {
    return block->previous_free == RAY__BLOCK_USED || block->previous_free == RAY__BLOCK_CACHED;
}

void ray__arena_class(uint64_t units, uint32_t *row, uint32_t *column) {
    if (units < RAY__CLASSES) {
        *row = 0;
        *column = (uint32_t)units;
        return;
    }
    uint32_t log = 63u - (uint32_t)__builtin_clzll(units);
    *row = log - RAY__CLASS_BITS + 1;
    *column = (uint32_t)(units >> (log - RAY__CLASS_BITS)) - RAY__CLASSES;
}

// Its class. False for a size that no store has: there is no list for it.
static bool class_of(cursor *c, const ray__block *block, uint32_t *row, uint32_t *column) {
    ray__arena_class(block->size, row, column);
    c->damaged = c->damaged || *row >= RAY__CLASS_ROWS;
    return *row < RAY__CLASS_ROWS;
}

static uint64_t align_up(uint64_t value, uint64_t alignment) {
    return (value + alignment - 1) / alignment * alignment;
}

void ray__arena_count_free(ray__arena *arena, const ray__block *block, bool add) {
    uint64_t pad = align_up(block->offset, RAY__PAGE / RAY__UNIT) - block->offset;
    uint64_t small = block->size < pad + RAY__LARGE_BYTES / RAY__UNIT ? block->size : 0;
    arena->free += add ? block->size : -block->size;
    arena->small_free += add ? small : -small;
    arena->free_count += add ? 1u : -1u;
}

static void list_add(cursor *c, uint32_t index) {
    ray__block *block = block_at(c, index);
    uint32_t row;
    uint32_t column;
    if (!class_of(c, block, &row, &column)) {
        return;
    }
    uint32_t head = c->arena->heads[row][column];
    block->next_free = head;
    block->previous_free = RAY__NO_BLOCK;
    if (head != RAY__NO_BLOCK) {
        block_at(c, head)->previous_free = index;
    }
    c->arena->heads[row][column] = index;
    c->arena->class_bitmap[row] |= 1u << column;
    c->arena->row_bitmap |= 1ull << row;
    ray__arena_count_free(c->arena, block, true);
}

static void list_remove(cursor *c, uint32_t index) {
    ray__block *block = block_at(c, index);
    uint32_t row;
    uint32_t column;
    if (!class_of(c, block, &row, &column)) {
        return;
    }
    ray__arena_count_free(c->arena, block, false);
    if (block->next_free != RAY__NO_BLOCK) {
        block_at(c, block->next_free)->previous_free = block->previous_free;
    }
    if (block->previous_free != RAY__NO_BLOCK) {
        block_at(c, block->previous_free)->next_free = block->next_free;
        return;
    }
    c->arena->heads[row][column] = block->next_free;
    if (block->next_free == RAY__NO_BLOCK) {
        c->arena->class_bitmap[row] &= ~(1u << column);
        if (c->arena->class_bitmap[row] == 0) {
            c->arena->row_bitmap &= ~(1ull << row);
        }
    }
}

static uint32_t descriptor_take(cursor *c) {
    ray__arena *arena = c->arena;
    if (arena->unused != RAY__NO_BLOCK) {
        uint32_t index = arena->unused;
        arena->unused = block_at(c, index)->next_free;
        return index;
    }
    if (arena->fresh >= c->block_count) {
        c->damaged = true; // there are enough for every state the arena can be in
        return RAY__NO_BLOCK;
    }
    return arena->fresh++;
}

static void descriptor_give(cursor *c, uint32_t index) {
    block_at(c, index)->next_free = c->arena->unused;
    c->arena->unused = index;
}

void ray__arena_begin(ray_store *store) {
    ray__arena *arena = store->arena;
    memset(arena, 0, sizeof *arena);
    memset(arena->heads, 0xff, sizeof arena->heads);
    arena->capacity = store->layout.capacity / RAY__UNIT;
    arena->block_count = store->layout.block_count;
    arena->unused = RAY__NO_BLOCK;
    arena->first = 0;
    arena->fresh = 1;
    store->blocks[0] = (ray__block){0, arena->capacity, RAY__NO_BLOCK, RAY__NO_BLOCK, RAY__NO_BLOCK, RAY__NO_BLOCK};
    cursor c;
    cursor_begin(store, &c);
    list_add(&c, 0);
    ray__arena_caches_begin(arena);
}

// The head of the first class all of whose blocks have this many units at least.
static uint32_t find_surely(cursor *c, uint64_t units) {
    if (units >= RAY__CLASSES) {
        units += (1ull << (63u - (uint32_t)__builtin_clzll(units) - RAY__CLASS_BITS)) - 1;
    }
    uint32_t row;
    uint32_t column;
    ray__arena_class(units, &row, &column);
    if (row >= RAY__CLASS_ROWS) {
        return RAY__NO_BLOCK;
    }
    uint32_t columns = c->arena->class_bitmap[row] & (~0u << column);
    if (columns == 0) {
        uint64_t rows = c->arena->row_bitmap & (~1ull << row);
        if (rows == 0) {
            return RAY__NO_BLOCK;
        }
        row = (uint32_t)__builtin_ctzll(rows);
        columns = row < RAY__CLASS_ROWS ? c->arena->class_bitmap[row] : 0;
        if (columns == 0) {
            c->damaged = true;
            return RAY__NO_BLOCK;
        }
    }
    return c->arena->heads[row][__builtin_ctz(columns)];
}

// Among the blocks of the size's own class that were freed last, one that fits. find_surely passes them over, because some of that
// class are smaller: then who frees and makes objects of one size gets memory never used before each time.
static uint32_t find_freed(cursor *c, uint64_t units, uint64_t alignment) {
    uint32_t row;
    uint32_t column;
    ray__arena_class(units, &row, &column);
    if (row >= RAY__CLASS_ROWS) {
        return RAY__NO_BLOCK;
    }
    uint32_t index = c->arena->heads[row][column];
    for (int looks = 0; looks < FREED_LOOKS && index != RAY__NO_BLOCK; looks++) {
        const ray__block *block = block_at(c, index);
        uint64_t pad = align_up(block->offset, alignment) - block->offset;
        if (block->size >= pad + units) {
            return index;
        }
        index = block->next_free;
    }
    return RAY__NO_BLOCK;
}

// A nearly full arena: looks at each block of the classes that may or may not fit, so that what is free is not refused.
static uint32_t find_exactly(cursor *c, uint64_t units, uint64_t alignment) {
    uint32_t row;
    uint32_t column;
    uint32_t last_row;
    uint32_t last_column;
    ray__arena_class(units, &row, &column);
    ray__arena_class(units + alignment - 1, &last_row, &last_column);
    uint32_t steps = 0;
    while (row < RAY__CLASS_ROWS && (row < last_row || (row == last_row && column <= last_column))) {
        uint32_t index = c->arena->heads[row][column];
        while (index != RAY__NO_BLOCK && !c->damaged) {
            const ray__block *block = block_at(c, index);
            uint64_t pad = align_up(block->offset, alignment) - block->offset;
            if (block->size >= pad + units) {
                return index;
            }
            index = block->next_free;
            if (++steps > c->block_count) {
                c->damaged = true;
            }
        }
        column++;
        if (column == RAY__CLASSES) {
            column = 0;
            row++;
        }
    }
    return RAY__NO_BLOCK;
}

// Cuts a block that is in no list in two; answers the second part.
static uint32_t split(cursor *c, uint32_t index, uint64_t units) {
    uint32_t rest = descriptor_take(c);
    ray__block *block = block_at(c, index);
    ray__block *cut = block_at(c, rest);
    if (c->damaged) {
        return RAY__NO_BLOCK;
    }
    cut->offset = block->offset + units;
    cut->size = block->size - units;
    cut->before = index;
    cut->after = block->after;
    if (block->after != RAY__NO_BLOCK) {
        block_at(c, block->after)->before = rest;
    }
    block->after = rest;
    block->size = units;
    return rest;
}

bool ray__arena_cut(ray_store *store, uint64_t units, uint32_t entry, uint64_t *place, bool *damaged) {
    cursor c;
    cursor_begin(store, &c);
    uint64_t alignment = units >= RAY__LARGE_BYTES / RAY__UNIT ? RAY__PAGE / RAY__UNIT : 1;
    uint32_t index = units >= FREED_UNITS ? find_freed(&c, units, alignment) : RAY__NO_BLOCK;
    if (index == RAY__NO_BLOCK) {
        index = find_surely(&c, units + alignment - 1);
    }
    if (index == RAY__NO_BLOCK) {
        index = find_exactly(&c, units, alignment);
    }
    if (index == RAY__NO_BLOCK || c.damaged) {
        *damaged = c.damaged;
        return false;
    }
    RAY_CRASH_POINT();
    list_remove(&c, index);
    uint64_t pad = align_up(block_at(&c, index)->offset, alignment) - block_at(&c, index)->offset;
    if (pad != 0) {
        uint32_t front = index;
        index = split(&c, front, pad);
        list_add(&c, front);
        RAY_CRASH_POINT();
    }
    ray__block *block = block_at(&c, index);
    if (block->size > units) {
        uint32_t rest = split(&c, index, units);
        RAY_CRASH_POINT();
        list_add(&c, rest);
    } else if (block->size < units) {
        c.damaged = true;
    }
    // What the caller writes into must lie in the data segment, whatever the descriptor says.
    c.damaged = c.damaged || units > c.capacity || block->offset > c.capacity - units;
    block->previous_free = RAY__BLOCK_USED;
    block->next_free = entry;
    c.arena->used += units;
    *place = ray__place_make(block->offset, index);
    *damaged = c.damaged;
    return !c.damaged;
}

// Appends the free block `next`, which is in no list, to the block before it.
static void absorb(cursor *c, uint32_t index, uint32_t next) {
    ray__block *block = block_at(c, index);
    const ray__block *gone = block_at(c, next);
    block->size += gone->size;
    block->after = gone->after;
    if (block->after != RAY__NO_BLOCK) {
        block_at(c, block->after)->before = index;
    }
    descriptor_give(c, next);
}

bool ray__arena_join(ray_store *store, uint64_t place) {
    cursor c;
    cursor_begin(store, &c);
    uint32_t index = ray__place_block(place);
    ray__block *block = block_at(&c, index);
    if (c.damaged || block->previous_free != RAY__BLOCK_USED || block->offset != ray__place_offset(place) || block->size > c.arena->used) {
        return false;
    }
    c.arena->used -= block->size;
    RAY_CRASH_POINT();
    uint32_t after = block->after;
    if (after != RAY__NO_BLOCK && !is_used(block_at(&c, after))) {
        list_remove(&c, after);
        absorb(&c, index, after);
    }
    RAY_CRASH_POINT();
    uint32_t before = block->before;
    if (before != RAY__NO_BLOCK && !is_used(block_at(&c, before))) {
        list_remove(&c, before);
        absorb(&c, before, index);
        index = before;
    }
    RAY_CRASH_POINT();
    list_add(&c, index);
    return !c.damaged;
}

bool ray__arena_has_free(ray_store *store, uint64_t units, bool *damaged) {
    cursor c;
    cursor_begin(store, &c);
    bool has = find_surely(&c, units) != RAY__NO_BLOCK || find_exactly(&c, units, 1) != RAY__NO_BLOCK;
    *damaged = c.damaged;
    return has;
}

uint64_t ray__arena_largest_free(ray_store *store) {
    cursor c;
    cursor_begin(store, &c);
    uint64_t largest = 0;
    if (c.arena->row_bitmap == 0) {
        return 0;
    }
    uint32_t row = 63u - (uint32_t)__builtin_clzll(c.arena->row_bitmap);
    if (row >= RAY__CLASS_ROWS || c.arena->class_bitmap[row] == 0) {
        return 0;
    }
    uint32_t index = c.arena->heads[row][31u - (uint32_t)__builtin_clz(c.arena->class_bitmap[row])];
    for (uint32_t steps = 0; index != RAY__NO_BLOCK && steps < LARGEST_STEPS && !c.damaged; steps++) {
        const ray__block *block = block_at(&c, index);
        largest = block->size > largest ? block->size : largest;
        index = block->next_free;
    }
    return largest * RAY__UNIT;
}
