// SPDX-License-Identifier: Apache-2.0
// An explicit-state model of the object table's protocol: every interleaving of a few threads, each step one access to shared
// memory (sequentially consistent), and a client that may die before any of them. docs/MODEL.md says what is left out.
//
// A thread is a stack of frames; a frame is a function, where it stands in it and a few small numbers. So a state of the whole
// world is plain bytes: it is copied to try a step and hashed to know whether it was seen. STEP gives way to the scheduler
// and then does what follows it, up to the next STEP; its text names the function of the core that it stands for.
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

// ---- the world -----------------------------------------------------------------------------------------------------------

enum { THREADS = 5, FRAMES = 12, SLOTS = 4, BLOCKS = 2, OPS = 4, NO_BLOCK = 7, DEAD_OWNER = 255 };
enum { EMPTY, CREATING, SEALED, REMOTE, FAILED, DELETING };
enum { COUNTED = 8, WATCHED = 16, DOOMED = 32, FLAGS = 56 }; // a state word: 3 bits state, 3 flags, 3 creator, 4 generation
enum { OK, NOT_FOUND, NOT_YET, ENDED, AGAIN };               // what a get may answer

typedef struct frame {
    uint16_t pc;
    uint16_t fn;
    uint16_t v[6];
} frame;

typedef struct thread {
    uint16_t depth;
    uint16_t ret; // what the last call answered
    uint8_t op;   // which of its operations it is at
    uint8_t asleep; // 1 in the bucket, 2 in the node's attention
    uint8_t writes; // ghost: generation that it may write, 0 none
    uint8_t pad;
    frame stack[FRAMES];
} thread;

typedef struct process {
    uint8_t alive, reaped, locked, pins; // pins, refs and locked are the word of private counts
    uint8_t refs, pin_gen, ref_gen, given; // ghosts, for the invariants; given: the node set the bit for it
} process;

typedef struct world {
    // shared memory
    uint16_t word;
    uint8_t id, place, failure, pins, refs;
    uint8_t arena; // a bit a block in use
    uint8_t content[BLOCKS]; // what lies in it: id and generation; 0 is nobody's
    uint8_t lock, waiting, seq, attention[3], attention_seq, serial[SLOTS];
    // the rest
    uint8_t deaths, alone; // alone: ghost, the node has not looked since only it had a ref
    uint8_t pad;
    process processes[SLOTS];
    thread threads[THREADS];
} world;

typedef struct op {
    uint8_t code, id, slot;
} op;

enum { END_OP, GET, GET_WAIT, PUT, PUT_REF, ABORT, DELETE, TAKE, DROP, EVICT, WATCH, ADOPT, DISOWN, REF_FOR, ATTEND, REAP };

typedef struct scenario {
    const char *name;
    int size; // 1 small, 2 only in the full run, 3 open: the core as it is fails it (see run)
    uint8_t deaths, state, flags, refs; // the entry at the start, with id 1 and generation 1
    struct {
        uint8_t slot;
        op ops[OPS];
    } threads[THREADS];
} scenario;

static const scenario *plan;
static const char *broken = "";
static const char *at;           // the step under way
static const char *violation;    // the first invariant that did not hold
static bool shared_counts[SLOTS]; // more than one thread of the process uses its private counts

static bool is_broken(const char *name) {
    return strcmp(broken, name) == 0;
}

static void claim(bool holds, const char *what) {
    if (!holds && violation == NULL) {
        violation = what;
    }
}

static unsigned state_of(unsigned word) {
    return word & 7u;
}

static unsigned creator_of(unsigned word) {
    return word >> 6 & 7u;
}

static unsigned generation_of(unsigned word) {
    return word >> 9 & 15u;
}

static bool has_block(unsigned state) {
    return state == CREATING || state == SEALED || state == DELETING;
}

static void move(world *w, unsigned state, unsigned clear, unsigned set) {
    w->word = (uint16_t)((((w->word & ~7u) | state) & ~clear) | set);
}

// Refs change here alone, so that the ghost "only the node is left, and has not seen it" is right.
static void set_refs(world *w, unsigned refs) {
    bool was = (w->refs & ~1u) != 0 && (w->refs & 1u) != 0;
    w->refs = (uint8_t)refs;
    w->alone = refs != 1 ? 0 : was ? 1 : w->alone;
}

static void give_block(world *w, unsigned place) {
    if (place != NO_BLOCK) {
        claim((w->arena >> place & 1u) != 0, "a block is given back twice");
        w->arena &= (uint8_t)~(1u << place);
        w->content[place] = 0;
    }
}

static void wake(world *w, uint8_t where) {
    for (int i = 0; i < THREADS; i++) {
        if (w->threads[i].asleep == where) {
            w->threads[i].asleep = 0;
        }
    }
}

// ---- the machine ---------------------------------------------------------------------------------------------------------

enum { PAUSED, SWITCHED, BLOCKED };
enum {
    F_RUN, F_FIND, F_VERDICT, F_LOCK, F_TRY_GET, F_GET, F_WAIT, F_PIN, F_UNPIN, F_PIN_CLEARED, F_REF_TAKE, F_REF_DROP, F_REF_CLEARED,
    F_CREATE, F_SEAL, F_ABORT, F_FINISH, F_KEEP, F_END, F_FORGET, F_WAKE, F_ATTENTION, F_DELETE, F_ACQUIRE, F_EVICT, F_WATCH,
    F_ADOPT, F_DISOWN, F_REF_FOR, F_ATTEND, F_END_WATCH, F_REAP, F_SWEEP, F_PINS_ANY, F_REFS_ANY, F_ONLY_NODE, FUNCTIONS
};

typedef int function(world *w, int t, frame *f);

static void push(world *w, int t, int fn, unsigned a, unsigned b) {
    thread *me = &w->threads[t];
    if (me->depth == FRAMES) {
        fprintf(stderr, "model: too deep at %s\n", at);
        exit(2);
    }
    me->stack[me->depth++] = (frame){0, (uint16_t)fn, {(uint16_t)a, (uint16_t)b}};
}

static int pop(world *w, int t, unsigned ret) {
    thread *me = &w->threads[t];
    me->stack[--me->depth] = (frame){0};
    me->ret = (uint16_t)ret;
    return SWITCHED;
}

// Jumps to where the frame stands; what is between two STEPs happens at once.
#define BEGIN switch (f->pc) { case 0:
#define END } return pop(w, t, 0)
#define STEP(where) do { f->pc = (uint16_t)__LINE__; return PAUSED; case __LINE__: at = (where); } while (0)
#define CALL(fn, a, b) do { f->pc = (uint16_t)__LINE__; push(w, t, (fn), (a), (b)); return SWITCHED; case __LINE__:; } while (0)
#define RETURN(x) return pop(w, t, (x))
#define RET (w->threads[t].ret)
#define A (f->v[0])
#define B (f->v[1])
#define C (f->v[2])
#define D (f->v[3])
#define E (f->v[4])
#define SLOT ((unsigned)plan->threads[t].slot)
#define BIT (1u << SLOT)
#define ME (w->processes[SLOT])
#define UNLOCK() do { STEP("lock.c:ray__store_unlock gives the lock"); w->lock = 0; } while (0)
// The spin bit of the private count; nobody else sees it when the process has one thread.
#define COUNT_LOCK(where)                                             \
    do {                                                              \
        if (shared_counts[SLOT]) {                                    \
            STEP(where);                                              \
            if (ME.locked != 0 && !is_broken("count-no-lock")) {      \
                return BLOCKED;                                       \
            }                                                         \
            ME.locked = 1;                                            \
        }                                                             \
    } while (0)
#define COUNT_UNLOCK(where) do { if (shared_counts[SLOT]) { STEP(where); } ME.locked = 0; } while (0)

// ---- lock.c, rebuild.c ---------------------------------------------------------------------------------------------------

