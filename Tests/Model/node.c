// SPDX-License-Identifier: Apache-2.0
// What only the node does, and its reaper.
#include "model.h"

// ---- node.c --------------------------------------------------------------------------------------------------------------

int f_evict(world *w, int t, frame *f) {
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

int f_watch(world *w, int t, frame *f) {
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

int f_adopt(world *w, int t, frame *f) {
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

int f_disown(world *w, int t, frame *f) {
    BEGIN
    CALL(F_FIND, A, 0);
    if (RET != 0) {
        CALL(F_REF_DROP, 1, 0);
    }
    END;
}

// A: id, B: the client's slot. Its serial was 0 when it asked.
int f_ref_for(world *w, int t, frame *f) {
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
int f_end_watch(world *w, int t, frame *f) {
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
int f_attend(world *w, int t, frame *f) {
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
int f_sweep(world *w, int t, frame *f) {
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
int f_reap(world *w, int t, frame *f) {
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
