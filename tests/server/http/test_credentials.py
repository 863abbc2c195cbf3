"""Credentials on a connection: known heads without their secrets, bodies of nobody unread, jobs, floods."""

from __future__ import annotations

import gzip
from collections.abc import Iterator

import pytest

from lading.access.keys import new_key
from lading.server.http.stage import without_credential
from lading.server.process.compose import make_app, make_plane
from lading.settings import ServeSettings
from support.access_files import Keys
from support.bundles import linear_bundle
from support.hosted_app import served_from
from support.http_requests import BODY, SETTINGS, is_correct, request
from support.wire import Listening, listening

KEYS = Keys()
KEYS.add("good", "predict", more='models = ["iris"]')
KEYS.add("also", "predict")
KEYS.add("reader", "read")
KEYS.add("slow", "predict", more='quota = "3/d"')

PLAIN = b"GET / HTTP/1.1\r\nhost: b\r\n\r\n"

LIMITS = {**SETTINGS, "max_body_bytes": 4 << 20}


@pytest.fixture(scope="module", params=["fast", "asgi"])
def host(request, served) -> Iterator[Listening]:
    settings = ServeSettings(**LIMITS)
    plane = make_plane(settings)
    plane.publish([served])
    app = make_app(plane, settings, gate=KEYS.gate())
    with listening(app, settings, fast=request.param == "fast") as opened:
        yield opened


def bearer(name: str) -> str:
    return f"Bearer {KEYS.by_name[name]}"


def test_a_head_is_known_for_every_caller_and_keeps_no_credential(host, expected):
    with host.wire() as wire:
        for _ in range(3):
            for name in ("good", "also"):
                for spelling in ("authorization", "Authorization", "AUTHORIZATION"):
                    wire.send(request(**{spelling: bearer(name)}))
                    assert is_correct(wire.answer(), expected)
            wire.send(request())
            assert wire.answer().status == 401
            wire.send(request(authorization=bearer("reader")))
            assert wire.answer().status == 403
            wire.send(request(authorization=f"Bearer {new_key()}"))
            assert wire.answer().status == 401
    if host.stage is not None:
        heads = host.stage.heads
        assert heads
        secrets = [key.encode() for key in KEYS.by_name.values()]
        assert not any(secret in head for head in heads for secret in secrets)
        assert not any(b"authorization" in head.headers for head in heads.values())


def test_what_is_known_is_taken_past_the_parser(host):
    if host.stage is None:
        return
    with host.wire() as wire:
        wire.send(request(Authorization=bearer("good"), x_mine="1"))
        assert wire.answer().status == 200
    known = len(host.stage.heads)
    with host.wire() as wire:
        wire.send(request(Authorization=bearer("also"), x_mine="1"))
        assert wire.answer().status == 200
    assert len(host.stage.heads) == known


def test_two_credentials_or_one_in_two_lines_are_no_way_around(host):
    good, wrong = bearer("good"), f"Bearer {new_key()}"
    plain = request(Authorization=good)
    with host.wire() as wire:
        wire.send(plain)
        assert wire.answer().status == 200
    line, rest = plain.split(b"\r\n", 1)
    for first, second, status in ((good, wrong, 401), (wrong, good, 200)):
        with host.wire() as wire:  # The last counts, on either way.
            for _ in range(3):
                more = f"authorization: {second}\r\n".encode()
                wire.send(
                    line
                    + b"\r\n"
                    + rest.replace(good.encode(), first.encode()).replace(
                        b"\r\n\r\n", b"\r\n" + more + b"\r\n", 1
                    )
                )
                assert wire.answer().status == status


def test_a_large_body_of_nobody_is_not_read(host):
    body = b'{"data":[' + b"[1,2,3,4]," * 100_000 + b"[1,2,3,4]]}"
    head = request(body, authorization=f"Bearer {new_key()}")[: -len(body)]
    with host.wire() as wire:
        wire.send(head)
        answer = wire.answer()  # Before anything of it has come.
        assert answer.status == 401
        assert answer.headers["connection"] == "close"
    with host.wire() as wire:
        wire.send(request(body, authorization=bearer("reader"))[: -len(body)])
        assert wire.answer().status == 403


def test_a_compressed_body_of_nobody_is_not_unpacked(host):
    body = gzip.compress(b'{"data":[' + b" " * 1_000_000 + b"]}")
    with host.wire() as wire:
        wire.send(request(body, content_encoding="gzip"))
        assert wire.answer().status == 401


def test_a_large_body_counts_once(host, served):
    rows = b",".join([b"[5.1,3.5,1.4,0.2]"] * 30_000)
    with host.wire() as wire:
        statuses = []
        for body in (b'{"data":[' + rows + b"]}", BODY, BODY, BODY, BODY):
            wire.send(request(body, authorization=bearer("slow")))
            statuses.append(wire.answer())
    # One host's three are used up by its own test alone: each parameter has a server of its own.
    assert [answer.status for answer in statuses] == [200, 200, 200, 429, 429]
    assert int(statuses[-1].headers["retry-after"]) > 3600


def test_documentation_is_for_who_may_read(host):
    with host.wire() as wire:
        wire.send(request(b"", "/openapi.json", "GET"))
        assert wire.answer().status == 401
        wire.send(request(b"", "/openapi.json", "GET", authorization=bearer("reader")))
        assert wire.answer().status == 200


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"GET / HTTP/1.1\r\nAuthorization: a\r\nhost: b\r\n\r\n", (PLAIN, b"a")),
        (
            b"GET / HTTP/1.1\r\nhost: b\r\nauthorization: a\r\n\r\n",
            (b"GET / HTTP/1.1\r\nhost: b\r\n\r\n", b"a"),
        ),
        (b"GET / HTTP/1.1\r\nauthorization: a\r\n b\r\nhost: b\r\n\r\n", None),
        (b"GET / HTTP/1.1\r\nhost: b\r\n\r\n", None),
    ],
)
def test_a_credential_is_taken_out_of_a_head(head, expected):
    assert without_credential(head) == expected


def test_without_access_control_nobody_looks_at_credentials(tmp_path):
    settings = ServeSettings(**SETTINGS)
    plane = make_plane(settings)
    plane.publish([served_from(linear_bundle(tmp_path / "iris"))])
    app = make_app(plane, settings)
    with listening(app, settings, fast=True) as host, host.wire() as wire:
        for _ in range(2):
            wire.send(request(Authorization="Bearer anything"))
            assert wire.answer().status == 200
        assert host.stage.heads == {}
        assert app.pipeline.access is None
