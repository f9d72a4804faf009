// SPDX-License-Identifier: Apache-2.0
// The holder of the lock that is stopped (SIGSTOP, Ctrl-Z), and not dead.
//
// Nobody can take the lock over from it: it may go on at any time, in the middle of what it was doing. So it must not go on. Who waits in
// vain complains to the node; the node looks who holds the lock, and a client that has been stopped with it for a while is
// killed. Then it is a death like any other: the next owner repairs, the reaper undoes. A client that is stopped without the lock is left in
// peace, and so is one that a debugger holds. The kernel keeps the holder's thread in the lock's word and takes it out when the thread
// ends, so the thread that is named there lives and is no other's successor.
#include <unistd.h>

#include "base/clock_internal.h"
#include "base/futex_internal.h"
#include "base/process_internal.h"
#include "base/shm_internal.h"
#include "plasma/store_internal.h"

#define STOPPED_NS 100000000u // long enough for who stops and lets go on at once, as a snapshot does
#define TID_MASK 0x3fffffffu  // FUTEX_TID_MASK

static uint32_t holder(const ray_store *store) {
    return ray__shm_load32((const uint32_t *)&store->header->lock.__data.__lock) & TID_MASK;
}

void ray__lock_complain(ray_store *store) {
    ray__shm_store32(&store->header->lock_wanted, 1);
    RAY_CRASH_POINT();
    ray__shm_add32(&store->header->attention_seq, 1);
    ray__futex_wake_all(&store->header->attention_seq);
}

// The pid of the client that has this thread, if it is stopped.
static int64_t find_stopped(const ray_store *store, uint32_t tid) {
    for (uint32_t i = 0; i < RAY_SLOTS_MAX; i++) {
        int64_t pid = store->slots[i].pid;
        if (i == RAY_NODE_SLOT || pid <= 0 || pid == getpid() || ray__shm_load32(&store->slots[i].state) == RAY__SLOT_FREE) {
            continue;
        }
        ray__thread_state state = ray__thread_state_of(pid, tid);
        if (state != RAY__THREAD_NONE) {
            return state == RAY__THREAD_STOPPED ? pid : 0;
        }
    }
    return 0;
}

// Looks once more when the process can be no other any more.
static void end_holder(const ray_store *store, int64_t pid, uint32_t tid) {
    int process_fd = ray__process_open(pid);
    if (process_fd >= 0 && ray__thread_state_of(pid, tid) == RAY__THREAD_STOPPED && holder(store) == tid) {
        (void)ray__process_kill(process_fd);
    }
    ray__fd_close(process_fd);
}

void ray__lock_look(ray_store *store) {
    uint32_t nobody = 0;
    if (store->slot != RAY_NODE_SLOT || !ray__shm_swap_if32(&store->looking, &nobody, 1)) {
        return;
    }
    ray__shm_store32(&store->header->lock_wanted, 0); // who still waits says so again
    uint32_t tid = holder(store);
    int64_t pid = tid == 0 ? 0 : find_stopped(store, tid);
    if (pid == 0 || tid != store->suspect) {
        store->suspect = pid == 0 ? 0 : tid;
        store->suspected_ns = ray__now_ns();
    } else if (ray__now_ns() - store->suspected_ns >= STOPPED_NS) {
        end_holder(store, pid, tid);
        store->suspect = 0;
    }
    ray__shm_store32(&store->looking, 0);
}
