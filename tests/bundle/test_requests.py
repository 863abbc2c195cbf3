"""What requests are held against: infinities only where a golden sample holds one."""

from __future__ import annotations

import dataclasses
import json

import msgspec
import numpy as np
import pytest

from lading.bundle.requests import request_signature
from lading.errors import ValueRefused
from lading.server.codecs.rows import quick_reader
from support.bundles import linear_bundle


@pytest.fixture(scope="module")
def iris(tmp_path_factory):
    """Return the manifest and the samples of a bundle whose golden outputs a framework gave."""
    bundle = linear_bundle(tmp_path_factory.mktemp("requests") / "iris")
    manifest = msgspec.structs.replace(bundle.manifest, expected_from=bundle.manifest.training.framework)
    return manifest, bundle.samples()


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_what_frameworks_refuse_is_refused(iris, value):
    signature = request_signature(*iris)
    with pytest.raises(ValueRefused, match=r"found an infinity at \[1, 2\]"):
        signature.cast({"X": np.array([[1, 2, 3, 4], [1, 2, value, 4]], np.float32)})
    with pytest.raises(ValueRefused, match=r"found an infinity at `\$\.data\[0\]\[3\]`"):
        signature.cast_rows([[1.0, 2.0, 3.0, value]])


def test_an_infinity_in_a_golden_sample_allows_infinities(iris):
    manifest, samples = iris
    x = samples.inputs["X"].copy()
    x[0, 0] = np.inf
    signature = request_signature(manifest, dataclasses.replace(samples, inputs={"X": x}))
    assert np.isinf(signature.cast({"X": x})["X"][0, 0])


def test_a_model_that_no_framework_has_answered_takes_infinities(iris):
    manifest, samples = iris
    manifest = msgspec.structs.replace(manifest, expected_from="onnxruntime 1.32.0")
    assert request_signature(manifest, samples) == manifest.signature


def test_nan_is_allowed_by_its_own_rule_beside_infinities(iris):
    manifest, samples = iris
    (x,) = manifest.signature.inputs
    for columns in ((), (1,)):
        tensor = msgspec.structs.replace(x, allows_nan=True, nan_columns=columns)
        signature = msgspec.structs.replace(manifest.signature, inputs=(tensor,))
        held = request_signature(msgspec.structs.replace(manifest, signature=signature), samples)
        held.cast({"X": np.array([[1, np.nan, 3, 4]], np.float32)})
        with pytest.raises(ValueRefused, match="an infinity"):
            held.cast({"X": np.array([[np.inf, np.nan, 3, 4]], np.float32)})
        if columns:
            with pytest.raises(ValueRefused, match="NaN in a column that may not be missing"):
                held.cast({"X": np.array([[1, np.nan, np.nan, 4]], np.float32)})


@pytest.mark.parametrize("value", [1e39, -1e300])
def test_before_trees_float32_is_the_limit_of_float64_as_well(iris, value):
    manifest, samples = iris
    (x,) = manifest.signature.inputs
    wide = msgspec.structs.replace(x, dtype="float64")
    manifest = msgspec.structs.replace(
        manifest, signature=msgspec.structs.replace(manifest.signature, inputs=(wide,))
    )
    signature = request_signature(manifest, samples)
    with pytest.raises(ValueRefused, match=r"which is beyond float32, at \[0, 1\]"):
        signature.cast({"X": np.array([[1, value, 3, 4]])})
    with pytest.raises(ValueRefused, match="which is beyond float32"):
        signature.cast_rows([[1.0, value, 3.0, 4.0]])
    rows = [[1.0, 2.0, 3.0, 4.0]] * 400
    for count, last in ((1, value), (400, value), (1, 3e38), (400, 3e38)):  # Read by either quick reader.
        body = json.dumps({"data": [*rows[: count - 1], [1.0, last, 3.0, 4.0]]}).encode()
        read = quick_reader(signature)
        if last == value:
            with pytest.raises(ValueError, match="Expected"):
                read(body)
        else:
            assert read(body)[0]["X"][-1, 1] == last
