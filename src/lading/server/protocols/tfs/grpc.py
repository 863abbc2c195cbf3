"""TensorFlow Serving over gRPC: ``PredictionService`` and ``ModelService``.

What a version or label means, and in which words it is refused, is told by the REST side of the protocol.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from google.protobuf import json_format

from lading.errors import BodyInvalid, InputMissing, InvalidReference, NotSupported, OutputUnknown
from lading.server.grpc import Call, Method, Service, descriptors
from lading.server.inference.dataplane import rows_in
from lading.server.inference.job import Job
from lading.server.inference.version import ServedVersion
from lading.server.protocols.tfs import examples as tfs_examples
from lading.server.protocols.tfs import rest as tfs
from lading.server.protocols.tfs import tensor_proto as tfs_tensors
from lading.signature import Array

PROTOCOL = "tfs-grpc"
_CLASSIFY, _REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"


def services() -> Iterator[Service]:
    """Describe the services."""
    prediction = (
        Method("Predict", _predict),
        Method("Classify", _classify),
        Method("Regress", _regress),
        Method("MultiInference", _multi_inference),
        Method("GetModelMetadata", _metadata),
    )
    yield Service("tensorflow.serving.PredictionService", PROTOCOL, "tfs", prediction)
    models = (Method("GetModelStatus", _status), Method("HandleReloadConfigRequest", _reload))
    yield Service("tensorflow.serving.ModelService", PROTOCOL, "tfs", models)


def _message(name: str) -> Any:
    return descriptors.message("tfs", f"tensorflow.serving.{name}")


def _predict(message: Any, call: Call) -> Job:
    served = _resolve(message.model_spec, call)
    inputs = _inputs(served, message.inputs)
    asked = _asked(served, message.output_filter)
    tensors = [one for one in served.signature.outputs if one.name in asked]

    def encode(outputs: dict[str, Array]) -> Any:
        response = _message("PredictResponse")()
        _say_model(response.model_spec, served)
        for tensor in tensors:
            tfs_tensors.to_proto(tensor, outputs[tensor.name], response.outputs[tensor.name])
        return response

    return Job(served, inputs, asked, encode, rows_in(served, inputs))


def _classify(message: Any, call: Call) -> Job:
    served = _resolve(message.model_spec, call)
    wanted = tfs_examples.classes_output(served)
    inputs = _examples(served, message)

    def encode(outputs: dict[str, Array]) -> Any:
        response = _message("ClassificationResponse")()
        _say_model(response.model_spec, served)
        _put_classes(response.result, served, outputs)
        return response

    return Job(served, inputs, (wanted.name,), encode, rows_in(served, inputs))


def _regress(message: Any, call: Call) -> Job:
    served = _resolve(message.model_spec, call)
    wanted = tfs_examples.value_output(served)
    inputs = _examples(served, message)

    def encode(outputs: dict[str, Array]) -> Any:
        response = _message("RegressionResponse")()
        _say_model(response.model_spec, served)
        _put_values(response.result, served, outputs)
        return response

    return Job(served, inputs, (wanted.name,), encode, rows_in(served, inputs))


def _multi_inference(message: Any, call: Call) -> Job:
    if not message.tasks:
        raise BodyInvalid("Inference request must have at least one task")
    found = [_resolve(task.model_spec, call) for task in message.tasks]
    served = found[0]
    if any(one is not served for one in found):
        raise BodyInvalid("All ModelSpecs in a MultiInferenceRequest must access the same model name")
    methods = [task.method_name for task in message.tasks]
    wanted = tuple(dict.fromkeys(_task_output(served, method) for method in methods))
    inputs = _examples(served, message)

    def encode(outputs: dict[str, Array]) -> Any:
        response = _message("MultiInferenceResponse")()
        for method in methods:
            result = response.results.add()
            _say_model(result.model_spec, served)
            if method == _CLASSIFY:
                _put_classes(result.classification_result, served, outputs)
            else:
                _put_values(result.regression_result, served, outputs)
        return response

    return Job(served, inputs, wanted, encode, rows_in(served, inputs))


def _task_output(served: ServedVersion, method: str) -> str:
    if method == _CLASSIFY:
        return tfs_examples.classes_output(served).name
    if method == _REGRESS:
        return tfs_examples.value_output(served).name
    raise NotSupported(f"Unsupported signature method_name: {method}")


def _metadata(message: Any, call: Call) -> Any:
    if not message.metadata_field:
        raise BodyInvalid("GetModelMetadataRequest must specify at least one metadata_field")
    for name in message.metadata_field:
        if name != "signature_def":
            raise BodyInvalid(f"Metadata field {name} is not supported")
    served = _resolve(message.model_spec, call)
    response = _message("GetModelMetadataResponse")()
    response.model_spec.name = served.name
    response.model_spec.version.value = served.version
    definitions = _message("SignatureDefMap")()
    definition = definitions.signature_def[tfs_examples.DEFAULT_SIGNATURE]
    json_format.ParseDict(tfs.signature_def(served), definition)
    response.metadata["signature_def"].Pack(definitions)
    return response


def _status(message: Any, call: Call) -> Any:
    if not message.HasField("model_spec"):
        raise BodyInvalid("Missing ModelSpec")
    response = _message("GetModelStatusResponse")()
    for served in tfs.versions_of(call.plane, *_address(message.model_spec)):
        shown = tfs.version_status(served)
        one = response.model_version_status.add(version=served.version)
        one.state = type(one).State.Value(shown.state)
        one.status.error_code = shown.code
        one.status.error_message = shown.message
    return response


def _reload(_message_in: Any, _call: Call) -> Any:
    raise NotSupported(
        "HandleReloadConfigRequest",
        expected="models named when the server starts",
        found="a new configuration",
        hint="start `lading serve` with the models that it is to hold",
    )


def _resolve(spec: Any, call: Call) -> ServedVersion:
    served = tfs.resolve_spec(call.plane, *_address(spec))
    tfs_examples.check_signature(spec.signature_name)
    return served


def _address(spec: Any) -> tuple[str, int | None, str | None]:
    if not spec.name:
        raise InvalidReference("ModelSpec has no name specified.")
    choice = spec.WhichOneof("version_choice")
    version = spec.version.value if choice == "version" else None
    return spec.name, version, spec.version_label if choice == "version_label" else None


def _inputs(served: ServedVersion, given: Mapping[str, Any]) -> dict[str, Array]:
    tensors = served.signature.inputs
    names = sorted(one.name for one in tensors)
    if sorted(given) != names:
        extra = ",".join(sorted(set(given) - set(names)))
        absent = ",".join(sorted(set(names) - set(given)))
        raise InputMissing(
            f"input size does not match signature: {len(given)}!={len(names)} "
            f"len({{{','.join(sorted(given))}}}) != len({{{','.join(names)}}}). "
            f"Sent extra: {{{extra}}}. Missing but required: {{{absent}}}."
        )
    arrays = {one.name: tfs_tensors.to_array(one, given[one.name]) for one in tensors}
    return served.signature.cast(arrays)


def _asked(served: ServedVersion, names: Any) -> tuple[str, ...]:
    known = tuple(one.name for one in served.signature.outputs)
    if not names:
        return known
    for name in names:
        if name not in known:
            raise OutputUnknown(
                f"output tensor alias not found in signature: {name} "
                f"Outputs expected to be in the set {{{','.join(sorted(known))}}}."
            )
    if len(set(names)) != len(names):
        twice = next(name for name in names if list(names).count(name) > 1)
        raise BodyInvalid(f"duplicate output tensor alias: {twice}")
    return tuple(names)


def _examples(served: ServedVersion, message: Any) -> dict[str, Array]:
    given = message.input
    kind = given.WhichOneof("kind")
    listed = getattr(given, kind).examples if kind else ()
    context = _features(given.example_list_with_context.context) if kind != "example_list" else {}
    examples = [{**context, **_features(example)} for example in listed]
    return tfs_examples.inputs_of(served.signature, examples)


def _features(example: Any) -> dict[str, list[Any]]:
    found: dict[str, list[Any]] = {}
    for name, feature in example.features.feature.items():
        kind = feature.WhichOneof("kind")
        values = list(getattr(feature, kind).value) if kind else []
        found[name] = [_text(name, one) for one in values] if kind == "bytes_list" else values
    return found


def _text(name: str, value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise BodyInvalid(f"feature `{name}`", expected="UTF-8 text", found="other bytes") from None


def _say_model(spec: Any, served: ServedVersion) -> None:
    spec.name = served.name
    spec.version.value = served.version
    spec.signature_name = tfs_examples.DEFAULT_SIGNATURE


def _put_classes(result: Any, served: ServedVersion, outputs: Mapping[str, Array]) -> None:
    for row in tfs_examples.classes(served, outputs):
        classes = result.classifications.add().classes
        for label, score in row:
            classes.add(label=label, score=score)


def _put_values(result: Any, served: ServedVersion, outputs: Mapping[str, Array]) -> None:
    for value in tfs_examples.values(served, outputs):
        result.regressions.add(value=value)
