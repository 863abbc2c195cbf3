"""Pushing bundles."""

from __future__ import annotations


def test_pushing_prints_the_reference_and_nothing_else(lading, bundle):
    code, stdout, stderr = lading("push", bundle.path, "--tag", "stable")
    assert (code, stdout) == (0, "iris:1\n")
    assert bundle.digest in stderr
    assert lading("push", bundle.path)[1] == "iris:1\n"


def test_pushing_a_damaged_bundle_is_refused(lading, bundle):
    model = bundle.path / "model.onnx"
    model.write_bytes(model.read_bytes()[:-1] + b"x")
    code, stdout, stderr = lading("push", bundle.path)
    assert (code, stdout) == (1, "")
    assert "model.onnx" in stderr