static int f_lock(world *w, int t, frame *f) {
    BEGIN
    STEP("lock.c:ray__store_lock takes the lock");
    if (w->lock != 0 && w->lock != DEAD_OWNER) {
        return BLOCKED;
    }
    if (w->lock == 0) {
        w->lock = (uint8_t)(t + 1);
        RETURN(0);
    }
    w->lock = (uint8_t)(t + 1);
    if (is_broken("lock-no-repair")) {
        RETURN(0);
    }
    STEP("lock.c:repair ends a half-done eviction");
    if (state_of(w->word) == DELETING && w->failure == 0) {
        if ((w->word & DOOMED) != 0) {
            w->failure = 1;
        } else {
            move(w, SEALED, 0, 0);
        }
    }
    STEP("rebuild.c:ray__arena_rebuild makes the allocator from the table");
    {
        unsigned own = has_block(state_of(w->word)) && w->place != NO_BLOCK ? 1u << w->place : 0;
        for (unsigned b = 0; b < BLOCKS; b++) {
            w->content[b] = (own >> b & 1u) != 0 ? w->content[b] : 0;
        }
        w->arena = (uint8_t)own;
    }
    END;
}

// ---- table.c, get.c ------------------------------------------------------------------------------------------------------

// Answers the state word, 0 if the id is not there.
static int f_find(world *w, int t, frame *f) {
    BEGIN
    STEP("table.c:ray__table_find reads the state");
    B = w->word;
    while (state_of(B) != EMPTY) {
        STEP("table.c:ray__table_find compares the id");
        if (w->id != A) {
            break;
        }
        STEP("table.c:ray__table_find reads the state again");
        if (state_of(w->word) != EMPTY && (is_broken("find-no-generation") || generation_of(w->word) == generation_of(B))) {
            RETURN(w->word);
        }
        B = w->word;
    }
    END;
}

static int f_verdict(world *w, int t, frame *f) {
    BEGIN
    if (state_of(A) == SEALED) {
        RETURN(OK);
    }
    if ((state_of(A) == CREATING && (A & DOOMED) == 0) || state_of(A) == REMOTE) {
        RETURN(NOT_YET);
    }
    if (state_of(A) == EMPTY) {
        RETURN(AGAIN);
    }
    STEP("get.c:ray__entry_verdict reads the failure");
    B = w->failure;
    STEP("get.c:ray__entry_verdict reads the state again");
    RETURN(B == 0 || w->word != A ? AGAIN : ENDED);
    END;
}

// A: id. When it answers OK the object was read and is still pinned.
static int f_try_get(world *w, int t, frame *f) {
    BEGIN
    for (;;) {
        CALL(F_FIND, A, 0);
        if (RET == 0) {
            RETURN(NOT_FOUND);
        }
        B = RET;
        CALL(F_VERDICT, B, 0);
        if (RET == OK) {
            CALL(F_PIN, B, 0);
            if (RET != 0) {
                break;
            }
        } else if (RET == AGAIN) {
            CALL(F_LOCK, 0, 0);
            UNLOCK();
        } else {
            RETURN(RET);
        }
        B = 0;
    }
    STEP("get.c:fill_view reads the place");
    C = w->place;
    STEP("the reader reads the bytes");
    claim(C < BLOCKS && w->content[C] == ((unsigned)A << 4 | generation_of(B)), "a pinned object's memory was freed or is another's");
    RETURN(OK);
    END;
}

// A: id, B: whether to wait. Ends with the release.
static int f_get(world *w, int t, frame *f) {
    BEGIN
    CALL(F_TRY_GET, A, 0);
    C = RET;
    if (B != 0 && (C == NOT_FOUND || C == NOT_YET)) {
        CALL(F_WAIT, A, 0);
        C = RET;
    }
    if (C == OK) {
        CALL(F_UNPIN, 0, 0);
    }
    END;
}

static int f_wait(world *w, int t, frame *f) {
    BEGIN
    if (!is_broken("wait-bit-late")) {
        STEP("wait.c:ray__wait_enter sets its waiting bit");
        w->waiting |= (uint8_t)BIT;
    }
    for (;;) {
        if (!is_broken("wait-seq-late")) {
            STEP("get.c:wait_and_get reads its slot's number");
            B = w->seq;
        }
        CALL(F_TRY_GET, A, 0);
        C = RET;
        if (C != NOT_FOUND && C != NOT_YET) {
            break;
        }
        if (is_broken("wait-bit-late")) {
            STEP("wait.c:ray__wait_enter sets its waiting bit");
            w->waiting |= (uint8_t)BIT;
        }
        if (is_broken("wait-seq-late")) {
            STEP("get.c:wait_and_get reads its slot's number");
            B = w->seq;
        }
        STEP("get.c:wait_and_get sleeps on its slot's number");
        if (w->seq == B) {
            w->threads[t].asleep = 1;
            STEP("get.c:wait_and_get wakes up");
            if (w->threads[t].asleep != 0) {
                return BLOCKED;
            }
        }
    }
    STEP("wait.c:ray__wait_leave clears its waiting bit");
    w->waiting &= (uint8_t)~BIT;
    RETURN(C);
    END;
}

// ---- pins.c --------------------------------------------------------------------------------------------------------------

// The node's bits are in the state word, the clients' in the bitmaps: two looks.
static int f_pins_any(world *w, int t, frame *f) {
    BEGIN
    STEP("pins.c:ray__pins_any reads the node's pin");
    if ((w->pins & 1u) != 0) {
        RETURN(1);
    }
    STEP("pins.c:ray__pins_any reads the clients' pins");
    RETURN((w->pins & ~1u) != 0);
    END;
}

static int f_refs_any(world *w, int t, frame *f) {
    BEGIN
    STEP("pins.c:ray__refs_any reads the node's ref");
    if ((w->refs & 1u) != 0) {
        RETURN(1);
    }
    STEP("pins.c:ray__refs_any reads the clients' refs");
    RETURN((w->refs & ~1u) != 0);
    END;
}

static int f_only_node(world *w, int t, frame *f) {
    BEGIN
    STEP("pins.c:ray__refs_only_node reads the node's ref");
    if ((w->refs & 1u) == 0) {
        RETURN(0);
    }
    STEP("pins.c:ray__refs_only_node reads the clients' refs");
    RETURN((w->refs & ~1u) == 0);
    END;
}

static bool sealed_as_seen(const world *w, unsigned seen) {
    return state_of(w->word) == SEALED && generation_of(w->word) == generation_of(seen);
}

static int f_pin(world *w, int t, frame *f) {
    BEGIN
    if (shared_counts[SLOT]) {
        STEP("pins.c:count_add adds a pin to those there are");
        if (ME.locked == 0 && ME.pins != 0) {
            ME.pins++;
            STEP("pins.c:is_sealed_as_seen reads the state");
            if (sealed_as_seen(w, A)) {
                RETURN(1);
            }
            CALL(F_UNPIN, 0, 0);
            RETURN(0);
        }
    }
    COUNT_LOCK("pins.c:ray__pin locks the count");
    if (ME.pins == 0) {
        STEP("pins.c:ray__pin sets its bit");
        w->pins |= (uint8_t)BIT;
    }
    STEP("pins.c:is_sealed_as_seen reads the state");
    if (sealed_as_seen(w, A) || is_broken("pin-no-look")) {
        if (ME.pins == 0) {
            ME.pin_gen = (uint8_t)generation_of(A);
        }
        B = 1;
    }
    if (B == 0 && ME.pins == 0) {
        STEP("pins.c:ray__pin clears its bit again");
        w->pins &= (uint8_t)~BIT;
        C = 1;
    }
    ME.pins = (uint8_t)(ME.pins + B);
    COUNT_UNLOCK("pins.c:ray__pin unlocks the count");
    if (C != 0) {
        CALL(F_PIN_CLEARED, 0, 0);
    }
    RETURN(B);
    END;
}

static int f_unpin(world *w, int t, frame *f) {
    BEGIN
    COUNT_LOCK("pins.c:ray__unpin locks the count");
    if (ME.pins != 1) {
        ME.pins--;
        COUNT_UNLOCK("pins.c:ray__unpin unlocks the count");
        RETURN(1);
    }
    STEP("pins.c:ray__unpin clears its bit");
    w->pins &= (uint8_t)~BIT;
    ME.pins = 0;
    ME.pin_gen = 0;
    COUNT_UNLOCK("pins.c:ray__unpin unlocks the count");
    CALL(F_PIN_CLEARED, 0, 0);
    END;
}

