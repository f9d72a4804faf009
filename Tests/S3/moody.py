#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""An S3 service in memory whose buckets each have a fault; signatures are not checked.

Prints `READY PORT`, then a line for what a test wants to know, and serves until its standard input ends. The bucket says what goes wrong:

  good           nothing; as all others it lies below /below/here as well
  fail-CODE      the first two requests for a key are answered with CODE
  close          the first two requests for a key are ended without an answer
  early          the first two writes of a key are answered with 503 before any of it is read, and the connection stays open
  stall          the first write of a key is read for 1.25 MiB and then no more; `STALLED` is printed then
  cut-body       the first two writes of a key are cut off after 1.25 MiB; `CUT` is printed for each
  page           a read's first answer is a page of some proxy's, with 200
  cut-page       a read's first answer ends after 1.25 MiB, and the second is that page
  flip           the last byte of a read is another one if none of its bytes were read before; `FLIPPED` is printed then
  rot            the last byte that a read asks for is always another one
  many           a list has 2,500 keys, 1,000 in an answer
  huge           a list's answer has more than 4 MiB
  leak           two uploads are listed, one in an answer, until they are aborted; each abort is printed
  stay           an upload is listed for ever
  circle         lists of keys and of uploads go on from one to three, and from three to one
  nowhere        lists of keys and of uploads go on, and do not say where
  hush           nothing, until a line on the standard input says `hush`: then no request is answered any more; each of those is printed
  thin           a read's answer comes at 8 MB/s over each connection; its first and last byte are printed, and how many others are under way as it ends
  late           the same two are printed, and the answer begins after 1.5 s
  token          requests without the signed session token `to/ken+=` are refused
