#!/usr/bin/env bash
# SPDX-License-Identifier: Apache-2.0
# make bench SUITE=transfer: the engine alone, then two real nodes on loopback. Source, destination and state in /dev/shm.
set -euo pipefail
cd "$(dirname "$0")/.."
raystore=${RAYSTORE:-.build/release/raystore}
work=$(mktemp -d /dev/shm/raystore-bench.XXXXXX)
size=${RAYSTORE_BENCH_BYTES:-1073741824}
nodes=()

finish() {
    for state in "${nodes[@]}"; do
        "$raystore" stop --state-dir "$state" >&2
    done
    rm -rf "$work"
}
trap finish EXIT

python3 Benchmarks/make_files.py "$work" "$size"
build/bench/transfer

port=$(python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])')
"$raystore" start --head --state-dir "$work/a" --memory 1GiB --port "$port" >&2
nodes=("$work/a")
"$raystore" start --address "127.0.0.1:$port" --key-file "$work/a/cluster.key" --state-dir "$work/b" --memory 1GiB >&2
nodes=("$work/b" "$work/a") # the member before its head
build/bench/nodes "$work/a/node.sock" "$work/b/node.sock" "$work/random.bin" "$work/train.bin"
