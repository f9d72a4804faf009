#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A far machine at 1 Gbit/s: each packet arrives 100 ms late (Benchmarks/core/far.c), so 200 ms there and back, which both ends' TCP sees.
Usage: far.py [--size BYTES] MOVER FAR

What counts is what comes after the first second, over the line's rate. A chunk counts when it is complete; of those that are incomplete after
the first second, at most one a connection, none counts. Beside it one stream and eight of iperf3, if it is there, over the same link.
"""

import argparse
import json
import os
import shutil
import subprocess

import figures
from delayed import measure
from figures import show
from link import FarLink
from mover import Mover
from processes import running

GBITS = 1
CONNECTIONS_MAX = 16
ONE_WAY_MS = 100
STREAMS_SECONDS = 8


def streams(link, count):
    """What so many streams of iperf3 bring in GB/s, without their first second."""
    with running(link.at(0, ["iperf3", "--server", "--one-off"]), stdout=subprocess.DEVNULL):
        command = link.at(1, ["iperf3", "--client", link.hosts[0], "--reverse", "--time", str(STREAMS_SECONDS), "--omit", "1",
                              "--parallel", str(count), "--json", "--connect-timeout", "5000"])
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout)["end"]["sum_received"]["bits_per_second"] / 8e9


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--size", type=int, default=figures.GIB)
    parser.add_argument("mover")
    parser.add_argument("far")
    arguments = parser.parse_args()
    figures.need_root()
    with figures.scratch(arguments.size, "random") as folder, FarLink(os.path.abspath(arguments.far), ONE_WAY_MS, GBITS) as link, \
            Mover(link, folder, os.path.abspath(arguments.mover)) as mover:
        whole = measure(mover, "far200ms.1g", GBITS, CONNECTIONS_MAX)
        if shutil.which("iperf3"):
            for count in (1, 8):
                brought = streams(link, count)
                show(f"transfer.far200ms.iperf3_{count}_gbs", brought, "GB/s", first_second="left out")
                show(f"ratio.transfer.far200ms.1g.iperf3_{count}", whole / brought, "ratio")


if __name__ == "__main__":
    figures.run_suite(main)
