# SPDX-License-Identifier: Apache-2.0
"""A real node that spills, and its clients, for tests that end whatever happens."""

import json
import os
import subprocess
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "Benchmarks", "links"))

from processes import Conversation, Failed, wait_until  # noqa: E402, F401


class Node:
    """It ends with the block, by being asked; a test that is killed takes it along."""

    def __init__(self, raystore, state, memory, folders, environment=None):
        storage = json.dumps({"type": "filesystem", "params": {"directory_path": folders}})
        self.folders = folders
        self.command = [raystore, "start", "--head", "--block", "--leash", "--json", "--port", "0", "--state-dir", state, "--memory", str(memory),
                        "--storage", storage]
        self.environment = dict(os.environ, **(environment or {}))
        self.counter_command = [raystore, "status", "--json", "--state-dir", state]

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=self.environment)
        launch = ""
        for line in self.process.stdout:
            launch += line
            if line == "}\n":
                break
        else:
            raise Failed(f"the node did not start: status {self.process.wait()}")
        self.socket = json.loads(launch)["socket"]
        return self

    def __exit__(self, *_):
        self.process.terminate()
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    def client(self, program, seed):
        return Conversation([program, self.socket, str(seed)], f"client {seed}")

    def files(self, folder=None):
        """What lies in the storage, or in one of its folders."""
        places = [folder] if folder else self.folders
        return [os.path.join(where, name) for place in places for where, _, names in os.walk(place) for name in names if "-multi-" in name]

    def counters(self):
        done = subprocess.run(self.counter_command, stdout=subprocess.PIPE, check=True, text=True)
        return json.loads(done.stdout)["nodes"][0]["spill"]

    def own_bytes(self):
        """Memory of the process but for the store's segments, which are shared memory."""
        with open(f"/proc/{self.process.pid}/status") as status:
            return sum(int(line.split()[1]) << 10 for line in status if line.startswith(("RssAnon:", "RssFile:")))
