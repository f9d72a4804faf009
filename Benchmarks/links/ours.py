# SPDX-License-Identifier: Apache-2.0
"""Two of our nodes, one at each end of a link, and the program that fetches between them."""

import json
import os
import subprocess

from processes import Conversation, cpu_seconds, free_port


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
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        if self.program is not None:
            self.program.__exit__()
        for state in reversed(self.states[: len(self.pids)]):
            subprocess.run([self.raystore, "stop", "--state-dir", state], stdout=subprocess.DEVNULL)

    def _ask(self, request):
        before = cpu_seconds(self.pids)
        seconds = self.program.ask(request)["seconds"]
        return seconds, cpu_seconds(self.pids) - before

    def file(self, path):
        return self._ask(f"file {path}")

    def object(self, path, size):
        return self._ask(f"object {path} {size}")

    def objects(self, path, count, size):
        return self._ask(f"objects {path} {count} {size}")
