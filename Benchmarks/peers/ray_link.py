# SPDX-License-Identifier: Apache-2.0
"""Ray between two machines: an object that is put on one node, got on the other.

Usage: ray_link.py node HOST HEAD_HOST FOLDER     a node, the head if both hosts are the same; says {"ready":true}, ends with standard input
       ray_link.py driver HEAD_HOST               for each line "objects COUNT SIZE" puts them here, has a task on the other node get them all,
                                                  and says the seconds of that get
"""

import os
import shutil
import subprocess
import sys
import time

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"  # nothing leaves the machine
os.environ["RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO"] = "0"  # else a warning on standard error
# The nodes are in namespaces that nobody else reaches; else Ray would make a token and keep it in the home folder.
os.environ["RAY_AUTH_MODE"] = "disabled"

import numpy  # noqa: E402
import ray  # noqa: E402

import peer  # noqa: E402

PORT = 6390
MEMORY = 3 << 30
START_SECONDS = 60


def run_node(host, head, folder):
    program = os.path.join(os.path.dirname(sys.executable), "ray")
    command = [program, "start", "--block", f"--node-ip-address={host}", f"--object-store-memory={MEMORY}", "--num-cpus=1",
               "--disable-usage-stats"]
    if host == head:
        command += ["--head", f"--port={PORT}", "--include-dashboard=false", f"--temp-dir={folder}", '--resources={"head":1}']
    else:
        command += [f"--address={head}:{PORT}", '--resources={"member":1}']
    # Its output goes to a file: the command line's words are no figures.
    os.makedirs(folder, exist_ok=True)
    log = os.path.join(folder, f"{host}.out")
    with open(log, "w") as out:
        node = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, start_new_session=True)
    try:
        deadline = time.monotonic() + START_SECONDS
        while "Ray runtime started" not in open(log).read():
            if node.poll() is not None or time.monotonic() > deadline:
                sys.exit("ray: the node did not start: " + " ".join(open(log).read().split())[-300:])
            time.sleep(0.1)
        peer.say({"ready": True})
        sys.stdin.read()
    finally:
        node.terminate()
        node.wait(60)
        if host == head:
            shutil.rmtree(folder, ignore_errors=True)


@ray.remote(num_cpus=0, resources={"member": 0.1})
class Getter:
    def get(self, holder):
        begin = time.perf_counter()
        values = ray.get(holder["refs"])
        seconds = time.perf_counter() - begin
        assert all(len(value) == holder["size"] for value in values)
        return seconds


def drive(head):
    ray.init(address=f"{head}:{PORT}", _node_ip_address=head, logging_level="ERROR", log_to_driver=False)
    getter = Getter.remote()
    generator = numpy.random.default_rng(1)
    for line in sys.stdin:
        _, count, size = line.split()
        value = numpy.frombuffer(generator.bytes(int(size)), dtype=numpy.uint8)
        refs = [ray.put(value) for _ in range(int(count))]
        seconds = ray.get(getter.get.remote({"refs": refs, "size": int(size)}))
        del refs
        # Ray frees behind the caller's back; the next put would find the store full.
        if int(count) * int(size) > 1 << 27:
            time.sleep(1)
        peer.say({"seconds": seconds})
    ray.shutdown()


if sys.argv[1] == "node":
    run_node(*sys.argv[2:5])
else:
    drive(sys.argv[2])
