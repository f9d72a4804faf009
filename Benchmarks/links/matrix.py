#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The matrix: links of four speeds and four kinds of data, each fetched with what the engine picks by itself, raw, and with each fixed codec.

Usage: matrix.py [--quick] [--only SPEED] [--kind KIND]... MOVER
Prints the rate of each way in each cell, then the worst cells of automatic over the best fixed codec (raw is one) and over raw.

The worst cells are of what this run measured; of a matrix measured in parts results.py finds them.

The faster the link, the larger the file (SIZES). In a cell all ways take one turn; automatic and those that came within a third of the best fixed
one (at most three) take more, there and back. The others are far behind and their one run is the figure.

A machine that is shared is faster and slower by tens of per cent within a minute, which is more than what is to be seen. So automatic is compared
to what ran beside it in the same turn: the figure is the median of the turns' ratios. There are at least five turns, fifteen where they are
short; and more, up to LONG_MOST or SHORT_MOST, until the median is known to a fiftieth by how the turns differ. That rule sees how far they differ, not
in whose favour.
"""

import argparse
import os
import statistics

import figures
import pages
from figures import say, show, show_ratio
from link import Link, line_gbs
from mover import LZ4, NONE, ZSTD, Mover

SPEEDS = (("unshaped", None), ("10g", 10), ("1g", 1), ("100m", 0.1))
SIZES = {"unshaped": 1 << 30, "10g": 512 << 20, "1g": 256 << 20, "100m": 48 << 20}
KINDS = ("random", "text", "floats", "zeros")
FIXED = {"raw": (NONE, 0), "lz4": (LZ4, 0), **{f"zstd{level}": (ZSTD, level) for level in (-5, -1, 1, 3, 5, 9)}}
NEAR_MAX = 3  # of the fixed ones; they are as good as each other then
SHORT, SHORT_LEAST, SHORT_MOST = 1.5, 15, 45  # seconds, turns
LONG_LEAST, LONG_MOST = figures.RUNS, 9
KEPT_PART = 3  # of a file, for one that arrives and what is between


def measure(mover, cell, kind):
    ways = {way: lambda wish=wish: mover.fetch(f"{kind}.bin", *wish) for way, wish in {"auto": (0, 0), **FIXED}.items()}
    turns = figures.Turns(cell, ways, 1, warm_up=False, ours=ways)
    near = turns.near(FIXED)[:NEAR_MAX]
    is_short = max(map(turns.median, near)) < SHORT
    turns.settle("auto", near, *((SHORT_LEAST, SHORT_MOST) if is_short else (LONG_LEAST, LONG_MOST)))
    turns.report()
    return turns, near


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--quick", action="store_true", help="files an eighth as long: whether it works, not how well")
    parser.add_argument("--only", default="", help="one of the speeds: " + " ".join(SIZES))
    parser.add_argument("--kind", action="append", choices=KINDS, help="one of the kinds of data; may be given again")
    parser.add_argument("mover")
    arguments = parser.parse_args()
    figures.need_root()
    speeds = [speed for speed in SPEEDS if arguments.only in ("", speed[0])]
    sizes = {speed: SIZES[speed] // 8 if arguments.quick else SIZES[speed] for speed, _ in speeds}
    kinds = [kind for kind in KINDS if kind in (arguments.kind or KINDS)]
    worst_best, worst_raw = (9.0, ""), (9.0, "")
    with figures.scratch(max(sizes.values()), *kinds) as folder, Link() as link, Mover(link, folder, os.path.abspath(arguments.mover)) as mover, \
            pages.kept(KEPT_PART * max(sizes.values())):
        # Whoever is first pays for memory that was never used, at both ends and in the machine below: that is nobody's figure.
        link.shape(speeds[0][1])
        for wish in (FIXED["raw"], FIXED["zstd1"]):
            mover.fetch(f"{kinds[0]}.bin", *wish)
        for speed, gbits in speeds:
            link.shape(gbits)
            for kind in kinds:
                # From one speed to the next files only get shorter.
                os.truncate(os.path.join(folder, f"{kind}.bin"), sizes[speed])
                cell = f"{speed}.{kind}"
                turns, near = measure(mover, cell, kind)
                for way in turns.seconds:
                    show(f"transfer.matrix.{cell}.{way}_gbs", sizes[speed] / turns.median(way) / 1e9, "GB/s", runs=len(turns.seconds[way]))
                over = {way: statistics.median(turns.ratios(way, "auto")) for way in near}
                best = min(over, key=over.get)
                # Far behind it took one turn.
                over_raw = over["raw"] if "raw" in over else turns.median("raw") / turns.median("auto")
                show_ratio(f"transfer.matrix.{cell}.auto_vs_best_fixed", turns.ratios(best, "auto"), best=best)
                show(f"transfer.matrix.{cell}.auto_vs_raw", over_raw, "ratio")
                say(f"{cell}: automatic is {over[best]:.3f} x the best fixed ({best}), {over_raw:.3f} x raw")
                worst_best = min(worst_best, (over[best], f"{cell}, {best}"))
                worst_raw = min(worst_raw, (over_raw, cell))
            if gbits is not None:
                show(f"transfer.matrix.{speed}.line_gbs", line_gbs(gbits), "GB/s")
    show("transfer.auto_vs_best_fixed_min", worst_best[0], "ratio", worst=worst_best[1])
    show("transfer.auto_vs_raw_min", worst_raw[0], "ratio", worst=worst_raw[1])


if __name__ == "__main__":
    figures.run_suite(main)
