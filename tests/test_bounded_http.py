"""Answers of hostile servers over real sockets: each is refused in one sentence, within its limits."""

from __future__ import annotations

import gzip
import itertools
import time

import httpx
import pytest

from lading.blobs.retry import AnswerRefused
from lading.bounded_http import MAX_REDIRECTS, fetch, open_client, time_limit
from support.hostile_server import answered, dripping, endless, hostile


def ask(server, path="/", **options):
    with open_client(timeout=5) as client:
        return fetch(client, client.build_request("GET", f"{server.url}{path}", headers=HEADERS), **options)


HEADERS = {"authorization": "Bearer secret"}


def test_an_endless_answer_is_refused():
    with hostile(lambda _: endless()) as server, pytest.raises(AnswerRefused, match="more than 4 MiB"):
        ask(server)


def test_a_compressed_answer_that_nobody_asked_for_is_refused():
    bomb = gzip.compress(bytes(10 << 20))
    with (
        hostile(lambda _: [answered("200 OK", bomb, content_encoding="gzip")]) as server,
        pytest.raises(AnswerRefused, match="in `gzip`, which was not asked for"),
    ):
        ask(server)
    assert server.requests[0].headers["accept-encoding"] == "identity"


@pytest.mark.slow
@pytest.mark.parametrize("where", ["head", "body"])
def test_an_answer_that_arrives_byte_by_byte_has_a_time_limit(where):
    head = b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n"
    text = b"HTTP/1.1 200 OK\r\nx: " + b"x" * 1000 if where == "head" else head + b"x" * 1000
    began = time.monotonic()
    with hostile(lambda _: dripping(text)) as server, pytest.raises(AnswerRefused, match="in time"):
        ask(server, within_s=0.5)
    assert time.monotonic() - began < 5


@pytest.mark.slow
def test_a_limit_around_several_requests_ends_them_all():
    with hostile(lambda _: [answered("200 OK", b"{}")]) as server, open_client(verify=False) as client:
        request = client.build_request("GET", server.url)

        def ask_on() -> None:
            for _ in itertools.count():
                assert fetch(client, request).content == b"{}"
                time.sleep(0.01)

        with time_limit(1.0), pytest.raises(AnswerRefused, match="in time"):
            ask_on()
    assert len(server.requests) > 1


def test_redirects_are_counted():
    with hostile(lambda _: [answered("302 Found", location="/again")]) as server:
        with pytest.raises(AnswerRefused, match=f"more than {MAX_REDIRECTS} redirects"):
            ask(server)
        assert len(server.requests) == MAX_REDIRECTS + 1


def test_the_body_of_a_redirect_is_not_read():
    redirect = b"HTTP/1.1 302 Found\r\nlocation: /there\r\n\r\n"

    def answer(request):
        return endless(redirect) if request.path == "/" else [answered("200 OK", b"there")]

    with hostile(answer) as server:
        assert ask(server).content == b"there"


def test_credentials_do_not_follow_a_redirect_to_another_host():
    with (
        hostile(lambda _: [answered("200 OK", b"other")]) as other,
        hostile(lambda _: [answered("307 Temporary Redirect", location=f"{other.url}/x")]) as server,
    ):
        assert ask(server).content == b"other"
    assert server.requests[0].headers["authorization"] == "Bearer secret"
    assert "authorization" not in other.requests[0].headers


def test_an_ordinary_answer_keeps_its_status_headers_and_url():
    with hostile(lambda _: [answered("404 Not Here", b"no", link='</next>; rel="next"')]) as server:
        response = ask(server, "/a?b=c")
    assert (response.status_code, response.reason_phrase, response.text) == (404, "Not Here", "no")
    assert response.links["next"]["url"] == "/next"
    assert str(response.url) == f"{server.url}/a?b=c"


def test_a_connection_is_made_to_an_address_that_is_allowed_and_to_no_other():
    seen = []

    def may_connect(host, address):
        seen.append((host, address))
        return address == "127.0.0.1"

    with hostile(lambda _: [answered("200 OK", b"hello")]) as server:
        url = server.url.replace("127.0.0.1", "localhost")
        with open_client(timeout=5, may_connect=may_connect, trust_env=False) as client:
            assert fetch(client, client.build_request("GET", url)).content == b"hello"
        assert ("localhost", "127.0.0.1") in seen
        nowhere = open_client(timeout=5, may_connect=lambda _host, _address: False, trust_env=False)
        with nowhere as client, pytest.raises(AnswerRefused, match=r"127\.0\.0\.1, which is not allowed"):
            fetch(client, client.build_request("GET", url))
        with (
            open_client(may_connect=may_connect, trust_env=False) as client,
            pytest.raises(httpx.ConnectError),
        ):
            fetch(client, client.build_request("GET", "http://nothing.invalid/"))
