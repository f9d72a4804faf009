# SPDX-License-Identifier: Apache-2.0
"""Ray with a store of 512 MB that spills to a directory: the same commands and answers as Benchmarks/spill/node_client.c.

Usage: ray_spill.py FOLDER_OF_RAY FOLDER_TO_SPILL_TO STORE_BYTES
"""

import json
import os
import sys
import time

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")

import numpy  # noqa: E402
import ray  # noqa: E402

STRIDE = 512  # words of 8 bytes: 4 KiB
LOOK_STRIDE = 64 * STRIDE


class Ray:
    def __init__(self, folder, place, memory):
        ray.init(
            num_cpus=1,
            include_dashboard=False,
            object_store_memory=memory,
            _system_config={"object_spilling_config": json.dumps({"type": "filesystem", "params": {"directory_path": place}})},
            _temp_dir=folder,
            _node_ip_address="127.0.0.1",
            logging_level="ERROR",
            log_to_driver=False,
        )
        self.place = place
        self.refs = []

    def out(self, count, size, batch):
        self.batch = int(batch)
        self.source = numpy.frombuffer(bytearray(os.urandom(int(size))), dtype=numpy.uint64).copy()
        self.refs = []
        begin = time.perf_counter()
        for i in range(int(count)):
            self.source[::STRIDE] = i + 1
            self.refs.append(ray.put(self.source))
        return {"seconds": time.perf_counter() - begin, "spilled_bytes": self.spilled()}

    def spilled(self):
        total = 0
        for folder, _, names in os.walk(self.place):
            for name in names:
                try:
                    total += os.path.getsize(os.path.join(folder, name))
                except FileNotFoundError:
                    pass
        return total

    def back(self):
        begin = time.perf_counter()
        for number, ref in enumerate(self.refs, 1):
            value = ray.get(ref)
            if len(value) != len(self.source) or (value[::LOOK_STRIDE] != number).any():
                sys.exit("ray_spill: an object is not what was put")
            del value
        return {"seconds": time.perf_counter() - begin}

    def back_in_batches(self):
        seconds = 0.0
        for first in range(0, len(self.refs), self.batch):
            refs = self.refs[first : first + self.batch]
            begin = time.perf_counter()
            values = ray.get(refs)
            seconds += time.perf_counter() - begin
            for i, value in enumerate(values):
                self.source[::STRIDE] = first + i + 1
                if not numpy.array_equal(value, self.source):
                    sys.exit("ray_spill: an object is not what was put")
            del value, values
        return {"seconds": seconds}

    def drop(self):
        self.refs = []
        until = time.monotonic() + 60
        while self.spilled() > 0 and time.monotonic() < until:
            time.sleep(0.1)
        return {"left_bytes": self.spilled()}


def main():
    store = Ray(sys.argv[1], sys.argv[2], int(sys.argv[3]))
    print(json.dumps({"peer": "ray", "version": ray.__version__, "client": "python"}), flush=True)
    commands = {"out": store.out, "in": store.back, "in_batches": store.back_in_batches, "drop": store.drop}
    try:
        for line in sys.stdin:
            what, *words = line.split()
            print(json.dumps(commands[what](*words)), flush=True)
    finally:
        ray.shutdown()


main()
