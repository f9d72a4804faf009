#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The matrix: links of four speeds and four kinds of data, each fetched with what the engine picks by itself, raw, and with each fixed codec.

Usage: matrix.py [--quick] [--only SPEED] [--kind KIND]... MOVER
Prints the rate of each way in each cell, then the worst cells of automatic over the best fixed codec (raw is one) and over raw.

The worst cells are of what this run measured; of a matrix measured in parts results.py finds them.

The faster the link, the larger the file (SIZES). In a cell all ways take one turn; those that came within a third of the best fixed one
take four more, with automatic and raw, so that their medians are of five; of fifteen where a turn is short, since there the machine's own ups
and downs are larger than what is to be seen. The others are far behind and their one run is the figure.
"""

import argparse
import os

import figures
from figures import say, show
from link import Link, line_gbs
from mover import LZ4, NONE, ZSTD, Mover

SPEEDS = (("unshaped", None), ("10g", 10), ("1g", 1), ("100m", 0.1))
SIZES = {"unshaped": 1 << 30, "10g": 512 << 20, "1g": 256 << 20, "100m": 48 << 20}
KINDS = ("random", "text", "floats", "zeros")
FIXED = {"raw": (NONE, 0), "lz4": (LZ4, 0), **{f"zstd{level}": (ZSTD, level) for level in (-5, -1, 1, 3, 5, 9)}}
NEAR = 1.33
NEAR_MAX = 3  # of the fixed ones; they are as good as each other then
SHORT, SHORT_RUNS = 1.5, 15  # seconds


def measure(mover, cell, kind):
    ways = {way: lambda wish=wish: mover.fetch(f"{kind}.bin", *wish) for way, wish in {"auto": (0, 0), **FIXED}.items()}
    first = figures.Turns(cell, ways, 1, warm_up=False, ours=ways)
    best = min(first.median(way) for way in FIXED)
    near = sorted((way for way in FIXED if first.median(way) < NEAR * best), key=first.median)[:NEAR_MAX]
    runs = SHORT_RUNS if max(map(first.median, near)) < SHORT else figures.RUNS
    again = figures.Turns(cell, {way: ways[way] for way in dict.fromkeys(["auto", "raw", *near])}, runs - 1, warm_up=False, ours=ways)
    for way, seconds in again.seconds.items():
        first.seconds[way] += seconds
    return first


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
    with figures.scratch(max(sizes.values()), *kinds) as folder, Link() as link, Mover(link, folder, os.path.abspath(arguments.mover)) as mover:
        # Whoever is first pays for memory that was never used, at both ends and in the machine below: that is nobody's figure.
        link.shape(speeds[0][1])
        for wish in (FIXED["raw"], FIXED["zstd1"]):
            mover.fetch(f"{kinds[0]}.bin", *wish)
        for speed, gbits in speeds:
            link.shape(gbits)
            for kind in kinds:
                # From one speed to the next files only get shorter.
                os.truncate(os.path.join(folder, f"{kind}.bin"), sizes[speed])
                turns = measure(mover, f"{speed}.{kind}", kind)
                best = min(FIXED, key=turns.median)
                for way in turns.seconds:
                    show(f"transfer.matrix.{speed}.{kind}.{way}_gbs", sizes[speed] / turns.median(way) / 1e9, "GB/s",
                         runs=len(turns.seconds[way]))
                over_best = turns.median(best) / turns.median("auto")
                over_raw = turns.median("raw") / turns.median("auto")
                say(f"{speed}.{kind}: automatic is {over_best:.3f} x the best fixed ({best}), {over_raw:.3f} x raw")
                worst_best = min(worst_best, (over_best, f"{speed}.{kind}, {best}"))
                worst_raw = min(worst_raw, (over_raw, f"{speed}.{kind}"))
            if gbits is not None:
                show(f"transfer.matrix.{speed}.line_gbs", line_gbs(gbits), "GB/s")
    show("transfer.auto_vs_best_fixed_min", worst_best[0], "ratio", worst=worst_best[1])
    show("transfer.auto_vs_raw_min", worst_raw[0], "ratio", worst=worst_raw[1])


if __name__ == "__main__":
    figures.run_suite(main)
