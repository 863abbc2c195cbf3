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


def with_dtype(manifest, dtype):
    (x,) = manifest.signature.inputs
    inputs = (msgspec.structs.replace(x, dtype=dtype),)
    signature = msgspec.structs.replace(manifest.signature, inputs=inputs)
    return msgspec.structs.replace(manifest, signature=signature)


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(
    ("sample", "taken", "refused", "limit"),
    [
        (7.9, 1e30, 1.1e30, "1e30, as no golden sample is,"),
        (1e30, 1e30, 3e38, "1e30, as no golden sample is,"),
        (1.1e30, 3.4e38, 1e39, "float32,"),
        (-3.4e38, 3.4e38, -1e300, "float32,"),
    ],
)
def test_the_golden_samples_say_how_large_numbers_may_be(iris, dtype, sample, taken, refused, limit, sign):
    manifest, samples = iris
    x = samples.inputs["X"].astype(dtype)
    x[3, 2] = sample
    manifest = with_dtype(manifest, dtype)
    signature = request_signature(manifest, dataclasses.replace(samples, inputs={"X": x}))
    taken, refused = sign * taken, sign * refused
    row = [1.0, taken, 3.0, 4.0]
    for rows in (1, 400):  # Each is read by another quick reader.
        many = np.array([row] * rows, dtype)
        assert signature.cast({"X": many})["X"] is many
        assert (signature.cast_rows(many.tolist())["X"] == many).all()
        assert (read_quickly(signature, many.tolist()) == many).all()
        wrong = [[1.0, 2.0, 3.0, 4.0]] * (rows - 1) + [[1.0, refused, 3.0, 4.0]]
        with pytest.raises(ValueRefused, match=rf", which is beyond {limit} at `\$.data\[{rows - 1}\]\[1\]"):
            signature.cast_rows(wrong)
        with pytest.raises(ValueRefused, match=f", which is beyond {limit} at \\[{rows - 1}, 1\\]"):
            signature.cast({"X": np.array(wrong)})
        with pytest.raises(ValueError, match="Expected"):
            read_quickly(signature, wrong)


def read_quickly(signature, rows):
    return quick_reader(signature)(json.dumps({"data": rows}).encode())[0]["X"]


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_a_sample_beyond_float32_allows_all_that_the_dtype_holds(iris, dtype):
    manifest, samples = iris
    x = samples.inputs["X"].astype("float64")
    x[3, 2] = 1e300
    signature = request_signature(with_dtype(manifest, dtype), dataclasses.replace(samples, inputs={"X": x}))
    rows = np.array([[1.0, 3.4e38 if dtype == "float32" else 1e308, -np.inf, 4.0]], dtype)
    assert signature.cast({"X": rows})["X"] is rows


@pytest.mark.parametrize("dtype", ["float16", "float32", "float64"])
@pytest.mark.parametrize("rows", [1, 400])
def test_missing_values_are_distinguished_from_large_ones(iris, dtype, rows):
    manifest, samples = iris
    (x,) = with_dtype(manifest, dtype).signature.inputs
    x = msgspec.structs.replace(x, allows_nan=True)
    manifest = msgspec.structs.replace(
        manifest, signature=msgspec.structs.replace(manifest.signature, inputs=(x,))
    )
    signature = request_signature(manifest, samples)
    values = np.ones((rows, 4), dtype)
    values[-1] = np.nan
    assert signature.cast({"X": values})["X"] is values
    values[-1, 1] = np.inf if dtype == "float16" else 2e30
    text = "an infinity" if dtype == "float16" else r"2e\+30, which is beyond 1e30"
    with pytest.raises(ValueRefused, match=rf"found {text}.* at \[{rows - 1}, 1\]"):
        signature.cast({"X": values})