static int f_pin_cleared(world *w, int t, frame *f) {
    BEGIN
    if (is_broken("unpin-no-finish")) {
        RETURN(0);
    }
    STEP("pins.c:ray__pin_cleared reads the state");
    if (state_of(w->word) != DELETING) {
        RETURN(0);
    }
    CALL(F_PINS_ANY, 0, 0);
    if (RET != 0) {
        RETURN(0);
    }
    CALL(F_LOCK, 0, 0);
    STEP("pins.c:ray__pin_cleared reads the state under the lock");
    if (state_of(w->word) == DELETING) {
        CALL(F_PINS_ANY, 0, 0);
        if (RET == 0) {
            CALL(F_FINISH, FAILED, 0);
        }
    }
    UNLOCK();
    END;
}

// A: the word that was seen.
static int f_ref_take(world *w, int t, frame *f) {
    BEGIN
    // The old order of an entry's end is only seen by a take that does not hold the lock, as it was then.
    if (!is_broken("take-without-lock") && !is_broken("finish-old-order")) {
        // Proposed: the process's first ref is taken under the lock, so that no bit need ever be taken back.
        STEP("(proposed) ray__ref_take reads whether its bit is set");
        E = (w->refs & BIT) == 0;
        if (E != 0) {
            CALL(F_LOCK, 0, 0);
        }
    }
    COUNT_LOCK("pins.c:ray__ref_take locks the count");
    if (E != 0) {
        STEP("(proposed) ray__ref_take reads the state under the lock");
        if (state_of(w->word) == EMPTY || state_of(w->word) == DELETING || generation_of(w->word) != generation_of(A)) {
            COUNT_UNLOCK("pins.c:ray__ref_take unlocks the count");
            UNLOCK();
            RETURN(0);
        }
    }
    STEP("pins.c:ray__ref_take sets its bit");
    B = (w->refs & BIT) != 0;
    set_refs(w, w->refs | BIT);
    STEP("pins.c:is_alive_as_seen reads the state");
    C = w->word;
    for (;;) {
        if (state_of(C) == EMPTY || state_of(C) == DELETING || generation_of(C) != generation_of(A)) {
            D = 0;
            break;
        }
        D = 1;
        if ((C & COUNTED) != 0) {
            break;
        }
        STEP("pins.c:is_alive_as_seen sets COUNTED");
        if (w->word == C) {
            w->word = (uint16_t)(C | COUNTED);
            break;
        }
        C = w->word;
    }
    C = 0;
    if (D != 0) {
        ME.refs++;
        ME.ref_gen = (uint8_t)generation_of(A);
    } else if (B == 0) {
        STEP("pins.c:ray__ref_take clears its bit again");
        set_refs(w, w->refs & ~BIT);
        C = 1;
    }
    COUNT_UNLOCK("pins.c:ray__ref_take unlocks the count");
    if (E != 0) {
        UNLOCK();
    }
    if (C != 0) {
        CALL(F_REF_CLEARED, 0, 0);
    }
    RETURN(D);
    END;
}

// A: all of them
static int f_ref_drop(world *w, int t, frame *f) {
    BEGIN
    COUNT_LOCK("pins.c:ray__ref_drop locks the count");
    if (ME.refs > 1 && A == 0) {
        ME.refs--;
        COUNT_UNLOCK("pins.c:ray__ref_drop unlocks the count");
        RETURN(1);
    }
    STEP("pins.c:ray__ref_drop clears its bit");
    B = (w->refs & BIT) != 0;
    set_refs(w, w->refs & ~BIT);
    ME.refs = 0;
    ME.ref_gen = 0;
    ME.given = 0;
    COUNT_UNLOCK("pins.c:ray__ref_drop unlocks the count");
    if (B != 0) {
        CALL(F_REF_CLEARED, 0, 0);
    }
    END;
}

static int f_ref_cleared(world *w, int t, frame *f) {
    BEGIN
    CALL(F_REFS_ANY, 0, 0);
    if (RET != 0) {
        if (SLOT != 0 && !is_broken("unref-no-attention")) {
            CALL(F_ONLY_NODE, 0, 0);
            if (RET != 0) {
                CALL(F_ATTENTION, 0, 0);
            }
        }
        RETURN(0);
    }
    STEP("pins.c:ray__ref_cleared reads the state");
    if (state_of(w->word) == EMPTY) {
        RETURN(0);
    }
    CALL(F_LOCK, 0, 0);
    CALL(F_FORGET, 0, 0);
    UNLOCK();
    END;
}

// ---- life.c: under the lock ------------------------------------------------------------------------------------------------

static int f_keep(world *w, int t, frame *f) {
    BEGIN
    STEP("life.c:keep_for_node sets a failure");
    w->failure = w->failure == 0 ? 1 : w->failure;
    STEP("life.c:keep_for_node reads the state");
    B = has_block(state_of(w->word));
    if (B == 0) {
        STEP("life.c:keep_for_node takes the place from an entry without value");
        w->place = NO_BLOCK;
    }
    STEP("life.c:keep_for_node makes it deleting");
    move(w, DELETING, DOOMED, 0);
    STEP("life.c:keep_for_node takes the place");
    w->place = NO_BLOCK;
    STEP("life.c:keep_for_node gives the block back");
    give_block(w, B != 0 ? A : NO_BLOCK);
    CALL(F_ATTENTION, 0, 0);
    END;
}

// A: the state it takes if refs are left. B: the block. C: the word. D: whether refs are left.
static int f_finish(world *w, int t, frame *f) {
    BEGIN
    STEP("life.c:ray__entry_finish reads the state");
    C = w->word;
    B = NO_BLOCK;
    if (has_block(state_of(C))) {
        STEP("life.c:ray__entry_finish reads the place");
        B = w->place;
    }
    CALL(F_REFS_ANY, 0, 0);
    D = RET;
    if (D == 0 && !is_broken("finish-old-order")) {
        if (state_of(C) != DELETING) {
            if (!has_block(state_of(C))) {
                STEP("life.c:refuse_refs takes the place");
                w->place = NO_BLOCK;
            }
            STEP("life.c:refuse_refs makes it deleting");
            move(w, DELETING, 0, DOOMED);
        }
        CALL(F_REFS_ANY, 0, 0);
        D = RET;
    }
    if (D != 0) {
        STEP("life.c:ray__entry_finish lets it stay without a value");
        move(w, A, DOOMED | 7u << 6, 0);
        C = w->word;
        STEP("life.c:give_block gives the block back");
        give_block(w, B);
        if (A == FAILED) {
            CALL(F_WAKE, 0, 0);
            if ((C & WATCHED) != 0) {
                CALL(F_ATTENTION, 0, 0);
            }
        }
        RETURN(0);
    }
    if ((C & WATCHED) != 0) {
        CALL(F_KEEP, B, 0);
        RETURN(0);
    }
    STEP("table.c:ray__table_remove empties the place");
    w->word = (uint16_t)(w->word & 15u << 9);
    STEP("life.c:give_block gives the block back");
    give_block(w, B);
    END;
}

static int f_end(world *w, int t, frame *f) {
    BEGIN
    STEP("life.c:ray__entry_end reads the state");
    B = w->word;
    if (state_of(B) == CREATING) {
        if ((B & DOOMED) != 0) {
            RETURN(0);
        }
        STEP("life.c:ray__entry_end sets the failure");
        w->failure = 1;
        while (state_of(B) == CREATING) {
            STEP("life.c:ray__entry_end sets DOOMED");
            if (w->word == B) {
                w->word |= DOOMED;
                CALL(F_WAKE, 0, 0);
                RETURN(0);
            }
            B = w->word;
        }
    }
    if (state_of(B) == SEALED) {
        STEP("life.c:ray__entry_end sets the failure");
        w->failure = 1;
        if (is_broken("delete-pins-first")) {
            CALL(F_PINS_ANY, 0, 0);
            C = RET;
        }
        STEP("life.c:ray__entry_end makes it deleting");
        move(w, DELETING, 0, 0);
        if (!is_broken("delete-pins-first")) {
            CALL(F_PINS_ANY, 0, 0);
            C = RET;
        }
        if (C == 0) {
            CALL(F_FINISH, FAILED, 0);
        }
    } else if (state_of(B) == REMOTE) {
        STEP("life.c:ray__entry_end sets the failure");
        w->failure = 1;
        CALL(F_FINISH, FAILED, 0);
    } else if (state_of(B) == FAILED) {
        CALL(F_REFS_ANY, 0, 0);
        if (RET == 0) {
            CALL(F_FINISH, FAILED, 0);
        }
    }
    END;
}

