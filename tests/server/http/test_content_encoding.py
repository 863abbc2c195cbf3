"""Compressed bodies are unpacked; those that are not what their header says are refused."""

from __future__ import annotations

import gzip
import zlib

import pytest

from support.http_requests import BODY, is_correct, request

PACKED = {"gzip": gzip.compress(BODY), "X-GZIP": gzip.compress(BODY), "deflate": zlib.compress(BODY)}


@pytest.mark.parametrize("encoding", ["gzip", "X-GZIP", "deflate", "identity"])
def test_a_compressed_body_is_unpacked(host, expected, encoding):
    with host.wire() as wire:
        for _ in range(2):
            wire.send(request(PACKED.get(encoding, BODY), content_encoding=encoding))
            assert is_correct(wire.answer(), expected)
        wire.send(request())
        assert is_correct(wire.answer(), expected)


@pytest.mark.parametrize(
    ("packed", "encoding", "status", "says"),
    [
        pytest.param(gzip.compress(b"[" * 5000), "gzip", 413, "at most 4096 bytes", id="too much"),
        pytest.param(PACKED["gzip"][:-9], "gzip", 400, "its beginning only", id="cut off"),
        pytest.param(PACKED["gzip"] + b"{}", "gzip", 400, "2 bytes after its end", id="more after its end"),
        pytest.param(BODY, "gzip", 400, "a body in `gzip`", id="plain"),
        pytest.param(BODY, "br", 415, "`gzip` or `deflate`, or none", id="unknown"),
        pytest.param(BODY, "deflate, gzip", 415, "`deflate, gzip`", id="two"),
    ],
)
def test_a_body_that_is_not_compressed_as_it_says_is_refused(host, expected, packed, encoding, status, says):
    with host.wire() as wire:
        wire.send(request(packed, content_encoding=encoding))
        answer = wire.answer()
        assert (answer.status, says in answer.json()["error"]) == (status, True), answer.body
        wire.send(request())
        assert is_correct(wire.answer(), expected)
