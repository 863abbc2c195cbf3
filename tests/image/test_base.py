"""Runtime images: what they are made from, and for which platform."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
from pathlib import Path

import pytest

from lading.errors import ImageInvalid, ImageNotFound, UsageError
from lading.image.base import BaseBuilt, build_base
from lading.image.build import build, matches_platform
from lading.image.layers import LayerFile, archive_layer, files_layer
from lading.image.layout import LayoutImage
from lading.image.references import open_source
from support.built_images import config_of, wheel
from support.images import lading, tiny_base

PYTHON = ("PATH=/bin", "PYTHON_VERSION=3.11.9")


@pytest.fixture
def rootfs(tmp_path) -> Path:
    """Give a tar with all of Python that is looked at."""
    files = {"usr/bin/python3.11": LayerFile(b"", 0o755), "usr/lib/python3.11/os.py": LayerFile(b"x = 1")}
    return files_layer(files, tmp_path / "rootfs.tar", compress=False).path


@pytest.fixture
def wheels(tmp_path) -> Path:
    (tmp_path / "wheels").mkdir()
    wheel(tmp_path / "wheels", {"some/a.py": b"1"})
    return tmp_path / "wheels"


def made(ground, wheels: Path, folder: Path, platform: str = "linux/amd64") -> BaseBuilt:
    return build_base(ground, wheels, LayoutImage(folder, "runtime"), platform=platform, compress=False)


# Grounds


@pytest.mark.slow
@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_a_root_filesystem_may_be_compressed(rootfs, wheels, tmp_path, pack):
    packed = tmp_path / "rootfs.packed"
    # In two streams, as tools that compress with several processors write it.
    packed.write_bytes(pack(rootfs.read_bytes()[:700]) + pack(rootfs.read_bytes()[700:]))
    assert archive_layer(packed, tmp_path / "layer", compress=False).path.read_bytes() == rootfs.read_bytes()
    built = made(packed, wheels, tmp_path / "out")
    config = config_of(built.image)
    assert config["rootfs"]["diff_ids"][0] == f"sha256:{hashlib.sha256(rootfs.read_bytes()).hexdigest()}"
    assert made(rootfs, wheels, tmp_path / "plain").digest == built.digest


ZSTD = b"\x28\xb5\x2f\xfd"
NO_TARS = {
    "text": (lambda _: b"this is no archive\n" * 100, "something else"),
    "nothing": (lambda _: b"", "something else"),
    "packed text": (lambda _: lzma.compress(b"this is no archive\n" * 100), "something else"),
    "zstd": (lambda data: ZSTD + data, "zstd"),
    "half of an xz": (lambda data: lzma.compress(data)[:-40], "something else"),
    "half of a gzip": (lambda data: gzip.compress(data)[:-20], "something else"),
    "a damaged bzip2": (lambda data: bz2.compress(data)[:60] + bytes(100), "something else"),
}


@pytest.mark.parametrize("harm", NO_TARS)
def test_what_is_no_tar_is_no_ground(rootfs, wheels, tmp_path, harm):
    change, found = NO_TARS[harm]
    (tmp_path / "other.tar").write_bytes(change(rootfs.read_bytes()))
    words = rf"other\.tar`: expected a tar, plain or compressed with gzip, bzip2 or xz, found {found}"
    with pytest.raises(ImageInvalid, match=words):
        made(tmp_path / "other.tar", wheels, tmp_path / "out")
    with pytest.raises(ImageInvalid, match=words):
        archive_layer(tmp_path / "other.tar", tmp_path / "layer", compress=False)
    assert not (tmp_path / "out").exists()


def test_a_wheel_that_cannot_be_read_is_a_sentence_of_the_command(rootfs, wheels, tmp_path):
    (wheels / "other-1-py3-none-any.whl").write_bytes(b"<html>404</html>")
    lading("image", "base", "--from", rootfs, "--wheels", wheels, "--to", f"oci:{tmp_path / 'out'}:a", code=1)


# Platforms


@pytest.mark.parametrize(
    ("architecture", "variant", "wanted", "does"),
    [
        ("arm64", "", "linux/arm64", True),
        ("arm64", "v8", "linux/arm64", True),
        ("arm64", "v8", "linux/arm64/v8", True),
        ("arm64", "", "linux/arm", False),
        ("arm", "v7", "linux/arm", True),
        ("arm", "v7", "linux/arm/v6", False),
        ("amd64", "", "windows/amd64", False),
    ],
)
def test_a_variant_counts_where_one_is_wanted(architecture, variant, wanted, does):
    said = {"architecture": architecture, **({"variant": variant} if variant else {})}
    assert matches_platform(said, wanted) is does
    assert matches_platform({"os": "linux", **said}, wanted) is does


@pytest.mark.parametrize("architectures", [["arm64/v8"], ["amd64", "arm64/v8"]])
def test_a_runtime_is_made_from_an_image_that_says_its_variant(wheels, tmp_path, architectures):
    ground = open_source(tiny_base(tmp_path / "base", *architectures, env=PYTHON))
    built = made(ground, wheels, tmp_path / "out", "linux/arm64")
    assert built.platform == "linux/arm64/v8"
    assert config_of(built.image)["variant"] == "v8"


@pytest.mark.parametrize("architectures", [["arm64"], ["amd64", "arm64"]])
def test_a_runtime_for_arm_is_not_made_from_an_image_for_arm64(wheels, tmp_path, architectures):
    ground = open_source(tiny_base(tmp_path / "base", *architectures, env=PYTHON))
    with pytest.raises(ImageNotFound, match=r"expected platform `linux/arm`, found .*`linux/arm64`"):
        made(ground, wheels, tmp_path / "out", "linux/arm")


def test_the_variant_that_is_asked_for_is_said(rootfs, wheels, tmp_path):
    assert made(rootfs, wheels, tmp_path / "out", "linux/arm/v7").platform == "linux/arm/v7"


def test_bundles_are_put_on_the_platform_of_any_variant(tmp_path):
    base = open_source(tiny_base(tmp_path / "base", "amd64", "arm64/v8", "arm/v7"))
    target = LayoutImage(tmp_path / "out", "iris")
    assert set(build(base, [], target, platforms=["linux/arm64"]).platforms) == {"linux/arm64/v8"}
    asked = ["linux/arm", "linux/amd64"]
    assert set(build(base, [], target, platforms=asked).platforms) == {"linux/amd64", "linux/arm/v7"}
    with pytest.raises(ImageNotFound, match="expected platform `linux/arm/v6`, found"):
        build(base, [], target, platforms=["linux/amd64", "linux/arm/v6"])


def test_a_base_of_one_platform_is_not_taken_for_another(tmp_path):
    base = open_source(tiny_base(tmp_path / "base", "arm64/v8"))
    target = LayoutImage(tmp_path / "out", "iris")
    assert set(build(base, [], target, platforms=["linux/arm64"]).platforms) == {"linux/arm64/v8"}
    with pytest.raises(ImageNotFound, match="expected platform `linux/amd64`, found `linux/arm64/v8`"):
        build(base, [], target, platforms=["linux/amd64"])


@pytest.mark.parametrize("text", ["amd64", "linux/", "linux/arm/v7/x", ""])
def test_a_platform_that_cannot_be_read_is_refused(rootfs, wheels, tmp_path, text):
    with pytest.raises(UsageError, match="expected `os/architecture`"):
        made(rootfs, wheels, tmp_path / "out", text)
