"""Predicting in this process, and from a server."""

from __future__ import annotations

import json

import numpy as np


def test_golden_samples_are_predicted_line_by_line(lading, bundle):
    code, stdout, _ = lading("predict", bundle.path, "--sample")
    assert code == 0
    predictions = [json.loads(line) for line in stdout.splitlines()]
    np.testing.assert_allclose(predictions, bundle.samples().outputs["probabilities"], rtol=1e-5)


def test_labels_and_selected_outputs_are_printed(lading, bundle):
    _, stdout, _ = lading("predict", bundle.path, "--sample", "--label")
    assert {json.loads(line) for line in stdout.splitlines()} <= {"setosa", "versicolor", "virginica"}
    outputs = ("--output", "label", "--output", "probabilities")
    _, stdout, _ = lading("predict", bundle.path, "--sample", *outputs)
    assert list(json.loads(stdout.splitlines()[0])) == ["label", "probabilities"]
    document = json.loads(lading("predict", bundle.path, "--sample", "--json")[1])
    assert (document["digest"], len(document["prediction"])) == (bundle.digest, 16)


def test_an_unknown_output_is_refused(lading, bundle):
    code, _, stderr = lading("predict", bundle.path, "--sample", "--output", "labels")
    assert code == 1
    assert "expected `label`, `probabilities`, found `labels`" in stderr


def test_an_unreachable_server_ends_with_4(lading, tmp_path):
    (tmp_path / "rows.json").write_text("[[1]]")
    code, stdout, stderr = lading("predict", "http://127.0.0.1:9", "--input", tmp_path / "rows.json")
    assert (code, stdout) == (4, "")
    assert "cannot be reached" in stderr


def test_an_address_without_a_scheme_is_named_and_a_path_that_begins_with_a_dot_is_none(
    lading, bundle, monkeypatch
):
    for address in ("localhost:8000", "127.0.0.1:8000", "[::1]:8000"):
        code, _, stderr = lading("predict", address, "--sample")
        assert code == 2
        assert f"`http://{address}`" in stderr
    monkeypatch.chdir(bundle.path)
    for path in (f"../{bundle.path.name}", f"./../{bundle.path.name}"):
        assert lading("predict", path, "--sample")[0] == 0
