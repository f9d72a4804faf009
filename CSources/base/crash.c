// SPDX-License-Identifier: Apache-2.0
#include "base/crash_internal.h"

#ifdef RAY_CRASH_POINTS
#include <signal.h>
#include <unistd.h>

uint64_t ray__crash_at;
uint64_t ray__crash_passed;
int ray__crash_signal = SIGKILL;

void ray__crash_point(const char *file, int line) {
    (void)file; // for a debugger that stops here
    (void)line;
    if (__atomic_add_fetch(&ray__crash_passed, 1, __ATOMIC_RELAXED) == ray__crash_at) {
        kill(getpid(), ray__crash_signal);
    }
}
#else
// A translation unit may not be empty.
typedef int ray__no_crash_points;
#endif
