// SPDX-License-Identifier: Apache-2.0
// What is explored.
#include "model.h"

#include <stdio.h>
#include <string.h>

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
