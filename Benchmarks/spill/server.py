# SPDX-License-Identifier: Apache-2.0
"""S3 servers for as long as a block lasts: rclone's, a program in Go that serves a folder, and moto's, the Python process of the tests.

As it comes, rclone reads each object once more to hash it when it is first asked for, and hashes twice what it writes to compare the two: 4.4 s of
processor a GiB for a client that sends it and 1.4 to 6 s for one that reads it, the more the more ranges are asked for at once. So two cores are busy with
the server whatever the client does. The figures are made without that, which leaves 1.8 and 1.35 s; those with `rclone_as_is` in
their names are made with it.

`words` are the endpoint, the access key, the secret key and a bucket. Both were seen to refuse a wrong key when the block begins.
"""

import os
import shutil
import subprocess
import sys
import tempfile

from processes import Failed

HERE = os.path.dirname(os.path.abspath(__file__))
SCRIPTS = os.path.join(HERE, "..", "..", "Tests", "S3")


class Moto:
    name = "moto"
    folder = None

    def __init__(self, python):
        self.python = python

    def arguments(self):
        return [os.path.join(SCRIPTS, "server.py")]

    def __enter__(self):
        self.process = subprocess.Popen([self.python, *self.arguments()], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        try:
            words = self.process.stdout.readline().split()
            if len(words) != 4:
                raise Failed(f"the S3 server {self.name} did not start")
            self.words = [f"http://127.0.0.1:{words[1]}", words[2], words[3], "spill"]
            if subprocess.run([self.python, os.path.join(HERE, "check_keys.py"), *self.words], stdout=sys.stderr).returncode != 0:
                raise Failed(f"the S3 server {self.name} does not check keys, or does not take its own; its answer is above")
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
        if self.folder:
            shutil.rmtree(self.folder, ignore_errors=True)


class Rclone(Moto):
    """Its folder is in memory, so that no disk is part of what is measured."""

    name = "rclone"
    settings = ("--etag-hash=", "--ignore-checksum")

    def arguments(self):
        self.folder = tempfile.mkdtemp(prefix="rsb.", dir="/dev/shm")
        return [os.path.join(SCRIPTS, "rclone.py"), self.folder, *self.settings]


class RcloneAsIs(Rclone):
    name = "rclone_as_is"
    settings = ()


SERVERS = (Rclone, RcloneAsIs, Moto)


def figure(way, server, prefix=""):
    """A figure's name: those of the other servers have their names in it."""
    return f"s3.{prefix}{way}_gbs" if server is Rclone else f"s3.{prefix}{way}_{server.name}_gbs"
