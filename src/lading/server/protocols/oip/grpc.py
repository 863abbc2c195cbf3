"""Open Inference Protocol v2 over gRPC: ``inference.GRPCInferenceService``.

Tensors come as raw bytes or as typed contents; a client that sends raw bytes gets raw bytes, as from Triton.
Metadata, datatypes and checks are those of the protocol's REST side.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cache
from math import prod
from typing import Any

import numpy as np

from lading.access import FACTS, LOAD, OPEN, PREDICTION, READ_ALL, SERVER_FACTS
from lading.errors import BodyInvalid, InputUnknown
from lading.server.codecs import repeated
from lading.server.grpc import Call, Method, Service, descriptors
from lading.server.inference.dataplane import check_outputs, rows_in
from lading.server.inference.job import Job
from lading.server.inference.version import ServedVersion, State
from lading.server.protocols.oip import metadata, tensors
from lading.server.protocols.oip.parameters import check_output, check_request, decode_base64, reads_base64
from lading.server.protocols.oip.routing import find, resolve
from lading.server.protocols.oip.selection import FORMS, SelectedOutput, Selection, select_outputs
from lading.signature import Array, DType, Tensor

PROTOCOL = "oip-grpc"
NAME = "inference.GRPCInferenceService"

CONTENTS_FIELDS: dict[DType, str] = {
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
"""The field of typed contents by dtype; FP16 has none and is sent as raw bytes only."""


_SIZE = "binary_data_size"


def service() -> Service:
    """Return the service with its methods."""
    methods = (
        Method("ServerLive", server_live, OPEN),
        Method("ServerReady", server_ready, OPEN),
        Method("ServerMetadata", server_metadata, SERVER_FACTS),
        Method("ModelReady", model_ready, OPEN),
        Method("ModelMetadata", model_metadata, FACTS, _name),
        Method("ModelInfer", model_infer, PREDICTION, _model_name),
        Method("ModelStreamInfer", model_infer, PREDICTION, _model_name, frame_streamed),
        Method("ModelConfig", model_config, FACTS, _name),
        Method("ModelStatistics", model_statistics, FACTS, _name_or_all),
        Method("RepositoryIndex", repository_index, READ_ALL),
        Method("RepositoryModelLoad", refuse_loading, LOAD, _model_name),
        Method("RepositoryModelUnload", refuse_loading, LOAD, _model_name),
    )
    return Service(NAME, PROTOCOL, "oip", methods)


# The classes are built on first use, so that a server without gRPC calls does not pay for them.
@cache
def _message(name: str) -> Any:
    return descriptors.message("oip", f"inference.{name}")


def _name(request: Any) -> tuple[str, ...]:
    return (request.name,)


def _name_or_all(request: Any) -> tuple[str, ...]:
    return (request.name or "*",)  # Without a name, statistics are of all models.


def _model_name(request: Any) -> tuple[str, ...]:
    return (request.model_name,)


def server_live(_request: Any, _call: Call) -> Any:
    """Answer that the process is alive."""
    return _message("ServerLiveResponse")(live=True)


def server_ready(_request: Any, call: Call) -> Any:
    """Answer whether every model is ready."""
    return _message("ServerReadyResponse")(ready=call.plane.readiness.is_ready())


def server_metadata(_request: Any, _call: Call) -> Any:
    """Answer the name of the server and its extensions."""
    return _message("ServerMetadataResponse")(**metadata.server_metadata())


def model_ready(request: Any, call: Call) -> Any:
    """Answer whether one version is ready."""
    served = find(call.plane, request.name, request.version)
    return _message("ModelReadyResponse")(ready=served.state is State.READY)


def model_metadata(request: Any, call: Call) -> Any:
    """Answer inputs and outputs of one version."""
    served = find(call.plane, request.name, request.version)
    return _message("ModelMetadataResponse")(**metadata.model_metadata(call.plane, served))


def model_config(request: Any, call: Call) -> Any:
    """Answer the configuration of one version, as Triton would have it."""
    served = find(call.plane, request.name, request.version)
    return _message("ModelConfigResponse")(config=metadata.model_config(call.plane, served))


def model_statistics(request: Any, call: Call) -> Any:
    """Answer the statistics of versions."""
    statistics = metadata.statistics(call.plane, call.metrics, request.name, request.version)
    for version in statistics:
        del version["batch_stats"]  # Nothing is counted by batch size, and an empty list is the default.
    return _message("ModelStatisticsResponse")(model_stats=statistics)


def repository_index(request: Any, call: Call) -> Any:
    """List the versions of this server, or only those that are ready."""
    if request.repository_name:
        raise metadata.repository_refused(request.repository_name)
    return _message("RepositoryIndexResponse")(models=metadata.index(call.plane, ready=request.ready))


def refuse_loading(request: Any, _call: Call) -> Any:
    """Refuse to load or unload a model."""
    raise metadata.loading_refused(request.model_name)


def model_infer(request: Any, call: Call) -> Job:
    """Run a model."""
    served = resolve(call.plane, request.model_name, request.model_version)
    raw = request.raw_input_contents
    if request.parameters:
        check_request(_plain(request.parameters), (), "parameters")
    inputs = served.signature.cast(_arrays(served, request.inputs, raw))
    outputs, compute = _select(served, request.outputs)
    # Floats of 16 bits have no typed contents, so an answer that holds any is raw.
    as_bytes = bool(raw) or any(output.tensor.dtype == "float16" and not output.classes for output in outputs)
    id = request.id  # Not the request itself: the closure would keep its tensors in memory.

    def encode(arrays: dict[str, Array]) -> Any:
        response = _message("ModelInferResponse")(
            model_name=served.name, model_version=str(served.version), id=id
        )
        in_order = [output.array(served, arrays) for output in outputs]
        _add_outputs(response, outputs, in_order, as_bytes=as_bytes)
        return response

    return Job(served, inputs, compute, encode, rows_in(served, inputs))


def frame_streamed(response: Any, details: str, request: Any, facts: Mapping[str, str]) -> Any:
    """Frame the answer to one request of a stream; a refused one has a message, and an answer with its id."""
    if response is None:
        response = _message("ModelInferResponse")(id=getattr(request, "id", ""))
    for name, fact in facts.items():
        response.parameters[name].string_param = fact
    # Triton's mark of a request's last response; here each has one.
    response.parameters["triton_final_response"].bool_param = True
    return _message("ModelStreamInferResponse")(error_message=details, infer_response=response)


def _arrays(served: ServedVersion, inputs: Sequence[Any], raw: Sequence[bytes]) -> dict[str, Array]:
    # Before the contents are counted: an input in shared memory has no entry among them.
    in_base64 = [
        bool(proto.parameters) and _reads_base64(served, proto, raw, at) for at, proto in enumerate(inputs)
    ]
    if raw and len(raw) != len(inputs):
        raise BodyInvalid("`raw_input_contents`", expected=f"{len(inputs)} of them", found=f"{len(raw)}")
    arrays: dict[str, Array] = {}
    for at, proto in enumerate(inputs):
        tensor = served.signature.input(proto.name)
        if proto.name in arrays:
            raise InputUnknown(f"`inputs[{at}]`", expected="each input once", found=f"`{proto.name}` again")
        shape = list(proto.shape)
        tensors.check_declared(tensor, proto.datatype, shape)
        if not raw:
            array = _read_contents(tensor, shape, proto.contents, f"inputs[{at}].contents")
        elif proto.HasField("contents"):
            where = f"`inputs[{at}].contents`"
            raise BodyInvalid(where, expected="none beside `raw_input_contents`", found="contents")
        else:
            array = tensors.from_bytes(tensor, shape, raw[at])
        arrays[proto.name] = decode_base64(tensor, array) if in_base64[at] else array
    return arrays


def _reads_base64(served: ServedVersion, proto: Any, raw: Sequence[bytes], at: int) -> bool:
    """Check the parameters of an input; return whether its strings are declared to be base64."""
    declared, path = _plain(proto.parameters), f"inputs[{at}]"
    in_base64 = reads_base64(served.signature.input(proto.name), declared, (_SIZE,), path)
    # KServe's client states it over gRPC as over REST.
    if _SIZE in declared and (at >= len(raw) or declared[_SIZE] != len(raw[at])):
        size = f"{len(raw[at])} bytes" if at < len(raw) else "none"
        stated = f"{declared[_SIZE]} bytes, as `{path}.parameters` says"
        raise BodyInvalid(f"`raw_input_contents[{at}]`", expected=stated, found=size)
    return in_base64


def _read_contents(tensor: Tensor, shape: Sequence[int], contents: Any, path: str) -> Array:
    """Read typed contents; they must be in the field of the tensor's datatype and no other."""
    field = CONTENTS_FIELDS.get(tensor.dtype)
    present = [descriptor.name for descriptor, _ in contents.ListFields()]
    if field is None or present not in ([field], []):
        expected = f"`{field}`" if field else "FP16 in `raw_input_contents`"
        names = ", ".join(f"`{name}`" for name in present) or "none"
        raise BodyInvalid(f"`{path}`", expected=expected, found=names)
    values = getattr(contents, field)
    if len(values) != prod(shape):
        raise tensors.wrong_size(tensor, f"{prod(shape)} values in `{path}.{field}`", len(values))
    if tensor.dtype == "string":
        return _decode_texts(tensor, values).reshape(shape)
    # Small integers are sent in 32 bits; `Signature.cast` narrows them, or names the one that does not fit.
    wide = {"int_contents": np.int32, "uint_contents": np.uint32}.get(field, tensor.numpy_dtype)
    return repeated.to_array(values, wide).reshape(shape)


