// SPDX-License-Identifier: Apache-2.0
// The search through all states.
#include "model.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

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

bool explore(void) {
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
