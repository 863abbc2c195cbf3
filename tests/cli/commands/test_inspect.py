"""What a bundle states about itself."""

from __future__ import annotations

import json


def test_inspecting_a_bundle_shows_its_manifest(lading, bundle):
    _, stdout, _ = lading("inspect", bundle.path)
    for text in (bundle.digest, "classification", "0=setosa", "float32 [batch, 4]", "model.onnx"):
        assert text in stdout
    document = json.loads(lading("inspect", bundle.path, "--json")[1])
    assert document["manifest"] == json.loads((bundle.path / "bundle.json").read_bytes())
