// SPDX-License-Identifier: Apache-2.0
// The lock, finding an entry, getting and waiting.
#include "model.h"

// ---- lock.c, rebuild.c ---------------------------------------------------------------------------------------------------

int f_lock(world *w, int t, frame *f) {
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
int f_find(world *w, int t, frame *f) {
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

int f_verdict(world *w, int t, frame *f) {
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
int f_try_get(world *w, int t, frame *f) {
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
int f_get(world *w, int t, frame *f) {
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

int f_wait(world *w, int t, frame *f) {
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
