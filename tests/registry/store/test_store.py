"""What every store guarantees: a blob that exists is complete."""

from __future__ import annotations

import hashlib
import threading
import time

import pytest

from lading.errors import BlobNotFound, DigestMismatch, SizeMismatch

BODY = b"the bytes of a bundle" * 10_000
DIGEST = f"sha256:{hashlib.sha256(BODY).hexdigest()}"


def put(store, body: bytes = BODY) -> str:
    digest = f"sha256:{hashlib.sha256(body).hexdigest()}"
    store.put(lambda out: out.write(body), digest, len(body))
    return digest


def read(store, digest: str) -> bytes:
    with store.open(digest) as source:
        return source.read()


def test_a_blob_is_read_as_it_was_put_on_other_connections_too(open_store):
    digest = put(open_store())
    assert read(open_store(), digest) == BODY
    assert open_store().has(digest)


def test_a_part_of_a_blob_is_read_from_where_it_begins(store):
    with store.open(put(store)) as source:
        assert source.read(5) == BODY[:5]
        source.seek(150_000)
        assert source.read(21) == BODY[150_000:150_021]


def test_an_empty_blob_is_a_blob(store):
    assert read(store, put(store, b"")) == b""


def test_a_blob_written_in_chunks_is_one_blob(store):
    def write(out):
        for at in range(0, len(BODY), 7_001):
            out.write(BODY[at : at + 7_001])

    store.put(write, DIGEST, len(BODY))
    assert read(store, DIGEST) == BODY


def test_a_blob_that_does_not_exist_is_not_found_naming_its_digest(store):
    assert not store.has(DIGEST)
    with pytest.raises(BlobNotFound, match=DIGEST):
        store.open(DIGEST)


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (BODY[:-1] + b"?", DigestMismatch),
        (BODY[:-1], SizeMismatch),
        (BODY + b"!", SizeMismatch),
        (b"", SizeMismatch),
    ],
)
def test_bytes_other_than_announced_are_refused_and_not_stored(store, body, error):
    with pytest.raises(error):
        store.put(lambda out: out.write(body), DIGEST, len(BODY))
    assert not store.has(DIGEST)
    assert list(store.blobs()) == []
    assert store.sweep(time.time() + 1, dry_run=False) == []


def test_a_writer_that_fails_leaves_nothing(store):
    def write(out):
        out.write(BODY[:100])
        raise DigestMismatch("`model.onnx`", expected="`a`", found="`b`")

    with pytest.raises(DigestMismatch, match=r"model\.onnx"):
        store.put(write, DIGEST, len(BODY))
    assert list(store.blobs()) == []
    assert store.sweep(time.time() + 1, dry_run=False) == []


def test_putting_a_blob_again_keeps_it_and_renews_its_time(store, tick_s):
    put(store)
    (first,) = store.blobs()
    time.sleep(tick_s)  # Until the store can show another time.
    put(store)
    (again,) = store.blobs()
    assert again.digest == first.digest == DIGEST
    assert again.modified_at > first.modified_at


def test_blobs_are_listed_in_order_with_their_sizes(store):
    digests = sorted(put(store, bytes([number]) * (number + 1)) for number in range(20))
    listed = list(store.blobs())
    assert [blob.digest for blob in listed] == digests
    assert sum(blob.size_bytes for blob in listed) == sum(range(1, 21))
    assert all(abs(blob.modified_at - time.time()) < 60 for blob in listed)


def test_a_blob_is_deleted_once(store):
    put(store)
    assert store.delete(DIGEST)
    assert not store.delete(DIGEST)
    assert not store.has(DIGEST)
    assert list(store.blobs()) == []


def test_a_reader_continues_while_the_blob_is_deleted(store):
    put(store)
    with store.open(DIGEST) as source:
        head = source.read(10)
        store.delete(DIGEST)
        assert head + source.read() == BODY


def test_many_writers_of_one_blob_leave_one_blob(open_store):
    failures = []

    def run():
        try:
            put(open_store())
        except Exception as error:  # noqa: BLE001 - shown by the assertion below
            failures.append(error)

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert [blob.digest for blob in open_store().blobs()] == [DIGEST]
    assert open_store().sweep(time.time() + 1, dry_run=False) == []


def test_a_write_under_way_is_invisible_and_never_swept(open_store):
    views = []

    def write(out):
        out.write(BODY[:1000])
        other = open_store()
        views.append((other.has(DIGEST), list(other.blobs()), other.sweep(time.time() + 1, dry_run=False)))
        out.write(BODY[1000:])

    store = open_store()
    store.put(write, DIGEST, len(BODY))
    assert views == [(False, [], [])]
    assert read(store, DIGEST) == BODY
