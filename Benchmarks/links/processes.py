# SPDX-License-Identifier: Apache-2.0
"""Starting what is measured, ending it by its id, and what it cost."""

import contextlib
import json
import os
import resource
import socket
import subprocess
import time

TICKS = os.sysconf("SC_CLK_TCK")


class Failed(Exception):
    """Something that was to be measured did not work; the message names it."""


class Theft:
    """What the machine below gave to others since this was made, although processes here could have run (`steal` in /proc/stat)."""

    def __init__(self):
        self.before = self._read()

    @staticmethod
    def _read():
        with open("/proc/stat") as file:
            ticks = [int(field) for field in file.readline().split()[1:9]]
        return ticks[7], sum(ticks)

    def exceeds(self, share):
        """Of all processors' time. A single tick says nothing."""
        stolen, total = (now - then for now, then in zip(self._read(), self.before))
        return stolen > max(1, share * total)


def cpu_seconds(pids, with_ended_children=False):
    """What these processes have used so far, user and system."""
    total = 0
    for pid in pids:
        with open(f"/proc/{pid}/stat") as file:
            fields = file.read().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
        if with_ended_children:
            total += int(fields[13]) + int(fields[14])
    return total / TICKS


def children_cpu_seconds():
    """What ended children of this process have used, and theirs."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def children_of(pid):
    with contextlib.suppress(OSError), open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(child) for child in file.read().split()]
    return []


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


class Conversation:
    """A program that answers each line on its standard input with a line of JSON; other lines are a library's chatter. The end of its input
    ends it."""

    def __init__(self, command, what, **options):
        self.what = what
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **options)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        with contextlib.suppress(BrokenPipeError):
            self.process.stdin.close()
        for insist in (self.process.terminate, self.process.kill, lambda: None):
            try:
                self.process.wait(30)
                break
            except subprocess.TimeoutExpired:
                insist()
        self.process.stdout.close()

    def answer(self):
        for line in self.process.stdout:
            if line.startswith("{"):
                return json.loads(line)
        raise Failed(f"{self.what} ended with status {self.process.wait(30)}; its reason is above")

    def tell(self, request):
        """Asks and does not wait: answer() does."""
        try:
            self.process.stdin.write(request + "\n")
            self.process.stdin.flush()
        except BrokenPipeError:
            pass  # answer() says what became of it

    def ask(self, request):
        self.tell(request)
        return self.answer()


def wait_until(condition, what, seconds=20):
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise Failed(f"{what} did not happen within {seconds} s")
        time.sleep(0.01)


def listens(link, end, port):
    """Whether somebody accepts connections at a port of one end."""
    out = subprocess.run(link.at(end, ["ss", "-Hltn", f"sport = :{port}"]), stdout=subprocess.PIPE, text=True).stdout
    return bool(out.strip())


def free_port():
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        return s.getsockname()[1]
