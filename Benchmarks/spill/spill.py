# SPDX-License-Identifier: Apache-2.0
"""make bench SUITE=spill: 4 GB of objects into a store of 512 MB and back, from 50 MB each to 1 MB each; gets of what stays in memory meanwhile;
1 GB to an S3 server and back. With --peers RAY_PYTHON Ray does the same on the same disk, and boto3's transfer manager
with the same servers, in turns.

Rates are bytes put over the time until the last put has returned, and bytes got over the time of the gets; the page cache is warm. All objects are got twice
by either side, in the order in which they were put:

- `in.*_gbs`: one get after the other, each with one object, released before the next. Timed is all of it, from the first question to the last answer: only a
  word in each 256 KiB is looked at, and nothing else goes on between. It is the work that the issue's figure of Ray was made with.
- `in.*_batch_gbs`: batches of 200 MB, asked for together and kept until all of it is here. Timed are the gets alone; between them everything is compared with
  what was put. What a node reads ahead meanwhile is had by the next batch.

Two ratios compare with a plain sequential write of the same bytes before and after, the faster of the two; both count the bytes that were spilled,
not those that stayed in memory. `out.disk_ratio` is of what the disk takes: either side ends with a sync, for a write that has not reached the disk
is no write of that disk. `out.cache_ratio` is without: then 4 GB fit into the page cache, and the plain write is one thread that copies warm memory, which
no disk is part of; ours makes the objects and sums them up with the same two cores meanwhile. Whoever writes finds the machine's memory as
warm as everybody else.

What goes to the S3 server, as what boto3 sends, lies in memory before the time begins: a node that has room for it all is asked for room for one object that needs all of it. Timed is
until that has its room, so until the server has taken everything. `s3.out_with_puts_gbs` is of a node of 512 MB, with the making of the objects and all that the puts cost, until the server has taken the last file,
as the node notes it. Before that comes back the objects that were never written are given up: making room for what comes back would write them meanwhile, which boto3 has not to do. The
server is rclone's, over a folder in memory; in the figures with `moto` in their names it is moto's, one Python process.

How many times as good as the peer's a figure is, is the median of what each turn says, for the machine may be faster in one turn than in another. Turns go
there and back, whoever was first being last in the next. With peers, and if there is more than one, they go on until the ratios are known: those with rclone's server to
0.02 or for 40 turns, those of the disk to a twentieth of themselves or for 8 turns with Ray. The two that need no Ray, of 1 MB to 50 MB and of either to
the plain write, have up to 24 more turns then, without it and without the gets: the disk itself is slow and fast by turns.

Usage: spill.py [--peers RAY_PYTHON] [--s3 PYTHON_WITH_MOTO] [--turns N] [--only NAME] [--server NAME] RAYSTORE CLIENT_PROGRAM FOLDER_ON_THE_DISK
"""

import argparse
import os
import shutil
import statistics
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(HERE, "..", "links"))

import disk  # noqa: E402
import figures  # noqa: E402
import pages  # noqa: E402
from node import Node, Watch  # noqa: E402
from processes import Conversation, Failed  # noqa: E402
from server import SERVERS, Rclone, figure  # noqa: E402

MEMORY = 512 << 20
TOTAL = 4_000_000_000
SIZES = {"50mb": 50_000_000, "1mb": 1_000_000}
BATCH = 200_000_000
S3_TOTAL = 1_000_000_000
S3_MEMORY = 1_400_000_000  # below the mark from which on a node writes by itself
S3_KEPT = 4_000_000_000  # the server's folder, and the memory of a node or of boto3
S3_TURNS_MOST = 40
DISK_TURNS_MOST = 8
PUT_TURNS_MOST = 24
DISK_KNOWN = 0.05  # of the ratio
GETS_SECONDS = 2


class Values:
    """Figures of several turns under their names."""

    def __init__(self):
        self.all = {}

    def add(self, name, value):
        self.all.setdefault(name, []).append(value)

    def median(self, name):
        return statistics.median(self.all[name])

    def __contains__(self, name):
        return name in self.all

    def spread(self, name):
        """The lowest and the highest, for who reads the line."""
        return [float(f"{value:.4g}") for value in (min(self.all[name]), max(self.all[name]))]


