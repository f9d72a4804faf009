# SPDX-License-Identifier: Apache-2.0
"""Two machines and the wire between them: network namespaces joined by a veth pair, whose rate `tc` sets. Needs root."""

import os
import subprocess

from processes import Conversation


def _run(*command):
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)


def line_gbs(gbits):
    """What a link of this rate carries of a TCP stream's bytes, in GB/s. The rate that tc's tbf sets counts whole frames: of the 1,514 bytes of
    a full one (MTU 1,500) 1,448 are payload, the rest are the headers of Ethernet, IP and TCP with its time stamps."""
    return gbits / 8 * 1448 / 1514


class _Joined:
    """`with` makes two namespaces and what joins them (`_join` of a subclass), and takes them away again, with all that still runs in them."""

    def __init__(self, tag):
        tag = f"{tag}{os.getpid()}"
        self.names = (f"{tag}a", f"{tag}b")
        self.devices = (f"{tag}va"[:15], f"{tag}vb"[:15])

    def __enter__(self):
        try:
            for name in self.names:
                _run("ip", "netns", "add", name)
            self._join()
            for name, device, host in zip(self.names, self.devices, self.hosts):
                _run("ip", "-n", name, "address", "add", f"{host}/30", "dev", device)
                _run("ip", "-n", name, "link", "set", device, "mtu", "1500", "up")
                _run("ip", "-n", name, "link", "set", "lo", "up")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        for name in self.names:
            subprocess.run(["ip", "netns", "delete", name], stderr=subprocess.DEVNULL)

    def at(self, end, command):
        """The command as it runs at end 0 or 1."""
        return ["ip", "netns", "exec", self.names[end], *command]


class Link(_Joined):
    """A wire between two machines."""

    hosts = ("10.97.0.1", "10.97.0.2")
    can_be_shaped = True

    def __init__(self):
        super().__init__("rsb")

    def _join(self):
        _run("ip", "link", "add", self.devices[0], "netns", self.names[0], "type", "veth",
             "peer", "name", self.devices[1], "netns", self.names[1])

    def shape(self, gbits):
        """The rate in both directions, in Gbit/s; None for what the machine can do."""
        for name, device in zip(self.names, self.devices):
            subprocess.run(["tc", "-n", name, "qdisc", "del", "dev", device, "root"], stderr=subprocess.DEVNULL)
            if gbits is not None:
                # A burst of what passes in a tick of the kernel's clock, or the bucket is empty most of the time.
                burst = max(256 << 10, int(gbits * 1e9 / 8 / 250))
                _run("tc", "-n", name, "qdisc", "add", "dev", device, "root", "tbf", "rate", f"{int(gbits * 1000)}mbit",
                     "burst", str(burst), "latency", "50ms")


class FarLink(_Joined):
    """Two machines far apart: joined by Benchmarks/core/far.c, through which each packet takes so many milliseconds."""

    hosts = ("10.97.1.1", "10.97.1.2")

    def __init__(self, program, one_way_ms, gbits):
        super().__init__("rsf")
        self.devices = ("far0", "far0")
        self.command = [program, self.devices[0], *self.names, str(one_way_ms), str(int(gbits * 1000))]
        self.program = None

    def _join(self):
        self.program = Conversation(self.command, "the far link")
        self.program.answer()

    def __exit__(self, *_):
        super().__exit__()
        if self.program is not None:
            self.program.__exit__()


class Loopback:
    """Both ends on this machine's loopback, for who may not make namespaces; its rate cannot be set."""

    hosts = ("127.0.0.1", "127.0.0.1")
    can_be_shaped = False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def shape(self, gbits):
        assert gbits is None

    def at(self, end, command):
        return command
