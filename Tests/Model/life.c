// SPDX-License-Identifier: Apache-2.0
// How entries begin and end, and who hears of it.
#include "model.h"

// ---- life.c: under the lock ------------------------------------------------------------------------------------------------

int f_keep(world *w, int t, frame *f) {
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
int f_finish(world *w, int t, frame *f) {
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

int f_end(world *w, int t, frame *f) {
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

int f_forget(world *w, int t, frame *f) {
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

int f_wake(world *w, int t, frame *f) {
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

int f_attention(world *w, int t, frame *f) {
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
int f_create(world *w, int t, frame *f) {
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
int f_seal(world *w, int t, frame *f) {
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

int f_abort(world *w, int t, frame *f) {
    BEGIN
    STEP("object.c:take_writer reads the state");
    w->threads[t].writes = 0;
    CALL(F_LOCK, 0, 0);
    STEP("life.c:ray__entry_abort reads the state");
    CALL(F_FINISH, (w->word & DOOMED) != 0 ? FAILED : REMOTE, 0);
    UNLOCK();
    END;
}

int f_delete(world *w, int t, frame *f) {
    BEGIN
    CALL(F_LOCK, 0, 0);
    STEP("table.c:ray__table_locate finds the entry");
    if (state_of(w->word) != EMPTY && w->id == A) {
        CALL(F_END, 0, 0);
    }
    UNLOCK();
    END;
}

int f_acquire(world *w, int t, frame *f) {
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
