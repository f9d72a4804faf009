#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A long fat link: 1 Gbit/s, and a proxy (Benchmarks/core/delay.c) that lets each byte go 100 ms late in each direction, so 200 ms there
and back. Usage: delayed.py [--size BYTES] MOVER DELAY

The sender is in one namespace, proxy and receiver in the other. What counts is what comes after the first second, over the line's rate. A
chunk counts when it is complete; of those that are incomplete after the first second, one a connection, none counts.
"""

import argparse
import os
import statistics

import figures
from figures import say, show
from link import Link, line_gbs
from mover import Mover
from processes import Conversation

GBITS = 1
CHUNK = 4 << 20
ONE_WAY_MS = 100


def measure(mover, name, gbits, connections, address=None):
    """Fetches the file in turns, shows what came after the first second over the line's rate, and answers GB/s of the whole."""
    after, whole = [], []
    undisturbed = figures.Undisturbed(figures.RUNS)
    for _ in range(figures.RUNS):
        seconds, done = undisturbed.run(lambda: (mover.fetch("random.bin", address=address)[0], mover.last))
        counted = done["bytes"] - done["first_second_bytes"] - connections * CHUNK
        after.append(counted / (seconds - 1) / 1e9 / line_gbs(gbits))
        whole.append(done["bytes"] / seconds / 1e9)
    say(f"{name}: {statistics.median(whole):.4g} GB/s")
    show(f"transfer.{name}_ratio", statistics.median(after), "ratio", line_gbs=round(line_gbs(gbits), 5), runs=len(after))
    show(f"transfer.{name}_gbs", statistics.median(whole), "GB/s", first_second="included")
    return statistics.median(whole)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=figures.GIB)
    parser.add_argument("mover")
    parser.add_argument("delay")
    arguments = parser.parse_args()
    figures.need_root()
    with figures.scratch(arguments.size, "random") as folder, Link() as link, \
            Mover(link, folder, os.path.abspath(arguments.mover)) as mover:
        host, port = mover.address
        command = [os.path.abspath(arguments.delay), "127.0.0.1", host, str(port), str(ONE_WAY_MS)]
        with Conversation(link.at(1, command), "the delaying proxy") as proxy:
            near = ("127.0.0.1", proxy.answer()["port"])
            link.shape(GBITS)
            measure(mover, "delay200ms.1g", GBITS, 2, near)


if __name__ == "__main__":
    figures.run_suite(main)
