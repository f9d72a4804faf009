# SPDX-License-Identifier: Apache-2.0
"""One of our nodes with little memory, and a client of it; what the node itself takes while they work."""

import json
import os
import subprocess
import sys
import threading
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "links"))

from processes import Conversation, Failed, cpu_seconds, free_port  # noqa: E402


class Node:
    """`with Node(raystore, folder, memory) as node: node.client(program)`."""

    def __init__(self, raystore, state, memory, storage=None, environment=None):
        self.raystore = raystore
        self.state = state
        self.more = ["--memory", memory] + (["--storage", storage] if storage else [])
        self.environment = dict(os.environ, **(environment or {}))

    def __enter__(self):
        command = [self.raystore, "start", "--head", "--json", "--port", str(free_port()), "--state-dir", self.state, *self.more]
        done = subprocess.run(command, stdout=subprocess.PIPE, text=True, env=self.environment)
        if done.returncode != 0:
            raise Failed("the node did not start; its reason is above")
        launch = json.loads(done.stdout)
        self.pid = launch["pid"]
        self.socket = launch["socket"]
        return self

    def __exit__(self, *_):
        subprocess.run([self.raystore, "stop", "--state-dir", self.state], stdout=subprocess.DEVNULL)

    def client(self, program):
        return Conversation([program, self.socket], "the client")

    def counters(self):
        """What the node has spilled and restored so far."""
        command = [self.raystore, "status", "--json", "--state-dir", self.state]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=True, text=True)
        return json.loads(done.stdout)["nodes"][0]["spill"]

    def cpu(self):
        return cpu_seconds([self.pid])

    def rest(self, seconds=0.2, within=300):
        """Returns when the node has done next to nothing for so long."""
        until = time.monotonic() + within
        while time.monotonic() < until:
            before = self.cpu()
            time.sleep(seconds)
            if self.cpu() - before < seconds / 10:
                return
        raise Failed(f"the node was still at work after {within} s")

    def own_bytes(self):
        """Memory of the node's process but for the store's segments, which are shared memory."""
        total = 0
        with open(f"/proc/{self.pid}/status") as status:
            for line in status:
                if line.startswith(("RssAnon:", "RssFile:")):
                    total += int(line.split()[1]) << 10
        return total


class Watch:
    """The most that a node's own memory came to while the block ran."""

    def __init__(self, node):
        self.node = node
        self.most = 0

    def __enter__(self):
        self.ended = threading.Event()
        self.thread = threading.Thread(target=self.look)
        self.thread.start()
        return self

    def look(self):
        while not self.ended.wait(0.01):
            self.most = max(self.most, self.node.own_bytes())

    def __exit__(self, *_):
        self.ended.set()
        self.thread.join()
