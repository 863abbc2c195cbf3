"""What registries and the proxies before them may answer: a real registry, and a front before it."""

from __future__ import annotations

import pytest

from lading.errors import DigestMismatch
from lading.image.remote import RemoteImage
from support.oci_proxy import registry_proxy
from support.oci_stores import (
    BODY,
    DIGEST,
    layer_blob,
    put,
    read,
    registry_of_its_own,
    repository_at,
    store_at,
)

pytestmark = pytest.mark.slow
NAME = "models/proxied"


def test_a_blob_of_unknown_length_is_read_to_its_end(proxied):
    put(store_at(proxied.registry, NAME))
    proxied.chunked = True
    assert read(store_at(proxied.address, NAME)) == BODY


def test_a_blob_of_unknown_length_continues_where_the_connection_broke(proxied):
    put(store_at(proxied.registry, NAME))
    proxied.chunked, proxied.cut_after, proxied.cuts = True, 6 << 20, 2
    assert read(store_at(proxied.address, NAME)) == BODY
    assert proxied.cuts == 0


@pytest.mark.parametrize("chunked", [False, True])
def test_a_download_continues_behind_a_proxy_without_ranges(proxied, chunked):
    put(store_at(proxied.registry, NAME))
    proxied.ranges, proxied.chunked, proxied.cut_after, proxied.cuts = False, chunked, 6 << 20, 2
    assert read(store_at(proxied.address, NAME)) == BODY
    assert proxied.cuts == 0


def test_a_damaged_blob_of_unknown_length_is_refused(tmp_path):
    with registry_of_its_own(tmp_path / "server") as server, registry_proxy(server.address) as proxied:
        digest = put(store_at(server.address), b"a" * 3_000_000)
        (data,) = (tmp_path / "server" / "data").rglob(f"{digest[7:]}/data")
        data.write_bytes(b"a" * 2_000_000)
        proxied.chunked = True
        with pytest.raises(DigestMismatch), store_at(proxied.address).open(digest) as source:
            source.read()


def test_a_blob_of_unknown_length_is_neither_removed_nor_sent_again(proxied):
    proxied.chunked = True
    for _ in range(2):
        put(store_at(proxied.address, NAME))
    image = RemoteImage(repository_at(proxied.address, NAME), "1")
    assert image.put(layer_blob(BODY)) == 0
    assert not [
        request for request in proxied.requests if request.method == "DELETE" and DIGEST in request.path
    ]
    assert read(store_at(proxied.registry, NAME)) == BODY
