# SPDX-License-Identifier: Apache-2.0
"""What processes that hang are doing: their stacks, from a debugger where there is one, else from /proc; and their end, each by its id."""
import os
import re
import shutil
import signal
import subprocess
import time
from collections.abc import Callable

# More than this of one process says nothing new, and pushes the rest out of sight.
GROUPS_SHOWN = 24
FRAMES_SHOWN = 12
PROCESSES_SHOWN = 12
DEBUGGER_SECONDS = 60

DEBUGGERS = {
    "gdb": ["gdb", "-nx", "-batch", "-iex", "set debuginfod enabled off", "-iex", "set auto-load no", "-ex", "set pagination off",
            "-ex", "thread apply all bt 40", "-p"],
    "eu-stack": ["eu-stack", "-n", "40", "-p"],
    "lldb": ["lldb", "--no-lldbinit", "--batch", "-o", "thread backtrace all", "-p"],
}
THREAD = re.compile(r"^\s*\*?\s*(?:Thread \d|TID \d|thread #\d)")
# gdb: `#1  0x7f12 in name (...)`, `#0  name (...)`; eu-stack: `#1  0x7f12 name`; lldb: `frame #1: 0x7f12 module`name + 3`.
FRAME = re.compile(r"#\d+:?\s+(?:0x[0-9a-f]+\s+)?(?:in\s+)?(?:\S+`)?([^\s(]+)")


def read(path: str) -> str:
    try:
        with open(path, "rb") as file:
            return file.read().decode("utf-8", "replace")
    except OSError as error:
        return f"({error.strerror})"


def parents() -> dict[int, int]:
    found = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            # The name in parentheses may have anything in it.
            fields = read(f"/proc/{name}/stat").rpartition(")")[2].split()
            if len(fields) > 1 and fields[0] != "Z":
                found[int(name)] = int(fields[1])
    return found


def belongings(root: int, mark: str) -> list[int]:
    """The process, all that descend from it, and those whose parents are gone but whose environment has the mark."""
    own = {os.getpid()}
    parent = parents()
    found = []
    for pid in sorted(parent):
        above = pid
        while above in parent and above != root and above not in own:
            above = parent[above]
        if above == root or (pid not in own and f"RAYSTORE_WATCHED={mark}" in read(f"/proc/{pid}/environ").split("\0")):
            found.append(pid)
    return found


def end(find: Callable[[], list[int]]) -> None:
    """Ends them, and what they start meanwhile. One that has ended and is not collected by its parent is no concern of ours."""
    deadline = time.monotonic() + 10
    while (pids := find()) and time.monotonic() < deadline:
        for pid in pids:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
        time.sleep(0.05)


def machine() -> str:
    memory = re.search(r"MemAvailable:\s+(\d+)", read("/proc/meminfo"))
    shared = os.statvfs("/dev/shm") if os.path.isdir("/dev/shm") else None
    parts = ["load " + " ".join(read("/proc/loadavg").split()[:3])]
    if memory:
        parts.append(f"{int(memory[1]) >> 10} MiB of memory available")
    if shared:
        parts.append(f"{shared.f_bavail * shared.f_frsize >> 20} MiB free in /dev/shm")
    return ", ".join(parts)


class Report:
    def __init__(self, pids: list[int]) -> None:
        self.pids = pids
        self.raw: list[str] = []

    def lines(self) -> list[str]:
        lines = []
        # Those with the most threads first: the tests' process, then the nodes it started.
        ranked = sorted(self.pids, key=lambda pid: -len(tasks(pid)))
        for pid in ranked[:PROCESSES_SHOWN]:
            command = read(f"/proc/{pid}/cmdline").replace("\0", " ").strip()
            lines.append(f"process {pid}, {len(tasks(pid))} threads: {command[:160]}")
            lines += [f"  {line}" for line in self.stacks(pid)]
        for pid in ranked[PROCESSES_SHOWN:]:
            lines.append(f"process {pid}: {read(f'/proc/{pid}/cmdline').replace(chr(0), ' ').strip()[:160]}")
        return lines

    def whole(self) -> str:
        return "\n".join(self.raw)

    def stacks(self, pid: int) -> list[str]:
        kernel = [f"{task}: {what}" for task, what in ((task, of_task(pid, task)) for task in tasks(pid))]
        self.raw += [f"==== process {pid}", *kernel]
        for name, command in DEBUGGERS.items():
            if shutil.which(name) is None:
                continue
            try:
                told = subprocess.run([*command, str(pid)], stdin=subprocess.DEVNULL, capture_output=True, timeout=DEBUGGER_SECONDS)
            except subprocess.TimeoutExpired:
                self.raw.append(f"{name} took more than {DEBUGGER_SECONDS} s")
                continue
            text = told.stdout.decode("utf-8", "replace")
            self.raw += [text, told.stderr.decode("utf-8", "replace")]
            if grouped := group(text):
                return grouped
        return group_kernel(kernel)


def tasks(pid: int) -> list[str]:
    try:
        return sorted(os.listdir(f"/proc/{pid}/task"), key=int)
    except OSError:
        return []


def of_task(pid: int, task: str) -> str:
    """What the kernel knows of a thread: name, state, where it sleeps, in which call."""
    folder = f"/proc/{pid}/task/{task}"
    state = re.search(r"State:\s+(\S)", read(f"{folder}/status"))
    stack = " < ".join(line.split()[-1].split("+")[0] for line in read(f"{folder}/stack").splitlines()[:5] if line.strip())
    call = read(f"{folder}/syscall").split(" ")[0].strip()
    where = read(f"{folder}/wchan").strip()
    return f"{read(f'{folder}/comm').strip()}, {state[1] if state else '?'}, in {where}, system call {call}, {stack}"


def group(text: str) -> list[str]:
    """One line for all threads with the same stack, innermost call first."""
    stacks: list[list[str]] = []
    for line in text.splitlines():
        if THREAD.match(line):
            stacks.append([])
        elif stacks and (frame := FRAME.search(line)):
            stacks[-1].append(frame[1])
    return tally([" < ".join(stack[:FRAMES_SHOWN]) for stack in stacks if stack])


def group_kernel(lines: list[str]) -> list[str]:
    return tally([line.partition(": ")[2] for line in lines])


def tally(whats: list[str]) -> list[str]:
    counts: dict[str, int] = {}
    for what in whats:
        counts[what] = counts.get(what, 0) + 1
    # What only one thread does is more likely the cause than what a pool does.
    ranked = sorted(counts.items(), key=lambda pair: pair[1])
    lines = [f"{count} × {what}"[:600] for what, count in ranked[:GROUPS_SHOWN]]
    if len(ranked) > GROUPS_SHOWN:
        lines.append(f"and {len(ranked) - GROUPS_SHOWN} other stacks")
    return lines
