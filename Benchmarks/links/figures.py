# SPDX-License-Identifier: Apache-2.0
"""What the suites over links share: where files lie, taking turns, and printing."""

import contextlib
import json
import math
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
NEAR = 1.33  # times as long as the fastest: not worth more turns beyond
KNOWN = 0.02  # of a ratio: well enough
STOLEN, AGAIN = 0.03, 2  # a share of all processors; times
REST, REST_MOST = 10, 300  # seconds; a suite is up to six programs
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
    if Undisturbed.is_used:
        program = os.path.splitext(os.path.basename(sys.argv[0]))[0]
        show(f"{program}.runs_set_aside", Undisturbed.set_aside, "runs", stolen=STOLEN, rested_s=Undisturbed.rested)
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


class Undisturbed:
    """What is measured while the machine below gives the processors to others says nothing about either side. So a run from which more than STOLEN
    of them was taken is run again after a rest, ours and others' alike: at most AGAIN times, `most` times in all. The last one counts, whatever it is;
    what a run leaves behind beside its answer must be of the last one, too."""

    # Of the whole program.
    is_used = False
    set_aside = 0
    rested = 0

    def __init__(self, most):
        Undisturbed.is_used = True
        self.left = most
        self.rest()

    def run(self, way):
        """What way() answers."""
        for _ in range(min(AGAIN, self.left)):
            theft = Theft()
            answer = way()
            if not theft.exceeds(STOLEN):
                return answer
            self.left -= 1
            Undisturbed.set_aside += 1
            self.rest()
        return way()

    @staticmethod
    def rest():
        """Waits until all processors can be had for half a second; REST_MOST at most in the whole program, and then no more."""
        while Undisturbed.rested < REST_MOST and not _are_ours():
            say(f"others have the processors: waiting, {Undisturbed.rested} s of at most {REST_MOST} so far")
            time.sleep(REST)
            Undisturbed.rested += REST


def _are_ours():
    """Whether the machine below gives us all processors, for half a second."""
    busy = "import time\nend = time.monotonic() + 0.5\nwhile time.monotonic() < end: pass"
    theft = Theft()
    for program in [subprocess.Popen([sys.executable, "-S", "-c", busy]) for _ in range(os.cpu_count())]:
        program.wait()
    return not theft.exceeds(STOLEN)


def doubt(ratios):
    """The standard error of their median, as of a normal distribution with their quartiles; of one nobody knows."""
    if len(ratios) < 2:
        return math.inf
    low, _, high = statistics.quantiles(ratios, n=4)
    return 1.2533 * (high - low) / 1.349 / math.sqrt(len(ratios))


def show_ratio(name, ratios, **more):
    """The median of what turns say, and its standard error."""
    error = {"error": float(f"{doubt(ratios):.2g}")} if len(ratios) > 1 else {}
    show(name, statistics.median(ratios), "ratio", **more, turns=len(ratios), **error)


class Turns:
    """Several ways to bring the same bytes over, each answering (seconds, CPU seconds), run in turns; of disturbed runs as many are repeated
    as there are turns or ways. A way that fails is left out from then on, with a line that says so, unless it is ours."""

    def __init__(self, name, ways, runs=RUNS, warm_up=True, ours=("ours",)):
        self.name, self.ways, self.ours = name, ways, ours
        self.seconds = {way: [] for way in ways}
        self.cpu = {way: [] for way in ways}
        self.undisturbed = Undisturbed(max(runs, len(ways)))
        if warm_up:
            self._run(list(ways), is_measured=False)
        for _ in range(runs):
            self._run(list(self.seconds))
        self.report()

    def settle(self, ours, others, least, most):
        """More turns of these, there and back, until there are `least` and the medians of their ratios are known to KNOWN, or there are `most`."""
        order = [ours, *others]
        while (count := len(self.seconds[ours])) < most and (count < least or max(doubt(self.ratios(way, ours)) for way in order[1:]) > KNOWN):
            self._run(order if count % 2 else order[::-1])
            order = [way for way in order if way in self.seconds]
            if len(order) == 1:
                return

    def report(self):
        say(f"{self.name}: " + ", ".join(f"{way} {self.median(way):.4g} s" for way in self.seconds))

    def _run(self, ways, is_measured=True):
        for way in ways:
            try:
                seconds, cpu = self.undisturbed.run(self.ways[way]) if is_measured else self.ways[way]()
            except (Failed, subprocess.CalledProcessError, OSError) as failure:
                if way in self.ours:
                    raise
                say(f"{self.name}: {way} is left out: {failure}")
                del self.seconds[way], self.cpu[way]
                continue
            if is_measured:
                self.seconds[way].append(seconds)
                self.cpu[way].append(cpu)

    def median(self, way):
        return statistics.median(self.seconds[way])

    def cpu_median(self, way):
        return statistics.median(self.cpu[way])

    def ratios(self, way, ours="ours"):
        """Of each turn that this way took part in: its time over that of ours beside it."""
        return [theirs / mine for theirs, mine in zip(self.seconds[way], self.seconds[ours])]

    def cpu_ratio(self, way):
        """Of the processors' time ours took, over this way's: the median of the turns'."""
        return statistics.median(mine / theirs for theirs, mine in zip(self.cpu[way], self.cpu["ours"]))

    def near(self, ways):
        """Those of the ways that are about as good as the best of them, the best first."""
        ways = sorted(ways, key=self.median)
        return [way for way in ways if self.median(way) < NEAR * self.median(ways[0])]

    def spread(self, way):
        """Slowest over fastest."""
        return max(self.seconds[way]) / min(self.seconds[way])

    def peers(self):
        return [way for way in self.seconds if way != "ours"]
