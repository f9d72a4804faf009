#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Files and objects between two of our nodes over links of several rates; with --peers, what others do over the same link in the same run.

Usage: fetching.py [--peers] [--size BYTES] RAYSTORE FETCHES
Source, destination and state lie in /dev/shm. Medians; ours and the peers take turns. One JSON object a line.
"""

import argparse
import contextlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile

import pipes
from link import Link, Loopback
from ours import Ours

RUNS = 5
PLACE = "/dev/shm"


def show(name, value, unit):
    print(json.dumps({"name": name, "value": float(f"{value:.4g}"), "unit": unit}, separators=(",", ":")), flush=True)


def say(text):
    print(text, file=sys.stderr, flush=True)


def require(programs):
    missing = [program for program in programs if shutil.which(program) is None]
    if missing:
        raise SystemExit(f"benchmark: {' '.join(missing)} not found: apt-get install nginx-light curl rsync socat iperf3 zstd lz4 iproute2")


class Turns:
    """Several ways to bring the same file over, run in turns; a warm-up first. Keeps the median seconds and CPU of each."""

    def __init__(self, ways, runs):
        self.seconds = {name: [] for name in ways}
        self.cpu = {name: [] for name in ways}
        for turn in range(runs + 1):
            for name, way in ways.items():
                seconds, cpu = way()
                if turn > 0 or runs == 1:
                    self.seconds[name].append(seconds)
                    self.cpu[name].append(cpu)

    def median(self, name):
        return statistics.median(self.seconds[name])

    def cpu_median(self, name):
        return statistics.median(self.cpu[name])

    def best_peer(self):
        peers = [name for name in self.seconds if name != "ours"]
        return min(peers, key=self.median)


class Suite:
    def __init__(self, link, ours, folder, size, with_peers):
        self.link, self.ours, self.folder, self.size, self.with_peers = link, ours, folder, size, with_peers
        self.target = os.path.join(folder, "target")

    def peer(self, way, source):
        def run():
            try:
                return way(self.link, source, self.target)
            finally:
                with contextlib.suppress(FileNotFoundError):
                    os.remove(self.target)
        return run

    def file(self, name, source, peers, runs=RUNS, line_gbits=None):
        ways = {"ours": lambda: self.ours.file(source)}
        if self.with_peers:
            ways.update({peer: self.peer(way, source) for peer, way in peers.items()})
        turns = Turns(ways, runs)
        gbs = self.size / turns.median("ours") / 1e9
        show(f"transfer.file.{name}_gbs", gbs, "GB/s")
        show(f"transfer.file.{name}_cpu_s_per_gb", turns.cpu_median("ours") / (self.size / 1e9), "s/GB")
        if line_gbits is not None:
            show(f"transfer.file.{name}_line_ratio", gbs * 8 / line_gbits, "ratio")
        for peer in peers if self.with_peers else []:
            show(f"peer.{peer}.transfer.file.{name}_gbs", self.size / turns.median(peer) / 1e9, "GB/s")
            show(f"peer.{peer}.transfer.file.{name}_cpu_s_per_gb", turns.cpu_median(peer) / (self.size / 1e9), "s/GB")
            show(f"ratio.transfer.file.{name}_gbs.{peer}", turns.median(peer) / turns.median("ours"), "ratio")
        if self.with_peers:
            best = turns.best_peer()
            show(f"ratio.transfer.file.{name}_gbs.best", turns.median(best) / turns.median("ours"), "ratio")
            say(f"{name}: ours {turns.median('ours'):.3f} s, best peer {best} {turns.median(best):.3f} s")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--size", type=int, default=1 << 30)
    parser.add_argument("--only", default="", help="only figures whose name contains this")
    parser.add_argument("raystore")
    parser.add_argument("fetches")
    arguments = parser.parse_args()
    is_root = os.geteuid() == 0
    if not is_root:
        say("benchmark: network namespaces need root: loopback instead, and no shaped links")
    require(["ss"] + (["ip", "tc"] if is_root else []) + (["nginx", "curl", "rsync", "socat", "iperf3", "zstd", "lz4"] if arguments.peers else []))
    with contextlib.ExitStack() as stack:
        folder = tempfile.mkdtemp(prefix="rsb.", dir=PLACE)
        stack.callback(shutil.rmtree, folder, ignore_errors=True)
        here = os.path.dirname(os.path.abspath(__file__))
        subprocess.run([sys.executable, os.path.join(here, "..", "make_files.py"), folder, str(arguments.size)], check=True)
        random, train = os.path.join(folder, "random.bin"), os.path.join(folder, "train.bin")
        link = stack.enter_context(Link() if is_root else Loopback())
        ours = stack.enter_context(Ours(link, folder, arguments.raystore, arguments.fetches))
        suite = Suite(link, ours, folder, arguments.size, arguments.peers)
        plain = {"socat": pipes.socat}
        if arguments.peers:
            plain["nginx_curl"] = stack.enter_context(pipes.nginx_curl(link, folder))
            plain["rsync"] = stack.enter_context(pipes.rsync(link, folder))
        fast = {f"zstd_fast{level}": pipes.zstd_pipe(f"--fast={level}") for level in (5, 3, 1)}
        codecs = {"lz4": pipes.lz4_pipe, **fast, **{f"zstd{level}": pipes.zstd_pipe(f"-{level}") for level in (1, 3)}}
        slow = {f"zstd{level}": pipes.zstd_pipe(f"-{level}") for level in (1, 3, 6, 9)}
        plan = [
            ("unshaped.random", None, lambda: suite.file("unshaped.random", random, plain)),
            ("unshaped.train", None, lambda: suite.file("unshaped.train", train, plain)),
            ("unshaped.object", None, lambda: objects(suite, random)),
            ("10g.random", 10, lambda: suite.file("10g.random", random, {"socat": pipes.socat}, line_gbits=10)),
            ("10g.train", 10, lambda: suite.file("10g.train", train, {"socat": pipes.socat, "lz4": pipes.lz4_pipe}, line_gbits=10)),
            ("1g.random", 1, lambda: suite.file("1g.random", random, {"socat": pipes.socat}, 1, line_gbits=1)),
            ("1g.train", 1, lambda: suite.file("1g.train", train, codecs, 3)),
            ("100m.train", 0.1, lambda: suite.file("100m.train", train, slow, 1)),
        ]
        for name, gbits, run in plan:
            if arguments.only in name and (gbits is None or link.can_be_shaped):
                link.shape(gbits)
                run()


def objects(suite, source):
    size = min(suite.size, 512 << 20)
    seconds = statistics.median([suite.ours.object(source, size)[0] for _ in range(RUNS + 1)][1:])
    show("transfer.object.unshaped.random_gbs", size / seconds / 1e9, "GB/s")
    small = statistics.median([suite.ours.object(source, 200 << 10)[0] for _ in range(200)])
    show("transfer.object.200kb_p50_us", small * 1e6, "us")
    many = statistics.median([suite.ours.objects(source, 1000, 1 << 20)[0] for _ in range(RUNS)])
    show("transfer.object.1000x1mb_gbs", 1000 * (1 << 20) / many / 1e9, "GB/s")
    if suite.with_peers:
        limit = statistics.median([pipes.iperf3_gbs(suite.link) for _ in range(3)])
        show("peer.iperf3.transfer.object.unshaped.random_gbs", limit, "GB/s")
        show("ratio.transfer.object.unshaped.random_gbs.iperf3", size / seconds / 1e9 / limit, "ratio")


main()
