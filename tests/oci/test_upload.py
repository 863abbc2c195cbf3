"""Uploads in chunks: resumed, started over, given up, and sent as large as a registry asks."""

from __future__ import annotations

import pytest

from lading.errors import RegistryUnavailable
from lading.image.remote import RemoteImage
from lading.oci import digest_of
from support.oci_proxy import RegistryProxy, refusing
from support.oci_stores import (
    BODY,
    DIGEST,
    layer_blob,
    put,
    repository_at,
    store_at,
    unique_body,
)
from support.paging_registry import PagingRegistry

pytestmark = pytest.mark.slow
NAME = "models/proxied"


@pytest.mark.parametrize("way", ["small blob", "store", "image"])
@pytest.mark.parametrize("status", [400, 404, 416])
def test_an_upload_that_the_registry_loses_starts_over(proxied, way, status):
    body = unique_body(f"{way} {status}")
    proxied.override = refusing("PUT", "/blobs/uploads/", status, status, 0)
    uploading(way, proxied, body)
    assert repository_at(proxied.registry, NAME).open_blob(digest_of(body)).read() == body
    assert (
        len(
            [
                request
                for request in proxied.requests
                if request.method == "PUT" and "/uploads/" in request.path
            ]
        )
        >= 3
    )


@pytest.mark.parametrize("way", ["small blob", "store", "image"])
def test_an_upload_that_the_registry_loses_every_time_is_given_up(proxied, way):
    proxied.override = refusing("PUT", "/blobs/uploads/", 404)
    with pytest.raises(RegistryUnavailable, match="go on with an upload"):
        uploading(way, proxied, unique_body(way))
    assert len([request for request in proxied.requests if request.method == "POST"]) == 5


def uploading(way: str, proxied: RegistryProxy, body: bytes) -> None:
    repository = repository_at(proxied.address, NAME)
    if way == "small blob":
        assert repository.put_blob(body) == digest_of(body)
    elif way == "store":
        put(store_at(proxied.address, NAME), body)
    else:
        assert RemoteImage(repository, "1").put(layer_blob(body)) == len(body)


def test_an_upload_resumes_within_a_chunk_that_arrived_in_part():
    server = PagingRegistry(cut_at=(8 << 20) + 5_000_000)
    try:
        repository = repository_at(server.address)
        upload = repository.upload(len(BODY))
        upload.write(BODY)
        upload.finish(DIGEST, len(BODY))
        assert repository.find_blob(DIGEST).size_bytes == len(BODY)
        assert server.log.count("POST") == 1
        assert len(server.log) == 5  # One chunk was sent twice, the second time only its rest.
        assert int(server.log[3].split()[1].partition("-")[0]) >= (8 << 20) + 5_000_000
    finally:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize(
    ("least_mib", "chunks_mib"), [(4, [(0, 8), (8, 16), (16, 20)]), (10, [(0, 10), (10, 20)]), (30, [])]
)
def test_chunks_are_as_large_as_the_registry_asks_for(least_mib, chunks_mib):
    server = PagingRegistry(least_bytes=least_mib << 20)

    def write(out) -> None:
        for at in range(0, len(BODY), 1 << 20):
            out.write(BODY[at : at + (1 << 20)])

    try:
        repository_at(server.address).upload_blob(write, DIGEST, len(BODY))
        assert server.blobs == {DIGEST: BODY}
        chunks = [f"PATCH {start << 20}-{(end << 20) - 1}" for start, end in chunks_mib]
        assert server.log == ["POST", *chunks]
    finally:
        server.shutdown()
        server.server_close()
