# SPDX-License-Identifier: Apache-2.0
"""What the suites over links share: where files lie, taking turns, and printing."""

import contextlib
import json
import os
import shutil
import signal
import statistics
import subprocess
import sys
import tempfile
import time

from processes import Failed, Theft

PLACE = "/dev/shm"
RUNS = 5
STOLEN, AGAIN = 0.03, 2
GIB = 1 << 30
_began = time.monotonic()


def show(name, value, unit, **more):
    print(json.dumps({"name": name, "value": float(f"{value:.4g}"), "unit": unit, **more}, separators=(",", ":")), flush=True)


def say(text):
    print(f"[{time.monotonic() - _began:5.0f} s] {text}", file=sys.stderr, flush=True)


def run_suite(main):
    """So that whatever ends it, what it started is ended on the way out; a failure of ours is one line."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        main()
    except KeyboardInterrupt:
        sys.exit(130)
    except Failed as failure:
        sys.exit(f"benchmark: {failure}")
    if Turns.set_aside:
        show("runs_set_aside", Turns.set_aside, "runs", stolen=STOLEN)
    say("done")


def need_root():
    if os.geteuid() != 0:
        raise Failed("links are network namespaces, which need root")


@contextlib.contextmanager
def scratch(size, *kinds, made=None):
    """A folder in memory with these files of make_files.py, or links to those in the folder `made`, which is in memory, too."""
    folder = tempfile.mkdtemp(prefix="rsb.", dir=PLACE)
    try:
        for kind in kinds if made else ():
            os.link(os.path.join(made, f"{kind}.bin"), os.path.join(folder, f"{kind}.bin"))
        if kinds and not made:
            say(f"making {size >> 20} MiB each of {' '.join(kinds)}")
            maker = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "make_files.py")
            subprocess.run([sys.executable, maker, folder, str(size), *kinds], check=True)
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


class Turns:
    """Several ways to bring the same bytes over, each answering (seconds, CPU seconds), run in turns. A way that fails is left out from then
    on, with a line that says so, unless it is ours. A run from which the machine below took more than STOLEN of the processors is run again, ours
    and others' alike, at most AGAIN times; the last one counts. Where it always takes as much, only as many are as make up one turn."""

    set_aside = 0  # in the whole suite

    def __init__(self, name, ways, runs=RUNS, warm_up=True, ours=("ours",)):
        self.name, self.ways, self.ours = name, ways, ours
        self.seconds = {way: [] for way in ways}
        self.cpu = {way: [] for way in ways}
        self.patience = max(runs, len(ways))
        if warm_up:
            self._run(list(ways), is_measured=False)
        for _ in range(runs):
            self._run(list(self.seconds))
        self.report()

    def again(self, ways):
        """One more turn, of these ways in this order."""
        self._run(ways)

    def report(self):
        say(f"{self.name}: " + ", ".join(f"{way} {self.median(way):.4g} s" for way in self.seconds))

    def _run(self, ways, is_measured=True):
        for way in ways:
            try:
                seconds, cpu = self._undisturbed(way)
            except (Failed, subprocess.CalledProcessError, OSError) as failure:
                if way in self.ours:
                    raise
                say(f"{self.name}: {way} is left out: {failure}")
                del self.seconds[way], self.cpu[way]
                continue
            if is_measured:
                self.seconds[way].append(seconds)
                self.cpu[way].append(cpu)

    def _undisturbed(self, way):
        for left in reversed(range(AGAIN + 1)):
            theft = Theft()
            took = self.ways[way]()
            if not left or not self.patience or not theft.exceeds(STOLEN):
                return took
            self.patience -= 1
            Turns.set_aside += 1

    def median(self, way):
        return statistics.median(self.seconds[way])

    def cpu_median(self, way):
        return statistics.median(self.cpu[way])

    def spread(self, way):
        """Slowest over fastest."""
        return max(self.seconds[way]) / min(self.seconds[way])

    def peers(self):
        return [way for way in self.seconds if way != "ours"]
