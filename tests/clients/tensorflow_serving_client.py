"""Run in the environment of tensorflow-serving-api: every call of its two services. Not a pytest file.

`tensorflow_serving_client.py GRPC_ADDRESS HTTP_ADDRESS`; says so when all of it works.
"""

from __future__ import annotations

import json
import sys
import urllib.request

import grpc
import numpy as np
import tensorflow as tf
from google.protobuf import descriptor_pb2
from tensorflow_serving.apis import (
    classification_pb2,
    get_model_metadata_pb2,
    get_model_status_pb2,
    inference_pb2,
    model_management_pb2,
    model_service_pb2_grpc,
    predict_pb2,
    prediction_service_pb2_grpc,
    regression_pb2,
)

COLUMNS = ("sepal_length", "sepal_width", "petal_length", "petal_width")
ROWS = np.array([[5.1, 3.5, 1.4, 0.2], [6.3, 3.3, 6.0, 2.5]], np.float32)
DTYPES = (
    "bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64",
    "float16", "float32", "float64",
)  # fmt: skip


def predict(stub, model, **inputs):
    request = predict_pb2.PredictRequest()
    request.model_spec.name = model
    for name, array in inputs.items():
        request.inputs[name].CopyFrom(tf.make_tensor_proto(array))
    return stub.Predict(request, timeout=30)


def check_tensors(stub):
    for dtype in DTYPES:
        for array in (np.array([0, 1, 1], dtype), np.array([1], dtype), np.zeros(5, dtype)):
            answer = tf.make_ndarray(predict(stub, f"echo-{dtype}", x=array).outputs["y"])
            assert answer.dtype == array.dtype, dtype
            np.testing.assert_array_equal(answer, array)
    texts = np.array(["a", "각", ""], object)
    answer = tf.make_ndarray(predict(stub, "echo-string", x=texts).outputs["y"])
    assert [text.decode() for text in answer] == texts.tolist()
    # make_tensor_proto writes one value for a constant shape: the last value stands for the rest.
    constant = tf.make_tensor_proto(2.0, dtype=tf.float32, shape=[4])
    request = predict_pb2.PredictRequest(inputs={"x": constant})
    request.model_spec.name = "half"
    assert list(stub.Predict(request, timeout=30).outputs["y"].float_val) == [3.0] * 4


def check_predict(stub, address):
    answer = predict(stub, "iris", X=ROWS)
    assert answer.model_spec.name == "iris"
    probabilities = tf.make_ndarray(answer.outputs["probabilities"])
    body = json.dumps({"instances": ROWS.tolist()}).encode()
    with urllib.request.urlopen(f"{address}/v1/models/iris:predict", body) as reply:
        rest = json.load(reply)["predictions"]
    np.testing.assert_array_equal(probabilities, np.array([row["probabilities"] for row in rest], np.float32))
    assert tf.make_ndarray(answer.outputs["label"]).tolist() == [row["label"] for row in rest]


def examples(request):
    for row in ROWS:
        features = {
            name: tf.train.Feature(float_list=tf.train.FloatList(value=[value]))
            for name, value in zip(COLUMNS, row, strict=True)
        }
        example = tf.train.Example(features=tf.train.Features(feature=features))
        request.input.example_list.examples.append(example)
    return request


def check_examples(stub):
    request = examples(classification_pb2.ClassificationRequest())
    request.model_spec.name = "iris"
    classified = stub.Classify(request, timeout=30).result.classifications
    assert [entry.label for entry in classified[0].classes] == ["setosa", "versicolor", "virginica"]
    request = regression_pb2.RegressionRequest()
    request.model_spec.name = "half"
    feature = tf.train.Feature(float_list=tf.train.FloatList(value=[1.0]))
    request.input.example_list.examples.append(
        tf.train.Example(features=tf.train.Features(feature={"x": feature}))
    )
    assert [regression.value for regression in stub.Regress(request, timeout=30).result.regressions] == [2.5]
    request = examples(inference_pb2.MultiInferenceRequest())
    task = request.tasks.add(method_name="tensorflow/serving/classify")
    task.model_spec.name = "iris"
    result = stub.MultiInference(request, timeout=30).results[0]
    assert len(result.classification_result.classifications) == 2


