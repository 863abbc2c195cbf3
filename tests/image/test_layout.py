"""OCI layouts: tags, damaged blobs, and several builds at the same time."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from lading.errors import (
    ImageNotFound,
)
from lading.image.build import build
from lading.image.layout import LayoutImage
from lading.image.references import open_source, open_target
from support.built_images import build_image, tags_in_layout
from support.images import tiny_base


def test_concurrent_builds_into_one_layout_keep_the_tags_of_each_other(tmp_path):
    builders = [f"builder-{number}" for number in range(8)]
    ready = threading.Barrier(len(builders))

    def write_tags(builder: str) -> None:
        ready.wait()
        for number in range(5):
            image = LayoutImage(tmp_path / "out", f"{builder}-{number}")
            image.name(b"{}", "application/vnd.oci.image.manifest.v1+json")

    with ThreadPoolExecutor(len(builders)) as pool:
        list(pool.map(write_tags, builders))
    expected = {f"{builder}-{number}" for builder in builders for number in range(5)}
    assert tags_in_layout(tmp_path / "out") == expected
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"blobs", "index.json", "oci-layout"}


def test_the_error_of_a_missing_image_names_the_existing_tags(tmp_path):
    tiny_base(tmp_path / "base")
    with pytest.raises(ImageNotFound, match="found `base`"):
        open_source(f"oci:{tmp_path / 'base'}:other").root()
    with pytest.raises(ImageNotFound, match="no such file"):
        open_source(f"oci:{tmp_path / 'nowhere'}").root()


def test_a_damaged_blob_in_a_layout_is_written_again(tmp_path):
    built, layers = build_image(tmp_path)
    path = tmp_path / "out" / "blobs" / "sha256" / layers[0].entry.blob[7:]
    content = path.read_bytes()
    path.write_bytes(bytes(len(content)))
    again = build(open_source(f"oci:{tmp_path / 'base'}:base"), layers, open_target(built.image))
    assert (again.digest, again.bytes_sent) == (built.digest, len(content))
    assert path.read_bytes() == content
