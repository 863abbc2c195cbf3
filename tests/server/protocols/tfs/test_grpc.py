"""TensorFlow Serving over gRPC: tensors in every form the wire has, over a real port."""

from __future__ import annotations

from typing import Any

import grpc
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lading.errors import BodyTooLarge, ShapeRefused, ValueRefused
from lading.server.grpc import descriptors
from lading.server.grpc.server import GrpcServer
from lading.server.inference.version import ServedVersion, State
from lading.server.protocols.tfs import grpc as tfs
from lading.server.protocols.tfs import tensor_proto as tfs_tensors
from lading.settings import ServeSettings
from lading.signature import DTYPES, Tensor
from support.bundles import IRIS_COLUMNS, linear_bundle
from support.hosted_app import hosted, served_from
from support.small_models import echo, half_plus_two, people

ROW = [5.1, 3.5, 1.4, 0.2]


def message(name: str) -> Any:
    return descriptors.message("tfs", name if name.startswith("tensorflow") else f"tensorflow.serving.{name}")


class Client:
    """The two services as a generated stub would give them."""

    def __init__(self, port: int) -> None:
        self.channel = grpc.insecure_channel(f"127.0.0.1:{port}")

    def __getattr__(self, method: str) -> Any:
        for name in ("tensorflow.serving.PredictionService", "tensorflow.serving.ModelService"):
            described = descriptors.service("tfs", name).methods_by_name.get(method)
            if described is not None:
                answer = descriptors.message("tfs", described.output_type.full_name)
                return self.channel.unary_unary(
                    f"/{name}/{method}", lambda one: one.SerializeToString(), answer.FromString
                )
        raise AttributeError(method)


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("tfs-grpc")
    return hosted(
        served_from(linear_bundle(folder / "1", seed=1), 1),
        served_from(linear_bundle(folder / "2", seed=2), 2, ("live", "best")),
        served_from(half_plus_two(folder / "half"), 123),
        served_from(people(folder / "people"), 1),
        *(served_from(echo(folder / f"{dtype}", f"echo-{dtype}", dtype), 1) for dtype in DTYPES),
        ServedVersion("wine", 4, "sha256:0", State.FAILED, "because"),
    )


@pytest.fixture(scope="module")
def client(models):
    given = ServeSettings(grpc_threads=4)
    server = GrpcServer(models.app.pipeline, given, tfs.services())
    client = Client(server.start("127.0.0.1", 0))
    yield client
    client.channel.close()
    server.stop(1)


def request(model: str, **inputs: Any) -> Any:
    made = message("PredictRequest")()
    made.model_spec.name = model
    for name, array in inputs.items():
        put(made.inputs[name], np.asarray(array))
    return made


def put(proto: Any, array: np.ndarray) -> None:
    dtype = "string" if array.dtype.kind in "UO" else array.dtype.name
    tensor = Tensor(name="x", dtype=dtype, shape=("batch",) * array.ndim)
    tfs_tensors.to_proto(tensor, array.astype(tensor.numpy_dtype), proto)


def shape(proto: Any) -> list[int]:
    return [dim.size for dim in proto.tensor_shape.dim]


def refusal(call: Any, given: Any) -> tuple[str, str]:
    with pytest.raises(grpc.RpcError) as caught:
        call(given)
    return caught.value.code().name, caught.value.details()


def test_predict_gives_every_output_and_the_version_that_answered(client, models):
    answer = client.Predict(request("iris", X=np.array([ROW], np.float32)))
    expected = models.app.plane.find("iris", 2).run({"X": np.array([ROW], np.float32)})
    assert answer.model_spec.version.value == 2
    assert answer.model_spec.signature_name == "serving_default"
    assert shape(answer.outputs["probabilities"]) == [1, 3]
    found = np.array(answer.outputs["probabilities"].float_val, np.float32)
    np.testing.assert_array_equal(found, expected["probabilities"][0])
    assert list(answer.outputs["label"].int64_val) == expected["label"].tolist()


def test_a_version_and_a_label_choose(client):
    given = request("iris", X=np.array([ROW], np.float32))
    given.model_spec.version.value = 1
    assert client.Predict(given).model_spec.version.value == 1
    for label in ("best", "stable"):
        given.model_spec.version_label = label
        assert client.Predict(given).model_spec.version.value == 2