def check_model(stub, models):
    request = get_model_metadata_pb2.GetModelMetadataRequest(metadata_field=["signature_def"])
    request.model_spec.name = "iris"
    answer = stub.GetModelMetadata(request, timeout=30)
    definitions = get_model_metadata_pb2.SignatureDefMap()
    assert answer.metadata["signature_def"].Unpack(definitions)
    definition = definitions.signature_def["serving_default"]
    assert definition.inputs["X"].dtype == tf.float32.as_datatype_enum
    request = get_model_status_pb2.GetModelStatusRequest()
    request.model_spec.name = "iris"
    status = models.GetModelStatus(request, timeout=30).model_version_status[0]
    assert status.state == get_model_status_pb2.ModelVersionStatus.AVAILABLE
    reload = model_management_pb2.ReloadConfigRequest()
    reload.config.model_config_list.config.add(name="iris", base_path="/models/iris")
    assert refused(models.HandleReloadConfigRequest, reload) == grpc.StatusCode.UNIMPLEMENTED


def check_errors(stub):
    def asked(model, **inputs):
        return refused(lambda _: predict(stub, model, **inputs), None)

    assert asked("rose", X=ROWS) == grpc.StatusCode.NOT_FOUND
    assert asked("iris", X=ROWS.astype(np.float64)) == grpc.StatusCode.INVALID_ARGUMENT
    assert asked("iris", X=ROWS[:, :3]) == grpc.StatusCode.INVALID_ARGUMENT
    assert asked("iris", Y=ROWS) == grpc.StatusCode.INVALID_ARGUMENT
    assert asked("iris", X=np.full((1, 4), np.nan, np.float32)) == grpc.StatusCode.INVALID_ARGUMENT


def refused(call, request):
    try:
        call(request)
    except grpc.RpcError as error:
        return error.code()
    raise AssertionError("not refused")


def check_numbers(path):
    """Compare our protos with the client's own: every field of ours has the same number and type there."""
    from google.protobuf import descriptor_pool

    with open(path, "rb") as file:  # noqa: PTH123
        ours = descriptor_pb2.FileDescriptorSet.FromString(file.read())
    pool, compared = descriptor_pool.Default(), 0
    for file in ours.file:
        if not file.package.startswith("tensorflow"):
            continue
        waiting = [(f"{file.package}.{message.name}", message) for message in file.message_type]
        while waiting:
            name, message = waiting.pop()
            theirs = pool.FindMessageTypeByName(name)
            waiting += [(f"{name}.{nested.name}", nested) for nested in message.nested_type]
            for field in message.field:
                other = theirs.fields_by_name[field.name]
                assert other.number == field.number, f"{name}.{field.name}"
                # Our status code is the number itself; on the wire an enum is an int32.
                same = other.type == field.type or {other.type, field.type} == {5, 14}
                assert same, f"{name}.{field.name}"
                compared += 1
        for enum in file.enum_type:
            theirs = pool.FindEnumTypeByName(f"{file.package}.{enum.name}")
            for value in enum.value:
                assert theirs.values_by_name[value.name].number == value.number, value.name
    assert compared > 50, compared


def main(grpc_address, http_address, protos):
    with grpc.insecure_channel(grpc_address) as channel:
        stub = prediction_service_pb2_grpc.PredictionServiceStub(channel)
        models = model_service_pb2_grpc.ModelServiceStub(channel)
        check_tensors(stub)
        check_predict(stub, http_address)
        check_examples(stub)
        check_model(stub, models)
        check_errors(stub)
    check_numbers(protos)
    print("all of it works")


if __name__ == "__main__":
    main(*sys.argv[1:])