"""
import http.server
import os
import re
import sys
import threading
import time
import urllib.parse

CUT = 5 << 18
PAGE = b"<html><body>Please sign in to the network</body></html>"
lock = threading.Lock()
objects = {}
seen = {}
read = {}
uploads = {"leak": ["one", "two"]}
hushed = threading.Event()
STEP = 1 << 20
thin_reads = 0


def tell(line):
    with lock:
        print(line, flush=True)


def element(name, text):
    return f"<{name}>{text}</{name}>"


class Moody(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def answer(self, code, body=b"", headers=(), cut=None):
        self.send_response(code)
        for name, value in headers:
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body if cut is None else body[:cut])
            self.close_connection = cut is not None

    def refuse(self, code, reason):
        self.answer(code, element("Error", element("Code", reason) + element("Message", "as the test wants it")).encode())

    def turn(self, key):
        """How often the key was asked for before by this method."""
        with lock:
            name = (self.command, self.bucket, key)
            seen[name] = seen.get(name, 0) + 1
            return seen[name] - 1

    def is_first(self, key, first, last):
        """Whether nothing of this range was read before. A second reading may be divided in another way than the first."""
        with lock:
            ranges = read.setdefault(key, [])
            ranges.append((first, last))
            return all(last < begin or end < first for begin, end in ranges[:-1])

    def handle_one(self):
        place, _, query = self.path.removeprefix("/below/here").partition("?")
        self.query = dict(urllib.parse.parse_qsl(query, keep_blank_values=True))
        _, self.bucket, key = (urllib.parse.unquote(place) + "/").split("/", 2)
        key = key.rstrip("/")
        if self.bucket == "hush" and hushed.is_set():
            tell(f"SILENT {self.command}")
            threading.Event().wait()
        if self.bucket == "cut-body" and self.command == "PUT" and self.turn(key) < 2:
            self.rfile.read(5 << 18)
            self.close_connection = True
            return tell("CUT")
        if self.bucket == "stall" and self.command == "PUT" and self.turn(key) < 1:
            self.rfile.read(5 << 18)
            tell("STALLED")
            threading.Event().wait()
        if self.bucket == "early" and self.command == "PUT" and self.turn(key) < 2:
            return self.refuse(503, "SlowDown")
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.bucket.startswith("fail-") and key and self.turn(key) < 2:
            return self.refuse(int(self.bucket[5:]), "SlowDown")
        if self.bucket == "close" and key and self.turn(key) < 2:
            self.close_connection = True
            return None
        if self.bucket == "token" and not self.has_token():
            return self.refuse(403, "InvalidToken")
        if not key:
            return self.list_uploads() if "uploads" in self.query else self.list_keys()
        return getattr(self, "on_" + self.command)(key, body)

    do_GET = do_PUT = do_DELETE = do_HEAD = handle_one

    def has_token(self):
        signed = re.search(r"SignedHeaders=([^,]*)", self.headers.get("Authorization", ""))
        return self.headers.get("x-amz-security-token") == "to/ken+=" and "x-amz-security-token" in signed.group(1).split(";")

    def on_PUT(self, key, body):
        objects[self.bucket, key] = body
        self.answer(200, headers=[("ETag", '"tag"')])

    def on_DELETE(self, key, _):
        if "uploadId" in self.query:
            with lock:
                if self.query["uploadId"] in uploads.get(self.bucket, []):
                    uploads[self.bucket].remove(self.query["uploadId"])
            tell(f"ABORTED {key} {self.query['uploadId']}")
        else:
            objects.pop((self.bucket, key), None)
        self.answer(204)

    def on_HEAD(self, key, _):
        self.on_GET(key, _)

    def on_GET(self, key, _):
        whole = objects.get((self.bucket, key))
        if whole is None:
            return self.refuse(404, "NoSuchKey")
        turn = self.turn(key)
        if (self.bucket, turn) in [("page", 0), ("cut-page", 1)]:
            return self.answer(200, PAGE, [("Content-Type", "text/html")])
        asked = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range", f"bytes=0-{len(whole)}"))
        first, last = map(int, asked.groups())
        if first >= len(whole):
            return self.refuse(416, "InvalidRange")
        body = whole[first : last + 1]
        if self.bucket == "late":
            tell(f"READ {first} {last}")
            time.sleep(1.5)
        if self.bucket == "thin":
            return self.answer_thinly(body, first, last, len(whole))
        if self.bucket == "rot" or (self.bucket == "flip" and self.is_first(key, first, last)):
            body = body[:-1] + bytes([body[-1] ^ 1])
            tell("FLIPPED")
        return self.answer(
            206, body, [("Content-Range", f"bytes {first}-{first + len(body) - 1}/{len(whole)}")],
            cut=CUT if self.bucket == "cut-page" and turn == 0 else None)

    def answer_thinly(self, body, first, last, size):
        global thin_reads
        with lock:
            thin_reads += 1
        self.send_response(206)
        self.send_header("Content-Range", f"bytes {first}-{last}/{size}")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        for at in range(0, len(body), STEP):
            time.sleep(STEP / 8e6)
            if at + STEP >= len(body):
                # Before the last bytes go: whoever has them may ask for more at once.
                with lock:
                    thin_reads -= 1
                    print(f"READ {first} {last} BESIDE {thin_reads}", flush=True)
            self.wfile.write(body[at : at + STEP])

    def list_keys(self):
        prefix = self.query.get("prefix", "")
        if self.bucket == "huge":
            return self.answer(200, b"<ListBucketResult>" + b" " * (5 << 20) + b"</ListBucketResult>")
        if self.bucket in ("circle", "nowhere"):
            number = self.circle("continuation-token")
            text = element("IsTruncated", "true") + element("Contents", element("Key", f"{prefix}{number}") + element("Size", 7))
            if self.bucket == "circle":
                text += element("NextContinuationToken", number)
            return self.answer(200, element("ListBucketResult", text).encode())
        if self.bucket == "many":
            keys = [f"{prefix}{number:05}" for number in range(2500)]
        else:
            keys = sorted(key for bucket, key in objects if bucket == self.bucket and key.startswith(prefix))
        start = int(self.query.get("continuation-token", "0 ").split()[0])
        text = "".join(element("Contents", element("Key", key) + element("Size", 7)) for key in keys[start : start + 1000])
        if start + 1000 < len(keys):
            text += element("NextContinuationToken", f"{start + 1000} +/=")
        self.answer(200, element("ListBucketResult", text).encode())

    def circle(self, parameter):
        """What comes behind the place that the query names: 1, 2, 3, 1, ..."""
        return int(self.query.get(parameter, "0")) % 3 + 1

    def list_uploads(self):
        prefix = self.query.get("prefix", "")
        if self.bucket in ("circle", "nowhere"):
            number = self.circle("upload-id-marker")
            text = element("IsTruncated", "true")
            if self.bucket == "circle":
                text += element("NextKeyMarker", prefix + "key") + element("NextUploadIdMarker", number)
            text += element("Upload", element("Key", prefix + "key") + element("UploadId", number))
            return self.answer(200, element("ListMultipartUploadsResult", text).encode())
        with lock:
            left = list(uploads.get(self.bucket, []))
        if self.bucket == "stay":
            left = ["stays"]
        left = [name for name in left if name > self.query.get("upload-id-marker", "")]
        text = ""
        if len(left) > 1:
            text = element("IsTruncated", "true") + element("NextKeyMarker", prefix + left[0])
            text += element("NextUploadIdMarker", left[0])
        for name in left[:1]:
            # In another order than Amazon's.
            text += element("Upload", element("UploadId", name) + element("Key", prefix + name))
        self.answer(200, element("ListMultipartUploadsResult", text).encode())

    def log_message(self, *_):
        pass


server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Moody)
server.daemon_threads = True
print("READY", server.server_port, flush=True)


def listen():
    for line in sys.stdin:
        if line.strip() == "hush":
            hushed.set()
            tell("HUSHED")
    os._exit(0)


threading.Thread(target=listen, daemon=True).start()
server.serve_forever()
