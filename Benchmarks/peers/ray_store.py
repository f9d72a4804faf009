# SPDX-License-Identifier: Apache-2.0
"""Ray's object store doing what Benchmarks/core/plasma.c does, as near as Ray's API lets it. Usage: ray_store.py FOLDER

Ray has no create, seal, release and delete: put and get of bytes, and dropping the ref, are what its users have. Ray frees behind the
caller's back, so its deletions are started within the timed loop and may end after it. That favours Ray.
"""

import os
import random
import statistics
import sys
import time

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # nothing leaves the machine
os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"  # else a warning on standard error

import numpy  # noqa: E402
import ray  # noqa: E402

import peer  # noqa: E402

OBJECTS = 100_000
FILL_SECONDS = 45  # Ray puts about 2,000 a second; fewer objects favour it
GETS = 10_000
PUTS = 2_000
FRESH = 1_000
BIG_PUTS = 3
COLD_PUTS = 5


def get_each(holder):
    """Runs in a worker process: gets each object once, for the first time there."""
    refs = holder["refs"]
    return peer.each_ns(refs, ray.get)


class Ray:
    def __init__(self, folder):
        ray.init(
            num_cpus=1,
            include_dashboard=False,
            object_store_memory=1 << 30,
            _temp_dir=folder,
            _node_ip_address="127.0.0.1",
            logging_level="ERROR",
            log_to_driver=False,
        )
        self.small = bytes(peer.SMALL)
        # An array goes into the store as it is and is copied by several threads; bytes would first be pickled.
        self.big = numpy.full(peer.BIG, 1, dtype=numpy.uint8)
        # Kept until all are there, so that each meets memory that nobody has touched. Only now is there such memory.
        kept = [self.timed_put() for _ in range(COLD_PUTS)]
        self.cold = [value for value, _ in kept]
        del kept
        time.sleep(1)
        self.refs = []
        until = time.monotonic() + FILL_SECONDS
        while len(self.refs) < OBJECTS and time.monotonic() < until:
            self.refs.append(ray.put(self.small))
        self.random = random.Random(1)
        self.get_each = ray.remote(num_cpus=0)(get_each)
        self.fresh_get()
        self.put_big()

    def timed_put(self):
        begin = time.perf_counter()
        ref = ray.put(self.big)
        return peer.BIG / (time.perf_counter() - begin) * 1e-9, ref

    def get_release(self):
        chosen = iter(self.random.choices(self.refs, k=GETS))
        return peer.rate(GETS, lambda _: ray.get(next(chosen)))

    def create_seal_delete(self):
        return peer.rate(PUTS, lambda _: ray.put(self.small))

    def fresh_get(self):
        return ray.get(self.get_each.remote({"refs": [ray.put(self.small) for _ in range(FRESH)]}))

    def put_big(self):
        values = []
        for _ in range(BIG_PUTS):
            value, ref = self.timed_put()
            values.append(value)
            del ref
            time.sleep(0.2)  # freed behind our back; else the next one would meet other memory
        return statistics.median(values)

    def measure(self):
        fresh = self.fresh_get()
        values = {
            "get_release_ops": self.get_release(),
            "create_seal_delete_ops": self.create_seal_delete(),
            "get_other_process_p50_ns": peer.percentile(fresh, 0.5),
            "get_other_process_p99_ns": peer.percentile(fresh, 0.99),
            "put_100mb_warm_gbs": self.put_big(),
        }
        if self.cold:
            values["put_100mb_cold_gbs"] = self.cold.pop()
        return values


def main():
    try:
        store = Ray(sys.argv[1])
        peer.serve({"peer": "ray", "version": ray.__version__, "client": "python", "objects": len(store.refs)}, store.measure)
    finally:
        ray.shutdown()


main()
