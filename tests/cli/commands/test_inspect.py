"""What a bundle states about itself."""

from __future__ import annotations

import json

from support.python_bundles import python_bundle


def test_inspecting_a_bundle_shows_its_manifest(lading, bundle):
    _, stdout, _ = lading("inspect", bundle.path)
    for text in (bundle.digest, "classification", "0=setosa", "float32 [batch, 4]", "model.onnx"):
        assert text in stdout
    document = json.loads(lading("inspect", bundle.path, "--json")[1])
    assert document["manifest"] == json.loads((bundle.path / "bundle.json").read_bytes())


def test_a_bundle_in_python_shows_what_it_executes_and_the_digest_of_its_environment(lading, tmp_path):
    bundle = python_bundle(tmp_path / "doubled.bundle")
    code, stdout, _ = lading("inspect", bundle.path)
    assert code == 0
    fields = dict(line.split("  ", 1) for line in stdout.split("\n\n")[0].splitlines())
    assert fields["environment"].strip() == bundle.lock().digest
    assert fields["runs of its own"].strip() == "code: served only with `--allow code`"


def test_what_python_itself_trained_is_said_once(lading, tmp_path):
    _, stdout, _ = lading("inspect", python_bundle(tmp_path / "doubled.bundle").path)
    fields = dict(line.split("  ", 1) for line in stdout.split("\n\n")[0].splitlines())
    assert fields["trained with"].count("Python") <= 1
