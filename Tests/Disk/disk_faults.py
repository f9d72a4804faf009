#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""make test-disk-faults: a node with 64 MiB of memory and two folders to spill to, whose disks fail.

eio, torn and enospc are put between the node and the kernel (failing_disk.c): opening and writing fail at once, a write is taken by half and fails
then, the same for want of room. full and inodes are small file systems of their own, with a file of somebody else that takes all of the
room, or without a free inode; they need root. Each kind goes through these:

  one      one of the two folders fails: everything is put, nothing of it goes there, every byte comes back; when it is well again it is used again
  all      both fail: puts end with an error that says needed, free and pinned; what is in memory is had, and what was spilled as soon as it has a
           place to come to; a put that waits is served when one is well again, by itself; and at the end nothing is left
  reading  (eio only) what was spilled cannot be read: an error at once that names file and offset, what is in memory is had, and when the disk
           is well again everything is

Usage: disk_faults.py RAYSTORE DISK_CLIENT FAILING_DISK_SO [KIND...]
"""

import contextlib
import os
import shutil
import signal
import subprocess
import sys
import tempfile

from node import Failed, Node, wait_until

MEMORY = 64 << 20
SIZE = 1 << 20
# Half of the memory beyond the store's, so that most of it has to go.
COUNT = 160
MS = 60_000
DISK = 512 << 20
INTERPOSED = {"eio": "write", "torn": "torn", "enospc": "full"}
MOUNTED = ("full", "inodes")


def check(holds, what, *more):
    if not holds:
        raise Failed(what + "".join(f"; {one}" for one in more))


class Disks:
    """Two folders, and a way to have each fail."""

    def __init__(self, kind, place):
        self.kind = kind
        self.place = place
        self.rules = os.path.join(place, "rules")
        self.folders = [os.path.join(place, name) for name in ("one", "two")]
        self.ill = {}
        for folder in self.folders:
            os.makedirs(folder)

    def __enter__(self):
        self.write_rules()
        if self.kind in MOUNTED:
            for folder in self.folders:
                subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK},nr_inodes=100,mode=700", "none", folder], check=True)
        return self

    def __exit__(self, *_):
        if self.kind in MOUNTED:
            for folder in self.folders:
                subprocess.run(["umount", "-l", folder], check=False)

    def write_rules(self):
        # By a rename: whoever reads them sees these or those.
        with open(self.rules + ".new", "w") as file:
            file.writelines(f"{rule} {folder}\n" for folder, rule in self.ill.items())
        os.rename(self.rules + ".new", self.rules)

    def fail(self, folder, rule=None):
        if rule or self.kind in INTERPOSED:
            self.ill[folder] = rule or INTERPOSED[self.kind]
            self.write_rules()
        elif self.kind == "full":
            self.fill(folder)
        else:
            with contextlib.suppress(OSError):
                for number in range(200):
                    open(f"{folder}/filler-{number}", "x").close()
                raise Failed(f"{folder} has more inodes than this test takes")

    @staticmethod
    def fill(folder):
        # The node may write at the same time: what was free a moment ago need not be.
        for _ in range(100):
            free = os.statvfs(folder)
            size = str(free.f_bavail * free.f_frsize)
            if subprocess.run(["fallocate", "-l", size, f"{folder}/filler"], stderr=subprocess.DEVNULL, check=False).returncode == 0:
                return
        raise Failed(f"{folder} cannot be filled")

    def mend(self, folder):
        if self.ill.pop(folder, None):
            self.write_rules()
        for name in os.listdir(folder):
            if name.startswith("filler"):
                os.remove(os.path.join(folder, name))


def put(program, count, ms=MS):
    answer = program.ask(f"put {count} {SIZE} {ms}")
    check(answer["failed"] == 0, "a put failed", answer)


def all_come_back(program):
    answer = program.ask(f"check {MS}")
    check(answer["right"] == answer["kept"], "not everything came back", answer)


def nothing_is_left(node, program):
    program.ask("drop")
    wait_until(lambda: not node.files(), "the files of objects that have ended went")


def one_fails(disks, node, program):
    ill, well = disks.folders
    disks.fail(ill)
    before = set(node.files(ill))
    put(program, COUNT)
    # A write may be under way, to fail.
    wait_until(lambda: set(node.files(ill)) <= before, "what was begun in the folder that fails went")
    check(node.files(well), "the other folder was not used")
    all_come_back(program)
    disks.mend(ill)
    for _ in range(20):
        if node.files(ill):
            break
        put(program, 40)
    check(node.files(ill), "a folder that is well again was not used again")
    all_come_back(program)
    nothing_is_left(node, program)


def all_fail(disks, node, program, other):
    put(program, COUNT // 2)
    for folder in disks.folders:
        disks.fail(folder)
    # What has a record makes room without a write; then there is no more.
    answer = other.ask(f"put 1000 {SIZE} 2000")
    check(answer["failed"] == 1 and answer["status"] == "TIMED_OUT", "a put that finds no room did not end at its time", answer)
    for part in ("needs 1048578 bytes", "are free", "are pinned"):
        check(part in answer["message"], f"the error does not say '{part}'", answer)
    # What is in memory is had. The rest has no place to come to: that is an error, and never another's bytes.
    full = program.ask("check 100")
    check(full["wrong"] == 0 and full["right"] + full["failed"] == full["kept"], "each is right or an error", full)
    check(full["failed"] == 0 or full["status"] in ("TIMED_OUT", "STORE_FULL"), "the error is another", full)
    all_come_back_where_there_is_room(program, other)
    # It begins before there is room, and nobody calls when there is.
    other.ask(f"put 1000 {SIZE} 500")
    other.tell(f"put 20 {SIZE} {MS}")
    again = program.ask(f"put 1 {SIZE} 500")
    check(again["failed"] == 1, "there is room where none can come from", again)
    disks.mend(disks.folders[1])
    served = other.answer()
    check(served["failed"] == 0, "a put that waited was not served when the disk was well again", served)
    put(program, COUNT // 2)
    disks.mend(disks.folders[0])
    all_come_back(program)
    all_come_back(other)
    other.ask("drop")
    nothing_is_left(node, program)


def all_come_back_where_there_is_room(program, other):
    """The disks still fail: reading what they have needs no more than memory."""
    other.ask("drop")
    all_come_back(program)


def reading_fails(disks, node, program):
    put(program, COUNT)
    ill = disks.folders[0]
    for folder in disks.folders:
        disks.fail(folder, "read")
    answer = program.ask(f"check {MS}")
    check(answer["failed"] > 0 and answer["right"] > 0, "some are in memory and some are not", answer)
    check(answer["wrong"] == 0 and answer["right"] + answer["failed"] == answer["kept"], "each is right or an error", answer)
    check(answer["status"] == "SYSTEM", "the error is another", answer)
    for part in ("-multi-", "at byte ", "cannot be read", "Input/output error"):
        check(part in answer["message"], f"the error does not say '{part}'", answer)
    disks.mend(disks.folders[1])
    half = program.ask(f"check {MS}")
    check(half["wrong"] == 0 and (half["failed"] < answer["failed"] or not node.files(disks.folders[1])), "what can be read was not", half)
    disks.mend(ill)
    all_come_back(program)
    check(node.counters()["damagedRecords"] == 0, "a record was given up")
    nothing_is_left(node, program)


def run(kind, raystore, client, library):
    place = tempfile.mkdtemp(prefix="rsd.", dir="/tmp")  # short: sockets lie below it
    try:
        with Disks(kind, place) as disks:
            environment = {"LD_PRELOAD": library, "RAYSTORE_FAILING_DISK": disks.rules}
            with Node(raystore, os.path.join(place, "state"), MEMORY, disks.folders, environment) as node, \
                    node.client(client, 1) as program, node.client(client, 2) as other:
                one_fails(disks, node, program)
                all_fail(disks, node, program, other)
                if kind == "eio":
                    reading_fails(disks, node, program)
                check(node.process.poll() is None, "the node ended")
    finally:
        shutil.rmtree(place, ignore_errors=True)


def main():
    # What a time limit ends cleans up as well.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    raystore, client, library = (os.path.abspath(path) for path in sys.argv[1:4])
    kinds = sys.argv[4:] or [*INTERPOSED, *MOUNTED]
    for kind in kinds:
        if kind in MOUNTED and os.geteuid() != 0:
            print(f"disk_faults: {kind}: skipped, only root may mount a file system", file=sys.stderr)
            continue
        try:
            run(kind, raystore, client, library)
        except Failed as failure:
            sys.exit(f"disk_faults: {kind}: {failure}")
        print(f"disk_faults: {kind}: as it should be", flush=True)


main()
