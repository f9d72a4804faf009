# SPDX-License-Identifier: Apache-2.0
"""Two of our nodes, one at each end of a link, and the program that fetches between them."""

import json
import os
import subprocess
import time

from processes import Conversation, cpu_seconds, free_port, wait_until


class Ours:
    """`with Ours(link, folder) as ours: ours.file(path)` answers (seconds, CPU seconds of both nodes)."""

    def __init__(self, link, folder, raystore, fetches, memory="2GiB"):
        self.link = link
        self.raystore = raystore
        self.fetches = fetches
        self.memory = memory
        self.states = [os.path.join(folder, "a"), os.path.join(folder, "b")]
        self.pids = []

    def start(self, end, *more):
        command = [self.raystore, "start", "--json", "--host", self.link.hosts[end], "--state-dir", self.states[end],
                   "--memory", self.memory, *more]
        done = subprocess.run(self.link.at(end, command), stdout=subprocess.PIPE, check=True, text=True)
        launch = json.loads(done.stdout)
        self.pids.append(launch["pid"])
        return launch

    def __enter__(self):
        self.program = None
        try:
            head = self.start(0, "--head", "--port", str(free_port()))
            address = f"{head['node']['host']}:{head['node']['controlPort']}"
            member = self.start(1, "--address", address, "--key-file", head["keyFile"])
            sockets = [head["socket"], member["socket"]]
            self.program = Conversation([self.fetches, *sockets], "the fetching program")
            self._settle()
        except BaseException:
            self.__exit__()
            raise
        return self

    def _settle(self):
        """Waits until both nodes have taken their memory, which they do in the background: it is not what a fetch costs."""
        seen = [(cpu_seconds(self.pids), time.monotonic())]

        def are_idle():
            now = cpu_seconds(self.pids), time.monotonic()
            if now[0] > seen[0][0] + 0.02:
                seen[0] = now
            return now[1] - seen[0][1] > 0.5
        wait_until(are_idle, "the nodes' taking their memory", 60)

    def __exit__(self, *_):
        if self.program is not None:
            self.program.__exit__()
        for state in reversed(self.states[: len(self.pids)]):
            subprocess.run([self.raystore, "stop", "--state-dir", state], stdout=subprocess.DEVNULL)

    def _ask(self, request):
        before = cpu_seconds(self.pids)
        seconds = self.program.ask(request)["seconds"]
        used = cpu_seconds(self.pids) - before
        self.program.ask("drop")  # not in what it cost: the peers' copies are removed behind their backs, too
        return seconds, used

    def file(self, path):
        return self._ask(f"file {path}")

    def object(self, path, size):
        return self._ask(f"object {path} {size}")

    def object_at_rest(self, path, size):
        """An object whose checksums the node has computed since it was put."""
        def hashed():
            status = subprocess.run([self.raystore, "status", "--json", "--state-dir", self.states[0]], stdout=subprocess.PIPE, check=True)
            return sum(node["sums"]["aheadBytes"] + node["sums"]["givenBytes"] for node in json.loads(status.stdout)["nodes"])
        before = hashed()
        self.program.ask(f"put {path} 1 {size}")
        wait_until(lambda: hashed() >= before + size, "the object's checksums", 60)
        return self._ask("get")

    def objects(self, path, count, size):
        return self._ask(f"objects {path} {count} {size}")
