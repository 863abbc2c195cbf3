"""Listing the images of a repository from the command line."""

from __future__ import annotations

import json

from support.built_images import build_image


def test_images_are_listed_with_their_tags_and_bundles(lading, tmp_path, oci_server):
    place = f"{oci_server.address}/cli/listed"
    built, _ = build_image(tmp_path, to=f"{place}:1")
    code, stdout, _ = lading("image", "list", place)
    assert code == 0
    (row,) = stdout.splitlines()[1:]
    assert row.split()[:2] == ["1", "iris"]
    (image,) = json.loads(lading("image", "list", place, "--json")[1])
    assert image["digest"] == built.digest
