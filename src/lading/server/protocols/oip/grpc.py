"""Open Inference Protocol v2 over gRPC: ``inference.GRPCInferenceService``.

Tensors as raw bytes or as typed contents; who sends raw gets raw, as Triton does. Facts, datatypes and
checks are those of the protocol's REST side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from math import prod
from typing import Any

import numpy as np

from lading.errors import BodyInvalid, InputUnknown
from lading.server.grpc import Call, Method, Service, descriptors
from lading.server.inference.dataplane import check_outputs, rows_in
from lading.server.inference.job import Job
from lading.server.inference.version import ServedVersion, State
from lading.server.protocols.oip import metadata as facts
from lading.server.protocols.oip import tensors
from lading.server.protocols.oip.selection import Asked, WantedOutput, plain_outputs
from lading.signature import Array, DType, Tensor

PROTOCOL = "oip-grpc"
NAME = "inference.GRPCInferenceService"

_CONTENTS: dict[DType, str] = {
    "bool": "bool_contents",
    "int8": "int_contents",
    "int16": "int_contents",
    "int32": "int_contents",
    "int64": "int64_contents",
    "uint8": "uint_contents",
    "uint16": "uint_contents",
    "uint32": "uint_contents",
    "uint64": "uint64_contents",
    "float32": "fp32_contents",
    "float64": "fp64_contents",
    "string": "bytes_contents",
}
"""The field of typed contents; FP16 has none and travels as raw bytes only."""


def service() -> Service:
    """Describe the service."""
    methods = (
        Method("ServerLive", server_live),
        Method("ServerReady", server_ready),
        Method("ServerMetadata", server_metadata),
        Method("ModelReady", model_ready),
        Method("ModelMetadata", model_metadata),
        Method("ModelInfer", model_infer),
        Method("ModelStatistics", model_statistics),
        Method("RepositoryIndex", repository_index),
        Method("RepositoryModelLoad", refuse_loading),
        Method("RepositoryModelUnload", refuse_loading),
    )
    return Service(NAME, PROTOCOL, "oip", methods)


@cache
def _message(name: str) -> Any:
    return descriptors.message("oip", f"inference.{name}")


def server_live(_request: Any, _call: Call) -> Any:
    """Say that the process answers."""
    return _message("ServerLiveResponse")(live=True)


def server_ready(_request: Any, call: Call) -> Any:
    """Say whether every model is ready."""
    return _message("ServerReadyResponse")(ready=call.plane.readiness.is_ready())


def server_metadata(_request: Any, _call: Call) -> Any:
    """Name the server and its extensions."""
    return _message("ServerMetadataResponse")(**facts.server_metadata())


def model_ready(request: Any, call: Call) -> Any:
    """Say whether one version is ready."""
    served = facts.find(call.plane, request.name, request.version)
    return _message("ModelReadyResponse")(ready=served.state is State.READY)


def model_metadata(request: Any, call: Call) -> Any:
    """Describe one version."""
    served = facts.find(call.plane, request.name, request.version)
    return _message("ModelMetadataResponse")(**facts.model_metadata(call.plane, served))


def model_statistics(request: Any, call: Call) -> Any:
    """Tell what versions did."""
    found = facts.statistics(call.plane, call.metrics, request.name, request.version)
    for one in found:
        del one["batch_stats"]  # Nothing is counted by batch size, and an empty list is the default.
    return _message("ModelStatisticsResponse")(model_stats=found)


def repository_index(request: Any, call: Call) -> Any:
    """List the versions here, or those that are ready."""
    return _message("RepositoryIndexResponse")(models=facts.index(call.plane, ready=request.ready))


def refuse_loading(request: Any, _call: Call) -> Any:
    """Refuse to load or unload."""
    raise facts.no_loading(request.model_name)


def model_infer(request: Any, call: Call) -> Job:
    """Run a model."""
    served = facts.resolve(call.plane, request.model_name, request.model_version)
    raw = request.raw_input_contents
    inputs = served.signature.cast(_arrays(served, request.inputs, raw))
    wanted, compute = _wanted(served, request.outputs)
    # Floats of 16 bits have no typed contents, so that an answer which holds any is raw.
    as_bytes = bool(raw) or any(one.tensor.dtype == "float16" and not one.classes for one in wanted)
    id = request.id

    def encode(outputs: dict[str, Array]) -> Any:
        response = _message("ModelInferResponse")(
            model_name=served.name, model_version=str(served.version), id=id
        )
        _add_outputs(response, wanted, [one.of(served, outputs) for one in wanted], as_bytes=as_bytes)
        return response

    return Job(served, inputs, compute, encode, rows_in(served, inputs))


def _arrays(served: ServedVersion, inputs: Sequence[Any], raw: Sequence[bytes]) -> dict[str, Array]:
    if len(raw) != len(inputs) and any("shared_memory_region" in one.parameters for one in inputs):
        raise BodyInvalid("`inputs`", expected="their tensors in the request", found="shared memory")
    if raw and len(raw) != len(inputs):
        raise BodyInvalid("`raw_input_contents`", expected=f"{len(inputs)} of them", found=f"{len(raw)}")
    arrays: dict[str, Array] = {}
    for at, one in enumerate(inputs):
        tensor = served.signature.input(one.name)
        if one.name in arrays:
            raise InputUnknown(f"`inputs[{at}]`", expected="each input once", found=f"`{one.name}` again")
        shape = list(one.shape)
        tensors.check_declared(tensor, one.datatype, shape)
        if not raw:
            arrays[one.name] = _typed(tensor, shape, one.contents, f"inputs[{at}].contents")
        elif one.HasField("contents"):
            where = f"`inputs[{at}].contents`"
            raise BodyInvalid(where, expected="none beside `raw_input_contents`", found="contents")
        else:
            arrays[one.name] = tensors.from_bytes(tensor, shape, raw[at])
    return arrays


def _typed(tensor: Tensor, shape: Sequence[int], contents: Any, path: str) -> Array:
    """Read typed contents; they must be in the field of the tensor's datatype and no other."""
    field = _CONTENTS.get(tensor.dtype)
    given = [found.name for found, _ in contents.ListFields()]
    if field is None or given not in ([field], []):
        expected = f"`{field}`" if field else "FP16 in `raw_input_contents`"
        found = ", ".join(f"`{name}`" for name in given) or "none"
        raise BodyInvalid(f"`{path}`", expected=expected, found=found)
    values = getattr(contents, field)
    if len(values) != prod(shape):
        raise tensors.wrong_size(tensor, f"{prod(shape)} values in `{path}.{field}`", len(values))
    if tensor.dtype == "string":
        return _texts(tensor, values).reshape(shape)
    # Small integers travel in 32 bits; `Signature.cast` narrows them, or says which does not fit.
    wide = {"int_contents": np.int32, "uint_contents": np.uint32}.get(field, tensor.numpy_dtype)
    return np.fromiter(values, wide, len(values)).reshape(shape)


