# SPDX-License-Identifier: Apache-2.0
"""Whether an S3 server takes its key, and refuses another one and none; its exit status says so.

Usage: check_keys.py ENDPOINT ACCESS_KEY SECRET_KEY BUCKET
"""

import sys

import boto3
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError

ENDPOINT, ACCESS_KEY, SECRET_KEY, BUCKET = sys.argv[1:5]


def answer(secret_key, **settings):
    s3 = boto3.client("s3", endpoint_url=ENDPOINT, region_name="us-east-1", aws_access_key_id=ACCESS_KEY,
                      aws_secret_access_key=secret_key, config=Config(**settings))
    try:
        s3.put_object(Bucket=BUCKET, Key="probe", Body=b"")
        return 200
    except ClientError as error:
        return error.response["ResponseMetadata"]["HTTPStatusCode"]


right, wrong, none = answer(SECRET_KEY), answer(SECRET_KEY + "x"), answer(SECRET_KEY, signature_version=UNSIGNED)
if (right, wrong) != (200, 403) or none not in (400, 401, 403):
    sys.exit(f"check_keys: {ENDPOINT} answers {right} to its key, {wrong} to a wrong one, {none} to none")
boto3.client("s3", endpoint_url=ENDPOINT, region_name="us-east-1", aws_access_key_id=ACCESS_KEY,
             aws_secret_access_key=SECRET_KEY).delete_object(Bucket=BUCKET, Key="probe")
