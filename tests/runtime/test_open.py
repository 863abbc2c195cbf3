"""Opening the runtime of a bundle."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from lading.errors import SignatureMismatch
from lading.runtime.open import load_runtime
from lading.signature import Signature
from support.bundles import linear_bundle
from support.onnx_graphs import bundle_of, identity, tensor


def test_a_bundle_whose_signature_matches_the_model_loads(tmp_path):
    runtime = load_runtime(linear_bundle(tmp_path / "b"))
    assert [tensor.name for tensor in runtime.outputs] == ["label", "probabilities"]


def test_a_bundle_whose_signature_differs_from_the_model_is_refused(tmp_path):
    model = identity("float32", "batch", 4)
    wide = Signature((tensor("X", "float32", "batch", 4),), (tensor("Y", "float32", "batch", 4),))
    narrow = Signature((tensor("X", "float32", "batch", 4),), (tensor("Y", "float64", "batch", 4),))
    rows = {"X": np.zeros((2, 4), "float32")}
    load_runtime(bundle_of(tmp_path / "good", model, wide, rows)).close()
    bad = bundle_of(tmp_path / "bad", model, narrow, rows, outputs={"Y": np.zeros((2, 4))})
    with pytest.raises(SignatureMismatch, match="output `Y`"):
        load_runtime(bad)


def test_importing_the_runtime_does_not_import_onnx_runtime():
    code = "import sys, lading.runtime.open; print('onnxruntime' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"
