"""What registries and the proxies before them may answer: a real registry, and a front before it."""

from __future__ import annotations

import hashlib
import json

import pytest

from lading.errors import DigestMismatch, RegistryUnavailable
from lading.image import Blob, Descriptor, Origin
from lading.image.build import build
from lading.image.inspect import list_images
from lading.image.references import open_source
from lading.image.remote import RemoteImage
from support.images import tiny_base
from support.oci_proxy import Answer, ProxiedRequest, RegistryProxy, registry_proxy
from support.oci_stores import (
    BODY,
    DIGEST,
    close_all,
    put,
    read,
    registry_of_its_own,
    repository_at,
    store_at,
)

pytestmark = pytest.mark.slow
NAME = "models/front"


@pytest.fixture(autouse=True)
def _closed():
    yield
    close_all()


@pytest.fixture
def before(oci_server):
    with registry_proxy(oci_server.address) as opened:
        yield opened


def refusing(method: str, part: str, *answers: int, body: bytes = b""):
    """Answer requests of `method` with `part` in their path by these statuses in turn; the last one stays.

    0 lets the registry answer.
    """
    left = list(answers)

    def override(request: ProxiedRequest) -> Answer | None:
        if request.method != method or part not in request.path:
            return None
        status = left.pop(0) if len(left) > 1 else left[0]
        return Answer(status, body) if status else None

    return override


def unique(name: str) -> bytes:
    """Give bytes that no other test has put into the registry."""
    return f"{name} {id(object())}".encode() + hashlib.sha256(name.encode()).digest()


# Uploads


@pytest.mark.parametrize("way", ["small blob", "store", "image"])
@pytest.mark.parametrize("status", [400, 404, 416])
def test_an_upload_that_the_registry_forgets_is_begun_again(before, way, status):
    body = unique(f"{way} {status}")
    before.override = refusing("PUT", "/blobs/uploads/", status, status, 0)
    uploading(way, before, body)
    assert repository_at(before.registry, NAME).open_blob(digest_of(body)).read() == body
    assert len([one for one in before.requests if one.method == "PUT" and "/uploads/" in one.path]) >= 3


@pytest.mark.parametrize("way", ["small blob", "store", "image"])
def test_an_upload_that_the_registry_forgets_every_time_is_given_up(before, way):
    before.override = refusing("PUT", "/blobs/uploads/", 404)
    with pytest.raises(RegistryUnavailable, match="go on with an upload"):
        uploading(way, before, unique(way))
    assert len([one for one in before.requests if one.method == "POST"]) == 5


def uploading(way: str, before: RegistryProxy, body: bytes) -> None:
    repository = repository_at(before.address, NAME)
    if way == "small blob":
        assert repository.put_blob(body) == digest_of(body)
    elif way == "store":
        put(store_at(before.address, NAME), body)
    else:
        assert RemoteImage(repository, "1").put(layer(body)) == len(body)


def digest_of(body: bytes) -> str:
    return f"sha256:{hashlib.sha256(body).hexdigest()}"


def layer(body: bytes, origin: Origin | None = None) -> Blob:
    named = Descriptor("application/vnd.oci.image.layer.v1.tar", digest_of(body), len(body))
    return Blob(named, lambda out: out.write(body), origin)


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_layer_that_may_not_be_taken_over_is_copied(before, status):
    body = unique(f"mount {status}")
    put(store_at(before.registry, "models/source"), body)
    before.override = refusing("POST", "mount=", status)
    image = RemoteImage(repository_at(before.address, NAME), "1")
    assert image.put(layer(body, Origin(before.address, "models/source"))) == len(body)
    assert image.open(digest_of(body)).read() == body


@pytest.mark.parametrize("status", [403, 500])
def test_a_registry_that_does_not_take_back_an_upload_that_was_begun_is_no_harm(before, status):
    before.override = refusing("DELETE", "/blobs/uploads/", status)
    assert not repository_at(before.address, NAME).mount(f"sha256:{2:064x}", "models/source")
    assert "DELETE" in {one.method for one in before.requests}


# Answers


def test_a_page_in_the_place_of_a_list_of_tags_is_said(before):
    before.override = refusing("GET", "/tags/list", 200, body=b"<html>sign in</html>")
    with pytest.raises(RegistryUnavailable, match="to list its tags, found another answer"):
        repository_at(before.address, NAME).tags()


def test_an_image_of_which_a_platform_cannot_be_read_now_is_not_left_out(before, tmp_path):
    place = RemoteImage(repository_at(before.address, "models/indexed"), "1")
    build(open_source(tiny_base(tmp_path / "base", "amd64", "arm64")), [], place)
    assert [one.tags for one in list_images(place.repository)] == [("1",)]
    child = json.loads(place.root().data)["manifests"][0]["digest"]
    before.override = refusing("GET", f"/manifests/{child}", 503)
    with pytest.raises(RegistryUnavailable, match="503"):
        list_images(place.repository)


def test_a_blob_of_untold_length_is_read_to_its_end(before):
    put(store_at(before.registry, NAME))
    before.chunked = True
    assert read(store_at(before.address, NAME)) == BODY


def test_a_blob_of_untold_length_goes_on_where_the_connection_broke(before):
    put(store_at(before.registry, NAME))
    before.chunked, before.cut_after, before.cuts = True, 6 << 20, 2
    assert read(store_at(before.address, NAME)) == BODY
    assert before.cuts == 0


@pytest.mark.parametrize("chunked", [False, True])
def test_a_download_goes_on_behind_a_proxy_that_knows_no_ranges(before, chunked):
    put(store_at(before.registry, NAME))
    before.ranges, before.chunked, before.cut_after, before.cuts = False, chunked, 6 << 20, 2
    assert read(store_at(before.address, NAME)) == BODY
    assert before.cuts == 0


def test_a_blob_of_untold_length_that_is_damaged_is_refused(tmp_path):
    with registry_of_its_own(tmp_path / "server") as server, registry_proxy(server.address) as before:
        digest = put(store_at(server.address), b"a" * 3_000_000)
        (data,) = (tmp_path / "server" / "data").rglob(f"{digest[7:]}/data")
        data.write_bytes(b"a" * 2_000_000)
        before.chunked = True
        with pytest.raises(DigestMismatch), store_at(before.address).open(digest) as source:
            source.read()


def test_a_blob_of_untold_length_is_neither_removed_nor_sent_again(before):
    before.chunked = True
    for _ in range(2):
        put(store_at(before.address, NAME))
    image = RemoteImage(repository_at(before.address, NAME), "1")
    assert image.put(layer(BODY)) == 0
    assert not [one for one in before.requests if one.method == "DELETE" and DIGEST in one.path]
    assert read(store_at(before.registry, NAME)) == BODY