static int f_forget(world *w, int t, frame *f) {
    BEGIN
    STEP("life.c:ray__entry_forget reads the state");
    B = w->word;
    if (state_of(B) == EMPTY || state_of(B) == DELETING) {
        RETURN(0);
    }
    CALL(F_REFS_ANY, 0, 0);
    if (RET == 0 && (state_of(B) == REMOTE || state_of(B) == FAILED || (B & COUNTED) != 0)) {
        CALL(F_END, 0, 0);
    }
    END;
}

// ---- wait.c, attention.c: calling ------------------------------------------------------------------------------------------

static int f_wake(world *w, int t, frame *f) {
    BEGIN
    STEP("wait.c:ray__wakes_add reads the waiting bits");
    if (w->waiting != 0) {
        STEP("wait.c:ray__wakes_send changes the number");
        w->seq++;
        STEP("wait.c:ray__wakes_send wakes");
        wake(w, 1);
    }
    END;
}

static int f_attention(world *w, int t, frame *f) {
    BEGIN
    STEP("attention.c:ray__attention sets level 0");
    w->attention[0] = 1;
    STEP("attention.c:ray__attention sets level 1");
    w->attention[1] = 1;
    STEP("attention.c:ray__attention sets level 2");
    w->attention[2] = 1;
    STEP("attention.c:ray__attention changes the number");
    w->attention_seq++;
    STEP("attention.c:ray__attention wakes the node");
    wake(w, 2);
    END;
}

// ---- object.c, ref.c -----------------------------------------------------------------------------------------------------

// A: id, B: with a ref. Answers the generation, 0 if it could not.
static int f_create(world *w, int t, frame *f) {
    BEGIN
    CALL(F_LOCK, 0, 0);
    STEP("table.c:ray__table_locate reads the state");
    C = w->word;
    if (state_of(C) != EMPTY && (state_of(C) != REMOTE || w->id != A)) {
        UNLOCK();
        RETURN(0);
    }
    STEP("object.c:claim takes a block");
    D = 0;
    while (D < BLOCKS && (w->arena >> D & 1u) != 0) {
        D++;
    }
    claim(D < BLOCKS, "no block is free: one leaked");
    w->arena |= (uint8_t)(1u << D);
    if (state_of(C) == EMPTY) {
        STEP("table.c:ray__table_prepare writes the id");
        w->id = (uint8_t)A;
    }
    STEP("object.c:claim writes the place");
    w->place = (uint8_t)D;
    STEP("object.c:claim clears the failure");
    w->failure = 0;
    if (B != 0) {
        COUNT_LOCK("pins.c:ray__ref_grant locks the count");
        STEP("pins.c:ray__ref_grant sets its bit");
        set_refs(w, w->refs | BIT);
        COUNT_UNLOCK("pins.c:ray__ref_grant unlocks the count");
    }
    STEP("object.c:claim makes it creating");
    {
        unsigned counted = B != 0 ? (unsigned)COUNTED : 0;
        if (state_of(C) == EMPTY) {
            w->word = (uint16_t)(((generation_of(w->word) + 1) & 15u) << 9 | SLOT << 6 | counted | CREATING);
        } else {
            claim(state_of(w->word) == REMOTE, "a create took an entry that was not remote any more");
            move(w, CREATING, 7u << 6, SLOT << 6 | counted);
        }
        w->threads[t].writes = (uint8_t)generation_of(w->word);
        if (B != 0) {
            ME.refs++;
            ME.ref_gen = (uint8_t)generation_of(w->word);
        }
    }
    UNLOCK();
    STEP("the creator writes the bytes");
    claim((w->arena >> D & 1u) != 0 && w->place == D && generation_of(w->word) == w->threads[t].writes,
          "a creator writes into memory that is not its own");
    w->content[D] = (uint8_t)(A << 4 | w->threads[t].writes);
    RETURN(w->threads[t].writes);
    END;
}

// A: generation
static int f_seal(world *w, int t, frame *f) {
    BEGIN
    STEP("object.c:take_writer reads the state");
    B = w->word;
    claim(state_of(B) == CREATING && generation_of(B) == A && creator_of(B) == SLOT, "a creator lost its entry");
    if (is_broken("seal-wake-first")) {
        CALL(F_WAKE, 0, 0);
    }
    while ((B & DOOMED) == 0) {
        STEP("object.c:ray_object_seal makes it sealed");
        if (w->word == B) {
            move(w, SEALED, 0, 0);
            w->threads[t].writes = 0;
            if (!is_broken("seal-no-wake") && !is_broken("seal-wake-first")) {
                CALL(F_WAKE, 0, 0);
            }
            if ((B & WATCHED) != 0) {
                CALL(F_ATTENTION, 0, 0);
            }
            RETURN(0);
        }
        B = w->word;
    }
    w->threads[t].writes = 0;
    CALL(F_LOCK, 0, 0);
    CALL(F_FINISH, FAILED, 0);
    UNLOCK();
    END;
}

static int f_abort(world *w, int t, frame *f) {
    BEGIN
    STEP("object.c:take_writer reads the state");
    w->threads[t].writes = 0;
    CALL(F_LOCK, 0, 0);
    STEP("life.c:ray__entry_abort reads the state");
    CALL(F_FINISH, (w->word & DOOMED) != 0 ? FAILED : REMOTE, 0);
    UNLOCK();
    END;
}

static int f_delete(world *w, int t, frame *f) {
    BEGIN
    CALL(F_LOCK, 0, 0);
    STEP("table.c:ray__table_locate finds the entry");
    if (state_of(w->word) != EMPTY && w->id == A) {
        CALL(F_END, 0, 0);
    }
    UNLOCK();
    END;
}

static int f_acquire(world *w, int t, frame *f) {
    BEGIN
    for (;;) {
        CALL(F_FIND, A, 0);
        if (RET == 0) {
            RETURN(0);
        }
        B = RET;
        if (state_of(B) != DELETING) {
            CALL(F_REF_TAKE, B, 0);
            if (RET != 0) {
                RETURN(1);
            }
            B = 0;
        } else {
            STEP("ref.c:ray_ref_acquire reads the failure");
            if (w->failure != 0) {
                RETURN(0);
            }
            B = 0;
            CALL(F_LOCK, 0, 0);
            UNLOCK();
        }
    }
    END;
}

// ---- node.c --------------------------------------------------------------------------------------------------------------

static int f_evict(world *w, int t, frame *f) {
    BEGIN
    CALL(F_LOCK, 0, 0);
    STEP("table.c:ray__table_locate finds the entry");
    if (state_of(w->word) == SEALED && w->id == A) {
        CALL(F_PINS_ANY, 0, 0);
        if (RET == 0) {
            STEP("node.c:evict clears the failure");
            w->failure = 0;
            STEP("node.c:evict makes it deleting");
            move(w, DELETING, 0, 0);
            CALL(F_PINS_ANY, 0, 0);
            if (RET != 0 && !is_broken("evict-no-look")) {
                STEP("node.c:evict makes it sealed again");
                move(w, SEALED, 0, 0);
                CALL(F_WAKE, 0, 0);
            } else {
                CALL(F_FINISH, REMOTE, 0);
            }
        }
    }
    UNLOCK();
    END;
}

static int f_watch(world *w, int t, frame *f) {
    BEGIN
    CALL(F_LOCK, 0, 0);
    STEP("table.c:ray__table_locate finds the entry");
    if (state_of(w->word) != EMPTY && w->id == A) {
        STEP("node.c:ray_node_watch sets WATCHED");
        w->word |= WATCHED;
        STEP("node.c:ray_node_watch reads the state");
        B = w->word;
        C = state_of(B) == SEALED || state_of(B) == FAILED;
        if (state_of(B) == DELETING) {
            CALL(F_PINS_ANY, 0, 0);
            C = RET == 0;
        }
        if (C != 0 && !is_broken("watch-no-look")) {
            CALL(F_ATTENTION, 0, 0);
        }
    }
    UNLOCK();
    END;
}

