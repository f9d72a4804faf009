// SPDX-License-Identifier: Apache-2.0
// A thread that works only while nobody else wants the core, or the disk.
#ifndef RAY_BASE_IDLE_INTERNAL_H
#define RAY_BASE_IDLE_INTERNAL_H

// Of the calling thread, for good: SCHED_IDLE, the lowest priority where that is refused, and the idle class of the disk. Such a thread may be
// without a core for long, so it holds no lock and nothing else that anybody waits for.
void ray__thread_be_idle(void);

#endif
