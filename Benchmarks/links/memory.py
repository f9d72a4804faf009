# SPDX-License-Identifier: Apache-2.0
"""Objects from one node's memory to the other's, and with peers what iperf3, Ray and Mooncake bring over the same link."""

import contextlib
import os
import statistics

import pipes
from figures import Turns, say, show, show_ratio
from processes import Conversation, Failed

MIB = 1 << 20
MANY, SMALL = 1000, 200 << 10
SMALL_GETS, SMALL_TURNS = 20, 10
HERE = os.path.dirname(os.path.abspath(__file__))


def program_of(environments, name):
    python = os.path.join(environments or "", name, "bin", "python")
    if environments is None or not os.path.exists(python):
        raise Failed("there is no virtual environment for it")
    return python, os.path.join(HERE, "..", "peers", f"{name}_link.py")


@contextlib.contextmanager
def ray(link, folder, environments):
    """A Ray node at each end of the link, and a driver that puts at A and has a task get at B."""
    python, driver = program_of(environments, "ray")
    with contextlib.ExitStack() as stack:
        for end in (0, 1):
            node = Conversation(link.at(end, [python, driver, "node", link.hosts[end], link.hosts[0], os.path.join("/tmp", os.path.basename(folder))]),
                                f"Ray's node {end}")
            stack.enter_context(node)
            node.answer()
        yield stack.enter_context(Conversation(link.at(0, [python, driver, "driver", link.hosts[0]]), "Ray's driver"))


@contextlib.contextmanager
def mooncake(link, environments, size):
    """Memory of `size` bytes at each end, over Mooncake's TCP transport; B asks for A's."""
    python, program = program_of(environments, "mooncake")
    with contextlib.ExitStack() as stack:
        holder = stack.enter_context(Conversation(link.at(0, [python, program, "hold", link.hosts[0], str(size)]), "Mooncake's holder"))
        where = holder.answer()
        getter = Conversation(link.at(1, [python, program, "get", link.hosts[1], str(size), where["session"], str(where["address"])]),
                              "Mooncake's getter")
        stack.enter_context(getter)
        getter.answer()
        yield getter


def started(stack, name, start):
    """The peer, or None and a line that says why not."""
    try:
        say(f"starting {name}")
        return stack.enter_context(start)
    except (Failed, OSError) as failure:
        say(f"{name} is left out: {failure}")
        return None


def report(name, turns, value, unit):
    """`value` makes seconds into what is printed; a ratio says how many times better ours is."""
    show(name, value(turns.median("ours")), unit, spread=round(turns.spread("ours"), 3))
    for peer in turns.peers():
        show(f"peer.{peer}.{name}", value(turns.median(peer)), unit, spread=round(turns.spread(peer), 3))
        show_ratio(f"ratio.{name}.{peer}", turns.ratios(peer))


def objects(suite, source, environments):
    size = suite.size
    with contextlib.ExitStack() as stack:
        large = {"ours": lambda: suite.ours.object(source, size)}
        many = {"ours": lambda: suite.ours.objects(source, MANY, MIB)}
        rested = {"ours": lambda: suite.ours.object_at_rest(source, size)}
        small = {"ours": lambda: (statistics.median(suite.ours.object(source, SMALL)[0] for _ in range(SMALL_GETS)), 0)}
        if suite.with_peers:
            iperf3 = started(stack, "iperf3", pipes.iperf3(suite.link, size))
            cake = started(stack, "mooncake", mooncake(suite.link, environments, size))
            rays = started(stack, "ray", ray(suite.link, suite.folder, environments))
            if iperf3:
                large["iperf3"] = rested["iperf3"] = iperf3
            if cake:
                large["mooncake"] = lambda: (cake.ask("get")["seconds"], 0)
            if rays:
                large["ray"] = lambda: (rays.ask(f"objects 1 {size}")["seconds"], 0)
                many["ray"] = lambda: (rays.ask(f"objects {MANY} {MIB}")["seconds"], 0)
                small["ray"] = lambda: (statistics.median(rays.ask(f"objects 1 {SMALL}")["seconds"] for _ in range(SMALL_GETS)), 0)
        report("transfer.object.unshaped.random_gbs", Turns("object", large), lambda seconds: size / seconds / 1e9, "GB/s")
        report("transfer.object.unshaped.rested_gbs", Turns("object whose checksums are known", rested), lambda seconds: size / seconds / 1e9, "GB/s")
        report("transfer.object.1000x1mb_gbs", Turns("1000 objects of 1 MiB", many), lambda seconds: MANY * MIB / seconds / 1e9, "GB/s")
        report("transfer.object.200kb_p50_us", Turns("one of 200 KiB", small, SMALL_TURNS), lambda seconds: seconds * 1e6, "us")