def test_an_output_filter_leaves_the_others_out(client):
    given = request("iris", X=np.array([ROW], np.float32))
    given.output_filter.append("label")
    assert list(client.Predict(given).outputs) == ["label"]
    given.output_filter.append("label")
    assert refusal(client.Predict, given) == ("INVALID_ARGUMENT", "duplicate output tensor alias: label")
    given.output_filter[:] = ["nothing"]
    status, words = refusal(client.Predict, given)
    assert status == "INVALID_ARGUMENT"
    assert words.startswith("output tensor alias not found in signature: nothing")


@pytest.mark.parametrize("dtype", DTYPES)
def test_every_dtype_goes_through_in_both_forms(client, dtype):
    plain: Any = {"string": ["a", "각", ""], "bool": [True, False, True]}.get(dtype, [0, 1, 100])
    array = np.array(plain, object if dtype == "string" else dtype)
    typed = request(f"echo-{dtype}", x=array)
    answers = [client.Predict(typed).outputs["y"]]
    if dtype != "string":
        content = request(f"echo-{dtype}")
        content.inputs["x"].dtype = typed.inputs["x"].dtype
        content.inputs["x"].tensor_shape.CopyFrom(typed.inputs["x"].tensor_shape)
        content.inputs["x"].tensor_content = array.tobytes()
        answers.append(client.Predict(content).outputs["y"])
    for answer in answers:
        found = tfs_tensors.to_array(Tensor(name="y", dtype=dtype, shape=("batch",)), answer)
        assert found.dtype == array.dtype
        assert found.tolist() == array.tolist()


def test_the_last_value_stands_for_all_that_are_missing(client):
    given = request("half", x=np.array([2], np.float32))
    given.inputs["x"].tensor_shape.dim[0].size = 4
    assert list(client.Predict(given).outputs["y"].float_val) == [3, 3, 3, 3]
    given.inputs["x"].float_val[:] = [4, 2]
    assert list(client.Predict(given).outputs["y"].float_val) == [4, 3, 3, 3]
    given.inputs["x"].float_val[:] = []
    assert list(client.Predict(given).outputs["y"].float_val) == [2, 2, 2, 2]


def test_two_inputs_with_strings(client):
    given = request("people", age=np.array([[3]], np.float32), city=np.array([["각"]], object))
    answer = client.Predict(given)
    assert list(answer.outputs["where"].string_val) == ["각".encode()]
    assert list(answer.outputs["value"].float_val) == [3]


def broken(change: Any, dtype: str = "float32") -> Any:
    proto = message("tensorflow.TensorProto")()
    put(proto, np.array([1, 2], dtype))
    change(proto)
    return Tensor(name="x", dtype=dtype, shape=("batch",)), proto


def make_huge_and_empty(proto: Any) -> None:
    proto.ClearField("float_val")
    for size in (0, 2**62):
        proto.tensor_shape.dim.add().size = size


BROKEN = [
    (lambda p: setattr(p, "dtype", 2), "float32", ValueRefused, "found `DT_DOUBLE`"),
    (lambda p: setattr(p, "dtype", 99), "float32", ValueRefused, "found `type 99`"),
    (lambda p: setattr(p.tensor_shape, "unknown_rank", True), "float32", ShapeRefused, "not known"),
    (lambda p: setattr(p.tensor_shape.dim[0], "size", -1), "float32", ShapeRefused, "not known"),
    (lambda p: setattr(p.tensor_shape.dim[0], "size", 1), "float32", ShapeRefused, "expected 1 values"),
    (make_huge_and_empty, "float32", ShapeRefused, "found shape"),
    (lambda p: setattr(p.tensor_shape.dim[0], "size", 2**40), "float32", BodyTooLarge, "by repetition"),
    (lambda p: setattr(p, "tensor_content", b"123"), "float32", ShapeRefused, "expected 8 bytes"),
    (lambda p: setattr(p, "tensor_content", b"\0\2"), "bool", ValueRefused, "bytes 0 and 1"),
    (lambda p: p.half_val.append(70_000) or p.half_val.pop(0), "float16", ValueRefused, "16 bits"),
]


