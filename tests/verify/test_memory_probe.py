"""The process that measures memory."""

from __future__ import annotations

import pytest

from lading.verify import verify
from support.bundles import linear_bundle
from support.verified_bundles import outcomes


@pytest.mark.slow
def test_measured_memory_grows_with_the_weights(tmp_path):
    small = verify(linear_bundle(tmp_path / "small")).numbers
    large = verify(linear_bundle(tmp_path / "large", features=2000, classes=2500, rows=2)).numbers
    assert large["size_mb"] == pytest.approx(20, rel=0.01)
    # ONNX Runtime reads the file and then copies the weights out of it.
    assert 15 < large["memory_mb"] - small["memory_mb"] < 60
    assert small["memory_mb"] < 40


@pytest.mark.slow
def test_a_file_in_the_working_directory_is_not_taken_for_a_library(tmp_path, monkeypatch):
    bundle = linear_bundle(tmp_path / "b")
    (tmp_path / "numpy.py").write_text("raise SystemExit('not numpy')")
    monkeypatch.chdir(tmp_path)
    assert outcomes(verify(bundle))["memory"] == "passed"
