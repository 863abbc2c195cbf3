"""Building images from the command line."""

from __future__ import annotations

import json

from lading.image.references import open_source
from support.images import tiny_base


def test_a_built_image_is_printed_with_its_digest(lading, filled, bundle, tmp_path):
    base, to = tiny_base(tmp_path / "base"), f"oci:{tmp_path / 'out'}:iris"
    code, stdout, stderr = lading("image", "build", "iris:1", "--base", base, "--to", to)
    assert code == 0, stderr
    assert stdout == f"{to}@{open_source(to).root().digest}\n"
    assert stderr.startswith(f"`iris` on `{base}`: ")
    # A directory gives the same layer, so the target has everything but the labels already.
    code, stdout, _ = lading("image", "build", bundle.path, "--base", base, "--to", to, "--json")
    assert json.loads(stdout)["bytes_sent"] < 16_000


def test_a_base_that_does_not_exist_ends_with_3(lading, bundle, tmp_path):
    code, stdout, _ = lading("image", "build", bundle.path, "--base", "oci:nowhere", "--to", "oci:out")
    assert (code, stdout) == (3, "")
