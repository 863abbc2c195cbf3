"""ONNX files of many forms, answered over every protocol with the bits of ONNX Runtime on the file itself."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest
from onnx import TensorProto, helper, numpy_helper

from lading.bundle import Bundle
from lading.server.protocols.oip.tensors import DATATYPES, from_bytes, to_bytes
from lading.signature import Tensor
from support.grpc_client import ask, grpc_serving
from support.hosted_app import AppClient, hosted, served_from
from support.open_inference import infer, infer_binary, split_binary, tensor_json
from support.packed_graphs import FLOAT, INT64, node, pack_graph, value

BOOL, STRING = TensorProto.BOOL, TensorProto.STRING
X, Y = [value("x", FLOAT, ["n", 3])], [value("y", FLOAT, ["n", 3])]
THEN = helper.make_graph([node("Neg", ["x"], ["t"])], "then", [], [value("t", FLOAT, None)])
ELSE = helper.make_graph([node("Add", ["x", "x"], ["e"])], "else", [], [value("e", FLOAT, None)])
BODY = helper.make_graph(
    [node("Identity", ["go"], ["goes"]), node("Add", ["v", "x"], ["next"])],
    "body",
    [value("i", INT64, []), value("go", BOOL, []), value("v", FLOAT, None)],
    [value("goes", BOOL, []), value("next", FLOAT, None)],
)
DTYPES = ("FLOAT16", "DOUBLE", "INT8", "INT16", "INT32", "INT64", "UINT8", "UINT16", "UINT32", "UINT64")


def identity(kind: int, shape: list[Any]) -> tuple[list[Any], list[Any], list[Any]]:
    return [node("Identity", ["x"], ["y"])], [value("x", kind, shape)], [value("y", kind, shape)]


FORMS: dict[str, tuple[list[Any], list[Any], list[Any]]] = {
    **{name: identity(getattr(TensorProto, name), ["n", 3]) for name in (*DTYPES, "BOOL", "STRING")},
    "rank 0": identity(FLOAT, []),
    "rank 1": identity(FLOAT, ["n"]),
    "rank 6": identity(FLOAT, ["n", 2, 1, 2, 1, 2]),
    "text of rank 0": identity(STRING, []),
    "a fixed batch": identity(FLOAT, [4, 3]),
    "a size of two names": identity(FLOAT, ["batch size; -> x", "ä"]),
    "branches": (
        [node("If", ["c"], ["y"], then_branch=THEN, else_branch=ELSE)],
        [*X, value("c", BOOL, [])],
        Y,
    ),
    "a loop that reads from outside": (
        [node("Loop", ["count", "", "x"], ["y"], body=BODY)],
        [*X, value("count", INT64, [])],
        Y,
    ),
    "rows after steps": (
        [node("Transpose", ["x"], ["y"], perm=[1, 0])],
        X,
        [value("y", FLOAT, [3, "n"])],
    ),
    "as many as there are": ([node("NonZero", ["x"], ["y"])], X, [value("y", INT64, [2, "k"])]),
    "an input that is an output": (
        [node("Neg", ["x"], ["y"])],
        X,
        [*X, *Y],
    ),
    "names of other things": (
        [node("Neg", ["inputs"], ["predictions"]), node("Neg", ["data"], ['{"a": 1}'])],
        [value("inputs", FLOAT, ["n", 3]), value("data", FLOAT, ["n", 2])],
        [value("predictions", FLOAT, ["n", 3]), value('{"a": 1}', FLOAT, ["n", 2])],
    ),
    "infinities": ([node("Div", ["x", "zero"], ["y"])], X, Y),
}
ZERO = numpy_helper.from_array(np.zeros((), np.float32), "zero")


@pytest.mark.slow
@pytest.mark.parametrize("form", FORMS)
def test_a_form_is_answered_with_the_bits_of_onnx_runtime(tmp_path, form):
    nodes, inputs, outputs = FORMS[form]
    bundle = pack_graph(
        tmp_path, nodes, inputs, outputs, weights=[ZERO] if form == "infinities" else [], opset=18
    )
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    golden = bundle.samples().inputs
    expected = dict(
        zip([output.name for output in session.get_outputs()], session.run(None, golden), strict=True)
    )
    client = hosted(served_from(bundle))
    ways = {"JSON": by_json, "bytes": by_bytes, "gRPC": by_grpc}
    for way, asked in ways.items():
        answers = asked(bundle, client)
        for name, array in expected.items():
            assert answers[name].dtype == array.dtype, (way, name)
            np.testing.assert_array_equal(answers[name], array, err_msg=f"{name} over {way}")


def described(tensor: Tensor, array: Any, **fields: Any) -> dict[str, Any]:
    return tensor_json(array, tensor.dtype, tensor.name, **fields)


def by_json(bundle: Bundle, client: AppClient) -> dict[str, Any]:
    signature, golden = bundle.manifest.signature, bundle.samples().inputs
    response = infer(
        client,
        "m",
        *(
            described(tensor, golden[tensor.name], data=golden[tensor.name].ravel().tolist())
            for tensor in signature.inputs
        ),
    )
    assert response.status_code == 200, response.text
    tensors = {tensor.name: tensor for tensor in signature.outputs}
    return {
        output["name"]: np.array(output["data"], tensors[output["name"]].numpy_dtype).reshape(output["shape"])
        for output in response.json()["outputs"]
    }


def by_bytes(bundle: Bundle, client: AppClient) -> dict[str, Any]:
    signature, golden = bundle.manifest.signature, bundle.samples().inputs
    parts = {tensor.name: to_bytes(golden[tensor.name]) for tensor in signature.inputs}
    heads = [
        described(tensor, golden[tensor.name], parameters={"binary_data_size": len(parts[tensor.name])})
        for tensor in signature.inputs
    ]
    head = {"inputs": heads, "parameters": {"binary_data_output": True}}
    response = infer_binary(client, "m", head, *parts.values())
    assert response.status_code == 200, response.text
    answered, data = split_binary(response)
    tensors, arrays, at = {tensor.name: tensor for tensor in signature.outputs}, {}, 0
    for output in answered["outputs"]:
        end = at + output["parameters"]["binary_data_size"]
        arrays[output["name"]] = from_bytes(tensors[output["name"]], output["shape"], data[at:end])
        at = end
    return arrays


def by_grpc(bundle: Bundle, client: AppClient) -> dict[str, Any]:
    signature, golden = bundle.manifest.signature, bundle.samples().inputs
    inputs = [
        {
            "name": tensor.name,
            "datatype": DATATYPES[tensor.dtype],
            "shape": golden[tensor.name].shape,
        }
        for tensor in signature.inputs
    ]
    raw = [to_bytes(golden[tensor.name]) for tensor in signature.inputs]
    with grpc_serving(client.app.plane) as (channel, _):
        answered = ask(channel, "ModelInfer", model_name="m", inputs=inputs, raw_input_contents=raw)[0]
    tensors = {tensor.name: tensor for tensor in signature.outputs}
    return {
        output.name: from_bytes(tensors[output.name], list(output.shape), data)
        for output, data in zip(answered.outputs, answered.raw_output_contents, strict=True)
    }
