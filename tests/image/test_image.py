"""The documents of an image: manifests, indexes, configurations and media types."""

from __future__ import annotations

import msgspec
import pytest

from lading.errors import ImageInvalid
from lading.image import LAYER_GZIP, canonical, oci_type, read_config, read_index, read_manifest
from lading.image.layout import LayoutImage
from lading.image.references import open_source
from lading.oci import MANIFEST, Document
from support.images import lading, tiny_base


def test_a_configuration_with_another_size_than_in_the_manifest_is_refused(tmp_path):
    source = open_source(tiny_base(tmp_path / "base"))
    manifest = read_manifest(source.root(), source.where)
    config = msgspec.structs.replace(manifest.config, size=manifest.config.size + 1)
    with pytest.raises(ImageInvalid, match="as the manifest says, found"):
        read_config(source, msgspec.structs.replace(manifest, config=config))


@pytest.mark.slow
@pytest.mark.parametrize("data", [b"no JSON", b"[1]", b"\xff", b'{"mediaType": 1}'])
def test_an_invalid_manifest_is_refused_and_is_no_internal_error(tmp_path, data):
    name = f"oci:{tmp_path / 'image'}"
    LayoutImage(tmp_path / "image", None).name(data, MANIFEST)
    lading("image", "inspect", name, code=1)


def test_an_index_differs_from_a_manifest_by_its_content(tmp_path):
    manifest = open_source(tiny_base(tmp_path / "one")).root()
    several = open_source(tiny_base(tmp_path / "several", "amd64", "arm64")).root()
    assert read_index(manifest, "one") is None
    index = read_index(several, "several")
    assert [entry.platform["architecture"] for entry in index.manifests] == ["amd64", "arm64", "unknown"]
    # The media type of a document is optional, and a registry's answer may lack it.
    assert read_index(Document(several.data, "", several.digest), "several") == index


def test_equal_documents_have_equal_bytes():
    assert canonical({"b": 1, "a": [2]}) == canonical({"a": [2], "b": 1}) == b'{"a":[2],"b":1}'


def test_media_types_of_docker_are_translated_and_foreign_layers_refused():
    assert oci_type("application/vnd.docker.image.rootfs.diff.tar.gzip", "base") == LAYER_GZIP
    with pytest.raises(ImageInvalid, match="expected layers as tar files, found"):
        oci_type("application/vnd.docker.image.rootfs.foreign.diff.tar.gzip", "base")
