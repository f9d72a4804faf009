# SPDX-License-Identifier: Apache-2.0
"""What people move files with, over the same link: each is a way(link, source, target) that answers (seconds, CPU seconds).

The clock runs from the start of the side that asks until its end, a process start included: some 5 ms. A server is up before. None but
rsync verifies what arrived.
"""

import contextlib
import json
import os
import subprocess
import time

from processes import Failed, children_cpu_seconds, children_of, cpu_seconds, listens, running, wait_until

PORT = 7901


def _both_ends(link, receiver, sender):
    """Shell commands: the receiver listens first; the time is from the sender's start to the receiver's end."""
    before = children_cpu_seconds()
    with running(link.at(1, ["bash", "-c", "set -o pipefail; " + receiver])) as end:
        wait_until(lambda: listens(link, 1, PORT), "a receiver's start")
        start = time.monotonic()
        subprocess.run(link.at(0, ["bash", "-c", "set -o pipefail; " + sender]), check=True, timeout=600)
        if end.wait(600) != 0:
            raise Failed(f"'{receiver}' failed")
        seconds = time.monotonic() - start
    return seconds, children_cpu_seconds() - before


def socat(link, source, target):
    return _both_ends(
        link, f"socat -u -b 1048576 TCP-LISTEN:{PORT},reuseaddr CREATE:{target}",
        f"socat -u -b 1048576 OPEN:{source} TCP:{link.hosts[1]}:{PORT}")


def codec_pipe(pack, unpack):
    def way(link, source, target):
        return _both_ends(
            link, f"socat -u -b 1048576 TCP-LISTEN:{PORT},reuseaddr - | {unpack} > {target}",
            f"{pack} < {source} | socat -u -b 1048576 - TCP:{link.hosts[1]}:{PORT}")
    return way


lz4_pipe = codec_pipe("lz4 -c -q", "lz4 -d -c -q")


def zstd_pipes(first, last):
    """Every level between the two, which may be below 0; there is no level 0."""
    levels = [level for level in range(first, last + 1) if level != 0]
    return {f"zstd{level}" if level > 0 else f"zstd_fast{-level}":
            codec_pipe(f"zstd -c -q {f'-{level}' if level > 0 else f'--fast={-level}'}", "zstd -d -c -q") for level in levels}


# What automatic must beat the best of, by the line's rate: somebody who tried them all would take that one.
FIXED = {1: {"lz4": lz4_pipe, **zstd_pipes(-5, 3)}, 0.1: zstd_pipes(1, 9)}


def _asking(link, servers, command):
    """The asking side's time. The CPU is that of both ends, the servers' ended children included (rsync serves from one)."""
    before = children_cpu_seconds() + cpu_seconds(servers, with_ended_children=True)
    start = time.monotonic()
    subprocess.run(link.at(1, command), check=True, stdout=subprocess.DEVNULL, timeout=600)
    seconds = time.monotonic() - start
    return seconds, lambda: children_cpu_seconds() + cpu_seconds(servers, with_ended_children=True) - before


@contextlib.contextmanager
def nginx_curl(link, folder):
    """A server for files of `folder`; yields the way."""
    conf = os.path.join(folder, "nginx.conf")
    with open(conf, "w") as file:
        file.write(f"""
daemon off; worker_processes 2; pid {folder}/nginx.pid; error_log {folder}/nginx.log; user root;
events {{ worker_connections 64; }}
http {{ access_log off; sendfile on; sendfile_max_chunk 0; tcp_nopush on;
  client_body_temp_path {folder}/t1; proxy_temp_path {folder}/t2; fastcgi_temp_path {folder}/t3; uwsgi_temp_path {folder}/t4; scgi_temp_path {folder}/t5;
  server {{ listen {link.hosts[0]}:{PORT + 1}; root {folder}; }} }}
""")
    with running(link.at(0, ["nginx", "-c", conf, "-e", f"{folder}/nginx.log"])) as server:
        wait_until(lambda: listens(link, 0, PORT + 1), "nginx' start")

        def way(link, source, target):
            url = f"http://{link.hosts[0]}:{PORT + 1}/{os.path.relpath(source, folder)}"
            seconds, cpu = _asking(link, [server.pid, *children_of(server.pid)], ["curl", "-s", "-f", "-o", target, url])
            return seconds, cpu()
        yield way


@contextlib.contextmanager
def rsync(link, folder, *options):
    """A daemon without encryption; yields the way. Whole files, since there is nothing to compare with."""
    conf = os.path.join(folder, "rsyncd.conf")
    with open(conf, "w") as file:
        file.write(f"use chroot = no\nlock file = {folder}/rsyncd.lock\nlog file = {folder}/rsyncd.log\nuid = root\ngid = root\n[m]\npath = {folder}\nread only = yes\n")
    with running(link.at(0, ["rsync", "--daemon", "--no-detach", f"--port={PORT + 2}", f"--config={conf}"])) as server:
        wait_until(lambda: listens(link, 0, PORT + 2), "rsync's start")

        def way(link, source, target):
            url = f"rsync://{link.hosts[0]}:{PORT + 2}/m/{os.path.relpath(source, folder)}"
            seconds, cpu = _asking(link, [server.pid], ["rsync", "-W", "--inplace", *options, url, target])
            wait_until(lambda: not children_of(server.pid), "the end of rsync's serving child")
            return seconds, cpu()
        yield way


@contextlib.contextmanager
def iperf3(link, size, seconds=2):
    """What one TCP stream carries from A to B: yields a way that answers how long `size` bytes would take."""
    with running(link.at(1, ["iperf3", "-s", "-p", str(PORT + 3)]), stdout=subprocess.DEVNULL):
        wait_until(lambda: listens(link, 1, PORT + 3), "iperf3's start")

        def way():
            out = json.loads(subprocess.run(link.at(0, ["iperf3", "-c", link.hosts[1], "-p", str(PORT + 3), "-t", str(seconds), "-J"]),
                                            stdout=subprocess.PIPE, text=True, timeout=60).stdout)
            if "error" in out:
                raise Failed(f"iperf3: {out['error']}")
            return size / (out["end"]["sum_received"]["bits_per_second"] / 8), 0
        yield way
