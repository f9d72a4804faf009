# SPDX-License-Identifier: Apache-2.0
"""What the disk takes: random bytes written one after the other into a new file, as plainly as can be."""

import os
import time

BLOCK = 1 << 20


def warm_memory(folder, size):
    """Uses as much memory for pages of a file as what is measured next will. A virtual machine may have given back to its host what it has not
    used for some seconds, and filling that anew takes three times as long: who came first would pay for who comes next."""
    path = os.path.join(folder, "warm")
    block = bytes(BLOCK)
    with open(path, "xb", buffering=0) as file:
        for _ in range(size // BLOCK):
            file.write(block)
    os.unlink(path)


def sequential_write(folder, size):
    """Answers (seconds until the last write returned, seconds until all of it was on the disk)."""
    # More blocks than the processor's cache holds, so that they come from memory as objects do.
    blocks = [os.urandom(BLOCK) for _ in range(256)]
    path = os.path.join(folder, "plain")
    warm_memory(folder, size)
    began = time.perf_counter()
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        for i in range(size // BLOCK):
            written = os.write(file, blocks[i % len(blocks)])
            if written != BLOCK:
                raise OSError(f"{path}: only {written} of {BLOCK} bytes were written")
        returned = time.perf_counter() - began
        os.fdatasync(file)
        return returned, time.perf_counter() - began
    finally:
        os.close(file)
        os.unlink(path)


def sync():
    """Until the disk is owed nothing, so that nobody is measured with what another has left to be written. Answers the seconds."""
    began = time.perf_counter()
    os.sync()
    return time.perf_counter() - began