static int f_adopt(world *w, int t, frame *f) {
    BEGIN
    CALL(F_LOCK, 0, 0);
    STEP("table.c:ray__table_locate finds the entry");
    if (state_of(w->word) != EMPTY && w->id == A) {
        STEP("node.c:ray_node_adopt sets the node's bit");
        set_refs(w, w->refs | 1u);
        ME.given = (uint8_t)generation_of(w->word);
        STEP("node.c:ray_node_adopt sets COUNTED");
        w->word |= COUNTED;
    } else if (state_of(w->word) == EMPTY) {
        STEP("table.c:ray__table_prepare writes the id");
        w->id = (uint8_t)A;
        w->place = NO_BLOCK;
        w->failure = 0;
        STEP("node.c:insert_remote sets the node's bit");
        set_refs(w, w->refs | 1u);
        STEP("node.c:insert_remote makes it remote");
        w->word = (uint16_t)(((generation_of(w->word) + 1) & 15u) << 9 | COUNTED | REMOTE);
        ME.given = (uint8_t)generation_of(w->word);
    }
    UNLOCK();
    END;
}

static int f_disown(world *w, int t, frame *f) {
    BEGIN
    CALL(F_FIND, A, 0);
    if (RET != 0) {
        CALL(F_REF_DROP, 1, 0);
    }
    END;
}

// A: id, B: the client's slot. Its serial was 0 when it asked.
static int f_ref_for(world *w, int t, frame *f) {
    BEGIN
    STEP("node.c:ray_node_ref_for reads the slot");
    if (w->processes[B].reaped != 0) {
        RETURN(0);
    }
    CALL(F_LOCK, 0, 0);
    STEP("node.c:ray_node_ref_for reads the serial");
    if (w->serial[B] != 0 && !is_broken("ref-for-no-serial")) {
        UNLOCK();
        RETURN(0);
    }
    STEP("table.c:ray__table_locate finds the entry");
    if (state_of(w->word) != EMPTY && state_of(w->word) != DELETING && w->id == A) {
        STEP("node.c:ray_node_ref_for sets the client's bit");
        set_refs(w, w->refs | 1u << B);
        w->processes[B].given = w->processes[B].alive != 0 ? (uint8_t)generation_of(w->word) : 0;
        STEP("node.c:ray_node_ref_for sets COUNTED");
        w->word |= COUNTED;
    }
    UNLOCK();
    END;
}

// ---- attention.c: the node's side ------------------------------------------------------------------------------------------

// A: the word that was read.
static int f_end_watch(world *w, int t, frame *f) {
    BEGIN
    if ((A & WATCHED) == 0 || (state_of(A) != SEALED && state_of(A) != FAILED && state_of(A) != DELETING)) {
        RETURN(0);
    }
    if (state_of(A) != DELETING) {
        STEP("attention.c:end_watch clears WATCHED");
        if (w->word == A) {
            w->word &= (uint16_t)~WATCHED;
            RETURN(0);
        }
    }
    CALL(F_LOCK, 0, 0);
    STEP("attention.c:end_watch reads the state under the lock");
    B = w->word;
    if (state_of(B) == DELETING) {
        CALL(F_PINS_ANY, 0, 0);
        C = RET;
    }
    if (generation_of(B) == generation_of(A) && state_of(B) != EMPTY && C == 0) {
        STEP("attention.c:end_watch clears WATCHED under the lock");
        w->word = (uint16_t)(((w->word & ~7u) | state_of(B)) & ~(unsigned)WATCHED);
        if (state_of(B) == DELETING) {
            CALL(F_FINISH, FAILED, 0);
        }
    }
    UNLOCK();
    END;
}

// The node listens for ever. A: whether it disowns what only it has.
static int f_attend(world *w, int t, frame *f) {
    BEGIN
    for (;;) {
        STEP("attention.c:ray_node_attention_wait reads the number");
        B = w->attention_seq;
        STEP("attention.c:take_all looks at level 2");
        if (w->attention[2] != 0) {
            STEP("attention.c:take_all clears level 2");
            w->attention[2] = 0;
            STEP("attention.c:take_all looks at level 1");
            if (w->attention[1] != 0) {
                STEP("attention.c:take_all clears level 1");
                w->attention[1] = 0;
                STEP("attention.c:take_word looks at level 0");
                while (w->attention[0] != 0) {
                    if (is_broken("attention-look-first")) {
                        STEP("attention.c:name_entry reads the entry");
                        C = w->word;
                        CALL(F_ONLY_NODE, 0, 0);
                        D = RET;
                    }
                    STEP("attention.c:take_word clears level 0");
                    w->attention[0] = 0;
                    if (!is_broken("attention-look-first")) {
                        STEP("attention.c:name_entry reads the entry");
                        C = w->word;
                        CALL(F_ONLY_NODE, 0, 0);
                        D = RET;
                    }
                    w->alone = D != 0 && !is_broken("attention-look-first") ? 0 : w->alone;
                    if (state_of(C) != EMPTY) {
                        CALL(F_END_WATCH, C, 0);
                        if (A != 0 && D != 0) {
                            CALL(F_DISOWN, 1, 0);
                        }
                    }
                    C = 0;
                    D = 0;
                    STEP("attention.c:take_word looks at level 0");
                }
            }
            continue;
        }
        STEP("attention.c:ray_node_attention_wait sleeps on the number");
        if (w->attention_seq == B) {
            w->threads[t].asleep = 2;
            STEP("attention.c:ray_node_attention_wait wakes up");
            if (w->threads[t].asleep != 0) {
                return BLOCKED;
            }
        }
    }
    END;
}

// ---- reap.c --------------------------------------------------------------------------------------------------------------

// A: slot
static int f_sweep(world *w, int t, frame *f) {
    BEGIN
    STEP("reap.c:ray__slot_sweep clears the pin");
    w->pins &= (uint8_t)~(1u << A);
    STEP("reap.c:ray__slot_sweep clears the ref");
    set_refs(w, w->refs & ~(1u << A));
    STEP("reap.c:wants_settling reads the state");
    B = w->word;
    if (state_of(B) != EMPTY && !is_broken("reap-no-settle")) {
        CALL(F_REFS_ANY, 0, 0);
        if ((state_of(B) == CREATING && creator_of(B) == A) || RET == 0 || state_of(B) == DELETING) {
            CALL(F_LOCK, 0, 0);
            STEP("reap.c:settle reads the state");
            B = w->word;
            if (state_of(B) == CREATING && creator_of(B) == A) {
                CALL(F_FINISH, (B & DOOMED) != 0 ? FAILED : REMOTE, 0);
            } else {
                C = 1;
                if (state_of(B) == DELETING) {
                    CALL(F_PINS_ANY, 0, 0);
                    C = RET;
                }
                if (C == 0) {
                    CALL(F_FINISH, FAILED, 0);
                } else {
                    CALL(F_FORGET, 0, 0);
                }
            }
            UNLOCK();
        }
    }
    CALL(F_ONLY_NODE, 0, 0);
    if (RET != 0 && !is_broken("reap-no-attention")) {
        CALL(F_ATTENTION, 0, 0);
    }
    STEP("reap.c:ray__slot_sweep reads the state");
    B = w->word;
    if ((B & WATCHED) != 0 && (state_of(B) == SEALED || state_of(B) == FAILED || state_of(B) == DELETING) &&
        !is_broken("reap-no-attention")) {
        CALL(F_ATTENTION, 0, 0);
    }
    END;
}

// The node's reaper, for ever.
static int f_reap(world *w, int t, frame *f) {
    BEGIN
    for (;;) {
        STEP("reap.c:ray_store_slot_reap begins");
        A = 0;
        for (unsigned i = 1; i < SLOTS; i++) {
            A = A == 0 && w->processes[i].alive == 0 && w->processes[i].reaped == 0 ? (uint16_t)i : A;
        }
        if (A == 0) {
            return BLOCKED;
        }
        CALL(F_LOCK, 0, 0);
        STEP("reap.c:ray_store_slot_reap changes the serial");
        w->serial[A]++;
        UNLOCK();
        CALL(F_SWEEP, A, 0);
        STEP("wait.c:ray__wait_forget_slot clears the waiting bit");
        w->waiting &= (uint8_t)~(1u << A);
        if (!is_broken("reap-no-wake")) {
            CALL(F_WAKE, 0, 0);
        }
        if (!is_broken("reap-no-repair")) {
            STEP("attention.c:ray__attention_repair repairs level 1");
            w->attention[1] |= w->attention[0];
            STEP("attention.c:ray__attention_repair repairs level 2");
            w->attention[2] |= w->attention[1];
            STEP("attention.c:ray__attention_repair changes the number");
            w->attention_seq++;
            STEP("attention.c:ray__attention_repair wakes the node");
            wake(w, 2);
        }
        STEP("reap.c:ray_store_slot_reap frees the slot");
        w->processes[A].reaped = 1;
        B = 0;
    }
    END;
}

