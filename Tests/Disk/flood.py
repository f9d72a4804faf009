#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""make test-flood FLOOD_MB=4096: so many MiB of objects from 1 KiB to 50 MB, by four clients that get at random what they have put, through a store
of 512 MiB; meanwhile a fifth puts objects of a third of the store. With less than 4 GiB the store is an eighth of it, and the largest object a
tenth of that.

At the end every byte is right, and when all is let go of nothing is left on the disk. Nobody waits for room, or for a get, until its deadline of
30 s; the huge objects are served while the others put, and the others put while the huge ones wait: when the first of the four has ended its
work, each has done a quarter of it. The node takes at most 64 MiB beside the store.

One JSON object on standard output, with what was done and how long the longest put took.

Usage: flood.py MIB RAYSTORE DISK_CLIENT FOLDER
"""

import json
import os
import random
import shutil
import signal
import sys
import tempfile
import threading
import time

from node import Failed, Node, wait_until

CLIENTS = 4
SLICES = 16
HUGE = 6
MS = 30_000
EXTRA_BYTES = 64 << 20


class Watch:
    """The most that the node's own memory came to."""

    def __init__(self, node):
        self.node = node
        self.most = 0
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.look, daemon=True)
        self.thread.start()

    def look(self):
        while not self.ended.wait(0.01):
            self.most = max(self.most, self.node.own_bytes())

    def end(self):
        self.ended.set()
        self.thread.join()
        return self.most


class Worker(threading.Thread):
    """A client that is given one command after the other."""

    def __init__(self, program, commands):
        super().__init__(daemon=True)
        self.program = program
        self.commands = commands
        self.done = 0
        self.answers = []
        self.failure = None
        self.start()

    def run(self):
        try:
            for command in self.commands:
                answer = self.program.ask(command)
                self.answers.append(answer)
                if answer["failed"] or answer["wrong"]:
                    raise Failed(f"{command}: {answer}")
                self.done += 1
        except Failed as failure:
            self.failure = failure

    def finish(self):
        self.join()
        if self.failure:
            raise self.failure
        return self.answers


def flood(total, memory, node, client, seed):
    largest = min(memory // 10, 50_000_000)
    programs = [node.client(client, seed + number) for number in range(CLIENTS + 1)]
    try:
        idle = node.own_bytes()
        watch = Watch(node)
        began = time.monotonic()
        slice_bytes = total // CLIENTS // SLICES
        # More than is ever kept: all stays until the end.
        workers = [Worker(one, [f"work {slice_bytes} 1024 {largest} {2 * total} {MS}"] * SLICES) for one in programs[:CLIENTS]]
        wait_until(lambda: node.counters()["spilledBytes"] > 0 or not any(one.is_alive() for one in workers), "spilling began", 60)
        huge = Worker(programs[CLIENTS], [f"put 1 {memory // 3} {MS}"] * HUGE)
        while all(one.is_alive() for one in workers):
            time.sleep(0.01)
        least = min(one.done for one in workers)
        huge_done = huge.done
        answers = [answer for one in [*workers, huge] for answer in one.finish()]
        seconds = time.monotonic() - began
        if least < SLICES // 4:
            raise Failed(f"when one client had ended its {SLICES} slices another had done {least}")
        if huge_done == 0:
            raise Failed("no huge object was served while the others put")
        counters = node.counters()
        if counters["spilledBytes"] < total // 2:
            raise Failed(f"only {counters['spilledBytes']} bytes were spilled: this tests nothing")
        checks = [Worker(one, [f"check {MS}"]) for one in programs]
        right = sum(one.finish()[0]["right"] for one in checks)
        kept = sum(one.answers[0]["kept"] for one in checks)
        extra = watch.end() - idle
        for one in programs:
            one.ask("drop")
        wait_until(lambda: not node.files(), "the files of objects that have ended went", 60)
        if right != kept:
            raise Failed(f"of {kept} objects {right} were right")
        if node.counters()["recordCount"] != 0:
            raise Failed("there are records of objects that have ended")
        figures = {"mib": total >> 20, "store_mib": memory >> 20, "objects": kept, "seconds": round(seconds, 2),
                   "longest_put_ms": max(answer["longest_ms"] for answer in answers[:-HUGE]),
                   "longest_huge_put_ms": max(answer["longest_ms"] for answer in answers[-HUGE:]), "huge_served_meanwhile": huge_done,
                   "least_slices": least, "extra_rss_mib": round(extra / (1 << 20), 1), "spilled_mib": counters["spilledBytes"] >> 20,
                   "restored_mib": counters["restoredBytes"] >> 20}
        print(json.dumps(figures, separators=(",", ":")), flush=True)
        if extra > EXTRA_BYTES:
            raise Failed(f"the node took {extra >> 20} MiB beside the store")
    finally:
        for one in programs:
            one.__exit__()


def main():
    # What a time limit ends cleans up as well.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    total = int(sys.argv[1]) << 20
    raystore, client = os.path.abspath(sys.argv[2]), os.path.abspath(sys.argv[3])
    seed = int(os.environ.get("RAYSTORE_SEED", "0")) or random.SystemRandom().getrandbits(31)
    print(f"flood: RAYSTORE_SEED={seed}", file=sys.stderr, flush=True)
    os.makedirs(sys.argv[4], exist_ok=True)
    folder = tempfile.mkdtemp(prefix="rsf.", dir=sys.argv[4])
    state = tempfile.mkdtemp(prefix="rsf.", dir="/tmp")  # short: sockets lie below it
    memory = min(512 << 20, total // 8)
    try:
        with Node(raystore, os.path.join(state, "state"), memory, [folder]) as node:
            flood(total, memory, node, client, seed)
    except Failed as failure:
        sys.exit(f"flood: {failure}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        shutil.rmtree(state, ignore_errors=True)


main()
