# SPDX-License-Identifier: Apache-2.0
"""Lets our program and the peers take turns and prints the medians. Usage: compare.py OUR_PROGRAM PEER_COMMAND...

Turns, not one after the other: what else the machine does then meets all of them. Ours prints medians of its own; here they
are the values of which the median over the turns is taken.
"""

import json
import os
import select
import signal
import statistics
import subprocess
import sys
import time

TURNS = 5
SECONDS = 225  # the whole run; the environments are made before
SECONDS_FOR_OURS = 80

# Names of ours that are the same work under another name. Smaller is better for names that end in _ns.
PREFIX = "plasma.c."
start = time.monotonic()


def fail(message):
    print("bench-peers: " + message, file=sys.stderr)
    sys.exit(1)


def left():
    return start + SECONDS - time.monotonic()


class Peer:
    def __init__(self, command):
        self.command = command.split()
        self.pending = b""
        self.values = {}
        # In a group of its own, so that Ctrl-C reaches this program alone, which then ends them in order.
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, start_new_session=True)

    def answer(self):
        """The next line of JSON, waited for no longer than the run may take. Lines that are none are a library's chatter."""
        while True:
            line, found, rest = self.pending.partition(b"\n")
            if found:
                self.pending = rest
                if line.startswith(b"{"):
                    return json.loads(line)
                continue
            if not select.select([self.process.stdout], [], [], max(0, left()))[0]:
                fail(f"{os.path.basename(self.command[1])} was not done after {SECONDS} s")
            more = os.read(self.process.stdout.fileno(), 65536)
            if not more:
                fail(f"{os.path.basename(self.command[1])} ended with status {self.process.wait()}; its reason is above")
            self.pending += more

    def turn(self):
        self.process.stdin.write(b"go\n")
        self.process.stdin.flush()
        for name, value in self.answer().items():
            self.values.setdefault(name, []).append(value)

    def end(self):
        """End of input asks for it, then SIGTERM, then SIGKILL; all to this one process, which ends its own children."""
        try:
            self.process.stdin.close()
        except BrokenPipeError:
            pass
        for insist in (lambda: None, self.process.terminate, self.process.kill):
            insist()
            try:
                self.process.wait(15)
                return
            except subprocess.TimeoutExpired:
                pass


def run_ours(program, lines):
    try:
        done = subprocess.run([program], stdout=subprocess.PIPE, timeout=max(1, left()), check=True, text=True)
    except subprocess.TimeoutExpired:
        fail(f"{program} was not done in time")
    except subprocess.CalledProcessError as error:
        fail(f"{program} failed with status {error.returncode}; its reason is above")
    for line in done.stdout.splitlines():
        if line.startswith("{"):
            one = json.loads(line)
            lines.setdefault(one["name"], (one, []))[1].append(one["value"])


def unit_of(name):
    return "ns" if name.endswith("_ns") else "GB/s" if name.endswith("_gbs") else "ops/s"


def show(name, value, unit, **more):
    print(json.dumps({"name": name, "value": float(f"{value:.6g}"), "unit": unit, **more}, separators=(",", ":")), flush=True)


def take_turns(program, peers, ours):
    spent = 0.0
    for turn in range(TURNS):
        # Ours may grow; then it takes fewer turns, never none, and its lines say how many.
        begin = time.monotonic()
        if turn == 0 or spent + spent / turn <= SECONDS_FOR_OURS and left() > 60:
            run_ours(program, ours)
            spent += time.monotonic() - begin
        for peer in peers:
            peer.turn()


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    ours = {}
    peers = []
    try:
        # They fill their stores at the same time; nothing is measured before all are ready.
        for command in sys.argv[2:]:
            peers.append(Peer(command))
        abouts = [peer.answer() for peer in peers]
        take_turns(sys.argv[1], peers, ours)
    finally:
        for peer in peers:
            peer.end()

    for name, (line, values) in ours.items():
        # Kept as our program printed it, but for the value.
        rest = {key: value for key, value in line.items() if key not in ("name", "value", "unit")}
        show(name, statistics.median(values), line.get("unit", ""), **rest, turns=len(values))
    for about, peer in zip(abouts, peers):
        label = {key: about[key] for key in ("version", "client", "objects")}
        for name, values in peer.values.items():
            show(f"peer.{about['peer']}.{name}", statistics.median(values), unit_of(name), turns=len(values), **label)
    # How many times better ours is: of rates ours over theirs, of times theirs over ours.
    for about, peer in zip(abouts, peers):
        for name, values in peer.values.items():
            if PREFIX + name not in ours:
                print(f"bench-peers: no ratio for {name}: ours does not print {PREFIX}{name}", file=sys.stderr)
                continue
            our = statistics.median(ours[PREFIX + name][1])
            their = statistics.median(values)
            show(f"ratio.{PREFIX}{name}.{about['peer']}", their / our if unit_of(name) == "ns" else our / their, "ratio")


main()
