"""Open Inference Protocol over gRPC: every datatype raw and typed, facts, refusals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import numpy as np
import pytest

from lading.server.inference.version import ServedVersion
from lading.server.protocols.oip.grpc import CONTENTS_FIELDS
from lading.server.protocols.oip.tensors import DATATYPES, from_bytes, to_bytes
from lading.signature import DTYPES
from support.bundles import linear_bundle
from support.echo_models import echo_bundle, echo_bundles, sum_bundle, values_of
from support.grpc_client import ask, grpc_serving, plane_of
from support.hosted_app import served_from


@pytest.fixture(scope="module")
def channel(tmp_path_factory) -> Iterator[grpc.Channel]:
    folder = tmp_path_factory.mktemp("oip")
    versions = [served_from(one) for one in echo_bundles(folder)]
    versions.append(served_from(sum_bundle(folder / "sum")))
    versions.append(served_from(echo_bundle(folder / "scalar", "float32", "scalar", ()), 1))
    versions.append(served_from(linear_bundle(folder / "1", seed=1), 1))
    versions.append(served_from(linear_bundle(folder / "2", seed=2), 2, ("live",)))
    with grpc_serving(plane_of(*versions)) as (opened, _):
        yield opened


def infer(channel: grpc.Channel, model: str, **given: Any) -> Any:
    return ask(channel, "ModelInfer", model_name=model, **given)[0]


def refused(channel: grpc.Channel, model: str, **given: Any) -> str:
    with pytest.raises(grpc.RpcError) as error:
        infer(channel, model, **given)
    assert error.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    return error.value.details()


def declared(array: Any, dtype: str, name: str = "x") -> dict[str, Any]:
    return {"name": name, "datatype": DATATYPES[dtype], "shape": array.shape}


def typed(array: Any, dtype: str, name: str = "x") -> dict[str, Any]:
    flat = array.reshape(-1).tolist()
    flat = [text.encode() for text in flat] if dtype == "string" else flat
    return {**declared(array, dtype, name), "contents": {CONTENTS_FIELDS[dtype]: flat}}


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_datatype_comes_back_raw(channel, dtype):
    values = values_of(dtype, (5, 3))
    answer = infer(
        channel, f"echo-{dtype}", inputs=[declared(values, dtype)], raw_input_contents=[to_bytes(values)]
    )
    (output,) = answer.outputs
    assert (output.name, output.datatype, list(output.shape)) == ("y", DATATYPES[dtype], [5, 3])
    assert list(answer.raw_output_contents) == [to_bytes(values)]
    assert not output.HasField("contents")


@pytest.mark.parametrize("dtype", [one for one in DTYPES if one != "float16"])
def test_every_datatype_but_fp16_comes_back_typed(channel, dtype):
    values = values_of(dtype, (5, 3))
    given = typed(values, dtype)
    answer = infer(channel, f"echo-{dtype}", inputs=[given], id="7")
    assert answer.id == "7"
    assert not answer.raw_output_contents
    found = list(getattr(answer.outputs[0].contents, CONTENTS_FIELDS[dtype]))
    assert found == given["contents"][CONTENTS_FIELDS[dtype]]


def test_two_inputs_and_a_choice_of_outputs(channel):
    a, b = np.arange(6, dtype=np.float32).reshape(3, 2), np.full((3, 2), 0.5, np.float32)
    answer = infer(
        channel,
        "sum",
        inputs=[declared(b, "float32", "b"), declared(a, "float32", "a")],
        raw_input_contents=[b.tobytes(), a.tobytes()],
        outputs=[{"name": "rest"}],
    )
    assert [one.name for one in answer.outputs] == ["rest"]
    np.testing.assert_array_equal(np.frombuffer(answer.raw_output_contents[0], np.float32), (a - b).ravel())


def test_a_scalar_comes_back(channel):
    scalar = np.array(2.5, np.float32)
    answer = infer(channel, "scalar", inputs=[typed(scalar, "float32")])
    assert list(answer.outputs[0].shape) == []
    assert list(answer.outputs[0].contents.fp32_contents) == [2.5]


def test_versions_and_tags_choose(channel):
    row = typed(np.ones((1, 4), np.float32), "float32", "X")
    for version, expected in (("", "2"), ("1", "1"), ("2", "2"), ("live", "2")):
        assert infer(channel, "iris", model_version=version, inputs=[row]).model_version == expected
    with pytest.raises(grpc.RpcError) as error:
        infer(channel, "iris", model_version="9", inputs=[row])
    assert error.value.code() is grpc.StatusCode.NOT_FOUND


def test_classification_gives_strings(channel):
    row = typed(np.ones((2, 4), np.float32), "float32", "X")
    wanted = {"name": "probabilities", "parameters": {"classification": {"int64_param": 1}}}
    (output,) = infer(channel, "iris", inputs=[row], outputs=[wanted]).outputs
    assert output.datatype == "BYTES"
    assert list(output.shape) == [2, 1]
    assert output.contents.bytes_contents[0].count(b":") == 2


def test_facts_are_those_of_rest(channel):
    assert ask(channel, "ServerLive")[0].live
    assert ask(channel, "ServerReady")[0].ready
    assert ask(channel, "ModelReady", name="iris", version="1")[0].ready
    assert "binary_tensor_data" in ask(channel, "ServerMetadata")[0].extensions
    found = ask(channel, "ModelMetadata", name="iris")[0]
    assert list(found.versions) == ["1", "2"]
    assert found.inputs[0].datatype == "FP32"
    assert list(found.inputs[0].shape) == [-1, 4]
    assert "READY" in {one.state for one in ask(channel, "RepositoryIndex", ready=True)[0].models}
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


def test_a_model_that_loads_is_not_ready_and_unavailable():
    with grpc_serving(plane_of(ServedVersion("iris", 1, "sha256:0"))) as (channel, _):
        assert ask(channel, "ServerLive")[0].live
        assert not ask(channel, "ServerReady")[0].ready
        assert not ask(channel, "ModelReady", name="iris")[0].ready
        with pytest.raises(grpc.RpcError) as error:
            infer(channel, "iris")
        assert error.value.code() is grpc.StatusCode.UNAVAILABLE


def test_what_does_not_fit_is_refused_in_words(channel):
    values = np.ones((1, 3), np.float32)
    given, raw = declared(values, "float32"), [values.tobytes()]
    model = "echo-float32"
    assert "expected datatype `FP32`, found `FP64`" in refused(
        channel, model, inputs=[{**given, "datatype": "FP64"}], raw_input_contents=[b"\0" * 24]
    )
    assert "12 bytes" in refused(channel, model, inputs=[given], raw_input_contents=[b"\0" * 8])
    assert "expected 1 of them, found 2" in refused(
        channel, model, inputs=[given], raw_input_contents=[*raw, *raw]
    )
    assert "again" in refused(channel, model, inputs=[given, given], raw_input_contents=[*raw, *raw])
    assert "`z`" in refused(channel, model, inputs=[{**given, "name": "z"}], raw_input_contents=raw)
    assert "`z`" in refused(channel, model, inputs=[given], raw_input_contents=raw, outputs=[{"name": "z"}])
    assert "`fp32_contents`, found `fp64_contents`" in refused(
        channel, model, inputs=[{**given, "contents": {"fp64_contents": [1, 2, 3]}}]
    )
    assert "found 2" in refused(channel, model, inputs=[{**given, "contents": {"fp32_contents": [1, 2]}}])
    assert "none beside" in refused(
        channel, model, inputs=[{**given, "contents": {"fp32_contents": [1]}}], raw_input_contents=raw
    )
    assert "NaN" in refused(
        channel, model, inputs=[{**given, "contents": {"fp32_contents": [1, float("nan"), 1]}}]
    )
    assert "`x`" in refused(channel, model)


def test_typed_contents_that_would_change_are_refused(channel):
    given = declared(np.ones((1, 3), np.int8), "int8")
    assert "300" in refused(
        channel, "echo-int8", inputs=[{**given, "contents": {"int_contents": [1, 300, 3]}}]
    )
    text = declared(np.ones((1, 3)), "string")
    assert "UTF-8" in refused(
        channel, "echo-string", inputs=[{**text, "contents": {"bytes_contents": [b"a", b"\xff", b"b"]}}]
    )
    half = declared(np.ones((1, 3)), "float16")
    assert "raw_input_contents" in refused(
        channel, "echo-float16", inputs=[{**half, "contents": {"fp32_contents": [1, 2, 3]}}]
    )


def test_raw_bytes_are_read_in_place():
    from lading.signature import Tensor

    data = np.arange(6, dtype=np.float32).tobytes()
    array = from_bytes(Tensor(name="x", dtype="float32", shape=("batch", 3)), [2, 3], data)
    assert not array.flags.owndata
    assert not array.flags.writeable
