"""Docker archives: written, read and built on."""

from __future__ import annotations

import hashlib
import json
import tarfile
import tempfile

import pytest

from lading.errors import (
    DestinationExists,
    NotSupported,
)
from lading.image import Descriptor
from lading.image.build import build
from lading.image.bundle_layers import from_bundle
from lading.image.inspect import inspect
from lading.image.layout import LayoutImage
from lading.image.references import open_source, open_target
from support.built_images import build_image
from support.bundles import linear_bundle


def test_a_docker_archive_is_written_read_and_built_on(tmp_path):
    first = f"docker-archive:{tmp_path / 'iris.tar'}:example.com/iris:1"
    built, layers = build_image(tmp_path, to=first)
    with tarfile.open(tmp_path / "iris.tar") as archive:
        (entry,) = json.load(archive.extractfile("manifest.json"))
        assert entry["RepoTags"] == ["example.com/iris:1"]
        data = archive.extractfile(entry["Layers"][-1]).read()
        assert "sha256:" + hashlib.sha256(data).hexdigest() == layers[0].entry.blob
    (image,) = inspect(open_source(f"docker-archive:{tmp_path / 'iris.tar'}")).platforms
    assert image.bundles == built.bundles
    wine = from_bundle(linear_bundle(tmp_path / "wine.bundle", "wine"))
    both = build(open_source(first), [wine], LayoutImage(tmp_path / "both", None))
    assert [entry.name for entry in both.bundles] == ["iris", "wine"]


def test_a_docker_archive_holds_one_platform_and_overwrites_no_file(tmp_path):
    with pytest.raises(NotSupported, match="one platform"):
        build_image(tmp_path, to=f"docker-archive:{tmp_path / 'two.tar'}", architectures=("amd64", "arm64"))
    assert not (tmp_path / "two.tar").exists()
    (tmp_path / "existing.tar").touch()
    with pytest.raises(DestinationExists):
        open_target(f"docker-archive:{tmp_path / 'existing.tar'}")


def test_a_failed_write_of_a_docker_archive_leaves_no_file_and_keeps_those_of_others(tmp_path, monkeypatch):
    other = tmp_path / ".iris.tar.part"
    other.write_bytes(b"of another build")
    built, _ = build_image(tmp_path)
    layout = LayoutImage(tmp_path / "out", "iris")
    (tmp_path / "temporary").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
    writer = open_target(f"docker-archive:{tmp_path / 'iris.tar'}")
    try:
        manifest = json.loads(layout.root().data)
        for entry in (*manifest["layers"], manifest["config"]):
            writer.put(layout.blob(Descriptor(entry["mediaType"], entry["digest"], entry["size"])))
        # A layer of 8 GiB, as a sparse file among the others: hashing that many bytes would take too long.
        (blobs,) = (tmp_path / "temporary").glob("*/blobs/sha256")
        big = blobs / ("0" * 64)
        with big.open("wb") as file:
            file.truncate(8 << 30)
        before = sorted(tmp_path.iterdir())
        with pytest.raises(NotSupported, match="expected at most 8589934591 bytes, as a tar holds"):
            writer.name(layout.root().data, "application/vnd.oci.image.manifest.v1+json")
        assert sorted(tmp_path.iterdir()) == before
        big.unlink()
        writer.name(layout.root().data, "application/vnd.oci.image.manifest.v1+json")
    finally:
        writer.close()
    assert other.read_bytes() == b"of another build"
    (image,) = inspect(open_source(f"docker-archive:{tmp_path / 'iris.tar'}")).platforms
    assert image.bundles == built.bundles