@pytest.mark.parametrize(("change", "dtype", "kind", "words"), BROKEN)
def test_a_broken_tensor_is_refused(change, dtype, kind, words):
    with pytest.raises(kind, match=words):
        tfs_tensors.to_array(*broken(change, dtype))


def test_a_narrow_integer_that_does_not_fit_is_refused_not_wrapped(client):
    given = request("echo-int8", x=np.array([1], np.int8))
    given.inputs["x"].int_val[:] = [300]
    status, words = refusal(client.Predict, given)
    assert status == "INVALID_ARGUMENT"
    assert "found 300 at [0]" in words


def test_text_that_is_not_utf8_is_refused(client):
    given = request("echo-string", x=np.array(["a"], object))
    given.inputs["x"].string_val[:] = [b"\xff"]
    assert refusal(client.Predict, given)[0] == "INVALID_ARGUMENT"
    given.inputs["x"].tensor_content = b"a"
    assert "`string_val`" in refusal(client.Predict, given)[1]


def test_refusals_are_in_its_words(client):
    rows = np.array([ROW], np.float32)
    assert refusal(client.Predict, request("rose", X=rows)) == (
        "NOT_FOUND",
        "Servable not found for request: Latest(rose)",
    )
    given = request("iris", X=rows)
    given.model_spec.version.value = 9
    assert refusal(client.Predict, given)[1] == "Servable not found for request: Specific(iris, 9)"
    given.model_spec.version_label = "none"
    assert refusal(client.Predict, given) == (
        "INVALID_ARGUMENT",
        "Unrecognized servable version label: none",
    )
    assert refusal(client.Predict, request("", X=rows))[1] == "ModelSpec has no name specified."
    status, words = refusal(client.Predict, request("iris", Y=rows))
    assert words == (
        "input size does not match signature: 1!=1 len({Y}) != len({X}). "
        "Sent extra: {Y}. Missing but required: {X}."
    )
    assert status == "INVALID_ARGUMENT"
    assert "found shape `[1, 3]`" in refusal(client.Predict, request("iris", X=rows[:, :3]))[1]
    assert refusal(client.Predict, request("wine", X=rows))[0] == "UNAVAILABLE"
    named = request("iris", X=rows)
    named.model_spec.signature_name = "other"
    assert 'Serving signature name: "other" not found' in refusal(client.Predict, named)[1]


def examples(*rows: dict[str, list[Any]], kind: str = "example_list") -> Any:
    made = message("Input")()
    listed = getattr(made, kind).examples
    for row in rows:
        fill(listed.add(), row)
    return made


def fill(example: Any, row: dict[str, list[Any]]) -> None:
    for name, values in row.items():
        feature = example.features.feature[name]
        if isinstance(values[0], bytes):
            feature.bytes_list.value.extend(values)
        elif isinstance(values[0], int):
            feature.int64_list.value.extend(values)
        else:
            feature.float_list.value.extend(values)


def test_classify_and_regress(client, models):
    row = {name: [value] for name, value in zip(IRIS_COLUMNS, ROW, strict=True)}
    given = message("ClassificationRequest")(input=examples(row, {**row}))
    given.model_spec.name = "iris"
    result = client.Classify(given).result
    assert [one.label for one in result.classifications[1].classes] == ["setosa", "versicolor", "virginica"]
    expected = models.app.plane.find("iris", 2).run({"X": np.array([ROW], np.float32)})["probabilities"][0]
    scores = np.array([one.score for one in result.classifications[0].classes], np.float32)
    np.testing.assert_array_equal(scores, expected)
    given = message("RegressionRequest")(input=examples({"x": [1.0]}, {"x": [2]}))
    given.model_spec.name = "half"
    answer = client.Regress(given)
    assert [one.value for one in answer.result.regressions] == [2.5, 3.0]
    assert answer.model_spec.version.value == 123


