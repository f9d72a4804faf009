# SPDX-License-Identifier: Apache-2.0
"""Our engine without nodes: Benchmarks/core/mover.c at both ends of a link."""

import os

from processes import Conversation, cpu_seconds

NONE, LZ4, ZSTD = 1, 2, 3  # as in docs/PROTOCOL.md


class Mover:
    """`with Mover(link, folder, program) as mover: mover.fetch("random.bin")` answers (seconds, CPU seconds of both ends)."""

    def __init__(self, link, folder, program):
        self.link = link
        self.target = os.path.join(folder, "moved")
        self.server = Conversation(link.at(0, [program, "serve", link.hosts[0], folder]), "the serving mover")
        try:
            self.puller = Conversation(link.at(1, [program, "pull"]), "the pulling mover")
            self.address = (link.hosts[0], self.server.answer()["port"])
        except BaseException:
            self.__exit__()
            raise
        self.last = None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for program in (getattr(self, "puller", None), self.server):
            if program is not None:
                program.__exit__()

    def fetch(self, name, codec=0, level=0, address=None):
        pids = [self.server.process.pid, self.puller.process.pid]
        host, port = address or self.address
        before = cpu_seconds(pids)
        self.last = self.puller.ask(f"{host} {port} {name} {self.target} {codec} {level}")
        return self.last["seconds"], cpu_seconds(pids) - before
