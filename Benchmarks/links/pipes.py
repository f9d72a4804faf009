# SPDX-License-Identifier: Apache-2.0
"""What people move files with, over the same link: each is a way(link, source, target) that answers (seconds, CPU seconds).

The clock runs from the start of the side that asks until its end, a process start included: some 5 ms. A server is up before. None but
rsync verifies what arrived.
"""

import contextlib
import os
import subprocess
import time

from processes import children_cpu_seconds, cpu_seconds, listens, running, wait_until

PORT = 7901


def _both_ends(link, receiver, sender):
    """Shell commands: the receiver listens first; the time is from the sender's start to the receiver's end."""
    before = children_cpu_seconds()
    with subprocess.Popen(link.at(1, ["bash", "-c", "set -o pipefail; " + receiver])) as end:
        wait_until(lambda: listens(link, 1, PORT), "a receiver's start")
        start = time.monotonic()
        subprocess.run(link.at(0, ["bash", "-c", "set -o pipefail; " + sender]), check=True)
        if end.wait(600) != 0:
            raise SystemExit(f"benchmark: '{receiver}' failed")
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


def zstd_pipe(level):
    return codec_pipe(f"zstd -c -q {level}", "zstd -d -c -q")


# 50 ms a try would be in the figure otherwise.
def _asking(link, server_pids, command):
    before = children_cpu_seconds() + cpu_seconds(server_pids)
    start = time.monotonic()
    subprocess.run(link.at(1, command), check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - start, children_cpu_seconds() + cpu_seconds(server_pids) - before


def _descendants(pid):
    """The server and its workers; `ip netns exec` becomes the command, so the pid is the server's own."""
    found = [pid]
    with contextlib.suppress(OSError):
        with open(f"/proc/{pid}/task/{pid}/children") as file:
            for child in file.read().split():
                found += _descendants(int(child))
    return found


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
            return _asking(link, _descendants(server.pid), ["curl", "-s", "-f", "-o", target, url])
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
            # Its child that serves ends with the transfer, so its time is the daemon's; read as the daemon's children would need its wait.
            return _asking(link, [server.pid], ["rsync", "-W", "--inplace", *options, url, target])
        yield way


def iperf3_gbs(link, seconds=3):
    """What one TCP stream carries from A to B, in GB/s."""
    import json
    with running(link.at(1, ["iperf3", "-s", "-p", str(PORT + 3)]), stdout=subprocess.DEVNULL):
        wait_until(lambda: listens(link, 1, PORT + 3), "iperf3's start")
        out = subprocess.run(link.at(0, ["iperf3", "-c", link.hosts[1], "-p", str(PORT + 3), "-t", str(seconds), "-J"]),
                             stdout=subprocess.PIPE, check=True, text=True).stdout
    return json.loads(out)["end"]["sum_received"]["bits_per_second"] / 8e9