def test_a_context_joins_every_example(client):
    row = {name: [value] for name, value in zip(IRIS_COLUMNS, ROW, strict=True)}
    first = {name: row.pop(name) for name in IRIS_COLUMNS[:2]}
    made = examples(row, kind="example_list_with_context")
    fill(made.example_list_with_context.context, first)
    given = message("ClassificationRequest")(input=made)
    given.model_spec.name = "iris"
    assert len(client.Classify(given).result.classifications) == 1


def test_no_examples_and_bytes_that_are_no_text_are_refused(client):
    given = message("RegressionRequest")()
    given.model_spec.name = "half"
    assert refusal(client.Regress, given) == ("INVALID_ARGUMENT", "Input is empty.")
    given.input.CopyFrom(examples({"x": [b"\xff"]}))
    assert "UTF-8" in refusal(client.Regress, given)[1]


def test_multi_inference_runs_its_tasks_at_once(client):
    row = {name: [value] for name, value in zip(IRIS_COLUMNS, ROW, strict=True)}
    given = message("MultiInferenceRequest")(input=examples(row))
    assert "at least one task" in refusal(client.MultiInference, given)[1]
    for _ in range(2):
        task = given.tasks.add(method_name="tensorflow/serving/classify")
        task.model_spec.name = "iris"
    answer = client.MultiInference(given)
    assert [len(one.classification_result.classifications) for one in answer.results] == [1, 1]
    given.tasks[1].method_name = "tensorflow/serving/regress"
    assert refusal(client.MultiInference, given)[0] == "INVALID_ARGUMENT"
    given.tasks[1].method_name = "something/else"
    assert refusal(client.MultiInference, given)[0] == "UNIMPLEMENTED"
    given.tasks[1].model_spec.name = "half"
    assert "same model name" in refusal(client.MultiInference, given)[1]


def test_metadata_is_an_any_of_signatures(client):
    given = message("GetModelMetadataRequest")()
    given.model_spec.name = "iris"
    assert refusal(client.GetModelMetadata, given)[0] == "INVALID_ARGUMENT"
    given.metadata_field.append("signature_def")
    answer = client.GetModelMetadata(given)
    packed = answer.metadata["signature_def"]
    assert packed.type_url == "type.googleapis.com/tensorflow.serving.SignatureDefMap"
    definitions = message("SignatureDefMap").FromString(packed.value)
    definition = definitions.signature_def["serving_default"]
    assert definition.inputs["X"].dtype == 1
    assert [dim.size for dim in definition.inputs["X"].tensor_shape.dim] == [-1, 4]
    given.metadata_field.append("other")
    assert "other" in refusal(client.GetModelMetadata, given)[1]


def test_status_tells_states_and_reasons(client):
    given = message("GetModelStatusRequest")()
    assert refusal(client.GetModelStatus, given) == ("INVALID_ARGUMENT", "Missing ModelSpec")
    given.model_spec.name = "iris"
    listed = client.GetModelStatus(given).model_version_status
    assert [(one.version, one.state) for one in listed] == [(2, 30), (1, 30)]
    given.model_spec.name = "wine"
    failed = client.GetModelStatus(given).model_version_status[0]
    assert (failed.state, failed.status.error_code, failed.status.error_message) == (50, 9, "because")
    given.model_spec.name = "rose"
    assert refusal(client.GetModelStatus, given)[1] == "Could not find any versions of model rose"


def test_a_new_configuration_is_not_implemented_and_says_what_to_do(client):
    status, words = refusal(client.HandleReloadConfigRequest, message("ReloadConfigRequest")())
    assert status == "UNIMPLEMENTED"
    assert "hint: " in words


@settings(max_examples=200)
@given(st.binary(max_size=200))
def test_no_bytes_make_a_defect(models, data):
    """Whatever parses as a tensor is an array or a refusal."""
    try:
        proto = message("tensorflow.TensorProto").FromString(data)
    except Exception:  # noqa: BLE001 - what is no message never reaches the server's code
        return
    for dtype in ("float32", "int8", "string", "float16", "bool"):
        proto.dtype = tfs_tensors.type_number(dtype)
        try:
            tfs_tensors.to_array(Tensor(name="x", dtype=dtype, shape=("batch",)), proto)
        except (ValueRefused, ShapeRefused, BodyTooLarge):
            continue
