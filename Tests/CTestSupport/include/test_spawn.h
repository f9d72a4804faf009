// SPDX-License-Identifier: Apache-2.0
// Starting processes for tests. Foundation's Process reads past the end of a directory entry while it looks for open descriptors
// (readdir's buffer is shorter than the struct that it copies), and now and then that ends the test run with SIGSEGV.
#ifndef TEST_SPAWN_H
#define TEST_SPAWN_H

#include <sys/types.h>

// Starts a program with nothing of ours open but these three streams (-1: /dev/null). arguments and environment end with NULL; no
// environment: ours. No directory: ours. Answers 0 or an errno.
int test_spawn(const char *path, char *const *arguments, char *const *environment, const char *directory, const int *streams,
               pid_t *pid);

// A pipe that no other child inherits. Answers 0 or an errno.
int test_pipe(int *reading, int *writing);

#endif