// A thread's operations, one after the other.
static int f_run(world *w, int t, frame *f) {
    BEGIN
    for (; w->threads[t].op < OPS; w->threads[t].op++) {
        {
            const op *o = &plan->threads[t].ops[w->threads[t].op];
            static const uint8_t calls[] = {[GET] = F_GET, [GET_WAIT] = F_GET, [PUT] = F_CREATE, [PUT_REF] = F_CREATE,
                                            [ABORT] = F_CREATE, [DELETE] = F_DELETE, [TAKE] = F_ACQUIRE, [DROP] = F_FIND,
                                            [EVICT] = F_EVICT, [WATCH] = F_WATCH, [ADOPT] = F_ADOPT, [DISOWN] = F_DISOWN,
                                            [REF_FOR] = F_REF_FOR, [ATTEND] = F_ATTEND, [REAP] = F_REAP};
            A = o->code;
            if (A == END_OP) {
                break;
            }
            f->pc = 1;
            push(w, t, calls[A], o->id, A == REF_FOR ? o->slot : A == GET_WAIT || A == PUT_REF);
            return SWITCHED;
        case 1:;
        }
        if ((A == PUT || A == PUT_REF) && RET != 0) {
            CALL(F_SEAL, RET, 0);
        } else if (A == ABORT && RET != 0) {
            CALL(F_ABORT, RET, 0);
        } else if (A == DROP && RET != 0) {
            // Who drops a ref has one; a take may have found nothing.
            if (ME.refs != 0 || ME.given != 0) {
                CALL(F_REF_DROP, 0, 0);
            }
        }
        RET = 0;
    }
    END;
}

static function *const functions[FUNCTIONS] = {
    [F_RUN] = f_run, [F_FIND] = f_find, [F_VERDICT] = f_verdict, [F_LOCK] = f_lock, [F_TRY_GET] = f_try_get, [F_GET] = f_get,
    [F_WAIT] = f_wait, [F_PIN] = f_pin, [F_UNPIN] = f_unpin, [F_PIN_CLEARED] = f_pin_cleared, [F_REF_TAKE] = f_ref_take,
    [F_REF_DROP] = f_ref_drop, [F_REF_CLEARED] = f_ref_cleared, [F_CREATE] = f_create, [F_SEAL] = f_seal, [F_ABORT] = f_abort,
    [F_FINISH] = f_finish, [F_KEEP] = f_keep, [F_END] = f_end, [F_FORGET] = f_forget, [F_WAKE] = f_wake,
    [F_ATTENTION] = f_attention, [F_DELETE] = f_delete, [F_ACQUIRE] = f_acquire, [F_EVICT] = f_evict, [F_WATCH] = f_watch,
    [F_ADOPT] = f_adopt, [F_DISOWN] = f_disown, [F_REF_FOR] = f_ref_for, [F_ATTEND] = f_attend, [F_END_WATCH] = f_end_watch,
    [F_REAP] = f_reap, [F_SWEEP] = f_sweep, [F_PINS_ANY] = f_pins_any, [F_REFS_ANY] = f_refs_any, [F_ONLY_NODE] = f_only_node,
};

// One step of a thread. False if it cannot take one now.
static bool advance(world *w, int t) {
    thread *me = &w->threads[t];
    while (me->depth != 0) {
        frame *f = &me->stack[me->depth - 1];
        int how = functions[f->fn](w, t, f);
        if (how != SWITCHED) {
            return how == PAUSED;
        }
    }
    return true;
}

static void kill_process(world *w, unsigned slot) {
    process *p = &w->processes[slot];
    for (int t = 0; t < THREADS; t++) {
        if (plan->threads[t].ops[0].code != END_OP && plan->threads[t].slot == slot) {
            w->lock = w->lock == t + 1 ? DEAD_OWNER : w->lock;
            memset(&w->threads[t], 0, sizeof w->threads[t]);
        }
    }
    *p = (process){.alive = 0};
    w->deaths--;
}

// ---- invariants ----------------------------------------------------------------------------------------------------------

static void check_always(const world *w) {
    unsigned state = state_of(w->word);
    for (unsigned i = 0; i < SLOTS; i++) {
        const process *p = &w->processes[i];
        if (p->alive == 0 || p->locked != 0) {
            continue;
        }
        if (p->pins != 0) {
            claim((w->pins >> i & 1u) != 0, "a pin without its bit");
            claim((state == SEALED || state == DELETING) && generation_of(w->word) == p->pin_gen, "a pin on what is gone");
        }
        if (p->refs != 0) {
            claim((w->refs >> i & 1u) != 0, "a ref without its bit");
            claim(state != EMPTY && generation_of(w->word) == p->ref_gen, "a ref to nothing");
        }
        if (p->given != 0) {
            claim((w->refs >> i & 1u) != 0, "a ref that the node gave is gone");
            claim(state != EMPTY && generation_of(w->word) == p->given, "a ref that the node gave is to nothing");
        }
    }
    if (has_block(state) && w->place != NO_BLOCK && (w->lock == 0)) {
        claim((w->arena >> w->place & 1u) != 0, "an entry owns a block that is free");
    }
}

// Nobody can take a step any more.
static void check_end(const world *w) {
    unsigned state = state_of(w->word);
    bool attends = false;
    for (int t = 0; t < THREADS; t++) {
        const thread *me = &w->threads[t];
        unsigned code = plan->threads[t].ops[0].code;
        attends |= code == ATTEND;
        if (me->depth == 0 || code == REAP || me->asleep == 2) {
            continue;
        }
        claim(me->asleep == 1, "a thread waits for ever");
        claim(state != SEALED && state != FAILED && state != DELETING, "a lost wake-up: asleep, and its object is there");
    }
    unsigned used = has_block(state) && w->place != NO_BLOCK ? 1u << w->place : 0;
    claim(w->lock == 0, "the lock is left taken");
    claim(w->arena == used, "a leak: a block that no entry owns");
    for (unsigned i = 0; i < SLOTS; i++) {
        const process *p = &w->processes[i];
        claim((w->pins >> i & 1u) == (p->pins != 0), "a pin is left");
        claim((w->refs >> i & 1u) == (p->refs != 0 || p->given != 0), "a ref is left");
        claim(p->alive != 0 || p->reaped != 0, "a dead client is not reaped");
    }
    bool watched = (w->word & WATCHED) != 0;
    claim(state != CREATING, "a leak: an unsealed object that nobody makes");
    claim(state != DELETING || w->pins != 0 || (watched && !attends), "a leak: an ending entry that nobody ends");
    claim((state != REMOTE && state != FAILED) || w->refs != 0, "a leak: an entry without value and ref");
    claim(state != SEALED || (w->word & COUNTED) == 0 || w->refs != 0, "a leak: its last ref is gone and it is there");
    if (attends) {
        claim(w->attention[0] == 0, "attention is lost: a bit that the node does not see");
        claim(w->alone == 0, "attention is lost: only the node is left and it does not know");
        claim(!watched || (state != SEALED && state != FAILED && state != DELETING),
              "attention is lost: a watched entry came to rest and the node has not looked");
    }
}

// ---- the search ----------------------------------------------------------------------------------------------------------

static uint64_t *seen;
static uint64_t seen_mask;
static uint64_t seen_count;

static uint64_t mix(uint64_t h) {
    h ^= h >> 32;
    h *= 0xd6e8feb86659fd93u;
    h ^= h >> 29;
    return h;
}

