// SPDX-License-Identifier: Apache-2.0
// Pacing: which congestion control a connection gets. None of it can fail: what the kernel does not allow stays as it was.
#ifndef RAY_TRANSFER_PACING_INTERNAL_H
#define RAY_TRANSFER_PACING_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

// Before listen: what is accepted begins as the listener is.
void ray__pacing_begin(int listener);
// Once it is known how far the peer of an accepted connection is; 0: near.
void ray__pacing_suit(int connection, uint64_t round_trip_ns);
// Once the link has proved to be the limit: what the machine begins with keeps its queues short, and what it costs is nothing there.
void ray__pacing_allow(int connection);

#endif
