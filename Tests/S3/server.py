#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""An S3 service for the tests: moto's server, which checks signatures once the user and the buckets are there.

Prints one line, `READY PORT ACCESS_KEY SECRET_KEY`, and serves until its standard input ends. The buckets are `spill` and `other`. The lines
`shut` and `open` there make it unreachable, with all that is under way cut, and reachable again with what it had; each is answered by itself. `cut BYTES` shuts it in the
middle of an upload, when so many bytes more have been sent to it, and is answered by `cut` then.
"""
import json
import logging
import os
import sys
import threading

# Requests that are not checked yet: a user, its key, its policy, two buckets. Read when moto is imported.
os.environ["INITIAL_NO_AUTH_ACTION_COUNT"] = "5"

import boto3  # noqa: E402
from gate import Gate  # noqa: E402
from moto.server import ThreadedMotoServer  # noqa: E402

REGION = "us-east-1"


def main() -> None:
    logging.getLogger("werkzeug").setLevel(logging.ERROR)
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    anybody = dict(
        endpoint_url=f"http://{host}:{port}", region_name=REGION, aws_access_key_id="anybody", aws_secret_access_key="anything")
    iam = boto3.client("iam", **anybody)
    iam.create_user(UserName="node")
    key = iam.create_access_key(UserName="node")["AccessKey"]
    everything = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}
    iam.put_user_policy(UserName="node", PolicyName="everything", PolicyDocument=json.dumps(everything))
    s3 = boto3.client("s3", **anybody)
    for bucket in ("spill", "other"):
        s3.create_bucket(Bucket=bucket)
    gate = Gate(port)
    print("READY", gate.port, key["AccessKeyId"], key["SecretAccessKey"], flush=True)
    threading.Thread(target=obey, args=(gate,)).start()


def obey(gate: Gate) -> None:
    for line in sys.stdin:
        word, *rest = line.split()
        if word == "cut":
            gate.shut_after(int(rest[0]), lambda: print("cut", flush=True))
            continue
        {"shut": gate.shut, "open": gate.open}[word]()
        print(word, flush=True)
    os._exit(0)


main()
