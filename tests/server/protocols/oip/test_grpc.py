"""Open Inference Protocol over gRPC: every datatype raw and typed, metadata, errors."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pytest

from lading.server.inference.version import ServedVersion
from lading.server.protocols.oip.grpc import CONTENTS_FIELDS
from lading.server.protocols.oip.tensors import DATATYPES, to_bytes
from lading.signature import DTYPES
from support.echo_models import values_of
from support.grpc_client import ask, grpc_serving, plane_of


@pytest.fixture(scope="module")
def channel(versions) -> Iterator[grpc.Channel]:
    with grpc_serving(plane_of(*versions)) as (opened, _):
        yield opened


def infer(channel: grpc.Channel, model: str, **fields: Any) -> Any:
    return ask(channel, "ModelInfer", model_name=model, **fields)[0]


def refused(channel: grpc.Channel, model: str, **fields: Any) -> str:
    with pytest.raises(grpc.RpcError) as error:
        infer(channel, model, **fields)
    assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    return error.value.details()


def declare(array: Any, dtype: str, name: str = "x") -> dict[str, Any]:
    return {"name": name, "datatype": DATATYPES[dtype], "shape": array.shape}


def typed(array: Any, dtype: str, name: str = "x") -> dict[str, Any]:
    flat = array.reshape(-1).tolist()
    flat = [text.encode() for text in flat] if dtype == "string" else flat
    return {**declare(array, dtype, name), "contents": {CONTENTS_FIELDS[dtype]: flat}}


@pytest.mark.slow
@pytest.mark.parametrize("dtype", DTYPES)
def test_every_datatype_comes_back_raw(channel, dtype):
    values = values_of(dtype, (5, 3))
    answer = infer(
        channel, f"echo-{dtype}", inputs=[declare(values, dtype)], raw_input_contents=[to_bytes(values)]
    )
    (output,) = answer.outputs
    assert (output.name, output.datatype, list(output.shape)) == ("y", DATATYPES[dtype], [5, 3])
    assert list(answer.raw_output_contents) == [to_bytes(values)]
    assert not output.HasField("contents")


@pytest.mark.slow
@pytest.mark.parametrize("dtype", [dtype for dtype in DTYPES if dtype != "float16"])
def test_every_datatype_but_fp16_comes_back_typed(channel, dtype):
    values = values_of(dtype, (5, 3))
    tensor = typed(values, dtype)
    answer = infer(channel, f"echo-{dtype}", inputs=[tensor], id="7")
    assert answer.id == "7"
    assert not answer.raw_output_contents
    echoed = list(getattr(answer.outputs[0].contents, CONTENTS_FIELDS[dtype]))
    assert echoed == tensor["contents"][CONTENTS_FIELDS[dtype]]


def test_two_inputs_and_selected_outputs(channel):
    a, b = np.arange(6, dtype=np.float32).reshape(3, 2), np.full((3, 2), 0.5, np.float32)
    answer = infer(
        channel,
        "sum",
        inputs=[declare(b, "float32", "b"), declare(a, "float32", "a")],
        raw_input_contents=[b.tobytes(), a.tobytes()],
        outputs=[{"name": "rest"}],
    )
    assert [output.name for output in answer.outputs] == ["rest"]
    np.testing.assert_array_equal(np.frombuffer(answer.raw_output_contents[0], np.float32), (a - b).ravel())


def test_a_scalar_comes_back(channel):
    scalar = np.array(2.5, np.float32)
    answer = infer(channel, "scalar", inputs=[typed(scalar, "float32")])
    assert list(answer.outputs[0].shape) == []
    assert list(answer.outputs[0].contents.fp32_contents) == [2.5]


def test_a_version_or_tag_chooses_the_version(channel):
    row = typed(np.ones((1, 4), np.float32), "float32", "X")
    for version, expected in (("", "2"), ("1", "1"), ("2", "2"), ("live", "2")):
        assert infer(channel, "iris", model_version=version, inputs=[row]).model_version == expected
    with pytest.raises(grpc.RpcError) as error:
        infer(channel, "iris", model_version="9", inputs=[row])
    assert error.value.code() is grpc.StatusCode.NOT_FOUND


def test_classification_answers_strings(channel):
    row = typed(np.ones((2, 4), np.float32), "float32", "X")
    selected = {"name": "probabilities", "parameters": {"classification": {"int64_param": 1}}}
    (output,) = infer(channel, "iris", inputs=[row], outputs=[selected]).outputs
    assert output.datatype == "BYTES"
    assert list(output.shape) == [2, 1]
    assert output.contents.bytes_contents[0].count(b":") == 2


def test_metadata_and_statistics_are_those_of_rest(channel):
    assert ask(channel, "ServerLive")[0].live
    assert ask(channel, "ServerReady")[0].ready
    assert ask(channel, "ModelReady", name="iris", version="1")[0].ready
    assert "binary_tensor_data" in ask(channel, "ServerMetadata")[0].extensions
    metadata = ask(channel, "ModelMetadata", name="iris")[0]
    assert list(metadata.versions) == ["1", "2"]
    assert metadata.inputs[0].datatype == "FP32"
    assert list(metadata.inputs[0].shape) == [-1, 4]
    assert "READY" in {model.state for model in ask(channel, "RepositoryIndex", ready=True)[0].models}
    infer(channel, "sum", inputs=[typed(np.ones((3, 2), np.float32), "float32", name) for name in "ab"])
    (stats,) = ask(channel, "ModelStatistics", name="sum")[0].model_stats
    assert stats.inference_count >= 3
    assert stats.inference_stats.success.ns > 0


def test_loading_is_unimplemented_with_a_hint(channel):
    for method in ("RepositoryModelLoad", "RepositoryModelUnload"):
        with pytest.raises(grpc.RpcError) as error:
            ask(channel, method, model_name="iris")
        assert error.value.code() is grpc.StatusCode.UNIMPLEMENTED
        assert "hint: " in error.value.details()


def test_a_model_that_is_loading_is_not_ready_and_unavailable():
    with grpc_serving(plane_of(ServedVersion("iris", 1, "sha256:0"))) as (channel, _):
        assert ask(channel, "ServerLive")[0].live
        assert not ask(channel, "ServerReady")[0].ready
        assert not ask(channel, "ModelReady", name="iris")[0].ready
        with pytest.raises(grpc.RpcError) as error:
            infer(channel, "iris")
        assert error.value.code() is grpc.StatusCode.UNAVAILABLE


def test_an_input_that_does_not_fit_is_refused_with_its_place(channel):
    values = np.ones((1, 3), np.float32)
    tensor, raw = declare(values, "float32"), [values.tobytes()]
    model = "echo-float32"
    assert "expected datatype `FP32`, found `FP64`" in refused(
        channel, model, inputs=[{**tensor, "datatype": "FP64"}], raw_input_contents=[b"\0" * 24]
    )
    assert "12 bytes" in refused(channel, model, inputs=[tensor], raw_input_contents=[b"\0" * 8])
    assert "expected 1 of them, found 2" in refused(
        channel, model, inputs=[tensor], raw_input_contents=[*raw, *raw]
    )
    assert "again" in refused(channel, model, inputs=[tensor, tensor], raw_input_contents=[*raw, *raw])
    assert "`z`" in refused(channel, model, inputs=[{**tensor, "name": "z"}], raw_input_contents=raw)
    assert "`z`" in refused(channel, model, inputs=[tensor], raw_input_contents=raw, outputs=[{"name": "z"}])
    assert "`fp32_contents`, found `fp64_contents`" in refused(
        channel, model, inputs=[{**tensor, "contents": {"fp64_contents": [1, 2, 3]}}]
    )
    assert "found 2" in refused(channel, model, inputs=[{**tensor, "contents": {"fp32_contents": [1, 2]}}])
    assert "none beside" in refused(
        channel, model, inputs=[{**tensor, "contents": {"fp32_contents": [1]}}], raw_input_contents=raw
    )
    assert "NaN" in refused(
        channel, model, inputs=[{**tensor, "contents": {"fp32_contents": [1, float("nan"), 1]}}]
    )
    assert "`x`" in refused(channel, model)


def test_typed_contents_that_would_change_are_refused(channel):
    tensor = declare(np.ones((1, 3), np.int8), "int8")
    assert "300" in refused(
        channel, "echo-int8", inputs=[{**tensor, "contents": {"int_contents": [1, 300, 3]}}]
    )
    text = declare(np.ones((1, 3)), "string")
    assert "UTF-8" in refused(
        channel, "echo-string", inputs=[{**text, "contents": {"bytes_contents": [b"a", b"\xff", b"b"]}}]
    )
    half = declare(np.ones((1, 3)), "float16")
    assert "raw_input_contents" in refused(
        channel, "echo-float16", inputs=[{**half, "contents": {"fp32_contents": [1, 2, 3]}}]
    )
