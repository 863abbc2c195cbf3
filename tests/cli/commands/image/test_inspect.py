"""Showing the contents of an image from the command line."""

from __future__ import annotations

import json

from support.built_images import build_image


def test_an_image_is_shown_with_its_bundles_and_layers(lading, tmp_path):
    built, layers = build_image(tmp_path)
    code, stdout, _ = lading("image", "inspect", built.image)
    assert code == 0
    assert f"iris  {layers[0].entry.digest}\n" in stdout
    assert "bundle iris" in stdout.splitlines()[-1]
    document = json.loads(lading("image", "inspect", built.image, "--json")[1])
    assert document["platforms"][0]["bundles"][0]["name"] == "iris"


def test_an_image_that_does_not_exist_ends_with_3(lading):
    assert lading("image", "inspect", "oci:nowhere")[0] == 3
