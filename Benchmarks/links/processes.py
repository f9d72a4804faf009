# SPDX-License-Identifier: Apache-2.0
"""Starting what is measured, ending it by its id, and what it cost."""

import contextlib
import os
import socket
import subprocess
import time

TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pids):
    """What these processes have used so far, user and system."""
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / TICKS


def children_cpu_seconds():
    """What ended children of this process have used."""
    times = os.times()
    return times.children_user + times.children_system


@contextlib.contextmanager
def running(command, **options):
    """A server for as long as the block lasts."""
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, **options)
    try:
        yield process
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def wait_until(condition, what, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise SystemExit(f"benchmark: {what} did not happen within {seconds} s")
        time.sleep(0.01)


def listens(link, end, port):
    """Whether somebody accepts connections at a port of one end."""
    out = subprocess.run(link.at(end, ["ss", "-Hltn", f"sport = :{port}"]), stdout=subprocess.PIPE, text=True).stdout
    return bool(out.strip())


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]
