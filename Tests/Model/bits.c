// SPDX-License-Identifier: Apache-2.0
// Pins and refs.
#include "model.h"

// ---- pins.c --------------------------------------------------------------------------------------------------------------

// The node's bits are in the state word, the clients' in the bitmaps: two looks.
static int any_bit(world *w, int t, frame *f, const uint8_t *bits, const char *nodes_look, const char *clients_look) {
    BEGIN
    STEP(nodes_look);
    if ((*bits & 1u) != 0) {
        RETURN(1);
    }
    STEP(clients_look);
    RETURN((*bits & ~1u) != 0);
    END;
}

int f_pins_any(world *w, int t, frame *f) {
    return any_bit(w, t, f, &w->pins, "pins.c:ray__pins_any reads the node's pin", "pins.c:ray__pins_any reads the clients' pins");
}

int f_refs_any(world *w, int t, frame *f) {
    return any_bit(w, t, f, &w->refs, "pins.c:ray__refs_any reads the node's ref", "pins.c:ray__refs_any reads the clients' refs");
}

int f_only_node(world *w, int t, frame *f) {
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

int f_pin(world *w, int t, frame *f) {
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

int f_unpin(world *w, int t, frame *f) {
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

int f_pin_cleared(world *w, int t, frame *f) {
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
int f_ref_take(world *w, int t, frame *f) {
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
int f_ref_drop(world *w, int t, frame *f) {
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

int f_ref_cleared(world *w, int t, frame *f) {
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