def put_all(program, kind, values):
    size = SIZES[kind]
    out = program.ask(f"out {TOTAL // size} {size} {BATCH // size}")
    values.add(f"out.{kind}_gbs", TOTAL / out["seconds"] * 1e-9)
    return out


def get_all(program, kind, values):
    values.add(f"in.{kind}_gbs", TOTAL / program.ask("in")["seconds"] * 1e-9)
    values.add(f"in.{kind}_batch_gbs", TOTAL / program.ask("in_batches")["seconds"] * 1e-9)


def ours_turn(chosen, folder, values, kinds, gets=True):
    for kind in kinds:
        plain = [disk.sequential_write(folder, TOTAL)]
        with Node(chosen.raystore, os.path.join(folder, "state"), str(MEMORY)) as node, node.client(chosen.client) as program:
            idle = node.own_bytes()
            disk.warm_memory(folder, TOTAL)
            disk.sync()
            cpu = node.cpu()
            with Watch(node) as watch:
                out = put_all(program, kind, values)
                used = node.cpu() - cpu
                counters = node.counters()
                synced = disk.sync()
                if gets:
                    get_all(program, kind, values)
            after = node.counters()
            values.add(f"cpu.{kind}", used)
            values.add("extra_rss", watch.most - idle)
            values.add("rss", watch.most)
            if after["damagedRecords"]:
                raise Failed(f"{after['damagedRecords']} records came back damaged")
            program.ask("drop")
        plain.append(disk.sequential_write(folder, TOTAL))
        if kind == "50mb":
            returned, on_disk = (max(TOTAL / seconds for seconds in pair) for pair in zip(*plain))
            values.add("cache_gbs", returned * 1e-9)
            values.add("disk_gbs", on_disk * 1e-9)
            values.add("out.cache_ratio", counters["spilledBytes"] / out["seconds"] / returned)
            values.add("out.disk_ratio", counters["spilledBytes"] / (out["seconds"] + synced) / on_disk)


def ray_turn(chosen, folder, values, kinds):
    place = os.path.join(folder, "ray")
    os.makedirs(place)
    temporary = tempfile.mkdtemp(prefix="rspeers.", dir="/tmp")  # short: Ray puts sockets deep below it
    try:
        command = [chosen.peers, os.path.join(HERE, "..", "peers", "ray_spill.py"), temporary, place, str(MEMORY)]
        with Conversation(command, "Ray") as program:
            values.version = program.answer()["version"]
            for kind in kinds:
                disk.warm_memory(folder, TOTAL)
                disk.sync()
                put_all(program, kind, values)
                disk.sync()
                get_all(program, kind, values)
                program.ask("drop")
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        shutil.rmtree(place, ignore_errors=True)


def gets_beside_spilling(chosen, folder, values):
    """p99 of a get of what is pinned in memory, with nothing else going on, and while another client puts as fast as it can."""
    with Node(chosen.raystore, os.path.join(folder, "state"), str(MEMORY)) as node:
        with node.client(chosen.client) as getter, node.client(chosen.client) as putter:
            getter.ask("hold 1000 1000")
            idle = getter.ask(f"gets {GETS_SECONDS}")
            size = SIZES["50mb"]
            putter.tell(f"out {TOTAL // size} {size} 1")
            while node.counters()["spilledObjects"] == 0:
                time.sleep(0.01)
            busy = getter.ask(f"gets {GETS_SECONDS}")
            still = node.counters()["spilledObjects"] < (TOTAL - MEMORY) // size
            putter.answer()
            if not still:
                figures.say("the spilling was over before the gets were: the ratio is of less than it says")
            for when, answer in (("idle", idle), ("busy", busy)):
                values.add(f"get_p99_{when}_ns", answer["p99_ns"])
            values.add("get_p99_while_spilling_ratio", busy["p99_ns"] / idle["p99_ns"])


def disk_turns(chosen, folder, ours, ray):
    kinds = [kind for kind in SIZES if chosen.only in (None, kind)]
    sides = [lambda: ours_turn(chosen, folder, ours, kinds)] if kinds else []
    if chosen.peers and kinds:
        sides.append(lambda: ray_turn(chosen, folder, ray, kinds))
    if chosen.only in (None, "gets"):
        sides.append(lambda: gets_beside_spilling(chosen, folder, ours))
    may_go_on = chosen.peers and kinds and chosen.turns > 1
    for turn in range(max(chosen.turns, DISK_TURNS_MOST) if may_go_on else chosen.turns):
        if turn >= chosen.turns and are_known(ratios_to(ray, ours, kinds) + own_ratios(ours, kinds)):
            break
        for side in sides:
            side()
        for order in (sides, kinds):
            order.reverse()
    for _ in range(PUT_TURNS_MOST if may_go_on else 0):
        if are_known(own_ratios(ours, kinds)):
            return
        ours_turn(chosen, folder, ours, kinds, gets=False)
        kinds.reverse()


