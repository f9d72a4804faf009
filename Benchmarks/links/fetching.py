#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Files and objects between two of our nodes over links of several rates; with --peers, what others do over the same link in the same run.

Usage: fetching.py [--peers [--environments FOLDER] [--pipes NAME,...]] [--turns N] [--size BYTES] [--only NAME] RAYSTORE FETCHES
Source, destination and state lie in /dev/shm. Medians of five; ours and the peers take turns. One JSON object a line.

All fixed pipes of a shaped link take several minutes. --pipes runs some of them, each beside ours in the same turns, and no other peer;
results.py finds the best of all in the lines of several such runs.
"""

import argparse
import contextlib
import os
import shutil
import statistics

import figures
import memory
import pages
import pipes
from figures import Turns, say, show, show_ratio
from link import Link, Loopback, line_gbs
from ours import Ours
from processes import Failed

KEPT_PART = 6  # of a file, for one that arrives, what peers hold in memory, and what is between
TURNS_MOST = 25
SHORT = 1 << 28  # bytes of the file at 100 Mbit/s, where 1 GiB would take a quarter of an hour in all


def present(peers, programs):
    """The peers whose programs are here; a line for each that is not."""
    for peer, needed in programs.items():
        missing = [program for program in needed if shutil.which(program) is None]
        if peer in peers and missing:
            say(f"{peer} is left out: {' '.join(missing)} not found (apt-get install nginx-light curl rsync socat iperf3 zstd lz4)")
            del peers[peer]
    return peers


class Suite:
    def __init__(self, link, ours, folder, size, with_peers, runs=figures.RUNS, pipes_only=()):
        self.link, self.ours, self.folder, self.size, self.with_peers = link, ours, folder, size, with_peers
        self.runs, self.pipes_only = runs, pipes_only
        self.target = os.path.join(folder, "target")

    def peer(self, way, source):
        def run():
            try:
                return way(self.link, source, self.target)
            finally:
                with contextlib.suppress(FileNotFoundError):
                    os.remove(self.target)
        return run

    def file(self, name, source, peers, gbits=None, warm_up=True, fixed=()):
        """`fixed` names the pipes of which the best is to be beaten, all of them."""
        size = os.path.getsize(source)
        name = f"transfer.file.{name}"
        ways = {"ours": lambda: self.ours.file(source)}
        if self.with_peers:
            ways.update({peer: self.peer(way, source) for peer, way in peers.items()})
            ways = {way: run for way, run in ways.items() if way == "ours" or not self.pipes_only or way in self.pipes_only}
        turns = Turns(name, ways, self.runs, warm_up=warm_up)
        if gbits is None and turns.peers():
            # The machine's ups and downs are as large as what is to be seen, and a turn is short.
            turns.settle("ours", turns.near(turns.peers()), self.runs, TURNS_MOST if self.runs >= figures.RUNS else self.runs)
            turns.report()

        def gbs(way):
            return size / turns.median(way) / 1e9

        def cpu(way):
            return turns.cpu_median(way) / (size / 1e9)

        show(f"{name}_gbs", gbs("ours"), "GB/s", spread=round(turns.spread("ours"), 3))
        show(f"{name}_cpu_s_per_gb", cpu("ours"), "s/GB")
        if gbits is not None:
            # The second is over the rate that was set, the headers of the frames included.
            show(f"{name}_line_ratio", gbs("ours") / line_gbs(gbits), "ratio", line_gbs=round(line_gbs(gbits), 5),
                 over_rate=round(gbs("ours") * 8 / gbits, 4))
        for peer in turns.peers():
            show(f"peer.{peer}.{name}_gbs", gbs(peer), "GB/s", spread=round(turns.spread(peer), 3))
            show(f"peer.{peer}.{name}_cpu_s_per_gb", cpu(peer), "s/GB")
            show_ratio(f"ratio.{name}_gbs.{peer}", turns.ratios(peer))
            show(f"ratio.{name}_cpu_s_per_gb.{peer}", turns.cpu_ratio(peer), "ours/theirs")
        if turns.peers() and not self.pipes_only:
            best = min(turns.peers(), key=lambda peer: statistics.median(turns.ratios(peer)))
            show_ratio(f"ratio.{name}_gbs.best", turns.ratios(best), peer=best)
            show(f"ratio.{name}_cpu_s_per_gb.best", turns.cpu_ratio(best), "ours/theirs", peer=best)
        missing = [pipe for pipe in fixed if pipe not in turns.peers()]
        if self.pipes_only:
            pass  # results.py does it, with the lines of the other runs
        elif self.with_peers and missing:
            say(f"{name}: no best pipe, since not all of them ran: {' '.join(missing)} did not")
        elif self.with_peers and fixed:
            best = min(fixed, key=lambda pipe: statistics.median(turns.ratios(pipe)))
            show_ratio(f"ratio.{name}_gbs.best_pipe", turns.ratios(best), peer=best, of=list(fixed))


def plan_of(suite, folder, peers, environments):
    random, train = os.path.join(folder, "random.bin"), os.path.join(folder, "train.bin")
    fast, slow = dict(pipes.FIXED[1]), dict(pipes.FIXED[0.1])
    programs = {"socat": ["socat"], "lz4": ["socat", "lz4"], **{peer: ["socat", "zstd"] for peer in [*fast, *slow] if peer != "lz4"}}
    fast, slow, socat = present(fast, programs), present(slow, programs), present({"socat": pipes.socat}, programs)
    lz4 = {**socat, **{name: way for name, way in fast.items() if name == "lz4"}}

    def slowest():
        short = os.path.join(folder, "train.short.bin")
        shutil.copyfile(train, short)
        os.truncate(short, min(SHORT, suite.size))
        suite.file("100m.train", short, slow, 0.1, warm_up=False, fixed=pipes.FIXED[0.1])
        os.remove(short)

    return [
        ("unshaped.random", None, lambda: suite.file("unshaped.random", random, peers)),
        ("unshaped.train", None, lambda: suite.file("unshaped.train", train, peers)),
        ("object", None, lambda: memory.objects(suite, random, environments)),
        ("10g.random", 10, lambda: suite.file("10g.random", random, socat, 10)),
        ("10g.train", 10, lambda: suite.file("10g.train", train, lz4, 10)),
        ("1g.random", 1, lambda: suite.file("1g.random", random, socat, 1, warm_up=False)),
        ("1g.train", 1, lambda: suite.file("1g.train", train, {**socat, **fast}, 1, warm_up=False, fixed=pipes.FIXED[1])),
        ("100m.train", 0.1, slowest),
    ]


def servers(stack, link, folder):
    """The peers that need a server, started."""
    peers = present({"socat": None, "nginx_curl": pipes.nginx_curl, "rsync": pipes.rsync},
                    {"socat": ["socat"], "nginx_curl": ["nginx", "curl"], "rsync": ["rsync"]})
    for peer, start in list(peers.items()):
        try:
            peers[peer] = pipes.socat if peer == "socat" else stack.enter_context(start(link, folder))
        except (Failed, OSError) as failure:
            say(f"{peer} is left out: {failure}")
            del peers[peer]
    return peers


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("--environments", help="where the virtual environments ray and mooncake are")
    parser.add_argument("--size", type=int, default=figures.GIB)
    parser.add_argument("--files", help="a folder in /dev/shm with random.bin and train.bin of that size; else they are made")
    parser.add_argument("--only", default="", help="only figures whose name contains this")
    parser.add_argument("--pipes", default="", help="of the peers only these fixed pipes, with commas: zstd1,zstd3")
    parser.add_argument("--turns", type=int, default=figures.RUNS)
    parser.add_argument("raystore")
    parser.add_argument("fetches")
    arguments = parser.parse_args()
    pipes_only = [name for name in arguments.pipes.split(",") if name]
    unknown = set(pipes_only) - {name for fixed in pipes.FIXED.values() for name in fixed}
    if unknown or (pipes_only and not arguments.peers):
        parser.error(f"no such pipe: {' '.join(sorted(unknown))}" if unknown else "--pipes are peers: --peers, too")
    is_root = os.geteuid() == 0
    if not is_root:
        say("network namespaces need root: loopback instead, and no shaped links")
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(figures.scratch(arguments.size, "random", "train", made=arguments.files))
        link = stack.enter_context(Link() if is_root else Loopback())
        ours = stack.enter_context(Ours(link, folder, os.path.abspath(arguments.raystore), os.path.abspath(arguments.fetches)))
        stack.enter_context(pages.kept(KEPT_PART * arguments.size))
        suite = Suite(link, ours, folder, arguments.size, arguments.peers, arguments.turns, pipes_only)
        peers = servers(stack, link, folder) if arguments.peers and not pipes_only else {}
        for name, gbits, run in plan_of(suite, folder, peers, arguments.environments):
            if arguments.only in name and (gbits is None or link.can_be_shaped):
                link.shape(gbits)
                run()


if __name__ == "__main__":
    figures.run_suite(main)
