"""Chunked bodies: the same answers however a client cuts them into chunks, and the network into reads."""

from __future__ import annotations

import http.client
import json
import subprocess
from collections.abc import Iterator

import httpx
import numpy as np
import pytest
import requests
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from lading.settings import ServeSettings
from support.hosted_app import hosted
from support.http_requests import BODY, SETTINGS, is_correct, request, send_in_pieces
from support.wire import Listening, listening

LIMIT = 64 * 1024  # What the head of a request may have, and no body has to keep to.
ROWS = 12_000
LARGE = b'{"data":[%b]}' % b",".join([b"[5.1,3.5,1.4,0.2]"] * ROWS)  # Over 200 kB.


@pytest.fixture(scope="module")
def large_host(served) -> Iterator[Listening]:
    """A server that takes large bodies."""
    patience = dict.fromkeys(("deadline_s", "keep_alive_s", "client_timeout_s"), 30.0)
    limits = {**SETTINGS, "max_body_bytes": 2**20, **patience}
    with listening(hosted(served, **limits).app, ServeSettings(**limits), fast=True) as host:
        yield host


def chunked(
    body: bytes, *sizes: int, extension: bytes = b"", trailers: bytes = b"", path: str = "/predict"
) -> bytes:
    """Write a request whose body comes in chunks of `sizes`, the last of which repeats."""
    head = f"POST {path} HTTP/1.1\r\nhost: lading\r\ntransfer-encoding: chunked\r\n\r\n".encode()
    parts, at, left = [], 0, list(sizes)
    while at < len(body):
        size = left.pop(0) if len(left) > 1 else left[0]
        part = body[at : at + size]
        parts.append(b"%x%b\r\n%b\r\n" % (len(part), extension, part))
        at += size
    return head + b"".join(parts) + b"0%b\r\n%b\r\n" % (extension, trailers)


@pytest.mark.slow
def test_a_chunked_request_cut_at_any_byte_gets_the_same_answer(fast_host, expected):
    whole = chunked(BODY, 7, extension=b";name=value", trailers=b"x-sum: 7\r\n")
    with fast_host.wire() as wire:
        for cut in range(1, len(whole)):
            send_in_pieces(fast_host, wire, whole, cut)
            assert is_correct(wire.answer(), expected), cut


def is_large_answer(status: int, body: bytes, expected: list[float]) -> bool:
    rows = json.loads(body)["prediction"] if status == 200 else []
    return len(rows) == ROWS and np.allclose(rows, expected, rtol=1e-6)


@pytest.mark.slow
# The pieces end behind a chunk's size, within its line end, and before the last line ends.
@pytest.mark.parametrize("behind_first_size", [2, 4, 5, 6, 7])
@pytest.mark.parametrize("before_end", [1, 2, 3, 4, 5])
def test_no_read_of_a_large_body_counts_as_its_head(large_host, expected, behind_first_size, before_end):
    whole = chunked(LARGE, LIMIT + 500, path="/models/iris/predict")
    sizes_at = whole.index(b"\r\n\r\n") + 4
    last = whole.rindex(b"\r\n", 0, whole.rindex(b"\r\n0\r\n")) + 2
    with large_host.wire() as wire:
        send_in_pieces(large_host, wire, whole, sizes_at + behind_first_size, last, len(whole) - before_end)
        answer = wire.answer()
        assert is_large_answer(answer.status, answer.body, expected)
        wire.send(request(path="/models/iris/predict"))
        assert wire.answer().status == 200


@pytest.mark.slow
@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(st.integers(1, 2 * LIMIT), min_size=1, max_size=4).filter(lambda sizes: sizes[-1] > 50),
    st.sets(st.integers(1, len(LARGE)), max_size=5),
    st.sampled_from([b"", b";a", b';a="b c"']),
    st.sampled_from([b"", b"x: y\r\n", b"x: y\r\n" * 50]),
)
def test_a_large_body_in_any_chunks_and_reads_is_answered(
    large_host, expected, sizes, cuts, extension, trailers
):
    whole = chunked(LARGE, *sizes, extension=extension, trailers=trailers, path="/models/iris/predict")
    with large_host.wire() as wire:
        send_in_pieces(large_host, wire, whole, *sorted(cut for cut in cuts if cut < len(whole)))
        answer = wire.answer()
        assert is_large_answer(answer.status, answer.body, expected)


def pieces() -> Iterator[bytes]:
    yield LARGE[:10]
    yield LARGE[10 : LIMIT + 20]
    yield LARGE[LIMIT + 20 :]


def by_http_client(address: tuple[str, int]) -> tuple[int, bytes]:
    connection = http.client.HTTPConnection(*address)
    connection.request("POST", "/models/iris/predict", pieces(), encode_chunked=True)
    answer = connection.getresponse()
    body = answer.read()
    connection.close()
    return answer.status, body


def by_requests(address: tuple[str, int]) -> tuple[int, bytes]:
    with requests.post("http://{}:{}/models/iris/predict".format(*address), data=pieces()) as answer:
        return answer.status_code, answer.content


def by_httpx(address: tuple[str, int]) -> tuple[int, bytes]:
    answer = httpx.post("http://{}:{}/models/iris/predict".format(*address), content=pieces())
    return answer.status_code, answer.content


def by_curl(address: tuple[str, int]) -> tuple[int, bytes]:
    url = "http://{}:{}/models/iris/predict".format(*address)
    command = ["curl", "-sS", "-H", "transfer-encoding: chunked", "-H", "content-type: application/json"]
    command += ["--data-binary", "@-", "-w", r"\n%{http_code}", url]
    body, _, status = subprocess.run(command, input=LARGE, capture_output=True, check=True).stdout.rpartition(
        b"\n"
    )
    return int(status), body


@pytest.mark.slow
@pytest.mark.parametrize("ask", [by_http_client, by_requests, by_httpx, by_curl])
def test_chunked_bodies_of_real_clients_are_answered(large_host, expected, ask):
    for _ in range(5):
        assert is_large_answer(*ask(large_host.address), expected)


@pytest.mark.parametrize(
    "endless", [b"1;" + b"x" * LIMIT, b"0\r\n" + b"x: y\r\n" * (LIMIT // 5)], ids=["extension", "trailers"]
)
def test_what_frames_a_chunk_has_a_limit(large_host, endless):
    with large_host.wire() as wire:
        wire.send(chunked(LARGE, len(LARGE))[: -len(b"0\r\n\r\n")])
        large_host.wait_read(wire)
        wire.send(endless + b"x" * 10)
        assert wire.answer().status == 431