def ratios_to(ray, ours, kinds):
    return [ratios(f"{way}.{kind}_gbs", ours, ray) for way in ("out", "in") for kind in kinds]


def own_ratios(ours, kinds):
    """Those of the disk's that no peer is part of."""
    every = [small_over_large(ours)] if len(kinds) == len(SIZES) else []
    return every + ([ours.all["out.disk_ratio"]] if "out.disk_ratio" in ours else [])


def are_known(every):
    return all(figures.doubt(turns) <= DISK_KNOWN * statistics.median(turns) for turns in every)


def small_over_large(values):
    return [small / large for small, large in zip(values.all["out.1mb_gbs"], values.all["out.50mb_gbs"])]


def boto3_turn(chosen, server, values):
    """As many bytes in objects of the size that our files have."""
    size = 100_000_000
    command = [chosen.s3, os.path.join(HERE, "boto3_client.py"), *server.words, str(S3_TOTAL // size), str(size)]
    with Conversation(command, "boto3") as program:
        for way, names in (("out", ("out", "out_with_puts")), ("in", ("in",))):
            answer = program.ask(way)
            values.version = answer["version"]
            for name in names:
                values.add(figure(name, type(server)), S3_TOTAL / answer["seconds"] * 1e-9)
        program.ask("remove")


def settled(node, within=300):
    """The node's counters once no file is being written any more. While it works it is not asked: a question takes a process, and as much of
    a core as a twentieth of a second has."""
    until = time.monotonic() + within
    while time.monotonic() < until:
        node.rest()
        before = node.counters()
        time.sleep(0.1)
        after = node.counters()
        if after["spillSeconds"] == before["spillSeconds"]:
            return after
    raise Failed(f"files were still being written after {within} s")


def our_s3_turn(chosen, server, folder, values):
    """Rates are of the bytes that were spilled and restored, as the node counts them."""
    endpoint, access_key, secret_key, bucket = server.words
    environment = {"AWS_ENDPOINT_URL": endpoint, "AWS_ACCESS_KEY_ID": access_key, "AWS_SECRET_ACCESS_KEY": secret_key}
    storage = '{"type": "smart_open", "params": {"uri": "s3://%s"}}' % bucket
    size = SIZES["50mb"]
    kind = type(server)
    with Node(chosen.raystore, os.path.join(folder, "state"), str(S3_MEMORY), storage, environment) as node:
        with node.client(chosen.client) as program:
            program.ask(f"out {S3_TOTAL // size} {size} 1")
            node.rest()
            if node.counters()["spilledBytes"]:
                raise Failed("the node began to write before it was asked for room")
            seconds = program.ask(f"room {S3_MEMORY * 95 // 100}")["seconds"]
            if node.counters()["spilledBytes"] < S3_TOTAL:
                raise Failed("there was room before everything was written")
            values.add(figure("out", kind), S3_TOTAL / seconds * 1e-9)
            program.ask("drop")
    with Node(chosen.raystore, os.path.join(folder, "state"), str(MEMORY), storage, environment) as node:
        with node.client(chosen.client) as program:
            out = program.ask(f"out {(S3_TOTAL + MEMORY) // size} {size} {BATCH // size}")
            spilled = settled(node)
            program.ask(f"keep {spilled['spilledObjects']}")
            back = program.ask("in_batches")
            restored = node.counters()["restoredBytes"] - spilled["restoredBytes"]
            seconds = max(out["seconds"], spilled["spilledAt"] - out["began"])
            values.add(figure("out_with_puts", kind), spilled["spilledBytes"] / seconds * 1e-9)
            values.add(figure("in", kind), restored / back["seconds"] * 1e-9)
            program.ask("drop")


def s3_turns(kind, chosen, folder, values, boto3):
    """There and back. With the server that the figures without its name are of, more than were asked for while the ratios are in doubt."""
    may_go_on = kind is Rclone and chosen.peers and chosen.turns > 1
    for turn in range(max(chosen.turns, S3_TURNS_MOST) if may_go_on else chosen.turns):
        names = [figure(way, kind) for way in ("out", "in")]
        if turn >= chosen.turns and all(figures.doubt(ratios(name, values, boto3)) <= figures.KNOWN for name in names):
            return
        with kind(chosen.s3) as server:
            if chosen.peers and turn % 2 == 0:
                boto3_turn(chosen, server, boto3)
            our_s3_turn(chosen, server, folder, values)
            if chosen.peers and turn % 2 == 1:
                boto3_turn(chosen, server, boto3)


def ratios(name, ours, theirs):
    return [ours_one / theirs_one for ours_one, theirs_one in zip(ours.all[name], theirs.all[name])]


def rounded(values):
    return [float(f"{value:.3g}") for value in values]


def doubt_of(name, values):
    """The standard error of a ratio that is no peer's, and what each turn says: the disk has its moods, and the quartiles are of those."""
    if not name.endswith("_ratio") or len(values.all[name]) < 2:
        return {}
    return {"error": float(f"{figures.doubt(values.all[name]):.2g}"), "each": rounded(values.all[name])}


def show_beside(name, ours, peer, theirs, client):
    """A figure of a peer, and how many times as good ours is."""
    if name in theirs:
        figures.show(f"peer.{peer}.spill.{name}", theirs.median(name), "GB/s", turns=len(theirs.all[name]), spread=theirs.spread(name),
                     version=theirs.version, client=client)
        turns = ratios(name, ours, theirs)
        figures.show_ratio(f"ratio.spill.{name}.{peer}", turns, each=rounded(turns))


def show(ours, ray, boto3):
    for kind in SIZES:
        for name in (f"out.{kind}_gbs", f"in.{kind}_gbs", f"in.{kind}_batch_gbs"):
            if name not in ours:
                continue
            more = {"node_cpu_seconds": round(ours.median(f"cpu.{kind}"), 2)} if name.startswith("out") else {}
            figures.show(f"spill.{name}", ours.median(name), "GB/s", turns=len(ours.all[name]), spread=ours.spread(name), **more)
            show_beside(name, ours, "ray", ray, "python")
    if all(f"out.{kind}_gbs" in ours for kind in SIZES):
        figures.show_ratio("spill.out.1mb_over_50mb", small_over_large(ours), each=rounded(small_over_large(ours)))
    for name, unit in (("disk_gbs", "GB/s"), ("cache_gbs", "GB/s"), ("out.disk_ratio", ""), ("out.cache_ratio", ""),
                       ("get_p99_idle_ns", "ns"), ("get_p99_busy_ns", "ns"), ("get_p99_while_spilling_ratio", ""),
                       *((figure(way, server), "GB/s") for server in SERVERS for way in ("out", "out_with_puts", "in"))):
        if name in ours:
            figures.show(f"spill.{name}", ours.median(name), unit, turns=len(ours.all[name]), spread=ours.spread(name), **doubt_of(name, ours))
            show_beside(name, ours, "boto3", boto3, "transfer manager")
    if "extra_rss" in ours:
        figures.show("spill.node_extra_rss_mb", max(ours.all["extra_rss"]) / 1e6, "MB", over="the idle node's",
                     whole_process_mb=round(max(ours.all["rss"]) / 1e6, 1))


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--peers")
    parser.add_argument("--s3")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--only", choices=[*SIZES, "gets", "s3"])
    parser.add_argument("--server", choices=[kind.name for kind in SERVERS])
    for name in ("raystore", "client", "place"):
        parser.add_argument(name)
    chosen = parser.parse_args()
    os.makedirs(chosen.place, exist_ok=True)
    folder = tempfile.mkdtemp(prefix="rsb.", dir=os.path.abspath(chosen.place))
    ours, ray, boto3 = Values(), Values(), Values()
    try:
        disk_turns(chosen, folder, ours, ray)
        if chosen.s3 and chosen.only in (None, "s3"):
            with pages.kept(S3_KEPT):
                for kind in (kind for kind in SERVERS if chosen.server in (None, kind.name)):
                    s3_turns(kind, chosen, folder, ours, boto3)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        show(ours, ray, boto3)


figures.run_suite(main)
