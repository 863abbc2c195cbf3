"""Golden samples as bytes: every dtype, and the same bytes from every numpy."""

from __future__ import annotations

import hashlib
import io

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from lading.bundle import (
    MAX_ROWS,
    Samples,
)
from lading.bundle.samples import decode_samples, encode_samples
from lading.errors import (
    SamplesInvalid,
    TooLarge,
)
from lading.signature import DTYPES, Signature, Tensor
from support.bundles import linear_bundle


def test_the_bytes_of_the_samples_do_not_depend_on_numpy():
    """Their layout is written down in FORMAT.md; a change here is a change of the format."""
    signature = Signature(
        inputs=(Tensor(name="n", dtype="int16", shape=("batch",)),),
        outputs=(Tensor(name="t", dtype="string", shape=("batch", 1)),),
    )
    samples = Samples({"n": np.array([1, -2], "i2")}, {"t": np.array([["a"], ["\u00fc"]], object)}, 2)
    data = encode_samples(signature, samples)
    assert (
        hashlib.sha256(data).hexdigest() == "90d43acf319d6a9242fa29054de2bc171a4ea9a897a7d8f2e3f528e1e691735a"
    )
    with np.load(io.BytesIO(data)) as file:
        assert file["input_0"].tolist() == [1, -2]
        assert file["output_0"].tolist() == [["a"], ["\u00fc"]]


def test_too_many_or_too_large_samples_are_refused(tmp_path):
    with pytest.raises(SamplesInvalid, match="257"):
        linear_bundle(tmp_path / "iris", rows=MAX_ROWS + 1)
    signature = Signature(
        inputs=(Tensor(name="t", dtype="string", shape=("batch",)),),
        outputs=(Tensor(name="y", dtype="bool", shape=("batch",)),),
    )
    # One long text makes all 256 as long: `<U` has one width.
    texts = np.array(["x" * 2_000_000, *["x"] * 255], object)
    with pytest.raises(TooLarge, match=r"samples\.npz"):
        encode_samples(signature, Samples({"t": texts}, {"y": np.zeros(256, bool)}, 256))


def test_an_output_may_be_nan_and_an_input_only_if_its_tensor_allows_it():
    signature = Signature(
        inputs=(Tensor(name="x", dtype="float32", shape=("batch",), allows_nan=True),),
        outputs=(Tensor(name="y", dtype="float64", shape=("batch",)),),
    )
    samples = Samples({"x": np.array([np.nan], "f4")}, {"y": np.array([np.nan])}, 1)
    back = decode_samples(signature, encode_samples(signature, samples))
    assert np.isnan(back.inputs["x"]).all()
    assert np.isnan(back.outputs["y"]).all()


def test_a_model_without_a_batch_dimension_has_one_golden_sample():
    signature = Signature(
        inputs=(Tensor(name="x", dtype="float32", shape=(1, 3)), Tensor(name="s", dtype="int64", shape=())),
        outputs=(Tensor(name="y", dtype="float32", shape=("n",)),),
    )
    samples = Samples({"x": np.ones((1, 3), "f4"), "s": np.array(7)}, {"y": np.zeros(5, "f4")}, 1)
    back = decode_samples(signature, encode_samples(signature, samples))
    assert back.rows == 1
    assert back.inputs["s"].shape == ()
    assert back.outputs["y"].shape == (5,)


VALUES = {
    "string": st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=9),
    "bool": st.booleans(),
}


@pytest.mark.slow
@given(st.data())
def test_any_array_of_any_dtype_is_read_back(data):
    arrays, tensors = {}, []
    rows = data.draw(st.integers(1, 4))
    for dtype in data.draw(st.lists(st.sampled_from(DTYPES), min_size=1, max_size=3, unique=True)):
        width = data.draw(st.sampled_from([None, 1, 3]))
        count = rows * (width or 1)
        if dtype in VALUES:
            flat = data.draw(st.lists(VALUES[dtype], min_size=count, max_size=count))
            array = np.array(flat, object if dtype == "string" else bool)
        else:
            size = np.dtype(dtype).itemsize * count
            array = np.frombuffer(data.draw(st.binary(min_size=size, max_size=size)), dtype)
        arrays[dtype] = array.reshape((rows, width) if width else (rows,))
        shape = ("batch", width) if width else ("batch",)
        floats = dtype.startswith("float")
        tensors.append(Tensor(name=dtype, dtype=dtype, shape=shape, allows_nan=floats))
    signature = Signature(inputs=tuple(tensors), outputs=tuple(tensors))
    back = decode_samples(signature, encode_samples(signature, Samples(arrays, arrays, rows)))
    for name, array in arrays.items():
        for after in (back.inputs[name], back.outputs[name]):
            assert after.dtype == array.dtype
            assert after.shape == array.shape
            assert after.tolist() == array.tolist() if name in VALUES else after.tobytes() == array.tobytes()
