"""Blobs in a bucket, for the tests of the S3 store."""

from __future__ import annotations

import hashlib
import random
from typing import Any

from lading.registry.store.s3 import S3Store

PART_BYTES = 5 << 20  # The least that S3 accepts for a part that is not the last.
BODY = random.Random(7).randbytes(2 * PART_BYTES + 1000)
DIGEST = f"sha256:{hashlib.sha256(BODY).hexdigest()}"


def object_at(s3_url: str, digest: str = DIGEST) -> dict[str, str]:
    """Return bucket and key of a blob, as requests name them."""
    bucket, _, prefix = s3_url.removeprefix("s3://").partition("/")
    return {"Bucket": bucket, "Key": f"{prefix}/sha256/{digest[7:9]}/{digest[7:]}"}


def put(store: S3Store, body: bytes = BODY) -> None:
    store.put(lambda out: out.write(body), f"sha256:{hashlib.sha256(body).hexdigest()}", len(body))


def read(store: S3Store, digest: str = DIGEST) -> bytes:
    with store.open(digest) as source:
        return source.read()


def uploads(client: Any, s3_url: str) -> list[dict[str, Any]]:
    """Return the multipart uploads that are neither completed nor aborted."""
    return client.list_multipart_uploads(Bucket=object_at(s3_url)["Bucket"]).get("Uploads", [])
