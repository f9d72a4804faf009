// SPDX-License-Identifier: Apache-2.0
// An explicit-state model of the object table's protocol: every interleaving of a few threads, each step one access to shared
// memory (sequentially consistent), and a client that may die before any of them. docs/MODEL.md says what is left out.
//
// A thread is a stack of frames; a frame is a function, where it stands in it and a few small numbers. So a state of the whole
// world is plain bytes: it is copied to try a step and hashed to know whether it was seen. STEP gives way to the scheduler
// and then does what follows it, up to the next STEP; its text names the function of the core that it stands for.
#ifndef RAY_TESTS_MODEL_H
#define RAY_TESTS_MODEL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

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

extern const scenario *plan;
extern const char *broken;
extern const char *at;            // the step under way
extern const char *violation;     // the first invariant that did not hold
extern bool shared_counts[SLOTS]; // more than one thread of the process uses its private counts

bool is_broken(const char *name);
void claim(bool holds, const char *what);

static inline unsigned state_of(unsigned word) {
    return word & 7u;
}

static inline unsigned creator_of(unsigned word) {
    return word >> 6 & 7u;
}

static inline unsigned generation_of(unsigned word) {
    return word >> 9 & 15u;
}

static inline bool has_block(unsigned state) {
    return state == CREATING || state == SEALED || state == DELETING;
}

static inline void move(world *w, unsigned state, unsigned clear, unsigned set) {
    w->word = (uint16_t)((((w->word & ~7u) | state) & ~clear) | set);
}

// Refs change here alone, so that the ghost "only the node is left, and has not seen it" is right.
void set_refs(world *w, unsigned refs);
void give_block(world *w, unsigned place);
void wake(world *w, uint8_t where);

// ---- the machine ---------------------------------------------------------------------------------------------------------

enum { PAUSED, SWITCHED, BLOCKED };
enum {
    F_RUN, F_FIND, F_VERDICT, F_LOCK, F_TRY_GET, F_GET, F_WAIT, F_PIN, F_UNPIN, F_PIN_CLEARED, F_REF_TAKE, F_REF_DROP, F_REF_CLEARED,
    F_CREATE, F_SEAL, F_ABORT, F_FINISH, F_KEEP, F_END, F_FORGET, F_WAKE, F_ATTENTION, F_DELETE, F_ACQUIRE, F_EVICT, F_WATCH,
    F_ADOPT, F_DISOWN, F_REF_FOR, F_ATTEND, F_END_WATCH, F_REAP, F_SWEEP, F_PINS_ANY, F_REFS_ANY, F_ONLY_NODE, FUNCTIONS
};

typedef int function(world *w, int t, frame *f);

void push(world *w, int t, int fn, unsigned a, unsigned b);
int pop(world *w, int t, unsigned ret);

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

// The functions of the core, one each.
function f_lock, f_find, f_verdict, f_try_get, f_get, f_wait, f_pins_any, f_refs_any, f_only_node, f_pin, f_unpin,
    f_pin_cleared, f_ref_take, f_ref_drop, f_ref_cleared, f_keep, f_finish, f_end, f_forget, f_wake, f_attention,
    f_create, f_seal, f_abort, f_delete, f_acquire, f_evict, f_watch, f_adopt, f_disown, f_ref_for, f_end_watch,
    f_attend, f_sweep, f_reap, f_run;

// One step of a thread. False if it cannot take one now.
bool advance(world *w, int t);
void kill_process(world *w, unsigned slot);

// What holds in every state, and what when nobody can take a step any more.
void check_always(const world *w);
void check_end(const world *w);

// Every state that the plan leads to. True if everything holds.
bool explore(void);

#endif