static uint64_t hash_bytes(uint64_t h, const void *bytes, size_t size) {
    const uint8_t *p = bytes;
    for (; size >= 8; size -= 8, p += 8) {
        uint64_t part;
        memcpy(&part, p, 8);
        h = mix(h ^ part) + 0x9e3779b97f4a7c15u;
    }
    uint64_t rest = 0;
    memcpy(&rest, p, size);
    return mix(h ^ rest);
}

static uint64_t hash_world(const world *w) {
    uint64_t h = hash_bytes(1, w, offsetof(world, threads));
    for (int t = 0; t < THREADS; t++) {
        const thread *me = &w->threads[t];
        h = hash_bytes(h + 1, me, offsetof(thread, stack) + me->depth * sizeof(frame));
    }
    return h == 0 ? 1 : h;
}

static void grow_seen(void) {
    uint64_t *old = seen;
    uint64_t size = seen == NULL ? 0 : seen_mask + 1;
    seen_mask = size == 0 ? (1u << 20) - 1 : size * 2 - 1;
    seen = calloc(seen_mask + 1, sizeof *seen);
    if (seen == NULL) {
        fprintf(stderr, "model: no memory for %llu states\n", (unsigned long long)seen_mask);
        exit(2);
    }
    for (uint64_t i = 0; i < size; i++) {
        if (old[i] != 0) {
            uint64_t at_place = old[i] & seen_mask;
            while (seen[at_place] != 0) {
                at_place = (at_place + 1) & seen_mask;
            }
            seen[at_place] = old[i];
        }
    }
    free(old);
}

static bool is_new(const world *w) {
    if (seen == NULL || seen_count * 4 > seen_mask * 3) {
        grow_seen();
    }
    uint64_t h = hash_world(w);
    uint64_t i = h & seen_mask;
    for (; seen[i] != 0; i = (i + 1) & seen_mask) {
        if (seen[i] == h) {
            return false;
        }
    }
    seen[i] = h;
    seen_count++;
    return true;
}

typedef struct level {
    world w;
    int next;   // the move to try next: a thread's step, then a client's death
    bool moved; // some thread could take a step
    int who;    // what led here
    const char *how;
} level;

static level *path;
static uint32_t path_room;

static void print_trace(uint32_t depth) {
    static const char *const names[] = {"empty", "creating", "sealed", "remote", "failed", "deleting"};
    printf("  violated: %s\n", violation);
    for (uint32_t i = 1; i <= depth; i++) {
        const world *w = &path[i].w;
        char who[32];
        if (path[i].who < THREADS) {
            snprintf(who, sizeof who, "thread %d slot %u", path[i].who, plan->threads[path[i].who].slot);
        } else {
            snprintf(who, sizeof who, "slot %d", path[i].who - THREADS);
        }
        unsigned state = state_of(w->word);
        printf("  %3u %-16s %-62s | %s%s%s%s g%u id %u pins %x refs %x place %u lock %u\n", i, who, path[i].how,
               state < 6 ? names[state] : "?", (w->word & COUNTED) != 0 ? " C" : "", (w->word & WATCHED) != 0 ? " W" : "",
               (w->word & DOOMED) != 0 ? " D" : "", generation_of(w->word), w->id, w->pins, w->refs, w->place, w->lock);
    }
}

static void start(world *w) {
    memset(w, 0, sizeof *w);
    memset(shared_counts, 0, sizeof shared_counts);
    w->deaths = plan->deaths;
    w->place = NO_BLOCK;
    int users[SLOTS] = {0};
    for (int t = 0; t < THREADS; t++) {
        unsigned code = plan->threads[t].ops[0].code;
        if (code != END_OP) {
            push(w, t, F_RUN, 0, 0);
            shared_counts[plan->threads[t].slot] = ++users[plan->threads[t].slot] - (code == REAP) > 1;
            users[plan->threads[t].slot] -= code == REAP;
        }
    }
    for (unsigned i = 0; i < SLOTS; i++) {
        w->processes[i].alive = 1;
    }
    if (plan->state != EMPTY) {
        w->id = 1;
        w->word = (uint16_t)(1u << 9 | 3u << 6 | plan->flags | plan->state);
        w->refs = plan->refs;
        w->failure = plan->state == FAILED;
        if (has_block(plan->state)) {
            w->place = 0;
            w->arena = 1;
            w->content[0] = 1u << 4 | 1u;
        }
        for (unsigned i = 0; i < SLOTS; i++) {
            if ((plan->refs >> i & 1u) != 0) {
                w->processes[i].refs = i == 0 ? 0 : 1;
                w->processes[i].ref_gen = i == 0 ? 0 : 1;
                w->processes[i].given = i == 0;
            }
        }
    }
    for (int t = 0; t < THREADS; t++) {
        (void)advance(w, t); // up to its first step
    }
}

// True if everything holds.
static bool explore(void) {
    violation = NULL;
    seen_count = 0;
    free(seen);
    seen = NULL;
    uint64_t moves = 0;
    uint32_t deepest = 0;
    struct timespec before;
    struct timespec after;
    clock_gettime(CLOCK_MONOTONIC, &before);
    uint32_t depth = 0;
    path_room = path_room == 0 ? 1024 : path_room;
    path = path == NULL ? calloc(path_room, sizeof *path) : path;
    if (path == NULL) {
        exit(2);
    }
    path[0] = (level){.how = ""};
    start(&path[0].w);
    (void)is_new(&path[0].w);
    for (;;) {
        level *here = &path[depth];
        if (here->next == THREADS + SLOTS) {
            if (!here->moved) {
                check_end(&here->w);
                if (violation != NULL) {
                    break;
                }
            }
            if (depth == 0) {
                break;
            }
            depth--;
            continue;
        }
        int who = here->next++;
        if (depth + 1 == path_room) {
            path_room *= 2;
            path = realloc(path, path_room * sizeof *path);
            if (path == NULL) {
                exit(2);
            }
            here = &path[depth];
        }
        level *there = &path[depth + 1];
        if (who < THREADS) {
            if (here->w.threads[who].depth == 0) {
                continue;
            }
            there->w = here->w;
            if (!advance(&there->w, who)) {
                continue;
            }
            here->moved = true;
            there->how = at;
        } else {
            unsigned slot = (unsigned)(who - THREADS);
            bool lives = false;
            for (int t = 0; t < THREADS; t++) {
                lives |= plan->threads[t].ops[0].code != END_OP && plan->threads[t].slot == slot;
            }
            if (slot == 0 || !lives || here->w.deaths == 0 || here->w.processes[slot].alive == 0) {
                continue;
            }
            there->w = here->w;
            kill_process(&there->w, slot);
            there->how = "dies";
        }
        moves++;
        there->who = who;
        check_always(&there->w);
        if (violation != NULL) {
            depth++;
            break;
        }
        if (is_new(&there->w)) {
            depth++;
            there->next = 0;
            there->moved = false;
            deepest = depth > deepest ? depth : deepest;
        }
    }
    clock_gettime(CLOCK_MONOTONIC, &after);
    printf("%-28s %10llu states %11llu steps, depth %4u, %6.1f s: %s\n", plan->name, (unsigned long long)seen_count,
           (unsigned long long)moves, deepest,
           (double)(after.tv_sec - before.tv_sec) + (double)(after.tv_nsec - before.tv_nsec) / 1e9,
           violation == NULL ? "holds" : "VIOLATED");
    if (violation != NULL) {
        print_trace(depth);
    }
    fflush(stdout);
    return violation == NULL;
}

// ---- what is explored ----------------------------------------------------------------------------------------------------

#define REAPER {0, {{REAP, 0, 0}}}
#define LISTENER {0, {{ATTEND, 0, 0}}} // with id 1 it disowns what only the node has

