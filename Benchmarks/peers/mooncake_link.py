# SPDX-License-Identifier: Apache-2.0
"""Mooncake's transfer engine between two machines' memory, over TCP. Both ends know each other by its own handshake, without a metadata server.

Usage: mooncake_link.py hold HOST SIZE                      says {"session":..., "address":...}, holds random bytes
       mooncake_link.py get HOST SIZE SESSION ADDRESS       for each line reads them into its own memory and says the seconds
The end of standard input ends it.
"""

import os
import sys
import time

os.environ["GLOG_minloglevel"] = "2"  # read when the library is loaded
os.environ["MC_LOG_LEVEL"] = "ERROR"

import numpy  # noqa: E402
from mooncake.engine import TransferEngine  # noqa: E402

import peer  # noqa: E402


def start(host, size):
    engine = TransferEngine()
    if engine.initialize(host, "P2PHANDSHAKE", "tcp", "") != 0:
        sys.exit("mooncake: the engine does not start")
    # Filled, so that no page is touched for the first time while the clock runs.
    memory = numpy.frombuffer(numpy.random.default_rng(1).bytes(size), dtype=numpy.uint8).copy()
    if engine.register_memory(memory.ctypes.data, size) != 0:
        sys.exit("mooncake: the memory cannot be registered")
    return engine, memory


def main():
    role, host, size = sys.argv[1], sys.argv[2], int(sys.argv[3])
    engine, memory = start(host, size)
    if role == "hold":
        peer.say({"session": f"{host}:{engine.get_rpc_port()}", "address": memory.ctypes.data, "sum": int(memory[:: 1 << 12].sum())})
        sys.stdin.read()
        return
    session, address = sys.argv[4], int(sys.argv[5])
    memory[:] = 0
    peer.say({"ready": True})
    for _ in sys.stdin:
        begin = time.perf_counter()
        status = engine.transfer_sync_read(session, memory.ctypes.data, address, size)
        seconds = time.perf_counter() - begin
        if status != 0:
            sys.exit(f"mooncake: transfer_sync_read answered {status}")
        if not memory[-4096:].any():
            sys.exit("mooncake: nothing arrived")
        peer.say({"seconds": seconds})


main()
