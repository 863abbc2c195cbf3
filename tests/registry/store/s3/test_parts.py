"""Uploads to S3 in parts: complete or not at all, and never over another writer's blob."""

from __future__ import annotations

import hashlib
import time

import pytest

from lading.errors import DigestMismatch
from support.s3_stores import BODY, DIGEST, PART_BYTES, object_at, put, read, uploads
from support.store_servers import proxy

pytestmark = pytest.mark.slow


def test_a_large_blob_is_sent_in_parts_and_read_complete(store, client, s3_url):
    put(store)
    assert read(store) == BODY
    head = client.head_object(**object_at(s3_url))
    assert head["ETag"].strip('"').endswith("-3")
    assert uploads(client, s3_url) == []


def test_a_writer_that_fails_leaves_no_parts(store, client, s3_url):
    def write(out):
        out.write(BODY[: PART_BYTES + 1])
        assert len(uploads(client, s3_url)) == 1
        raise DigestMismatch("`model.onnx`", expected="`a`", found="`b`")

    with pytest.raises(DigestMismatch, match=r"model\.onnx"):
        store.put(write, DIGEST, len(BODY))
    assert uploads(client, s3_url) == []
    assert not store.has(DIGEST)


@pytest.mark.parametrize("size", [1000, len(BODY)])
def test_two_writers_of_one_blob_both_succeed_and_the_first_one_is_kept(open_store, client, s3_url, size):
    body = BODY[:size]
    digest = f"sha256:{hashlib.sha256(body).hexdigest()}"

    def write(out) -> None:
        out.write(body)
        put(open_store(), body)
        times.append(client.head_object(**object_at(s3_url, digest))["LastModified"])
        time.sleep(1.1)  # A second write would have another time, which is in whole seconds.

    times = []
    open_store().put(write, digest, size)
    assert client.head_object(**object_at(s3_url, digest))["LastModified"] == times[0]
    assert uploads(client, s3_url) == []
    assert read(open_store(), digest) == body


def test_the_server_itself_checks_the_condition(client, s3_url):
    client.put_object(**object_at(s3_url), Body=b"first", IfNoneMatch="*")
    with pytest.raises(client.exceptions.ClientError, match="PreconditionFailed"):
        client.put_object(**object_at(s3_url), Body=b"second", IfNoneMatch="*")


def test_an_upload_continues_where_the_connection_broke(store, open_store, s3_server, monkeypatch):
    with proxy(s3_server.address) as way:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://{way.address}")
        way.cut_after, way.cuts = PART_BYTES // 2, 1
        put(open_store())
        assert way.cuts == 0
        assert way.bytes_up < len(BODY) + PART_BYTES + 100_000
    assert read(store) == BODY
