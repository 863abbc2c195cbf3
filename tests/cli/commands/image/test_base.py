"""Building runtime images from the command line."""

from __future__ import annotations

import pytest

from lading.image.layers import LayerFile, files_layer
from support.built_images import wheel


@pytest.mark.slow
def test_a_runtime_image_is_printed_with_the_versions_in_it(lading, tmp_path):
    files = {"usr/bin/python3.12": LayerFile(b"", 0o755), "usr/lib/python3.12/os.py": LayerFile(b"x = 1")}
    rootfs = files_layer(files, tmp_path / "rootfs.tar", compress=False).path
    (tmp_path / "wheels").mkdir()
    wheel(tmp_path / "wheels", {"some/a.py": b"1"})
    arguments = ("--from", rootfs, "--wheels", tmp_path / "wheels", "--to", "oci:out:runtime")
    code, stdout, stderr = lading("image", "base", *arguments, "--compress", "none")
    assert code == 0, stderr
    assert stdout.startswith("oci:out:runtime@sha256:")
    assert "lading 0.1.0, python 3.12: " in stderr


def test_a_missing_archive_is_a_usage_error(lading, tmp_path):
    code, _, stderr = lading(
        "image", "base", "--from", "none.tar.xz", "--wheels", tmp_path, "--to", "oci:out"
    )
    assert code == 2
    assert "file `none.tar.xz` does not exist" in stderr
