"""The Python of an image: the one that its program names, read from the layers."""

from __future__ import annotations

import pytest

from lading.errors import ImageInvalid
from lading.image import read_config, read_manifest
from lading.image.interpreter import ImagePython, find_python_of_lading
from lading.image.references import open_source
from support.images import base_with


@pytest.mark.parametrize(
    ("first_line", "path"),
    [
        ("#!/usr/bin/python3.9", "/usr/bin/python3.9"),
        ("#!/usr/bin/env python3", "/usr/local/bin/python3"),
        ("#!/opt/python", "/opt/python"),
    ],
)
def test_the_python_of_an_image_is_the_one_that_its_program_names(tmp_path, first_line, path):
    source = open_source(base_with(tmp_path / "base", first_line, env=("PYTHON_VERSION=3.9.2",)))
    manifest = read_manifest(source.root(), source.where)
    config = read_config(source, manifest)
    assert find_python_of_lading(source, manifest, config, ()) == ImagePython("3.9", path)
    # What is known to be a bundle or an environment is not read.
    with pytest.raises(ImageInvalid, match="expected a Python"):
        find_python_of_lading(source, manifest, config, set(config["rootfs"]["diff_ids"]))
