"""A repository of a registry: tags, manifests, mounts, and which hosts plain HTTP is for."""

from __future__ import annotations

import json

import pytest

from lading.errors import RegistryUnavailable
from lading.image import Origin
from lading.image.build import build
from lading.image.inspect import list_images
from lading.image.references import open_source
from lading.image.remote import RemoteImage
from lading.oci import Repository, digest_of, is_loopback
from support.images import tiny_base
from support.oci_proxy import refusing
from support.oci_stores import (
    layer_blob,
    put,
    repository_at,
    store_at,
    unique_body,
)
from support.paging_registry import PagingRegistry

pytestmark = pytest.mark.slow
NAME = "models/proxied"


@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_layer_that_cannot_be_mounted_is_copied(proxied, status):
    body = unique_body(f"mount {status}")
    put(store_at(proxied.registry, "models/source"), body)
    proxied.override = refusing("POST", "mount=", status)
    image = RemoteImage(repository_at(proxied.address, NAME), "1")
    assert image.put(layer_blob(body, Origin(proxied.address, "models/source"))) == len(body)
    assert image.open(digest_of(body)).read() == body


@pytest.mark.parametrize("status", [403, 500])
def test_an_upload_session_that_cannot_be_cancelled_is_no_error(proxied, status):
    proxied.override = refusing("DELETE", "/blobs/uploads/", status)
    assert not repository_at(proxied.address, NAME).mount(f"sha256:{2:064x}", "models/source")
    assert "DELETE" in {request.method for request in proxied.requests}


def test_a_web_page_instead_of_a_list_of_tags_is_reported(proxied):
    proxied.override = refusing("GET", "/tags/list", 200, body=b"<html>sign in</html>")
    with pytest.raises(RegistryUnavailable, match="to list its tags, found another answer"):
        repository_at(proxied.address, NAME).tags()


def test_an_image_with_an_unreadable_platform_is_an_error_and_not_skipped(proxied, tmp_path):
    place = RemoteImage(repository_at(proxied.address, "models/indexed"), "1")
    build(open_source(tiny_base(tmp_path / "base", "amd64", "arm64")), [], place)
    assert [image.tags for image in list_images(place.repository)] == [("1",)]
    child = json.loads(place.root().data)["manifests"][0]["digest"]
    proxied.override = refusing("GET", f"/manifests/{child}", 503)
    with pytest.raises(RegistryUnavailable, match="503"):
        list_images(place.repository)


def test_a_blob_of_another_repository_is_mounted_without_sending_it(oci_server, name):
    digest = put(store_at(oci_server.address, name), b"a layer")
    image = repository_at(oci_server.address, f"{name}/image")
    assert image.mount(digest, name)
    assert image.open_blob(digest).read() == b"a layer"
    assert not image.mount(f"sha256:{1:064x}", name)


def test_tags_are_read_page_by_page():
    tags = [f"iris-{number}" for number in range(10)]
    server = PagingRegistry(tags=tags)
    try:
        repository = repository_at(server.address)
        assert repository.tags() == tags
    finally:
        server.shutdown()
        server.server_close()


def test_plain_http_is_used_for_this_machine_and_for_configured_hosts():
    assert Repository("127.0.0.1:5000", "models", environ={}).transport.base == "http://127.0.0.1:5000"
    assert Repository("registry.lan", "models", environ={}).transport.base == "https://registry.lan"
    named = {"LADING_INSECURE_REGISTRIES": "one.lan:80, registry.lan:5000"}
    assert Repository("registry.lan:5000", "m", environ=named).transport.base == "http://registry.lan:5000"
    assert Repository("docker.io", "team/m", environ={}).transport.base == "https://registry-1.docker.io"


@pytest.mark.parametrize(
    ("host", "here"),
    [
        ("localhost", True),
        ("127.1.2.3:80", True),
        ("[::1]:5000", True),
        ("localhost.lan", False),
        ("10.0.0.1:1", False),
    ],
)
def test_this_machine_is_recognized_by_its_addresses(host, here):
    assert is_loopback(host) is here