def _decode_texts(tensor: Tensor, values: Sequence[bytes]) -> Array:
    texts: list[str] = []
    try:
        texts.extend(value.decode() for value in values)
    except UnicodeDecodeError:
        raise tensors.not_text(tensor, len(texts)) from None
    return tensors.string_array(texts)


def _select(served: ServedVersion, outputs: Sequence[Any]) -> Selection:
    """Return the outputs that a request selects; all of them if it selects none."""
    # From a list, not a generator: this runs for every request.
    names = tuple([output.name for output in outputs])
    if not any(output.parameters for output in outputs):
        return select_outputs(served, names, binary=False)
    check_outputs(served, names, forms=FORMS)
    known = {tensor.name: tensor for tensor in served.signature.outputs}
    return Selection.of(
        served, (_select_one(known[output.name], output, at) for at, output in enumerate(outputs))
    )


def _select_one(tensor: Tensor, output: Any, at: int) -> SelectedOutput:
    declared, path = _plain(output.parameters), f"outputs[{at}].parameters"
    check_output(tensor, declared, ("classification",), path)
    return SelectedOutput.parse(tensor, declared.get("classification", 0), path, binary=False)


def _plain(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters with their values, of whatever type; None for one that has no value."""
    chosen = {name: proto.WhichOneof("parameter_choice") for name, proto in parameters.items()}
    return {name: getattr(parameters[name], choice) if choice else None for name, choice in chosen.items()}


def _add_outputs(
    response: Any, outputs: Sequence[SelectedOutput], arrays: Sequence[Array], *, as_bytes: bool
) -> None:
    for output, array in zip(outputs, arrays, strict=True):
        proto = response.outputs.add(name=output.tensor.name, datatype=output.datatype, shape=array.shape)
        if as_bytes:
            response.raw_output_contents.append(tensors.to_bytes(array))
            continue
        # Classes are strings, whatever the dtype of the output that they classify.
        field = "bytes_contents" if output.classes else CONTENTS_FIELDS[output.tensor.dtype]
        repeated.extend(getattr(proto.contents, field), array.reshape(-1))