static const scenario scenarios[] = {
    {"pin-delete", 1, 1, SEALED, 0, 0, {{1, {{GET, 1, 0}}}, {2, {{DELETE, 1, 0}}}, REAPER}},
    {"pin-delete-reuse", 1, 1, SEALED, 0, 0, {{1, {{GET, 1, 0}}}, {2, {{DELETE, 1, 0}, {PUT, 2, 0}}}, REAPER}},
    {"node-pin-delete-reuse", 1, 1, SEALED, 0, 0, {{0, {{GET, 1, 0}}}, {1, {{DELETE, 1, 0}, {PUT, 2, 0}}}, {2, {{GET, 1, 0}}}, REAPER}},
    {"seal-wait", 1, 1, EMPTY, 0, 0, {{1, {{GET_WAIT, 1, 0}}}, {2, {{PUT, 1, 0}}}, REAPER}},
    {"fail-wait", 1, 1, REMOTE, COUNTED, 4, {{1, {{GET_WAIT, 1, 0}}}, {2, {{DELETE, 1, 0}}}, REAPER}},
    {"last-ref-new-ref", 1, 1, SEALED, COUNTED, 2, {{1, {{DROP, 1, 0}}}, {2, {{TAKE, 1, 0}, {DROP, 1, 0}}}, REAPER}},
    {"last-ref-new-ref-failed", 1, 1, FAILED, COUNTED, 2, {{1, {{DROP, 1, 0}}}, {2, {{TAKE, 1, 0}}}, REAPER}},
    {"last-ref-new-ref-remote", 1, 1, REMOTE, COUNTED, 2, {{1, {{DROP, 1, 0}}}, {2, {{TAKE, 1, 0}}}, REAPER}},
    {"create-abort", 1, 1, EMPTY, 0, 0, {{1, {{ABORT, 1, 0}}}, {2, {{PUT, 1, 0}}}, REAPER}},
    {"create-delete", 1, 1, EMPTY, 0, 0, {{1, {{PUT_REF, 1, 0}, {DROP, 1, 0}}}, {2, {{DELETE, 1, 0}}}, REAPER}},
    {"evict-pin", 1, 1, SEALED, COUNTED, 4, {{1, {{GET, 1, 0}}}, {0, {{EVICT, 1, 0}}}, REAPER}},
    {"ref-for-reaper", 1, 1, SEALED, COUNTED, 1, {{1, {{GET, 1, 0}}}, {0, {{REF_FOR, 1, 1}}}, REAPER}},
    {"watch-seal", 1, 1, EMPTY, 0, 0, {{1, {{PUT, 1, 0}}}, {0, {{WATCH, 1, 0}}}, LISTENER, REAPER}},
    {"unref-attention", 1, 1, SEALED, COUNTED, 7, {{1, {{DROP, 1, 0}}}, {2, {{DROP, 1, 0}}}, LISTENER, REAPER}},
    {"gift-stale-take", 1, 0, SEALED, 0, 0,
     {{1, {{TAKE, 1, 0}}}, {2, {{DELETE, 1, 0}, {PUT, 2, 0}}}, {0, {{REF_FOR, 2, 1}}}, REAPER}},
    {"two-threads-pin", 1, 1, SEALED, 0, 0, {{1, {{GET, 1, 0}}}, {1, {{GET, 1, 0}}}, {2, {{DELETE, 1, 0}}}, REAPER}},
    {"two-threads-ref", 1, 1, SEALED, COUNTED, 2,
     {{1, {{DROP, 1, 0}}}, {1, {{TAKE, 1, 0}, {DROP, 1, 0}}}, {2, {{DELETE, 1, 0}}}, REAPER}},
    {"3-pin-delete-reuse", 2, 2, SEALED, 0, 0,
     {{1, {{GET, 1, 0}}}, {2, {{GET, 1, 0}}}, {3, {{DELETE, 1, 0}, {PUT, 2, 0}}}, REAPER}},
    {"3-seal-wait-delete", 2, 2, EMPTY, 0, 0,
     {{1, {{GET_WAIT, 1, 0}}}, {2, {{PUT_REF, 1, 0}, {DROP, 1, 0}}}, {3, {{DELETE, 1, 0}}}, REAPER}},
    {"3-refs", 2, 2, SEALED, COUNTED, 2,
     {{1, {{DROP, 1, 0}}}, {2, {{TAKE, 1, 0}, {DROP, 1, 0}}}, {3, {{TAKE, 1, 0}, {DELETE, 1, 0}}}, REAPER}},
    {"3-refs-failed", 2, 2, FAILED, COUNTED, 2,
     {{1, {{DROP, 1, 0}}}, {2, {{TAKE, 1, 0}, {DROP, 1, 0}}}, {3, {{TAKE, 1, 0}}}, REAPER}},
    {"refs-remote-reuse", 2, 2, REMOTE, COUNTED, 2,
     {{1, {{DROP, 1, 0}}}, {2, {{TAKE, 1, 0}}}, {3, {{PUT_REF, 2, 0}, {DROP, 2, 0}}}, REAPER}},
    {"3-create-abort-delete", 2, 2, EMPTY, 0, 0, {{1, {{ABORT, 1, 0}}}, {2, {{PUT_REF, 1, 0}}}, {3, {{DELETE, 1, 0}}}, REAPER}},
    {"evict-pin-delete", 2, 2, SEALED, COUNTED, 4,
     {{1, {{GET_WAIT, 1, 0}}}, {2, {{DELETE, 1, 0}, {DROP, 1, 0}}}, {0, {{EVICT, 1, 0}}}, REAPER}},
    {"evict-create-get", 2, 1, SEALED, COUNTED, 1,
     {{1, {{GET_WAIT, 1, 0}}}, {2, {{PUT, 1, 0}}}, {0, {{EVICT, 1, 0}, {DISOWN, 1, 0}}}, REAPER}},
    {"watch-delete-pin", 2, 1, SEALED, WATCHED, 0, {{1, {{GET, 1, 0}}}, {2, {{DELETE, 1, 0}}}, LISTENER, REAPER}},
    {"watch-create-delete", 2, 1, EMPTY, 0, 0, {{1, {{PUT_REF, 1, 0}, {DROP, 1, 0}}}, {0, {{WATCH, 1, 0}}}, LISTENER, REAPER}},
    {"adopt-unref-disown", 2, 1, SEALED, COUNTED, 2, {{1, {{DROP, 1, 0}}}, {0, {{ADOPT, 1, 0}}}, {0, {{ATTEND, 1, 0}}}, REAPER}},
    {"remote-refs-attention", 2, 2, REMOTE, COUNTED, 3,
     {{1, {{DROP, 1, 0}}}, {2, {{TAKE, 1, 0}, {DROP, 1, 0}}}, {0, {{ATTEND, 1, 0}}}, REAPER}},
    {"gift-failed-take", 1, 1, REMOTE, COUNTED, 1, {{1, {{TAKE, 1, 0}}}, {0, {{REF_FOR, 1, 1}}}, {0, {{DISOWN, 1, 0}}}, REAPER}},
    {"3-two-ids-one-place", 2, 2, EMPTY, 0, 0,
     {{1, {{PUT_REF, 1, 0}, {DROP, 1, 0}}}, {2, {{PUT_REF, 2, 0}, {DROP, 2, 0}}}, {3, {{GET, 1, 0}, {GET, 2, 0}}}, REAPER}},
    {"3-two-waiters", 2, 2, EMPTY, 0, 0, {{1, {{GET_WAIT, 1, 0}}}, {2, {{GET_WAIT, 1, 0}}}, {3, {{PUT, 1, 0}}}, REAPER}},
    {"watch-adopt-evict-unref", 2, 1, SEALED, COUNTED, 2,
     {{1, {{GET, 1, 0}, {DROP, 1, 0}}}, {0, {{ADOPT, 1, 0}, {WATCH, 1, 0}, {EVICT, 1, 0}}}, {0, {{ATTEND, 1, 0}}}, REAPER}},
    {0},
};

int main(int count, char **arguments) {
    const char *only = NULL;
    bool full = true;
    for (int i = 1; i < count; i++) {
        if (strcmp(arguments[i], "--small") == 0) {
            full = false;
        } else if (strncmp(arguments[i], "--break=", 8) == 0) {
            broken = arguments[i] + 8;
        } else if (arguments[i][0] != '-') {
            only = arguments[i];
        } else {
            fprintf(stderr, "usage: %s [--small] [--break=NAME] [SCENARIO]\n", arguments[0]);
            return 2;
        }
    }
    bool good = true;
    bool any = false;
    for (plan = scenarios; plan->name != NULL; plan++) {
        if (only != NULL ? strcmp(plan->name, only) == 0 : plan->size == 1 || (full && plan->size == 2)) {
            any = true;
            good = explore() && good;
        }
    }
    return !any ? 2 : !good;
}
