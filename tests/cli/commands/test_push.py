"""Pushing bundles."""

from __future__ import annotations

import json

from support.python_bundles import python_bundle


def test_pushing_prints_the_reference_and_nothing_else(lading, bundle):
    code, stdout, stderr = lading("push", bundle.path, "--tag", "stable")
    assert (code, stdout) == (0, "iris:1\n")
    assert bundle.digest in stderr
    assert lading("push", bundle.path)[1] == "iris:1\n"


def test_pushing_again_says_that_the_version_exists_already(lading, bundle):
    assert "pushed `iris:1`" in lading("push", bundle.path)[2]
    code, stdout, stderr = lading("push", bundle.path, "--tag", "stable")
    assert (code, stdout) == (0, "iris:1\n")
    assert "exists already: `iris:1`, pushed 20" in stderr
    assert "`iris:stable` is now `iris:1`" in stderr
    assert json.loads(lading("push", bundle.path, "--json")[1])["new"] is False


def test_what_is_no_bundle_gets_a_hint_at_what_was_meant(lading, bundle, tmp_path):
    assert "did you mean `iris.bundle`?" in lading("push", "iris")[2]
    (tmp_path / "iris.onnx").touch()
    for words in (("push", "iris.onnx"), ("verify", "iris.onnx"), ("serve", "./iris.onnx")):
        code, _, stderr = lading(*words)
        assert (code, "found a file\nhint: `lading pack" in stderr) == (2, True), stderr


def test_pushing_a_damaged_bundle_is_refused(lading, bundle):
    model = bundle.path / "model.onnx"
    model.write_bytes(model.read_bytes()[:-1] + b"x")
    code, stdout, stderr = lading("push", bundle.path)
    assert (code, stdout) == (1, "")
    assert "model.onnx" in stderr


def test_the_next_step_of_a_bundle_with_code_allows_it(lading, bundle, tmp_path):
    assert "next: lading verify iris:1 && lading serve iris:1\n" in lading("push", bundle.path)[2]
    code = python_bundle(tmp_path / "doubled.bundle")
    ref = f"{code.manifest.name}:1"
    stderr = lading("push", code.path)[2]
    assert f"next: lading verify {ref} --allow code && lading serve {ref} --allow code\n" in stderr
