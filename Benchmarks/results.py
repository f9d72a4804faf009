#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes the tables of Benchmarks/RESULTS.md and the plot docs/transfer-matrix.svg of what the suites printed.

Usage: results.py [--plot FILE.svg] FILE...     the files hold JSON lines of `make bench` and `make bench-peers`, of which the last of a name counts
"""

import argparse
import json
import os
import sys

import plot

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "links"))
import pipes  # noqa: E402, the suites' own, not the standard library's

SPEEDS = ("unshaped", "10g", "1g", "100m")
KINDS = ("random", "text", "floats", "zeros")
FIXED = ("raw", "lz4", "zstd-5", "zstd-1", "zstd1", "zstd3", "zstd5", "zstd9")

# What issue 4 wants: the figure that decides, at least or at most, this.
WANTED = (
    ("ratio.transfer.file.unshaped.random_gbs.best", ">=", 1.0),
    ("ratio.transfer.file.unshaped.random_cpu_s_per_gb.best", "<=", 1.0),
    ("ratio.transfer.object.unshaped.random_gbs.iperf3", ">=", 0.95),
    ("ratio.transfer.object.unshaped.random_gbs.ray", ">=", 3),
    ("ratio.transfer.object.unshaped.random_gbs.mooncake", ">=", 1.8),
    ("ratio.transfer.object.1000x1mb_gbs.ray", ">=", 2),
    ("transfer.object.200kb_p50_us", "<=", 600),
    ("transfer.file.10g.random_line_ratio", ">=", 0.97),
    ("transfer.file.1g.random_line_ratio", ">=", 0.97),
    ("transfer.file.10g.train_line_ratio", ">=", 0.97),
    ("ratio.transfer.file.1g.train_gbs.best_pipe", ">=", 1.15),
    ("ratio.transfer.file.100m.train_gbs.best_pipe", ">=", 1.1),
    ("transfer.auto_vs_best_fixed_min", ">=", 0.95),
    ("transfer.auto_vs_raw_min", ">=", 0.97),
    ("transfer.broadcast.4_ratio", "<=", 1.25),
    ("transfer.broadcast.8_ratio", "<=", 1.35),
    ("transfer.broadcast.source_copies", "<=", 2),
    ("transfer.resume.sent_ratio", "<=", None),  # the limit is in the line
    ("transfer.delay200ms.1g_ratio", ">=", 0.9),
)


def read(paths):
    lines = {}
    for path in paths:
        with open(path) as file:
            for line in file:
                if line.startswith("{"):
                    one = json.loads(line)
                    lines[one["name"]] = one
    return lines


def number(value):
    return f"{value:.3g}" if value < 100 else f"{value:.0f}"


def of_what(name):
    """`ratio.transfer.file.x_gbs.peer` is about `transfer.file.x_gbs`, and the same for the ratio to the line."""
    if name.startswith("ratio."):
        return name.split(".", 1)[1].rsplit(".", 1)[0]
    return name.replace("_line_ratio", "_gbs")


def wanted_table(lines):
    print("| name | ours | over | is | wanted | |")
    print("|---|---|---|---|---|---|")
    for name, sign, limit in WANTED:
        line = lines.get(name)
        about = of_what(name)
        if line is None:
            print(f"| `{about}` | | {name.rsplit('.', 1)[1] if name.startswith('ratio.') else ''} | not measured | | |")
            continue
        if limit is None:
            limit = line["limit"]
        met = line["value"] >= limit if sign == ">=" else line["value"] <= limit
        over = f"{line.get('peer', name.rsplit('.', 1)[1])}" if name.startswith("ratio.") else "line" if "_line_" in name else ""
        ours = f"{number(lines[about]['value'])} {lines[about]['unit']}" if about in lines and about != name else ""
        more = f" ({line['worst']})" if "worst" in line else ""
        print(f"| `{about}` | {ours} | {over} | {number(line['value'])}{more} | {'≥' if sign == '>=' else '≤'} {limit:g} | {'yes' if met else '**no**'} |")


def peers_table(lines):
    rows = {}
    for name, line in lines.items():
        if name.startswith("peer."):
            _, peer, about = name.split(".", 2)
            rows.setdefault(about, []).append(f"{peer} {number(line['value'])}")
    if rows:
        print("\n| name | ours | peers |")
        print("|---|---|---|")
    for about, peers in rows.items():
        print(f"| `{about}` | {number(lines[about]['value']) if about in lines else ''} {lines.get(about, {}).get('unit', '')} | {', '.join(peers)} |")


def cell(lines, speed, kind, way):
    return lines.get(f"transfer.matrix.{speed}.{kind}.{way}_gbs", {}).get("value")


def compared(lines, speed, kind):
    """The fixed codec that automatic gains least over, how much that is, and over raw: of the ratios within turns, not of the rates."""
    over_best = lines[f"transfer.matrix.{speed}.{kind}.auto_vs_best_fixed"]
    return over_best["best"], over_best["value"], lines[f"transfer.matrix.{speed}.{kind}.auto_vs_raw"]["value"]


def matrix_table(lines):
    print("\n| GB/s | automatic | over the best fixed | over raw | " + " | ".join(FIXED) + " |")
    print("|---" * (len(FIXED) + 4) + "|")
    for speed in SPEEDS:
        for kind in KINDS:
            values = {way: cell(lines, speed, kind, way) for way in ("auto", *FIXED)}
            if None in values.values():
                continue
            best, over_best, over_raw = compared(lines, speed, kind)
            fixed = [f"**{number(values[way])}**" if way == best else number(values[way]) for way in FIXED]
            print(f"| {speed}, {kind} | {number(values['auto'])} | {over_best:.3f} | {over_raw:.3f} | " + " | ".join(fixed) + " |")


def note_worst(lines):
    """The worst cells of a matrix that may have been measured in parts, when it is complete."""
    if any(cell(lines, speed, kind, way) is None for speed in SPEEDS for kind in KINDS for way in ("auto", *FIXED)):
        return
    over_best, over_raw = [], []
    for speed in SPEEDS:
        for kind in KINDS:
            best, value, raw = compared(lines, speed, kind)
            over_best.append((value, f"{speed}.{kind}, {best}"))
            over_raw.append((raw, f"{speed}.{kind}"))
    for name, cells in (("best_fixed", over_best), ("raw", over_raw)):
        value, worst = min(cells)
        lines[f"transfer.auto_vs_{name}_min"] = {"value": value, "unit": "ratio", "worst": worst}


def note_best_pipes(lines):
    """The best of all fixed pipes, when they were measured in parts: the one that ours, in the same turns, gains least over."""
    for name, gbits in (("1g.train", 1), ("100m.train", 0.1)):
        over = {pipe: lines.get(f"ratio.transfer.file.{name}_gbs.{pipe}", {}).get("value") for pipe in pipes.FIXED[gbits]}
        if None not in over.values():
            best = min(over, key=over.get)
            lines[f"ratio.transfer.file.{name}_gbs.best_pipe"] = {"value": over[best], "unit": "ratio", "peer": best}


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--plot")
    parser.add_argument("files", nargs="+")
    arguments = parser.parse_args()
    lines = read(arguments.files)
    note_worst(lines)
    note_best_pipes(lines)
    wanted_table(lines)
    peers_table(lines)
    matrix_table(lines)
    if arguments.plot:
        rates = {(speed, kind, way): cell(lines, speed, kind, way) for speed in SPEEDS for kind in KINDS for way in ("auto", *FIXED)}
        if None in rates.values():
            sys.exit("results: the matrix is incomplete, so there is no plot")
        with open(arguments.plot, "w") as file:
            file.write(plot.svg(rates, KINDS, ("auto", *FIXED)))


main()
