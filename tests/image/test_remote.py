"""Images in a registry: what is uploaded, what is mounted, and what an error names."""

from __future__ import annotations

import pytest

from lading.errors import ImageNotFound, RegistryUnavailable
from lading.image import Origin
from lading.image.build import build
from lading.image.references import open_source, open_target, remote_image
from lading.oci import MANIFEST
from support.built_images import build_image
from support.images import tiny_base


@pytest.mark.slow
def test_a_base_in_the_same_registry_is_mounted_and_not_uploaded(oci_server, tmp_path):
    name = f"{oci_server.address}/remote/base:1"
    uploaded, _ = build_image(tmp_path, to=name)
    target = open_target(f"{oci_server.address}/remote/mounted:1")
    mounted = build(open_source(name), [], target)
    target.close()
    # Only a configuration and a manifest are new.
    assert mounted.bytes_sent < 8 * 1024 < uploaded.bytes_sent


def test_blobs_that_the_registry_has_are_not_uploaded_again(oci_server, tmp_path):
    _, layers = build_image(tmp_path, to=f"{oci_server.address}/remote/twice:1")
    target = open_target(f"{oci_server.address}/remote/twice:2")
    again = build(open_source(f"oci:{tmp_path / 'base'}:base"), layers, target)
    manifest_bytes = len(target.root().data)
    target.close()
    assert again.bytes_sent == manifest_bytes


def test_the_error_of_a_missing_image_names_tags_of_the_repository(oci_server, tmp_path):
    place = f"{oci_server.address}/remote/named"
    build_image(tmp_path, to=f"{place}:1")
    source = open_source(f"{place}:2")
    with pytest.raises(ImageNotFound, match=r"found tags `1`"):
        source.root()
    source.close()


@pytest.mark.slow
def test_a_digest_cannot_be_the_name_of_another_manifest(oci_server, tmp_path):
    tiny_base(tmp_path / "base")
    target = remote_image(f"{oci_server.address}/remote/digest@sha256:{'0' * 64}")
    with pytest.raises(RegistryUnavailable):
        target.name(b"{}", MANIFEST)
    target.close()


def test_the_origin_of_blobs_is_their_repository():
    assert remote_image("registry.lan/team/iris:1").origin == Origin("registry.lan", "team/iris")
