"""Adopting servers: what is refused, and that no password is kept."""

from __future__ import annotations

import gzip
import json
import time

import msgspec
import pytest

from lading.errors import InvalidSetting, RemoteError, ServerUnavailable, UsageError
from lading.inventory import adopt
from support.canned_server import answering
from support.hostile_server import answered, dripping, endless, hostile
from support.ports import free_port

TRITON = {"GET /v2": {"name": "triton", "version": "2.60.0"}, "POST /v2/repository/index": []}


def test_the_id_of_a_server_is_its_address_and_the_models_to_ask_about_are_kept():
    with answering(TRITON) as server:
        replica = adopt(server, ["net", "other"])
    assert (replica.id, replica.address) == (server.removeprefix("http://"), server)
    assert (replica.pattern, replica.settings) == ("foreign", {"models": "net,other"})


def test_a_lading_server_is_not_adopted():
    answers = {"GET /v2": {"name": "lading", "version": "0.1.0"}}
    with answering(answers) as server, pytest.raises(UsageError, match="registers itself"):
        adopt(server)


@pytest.mark.parametrize("address", ["127.0.0.1:8000", "ftp://x", "http://", "http://x:port"])
def test_an_invalid_address_is_refused(address):
    with pytest.raises(InvalidSetting):
        adopt(address)


@pytest.mark.parametrize(
    "address",
    ["http://me:secret@x:port", "http://me:sec/secret@x", "me:secret@x:8000", "ftp://me:secret@x"],
)
def test_the_error_of_an_invalid_address_shows_no_password(address):
    with pytest.raises(InvalidSetting, match="x") as caught:
        adopt(address)
    assert "sec" not in str(caught.value)


def test_a_password_in_the_address_is_not_kept():
    with answering(TRITON) as server:
        replica = adopt(server.replace("http://", "http://me:secret@"))
    assert "secret" not in repr(replica)


def test_an_unreachable_server_is_reported():
    with pytest.raises(ServerUnavailable):
        adopt(f"http://127.0.0.1:{free_port()}")


@pytest.mark.parametrize("path", ["/v2", "/v1/models/net", "/version"])
def test_an_endless_answer_is_refused(path):
    def answer(request):
        return endless() if request.path == path else [answered("404 Not Found")]

    with hostile(answer) as server, pytest.raises(ServerUnavailable, match="more than 1 MiB"):
        adopt(server.url, ["net"])


def test_a_compressed_answer_that_nobody_asked_for_is_refused():
    bomb = gzip.compress(bytes(10 << 20))
    with (
        hostile(lambda _: [answered("200 OK", bomb, content_encoding="gzip")]) as server,
        pytest.raises(ServerUnavailable, match="not asked for"),
    ):
        adopt(server.url)


@pytest.mark.slow
def test_a_slow_server_is_given_up():
    with (
        hostile(lambda _: dripping(b"HTTP/1.1 200 OK\r\nx: " + b"x" * 1000)) as server,
        pytest.raises(ServerUnavailable, match="not complete in time"),
    ):
        adopt(server.url, timeout_s=0.5)


@pytest.mark.slow
def test_asking_about_very_many_models_has_a_time_limit():
    index = json.dumps([{"name": f"m{number}"} for number in range(20_000)]).encode()

    def answer(request):
        bodies = {"/v2": b'{"name": "triton"}', "/v2/repository/index": index}
        return [answered("200 OK", bodies[request.path])] if request.path in bodies else slow_refusal()

    with hostile(answer) as server, pytest.raises(ServerUnavailable, match="not complete in time"):
        adopt(server.url, timeout_s=0.2)
    assert len(server.requests) < 5_000


def slow_refusal():
    time.sleep(0.01)
    return [answered("404 Not Found")]


def test_a_server_without_a_name_is_no_server_that_could_be_adopted():
    with answering({"GET /v2": {"name": " "}}) as server, pytest.raises(RemoteError, match="an answer"):
        adopt(server)


@pytest.mark.parametrize(
    "answers",
    [
        {
            **TRITON,
            "POST /v2/repository/index": [{"name": "net", "version": "1"}],
            "GET /v2/models/stats": {
                "model_stats": [{"name": "net", "version": "1", "last_inference": 10**18}]
            },
        },
        {
            "GET /v1/models/net": {
                "model_version_status": [{"version": "1\n/../..", "state": "AVAILABLE", "status": {}}]
            }
        },
        {**TRITON, "POST /v2/repository/index": [{"name": "net", "reason": "x" * 900_000}]},
    ],
)
def test_strange_values_do_not_get_far(answers):
    with answering(answers) as server:
        replica = adopt(server, ["net"])
    assert len(msgspec.json.encode(replica)) < 10_000


def test_a_redirect_is_no_answer_and_is_not_followed():
    with hostile(lambda _: [answered("200 OK", b'{"name": "triton"}')]) as other:
        redirect = [answered("302 Found", location=f"{other.url}/v2")]
        with hostile(lambda _: redirect) as server, pytest.raises(RemoteError):
            adopt(server.url)
    assert other.requests == []
