"""Opening of good bundles; hostile ones are in tests/attacks."""

from __future__ import annotations

import hashlib
import subprocess
import sys

import pytest

from lading.bundle import (
    Bundle,
)
from lading.bundle.external import tensor_sizes
from support.bundles import REQUIREMENTS, linear_bundle, linear_model, linear_samples


@pytest.fixture
def bundle(tmp_path):
    return linear_bundle(tmp_path / "iris.bundle")


def test_a_bundle_opens_as_it_was_written(bundle):
    opened = Bundle.open(bundle.path)
    assert opened == bundle
    assert opened.manifest.format == 1
    assert opened.model_path.read_bytes() == linear_model()
    assert (opened.path / "requirements.txt").read_text() == REQUIREMENTS


def test_the_digest_is_the_sha256_of_the_manifest(bundle):
    data = (bundle.path / "bundle.json").read_bytes()
    assert bundle.digest == f"sha256:{hashlib.sha256(data).hexdigest()}"
    assert Bundle.open(str(bundle.path), digest=bundle.digest) == bundle


def test_golden_samples_come_back_as_they_were(bundle):
    written, back = linear_samples(linear_model()), bundle.samples()
    assert back.rows == written.rows == 16
    for side in ("inputs", "outputs"):
        before, after = getattr(written, side), getattr(back, side)
        assert list(after) == [tensor.name for tensor in getattr(bundle.manifest.signature, side)]
        for name in before:
            assert after[name].dtype == before[name].dtype
            assert after[name].tobytes() == before[name].tobytes()


@pytest.mark.slow
def test_reading_imports_no_library_that_could_run_a_model(bundle):
    script = (
        "import sys\nfrom lading.bundle import Bundle\nBundle.open(sys.argv[1]).samples()\n"
        "print([name for name in ('onnx', 'onnxruntime', 'pickle5', 'sklearn') if name in sys.modules])"
    )
    run = subprocess.run(
        [sys.executable, "-c", script, str(bundle.path)], capture_output=True, text=True, check=True
    )
    assert run.stdout.strip() == "[]"


def test_the_bytes_of_weights_count_tensors_above_a_limit(bundle):
    sizes = sorted(tensor_sizes(linear_model(), {}))
    assert bundle.weights_bytes() == sum(sizes)
    assert bundle.weights_bytes(above=sizes[0]) == sum(size for size in sizes if size > sizes[0])
    assert bundle.weights_bytes(above=sizes[-1]) == 0
