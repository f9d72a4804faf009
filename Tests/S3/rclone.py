#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Another S3 service for the tests: rclone's, a program in Go that serves a folder and checks signatures.

Prints one line, `READY PORT ACCESS_KEY SECRET_KEY`, and serves until its standard input ends. The buckets are `spill` and `other`, folders in FOLDER.
Usage: rclone.py FOLDER SETTINGS_OF_RCLONE...
"""
import ctypes
import os
import re
import secrets
import signal
import subprocess
import sys

PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """So that nothing is left when this program is killed."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)


def main(folder: str, *settings: str) -> None:
    for bucket in ("spill", "other"):
        os.makedirs(os.path.join(folder, bucket), exist_ok=True)
    access_key, secret_key = secrets.token_hex(8), secrets.token_hex(16)
    program = os.path.join(os.path.dirname(sys.executable), "rclone")
    # It chooses a port that is free, and says which in its first words. Without a configuration of the machine's.
    command = [program, "serve", "s3", "--config", "", "--addr", "127.0.0.1:0", "--auth-key", f"{access_key},{secret_key}"]
    server = subprocess.Popen(
        [*command, *settings, folder], stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True, preexec_fn=end_with_parent)
    said = ""
    for line in server.stderr:
        said += line
        if started := re.search(r"http://127\.0\.0\.1:(\d+)/", line):
            break
    else:
        sys.exit(f"rclone.py: rclone does not serve: {said}")
    print("READY", started[1], access_key, secret_key, flush=True)
    # What it says of each connection that a client ends is nobody's news, but must be taken from it.
    drain = subprocess.Popen(["cat"], stdin=server.stderr, stdout=subprocess.DEVNULL)
    sys.stdin.read()
    server.terminate()
    server.wait()
    drain.wait()


main(*sys.argv[1:])
