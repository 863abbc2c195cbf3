"""Images with parts that were damaged, and builds that are broken off: an error or a whole image."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import msgspec
import pytest

from imaging import lading, tiny_base
from lading.errors import ImageInvalid
from lading.image import read_config, read_manifest
from lading.image.build import build
from lading.image.contents import inspect
from lading.image.layout import LayoutImage
from lading.image.parts import from_directory
from lading.image.places import open_source, open_target
from making import linear_bundle
from test_image import built


def test_a_damaged_manifest_is_refused(tmp_path):
    made, _ = built(tmp_path)
    path = tmp_path / "out" / "blobs" / "sha256" / made.digest[7:]
    path.write_bytes(path.read_bytes().replace(b"iris", b"wine"))
    with pytest.raises(ImageInvalid, match="expected `sha256:"):
        inspect(open_source(made.image))


def changed_in_archive(path: Path, old: bytes, new: bytes) -> None:
    """Change bytes in every member of a docker archive, of the same length."""
    with tarfile.open(path) as archive:
        files = [(one, archive.extractfile(one).read()) for one in archive if one.isfile()]
    with tarfile.open(path, "w") as archive:
        for member, data in files:
            archive.addfile(member, io.BytesIO(data.replace(old, new)))


@pytest.mark.parametrize("kind", ["oci", "docker-archive"])
def test_a_configuration_that_was_changed_is_no_base_and_is_not_shown(tmp_path, kind):
    name = f"{kind}:{tmp_path / 'image'}"
    made, _ = built(tmp_path, to=f"{name}:iris")
    if kind == "oci":
        manifest = json.loads(open_source(made.image).root().data)
        path = tmp_path / "image" / "blobs" / "sha256" / manifest["config"]["digest"][7:]
        path.write_bytes(path.read_bytes().replace(b"65532:65532", b"00000:00000"))
    else:
        changed_in_archive(tmp_path / "image", b"65532:65532", b"00000:00000")
    wine = from_directory(linear_bundle(tmp_path / "wine.bundle", "wine").path)
    for read in (inspect, lambda source: build(source, [wine], LayoutImage(tmp_path / "more", None))):
        with pytest.raises(
            ImageInvalid, match=r"blobs/sha256/\w+` ?.*: expected `sha256:\w+`, found `sha256:"
        ):
            read(open_source(name))
    assert not (tmp_path / "more" / "index.json").exists()


def test_a_configuration_of_another_size_than_the_manifest_says_is_refused(tmp_path):
    source = open_source(tiny_base(tmp_path / "base"))
    manifest = read_manifest(source.root(), source.where)
    config = msgspec.structs.replace(manifest.config, size=manifest.config.size + 1)
    with pytest.raises(ImageInvalid, match="as the manifest says, found"):
        read_config(source, msgspec.structs.replace(manifest, config=config))


@pytest.mark.parametrize("data", [b"no JSON", b"[1]", b"\xff", b'{"mediaType": 1}'])
def test_a_manifest_that_is_none_is_said_and_not_a_defect(tmp_path, data):
    name = f"oci:{tmp_path / 'image'}"
    LayoutImage(tmp_path / "image", None).name(data, "application/vnd.oci.image.manifest.v1+json")
    lading("image", "inspect", name, code=1)


@pytest.mark.parametrize("harm", ["other bytes", "cut off"])
def test_a_damaged_layer_of_the_base_is_no_part_of_an_image(tmp_path, harm):
    base = tiny_base(tmp_path / "base")
    manifest = read_manifest(open_source(base).root(), base)
    path = tmp_path / "base" / "blobs" / "sha256" / manifest.layers[0].digest[7:]
    data = path.read_bytes()
    path.write_bytes(data[:-512] if harm == "cut off" else data.replace(b"amd64", b"arm64"))
    with pytest.raises(ImageInvalid, match=rf"`{path}`: expected `sha256:\w+`, found `sha256:"):
        build(open_source(base), [], LayoutImage(tmp_path / "out", "iris"))
    assert not (tmp_path / "out" / "index.json").exists()


def test_a_blob_that_was_damaged_where_it_lies_is_written_again(tmp_path):
    made, parts = built(tmp_path)
    path = tmp_path / "out" / "blobs" / "sha256" / parts[0].entry.blob[7:]
    whole = path.read_bytes()
    path.write_bytes(bytes(len(whole)))
    again = build(open_source(f"oci:{tmp_path / 'base'}:base"), parts, open_target(made.image))
    assert (again.digest, again.bytes_sent) == (made.digest, len(whole))
    assert path.read_bytes() == whole
