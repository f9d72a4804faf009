# SPDX-License-Identifier: Apache-2.0
"""Memory that stays this machine's while something is measured.

A virtual machine may hand the memory that it frees to the one below, in whole blocks of 2 MiB or more (free page reporting), and whoever uses it next waits until
it has come back. On such a machine a fetch of 1 GiB took twice as long when it got such memory, which is neither side's doing.
"""

import contextlib
import mmap

TOOTH, APART = 4 << 10, 512 << 10
PART_MAX = 2  # at most such a part of what is free
_MADV_POPULATE_WRITE = 23  # not in Python's mmap


def _available():
    with open("/proc/meminfo") as file:
        return next(int(line.split()[1]) << 10 for line in file if line.startswith("MemAvailable:"))


@contextlib.contextmanager
def kept(size):
    """Holds a page in each half MiB of `size` bytes while the block lasts. No block between them is large enough to be handed over, and the kernel takes
    what somebody needs from small blocks before it breaks a large one: so up to that much memory is used again and again. Whoever takes memory for good,
    a node its arena, does so before."""
    size = min(size, _available() // PART_MAX) // APART * APART
    if size == 0:
        yield
        return
    with mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS) as memory:
        memory.madvise(mmap.MADV_NOHUGEPAGE)
        memory.madvise(_MADV_POPULATE_WRITE)
        for at in range(0, size, APART):
            memory.madvise(mmap.MADV_DONTNEED, at + TOOTH, APART - TOOTH)
        yield
