"""Registries and token services that answer without an end, in a circle or too slowly."""

from __future__ import annotations

import gzip
import itertools
import json

import pytest

from lading import bounded_http
from lading import oci as oci_module
from lading.blobs import download
from lading.blobs.retry import Retry
from lading.bounded_http import MAX_REDIRECTS
from lading.errors import RegistryUnavailable
from lading.oci import Repository
from support.hostile_server import answered, dripping, endless, hostile

ONCE = Retry(attempts=1)
DIGEST = "sha256:" + "0" * 64


def repository(server, **environ) -> Repository:
    return Repository(server.address, "models", retry=ONCE, environ=environ)


@pytest.mark.parametrize("encoding", ["identity", "gzip"])
@pytest.mark.parametrize(
    "ask",
    [
        lambda repository: repository.manifest("1"),
        lambda repository: repository.tags(),
        lambda repository: repository.put_manifest("1", b"{}"),
        lambda repository: repository.delete_blob(DIGEST),
        lambda repository: repository.upload(10).finish(digest_of_nothing(), 0),
    ],
)
def test_an_endless_answer_and_a_bomb_are_refused(ask, encoding):
    head = f"HTTP/1.1 200 OK\r\ncontent-encoding: {encoding}\r\n\r\n".encode()
    piece = b" " * 65536 if encoding == "identity" else gzip.compress(bytes(1 << 20))
    with hostile(lambda _: endless(head, piece)) as server, pytest.raises(RegistryUnavailable) as caught:
        ask(repository(server))
    assert "MiB" in caught.value.message or "not asked for" in caught.value.message


def digest_of_nothing() -> str:
    return oci_module.digest_of(b"")


def test_an_endless_refusal_of_a_blob_is_refused():
    with (
        hostile(lambda _: endless(b"HTTP/1.1 403 Forbidden\r\n\r\n")) as server,
        pytest.raises(RegistryUnavailable, match="MiB"),
    ):
        repository(server).open_blob(DIGEST)


def test_pages_of_tags_that_lead_in_a_circle_are_refused():
    page = json.dumps({"tags": ["a"]}).encode()
    with hostile(lambda _: [answered("200 OK", page, link='</v2/models/tags/list?x>; rel="next"')]) as server:
        with pytest.raises(RegistryUnavailable, match="leads back to one before it"):
            repository(server).tags()
        assert len(server.requests) == 2


def test_endless_pages_of_tags_are_refused(monkeypatch):
    monkeypatch.setattr(oci_module, "MAX_TAG_PAGES", 20)
    numbers = itertools.count()
    page = json.dumps({"tags": ["a"]}).encode()
    with hostile(lambda _: [answered("200 OK", page, link=f'</next?{next(numbers)}>; rel="next"')]) as server:
        with pytest.raises(RegistryUnavailable, match="20 pages"):
            repository(server).tags()
        assert len(server.requests) == 21


def test_redirects_are_counted_and_refused_in_a_sentence():
    with hostile(lambda _: [answered("307 Temporary Redirect", location="/again")]) as server:
        with pytest.raises(RegistryUnavailable, match="more than 5 redirects"):
            repository(server).manifest("1")
        assert len(server.requests) == MAX_REDIRECTS + 1


@pytest.mark.slow
def test_a_slow_manifest_is_given_up(monkeypatch):
    monkeypatch.setattr(bounded_http, "DOCUMENT_S", 0.5)
    head = b"HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n"
    with (
        hostile(lambda _: dripping(head + bytes(1000))) as server,
        pytest.raises(RegistryUnavailable, match="not complete in time"),
    ):
        repository(server).manifest("1")


@pytest.mark.slow
def test_a_blob_that_comes_byte_by_byte_is_given_up(monkeypatch):
    monkeypatch.setattr(download, "PATIENCE_S", 0.5)
    head = b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n"

    def answer(_):
        yield head
        yield from dripping(bytes(100_000))

    with (
        hostile(answer) as server,
        pytest.raises(RegistryUnavailable, match="at least 1000 bytes a second"),
    ):
        repository(server).open_blob(DIGEST).read()


# Token services.


def credentials(tmp_path, host, entry) -> dict[str, str]:
    (tmp_path / "config.json").write_text(json.dumps({"auths": {host: entry}}))
    return {"DOCKER_CONFIG": str(tmp_path)}


def challenging(realm):
    return lambda _: [answered("401 Unauthorized", www_authenticate=f'Bearer realm="{realm}",service="s"')]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (lambda _: endless(), "more than 4 MiB"),
        (lambda _: [answered("200 OK", gzip.compress(bytes(1 << 20)), content_encoding="gzip")], "`gzip`"),
        (lambda _: [answered("302 Found", location="/again")], "more than 5 redirects"),
        (lambda _: [answered("200 OK", b"[]")], "an answer without one"),
    ],
)
def test_the_answer_of_a_token_service_is_bounded(answer, words):
    with (
        hostile(answer) as service,
        hostile(challenging(f"{service.url}/token")) as server,
        pytest.raises(RegistryUnavailable, match=words),
    ):
        repository(server).manifest("1")


@pytest.mark.parametrize("secret", [{"identitytoken": "secret"}, {"auth": "bWU6c2VjcmV0"}])
def test_a_token_service_cannot_send_a_secret_to_another_host(tmp_path, secret):
    with hostile(lambda _: [answered("200 OK", b'{"token": "t"}')]) as other:
        redirect = [answered("307 Temporary Redirect", location=f"{other.url}/x")]
        with hostile(lambda _: redirect) as service, hostile(challenging(f"{service.url}/token")) as server:
            environ = credentials(tmp_path, server.address, secret)
            with pytest.raises(RegistryUnavailable, match="307"):
                repository(server, **environ).manifest("1")
    assert other.requests == []
    assert len(service.requests) == 1
