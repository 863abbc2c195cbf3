"""The verifying reader, and images with damaged parts: an error instead of a wrong image."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path

import pytest

from lading.errors import ImageInvalid
from lading.image import read_manifest
from lading.image.build import build
from lading.image.bundle_layers import from_bundle
from lading.image.inspect import inspect
from lading.image.layout import LayoutImage
from lading.image.references import open_source
from lading.image.verifying_reader import verifying_reader
from lading.oci import digest_of
from support.built_images import build_image
from support.bundles import linear_bundle
from support.images import tiny_base


def test_a_file_with_another_digest_raises_at_its_end():
    content = b"layer" * 1000
    reader = verifying_reader(io.BytesIO(content), digest_of(content), "`file`")
    assert reader.read() == content
    reader = verifying_reader(io.BytesIO(content + b"x"), digest_of(content), "`file`")
    assert reader.read(4) == b"laye"
    with pytest.raises(ImageInvalid, match=r"^`file`: expected `sha256:\w+`, found `sha256:") as caught:
        reader.read()
    assert "copy the image again" in caught.value.hint


def test_closing_a_reader_closes_its_file():
    file = io.BytesIO(b"layer")
    verifying_reader(file, digest_of(b"layer"), "`file`").close()
    assert file.closed


def test_a_damaged_manifest_is_refused(tmp_path):
    built, _ = build_image(tmp_path)
    path = tmp_path / "out" / "blobs" / "sha256" / built.digest[7:]
    path.write_bytes(path.read_bytes().replace(b"iris", b"wine"))
    with pytest.raises(ImageInvalid, match="expected `sha256:"):
        inspect(open_source(built.image))


def replace_in_archive(path: Path, old: bytes, new: bytes) -> None:
    """Replace bytes by others of the same length in every member of a docker archive."""
    with tarfile.open(path) as archive:
        files = [(member, archive.extractfile(member).read()) for member in archive if member.isfile()]
    with tarfile.open(path, "w") as archive:
        for member, data in files:
            archive.addfile(member, io.BytesIO(data.replace(old, new)))


@pytest.mark.parametrize("kind", ["oci", "docker-archive"])
def test_a_changed_configuration_is_refused_by_inspect_and_build(tmp_path, kind):
    name = f"{kind}:{tmp_path / 'image'}"
    built, _ = build_image(tmp_path, to=f"{name}:iris")
    if kind == "oci":
        manifest = json.loads(open_source(built.image).root().data)
        path = tmp_path / "image" / "blobs" / "sha256" / manifest["config"]["digest"][7:]
        path.write_bytes(path.read_bytes().replace(b"65532:65532", b"00000:00000"))
    else:
        replace_in_archive(tmp_path / "image", b"65532:65532", b"00000:00000")
    wine = from_bundle(linear_bundle(tmp_path / "wine.bundle", "wine"))
    target = LayoutImage(tmp_path / "both", None)
    for read in (inspect, lambda source: build(source, [wine], target)):
        with pytest.raises(
            ImageInvalid, match=r"blobs/sha256/\w+` ?.*: expected `sha256:\w+`, found `sha256:"
        ):
            read(open_source(name))
    assert not (tmp_path / "both" / "index.json").exists()


@pytest.mark.parametrize("damage", ["other bytes", "truncated"])
def test_a_damaged_layer_of_the_base_ends_the_build_without_an_image(tmp_path, damage):
    base = tiny_base(tmp_path / "base")
    manifest = read_manifest(open_source(base).root(), base)
    path = tmp_path / "base" / "blobs" / "sha256" / manifest.layers[0].digest[7:]
    data = path.read_bytes()
    path.write_bytes(data[:-512] if damage == "truncated" else data.replace(b"amd64", b"arm64"))
    with pytest.raises(ImageInvalid, match=rf"`{path}`: expected `sha256:\w+`, found `sha256:"):
        build(open_source(base), [], LayoutImage(tmp_path / "out", "iris"))
    assert not (tmp_path / "out" / "index.json").exists()
