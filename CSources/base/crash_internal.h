// SPDX-License-Identifier: Apache-2.0
// Crash points: places between two stores to shared memory where a process may die and nothing may be lost.
//
// Empty, unless the library is built with -DRAY_CRASH_POINTS. Then every point that is passed counts, and the process kills itself at the
// one that ray__crash_at names, so a driver runs a scenario once for every number until it survives. With SIGSTOP in ray__crash_signal it
// stops there instead, and goes on when somebody lets it.
#ifndef RAY_BASE_CRASH_INTERNAL_H
#define RAY_BASE_CRASH_INTERNAL_H

#ifdef RAY_CRASH_POINTS
#include <stdint.h>

extern uint64_t ray__crash_at;     // 0: never; else the number of the point to die at, from 1
extern uint64_t ray__crash_passed; // points passed so far
extern int ray__crash_signal;      // SIGKILL, unless a driver sets another
void ray__crash_point(const char *file, int line);
#define RAY_CRASH_POINT() ray__crash_point(__FILE__, __LINE__)
#else
#define RAY_CRASH_POINT() ((void)0)
#endif

#endif
