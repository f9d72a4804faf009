# SPDX-License-Identifier: Apache-2.0
"""The S3 server of the tests, for as long as a block lasts."""

import os
import subprocess

from processes import Failed

SCRIPT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "..", "Tests", "S3", "server.py")


class Server:
    """`words` are the endpoint, the access key, the secret key and a bucket."""

    def __init__(self, python):
        self.command = [python, SCRIPT]

    def __enter__(self):
        self.process = subprocess.Popen(self.command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        words = self.process.stdout.readline().split()
        if len(words) != 4:
            self.__exit__()
            raise Failed("the S3 server did not start")
        self.words = [f"http://127.0.0.1:{words[1]}", words[2], words[3], "spill"]
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()
