#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""make test-spill-kill KILLS=500: a node with 32 MiB of memory spills and restores for several clients; clients, and now and then the node, are
killed at random moments.

When a client is killed, the others must still have every object of theirs, bit by bit. When the node is killed, the next one, started on the same
state directory, must leave nothing of what the earlier ones have spilled. In every second life the storage is unstable_fs: of ten spills one fails and
two come only in part; in two of four lives records are packed. At the end the node is stopped, and nothing may be left at all. Nobody may stand still for 30 s.

One JSON object a line on standard output: spill.kills.wrong, .lost, .leaked_files, all of which must be 0, and what was done. RAYSTORE_SEED
repeats the choices; when a process is interrupted stays the machine's.

Usage: spill_kills.py KILLS RAYSTORE WORKER
"""

import json
import os
import random
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time

MEMORY = 32 << 20
WORKERS = 2
KEPT = 40 << 20  # by each worker, and twice that by the survivor
NODE_ONE_IN = 5
CHECK_EVERY = 10  # kills of clients
HANG_SECONDS = 30
SWEEP_SECONDS = 10
ALIVE_SECONDS = 0.3  # at most, from one kill to the next


class Failed(Exception):
    pass


class Worker:
    def __init__(self, program, socket, seed, kept):
        self.process = subprocess.Popen([program, socket, str(seed), str(kept)], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        self.pending = b""
        self.last = {"steps": 0, "wrong": 0, "lost": 0}

    def lines(self, seconds):
        """What it says within so many seconds; at least what is there already."""
        ready, _, _ = select.select([self.process.stdout], [], [], seconds)
        if ready:
            self.pending += os.read(self.process.stdout.fileno(), 65536)
        *whole, self.pending = self.pending.split(b"\n")
        found = [json.loads(line) for line in whole]
        for line in found:
            self.last.update(line)
        return found

    def check(self):
        """Has it get all its objects; how many there were."""
        self.process.stdin.write(b"check\n")
        self.process.stdin.flush()
        until = time.monotonic() + HANG_SECONDS
        while time.monotonic() < until:
            for line in self.lines(1):
                if "checked" in line:
                    return line["checked"]
            if self.process.poll() is not None:
                raise Failed(f"the client that is not killed ended with status {self.process.returncode}")
        raise Failed(f"the client that is not killed did not get its objects within {HANG_SECONDS} s")

    def kill(self):
        self.process.kill()
        self.gather()
        status = self.process.wait()
        if status not in (-signal.SIGKILL, 3):
            raise Failed(f"a client ended by itself, with status {status}")

    def gather(self):
        """What it said before it ended, and no more."""
        while True:
            more = os.read(self.process.stdout.fileno(), 65536)
            if not more:
                break
            self.pending += more
        self.lines(0)
        self.process.stdin.close()

    def end_after_node(self):
        """A client whose node has died ends by itself."""
        try:
            self.process.wait(HANG_SECONDS)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise Failed(f"a client did not notice within {HANG_SECONDS} s that its node had died")
        self.gather()
        if self.process.returncode != 3:
            raise Failed(f"a client of a node that died ended with status {self.process.returncode}")


class Loop:
    def __init__(self, raystore, worker, seed):
        self.raystore = raystore
        self.program = worker
        self.random = random.Random(seed)
        self.folder = tempfile.mkdtemp(prefix="rsk.", dir=os.environ.get("RAYSTORE_KILL_PLACE", "/tmp"))
        self.state = os.path.join(self.folder, "state")
        self.spilled = os.path.join(self.folder, "spilled")
        os.makedirs(self.spilled)
        self.counts = {"wrong": 0, "lost": 0, "leaked_files": 0}
        self.done = {"client_kills": 0, "node_kills": 0, "checked_objects": 0, "steps": 0, "spilled_files_at_node_kills": 0}
        self.node = None
        self.workers = []
        self.survivor = None
        self.life = 0

    # ---- the node -------------------------------------------------------------------------------------------------------------

    def start_node(self):
        kind = "unstable_fs" if self.life % 2 else "filesystem"
        compression = "on" if self.life // 2 % 2 else "off"
        self.life += 1
        storage = json.dumps({"type": kind, "params": {"directory_path": self.spilled, "compression": compression}})
        command = [self.raystore, "start", "--head", "--block", "--json", "--port", "0", "--state-dir", self.state, "--memory",
                   str(MEMORY), "--storage", storage]
        self.node = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        launch = b""
        for line in self.node.stdout:
            launch += line
            if line == b"}\n":
                break
        else:
            raise Failed(f"the node did not start in its life number {self.life}: status {self.node.wait()}")
        self.socket = json.loads(launch)["socket"]
        # What earlier lives left is removed beside the first requests. Nobody has put anything yet.
        until = time.monotonic() + SWEEP_SECONDS
        while (left := self.files()) and time.monotonic() < until:
            time.sleep(0.02)
        if left:
            print(f"spill_kills: {SWEEP_SECONDS} s after the start there is still {left[0]}", file=sys.stderr)
        self.counts["leaked_files"] += len(left)

    def files(self):
        return [os.path.join(folder, name) for folder, _, names in os.walk(self.spilled) for name in names if name != ".lock"]

    def start_clients(self):
        self.survivor = Worker(self.program, self.socket, self.random.getrandbits(40), 2 * KEPT)
        self.workers = [Worker(self.program, self.socket, self.random.getrandbits(40), KEPT) for _ in range(WORKERS)]

    def take_from(self, worker):
        for name in ("wrong", "lost"):
            self.counts[name] += worker.last[name]
        self.done["steps"] += worker.last["steps"]

    # ---- kills ----------------------------------------------------------------------------------------------------------------

    def wait(self):
        """A while at random, in which everybody's lines are read and everybody lives and moves."""
        until = time.monotonic() + self.random.uniform(0, ALIVE_SECONDS)
        everybody = [self.survivor, *self.workers]
        while (left := until - time.monotonic()) > 0:
            select.select([one.process.stdout for one in everybody], [], [], left)
            for one in everybody:
                one.lines(0)
                if one.process.poll() is not None:
                    raise Failed(f"a client ended by itself, with status {one.process.returncode}")
            if self.node.poll() is not None:
                raise Failed(f"the node ended by itself, with status {self.node.returncode}")

    def kill_client(self):
        index = self.random.randrange(WORKERS)
        self.workers[index].kill()
        self.take_from(self.workers[index])
        self.workers[index] = Worker(self.program, self.socket, self.random.getrandbits(40), KEPT)
        self.done["client_kills"] += 1
        if self.done["client_kills"] % CHECK_EVERY == 0:
            self.done["checked_objects"] += self.survivor.check()

    def kill_node(self):
        self.done["checked_objects"] += self.survivor.check()
        self.wait()
        self.done["spilled_files_at_node_kills"] += len(self.files())
        self.node.kill()
        self.node.wait()
        self.node.stdout.close()
        for one in [self.survivor, *self.workers]:
            one.end_after_node()
            self.take_from(one)
        self.done["node_kills"] += 1
        self.start_node()
        self.start_clients()

    def run(self, kills):
        self.start_node()
        self.start_clients()
        for number in range(1, kills + 1):
            self.wait()
            if number % NODE_ONE_IN == 0:
                self.kill_node()
            else:
                self.kill_client()
            if number % 50 == 0:
                print(f"spill_kills: {number} of {kills}: {self.counts} {self.done}", file=sys.stderr, flush=True)
        self.done["checked_objects"] += self.survivor.check()
        for one in [self.survivor, *self.workers]:
            one.kill()
            self.take_from(one)
        self.node.terminate()
        if self.node.wait(60) != 0:
            raise Failed(f"the node that was asked to stop ended with status {self.node.returncode}")
        self.counts["leaked_files"] += len(self.files())

    def end(self):
        for process in [one.process for one in [self.survivor, *self.workers] if one] + [self.node]:
            if process and process.poll() is None:
                process.kill()
                process.wait()
        shutil.rmtree(self.folder, ignore_errors=True)


def main():
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    kills = int(sys.argv[1])
    seed = int(os.environ.get("RAYSTORE_SEED", "0")) or random.SystemRandom().getrandbits(32)
    print(f"spill_kills: RAYSTORE_SEED={seed}", file=sys.stderr, flush=True)
    loop = Loop(os.path.abspath(sys.argv[2]), os.path.abspath(sys.argv[3]), seed)
    try:
        loop.run(kills)
    except Failed as failure:
        sys.exit(f"spill_kills: {failure}; so far {loop.counts} {loop.done}")
    finally:
        loop.end()
    for name, value in loop.counts.items():
        print(json.dumps({"name": f"spill.kills.{name}", "value": value, "unit": "", **loop.done}, separators=(",", ":")))
    if any(loop.counts.values()):
        sys.exit("spill_kills: FAILED")
    # A loop in which nothing was spilled when the node was killed, or nothing was got back, has proved nothing.
    if kills >= 20 and not (loop.done["spilled_files_at_node_kills"] and loop.done["checked_objects"]):
        sys.exit("spill_kills: nothing was spilled: the loop tests nothing")


main()