def _texts(tensor: Tensor, values: Sequence[bytes]) -> Array:
    texts: list[str] = []
    try:
        texts.extend(value.decode() for value in values)
    except UnicodeDecodeError:
        raise tensors.not_text(tensor, len(texts)) from None
    return tensors.strings(texts)


def _wanted(served: ServedVersion, outputs: Sequence[Any]) -> Asked:
    names = tuple([one.name for one in outputs])
    if not any(one.parameters for one in outputs):
        return plain_outputs(served, names, binary=False)
    check_outputs(served, names)
    known = {tensor.name: tensor for tensor in served.signature.outputs}
    return Asked.of(
        served,
        (
            WantedOutput.checked(
                known[one.name],
                _parameter(one.parameters, "classification", 0),
                f"outputs[{at}].parameters",
                binary=False,
            )
            for at, one in enumerate(outputs)
        ),
    )


def _parameter(parameters: Mapping[str, Any], name: str, otherwise: Any) -> Any:
    if name not in parameters:
        return otherwise
    given = parameters[name]
    choice = given.WhichOneof("parameter_choice")
    return getattr(given, choice) if choice else None


def _add_outputs(
    response: Any, wanted: Sequence[WantedOutput], arrays: Sequence[Array], *, as_bytes: bool
) -> None:
    for one, array in zip(wanted, arrays, strict=True):
        output = response.outputs.add(name=one.tensor.name, datatype=one.datatype, shape=array.shape)
        if as_bytes:
            response.raw_output_contents.append(tensors.to_bytes(array))
            continue
        flat = array.reshape(-1).tolist()
        field = "bytes_contents" if one.classes else _CONTENTS[one.tensor.dtype]
        if field == "bytes_contents":
            flat = [text.encode() for text in flat]
        getattr(output.contents, field).extend(flat)
