#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the benchmarks' files: DIRECTORY/random.bin and DIRECTORY/train.bin, of SIZE bytes each, the same on every run.

random.bin does not compress. train.bin is like training data: blocks of JSON lines and blocks of float32 columns in turn; zstd -1 makes it
about three times smaller.
"""
import itertools
import os
import random
import struct
import sys


def random_bytes(path, size):
    generator = random.Random(1)
    with open(path, "wb") as file:
        left = size
        while left > 0:
            block = generator.randbytes(min(left, 8 << 20))
            file.write(block)
            left -= len(block)


WORDS = "the of model data train loss batch token layer weight image label user query answer time value rate score text".split()


def json_block(generator):
    lines = []
    for _ in range(2000):
        words = " ".join(generator.choice(WORDS) for _ in range(generator.randrange(8, 40)))
        lines.append('{"id":%d,"split":"train","score":%.4f,"text":"%s"}\n' % (generator.randrange(1 << 40), generator.random(), words))
    return "".join(lines).encode()


def float_block(generator):
    value = 0.0
    column = []
    for _ in range(100_000):
        value += generator.gauss(0, 0.01)
        column.append(round(value, 3))
    return struct.pack("<100000f", *column)


def training_bytes(path, size):
    # Making blocks is slow in Python, so they come again after some 100 MB: further than any chunk reaches.
    generator = random.Random(2)
    blocks = [make(generator) for _ in range(150) for make in (json_block, float_block)]
    with open(path, "wb") as file:
        left = size
        for block in itertools.cycle(blocks):
            file.write(block[:left])
            left -= min(left, len(block))
            if left == 0:
                break


def main():
    if len(sys.argv) != 3:
        sys.exit("usage: make_files.py DIRECTORY SIZE")
    directory, size = sys.argv[1], int(sys.argv[2])
    for name, make in (("random.bin", random_bytes), ("train.bin", training_bytes)):
        path = os.path.join(directory, name)
        if not os.path.exists(path) or os.path.getsize(path) != size:
            make(path, size)


main()
