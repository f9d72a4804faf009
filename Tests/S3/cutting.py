#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A server of one object of so many bytes that ends every connection after 1.25 MiB of an answer's body.

The object is the numbers from 0 on as 8-byte words. Prints `READY PORT`, and serves until its standard input ends. Usage: cutting.py SIZE
"""
import array
import http.server
import os
import re
import sys
import threading

SIZE = int(sys.argv[1])
CUT = 5 << 18
OBJECT = array.array("Q", range(SIZE // 8)).tobytes()


class Cutting(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self):
        first, last = map(int, re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers["Range"]).groups())
        body = OBJECT[first : last + 1]
        self.send_response(206)
        self.send_header("Content-Length", str(len(body)))
        self.send_header("Content-Range", f"bytes {first}-{last}/{SIZE}")
        self.end_headers()
        self.wfile.write(body[:CUT])
        self.close_connection = len(body) > CUT

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Cutting)
print("READY", server.server_port, flush=True)
threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0))).start()
server.serve_forever()
