"""The length and the digest of bytes that pass by."""

from __future__ import annotations

import hashlib
import io

import pytest

from lading.blobs.digest import BlobHash, ChunkedWriter, HashingWriter, NullSink
from lading.errors import DigestMismatch, SizeMismatch

DIGEST = f"sha256:{hashlib.sha256(b'one two').hexdigest()}"


def test_chunks_are_counted_and_hashed_as_one_blob():
    blob = BlobHash()
    blob.update(b"one")
    blob.update(memoryview(b" two"))
    assert (blob.size_bytes, blob.digest) == (7, DIGEST)
    blob.check(DIGEST, 7)


@pytest.mark.parametrize(("data", "error"), [(b"one tw", SizeMismatch), (b"one twO", DigestMismatch)])
def test_a_blob_other_than_the_announced_one_is_refused(data, error):
    blob = BlobHash()
    blob.update(data)
    with pytest.raises(error):
        blob.check(DIGEST, 7)


def test_a_hashing_writer_passes_on_what_it_hashes():
    file = io.BytesIO()
    writer = HashingWriter(file)
    assert writer.write(b"one") + writer.write(b" two") == writer.tell() == 7
    writer.flush()
    assert (file.getvalue(), writer.hash.digest) == (b"one two", DIGEST)


class Sent(ChunkedWriter):
    def __init__(self, size_bytes: int, chunk_bytes: int) -> None:
        super().__init__(size_bytes, chunk_bytes)
        self.sent: list[bytes] = []

    def send(self, chunk: bytes) -> None:
        self.sent.append(chunk)


@pytest.mark.parametrize("step", [1, 3, 7])
def test_a_blob_is_sent_in_whole_chunks_and_the_last_one_is_kept(step):
    writer = Sent(7, 2)
    for start in range(0, 7, step):
        writer.write(b"one two"[start : start + step])
    assert (writer.sent, bytes(writer.rest)) == ([b"on", b"e ", b"tw"], b"o")
    assert (writer.tell(), writer.hash.digest) == (7, DIGEST)


def test_a_last_chunk_that_is_full_is_kept_as_well():
    writer = Sent(4, 2)
    writer.write(b"four")
    assert (writer.sent, bytes(writer.rest)) == ([b"fo"], b"ur")


def test_a_blob_that_gets_longer_than_announced_is_refused_before_more_is_sent():
    writer = Sent(3, 1)
    with pytest.raises(SizeMismatch, match="expected 3 bytes, found 7 or more"):
        writer.write(b"one two")
    assert writer.sent == []


def test_a_null_sink_takes_everything():
    assert NullSink().write(b"one two") == 7
