"""Measurements: memory, size, latency."""

from __future__ import annotations

import numpy as np
import pytest

from lading.signature import Signature
from lading.verify import verify
from support.bundles import linear_bundle
from support.onnx_graphs import bundle_of, identity, tensor
from support.verified_bundles import outcomes


@pytest.mark.slow
def test_a_model_without_a_batch_dimension_is_measured_as_one_call(tmp_path):
    shape = (tensor("X", "float32", 2, 3),), (tensor("Y", "float32", 2, 3),)
    bundle = bundle_of(
        tmp_path / "b", identity("float32", 2, 3), Signature(*shape), {"X": np.ones((2, 3), "float32")}
    )
    evidence = verify(bundle)
    assert evidence.holds
    assert outcomes(evidence)["batch"] == "skipped"
    assert "latency_p99_ms" in evidence.numbers
    assert "latency_p99_ms_32" not in evidence.numbers


@pytest.mark.slow
def test_the_size_is_that_of_all_files(tmp_path):
    bundle = linear_bundle(tmp_path / "b")
    total = sum(file.stat().st_size for file in bundle.path.iterdir())
    assert verify(bundle).numbers["size_mb"] == total / 1e6
