# SPDX-License-Identifier: Apache-2.0
"""boto3's transfer manager, for s3.py: the same commands and answers as s3_client.c. Objects are sent from memory and read into memory.

It is given all objects together, and has its own settings: ten threads, parts of 8 MiB.
Usage: boto3_client.py ENDPOINT ACCESS_KEY SECRET_KEY BUCKET OBJECTS OBJECT_BYTES
"""

import io
import json
import os
import sys
import time

import boto3
from boto3.s3.transfer import TransferConfig, create_transfer_manager

ENDPOINT, ACCESS_KEY, SECRET_KEY, BUCKET = sys.argv[1:5]
COUNT, SIZE = int(sys.argv[5]), int(sys.argv[6])


class Into(io.RawIOBase):
    """A place in memory to be written in order or anywhere: what a caller with memory of its own would give the transfer manager."""

    def __init__(self, view):
        self.view = view
        self.at = 0

    def writable(self):
        return True

    def seekable(self):
        return True

    def seek(self, offset, whence=0):
        self.at = (0, self.at, len(self.view))[whence] + offset
        return self.at

    def tell(self):
        return self.at

    def write(self, data):
        self.view[self.at : self.at + len(data)] = data
        self.at += len(data)
        return len(data)


def main():
    s3 = boto3.client(
        "s3", endpoint_url=ENDPOINT, region_name="us-east-1", aws_access_key_id=ACCESS_KEY, aws_secret_access_key=SECRET_KEY)
    sent = [os.urandom(SIZE) for _ in range(COUNT)]
    received = [bytearray(SIZE) for _ in range(COUNT)]
    keys = [f"boto3-{i}" for i in range(COUNT)]

    def all_of(begin):
        with create_transfer_manager(s3, TransferConfig()) as manager:
            for future in [begin(manager, *pair) for pair in zip(keys, sent, received)]:
                future.result()

    def out():
        all_of(lambda manager, key, data, _: manager.upload(io.BytesIO(data), BUCKET, key))

    def back():
        all_of(lambda manager, key, _, data: manager.download(BUCKET, key, Into(memoryview(data))))

    def remove():
        for key in keys:
            s3.delete_object(Bucket=BUCKET, Key=key)

    for line in sys.stdin:
        work = {"out": out, "in": back, "remove": remove}[line.strip()]
        used = time.process_time()
        began = time.perf_counter()
        work()
        took = time.perf_counter() - began
        used = time.process_time() - used
        if work is back and any(a != b for a, b in zip(sent, received)):
            sys.exit("boto3_client: what came back is not what was sent")
        print(json.dumps({"seconds": took, "cpu_seconds": used, "version": boto3.__version__}), flush=True)


main()
