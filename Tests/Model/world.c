// SPDX-License-Identifier: Apache-2.0
// The world that the steps change, and how a step is taken.
#include "model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

const scenario *plan;
const char *broken = "";
const char *at;
const char *violation;
bool shared_counts[SLOTS];

bool is_broken(const char *name) {
    return strcmp(broken, name) == 0;
}

void claim(bool holds, const char *what) {
    if (!holds && violation == NULL) {
        violation = what;
    }
}

void set_refs(world *w, unsigned refs) {
    bool was = (w->refs & ~1u) != 0 && (w->refs & 1u) != 0;
    w->refs = (uint8_t)refs;
    w->alone = refs != 1 ? 0 : was ? 1 : w->alone;
}

void give_block(world *w, unsigned place) {
    if (place != NO_BLOCK) {
        claim((w->arena >> place & 1u) != 0, "a block is given back twice");
        w->arena &= (uint8_t)~(1u << place);
        w->content[place] = 0;
    }
}

void wake(world *w, uint8_t where) {
    for (int i = 0; i < THREADS; i++) {
        if (w->threads[i].asleep == where) {
            w->threads[i].asleep = 0;
        }
    }
}

void push(world *w, int t, int fn, unsigned a, unsigned b) {
    thread *me = &w->threads[t];
    if (me->depth == FRAMES) {
        fprintf(stderr, "model: too deep at %s\n", at);
        exit(2);
    }
    me->stack[me->depth++] = (frame){0, (uint16_t)fn, {(uint16_t)a, (uint16_t)b}};
}

int pop(world *w, int t, unsigned ret) {
    thread *me = &w->threads[t];
    me->stack[--me->depth] = (frame){0};
    me->ret = (uint16_t)ret;
    return SWITCHED;
}

// A thread's operations, one after the other.
int f_run(world *w, int t, frame *f) {
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
bool advance(world *w, int t) {
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

void kill_process(world *w, unsigned slot) {
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
