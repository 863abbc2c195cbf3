"""TensorFlow Serving over gRPC: ``PredictionService`` and ``ModelService``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from google.protobuf import json_format

from lading.access import FACTS, LOAD_ALL, PREDICTION
from lading.errors import BodyInvalid, InputMissing, InvalidReference, NotSupported, OutputUnknown
from lading.server.grpc import Call, Method, Service, descriptors
from lading.server.inference.dataplane import rows_in
from lading.server.inference.job import Job
from lading.server.inference.version import ServedVersion
from lading.server.protocols.tfs import examples, routing, tensor_proto
from lading.server.protocols.tfs.metadata import signature_def, version_status
from lading.signature import Array

PROTOCOL = "tfs-grpc"
# Method names of a SignatureDef, by which a task of MultiInference states what it wants.
_CLASSIFY, _REGRESS = "tensorflow/serving/classify", "tensorflow/serving/regress"


def services() -> Iterator[Service]:
    """Return the services with their methods."""
    prediction = (
        Method("Predict", _predict, PREDICTION, _models),
        Method("Classify", _classify, PREDICTION, _models),
        Method("Regress", _regress, PREDICTION, _models),
        Method("MultiInference", _multi_inference, PREDICTION, _models_of_tasks),
        Method("GetModelMetadata", _metadata, FACTS, _models),
    )
    yield Service("tensorflow.serving.PredictionService", PROTOCOL, "tfs", prediction)
    models = (
        Method("GetModelStatus", _status, FACTS, _models),
        Method("HandleReloadConfigRequest", _reload, LOAD_ALL),
    )
    yield Service("tensorflow.serving.ModelService", PROTOCOL, "tfs", models)


def _models(request: Any) -> tuple[str, ...]:
    return (request.model_spec.name,)


def _models_of_tasks(request: Any) -> tuple[str, ...]:
    return tuple(task.model_spec.name for task in request.tasks)


def _message(name: str) -> Any:
    return descriptors.message("tfs", f"tensorflow.serving.{name}")


def _predict(request: Any, call: Call) -> Job:
    served = _resolve(request.model_spec, call)
    inputs = _inputs(served, request.inputs)
    names = _output_names(served, request.output_filter)
    tensors = [output for output in served.signature.outputs if output.name in names]

    def encode(outputs: dict[str, Array]) -> Any:
        response = _message("PredictResponse")()
        _set_model(response.model_spec, served)
        for tensor in tensors:
            tensor_proto.to_proto(tensor, outputs[tensor.name], response.outputs[tensor.name])
        return response

    return Job(served, inputs, names, encode, rows_in(served, inputs))


def _classify(request: Any, call: Call) -> Job:
    served = _resolve(request.model_spec, call)
    output = examples.classes_output(served).name
    return _examples_job(request, served, output, "ClassificationResponse", _add_classes)


def _regress(request: Any, call: Call) -> Job:
    served = _resolve(request.model_spec, call)
    output = examples.value_output(served).name
    return _examples_job(request, served, output, "RegressionResponse", _add_values)


def _examples_job(
    request: Any,
    served: ServedVersion,
    output: str,
    response_name: str,
    add_results: Callable[[Any, ServedVersion, Mapping[str, Array]], None],
) -> Job:
    """Return the job that computes one output for the examples of a classify or regress request."""
    inputs = _examples(served, request)

    def encode(outputs: dict[str, Array]) -> Any:
        response = _message(response_name)()
        _set_model(response.model_spec, served)
        add_results(response.result, served, outputs)
        return response

    return Job(served, inputs, (output,), encode, rows_in(served, inputs))


def _multi_inference(request: Any, call: Call) -> Job:
    if not request.tasks:
        raise BodyInvalid("Inference request must have at least one task")
    versions = [_resolve(task.model_spec, call) for task in request.tasks]
    served = versions[0]
    # All tasks are answered from one run of one version.
    if any(version is not served for version in versions):
        raise BodyInvalid("All ModelSpecs in a MultiInferenceRequest must access the same model name")
    methods = [task.method_name for task in request.tasks]
    names = tuple(dict.fromkeys(_task_output(served, method) for method in methods))
    inputs = _examples(served, request)

    def encode(outputs: dict[str, Array]) -> Any:
        response = _message("MultiInferenceResponse")()
        for method in methods:
            result = response.results.add()
            _set_model(result.model_spec, served)
            if method == _CLASSIFY:
                _add_classes(result.classification_result, served, outputs)
            else:
                _add_values(result.regression_result, served, outputs)
        return response

    return Job(served, inputs, names, encode, rows_in(served, inputs))


def _task_output(served: ServedVersion, method: str) -> str:
    if method == _CLASSIFY:
        return examples.classes_output(served).name
    if method == _REGRESS:
        return examples.value_output(served).name
    raise NotSupported(f"Unsupported signature method_name: {method}")


def _metadata(request: Any, call: Call) -> Any:
    if not request.metadata_field:
        raise BodyInvalid("GetModelMetadataRequest must specify at least one metadata_field")
    for name in request.metadata_field:
        if name != "signature_def":
            raise BodyInvalid(f"Metadata field {name} is not supported")
    served = _resolve(request.model_spec, call)
    response = _message("GetModelMetadataResponse")()
    response.model_spec.name = served.name
    response.model_spec.version.value = served.version
    definitions = _message("SignatureDefMap")()
    definition = definitions.signature_def[examples.DEFAULT_SIGNATURE]
    json_format.ParseDict(signature_def(served), definition)
    response.metadata["signature_def"].Pack(definitions)
    return response


def _status(request: Any, call: Call) -> Any:
    if not request.HasField("model_spec"):
        raise BodyInvalid("Missing ModelSpec")
    response = _message("GetModelStatusResponse")()
    for served in routing.versions_of(call.plane, _address(request.model_spec)):
        status = version_status(served)
        proto = response.model_version_status.add(version=served.version)
        proto.state = type(proto).State.Value(status.state)  # The enum is nested in the message's class.
        proto.status.error_code = status.code
        proto.status.error_message = status.message
    return response


def _reload(_request: Any, _call: Call) -> Any:
    raise NotSupported(
        "HandleReloadConfigRequest",
        expected="models named when the server starts",
        found="a new configuration",
        hint="start `lading serve` with the models that it is to hold",
    )


def _resolve(spec: Any, call: Call) -> ServedVersion:
    served = routing.resolve(call.plane, _address(spec))
    examples.check_signature(spec.signature_name)
    return served


def _address(spec: Any) -> routing.Address:
    if not spec.name:
        raise InvalidReference("ModelSpec has no name specified.")
    choice = spec.WhichOneof("version_choice")
    version = spec.version.value if choice == "version" else None
    return spec.name, version, spec.version_label if choice == "version_label" else None


def _inputs(served: ServedVersion, protos: Mapping[str, Any]) -> dict[str, Array]:
    tensors = served.signature.inputs
    names = sorted(tensor.name for tensor in tensors)
    if sorted(protos) != names:
        extra = ",".join(sorted(set(protos) - set(names)))
        absent = ",".join(sorted(set(names) - set(protos)))
        # That server's sentence; its C++ writes sets like this.
        raise InputMissing(
            f"input size does not match signature: {len(protos)}!={len(names)} "
            f"len({{{','.join(sorted(protos))}}}) != len({{{','.join(names)}}}). "
            f"Sent extra: {{{extra}}}. Missing but required: {{{absent}}}."
        )
    arrays = {tensor.name: tensor_proto.to_array(tensor, protos[tensor.name]) for tensor in tensors}
    return served.signature.cast(arrays)


def _output_names(served: ServedVersion, output_filter: Any) -> tuple[str, ...]:
    known = tuple(output.name for output in served.signature.outputs)
    if not output_filter:
        return known
    for name in output_filter:
        if name not in known:
            raise OutputUnknown(
                f"output tensor alias not found in signature: {name} "
                f"Outputs expected to be in the set {{{','.join(sorted(known))}}}."
            )
    if len(set(output_filter)) != len(output_filter):
        twice = next(name for name in output_filter if list(output_filter).count(name) > 1)
        raise BodyInvalid(f"duplicate output tensor alias: {twice}")
    return tuple(output_filter)


def _examples(served: ServedVersion, request: Any) -> dict[str, Array]:
    """Read the examples of a request; features of its context join every example."""
    proto = request.input
    kind = proto.WhichOneof("kind")
    example_protos = getattr(proto, kind).examples if kind else ()
    context = _features(proto.example_list_with_context.context) if kind != "example_list" else {}
    return examples.inputs_of(
        served.signature, [{**context, **_features(example)} for example in example_protos]
    )


def _features(example: Any) -> dict[str, list[Any]]:
    features: dict[str, list[Any]] = {}
    for name, feature in example.features.feature.items():
        kind = feature.WhichOneof("kind")  # bytes_list, float_list or int64_list
        values = list(getattr(feature, kind).value) if kind else []
        features[name] = [_text(name, value) for value in values] if kind == "bytes_list" else values
    return features


def _text(name: str, value: bytes) -> str:
    try:
        return value.decode()
    except UnicodeDecodeError:
        raise BodyInvalid(f"feature `{name}`", expected="UTF-8 text", found="other bytes") from None


def _set_model(spec: Any, served: ServedVersion) -> None:
    """State in an answer which version gave it."""
    spec.name = served.name
    spec.version.value = served.version
    spec.signature_name = examples.DEFAULT_SIGNATURE


def _add_classes(result: Any, served: ServedVersion, outputs: Mapping[str, Array]) -> None:
    for row in examples.classes(served, outputs):
        classes = result.classifications.add().classes
        for label, score in row:
            classes.add(label=label, score=score)


def _add_values(result: Any, served: ServedVersion, outputs: Mapping[str, Array]) -> None:
    for value in examples.values(served, outputs):
        result.regressions.add(value=value)
