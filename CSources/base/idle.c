// SPDX-License-Identifier: Apache-2.0
#include "base/idle_internal.h"

#include <sched.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define LOWEST_PRIORITY 19

// linux/ioprio.h; older headers lack it.
#define IOPRIO_WHO_PROCESS 1
#define IOPRIO_IDLE (3 << 13)

// All of it is advice: where it is refused, the thread shares with others.
void ray__thread_be_idle(void) {
    const struct sched_param none = {0};
    id_t self = (id_t)syscall(SYS_gettid);
    if (sched_setscheduler((pid_t)self, SCHED_IDLE, &none) != 0) {
        (void)setpriority(PRIO_PROCESS, self, LOWEST_PRIORITY);
    }
    (void)syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, self, IOPRIO_IDLE);
}
