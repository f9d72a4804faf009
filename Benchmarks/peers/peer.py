# SPDX-License-Identifier: Apache-2.0
"""What both peers' programs share: how they are driven, and how a loop is timed."""

import json
import signal
import sys
import time

SMALL = 1024
BIG = 100 << 20


def stop(*_):
    # As an exception, so that what was started is ended on the way out.
    sys.exit(1)


signal.signal(signal.SIGTERM, stop)


def say(value):
    print(json.dumps(value), flush=True)


def serve(about, measure):
    """Says what it is, then one round of figures for every line on standard input, so that the caller decides whose turn it is."""
    say(about)
    for _ in sys.stdin:
        say(measure())


def rate(count, work):
    begin = time.perf_counter()
    for i in range(count):
        work(i)
    return count / (time.perf_counter() - begin)


def each_ns(items, work):
    """What each call took. The clock itself costs about 50 ns, which is in every value."""
    clock = time.perf_counter_ns
    times = []
    for item in items:
        begin = clock()
        work(item)
        times.append(clock() - begin)
    return times


def percentile(values, share):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]
