"""The environment of a model: the ONNX checker, opsets, and the libraries of training."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest

from lading.bundle import Training
from lading.verify import verify
from support.bundles import linear_bundle
from support.onnx_graphs import graph, identity, node, tensor
from support.verified_bundles import BATCH_OF_4, by_name, declared, outcomes


@pytest.mark.slow
def test_a_model_that_the_onnx_checker_refuses_fails_its_check(tmp_path):
    # `axis` of Softmax is an integer; ONNX Runtime would say so only when it loads the model.
    wrong = node("Softmax", "X", "Y", axis="one")
    model = graph([wrong], [tensor("X", "float32", *BATCH_OF_4)], [tensor("Y", "float32", *BATCH_OF_4)])
    evidence = verify(declared(tmp_path, model))
    assert outcomes(evidence)["onnx"] == "failed"
    assert "axis" in by_name(evidence)["onnx"].found


@pytest.mark.slow
def test_a_newer_opset_fails_and_the_rest_is_skipped(tmp_path):
    evidence = verify(declared(tmp_path, identity("float32", *BATCH_OF_4, opset=99)))
    checks = outcomes(evidence)
    # The checker of the onnx package here is older than that model, and cannot judge it.
    assert (checks["onnx"], checks["opset"]) == ("noted", "failed")
    for name in ("session", "signature", "golden", "batch", "latency", "memory"):
        assert checks[name] == "skipped"
    assert checks["size"] == "passed"
    assert by_name(evidence)["opset"].found == "opset of `ai.onnx` in `model.onnx`: 99"


@pytest.mark.slow
def test_without_the_onnx_package_its_check_is_skipped_and_the_rest_holds(tmp_path):
    bundle = linear_bundle(tmp_path / "b")
    code = (
        "import sys; sys.modules['onnx'] = None\n"
        "import importlib.util; importlib.util.find_spec = lambda name: None\n"
        "from lading.bundle import Bundle\n"
        "from lading.verify.model_checks import ModelChecks\n"
        "made = ModelChecks()\n"
        "made.examine(Bundle.open(sys.argv[1]), 1)\n"
        "outcomes = {check.name: check.outcome for check in made.checks}\n"
        "print('failed' not in outcomes.values(), outcomes['onnx'])"
    )
    command = [sys.executable, "-c", code, str(bundle.path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "True skipped\n"


def trained(python: str = "3.11.0", **packages: str) -> Training:
    return Training(python=python, platform="linux", framework="onnx", packages=packages)


@pytest.mark.slow
def test_the_same_libraries_pass(tmp_path):
    here = {"numpy": np.__version__, "a-library-that-is-only-there": "1.0"}
    python = ".".join(map(str, sys.version_info[:2])) + ".0"
    bundle = linear_bundle(tmp_path / "b", training=trained(python, **here))
    assert outcomes(verify(bundle))["environment"] == "passed"


@pytest.mark.slow
def test_another_minor_version_and_another_python_are_noted(tmp_path):
    bundle = linear_bundle(tmp_path / "b", training=trained("3.9.1", numpy="2.0.0", msgspec="0.1"))
    check = by_name(verify(bundle))["environment"]
    assert check.outcome == "noted"
    assert f"numpy {np.__version__} (training 2.0.0)" in check.found
    assert "msgspec" in check.found
    assert "(training 3.9.1)" in check.found


@pytest.mark.slow
def test_another_major_version_of_a_shared_library_fails(tmp_path):
    bundle = linear_bundle(tmp_path / "b", training=trained(numpy="1.26.4"))
    evidence = verify(bundle)
    assert outcomes(evidence)["environment"] == "failed"
    assert by_name(evidence)["environment"].expected == "numpy 1.x"
    assert not evidence.holds
