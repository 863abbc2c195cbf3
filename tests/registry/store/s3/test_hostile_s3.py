"""S3 servers that answer without an end, in a circle, too slowly, or with a redirect."""

from __future__ import annotations

import gzip
import itertools

import pytest

from lading.blobs import download
from lading.blobs.retry import Retry
from lading.bounded_http import MAX_REDIRECTS
from lading.errors import DigestMismatch, RegistryUnavailable
from lading.oci import digest_of
from lading.registry.store.s3 import S3Store, bounded
from support.hostile_server import answered, dripping, endless, hostile
from support.s3_stores import DIGEST
from support.store_servers import AWS

BODY = b"the bytes of a blob"
LIST = """<?xml version="1.0"?><ListBucketResult><IsTruncated>true</IsTruncated>
<NextContinuationToken>{}</NextContinuationToken></ListBucketResult>"""


@pytest.fixture
def store_at(monkeypatch):
    for name, value in AWS.items():
        monkeypatch.setenv(name, value)
    opened = []

    def store_at(server, **more) -> S3Store:
        monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
        opened.append(S3Store("bucket", retry=Retry(attempts=1), **more))
        return opened[-1]

    yield store_at
    for store in opened:
        store.close()


@pytest.mark.slow
@pytest.mark.parametrize("status", ["200 OK", "403 Forbidden"])
@pytest.mark.parametrize(
    "ask",
    [
        lambda store: list(store.blobs()),
        lambda store: store.sweep(0, dry_run=True),
        lambda store: store.delete(DIGEST),
    ],
)
def test_an_endless_answer_is_refused(store_at, ask, status):
    def answer(request):
        # A HEAD has no body.
        head = answered("200 OK", etag='"1"')
        return [head] if request.method == "HEAD" else endless(f"HTTP/1.1 {status}\r\n\r\n".encode())

    with hostile(answer) as server, pytest.raises(RegistryUnavailable, match="more than 8 MiB"):
        ask(store_at(server))


@pytest.mark.slow
def test_an_endless_refusal_of_a_blob_is_refused(store_at):
    with (
        hostile(lambda _: endless(b"HTTP/1.1 403 Forbidden\r\n\r\n")) as server,
        pytest.raises(RegistryUnavailable, match="more than 8 MiB"),
    ):
        store_at(server).open(DIGEST)


@pytest.mark.slow
def test_a_compressed_answer_is_not_unpacked(store_at):
    bomb = gzip.compress(bytes(10 << 20))
    with (
        hostile(lambda _: [answered("200 OK", bomb, content_encoding="gzip")]) as server,
        pytest.raises(RegistryUnavailable, match="ListObjectsV2"),
    ):
        list(store_at(server).blobs())


@pytest.mark.slow
def test_a_slow_answer_is_given_up(store_at, monkeypatch):
    monkeypatch.setattr(bounded, "DOCUMENT_S", 0.3)

    def answer(_):
        yield b"HTTP/1.1 200 OK\r\n\r\n"
        yield from dripping(b" " * 1000)

    with hostile(answer) as server, pytest.raises(RegistryUnavailable, match="not complete in time"):
        list(store_at(server).blobs())


def test_endless_pages_are_refused(store_at, monkeypatch):
    monkeypatch.setattr(bounded, "MAX_PAGES", 10)
    numbers = itertools.count()
    with hostile(lambda _: [answered("200 OK", LIST.format(next(numbers)).encode())]) as server:
        with pytest.raises(RegistryUnavailable, match="10 pages"):
            list(store_at(server).blobs())
        assert len(server.requests) == 10


@pytest.mark.slow
@pytest.mark.parametrize("endlessly", [False, True])
def test_a_blob_without_a_stated_length_is_held_against_its_digest(store_at, monkeypatch, endlessly):
    monkeypatch.setattr(download, "PATIENCE_S", 0.3)

    def answer(_):
        yield b"HTTP/1.1 200 OK\r\n\r\n"
        yield from dripping(b" " * 1000) if endlessly else [BODY]

    with hostile(answer) as server, pytest.raises((DigestMismatch, RegistryUnavailable)) as caught:
        store_at(server).open(DIGEST).read()
    assert ("bytes a second" in caught.value.message) is endlessly


# Redirects.


def put(store):
    store.put(lambda out: out.write(BODY), digest_of(BODY), len(BODY))


def missing_or(answer):
    return lambda request: [answered("404 Not Found")] if request.method == "HEAD" else answer(request)


@pytest.mark.slow
def test_a_307_is_followed_with_the_body_and_a_signature_for_the_new_host(store_at):
    with hostile(missing_or(lambda _: [answered("200 OK", etag='"1"')])) as other:

        def redirect(request):
            location = f"http://localhost:{other.address.rpartition(':')[2]}{request.path}?rk=1"
            return [answered("307 Temporary Redirect", location=location)]

        with hostile(missing_or(redirect)) as server:
            put(store_at(server))
    (sent,) = [request for request in server.requests if request.method == "PUT"]
    (again,) = other.requests
    assert (again.method, again.body) == ("PUT", BODY)
    assert again.path == f"{sent.path}?rk=1"
    assert again.headers["host"].startswith("localhost:")
    assert again.headers["authorization"] != sent.headers["authorization"]
    assert "host" in again.headers["authorization"].partition("SignedHeaders=")[2].partition(",")[0]


@pytest.mark.slow
def test_redirects_are_counted(store_at):
    def redirect(request):
        return [answered("307 Temporary Redirect", location=f"http://{request.headers['host']}/again")]

    with hostile(missing_or(redirect)) as server:
        with pytest.raises(RegistryUnavailable, match=f"more than {MAX_REDIRECTS} redirects"):
            put(store_at(server))
        assert len([request for request in server.requests if request.method == "PUT"]) == MAX_REDIRECTS + 1


def test_an_answer_without_what_it_must_say_is_refused_in_a_sentence(store_at):
    with (
        hostile(lambda _: [b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n"]) as server,
        pytest.raises(RegistryUnavailable, match="an answer without `ContentLength`"),
    ):
        store_at(server).has(DIGEST)
