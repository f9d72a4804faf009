#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""One object of 256 MiB random bytes to 1, 4 and 8 receivers at once, each a process on a link of its own at 1 Gbit/s both ways.

Usage: broadcast.py [--runs N] [--size BYTES] CROWD
Nine network namespaces on a bridge. Prints the slowest receiver's time with 4 and with 8 over that with 1, the copies that the source sent, and
the CPU seconds of all processes per second of the longest run (this kernel's work for the network is partly in them). Needs root.
"""

import argparse
import os
import shutil
import statistics
import subprocess
import tempfile

import figures
from figures import Undisturbed, say, show
from processes import Conversation

GBITS = 1
RECEIVERS = 8


def _run(*command):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


class Star:
    """A bridge in a namespace, and hosts around it, each behind a shaped link."""

    def __init__(self, count):
        self.tag = f"rsc{os.getpid()}"
        self.hub = f"{self.tag}h"
        self.names = [f"{self.tag}n{i}" for i in range(count)]
        self.hosts = [f"10.98.0.{i + 1}" for i in range(count)]

    def __enter__(self):
        try:
            _run("ip", "netns", "add", self.hub)
            _run("ip", "-n", self.hub, "link", "add", "bridge", "type", "bridge")
            _run("ip", "-n", self.hub, "link", "set", "bridge", "up")
            for i, (name, host) in enumerate(zip(self.names, self.hosts)):
                _run("ip", "netns", "add", name)
                _run("ip", "link", "add", "eth", "netns", name, "type", "veth", "peer", "name", f"port{i}", "netns", self.hub)
                _run("ip", "-n", self.hub, "link", "set", f"port{i}", "master", "bridge", "up")
                _run("ip", "-n", name, "address", "add", f"{host}/24", "dev", "eth")
                _run("ip", "-n", name, "link", "set", "eth", "up")
                _run("ip", "-n", name, "link", "set", "lo", "up")
                for space, device in ((name, "eth"), (self.hub, f"port{i}")):
                    _run("tc", "-n", space, "qdisc", "add", "dev", device, "root", "tbf", "rate", f"{GBITS * 1000}mbit",
                         "burst", str(512 << 10), "latency", "50ms")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for name in [*self.names, self.hub]:
            subprocess.run(["ip", "netns", "delete", name], stderr=subprocess.DEVNULL)

    def at(self, index, command):
        return ["ip", "netns", "exec", self.names[index], *command]


class Crowd:
    """The source and its receivers, as long as the block lasts."""

    def __init__(self, star, program, file, size):
        self.star = star
        self.round = 0
        self.all = []
        try:
            for i, host in enumerate(star.hosts):
                command = [program, "source", host, file] if i == 0 else [program, "puller", host, str(size)]
                self.all.append(Conversation(star.at(i, command), f"the process at {host}"))
            self.port = [process.answer()["port"] for process in self.all][0]
        except BaseException:
            self.__exit__()
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.all:
            process.__exit__()

    def fetch(self, count):
        """The slowest one's seconds, the copies' bytes that the source sent, the CPU seconds of all."""
        self.round += 1
        source = self.all[0]
        before = source.ask(str(self.round))
        receivers = self.all[1:count + 1]
        for receiver in receivers:
            receiver.process.stdin.write(f"{self.star.hosts[0]} {self.port} {self.round}\n")
            receiver.process.stdin.flush()
        answers = [receiver.answer() for receiver in receivers]
        after = source.ask("")
        cpu = sum(answer["cpu"] for answer in answers) + after["cpu"] - before["cpu"]
        return max(answer["seconds"] for answer in answers), after["sent"] - before["sent"], cpu


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--size", type=int, default=256 << 20)
    parser.add_argument("crowd")
    arguments = parser.parse_args()
    figures.need_root()
    folder = tempfile.mkdtemp(prefix="rsc.", dir="/dev/shm")
    try:
        file = os.path.join(folder, "random.bin")
        with open(file, "wb") as out:
            for _ in range(arguments.size >> 20):
                out.write(os.urandom(1 << 20))
        with Star(RECEIVERS + 1) as star, Crowd(star, os.path.abspath(arguments.crowd), file, arguments.size) as crowd:
            runs = {count: [] for count in (1, 4, RECEIVERS)}
            crowd.fetch(RECEIVERS)  # the arenas' pages are made here
            undisturbed = Undisturbed(arguments.runs * len(runs))
            for _ in range(arguments.runs):
                for count in runs:
                    runs[count].append(undisturbed.run(lambda: crowd.fetch(count)))
                    say(f"{count} receivers: {runs[count][-1][0]:.3f} s, {runs[count][-1][1] / arguments.size:.2f} copies, {runs[count][-1][2]:.2f} CPU s")
        one = statistics.median(seconds for seconds, _, _ in runs[1])
        show("transfer.broadcast.1_gbs", arguments.size / one / 1e9, "GB/s", runs=arguments.runs)
        for count in (4, RECEIVERS):
            show(f"transfer.broadcast.{count}_ratio", statistics.median(seconds for seconds, _, _ in runs[count]) / one, "ratio", runs=arguments.runs)
        show("transfer.broadcast.source_copies", max(sent for count in (4, RECEIVERS) for _, sent, _ in runs[count]) / arguments.size, "copies",
             runs=2 * arguments.runs)
        show("transfer.broadcast.8_cpu_cores", statistics.median(cpu / seconds for seconds, _, cpu in runs[RECEIVERS]), "cores", runs=arguments.runs)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    figures.run_suite(main)
