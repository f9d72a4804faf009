# SPDX-License-Identifier: Apache-2.0
"""Our S3 client alone, and with --peers boto3's transfer manager, against servers that check signatures.

8 objects of 128 MiB from memory to the server and back into memory, in turns. The server is the same for both: rclone's, over a folder in memory, and in the
figures with `moto` in their names moto's, one Python process, which is what everybody waits for: it hashes what it takes and copies a whole object for every
range that it gives. Each answer is compared with what was sent.

Usage: s3.py [--peers] OUR_PROGRAM PYTHON_WITH_MOTO_BOTO3_AND_RCLONE
"""

import argparse
import os
import statistics
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, HERE)
sys.path.insert(0, os.path.join(HERE, "..", "links"))

import figures  # noqa: E402
import pages  # noqa: E402
from processes import Conversation  # noqa: E402
from server import SERVERS, figure  # noqa: E402

OBJECTS = 8
OBJECT_BYTES = 128 << 20
KEPT_PART = 4  # of what is sent: in the server's folder and in the client, and what is between
AT_ONCE = 2
TURNS = 3


def turn(server, command, values):
    # A program each time: what it has sent is gone from the server when its turn ends, whose memory would fill otherwise.
    with Conversation(command + server.words + [str(OBJECTS), str(OBJECT_BYTES)] + values["more"], values["what"]) as program:
        for way in ("out", "in"):
            answer = program.ask(way)
            values[way].append(OBJECTS * OBJECT_BYTES / answer["seconds"] * 1e-9)
            values["cpu_" + way].append(answer["cpu_seconds"])
        program.ask("remove")
        return answer


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--peers", action="store_true")
    parser.add_argument("ours")
    parser.add_argument("python")
    chosen = parser.parse_args()

    with pages.kept(KEPT_PART * OBJECTS * OBJECT_BYTES):
        for kind in SERVERS:
            compare(kind, chosen)


def compare(kind, chosen):
    def values(what, *more):
        return {"what": what, "more": list(more), "out": [], "in": [], "cpu_out": [], "cpu_in": []}

    ours, boto3 = values("our S3 client", str(AT_ONCE)), values("boto3")
    version = ""
    with kind(chosen.python) as server:
        for _ in range(TURNS):
            turn(server, [chosen.ours], ours)
            if chosen.peers:
                version = turn(server, [chosen.python, os.path.join(HERE, "boto3_client.py")], boto3)["version"]
    for way in ("out", "in"):
        name = figure(way, kind, "client_")
        figures.show(f"spill.{name}", statistics.median(ours[way]), "GB/s", turns=TURNS, cpu_seconds=statistics.median(ours["cpu_" + way]))
        if chosen.peers:
            figures.show(f"peer.boto3.{name}", statistics.median(boto3[way]), "GB/s", turns=TURNS, version=version,
                         cpu_seconds=statistics.median(boto3["cpu_" + way]))
            figures.show_ratio(f"ratio.spill.{name}.boto3", [one / other for one, other in zip(ours[way], boto3[way])])


figures.run_suite(main)
