"""Tensors as JSON: every dtype both ways, bare tokens, and refusals that name the place."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lading.server.protocols.oip.tensors import DATATYPES
from lading.signature import DTYPES
from support.echo_models import values_of
from support.hosted_app import hosted, served_from
from support.open_inference import infer, tensor_json
from support.small_models import echo_with_nan


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("nested", [True, False])
def test_every_datatype_comes_back_through_json(client, dtype, nested):
    values = values_of(dtype, (5, 3))
    data = values.tolist() if nested else values.reshape(-1).tolist()
    answer = infer(client, f"echo-{dtype}", tensor_json(values, dtype, data=data))
    assert answer.status_code == 200, answer.text
    (output,) = answer.json()["outputs"]
    assert output["name"] == "y"
    assert output["datatype"] == DATATYPES[dtype]
    assert output["shape"] == [5, 3]
    echoed = np.array(output["data"], values.dtype).reshape(5, 3)
    np.testing.assert_array_equal(echoed, values)


def test_a_scalar_comes_back_through_json(client):
    assert infer(client, "scalar", {"name": "x", "shape": [], "datatype": "FP32", "data": [2.5]}).json()[
        "outputs"
    ] == [{"name": "y", "datatype": "FP32", "shape": [], "data": [2.5]}]


def test_infinities_are_written_as_bare_words(client):
    body = b'{"inputs":[{"name":"x","shape":[1,3],"datatype":"FP32","data":[Infinity,-Infinity,1]}]}'
    answer = client.post("/v2/models/echo-float32/infer", content=body)
    assert b"[Infinity,-Infinity,1.0]" in answer.content


def test_nan_is_refused_if_the_golden_samples_have_none(client):
    body = b'{"inputs":[{"name":"x","shape":[1,3],"datatype":"FP32","data":[1,NaN,1]}]}'
    answer = client.post("/v2/models/echo-float32/infer", content=body)
    assert answer.status_code == 400
    assert "NaN at `$.inputs[0].data[1]`" in answer.json()["error"]


@pytest.mark.slow
@pytest.mark.parametrize("depth", [65, 900])
def test_lists_deeper_than_any_array_are_refused(client, depth):
    # Each level was a pass over all values: 900 of them held the server for 22 s.
    data = "[" * depth + "1" + "]" * depth + ",1" * 200_000
    tensor = f'{{"name":"x","shape":[66667,3],"datatype":"FP32","data":[{data}]}}'
    answer = client.post("/v2/models/echo-float32/infer", content=f'{{"inputs":[{tensor}]}}'.encode())
    assert answer.status_code == 400
    assert "lists at most 64 deep" in answer.json()["error"]


@pytest.mark.slow
@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3),
        lambda inner: st.lists(inner, max_size=4),
        max_leaves=12,
    ),
    st.lists(st.integers(-2, 4), max_size=3),
    st.sampled_from(["int8", "float16", "string", "bool", "uint64"]),
)
@settings(max_examples=200)
def test_any_data_is_accepted_exactly_or_refused(client, data, shape, dtype):
    tensor = {"name": "x", "shape": shape, "datatype": DATATYPES[dtype], "data": data}
    body = json.dumps({"inputs": [tensor]}).encode()
    answer = client.post(f"/v2/models/echo-{dtype}/infer", content=body)
    assert answer.status_code in (200, 400)
    if answer.status_code == 200:
        assert answer.json()["outputs"][0]["shape"] == shape


@pytest.mark.parametrize(
    ("nan", "written"), [("token", b"[NaN,1.0,NaN,2.0]"), ("null", b"[null,1.0,null,2.0]")]
)
def test_nan_is_written_as_the_setting_says(tmp_path, nan, written):
    served = served_from(echo_with_nan(tmp_path / "echo", "echo"))
    client = hosted(served, oip_nan=nan)
    tensor = '{"name":"x","shape":[2,2],"datatype":"FP32","data":[NaN,1,NaN,2]}'
    for rest in ("", ',"id":"7"'):  # Read in one pass, and in general.
        body = f'{{"inputs":[{tensor}]{rest}}}'.encode()
        assert b'"data":' + written in client.post("/v2/models/echo/infer", content=body).content
