"""Opening the runtime of a bundle."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from lading.bundle import Bundle
from lading.errors import DigestMismatch, SignatureMismatch
from lading.runtime.open import load_runtime
from lading.signature import Signature
from support.bundles import linear_bundle
from support.large_models import matrix, with_external_data
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


@pytest.mark.slow
def test_importing_the_runtime_does_not_import_onnx_runtime():
    code = "import sys, lading.runtime.open; print('onnxruntime' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


def swapped(bundle: Bundle, other: Path) -> None:
    """Put another model in the place of the bundle's, with the times of its file."""
    model = bundle.model_path
    times = model.stat()
    copy = other.with_name("copy")
    shutil.copy(other, copy)
    os.utime(copy, ns=(times.st_atime_ns, times.st_mtime_ns))
    copy.replace(model)


def test_a_model_that_was_swapped_after_it_was_checked_is_not_loaded(tmp_path):
    bundle, other = (linear_bundle(tmp_path / str(seed), seed=seed) for seed in (1, 2))
    assert bundle.model_path.stat().st_size == other.model_path.stat().st_size
    swapped(bundle, other.model_path)
    with pytest.raises(DigestMismatch, match=r"model\.onnx"):
        load_runtime(bundle)


def test_a_model_that_is_swapped_while_it_is_loaded_is_not_kept(tmp_path):
    bundle, other = (linear_bundle(tmp_path / str(seed), seed=seed) for seed in (1, 2))
    shutil.copytree(bundle.path, tmp_path / "saved")

    def swap_and_swap_back() -> None:
        with bundle.unchanged():
            swapped(bundle, other.model_path)
            swapped(bundle, tmp_path / "saved" / "model.onnx")

    with pytest.raises(DigestMismatch, match="to stay as it is while the model is loaded"):
        swap_and_swap_back()
    # Its bytes are those that were checked: then it loads.
    load_runtime(bundle).close()


def test_a_folder_that_is_replaced_while_its_model_is_loaded_is_noticed(tmp_path):
    bundle = linear_bundle(tmp_path / "b")

    def replace_folder() -> None:
        with bundle.unchanged():
            bundle.path.rename(tmp_path / "away")
            shutil.copytree(tmp_path / "away", bundle.path)

    with pytest.raises(DigestMismatch, match="to stay as it is while the model is loaded"):
        replace_folder()


def test_external_data_that_was_rewritten_after_the_check_is_not_loaded(tmp_path):
    bundle = with_external_data(matrix(tmp_path / "inside", columns=70), tmp_path)
    load_runtime(bundle).close()
    weights = next(bundle.path / name for name in bundle.manifest.files if name.endswith(".bin"))
    data = bytearray(weights.read_bytes())
    data[-1] ^= 1
    weights.write_bytes(data)
    with pytest.raises(DigestMismatch, match=weights.name):
        load_runtime(bundle)
