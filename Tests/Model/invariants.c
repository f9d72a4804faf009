// SPDX-License-Identifier: Apache-2.0
// What must hold.
#include "model.h"

void check_always(const world *w) {
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

void check_end(const world *w) {
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
