# SPDX-License-Identifier: Apache-2.0
"""Arrow Plasma 11 doing what Benchmarks/core/plasma.c does. Usage: arrow_plasma.py SOCKET SERVER

The client is the one in pyarrow: it is what Plasma's users call, a thin layer over the C++ client. The values go in and come out as buffers,
with no Arrow serialization, which is the fastest way that it offers. Python is not what takes the time: a get of an object
that the client holds already, which needs no server, took a twentieth of one that does (5 against 109 µs on a busy machine).
"""

import os
import random
import statistics
import subprocess
import sys
import tempfile
import time
import warnings

warnings.simplefilter("ignore")  # every import of pyarrow.plasma says that it is deprecated

import pyarrow  # noqa: E402
import pyarrow.plasma as plasma  # noqa: E402

import peer  # noqa: E402

OBJECTS = 100_000
GETS = 20_000
CREATES = 10_000
FRESH = 2_000
BIG_PUTS = 3


def id_of(number):
    return plasma.ObjectID(number.to_bytes(20, "little"))


def other_process():
    """Runs as a process of its own: gets each object once, for the first time, and answers with what each took."""
    client = plasma.connect(sys.argv[2])
    for line in sys.stdin:
        first, count = map(int, line.split())
        ids = [[id_of(number)] for number in range(first, first + count)]
        peer.say(peer.each_ns(ids, client.get_buffers))


class Arrow:
    def __init__(self, socket, server):
        self.server = server
        self.client = plasma.connect(socket)
        self.number = OBJECTS
        self.small = bytes(peer.SMALL)
        self.big = bytearray(b"\1") * peer.BIG
        self.ids = [[id_of(number)] for number in range(OBJECTS)]
        for (object_id,) in self.ids:
            self.client.put_raw_buffer(self.small, object_id)
        self.random = random.Random(1)
        self.other = subprocess.Popen(
            [sys.executable, __file__, "--other-process", socket], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.put_big(self.client)

    def end(self):
        self.other.stdin.close()
        self.other.wait()

    def next_id(self):
        self.number += 1
        return id_of(self.number)

    def get_release(self):
        # Chosen before the clock starts: Python's random numbers would cost more than its calls. The buffer that is returned dies at
        # once, and that is the release.
        chosen = iter(self.random.choices(self.ids, k=GETS))
        get = self.client.get_buffers
        return peer.rate(GETS, lambda _: get(next(chosen)))

    def create_seal_delete(self):
        client = self.client
        ids = [self.next_id() for _ in range(CREATES)]

        def one(i):
            buffer = client.create(ids[i], peer.SMALL)
            memoryview(buffer).cast("B")[:] = self.small
            client.seal(ids[i])
            del buffer
            client.delete([ids[i]])

        return peer.rate(CREATES, one)

    def fresh_get(self):
        first = self.number + 1
        ids = [self.next_id() for _ in range(FRESH)]
        for object_id in ids:
            self.client.put_raw_buffer(self.small, object_id)
        self.other.stdin.write(f"{first} {FRESH}\n")
        self.other.stdin.flush()
        times = peer.json.loads(self.other.stdout.readline())
        self.client.delete(ids)
        return times

    def put_big(self, client):
        object_id = self.next_id()
        begin = time.perf_counter()
        client.put_raw_buffer(self.big, object_id, memcopy_threads=2)
        taken = time.perf_counter() - begin
        client.delete([object_id])
        return peer.BIG / taken * 1e-9

    def put_big_cold(self):
        """The first put in a server that has just started: nobody has touched its memory, and Plasma touches nothing beforehand."""
        with tempfile.TemporaryDirectory() as folder:
            socket = os.path.join(folder, "plasma")
            server = subprocess.Popen([self.server, "-m", str(3 * peer.BIG), "-s", socket], stderr=subprocess.DEVNULL)
            try:
                until = time.monotonic() + 5
                while not os.path.exists(socket) and time.monotonic() < until:
                    time.sleep(0.01)
                client = plasma.connect(socket, num_retries=100)
                value = self.put_big(client)
                client.disconnect()
                return value
            finally:
                server.terminate()
                server.wait()

    def measure(self):
        fresh = self.fresh_get()
        return {
            "get_release_ops": self.get_release(),
            "create_seal_delete_ops": self.create_seal_delete(),
            "get_other_process_p50_ns": peer.percentile(fresh, 0.5),
            "get_other_process_p99_ns": peer.percentile(fresh, 0.99),
            "put_100mb_warm_gbs": statistics.median(self.put_big(self.client) for _ in range(BIG_PUTS)),
            "put_100mb_cold_gbs": self.put_big_cold(),
        }


def main():
    arrow = Arrow(sys.argv[1], sys.argv[2])
    try:
        about = {"peer": "arrow_plasma", "version": pyarrow.__version__, "client": "python", "objects": OBJECTS}
        peer.serve(about, arrow.measure)
    finally:
        arrow.end()


if sys.argv[1] == "--other-process":
    other_process()
else:
    main()
