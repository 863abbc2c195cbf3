"""TensorProto to arrays and back."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lading.errors import BodyTooLarge, ShapeRefused, ValueRefused
from lading.server.protocols.tfs import tensor_proto
from lading.signature import DTYPES, Tensor
from support.tensorflow_serving import (
    message,
    predict_request,
    put_tensor,
    refusal,
)


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_is_read_in_both_forms(client, dtype):
    plain: Any = {"string": ["a", "각", ""], "bool": [True, False, True]}.get(dtype, [0, 1, 100])
    array = np.array(plain, object if dtype == "string" else dtype)
    typed = predict_request(f"echo-{dtype}", x=array)
    answers = [client.Predict(typed).outputs["y"]]
    if dtype != "string":
        content = predict_request(f"echo-{dtype}")
        content.inputs["x"].dtype = typed.inputs["x"].dtype
        content.inputs["x"].tensor_shape.CopyFrom(typed.inputs["x"].tensor_shape)
        content.inputs["x"].tensor_content = array.tobytes()
        answers.append(client.Predict(content).outputs["y"])
    for answer in answers:
        echoed = tensor_proto.to_array(Tensor(name="y", dtype=dtype, shape=("batch",)), answer)
        assert echoed.dtype == array.dtype
        assert echoed.tolist() == array.tolist()


def test_the_last_value_stands_for_all_that_are_missing(client):
    request = predict_request("half", x=np.array([2], np.float32))
    request.inputs["x"].tensor_shape.dim[0].size = 4
    assert list(client.Predict(request).outputs["y"].float_val) == [3, 3, 3, 3]
    request.inputs["x"].float_val[:] = [4, 2]
    assert list(client.Predict(request).outputs["y"].float_val) == [4, 3, 3, 3]
    request.inputs["x"].float_val[:] = []
    assert list(client.Predict(request).outputs["y"].float_val) == [2, 2, 2, 2]


def broken(change: Any, dtype: str = "float32") -> Any:
    proto = message("tensorflow.TensorProto")()
    put_tensor(proto, np.array([1, 2], dtype))
    change(proto)
    return Tensor(name="x", dtype=dtype, shape=("batch",)), proto


def make_huge_and_empty(proto: Any) -> None:
    proto.ClearField("float_val")
    for size in (0, 2**62):
        proto.tensor_shape.dim.add().size = size


def as_content(content: bytes) -> Any:
    def change(proto: Any) -> None:
        for field in ("float_val", "bool_val"):
            proto.ClearField(field)
        proto.tensor_content = content

    return change


BROKEN = [
    (lambda p: setattr(p, "dtype", 2), "float32", ValueRefused, "found `DT_DOUBLE`"),
    (lambda p: setattr(p, "dtype", 99), "float32", ValueRefused, "found `type 99`"),
    (lambda p: setattr(p.tensor_shape, "unknown_rank", True), "float32", ShapeRefused, "not known"),
    (lambda p: setattr(p.tensor_shape.dim[0], "size", -1), "float32", ShapeRefused, "not known"),
    (lambda p: setattr(p.tensor_shape.dim[0], "size", 1), "float32", ShapeRefused, "expected 1 values"),
    (make_huge_and_empty, "float32", ShapeRefused, "found shape"),
    (lambda p: setattr(p.tensor_shape.dim[0], "size", 2**40), "float32", BodyTooLarge, "by repetition"),
    (as_content(b"123"), "float32", ShapeRefused, "expected 8 bytes"),
    (as_content(b"\0\2"), "bool", ValueRefused, "bytes 0 and 1"),
    (lambda p: setattr(p, "tensor_content", bytes(8)), "float32", ValueRefused, "found `tensor_content`, "),
    (lambda p: p.double_val.extend([1, 2]), "float32", ValueRefused, "found `float_val`, `double_val`"),
    (lambda p: p.int_val.append(p.float_val.pop() and 1), "float32", ValueRefused, "`int_val`"),
    (lambda p: p.half_val.append(70_000) or p.half_val.pop(0), "float16", ValueRefused, "16 bits"),
]


@pytest.mark.parametrize(("change", "dtype", "kind", "text"), BROKEN)
def test_a_broken_tensor_is_refused(change, dtype, kind, text):
    with pytest.raises(kind, match=text):
        tensor_proto.to_array(*broken(change, dtype))


def test_a_narrow_integer_that_does_not_fit_is_refused_not_wrapped(client):
    request = predict_request("echo-int8", x=np.array([1], np.int8))
    request.inputs["x"].int_val[:] = [300]
    status, text = refusal(client.Predict, request)
    assert status == "INVALID_ARGUMENT"
    assert "found 300 at [0]" in text


def test_text_that_is_not_utf8_is_refused(client):
    request = predict_request("echo-string", x=np.array(["a"], object))
    request.inputs["x"].string_val[:] = [b"\xff"]
    assert refusal(client.Predict, request)[0] == "INVALID_ARGUMENT"
    request.inputs["x"].tensor_content = b"a"
    assert "`string_val`" in refusal(client.Predict, request)[1]


@settings(max_examples=200)
@given(st.binary(max_size=200))
def test_any_tensor_is_an_array_or_refused(models, data):
    try:
        proto = message("tensorflow.TensorProto").FromString(data)
    except Exception:  # noqa: BLE001 - what is no message never reaches the server's code
        return
    for dtype in ("float32", "int8", "string", "float16", "bool"):
        proto.dtype = tensor_proto.type_number(dtype)
        try:
            tensor_proto.to_array(Tensor(name="x", dtype=dtype, shape=("batch",)), proto)
        except (ValueRefused, ShapeRefused, BodyTooLarge):
            continue
