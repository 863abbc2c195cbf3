"""Runtime images: what they are built from, and for which platform."""

from __future__ import annotations

import bz2
import gzip
import hashlib
import lzma
from pathlib import Path

import pytest

from lading.errors import ImageInvalid, ImageNotFound, UsageError
from lading.image.base import BaseBuilt, build_base, chain_id, find_python
from lading.image.layers import LayerFile, archive_layer, files_layer
from lading.image.layout import LayoutImage
from lading.image.references import open_source
from support.built_images import config_of, wheel
from support.images import lading, tiny_base

PYTHON = ("PATH=/bin", "PYTHON_VERSION=3.11.9")


@pytest.fixture
def rootfs(tmp_path) -> Path:
    """Return a tar with the only files of Python that are looked at."""
    files = {"usr/bin/python3.11": LayerFile(b"", 0o755), "usr/lib/python3.11/os.py": LayerFile(b"x = 1")}
    return files_layer(files, tmp_path / "rootfs.tar", compress=False).path


@pytest.fixture
def wheels(tmp_path) -> Path:
    (tmp_path / "wheels").mkdir()
    wheel(tmp_path / "wheels", {"some/a.py": b"1"})
    return tmp_path / "wheels"


def build_runtime(origin, wheels: Path, folder: Path, platform: str = "linux/amd64") -> BaseBuilt:
    return build_base(origin, wheels, LayoutImage(folder, "runtime"), platform=platform, compress=False)


@pytest.mark.slow
@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress])
def test_a_root_filesystem_may_be_compressed(rootfs, wheels, tmp_path, pack):
    packed = tmp_path / "rootfs.packed"
    # Two streams, as tools write that compress with several processors.
    packed.write_bytes(pack(rootfs.read_bytes()[:700]) + pack(rootfs.read_bytes()[700:]))
    assert archive_layer(packed, tmp_path / "layer", compress=False).path.read_bytes() == rootfs.read_bytes()
    built = build_runtime(packed, wheels, tmp_path / "out")
    config = config_of(built.image)
    assert config["rootfs"]["diff_ids"][0] == f"sha256:{hashlib.sha256(rootfs.read_bytes()).hexdigest()}"
    assert build_runtime(rootfs, wheels, tmp_path / "plain").digest == built.digest


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


@pytest.mark.parametrize("content", NO_TARS)
def test_a_file_that_is_no_tar_is_refused_as_a_root_filesystem(rootfs, wheels, tmp_path, content):
    change, kind = NO_TARS[content]
    (tmp_path / "other.tar").write_bytes(change(rootfs.read_bytes()))
    message = rf"other\.tar`: expected a tar, plain or compressed with gzip, bzip2 or xz, found {kind}"
    with pytest.raises(ImageInvalid, match=message):
        build_runtime(tmp_path / "other.tar", wheels, tmp_path / "out")
    with pytest.raises(ImageInvalid, match=message):
        archive_layer(tmp_path / "other.tar", tmp_path / "layer", compress=False)
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_an_unreadable_wheel_ends_the_command_with_exit_code_1(rootfs, wheels, tmp_path):
    (wheels / "other-1-py3-none-any.whl").write_bytes(b"<html>404</html>")
    lading("image", "base", "--from", rootfs, "--wheels", wheels, "--to", f"oci:{tmp_path / 'out'}:a", code=1)


@pytest.mark.slow
@pytest.mark.parametrize("architectures", [["arm64/v8"], ["amd64", "arm64/v8"]])
def test_a_runtime_is_built_from_a_base_image_with_a_variant(wheels, tmp_path, architectures):
    origin = open_source(tiny_base(tmp_path / "base", *architectures, env=PYTHON))
    built = build_runtime(origin, wheels, tmp_path / "out", "linux/arm64")
    assert built.platform == "linux/arm64/v8"
    assert config_of(built.image)["variant"] == "v8"


@pytest.mark.parametrize("architectures", [["arm64"], ["amd64", "arm64"]])
def test_a_runtime_for_arm_is_not_built_from_an_image_for_arm64(wheels, tmp_path, architectures):
    origin = open_source(tiny_base(tmp_path / "base", *architectures, env=PYTHON))
    with pytest.raises(ImageNotFound, match=r"expected platform `linux/arm`, found .*`linux/arm64`"):
        build_runtime(origin, wheels, tmp_path / "out", "linux/arm")


@pytest.mark.slow
def test_the_requested_variant_is_in_the_built_image(rootfs, wheels, tmp_path):
    assert build_runtime(rootfs, wheels, tmp_path / "out", "linux/arm/v7").platform == "linux/arm/v7"


@pytest.mark.parametrize("text", ["amd64", "linux/", "linux/arm/v7/x", ""])
def test_an_invalid_platform_is_refused(rootfs, wheels, tmp_path, text):
    with pytest.raises(UsageError, match="expected `os/architecture`"):
        build_runtime(rootfs, wheels, tmp_path / "out", text)


def test_the_chain_id_of_layers_follows_the_oci_specification():
    first, second = "sha256:" + "1" * 64, "sha256:" + "2" * 64
    assert chain_id([first]) == first
    chained = hashlib.sha256(f"{first} {second}".encode()).hexdigest()
    assert chain_id([first, second]) == f"sha256:{chained}"


def test_python_is_found_in_a_root_filesystem(tmp_path):
    files = {"usr/bin/python3.11": LayerFile(b"", 0o755), "usr/lib/python3.11/os.py": LayerFile(b"x = 1")}
    layer = files_layer(files, tmp_path / "rootfs", compress=False)
    with layer.path.open("rb") as file:
        assert find_python(file, "", "rootfs")[:2] == ("3.11", "/usr/bin/python3.11")
    with layer.path.open("rb") as file, pytest.raises(ImageInvalid, match=r"Python 3\.12"):
        find_python(file, "3.12", "rootfs")
