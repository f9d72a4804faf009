// SPDX-License-Identifier: Apache-2.0
// What the kernel says of this process's own TCP connections.
#ifndef TEST_SOCKETS_H
#define TEST_SOCKETS_H

#include <stdint.h>

// Whether sockets of this machine begin with BBR, and something else may be chosen: only there can it be told that something else was.
int test_sockets_begin_paced(void);

// How many connections to this port of 127.0.0.1 there are, and how many of them use BBR.
void test_sockets_to(uint16_t port, int *count, int *paced);

#endif
